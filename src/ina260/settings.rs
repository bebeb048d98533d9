//! Averaging, conversion times and mode of the single converter (SBOS656C, section 8.4, table 6).

use std::cmp::Reverse;
use std::time::Duration;

use strum::{FromRepr, IntoStaticStr, VariantArray};

use super::registers::CONFIGURATION_FIXED;

/// AVG: number of conversions averaged per result, which is the discriminant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRepr, VariantArray)]
#[repr(u32)]
#[expect(missing_docs, reason = "the names are the counts")]
pub enum Averaging {
    X1 = 1,
    X4 = 4,
    X16 = 16,
    X64 = 64,
    X128 = 128,
    X256 = 256,
    X512 = 512,
    X1024 = 1024,
}

impl Averaging {
    /// Every value, in the order of its bits.
    pub const ALL: &'static [Self] = Self::VARIANTS;
    const SHIFT: u32 = 9; // bits 11-9

    /// Returns the number of conversions.
    pub const fn count(self) -> u32 {
        self as u32
    }
}

/// VBUSCT and ISHCT: nominal time of one conversion in microseconds, which is the discriminant; the
/// chip may take 10 % longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRepr, VariantArray)]
#[repr(u32)]
#[expect(missing_docs, reason = "the names are the times")]
pub enum ConversionTime {
    Us140 = 140,
    Us204 = 204,
    Us332 = 332,
    Us588 = 588,
    Us1100 = 1100,
    Us2116 = 2116,
    Us4156 = 4156,
    Us8244 = 8244,
}

impl ConversionTime {
    /// Every value, in the order of its bits.
    pub const ALL: &'static [Self] = Self::VARIANTS;
    const VOLTAGE_SHIFT: u32 = 6; // VBUSCT, bits 8-6
    const CURRENT_SHIFT: u32 = 3; // ISHCT, bits 5-3

    /// Returns the time in microseconds.
    pub const fn micros(self) -> u32 {
        self as u32
    }
}

/// Returns the bits of a value of AVG, VBUSCT or ISHCT: its index in the data sheet's table.
fn bits<T: Copy + PartialEq + VariantArray>(value: T) -> u16 {
    T::VARIANTS.iter().zip(0..).find(|(it, _)| **it == value).map_or(0, |(_, index)| index)
}

/// MODE, bits 2-0: the quantities to convert, once or continuously, with the names shown by `read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRepr, IntoStaticStr)]
#[repr(u16)]
pub(crate) enum Mode {
    #[strum(serialize = "power-down")]
    PowerDown = 0b000,
    #[strum(serialize = "current, triggered")]
    CurrentTriggered = 0b001,
    #[strum(serialize = "voltage, triggered")]
    VoltageTriggered = 0b010,
    #[strum(serialize = "voltage and current, triggered")]
    BothTriggered = 0b011,
    #[strum(serialize = "current, continuous")]
    CurrentContinuous = 0b101,
    #[strum(serialize = "voltage, continuous")]
    VoltageContinuous = 0b110,
    /// The power-on mode, and the only one that measures power without gaps.
    #[strum(serialize = "voltage and current, continuous")]
    BothContinuous = 0b111,
}

impl Mode {
    /// Decodes the mode from the content of the configuration register; 100 is power-down, too.
    pub(crate) fn from_word(word: u16) -> Self {
        Self::from_repr(word & 0b111).unwrap_or(Self::PowerDown)
    }

    pub(crate) fn name(self) -> &'static str {
        self.into()
    }
}

/// Averaging and conversion times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the types describe the fields")]
pub struct Settings {
    pub averaging: Averaging,
    pub voltage_conversion_time: ConversionTime,
    pub current_conversion_time: ConversionTime,
}

/// Settings given explicitly; the others follow from the interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the types describe the fields")]
pub struct PartialSettings {
    pub averaging: Option<Averaging>,
    pub voltage_conversion_time: Option<ConversionTime>,
    pub current_conversion_time: Option<ConversionTime>,
}

impl Settings {
    /// Returns the configuration register for continuous conversion of both quantities.
    pub fn word(self) -> u16 {
        CONFIGURATION_FIXED
            | bits(self.averaging) << Averaging::SHIFT
            | bits(self.voltage_conversion_time) << ConversionTime::VOLTAGE_SHIFT
            | bits(self.current_conversion_time) << ConversionTime::CURRENT_SHIFT
            | Mode::BothContinuous as u16
    }

    /// Decodes the settings from the content of the configuration register, whatever its mode.
    pub fn from_word(word: u16) -> Self {
        let bits = |shift: u32| usize::from(word >> shift & 0b111);
        Self {
            averaging: Averaging::ALL[bits(Averaging::SHIFT)],
            voltage_conversion_time: ConversionTime::ALL[bits(ConversionTime::VOLTAGE_SHIFT)],
            current_conversion_time: ConversionTime::ALL[bits(ConversionTime::CURRENT_SHIFT)],
        }
    }

    /// Returns the nominal time of a result: the converter alternates between the two quantities.
    pub const fn cycle(self) -> Duration {
        let pair = self.current_conversion_time.micros() + self.voltage_conversion_time.micros();
        Duration::from_micros((pair * self.averaging.count()) as u64)
    }

    /// Returns whether the current gets 50 % to 80 % of the converter's time: it changes faster
    /// than the voltage, but their product needs both.
    fn is_balanced(self) -> bool {
        let voltage = self.voltage_conversion_time.micros();
        (voltage..=4 * voltage).contains(&self.current_conversion_time.micros())
    }

