//! Mean of a steady quantity, and the calibration with which it equals a plausible reference.

use std::time::{Duration, Instant};

use super::CalibrateArgs;
use crate::commands::measuring::Moments;
use crate::ina260::calibration::Calibration;
use crate::units::{Amperes, Quantity};

pub(super) const RATED_AMPERES: f64 = 15.0;
/// Maximum offset of the current in amperes, at 12 V (SBOS656C).
const MAX_OFFSET: f64 = 0.005;
/// Further offset per volt of difference from 12 V, in amperes (SBOS656C, common-mode rejection).
const MAX_OFFSET_PER_VOLT: f64 = 0.000_15;
const OFFSET_VOLTS: f64 = 12.0;
/// Maximum gain error over temperature (SBOS656C).
const MAX_GAIN_ERROR: f64 = 0.005;
/// Maximum offset of the bus voltage in volts (INA226, SBOS547B, which shares the core).
const MAX_VOLTAGE_OFFSET: f64 = 0.0075;
/// Minimum voltage at VBUS for a gain, in volts: the offset is at most a hundredth of it.
const MIN_VOLTS: f64 = 100.0 * MAX_VOLTAGE_OFFSET;
/// Step of the registers: 1.25 mA and 1.25 mV.
const STEP: f64 = 0.00125;
/// Number of parts into which the time is divided; their means are compared.
const BLOCKS: usize = 10;
/// Minimum number of results in a block.
const MIN_RESULTS: u32 = 2;

#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum Unusable {
    #[error(
        "too few results in one tenth of the averaging time; check that the sensor responds, or \
         use a longer --for"
    )]
    TooFew,
    #[error(
        "the {} is not steady (its means over tenths of the averaging time differ by {range:.2} \
         m{unit}, single results by {spread:.2} m{unit} rms); switch the load off for --zero, or \
         use a constant one",
        .quantity.name(), unit = .quantity.unit()
    )]
    NotSteady { quantity: Quantity, range: f64, spread: f64 },
    #[error(
        "a voltage_gain needs at least {MIN_VOLTS:.2} V at VBUS, where the chip's offset (up to \
         {MAX_VOLTAGE_OFFSET} V) is small; measure at the working voltage"
    )]
    LowVoltage,
    #[error(
        "the chip reads {read:.4} {unit} instead of {reference:.4} {unit}; its own error is at \
         most {max:.4} {unit} (data sheet): {hint}"
    )]
    Implausible { read: f64, reference: f64, max: f64, unit: &'static str, hint: &'static str },
}

/// Mean of a quantity with its standard error, in amperes or volts, before calibration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mean {
    pub(super) results: u32,
    pub(super) value: f64,
    pub(super) error: f64,
}

pub(super) struct Blocks {
    begun: Instant,
    duration: Duration,
    currents: [Moments; BLOCKS],
    voltages: [Moments; BLOCKS],
}

impl Blocks {
    pub(super) fn new(begun: Instant, duration: Duration) -> Self {
        Self { begun, duration, currents: Default::default(), voltages: Default::default() }
    }

    /// Adds a result that ended at `end`; ignores results outside the averaging time.
    pub(super) fn add(&mut self, end: Instant, amperes: f64, volts: f64) {
        let Some(at) = end.checked_duration_since(self.begun) else { return };
        let block = BLOCKS as u128 * at.as_nanos() / self.duration.as_nanos();
        let block = usize::try_from(block).unwrap_or(BLOCKS);
        if block < BLOCKS {
            self.currents[block].add(amperes);
            self.voltages[block].add(volts);
        }
    }

    /// Returns the means of current and voltage over the whole time, if both were steady.
    pub(super) fn means(&self) -> Result<[Mean; 2], Unusable> {
        let current = steady(&self.currents, Quantity::Current)?;
        Ok([current, steady(&self.voltages, Quantity::Voltage)?])
    }
}

