//! Gains and offset from an average and a reference, within what the chip's data sheet allows.

use super::CalibrateArgs;
use super::average::Average;
use crate::ina260::calibration::Calibration;
use crate::units::Amperes;

/// Rated current of the chip in amperes.
pub(super) const RATED_AMPERES: f64 = 15.0;
/// Maximum offset of the current in amperes, at 12 V (SBOS656C).
const MAX_OFFSET: f64 = 0.005;
/// Further offset per volt of difference from 12 V, in amperes (SBOS656C, common-mode rejection).
const MAX_OFFSET_PER_VOLT: f64 = 0.000_15;
/// Voltage at which the maximum offset is specified.
const OFFSET_VOLTS: f64 = 12.0;
/// Maximum gain error over temperature (SBOS656C).
const MAX_GAIN_ERROR: f64 = 0.005;
/// Maximum offset of the bus voltage in volts (INA226, SBOS547B, which shares the core).
const MAX_VOLTAGE_OFFSET: f64 = 0.0075;

/// A reading that the chip's errors cannot explain.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error(
    "the chip reads {read:.4} {unit} instead of {reference:.4} {unit}; its own error is at most \
     {max:.4} {unit} (data sheet): {hint}"
)]
pub(super) struct Implausible {
    read: f64,
    reference: f64,
    max: f64,
    unit: &'static str,
    hint: &'static str,
}

/// Returns the calibration with which the average equals the reference. The average is that of the
/// chip's own values, so what the `existing` calibration corrects is not corrected twice.
pub(super) fn correct(
    average: &Average,
    reference: &CalibrateArgs,
    existing: &Calibration,
) -> Result<Calibration, Implausible> {
    let (amperes, volts) = (average.current.mean, average.voltage.mean);
    let mut corrected = *existing;
    if let Some(reference) = reference.voltage {
        let nominal = nominal(existing.voltage_gain);
        let max = reference * MAX_GAIN_ERROR + MAX_VOLTAGE_OFFSET * nominal;
        let read = volts * nominal;
        if (read - reference).abs() > max {
            let hint = "measure at VBUS of the sensor, not at the load; check the VBUS wire";
            return Err(Implausible { read, reference, max, unit: "V", hint });
        }
        corrected.voltage_gain = reference / volts;
    }
    if reference.zero {
        let max = MAX_OFFSET + MAX_OFFSET_PER_VOLT * (volts - OFFSET_VOLTS).abs();
        if amperes.abs() > max {
            let hint = "a load is still connected, or current bypasses its switch";
            return Err(Implausible { read: amperes, reference: 0.0, max, unit: "A", hint });
        }
        corrected.current_offset = Amperes(-amperes * existing.current_gain);
    }
    if let Some(reference) = reference.current {
        // The chip's reading without a load, by the existing calibration, is subtracted.
        let zero = -existing.current_offset.0 / existing.current_gain;
        let flowing = (amperes - zero) * if existing.reverse { -1.0 } else { 1.0 };
        let nominal = nominal(existing.current_gain);
        let (read, gain) = (flowing * nominal, reference / flowing);
        if (gain / nominal - 1.0).abs() > MAX_GAIN_ERROR {
            let max = reference.abs() * MAX_GAIN_ERROR;
            let hint = match read / reference {
                ..0.0 if existing.reverse => "remove reverse = true, or swap IN+ and IN-",
                ..0.0 => "swap IN+ and IN-, or set reverse = true",
                ..0.5 => "the current does not flow through the sensor, or not all of it",
                _ => {
                    "run calibrate --zero first; check the unit, and that no current bypasses the \
                     sensor or the reference"
                }
            };
            return Err(Implausible { read, reference, max, unit: "A", hint });
        }
        corrected.current_gain = gain;
        // The offset is added after the gain.
        corrected.current_offset = Amperes(-zero * gain);
    }
    Ok(corrected)
}

/// Returns the gain around which the chip's error is to be expected: 1, unless the existing gain is
/// beyond any error of the chip, as that of a voltage divider is.
fn nominal(existing: f64) -> f64 {
    if (existing - 1.0).abs() > MAX_GAIN_ERROR { existing } else { 1.0 }
}

