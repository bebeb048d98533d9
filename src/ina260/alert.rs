//! Alert comparator (SBOS656C, mask/enable and alert limit registers).
//!
//! The chip compares single conversions, not averages, so an alert shows peaks that a result hides.
//! The alert is always latched. Each poll clears the latch, so the ALERT pin only pulses: it is not
//! a protection output.

use std::ops::RangeInclusive;

use strum::{EnumString, FromRepr, IntoStaticStr, VariantArray};

use super::RegisterDump;
use super::calibration::Calibration;
use super::registers::{MaskEnable, word};
use crate::units::Quantity;

/// Alert function; its discriminant is its bit in the mask/enable register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
#[repr(u16)]
pub enum Function {
    /// OCL: current above the limit.
    OverCurrent = 1 << 15,
    /// UCL: current below the limit.
    UnderCurrent = 1 << 14,
    /// BOL: bus voltage above the limit.
    OverVoltage = 1 << 13,
    /// BUL: bus voltage below the limit.
    UnderVoltage = 1 << 12,
    /// POL: power above the limit, in either direction.
    OverPower = 1 << 11,
}

impl Function {
    /// Every function, highest bit first. The chip evaluates only the first one that is set.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Returns the name used in the configuration and in labels.
    pub fn name(self) -> &'static str {
        self.into()
    }

    const fn quantity(self) -> Quantity {
        match self {
            Self::OverCurrent | Self::UnderCurrent => Quantity::Current,
            Self::OverVoltage | Self::UnderVoltage => Quantity::Voltage,
            Self::OverPower => Quantity::Power,
        }
    }

    /// Returns the unit of the limit.
    pub const fn unit(self) -> &'static str {
        self.quantity().unit()
    }

    /// Swaps over- and under-current if the wiring is reversed.
    const fn mirrored_if_reversed(self, calibration: &Calibration) -> Self {
        match self {
            Self::OverCurrent if calibration.reverse => Self::UnderCurrent,
            Self::UnderCurrent if calibration.reverse => Self::OverCurrent,
            other => other,
        }
    }

    /// Returns the step of the alert limit register, in millionths of the unit, and its range.
    const fn scale(self) -> (f64, [f64; 2]) {
        match self.quantity() {
            Quantity::Current => (1_250.0, [-32_768.0, 32_767.0]),
            Quantity::Voltage => (1_250.0, [0.0, 32_767.0]),
            Quantity::Power => (10_000.0, [0.0, 41_943.0]),
        }
    }

    /// Converts steps of the alert limit register to the base unit.
    fn limit(self, steps: f64, calibration: &Calibration) -> f64 {
        calibration.true_value(self.quantity(), steps * self.scale().0 / 1e6)
    }
}

/// Polarity of the ALERT pin; its discriminant is the APOL bit of the mask/enable register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, FromRepr, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
#[repr(u16)]
pub enum Polarity {
    /// An alert pulls the pin low.
    #[default]
    ActiveLow = 0,
    /// An alert releases the pin.
    ActiveHigh = MaskEnable::ACTIVE_HIGH,
}

/// An alert function with its limit, and how the chip represents them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alert {
    /// Function as requested.
    pub function: Function,
    /// Limit as requested, in the base unit.
    pub limit: f64,
    /// Polarity of the ALERT pin.
    pub polarity: Polarity,
    /// Bits of the mask/enable register.
    pub mask_bits: u16,
    /// Content of the alert limit register.
    pub limit_word: u16,
}

impl Alert {
    /// Converts a `limit` in amperes, volts or watts to what the chip has to compare.
    ///
    /// # Errors
    /// The range of limits, with the calibration applied, if the register cannot hold this one.
    pub fn new(
        function: Function,
        limit: f64,
        polarity: Polarity,
        calibration: &Calibration,
    ) -> Result<Self, RangeInclusive<f64>> {
        let (step, range) = function.scale();
        let steps = (calibration.chip_value(function.quantity(), limit) / (step / 1e6)).round();
        if !(range[0]..=range[1]).contains(&steps) {
            let [a, b] = range.map(|steps| function.limit(steps, calibration));
            return Err(a.min(b)..=a.max(b));
        }
        let mask_bits = function.mirrored_if_reversed(calibration) as u16 | polarity as u16;
        Ok(Self { function, limit, polarity, mask_bits, limit_word: word(steps, range) })
    }

    /// Decodes the alert from the content of the mask/enable and alert limit registers.
    pub fn from_words(
        mask_enable: u16,
        limit_word: u16,
        calibration: &Calibration,
    ) -> Option<Self> {
        let chip_function =
            Function::ALL.iter().copied().find(|function| mask_enable & *function as u16 != 0)?;
        let steps = match chip_function.quantity() {
            Quantity::Current => f64::from(limit_word.cast_signed()),
            Quantity::Voltage | Quantity::Power => f64::from(limit_word),
        };
        let polarity = Polarity::from_repr(mask_enable & MaskEnable::ACTIVE_HIGH)?;
        Some(Self {
            function: chip_function.mirrored_if_reversed(calibration),
            limit: chip_function.limit(steps, calibration),
            polarity,
            mask_bits: chip_function as u16 | polarity as u16,
            limit_word,
        })
    }
}

