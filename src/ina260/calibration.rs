//! What a sensor's results have to be corrected by.

use crate::units::{Amperes, Measured, Volts, Watts};

/// Gains and an offset against a reference instrument, and the direction of the wiring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// The true current is the chip's times this (its gain error is up to 0.15 %) ...
    pub current_gain: f64,
    /// ... plus this (its offset is up to 5 mA).
    pub current_offset: Amperes,
    /// The true voltage is the chip's times this.
    pub voltage_gain: f64,
    /// IN+ and IN- are the wrong way round.
    pub reverse: bool,
}

impl Default for Calibration {
    fn default() -> Self {
        Self {
            current_gain: 1.0,
            current_offset: Amperes(0.0),
            voltage_gain: 1.0,
            reverse: false,
        }
    }
}

impl Calibration {
    fn sign(&self) -> f64 {
        if self.reverse { -1.0 } else { 1.0 }
    }

    /// The true voltage, current and power for those of the chip. The power takes part in the corrections of both.
    #[must_use]
    pub fn apply(&self, chip: Measured) -> Measured {
        if *self == Self::default() {
            return chip;
        }
        let volts = chip.voltage.0 * self.voltage_gain;
        let offset = self.current_offset.0;
        let amperes = self.true_current(chip.current.0);
        let watts =
            (chip.power.0 * self.current_gain * self.voltage_gain + volts * offset) * self.sign();
        Measured {
            voltage: Volts(volts),
            // `+ 0.0` turns -0.0 into 0.0.
            current: Amperes(amperes + 0.0),
            power: Watts(watts + 0.0),
        }
    }

    /// The true current for that of the chip.
    #[must_use]
    pub fn true_current(&self, current: f64) -> f64 {
        (current * self.current_gain + self.current_offset.0) * self.sign()
    }

    /// What the chip shows for a true voltage.
    #[must_use]
    pub fn chip_voltage(&self, voltage: f64) -> f64 {
        voltage / self.voltage_gain
    }

    /// What the chip shows for a true current.
    #[must_use]
    pub fn chip_current(&self, current: f64) -> f64 {
        (current * self.sign() - self.current_offset.0) / self.current_gain
    }

    /// What the chip shows for a true power; the current's offset, of which nobody knows the voltage, is left out.
    #[must_use]
    pub fn chip_power(&self, power: f64) -> f64 {
        power / (self.current_gain * self.voltage_gain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_calibration_changes_nothing_not_even_the_last_digit() {
        let raw = Measured::new(5.07125, 0.04375, 0.221_867_187_5);
        assert_eq!(Calibration::default().apply(raw), raw);
    }

    #[test]
    fn nothing_reversed_is_nothing() {
        let calibration = Calibration {
            reverse: true,
            ..Calibration::default()
        };
        let Measured { current, power, .. } = calibration.apply(Measured::new(5.0, 0.0, 0.0));
        assert!(current.0.is_sign_positive() && power.0.is_sign_positive());
    }

    #[test]
    fn gain_offset_and_direction_reach_voltage_current_and_power() {
        let calibration = Calibration {
            current_gain: 1.5,
            current_offset: Amperes(0.5),
            voltage_gain: 2.0,
            reverse: true,
        };
        let Measured {
            voltage,
            current,
            power,
        } = calibration.apply(Measured::new(5.0, 1.0, 5.0));
        assert_eq!(
            (voltage, current, power),
            (Volts(10.0), Amperes(-2.0), Watts(-20.0))
        );
        assert!((calibration.chip_current(-2.0) - 1.0).abs() < 1e-12);
        assert!((calibration.chip_voltage(10.0) - 5.0).abs() < 1e-12);
        assert!((calibration.chip_power(15.0) - 5.0).abs() < 1e-12);
    }
}