    /// Selects the settings for a cycle of at most `interval`, see `docs/architecture.md`.
    ///
    /// # Errors
    /// The shortest possible cycle, if not even that fits.
    pub fn for_interval(interval: Duration, partial: PartialSettings) -> Result<Self, Duration> {
        let shortfall = |s: &Self| interval.mul_f64(0.82).saturating_sub(s.cycle());
        let pair = |s: &Self| s.cycle() / s.averaging.count();
        Self::candidates(partial)
            .filter(|s| s.cycle() <= interval)
            .min_by_key(|s| (!s.is_balanced(), shortfall(s), pair(s), Reverse(s.cycle())))
            .ok_or_else(|| Self::candidates(partial).map(Self::cycle).min().unwrap_or_default())
    }

    /// Returns all settings that include the partial ones.
    fn candidates(partial: PartialSettings) -> impl Iterator<Item = Self> {
        let includes_partial = move |it: &Self| {
            partial.averaging.is_none_or(|given| given == it.averaging)
                && partial.voltage_conversion_time.is_none_or(|t| t == it.voltage_conversion_time)
                && partial.current_conversion_time.is_none_or(|t| t == it.current_conversion_time)
        };
        (0..1 << 9)
            .map(|bits| Self::from_word(bits << ConversionTime::CURRENT_SHIFT))
            .filter(includes_partial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(interval: Duration) -> (u32, u32, u32) {
        let s = Settings::for_interval(interval, PartialSettings::default()).unwrap();
        (
            s.averaging.count(),
            s.current_conversion_time.micros(),
            s.voltage_conversion_time.micros(),
        )
    }

    #[test]
    fn interval_selects_fast_alternating_settings() {
        assert_eq!(auto(Duration::from_secs(1)), (1024, 588, 332)); // 942.08 ms
        assert_eq!(auto(Duration::from_millis(100)), (256, 204, 140)); // 88.06 ms
        assert_eq!(auto(Duration::from_millis(10)), (16, 332, 204)); // 8.576 ms
        assert_eq!(auto(Duration::from_millis(1)), (1, 588, 332)); // 0.92 ms
    }

    #[test]
    fn extreme_intervals_select_extreme_cycles() {
        assert_eq!(auto(Duration::from_micros(280)), (1, 140, 140));
        assert_eq!(auto(Duration::from_secs(60)), (1024, 8244, 8244));
        assert_eq!(
            Settings::for_interval(Duration::from_micros(279), PartialSettings::default()),
            Err(Duration::from_micros(280))
        );
    }

    #[test]
    fn cycle_fits_and_fills_every_interval() {
        let mut micros = 280_u64;
        while micros < 20_000_000 {
            let interval = Duration::from_micros(micros);
            let s = Settings::for_interval(interval, PartialSettings::default()).unwrap();
            assert!(s.cycle() <= interval && s.is_balanced(), "{interval:?}: {s:?}");
            let longest = Settings::candidates(PartialSettings::default())
                .filter(|s| s.cycle() <= interval && s.is_balanced())
                .map(Settings::cycle)
                .max()
                .unwrap();
            assert!(s.cycle() >= longest.min(interval.mul_f64(0.82)), "{interval:?}: {s:?}");
            micros += micros / 50 + 1;
        }
    }

    /// A step of the load between two conversions of the current is seen late.
    #[test]
    fn current_is_converted_often() {
        for micros in (280..20_000).chain((20_000..1_100_000).step_by(50)) {
            let interval = Duration::from_micros(micros);
            let s = Settings::for_interval(interval, PartialSettings::default()).unwrap();
            let pair = s.cycle() / s.averaging.count();
            assert!(pair <= Duration::from_micros(2200), "{interval:?}: {s:?}");
        }
    }

    #[test]
    fn explicit_settings_are_kept() {
        let partial = PartialSettings {
            averaging: Averaging::from_repr(4),
            voltage_conversion_time: ConversionTime::from_repr(8244),
            current_conversion_time: ConversionTime::from_repr(140),
        };
        let s = Settings::for_interval(Duration::from_secs(1), partial).unwrap();
        assert_eq!(s.cycle(), Duration::from_micros(4 * 8384));
        assert_eq!(
            Settings::for_interval(Duration::from_millis(30), partial),
            Err(Duration::from_micros(33_536))
        );
        // There is no room for a current conversion as long as the voltage conversion.
        let partial = PartialSettings {
            voltage_conversion_time: ConversionTime::from_repr(1100),
            ..PartialSettings::default()
        };
        let s = Settings::for_interval(Duration::from_micros(1550), partial).unwrap();
        assert_eq!((s.averaging.count(), s.current_conversion_time.micros()), (1, 204));
    }

    #[test]
    fn configuration_word_matches_the_data_sheet() {
        for (averaging, voltage, current, word) in [
            (1, 1100, 1100, 0x6127), // the power-on value
            (1024, 332, 588, 0x6E9F),
            (1, 140, 140, 0x6007),
            (1024, 8244, 8244, 0x6FFF),
        ] {
            let settings = Settings {
                averaging: Averaging::from_repr(averaging).unwrap(),
                voltage_conversion_time: ConversionTime::from_repr(voltage).unwrap(),
                current_conversion_time: ConversionTime::from_repr(current).unwrap(),
            };
            assert_eq!(settings.word(), word);
            assert_eq!(Settings::from_word(word), settings);
            assert_eq!(Mode::from_word(word), Mode::BothContinuous);
        }
        assert_eq!(Mode::from_word(0x6124), Mode::PowerDown);
        assert_eq!(Mode::from_word(0x6121), Mode::CurrentTriggered);
    }

    #[test]
    fn unsupported_values_are_rejected() {
        assert_eq!(Averaging::from_repr(2), None);
        assert_eq!(ConversionTime::from_repr(141), None);
    }
}