/// The power guard (`docs/architecture.md`), named after the direction of the current that the chip
/// expects; the comparator trips on the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Trips on a conversion below -10 mA.
    Forward,
    /// Trips on a conversion above 10 mA.
    Reverse,
}

impl Guard {
    /// Limit in steps of the current register: 10 mA. Offset (±5 mA) and noise stay within it.
    pub(crate) const LIMIT: i16 = 8;

    /// Returns the direction of a word of the current register.
    pub(crate) const fn of(current_word: u16) -> Self {
        if current_word.cast_signed() < 0 { Self::Reverse } else { Self::Forward }
    }

    /// Returns the alert function and the limit register.
    const fn words(self) -> (u16, u16) {
        match self {
            Self::Forward => (Function::UnderCurrent as u16, (-Self::LIMIT).cast_unsigned()),
            Self::Reverse => (Function::OverCurrent as u16, Self::LIMIT.cast_unsigned()),
        }
    }
}

impl RegisterDump {
    /// Returns the registers with the comparator used by a guard, or unused.
    pub(crate) fn with_guard(self, guard: Option<Guard>) -> Self {
        let (function, alert_limit) = guard.map_or((0, 0), Guard::words);
        Self { mask_enable: MaskEnable(MaskEnable::LATCH | function), alert_limit, ..self }
    }

    /// Returns whether a guard uses the comparator.
    pub(crate) fn is_guarded(&self) -> bool {
        let uses = |guard| self.words() == self.with_guard(Some(guard)).words();
        uses(Guard::Forward) || uses(Guard::Reverse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Amperes;

    fn words(
        function: Function,
        limit: f64,
        calibration: &Calibration,
    ) -> Result<(u16, u16), RangeInclusive<f64>> {
        let alert = Alert::new(function, limit, Polarity::ActiveLow, calibration)?;
        Ok((alert.mask_bits, alert.limit_word))
    }

    #[test]
    fn limits_are_in_register_units() {
        let plain = Calibration::default();
        for (function, limit, expected) in [
            (Function::OverCurrent, 5.0, (0x8000, 4000)),
            (Function::OverCurrent, -5.0, (0x8000, 0xF060)),
            (Function::UnderCurrent, 0.1, (0x4000, 80)),
            (Function::OverVoltage, 12.6, (0x2000, 10_080)),
            (Function::UnderVoltage, 4.75, (0x1000, 3800)),
            (Function::OverPower, 419.43, (0x0800, 41_943)),
        ] {
            assert_eq!(words(function, limit, &plain), Ok(expected), "{function:?}");
        }
    }

    #[test]
    fn out_of_range_limit_returns_the_range() {
        let plain = Calibration::default();
        assert_eq!(words(Function::OverPower, 419.44, &plain), Err(0.0..=419.43));
        assert_eq!(words(Function::OverVoltage, -1.0, &plain), Err(0.0..=40.95875));
        assert_eq!(words(Function::OverCurrent, 41.0, &plain), Err(-40.96..=40.95875));
        assert!(words(Function::OverCurrent, f64::NAN, &plain).is_err());
    }

    #[test]
    fn limits_respect_calibration_and_direction() {
        let reverse = Calibration { reverse: true, ..Calibration::default() };
        assert_eq!(words(Function::OverCurrent, 5.0, &reverse), Ok((0x4000, 0xF060)));
        assert_eq!(words(Function::UnderCurrent, 5.0, &reverse), Ok((0x8000, 0xF060)));
        let gain = Calibration {
            current_gain: 2.0,
            current_offset: Amperes(1.0),
            voltage_gain: 0.5,
            reverse: false,
        };
        assert_eq!(words(Function::OverCurrent, 5.0, &gain), Ok((0x8000, 1600)));
        assert_eq!(words(Function::OverVoltage, 5.0, &gain), Ok((0x2000, 8000)));
        assert_eq!(words(Function::OverPower, 500.0, &gain), Err(0.0..=419.43));
        assert_eq!(words(Function::OverVoltage, 30.0, &gain), Err(0.0..=20.479_375));
    }

    #[test]
    fn alert_survives_a_register_round_trip() {
        let calibration = Calibration {
            current_gain: 2.0,
            current_offset: Amperes(1.0),
            voltage_gain: 0.5,
            reverse: true,
        };
        for calibration in [Calibration::default(), calibration] {
            for function in Function::ALL.iter().copied() {
                for polarity in [Polarity::ActiveLow, Polarity::ActiveHigh] {
                    let asked = Alert::new(function, 5.0, polarity, &calibration).unwrap();
                    let words = (asked.mask_bits | 1, asked.limit_word);
                    assert_eq!(Alert::from_words(words.0, words.1, &calibration), Some(asked));
                }
            }
        }
        assert_eq!(Alert::from_words(0x0403, 1, &Calibration::default()), None);
        let both = Alert::from_words(0x5000, 4000, &Calibration::default()).unwrap();
        assert_eq!(both.function, Function::UnderCurrent);
    }

    #[test]
    fn polarity_is_bit_1() {
        let alert =
            Alert::new(Function::OverPower, 10.0, Polarity::ActiveHigh, &Calibration::default());
        assert_eq!(alert.unwrap().mask_bits, 0x0802);
    }
}
