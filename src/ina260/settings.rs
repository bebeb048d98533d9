//! Averaging and conversion times: what the chip does with its one converter (SBOS656C, section 8.4 and table 6).

use std::time::Duration;

use super::registers::CONFIGURATION_FIXED;

/// How many conversions make a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
#[expect(missing_docs, reason = "the names are the counts")]
pub enum Averaging {
    X1,
    X4,
    X16,
    X64,
    X128,
    X256,
    X512,
    X1024,
}

impl Averaging {
    /// Every value, in the order of its bits.
    pub const ALL: [Self; 8] = [
        Self::X1,
        Self::X4,
        Self::X16,
        Self::X64,
        Self::X128,
        Self::X256,
        Self::X512,
        Self::X1024,
    ];
    const SHIFT: u32 = 9; // AVG, bits 11-9

    /// The number of conversions.
    #[must_use]
    pub const fn count(self) -> u32 {
        [1, 4, 16, 64, 128, 256, 512, 1024][self as usize]
    }

    /// The value for a number of conversions, if the chip has it.
    #[must_use]
    pub fn from_count(count: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|averaging| averaging.count() == count)
    }

    const fn bits(self) -> u16 {
        (self as u16) << Self::SHIFT
    }
}

/// How long one conversion takes, nominally; the chip may take 10 % longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
#[expect(missing_docs, reason = "the names are the times")]
pub enum ConversionTime {
    Us140,
    Us204,
    Us332,
    Us588,
    Us1100,
    Us2116,
    Us4156,
    Us8244,
}

impl ConversionTime {
    /// Every value, in the order of its bits.
    pub const ALL: [Self; 8] = [
        Self::Us140,
        Self::Us204,
        Self::Us332,
        Self::Us588,
        Self::Us1100,
        Self::Us2116,
        Self::Us4156,
        Self::Us8244,
    ];
    const VOLTAGE_SHIFT: u32 = 6; // VBUSCT, bits 8-6
    const CURRENT_SHIFT: u32 = 3; // ISHCT, bits 5-3

    /// In microseconds.
    #[must_use]
    pub const fn micros(self) -> u32 {
        [140, 204, 332, 588, 1100, 2116, 4156, 8244][self as usize]
    }

    /// The value for a time in microseconds, if the chip has it.
    #[must_use]
    pub fn from_micros(micros: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|time| time.micros() == micros)
    }
}

/// MODE, bits 2-0: what is converted, and whether again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Mode {
    /// Nothing is converted.
    PowerDown = 0b000,
    /// One current conversion, then nothing.
    CurrentTriggered = 0b001,
    /// One voltage conversion, then nothing.
    VoltageTriggered = 0b010,
    /// One of both, then nothing.
    BothTriggered = 0b011,
    /// Current, for ever.
    CurrentContinuous = 0b101,
    /// Voltage, for ever.
    VoltageContinuous = 0b110,
    /// Both, for ever: the power-on mode, and the only one that measures power without gaps.
    BothContinuous = 0b111,
}

impl Mode {
    /// The mode in the content of a configuration register.
    #[must_use]
    pub const fn from_word(word: u16) -> Self {
        match word & 0b111 {
            0b001 => Self::CurrentTriggered,
            0b010 => Self::VoltageTriggered,
            0b011 => Self::BothTriggered,
            0b101 => Self::CurrentContinuous,
            0b110 => Self::VoltageContinuous,
            0b111 => Self::BothContinuous,
            _ => Self::PowerDown, // 000 and 100
        }
    }

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PowerDown => "powered down",
            Self::CurrentTriggered => "current, on demand",
            Self::VoltageTriggered => "voltage, on demand",
            Self::BothTriggered => "voltage and current, on demand",
            Self::CurrentContinuous => "current, continuously",
            Self::VoltageContinuous => "voltage, continuously",
            Self::BothContinuous => "voltage and current, continuously",
        }
    }
}

/// What a sensor is set to; always converts both quantities, continuously.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Poller in a result.
    pub averaging: Averaging,
    /// Of one voltage conversion.
    pub voltage_conversion_time: ConversionTime,
    /// Of one current conversion.
    pub current_conversion_time: ConversionTime,
}

