//! Conversion of register words to units: pure functions, scaled in integers and divided once, so
//! that 0.04375 does not print as 0.043750000000000004.

use super::alert::Guard;
use super::registers::Register;
use crate::units::{Amperes, Measured, Quantity, Volts, Watts};

/// One bit of voltage times one bit of current, 1.25 mV × 1.25 mA, in units of 1e-10 W.
const PRODUCT: i64 = 15_625;
/// One bit of the power register, 10 mW, in units of 1e-10 W.
const POWER_STEP: i64 = 100_000_000;
/// Full scale of the power register, 419.43 W.
pub(crate) const POWER_LIMIT: u16 = 41_943;
/// Rated current of the chip, 15 A, in steps of its register.
const RATED_CURRENT: u16 = 12_000;

/// Register words of one result, that of the power register only if it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measurement {
    pub(crate) voltage_word: u16,
    pub(crate) current_word: u16,
    pub(crate) power_word: Option<u16>,
    /// Overflow flag: the power register is invalid.
    pub(crate) overflow: bool,
}

impl Measurement {
    /// Returns the word of a quantity's register, if it was read.
    pub(crate) fn word_mut(&mut self, register: Register) -> Option<&mut u16> {
        match register {
            Register::Current => Some(&mut self.current_word),
            Register::BusVoltage => Some(&mut self.voltage_word),
            Register::Power => self.power_word.as_mut(),
            _ => None,
        }
    }

    /// Converts the bus voltage register: 1.25 mV per bit.
    pub(crate) fn voltage(&self) -> Volts {
        Volts(f64::from(i32::from(self.voltage_word) * 1_250) / 1e6)
    }

    /// Converts the current register: 1.25 mA per bit, two's complement.
    pub(crate) fn current(&self) -> Amperes {
        Amperes(f64::from(i32::from(self.current_word.cast_signed()) * 1_250) / 1e6)
    }

    /// Returns the power, with the sign of the current: voltage times current, which has the finer
    /// resolution, while it matches a valid power register within one step. A smaller register is
    /// always right, but a greater one, which may average magnitudes, only if `greater_counts`.
    #[expect(clippy::cast_precision_loss, reason = "65535 × 32768 × 15625 is less than 2^53")]
    pub(crate) fn power(&self, greater_counts: bool) -> Watts {
        let counts =
            |excess: &i64| *excess < -POWER_STEP || greater_counts && self.has_greater_register();
        let magnitude = self.product().abs() + self.excess().filter(counts).unwrap_or_default();
        let power = match Guard::of(self.current_word) {
            Guard::Forward => magnitude,
            Guard::Reverse => -magnitude,
        };
        Watts(power as f64 / 1e10)
    }

    /// Returns whether the power register exceeds the product by more than a step, and by more than
    /// 2 × 10 mA times the voltage: rounding, and conversions within the guard's limit, add less.
    pub(crate) fn has_greater_register(&self) -> bool {
        let limit = 2 * i64::from(Guard::LIMIT) * i64::from(self.voltage_word) * PRODUCT;
        self.excess().is_some_and(|excess| excess > POWER_STEP.max(limit))
    }

    /// Returns the excess of a valid power register over |voltage × current|, in units of 1e-10 W.
    pub(crate) fn excess(&self) -> Option<i64> {
        let register = self.power_word.filter(|_| !self.overflow)?;
        Some(i64::from(register) * POWER_STEP - self.product().abs())
    }

    /// Returns whether a transfer may have corrupted a word, compared with the previous result.
    /// Then none of the words counts until it has been read twice: others may be wrong, too.
    pub(crate) fn is_suspicious(&self, previous: Option<&Self>) -> bool {
        // A wrong sign does not contradict the power register, which has none.
        let has_other_sign = |it: &Self| self.product().signum() == -it.product().signum();
        let is_reversed = self.power_word.is_some()
            && self.product().abs() > 2 * POWER_STEP
            && previous.is_some_and(has_other_sign);
        let is_overloaded = self.current_word.cast_signed().unsigned_abs() > RATED_CURRENT;
        // A rail that is switched off also reads 0; the next such result is not verified again.
        let is_off = self.voltage_word == 0 && !previous.is_some_and(Self::looks_like_power_on);
        self.is_impossible()
            || is_off
            || is_overloaded
            || is_reversed
            || self.disagrees(previous.and_then(Self::excess))
    }