/// Returns the keys that follow from the reference; for a table, all that are not at their default.
pub(super) fn keys(corrected: &Calibration, reference: &CalibrateArgs) -> Vec<String> {
    let CalibrateArgs { zero, current, voltage, toml, .. } = *reference;
    let (gain, volts) = (corrected.current_gain, corrected.voltage_gain);
    let (offset, all) = (corrected.current_offset.0 * 1e3, current.is_some() || toml);
    let is_set = |gain: f64| toml && (gain - 1.0).abs() > 0.0;
    let lines = [
        (current.is_some() || is_set(gain), format!("current_gain = {gain:.6}")),
        (zero || all && offset.abs() > 0.0, format!("current_offset = \"{offset:.3}mA\"")),
        (voltage.is_some() || is_set(volts), format!("voltage_gain = {volts:.6}")),
        (toml && corrected.reverse, "reverse = true".to_owned()),
    ];
    lines.into_iter().filter_map(|(is_shown, line)| is_shown.then_some(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::average::Mean;
    use super::*;
    use crate::units::Quantity;

    fn average(amperes: f64, volts: f64) -> Average {
        let mean = |mean| Mean { mean, error: 0.0 };
        Average { results: 1_000, current: mean(amperes), voltage: mean(volts) }
    }

    fn zero() -> CalibrateArgs {
        CalibrateArgs { zero: true, ..CalibrateArgs::default() }
    }

    fn load(amperes: f64) -> CalibrateArgs {
        CalibrateArgs { current: Some(amperes), ..CalibrateArgs::default() }
    }

    fn supply(volts: f64) -> CalibrateArgs {
        CalibrateArgs { voltage: Some(volts), ..CalibrateArgs::default() }
    }

    #[test]
    fn corrected_readings_equal_the_reference() {
        for reverse in [false, true] {
            // The chip reads 3 mA too much, and 0.4 % too little.
            let chip = |amperes: f64| (if reverse { -amperes } else { amperes }) * 0.996 + 0.003;
            let mut calibration = Calibration { reverse, ..Calibration::default() };
            // The second time nothing changes.
            for _ in 0..2 {
                calibration = correct(&average(chip(0.0), 12.0), &zero(), &calibration).unwrap();
                assert!(calibration.true_value(Quantity::Current, chip(0.0)).abs() < 1e-12);
                let load = CalibrateArgs { voltage: Some(12.024), ..load(2.5) };
                calibration = correct(&average(chip(2.5), 12.0), &load, &calibration).unwrap();
                for amperes in [0.0, 2.5, -5.0] {
                    let read = calibration.true_value(Quantity::Current, chip(amperes));
                    assert!((read - amperes).abs() < 1e-12, "{read} {amperes}");
                }
                assert!((calibration.current_gain - 1.0 / 0.996).abs() < 1e-12);
                assert!((calibration.voltage_gain - 1.002).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn readings_beyond_the_data_sheet_are_refused() {
        for (amperes, volts, reference, part) in [
            // 5 mA, and 0.15 mA for each volt from 12 V.
            (0.0051, 12.0, zero(), "a load is still connected"),
            (-0.0066, 22.0, zero(), "a load is still connected"),
            (2.4, 12.0, load(2.5), "calibrate --zero first"),
            (-2.5, 12.0, load(2.5), "swap IN+ and IN-"),
            (0.0, 12.0, load(2.5), "does not flow through the sensor"),
            (0.0, 11.9, supply(12.0), "measure at VBUS"),
        ] {
            let error = correct(&average(amperes, volts), &reference, &Calibration::default());
            let error = error.unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let reversed = Calibration { reverse: true, ..Calibration::default() };
        let error = correct(&average(2.5, 12.0), &load(2.5), &reversed).unwrap_err().to_string();
        assert!(error.ends_with("remove reverse = true, or swap IN+ and IN-"), "{error}");
        for (amperes, volts, reference) in [
            (0.005, 12.0, zero()),
            (-0.0064, 22.0, zero()),
            (2.49, 12.0, load(2.5)),
            (0.0, 11.94, supply(12.0)),
        ] {
            correct(&average(amperes, volts), &reference, &Calibration::default()).unwrap();
        }
    }

    #[test]
    fn gain_of_a_divider_is_kept() {
        let divider = Calibration { voltage_gain: 11.0, ..Calibration::default() };
        let corrected = correct(&average(0.0, 4.365), &supply(48.1), &divider).unwrap();
        assert!((corrected.voltage_gain - 48.1 / 4.365).abs() < 1e-12);
    }

    #[test]
    fn only_measured_keys_are_printed() {
        let corrected = Calibration {
            current_gain: 1.002,
            current_offset: Amperes(-0.001_02),
            ..Calibration::default()
        };
        assert_eq!(keys(&corrected, &zero()), ["current_offset = \"-1.020mA\""]);
        let all = ["current_gain = 1.002000", "current_offset = \"-1.020mA\""];
        assert_eq!(keys(&corrected, &CalibrateArgs { toml: true, ..zero() }), all);
    }
}
