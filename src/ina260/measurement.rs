//! Conversion of register words to units: pure functions, scaled in integers and divided once, so
//! that 0.04375 does not print as 0.043750000000000004.

use crate::units::{Amperes, Measured, Volts, Watts};

/// One bit of voltage times one bit of current, 1.25 mV × 1.25 mA, in units of 1e-10 W.
const PRODUCT: i64 = 15_625;
/// One bit of the power register, 10 mW, in units of 1e-10 W.
const POWER_STEP: i64 = 100_000_000;

/// Register words of one result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measurement {
    /// Content of the bus voltage register.
    pub voltage_word: u16,
    /// Content of the current register.
    pub current_word: u16,
    /// Content of the power register, if it was read.
    pub power_word: Option<u16>,
    /// Overflow flag: the power register is invalid.
    pub overflow: bool,
}

impl Measurement {
    /// Converts the bus voltage register: 1.25 mV per bit.
    pub fn voltage(&self) -> Volts {
        Volts(f64::from(i32::from(self.voltage_word) * 1_250) / 1e6)
    }

    /// Converts the current register: 1.25 mA per bit, two's complement.
    pub fn current(&self) -> Amperes {
        Amperes(f64::from(i32::from(self.current_word.cast_signed()) * 1_250) / 1e6)
    }

    /// Returns the power, with the sign of the current.
    ///
    /// The power register holds a mean of products, which differs from the product of the means if
    /// the voltage sags under load. The product has the finer resolution: it is used while it
    /// matches the register within one step, and if the register was not read or is invalid.
    #[expect(clippy::cast_precision_loss, reason = "65535 × 32768 × 15625 is less than 2^53")]
    pub fn power(&self) -> Watts {
        let product = self.product();
        let register = self.power_word.filter(|_| !self.overflow);
        let power = match register.map(|word| i64::from(word) * POWER_STEP) {
            Some(register) if (product.abs() - register).abs() > POWER_STEP => {
                register * if product < 0 { -1 } else { 1 }
            }
            _ => product,
        };
        Watts(power as f64 / 1e10)
    }

    /// Returns voltage times current in units of 1e-10 W.
    fn product(&self) -> i64 {
        i64::from(self.voltage_word) * i64::from(self.current_word.cast_signed()) * PRODUCT
    }

    /// Returns voltage, current and power, before calibration.
    pub fn measured(&self) -> Measured {
        Measured { voltage: self.voltage(), current: self.current(), power: self.power() }
    }

    /// Returns whether a register has its power-on value, 0, which may result from a brown-out
    /// after the flags were read.
    pub fn looks_like_power_on(&self) -> bool {
        let expects_power = self.product().abs() > POWER_STEP;
        self.voltage_word == 0 || (expects_power && self.power_word == Some(0))
    }

    /// Returns the content of the power register in milliwatts: 10 mW per bit, unsigned.
    pub fn power_register_milliwatts(&self) -> Option<f64> {
        self.power_word.map(|word| f64::from(u32::from(word) * 10))
    }

    /// Returns the current in milliamperes, before calibration.
    pub fn current_milliamperes(&self) -> f64 {
        f64::from(i32::from(self.current_word.cast_signed()) * 125) / 100.0
    }

    /// Returns whether the voltage is at the end of its scale, 40.96 V, or invalid.
    pub const fn voltage_saturated(&self) -> bool {
        self.voltage_word >= 0x7FFF
    }

    /// Returns whether the current is at an end of its scale, ±40.96 A.
    pub const fn current_saturated(&self) -> bool {
        matches!(self.current_word, 0x7FFF | 0x8000)
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
        assert!(
            words(0x7FFF, 0, None).voltage_saturated()
                && words(0x8000, 0, None).voltage_saturated()
        );
        assert!(!words(0x7FFE, 0x7FFE, None).voltage_saturated());
        assert!(
            words(0, 0x7FFF, None).current_saturated()
                && words(0, 0x8000, None).current_saturated()
        );
    }

    #[test]
    fn product_is_used_while_it_matches_the_register() {
        // 12 V × 1 A: the register holds 1200 × 10 mW.
        assert_eq!(words(9600, 800, Some(1200)).power(), Watts(12.0));
        assert_eq!(words(9600, 801, Some(1201)).power(), Watts(12.015));
        // One step of difference is rounding, more is a rail that sags under its load.
        assert_eq!(words(9600, 800, Some(1199)).power(), Watts(12.0));
        assert_eq!(words(9600, 800, Some(1188)).power(), Watts(11.88));
        // Reverse current: the register is unsigned.
        assert_eq!(words(9600, 0xFCE0, Some(1188)).power(), Watts(-11.88));
        assert_eq!(words(9600, 0xFCE0, None).power(), Watts(-12.0));
    }

    #[test]
    fn overflowed_power_register_is_ignored() {
        let m = Measurement { overflow: true, ..words(0x7FFF, 0x7FFF, Some(41_943)) };
        assert_eq!(m.power(), Watts(1_677.619_201_562_5));
    }
}
