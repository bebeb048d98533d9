//! Calibration of a sensor.

use crate::units::{Amperes, Measured, Quantity, Volts, Watts};

/// Corrections against a reference instrument, and the direction of the wiring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// Factor for the chip's current (gain error up to 0.15 % at 25 °C).
    pub current_gain: f64,
    /// Offset added afterwards (offset error up to 5 mA).
    pub current_offset: Amperes,
    /// Factor for the chip's voltage.
    pub voltage_gain: f64,
    /// IN+ and IN- are swapped.
    pub reverse: bool,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { current_gain: 1.0, current_offset: Amperes(0.0), voltage_gain: 1.0, reverse: false }
    }
}

impl Calibration {
    fn sign(&self) -> f64 {
        if self.reverse { -1.0 } else { 1.0 }
    }

    /// Corrects the values of the chip: power by the gains and the offset of the other two.
    pub(crate) fn apply(&self, chip: Measured) -> Measured {
        let volts = self.true_value(Quantity::Voltage, chip.voltage.0);
        let amperes = self.true_value(Quantity::Current, chip.current.0);
        let offset = self.current_offset.0;
        let watts =
            (chip.power.0 * self.current_gain * self.voltage_gain + volts * offset) * self.sign();
        Measured {
            voltage: Volts(volts),
            // `+ 0.0` turns -0.0 into 0.0.
            current: Amperes(amperes + 0.0),
            power: Watts(watts + 0.0),
        }
    }

    /// Returns the true value for a value of the chip; of power, the magnitude without the current
    /// offset, whose share of the power depends on the voltage.
    pub(crate) fn true_value(&self, quantity: Quantity, chip: f64) -> f64 {
        match quantity {
            Quantity::Current => (chip * self.current_gain + self.current_offset.0) * self.sign(),
            Quantity::Voltage => chip * self.voltage_gain,
            Quantity::Power => chip * (self.current_gain * self.voltage_gain),
        }
    }

    /// Returns the value of the chip for a true value: the inverse of [`Self::true_value`].
    pub(crate) fn chip_value(&self, quantity: Quantity, value: f64) -> f64 {
        match quantity {
            Quantity::Current => (value * self.sign() - self.current_offset.0) / self.current_gain,
            Quantity::Voltage => value / self.voltage_gain,
            Quantity::Power => value / (self.current_gain * self.voltage_gain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_calibration_is_the_identity() {
        let raw = Measured::new(5.07125, 0.04375, 0.221_867_187_5);
        assert_eq!(Calibration::default().apply(raw), raw);
    }

    #[test]
    fn reversed_zero_is_positive_zero() {
        let calibration = Calibration { reverse: true, ..Calibration::default() };
        let Measured { current, power, .. } = calibration.apply(Measured::new(5.0, 0.0, 0.0));
        assert!(current.0.is_sign_positive() && power.0.is_sign_positive());
    }

    #[test]
    fn calibration_applies_to_all_quantities() {
        let calibration = Calibration {
            current_gain: 1.5,
            current_offset: Amperes(0.5),
            voltage_gain: 2.0,
            reverse: true,
        };
        let Measured { voltage, current, power } = calibration.apply(Measured::new(5.0, 1.0, 5.0));
        assert_eq!((voltage, current, power), (Volts(10.0), Amperes(-2.0), Watts(-20.0)));
        assert!((calibration.chip_value(Quantity::Current, -2.0) - 1.0).abs() < 1e-12);
        assert!((calibration.chip_value(Quantity::Voltage, 10.0) - 5.0).abs() < 1e-12);
        assert!((calibration.chip_value(Quantity::Power, 15.0) - 5.0).abs() < 1e-12);
    }
}