/// Returns the mean of the blocks, unless single results or the blocks vary more than noise: the
/// blocks by more than the largest of six of their standard errors, a step, and 0.1 % of the mean.
fn steady(blocks: &[Moments; BLOCKS], quantity: Quantity) -> Result<Mean, Unusable> {
    /// Noise of single conversions, in steps, beyond which something other than the chip varies.
    const MAX_NOISE: f64 = 8.0;
    /// Maximum ripple of a constant load, relative to the mean: of single results, and of blocks.
    const RIPPLES: [f64; 2] = [0.01, 0.001];
    let fewest = blocks.iter().map(|block| block.count).min().unwrap_or_default();
    if fewest < MIN_RESULTS {
        return Err(Unusable::TooFew);
    }
    let sum = |of: fn(&Moments) -> f64| blocks.iter().map(of).sum::<f64>();
    let count = sum(|block| f64::from(block.count));
    let mean = sum(|block| block.mean * f64::from(block.count)) / count;
    // Deviation of single results from the means of their blocks.
    let deviation = (sum(|block| block.squares) / (count - sum(|_| 1.0))).sqrt();
    let means = blocks.iter().map(|block| block.mean);
    let range = means.clone().fold(f64::MIN, f64::max) - means.fold(f64::MAX, f64::min);
    let [single, of_means] = RIPPLES.map(|ripple| ripple * mean.abs());
    let allowed = (6.0 * deviation / f64::from(fewest).sqrt()).max(STEP).max(of_means);
    if range > allowed || deviation > (MAX_NOISE * STEP).max(single) {
        let (range, spread) = (range * 1e3, deviation * 1e3);
        return Err(Unusable::NotSteady { quantity, range, spread });
    }
    // Without noise of about half a step, rounding does not average out.
    let rounding = if deviation < STEP / 2.0 { STEP / 12_f64.sqrt() } else { 0.0 };
    let results = blocks.iter().map(|block| block.count).sum();
    Ok(Mean { results, value: mean, error: (deviation.powi(2) / count + rounding.powi(2)).sqrt() })
}

/// Returns the calibration with which the means equal the reference. The means are those of the
/// chip's own values, so what the `existing` calibration corrects is not corrected twice.
pub(super) fn correct(
    [current, voltage]: &[Mean; 2],
    reference: &CalibrateArgs,
    existing: &Calibration,
) -> Result<Calibration, Unusable> {
    let (amperes, volts) = (current.value, voltage.value);
    let mut corrected = *existing;
    if let Some(reference) = reference.voltage {
        let nominal = nominal(existing.voltage_gain);
        let max = reference * MAX_GAIN_ERROR + MAX_VOLTAGE_OFFSET * nominal;
        let read = volts * nominal;
        if (read - reference).abs() > max {
            let hint = "measure at VBUS of the sensor, not at the load; check the VBUS wire";
            return Err(Unusable::Implausible { read, reference, max, unit: "V", hint });
        }
        if reference < MIN_VOLTS * nominal {
            return Err(Unusable::LowVoltage);
        }
        corrected.voltage_gain = reference / volts;
    }
    if reference.zero {
        let max = MAX_OFFSET + MAX_OFFSET_PER_VOLT * (volts - OFFSET_VOLTS).abs();
        let (read, reference) = (amperes, 0.0);
        if read.abs() > max {
            let hint = "a load is still connected, or current bypasses its switch";
            return Err(Unusable::Implausible { read, reference, max, unit: "A", hint });
        }
        corrected.current_offset = Amperes(-amperes * existing.current_gain);
    }
    if let Some(reference) = reference.current {
        // The chip's reading without a load, according to the existing calibration.
        let zero = -existing.current_offset.0 / existing.current_gain;
        let flowing = (amperes - zero) * if existing.reverse { -1.0 } else { 1.0 };
        let nominal = nominal(existing.current_gain);
        let (read, gain) = (flowing * nominal, reference / flowing);
        if (gain / nominal - 1.0).abs() > MAX_GAIN_ERROR {
            let max = reference.abs() * MAX_GAIN_ERROR;
            let hint = match read / reference {
                ..0.0 if existing.reverse => "remove reverse = true, or swap IN+ and IN-",
                ..0.0 => "swap IN+ and IN-, or set reverse = true",
                ..0.5 => "the current does not flow through the sensor, or only part of it does",
                _ => {
                    "run calibrate --zero first; check the unit, and that no current bypasses the \
                     sensor or the reference"
                }
            };
            return Err(Unusable::Implausible { read, reference, max, unit: "A", hint });
        }
        corrected.current_gain = gain;
        // The offset is added after the gain.
        corrected.current_offset = Amperes(-zero * gain);
    }
    Ok(corrected)
}