    /// Returns whether product and power register differ by more than a tenth and two steps, and
    /// the excess of the previous result was not similar: a load whose power differs from voltage
    /// times current does so repeatedly.
    fn disagrees(&self, previous: Option<i64>) -> bool {
        let Some(excess) = self.excess() else { return false };
        let product = self.product().abs();
        let tolerance = product.max(product + excess) / 10 + 2 * POWER_STEP;
        // The product is rounded, too: without a load, by more than the register.
        let rounding = 2 * i64::from(self.voltage_word) * PRODUCT;
        let differs = |previous: i64| (excess - previous).abs() > tolerance + rounding;
        excess.abs() > tolerance && previous.is_none_or(differs)
    }

    pub(crate) fn is_impossible(&self) -> bool {
        // Bit 15 of the voltage register is always 0.
        self.voltage_word > 0x7FFF
            || !self.overflow && self.power_word.is_some_and(|word| word > POWER_LIMIT)
    }

    /// Returns voltage times current in units of 1e-10 W.
    fn product(&self) -> i64 {
        i64::from(self.voltage_word) * i64::from(self.current_word.cast_signed()) * PRODUCT
    }

    pub(crate) fn measured(&self, greater_counts: bool) -> Measured {
        Measured {
            voltage: self.voltage(),
            current: self.current(),
            power: self.power(greater_counts),
        }
    }

    /// Returns whether a register has its power-on value, 0, which may result from a brown-out
    /// after the flags were read.
    pub(crate) fn looks_like_power_on(&self) -> bool {
        let expects_power = self.product().abs() > POWER_STEP;
        self.voltage_word == 0 || (expects_power && self.power_word == Some(0))
    }

    /// Returns the content of the power register in milliwatts: 10 mW per bit, unsigned.
    pub(crate) fn power_register_milliwatts(&self) -> Option<f64> {
        self.power_word.map(|word| f64::from(u32::from(word) * 10))
    }

    /// Returns the current in milliamperes, before calibration.
    pub(crate) fn current_milliamperes(&self) -> f64 {
        f64::from(i32::from(self.current_word.cast_signed()) * 125) / 100.0
    }