/// The parts of the settings that somebody decided; the others follow from the interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Poller in a result.
    pub averaging: Option<Averaging>,
    /// Of one voltage conversion.
    pub voltage_conversion_time: Option<ConversionTime>,
    /// Of one current conversion.
    pub current_conversion_time: Option<ConversionTime>,
}

/// The interval is shorter than the shortest cycle that is possible; holds that cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooShort(pub Duration);

impl Settings {
    /// The content of the configuration register.
    #[must_use]
    pub const fn word(self) -> u16 {
        CONFIGURATION_FIXED
            | self.averaging.bits()
            | (self.voltage_conversion_time as u16) << ConversionTime::VOLTAGE_SHIFT
            | (self.current_conversion_time as u16) << ConversionTime::CURRENT_SHIFT
            | Mode::BothContinuous as u16
    }

    /// The settings in the content of a configuration register, if it converts both quantities continuously.
    #[must_use]
    pub fn from_word(word: u16) -> Option<Self> {
        let field = |shift: u32| usize::from(word >> shift & 0b111);
        (word & 0b111 == Mode::BothContinuous as u16).then(|| Self {
            averaging: Averaging::ALL[field(Averaging::SHIFT)],
            voltage_conversion_time: ConversionTime::ALL[field(ConversionTime::VOLTAGE_SHIFT)],
            current_conversion_time: ConversionTime::ALL[field(ConversionTime::CURRENT_SHIFT)],
        })
    }

    /// Nominal time from one result to the next: the one converter alternates between current and voltage.
    #[must_use]
    pub const fn cycle(self) -> Duration {
        Duration::from_micros((self.inner_micros() * self.averaging.count()) as u64)
    }

    const fn inner_micros(self) -> u32 {
        self.current_conversion_time.micros() + self.voltage_conversion_time.micros()
    }

    /// The converter spends at least half of its time, and at most 80 %, on the current: it moves faster than the voltage,
    /// but the product of both needs both.
    fn balanced(self) -> bool {
        let (current, voltage) = (
            self.current_conversion_time.micros(),
            self.voltage_conversion_time.micros(),
        );
        current >= voltage && current <= 4 * voltage
    }

    /// The settings for a longest cycle of `interval`.
    ///
    /// Of the cycles that fill at least 85 % of it (if none does, of the longest), the one whose conversions alternate
    /// fastest, since a load that moves between two conversions is what an average gets wrong.
    ///
    /// # Errors
    /// [`TooShort`] if not even the shortest cycle fits.
    pub fn for_interval(interval: Duration, wanted: Wanted) -> Result<Self, TooShort> {
        let possible = Self::possible(wanted);
        let fits = |settings: &Self| settings.cycle() <= interval;
        let mut candidates: Vec<Self> = possible
            .iter()
            .copied()
            .filter(|s| fits(s) && s.balanced())
            .collect();
        if candidates.is_empty() {
            candidates = possible.iter().copied().filter(fits).collect();
        }
        let longest = candidates.iter().map(|s| s.cycle()).max();
        let floor = longest.map(|longest| longest.min(interval.mul_f64(0.85)));
        candidates
            .into_iter()
            .filter(|s| Some(s.cycle()) >= floor)
            .min_by_key(|s| (s.inner_micros(), std::cmp::Reverse(s.cycle())))
            .ok_or_else(|| TooShort(possible.iter().map(|s| s.cycle()).min().unwrap_or_default()))
    }

