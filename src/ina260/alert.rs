//! The chip's comparator (SBOS656C, mask/enable and alert limit registers).
//!
//! It watches single conversions, not averages, so it sees what a result hides. It is always latched here: each look releases it, so
//! the pin gives a health and is no protection output.

use super::calibration::Calibration;

/// What the comparator watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Current above the limit.
    OverCurrent,
    /// Current below the limit.
    UnderCurrent,
    /// Bus voltage above the limit.
    OverVoltage,
    /// Bus voltage below the limit.
    UnderVoltage,
    /// Power above the limit, in either direction.
    OverPower,
}

impl Function {
    /// Every function, in the order of its bit, highest first.
    pub const ALL: [Self; 5] = [
        Self::OverCurrent,
        Self::UnderCurrent,
        Self::OverVoltage,
        Self::UnderVoltage,
        Self::OverPower,
    ];

    /// What it is called in the configuration and in labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OverCurrent => "over-current",
            Self::UnderCurrent => "under-current",
            Self::OverVoltage => "over-voltage",
            Self::UnderVoltage => "under-voltage",
            Self::OverPower => "over-power",
        }
    }

    /// The unit of its limit.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::OverCurrent | Self::UnderCurrent => "A",
            Self::OverVoltage | Self::UnderVoltage => "V",
            Self::OverPower => "W",
        }
    }

    /// With the wires the other way round, over-current is the chip's under-current.
    const fn seen_through(self, calibration: &Calibration) -> Self {
        match self {
            Self::OverCurrent if calibration.reverse => Self::UnderCurrent,
            Self::UnderCurrent if calibration.reverse => Self::OverCurrent,
            other => other,
        }
    }

    /// OCL, UCL, BOL, BUL and POL: bits 15 to 11.
    const fn bit(self) -> u16 {
        0x8000 >> self as u16
    }
}

/// What the alert pin does when the comparator trips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Polarity {
    /// It is pulled low (APOL 0).
    #[default]
    ActiveLow,
    /// It is let go (APOL 1).
    ActiveHigh,
}

/// A function with its limit as the chip has to know it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alert {
    /// As somebody asked for it.
    pub function: Function,
    /// The same in its base unit.
    pub limit: f64,
    /// Of the pin.
    pub polarity: Polarity,
    chip_function: Function,
    word: u16,
}

/// The limit does not fit the register: least and greatest possible, in the base unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutOfRange(pub f64, pub f64);

impl Alert {
    const APOL: u16 = 1 << 1;