    /// Returns the quantities that are at full scale (40.96 V, ±40.96 A), or invalid.
    pub(crate) fn overflows(&self) -> impl Iterator<Item = Quantity> {
        let out_of_range = [
            (Quantity::Power, self.overflow),
            (Quantity::Current, matches!(self.current_word, 0x7FFF | 0x8000)),
            (Quantity::Voltage, self.voltage_word >= 0x7FFF),
        ];
        out_of_range.into_iter().filter_map(|(quantity, is_out)| is_out.then_some(quantity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(voltage_word: u16, current_word: u16, power_word: Option<u16>) -> Measurement {
        Measurement { voltage_word, current_word, power_word, overflow: false }
    }

    /// `units` × 10^-`digits` in decimal notation without trailing zeros, from integers alone.
    fn decimal(units: i64, digits: usize) -> String {
        let sign = if units < 0 { "-" } else { "" };
        let text = format!("{:0>width$}", units.unsigned_abs(), width = digits + 1);
        let (whole, fraction) = text.split_at(text.len() - digits);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{fraction}")
    }

    #[test]
    fn words_print_as_exact_decimals() {
        for word in 0..=u16::MAX {
            let signed = i64::from(word.cast_signed());
            let m = words(word, word, Some(word));
            assert_eq!(m.voltage().0.to_string(), decimal(i64::from(word) * 125, 5));
            assert_eq!(m.current().0.to_string(), decimal(signed * 125, 5));
            assert_eq!(m.current_milliamperes().to_string(), decimal(signed * 125, 2));
            assert_eq!(
                m.power_register_milliwatts().unwrap().to_string(),
                decimal(i64::from(word) * 10, 0)
            );
        }
    }

    #[test]
    fn scale_ends_match_the_data_sheet() {
        for (word, volts) in [
            (0x0000, 0.0),
            (0x0001, 0.00125),
            (0x2570, 11.98),
            (0x7FFF, 40.95875),
            (0xFFFF, 81.91875),
        ] {
            assert_eq!(words(word, 0, None).voltage(), Volts(volts));
        }
        for (word, amperes) in [
            (0x0000, 0.0),
            (0x0001, 0.00125),
            (0x7FFF, 40.95875),
            (0x8000, -40.96),
            (0xFFFF, -0.00125),
            (0x2710, 12.5),
        ] {
            assert_eq!(words(0, word, None).current(), Amperes(amperes));
        }
        for (voltage, current, expected) in [
            (0x7FFE, 0x7FFE, &[][..]),
            (0x7FFF, 0, &[Quantity::Voltage]),
            (0x8000, 0, &[Quantity::Voltage]),
            (0, 0x7FFF, &[Quantity::Current]),
            (0x7FFF, 0x8000, &[Quantity::Current, Quantity::Voltage]),
        ] {
            let overflows: Vec<Quantity> = words(voltage, current, None).overflows().collect();
            assert_eq!(overflows, expected);
        }
    }

    #[test]
    fn product_is_used_while_it_matches_the_register() {
        // 12 V × 1 A: the register holds 1200 × 10 mW.
        assert_eq!(words(9600, 800, Some(1200)).power(true), Watts(12.0));
        assert_eq!(words(9600, 801, Some(1201)).power(true), Watts(12.015));
        // One step of difference is rounding, more is a rail that sags under its load.
        assert_eq!(words(9600, 800, Some(1199)).power(true), Watts(12.0));
        assert_eq!(words(9600, 800, Some(1188)).power(true), Watts(11.88));
        // Reverse current: the register is unsigned.
        assert_eq!(words(9600, 0xFCE0, Some(1188)).power(true), Watts(-11.88));
        assert_eq!(words(9600, 0xFCE0, None).power(true), Watts(-12.0));
    }

    #[test]
    fn greater_register_counts_with_the_guard_only() {
        // 12 V × 1 A is 1200; 2 × 10 mA × 12 V is 24.
        assert_eq!(words(9600, 800, Some(1201)).power(true), Watts(12.0));
        assert_eq!(words(9600, 800, Some(1224)).power(true), Watts(12.0));
        assert_eq!(words(9600, 800, Some(1225)).power(true), Watts(12.25));
        assert_eq!(words(9600, 0xFCE0, Some(1225)).power(true), Watts(-12.25));
        assert_eq!(words(9600, 800, Some(1225)).power(false), Watts(12.0));
        // A smaller one always counts.
        assert_eq!(words(9600, 800, Some(1188)).power(false), Watts(11.88));
        // Published for an INA226, scaled: -55 mA at 27.8 V, and a register of 4.27 W.
        let inverter = words(22_240, (-44_i16).cast_unsigned(), Some(427));
        assert_eq!(inverter.power(false), Watts(-1.529));
    }

    #[test]
    fn impossible_and_contradictory_words_are_suspicious() {
        let previous = words(9600, 800, Some(1200));
        for (measurement, expected) in [
            (previous, false),
            (words(9600, 800, Some(1322)), false), // a tenth
            (words(9600, 800, Some(1370)), true),
            (words(9600, 800, Some(1030)), true),
            (words(0x8000, 800, Some(1200)), true),
            (words(0xFFFF, 800, None), true),
            (words(0x0000, 800, Some(0)), true),
            (words(9600, 800, Some(41_944)), true),
            (words(9600, 12_000, Some(18_000)), false),
            (words(9600, 12_001, Some(18_002)), true),
            (words(9600, (-12_001_i16).cast_unsigned(), None), true),
            (words(9600, (-800_i16).cast_unsigned(), Some(1200)), true),
            (words(9600, (-800_i16).cast_unsigned(), None), false),
            (words(9600, (-1_i16).cast_unsigned(), Some(2)), false),
        ] {
            assert_eq!(measurement.is_suspicious(Some(&previous)), expected, "{measurement:?}");
        }
        // A load that pulses disagrees in each result.
        let pulses = words(4800, 1200, Some(1800));
        assert!(pulses.is_suspicious(Some(&previous)) && !pulses.is_suspicious(Some(&pulses)));
        // Nothing is known of the register when it overflows.
        let overflow = Measurement { overflow: true, ..words(9600, 800, Some(0xFFFF)) };
        assert!(!overflow.is_suspicious(Some(&previous)));
    }

    #[test]
    fn overflowed_power_register_is_ignored() {
        let m = Measurement { overflow: true, ..words(0x7FFF, 0x7FFF, Some(41_943)) };
        assert_eq!(m.power(true), Watts(1_677.619_201_562_5));
    }
}