    fn possible(wanted: Wanted) -> Vec<Self> {
        let mut all = Vec::with_capacity(512);
        for averaging in Averaging::ALL {
            for voltage_conversion_time in ConversionTime::ALL {
                for current_conversion_time in ConversionTime::ALL {
                    all.push(Self {
                        averaging,
                        voltage_conversion_time,
                        current_conversion_time,
                    });
                }
            }
        }
        all.retain(|s| {
            wanted.averaging.is_none_or(|w| w == s.averaging)
                && wanted
                    .voltage_conversion_time
                    .is_none_or(|w| w == s.voltage_conversion_time)
                && wanted
                    .current_conversion_time
                    .is_none_or(|w| w == s.current_conversion_time)
        });
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(interval: Duration) -> (u32, u32, u32) {
        let s = Settings::for_interval(interval, Wanted::default()).unwrap();
        (
            s.averaging.count(),
            s.current_conversion_time.micros(),
            s.voltage_conversion_time.micros(),
        )
    }

    #[test]
    fn an_interval_finds_the_settings_that_fill_it_and_alternate_fastest() {
        assert_eq!(auto(Duration::from_secs(1)), (1024, 588, 332)); // 942.08 ms
        assert_eq!(auto(Duration::from_millis(100)), (256, 204, 140)); // 88.06 ms
        assert_eq!(auto(Duration::from_millis(10)), (16, 332, 204)); // 8.576 ms
        assert_eq!(auto(Duration::from_millis(1)), (1, 588, 332)); // 0.92 ms
    }

    #[test]
    fn the_corners_are_the_shortest_and_the_longest_cycle() {
        assert_eq!(auto(Duration::from_micros(280)), (1, 140, 140));
        assert_eq!(auto(Duration::from_secs(60)), (1024, 8244, 8244));
        assert_eq!(
            Settings::for_interval(Duration::from_micros(279), Wanted::default()),
            Err(TooShort(Duration::from_micros(280)))
        );
    }

    #[test]
    fn every_interval_gets_a_cycle_that_fits_and_as_long_as_it_can_be() {
        let mut micros = 280_u64;
        while micros < 20_000_000 {
            let interval = Duration::from_micros(micros);
            let s = Settings::for_interval(interval, Wanted::default()).unwrap();
            assert!(s.cycle() <= interval && s.balanced(), "{interval:?}: {s:?}");
            let longest = Settings::possible(Wanted::default())
                .into_iter()
                .filter(|s| s.cycle() <= interval && s.balanced())
                .map(Settings::cycle)
                .max()
                .unwrap();
            assert!(
                s.cycle() >= longest.min(interval.mul_f64(0.85)),
                "{interval:?}: {s:?}"
            );
            micros += micros / 50 + 1;
        }
    }

    #[test]
    fn what_somebody_decided_stays() {
        let wanted = Wanted {
            averaging: Averaging::from_count(4),
            voltage_conversion_time: ConversionTime::from_micros(8244),
            current_conversion_time: ConversionTime::from_micros(140),
        };
        let s = Settings::for_interval(Duration::from_secs(1), wanted).unwrap();
        assert_eq!(s.cycle(), Duration::from_micros(4 * 8384));
        assert_eq!(
            Settings::for_interval(Duration::from_millis(30), wanted),
            Err(TooShort(Duration::from_micros(33_536)))
        );
        // A voltage time that leaves no room for a current time as long still fits.
        let wanted = Wanted {
            voltage_conversion_time: ConversionTime::from_micros(1100),
            ..Wanted::default()
        };
        let s = Settings::for_interval(Duration::from_micros(1500), wanted).unwrap();
        assert_eq!(
            (s.averaging.count(), s.current_conversion_time.micros()),
            (1, 204)
        );
    }

    #[test]
    fn the_configuration_word_has_the_fields_where_the_datasheet_puts_them() {
        let word = |averaging, voltage, current| {
            Settings {
                averaging: Averaging::from_count(averaging).unwrap(),
                voltage_conversion_time: ConversionTime::from_micros(voltage).unwrap(),
                current_conversion_time: ConversionTime::from_micros(current).unwrap(),
            }
            .word()
        };
        assert_eq!(word(1, 1100, 1100), 0x6127); // the power-on value
        assert_eq!(word(1024, 332, 588), 0x6E9F);
        assert_eq!(word(1, 140, 140), 0x6007);
        assert_eq!(word(1024, 8244, 8244), 0x6FFF);
    }

    #[test]
    fn numbers_the_chip_does_not_have_are_refused() {
        assert_eq!(Averaging::from_count(2), None);
        assert_eq!(ConversionTime::from_micros(141), None);
    }
}