    /// Finds what has to be written for a `limit` in amperes, volts or watts, seen through a calibration.
    ///
    /// # Errors
    /// [`OutOfRange`] if the register can't hold it.
    pub fn new(
        function: Function,
        limit: f64,
        polarity: Polarity,
        calibration: &Calibration,
    ) -> Result<Self, OutOfRange> {
        let chip_function = function.seen_through(calibration);
        let (steps, range, step) = match function {
            Function::OverCurrent | Function::UnderCurrent => (
                calibration.chip_current(limit) / 0.00125,
                (-32_768.0, 32_767.0),
                0.00125,
            ),
            Function::OverVoltage | Function::UnderVoltage => (
                calibration.chip_voltage(limit) / 0.00125,
                (0.0, 32_767.0),
                0.00125,
            ),
            Function::OverPower => (calibration.chip_power(limit) / 0.01, (0.0, 41_943.0), 0.01),
        };
        let rounded = steps.round();
        if !(range.0..=range.1).contains(&rounded) {
            return Err(OutOfRange(range.0 * step, range.1 * step));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked; two's complement"
        )]
        let word = rounded as i32 as u16;
        Ok(Self {
            function,
            limit,
            polarity,
            chip_function,
            word,
        })
    }

    /// What a chip watches that holds these words, seen through a calibration: the function of the highest bit, as the chip decides
    /// where there are several.
    #[must_use]
    pub fn from_words(mask_enable: u16, word: u16, calibration: &Calibration) -> Option<Self> {
        let chip_function = Function::ALL
            .into_iter()
            .find(|function| mask_enable & function.bit() != 0)?;
        let (signed, unsigned) = (f64::from(word.cast_signed()), f64::from(word));
        let (function, limit) = match chip_function {
            Function::OverCurrent | Function::UnderCurrent => (
                chip_function.seen_through(calibration),
                calibration.true_current(signed * 1_250.0 / 1e6),
            ),
            Function::OverVoltage | Function::UnderVoltage => (
                chip_function,
                unsigned * 1_250.0 / 1e6 * calibration.voltage_gain,
            ),
            Function::OverPower => (
                chip_function,
                unsigned / 100.0 * (calibration.current_gain * calibration.voltage_gain),
            ),
        };
        let polarity = if mask_enable & Self::APOL == 0 {
            Polarity::ActiveLow
        } else {
            Polarity::ActiveHigh
        };
        Some(Self {
            function,
            limit,
            polarity,
            chip_function,
            word,
        })
    }

    /// The content of the alert limit register.
    #[must_use]
    pub const fn limit_word(&self) -> u16 {
        self.word
    }

    /// Its bits in the mask/enable register.
    #[must_use]
    pub const fn mask_bits(&self) -> u16 {
        let polarity = match self.polarity {
            Polarity::ActiveLow => 0,
            Polarity::ActiveHigh => Self::APOL,
        };
        self.chip_function.bit() | polarity
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
    ) -> Result<(u16, u16), OutOfRange> {
        let alert = Alert::new(function, limit, Polarity::ActiveLow, calibration)?;
        Ok((alert.mask_bits(), alert.limit_word()))
    }

    #[test]
    fn limits_are_written_in_the_unit_of_their_register() {
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
    fn a_limit_that_the_register_cannot_hold_is_refused_with_its_range() {
        let plain = Calibration::default();
        assert_eq!(
            words(Function::OverPower, 419.44, &plain),
            Err(OutOfRange(0.0, 419.43))
        );
        assert_eq!(
            words(Function::OverVoltage, -1.0, &plain),
            Err(OutOfRange(0.0, 40.95875))
        );
        assert_eq!(
            words(Function::OverCurrent, 41.0, &plain),
            Err(OutOfRange(-40.96, 40.95875))
        );
        assert!(words(Function::OverCurrent, f64::NAN, &plain).is_err());
    }

    #[test]
    fn calibration_and_direction_are_taken_into_account() {
        let reverse = Calibration {
            reverse: true,
            ..Calibration::default()
        };
        assert_eq!(
            words(Function::OverCurrent, 5.0, &reverse),
            Ok((0x4000, 0xF060))
        );
        assert_eq!(
            words(Function::UnderCurrent, 5.0, &reverse),
            Ok((0x8000, 0xF060))
        );
        let gain = Calibration {
            current_gain: 2.0,
            current_offset: Amperes(1.0),
            voltage_gain: 0.5,
            reverse: false,
        };
        assert_eq!(words(Function::OverCurrent, 5.0, &gain), Ok((0x8000, 1600)));
        assert_eq!(words(Function::OverVoltage, 5.0, &gain), Ok((0x2000, 8000)));
    }

    #[test]
    fn the_words_of_an_alert_are_read_as_what_was_asked_for() {
        let calibration = Calibration {
            current_gain: 2.0,
            current_offset: Amperes(1.0),
            voltage_gain: 0.5,
            reverse: true,
        };
        for calibration in [Calibration::default(), calibration] {
            for function in Function::ALL {
                for polarity in [Polarity::ActiveLow, Polarity::ActiveHigh] {
                    let asked = Alert::new(function, 5.0, polarity, &calibration).unwrap();
                    let words = (asked.mask_bits() | 1, asked.limit_word());
                    assert_eq!(
                        Alert::from_words(words.0, words.1, &calibration),
                        Some(asked)
                    );
                }
            }
        }
        assert_eq!(Alert::from_words(0x0403, 1, &Calibration::default()), None);
        let both = Alert::from_words(0x5000, 4000, &Calibration::default()).unwrap();
        assert_eq!(both.function, Function::UnderCurrent);
    }

    #[test]
    fn polarity_is_bit_1() {
        let alert = Alert::new(
            Function::OverPower,
            10.0,
            Polarity::ActiveHigh,
            &Calibration::default(),
        );
        assert_eq!(alert.unwrap().mask_bits(), 0x0802);
    }
}