/// Returns the gain around which the chip's error is to be expected: 1, unless the existing gain is
/// beyond any error of the chip, as that of a voltage divider is.
pub(super) fn nominal(existing: f64) -> f64 {
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
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn means(amperes: f64, volts: f64) -> [Mean; 2] {
        [amperes, volts].map(|value| Mean { results: 1_000, value, error: 0.0 })
    }

    fn zero() -> CalibrateArgs {
        CalibrateArgs { zero: true, ..CalibrateArgs::default() }
    }

    fn load(amperes: f64) -> CalibrateArgs {
        CalibrateArgs { current: Some(amperes), ..CalibrateArgs::default() }
    }

    #[test]
    fn voltage_near_the_offset_gives_no_gain() {
        // The offset is up to 7.5 mV, or 75 mV with the divider: a hundredth of 0.75 V or 7.5 V.
        let divider = Calibration { voltage_gain: 10.0, ..Calibration::default() };
        for (existing, read, reference) in [
            (Calibration::default(), 0.0, 0.007),
            (Calibration::default(), 0.003, 0.010),
            (Calibration::default(), 0.745, 0.749),
            (divider, 0.0, 0.07),
            (divider, 0.745, 7.49),
        ] {
            let outcome = correct(&means(0.0, read), &supply(reference), &existing);
            assert_eq!(outcome, Err(Unusable::LowVoltage), "{reference}");
        }
        let gain = correct(&means(0.0, 0.745), &supply(0.751), &Calibration::default());
        assert!((gain.unwrap().voltage_gain - 0.751 / 0.745).abs() < 1e-12);
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
                calibration = correct(&means(chip(0.0), 12.0), &zero(), &calibration).unwrap();
                assert!(calibration.true_value(Quantity::Current, chip(0.0)).abs() < 1e-12);
                let load = CalibrateArgs { voltage: Some(12.024), ..load(2.5) };
                calibration = correct(&means(chip(2.5), 12.0), &load, &calibration).unwrap();
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
            // 5 mA, plus 0.15 mA per volt of difference from 12 V.
            (0.0051, 12.0, zero(), "a load is still connected"),
            (-0.0066, 22.0, zero(), "a load is still connected"),
            (2.4, 12.0, load(2.5), "calibrate --zero first"),
            (-2.5, 12.0, load(2.5), "swap IN+ and IN-"),
            (0.0, 12.0, load(2.5), "does not flow through the sensor"),
            (0.0, 11.9, supply(12.0), "measure at VBUS"),
        ] {
            let error = correct(&means(amperes, volts), &reference, &Calibration::default());
            let error = error.unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let reversed = Calibration { reverse: true, ..Calibration::default() };
        let error = correct(&means(2.5, 12.0), &load(2.5), &reversed).unwrap_err().to_string();
        assert!(error.ends_with("remove reverse = true, or swap IN+ and IN-"), "{error}");
        for (amperes, volts, reference) in [
            (0.005, 12.0, zero()),
            (-0.0064, 22.0, zero()),
            (2.49, 12.0, load(2.5)),
            (0.0, 11.94, supply(12.0)),
        ] {
            correct(&means(amperes, volts), &reference, &Calibration::default()).unwrap();
        }
    }

    #[test]
    fn gain_of_a_divider_is_kept() {
        let divider = Calibration { voltage_gain: 11.0, ..Calibration::default() };
        let corrected = correct(&means(0.0, 4.365), &supply(48.1), &divider).unwrap();
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

    /// Returns the means of 1,000 results of 10 ms; `milliamperes` is their current by index.
    fn measured(milliamperes: impl Fn(u32) -> f64) -> Result<[Mean; 2], Unusable> {
        let begun = Instant::now();
        let mut blocks = Blocks::new(begun, 10 * SECOND);
        for index in 0..1_000 {
            let end = begun + index * SECOND / 100;
            blocks.add(end, milliamperes(index) / 1e3, 5.0);
        }
        blocks.means()
    }

    #[test]
    fn mean_and_standard_error_match_the_textbook() {
        let [current, _] = measured(|index| if index % 2 == 0 { 0.0 } else { 2.5 }).unwrap();
        assert_eq!(current.results, 1_000);
        assert!((current.value - 0.00125).abs() < 1e-9);
        // 1.25 mA of noise over the root of 1000.
        assert!((current.error - 39.5e-6).abs() < 0.5e-6, "{current:?}");
    }

    #[test]
    fn without_noise_the_error_is_that_of_rounding() {
        let [current, _] = measured(|_| 1.25).unwrap();
        // 1.25 mA over the root of 12.
        assert!((current.error - 0.000_360_8).abs() < 1e-6, "{current:?}");
    }

    #[test]
    fn load_that_changes_is_not_steady() {
        let on =
            |from: u32, to: u32| move |index| if (from..to).contains(&index) { 600.0 } else { 0.0 };
        for (what, outcome) in [
            ("a load for a second", measured(on(300, 400))),
            ("a load at the end", measured(on(900, 1_000))),
            ("a load in pulses", measured(|index| if index % 4 == 0 { 600.0 } else { 0.0 })),
            ("a drift", measured(|index| f64::from(index) / 100.0)),
        ] {
            assert!(matches!(outcome, Err(Unusable::NotSteady { .. })), "{what}: {outcome:?}");
        }
    }

    #[test]
    fn outage_leaves_too_few_results() {
        let begun = Instant::now();
        let mut blocks = Blocks::new(begun, 10 * SECOND);
        for index in (0..1_000).filter(|index| !(300..400).contains(index)) {
            blocks.add(begun + index * SECOND / 100, 0.0, 5.0);
        }
        assert_eq!(blocks.means(), Err(Unusable::TooFew));
    }
}
