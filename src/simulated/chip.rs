//! A register-level INA260, from the datasheet and independent of the driver's way to it.
//!
//! It lives in the time since its bus was made, and catches up with it at each transfer.

use std::time::Duration;

use super::load::Load;
use crate::ina260::registers::{
    CONFIGURATION_FIXED, DIE, MANUFACTURER, MaskEnable, POWER_ON_CONFIGURATION, RESET,
};
use crate::ina260::settings::{Averaging, ConversionTime};

/// The power register's end of scale: 419.43 W.
const POWER_LIMIT: f64 = 41_943.0;

/// How many results the chip finished, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Averaged completely.
    pub finished: u64,
    /// Their current was read, at least once.
    pub read: u64,
    /// Overwritten before their current was read.
    pub lost: u64,
    /// Of those finished: before the configuration was written for the first time.
    pub before: u64,
}

/// One simulated sensor.
pub struct Chip {
    /// What it measures.
    pub load: Load,
    /// Its clock: 1.0 is nominal, 1.1 takes 10 % longer for everything.
    slowness: f64,
    /// The die identity register.
    pub die: u16,
    /// More power flows than its register holds, whatever the load.
    pub overloaded: bool,
    /// What became of its results.
    pub counts: Counts,
    /// How often a register was written.
    pub writes: u64,
    configuration: u16,
    /// Bits 15-10, 1 and 0.
    mask_enable: u16,
    flags: u16,
    alert_limit: u16,
    current: u16,
    voltage: u16,
    power: u16,
    /// When the conversions started over.
    started: Duration,
    /// Cycles finished since then.
    cycles: u64,
    /// The result in the registers was read.
    seen: bool,
}

impl Chip {
    /// A chip that was powered on when its bus was made.
    #[must_use]
    pub fn new(load: Load) -> Self {
        Self {
            load,
            slowness: 1.0,
            die: DIE,
            overloaded: false,
            counts: Counts::default(),
            writes: 0,
            configuration: POWER_ON_CONFIGURATION,
            mask_enable: 0,
            flags: 0,
            alert_limit: 0,
            current: 0,
            voltage: 0,
            power: 0,
            started: Duration::ZERO,
            cycles: 0,
            seen: true,
        }
    }

    /// Everything to its power-on value, as after a brown-out or with the reset bit.
    pub fn power_on(&mut self, now: Duration) {
        let (load, counts) = (
            std::mem::replace(&mut self.load, Load::steady(0.0, 0.0)),
            self.counts,
        );
        *self = Self {
            slowness: self.slowness,
            die: self.die,
            counts,
            writes: self.writes,
            ..Self::new(load)
        };
        self.started = now;
    }

    /// When its conversions started over.
    #[must_use]
    pub fn started(&self) -> Duration {
        self.started
    }

    /// Changes the speed of its clock; the conversion under way starts over.
    pub fn slow_down(&mut self, slowness: f64, now: Duration) {
        #[expect(clippy::float_cmp, reason = "set, not computed")]
        if slowness != self.slowness {
            self.catch_up(now);
            self.slowness = slowness;
            self.started = now;
            self.cycles = 0;
        }
    }

    /// The time from one result to the next.
    #[must_use]
    pub fn cycle(&self) -> Duration {
        let (averaging, voltage, current) = self.settings();
        Duration::from_micros(u64::from(averaging * (voltage + current))).mul_f64(self.slowness)
    }

    /// Poller in a result, and the microseconds of a voltage and of a current conversion.
    fn settings(&self) -> (u32, u32, u32) {
        let field = |shift: u32| usize::from(self.configuration >> shift & 0b111);
        (
            Averaging::ALL[field(9)].count(),
            ConversionTime::ALL[field(6)].micros(),
            ConversionTime::ALL[field(3)].micros(),
        )
    }

    /// Reads a register, as a transfer that ends at `now` does.
    pub fn read(&mut self, register: u8, now: Duration) -> u16 {
        self.catch_up(now);
        match register {
            0x00 => self.configuration,
            0x01 => {
                if !self.seen {
                    self.seen = true;
                    self.counts.read += 1;
                }
                self.current
            }
            0x02 => self.voltage,
            0x03 => self.power,
            0x06 => {
                let word = self.mask_enable | self.flags;
                self.flags &= MaskEnable::OVERFLOW;
                word
            }
            0x07 => self.alert_limit,
            0xFE => MANUFACTURER,
            0xFF => self.die,
            _ => 0,
        }
    }

    /// Writes a register, as a transfer that ends at `now` does.
    pub fn write(&mut self, register: u8, word: u16, now: Duration) {
        self.catch_up(now);
        self.writes += 1;
        match register {
            0x00 if word & RESET != 0 => self.power_on(now),
            0x00 => {
                if self.configuration == POWER_ON_CONFIGURATION {
                    self.counts.before = self.counts.finished;
                }
                self.configuration = word & 0x0FFF | CONFIGURATION_FIXED;
                self.flags &= !MaskEnable::READY;
                self.started = now;
                self.cycles = 0;
            }
            0x06 => self.mask_enable = word & MaskEnable::KEPT,
            0x07 => self.alert_limit = word,
            _ => {}
        }
    }

    /// Finishes every result that is due by `now`.
    fn catch_up(&mut self, now: Duration) {
        if self.configuration & 0b111 != 0b111 {
            return; // Powered down, or one quantity alone: nothing that the daemon asks for.
        }
        let since_start = now.saturating_sub(self.started);
        let cycle = self.cycle();
        let cycles = u64::try_from(since_start.as_nanos() / cycle.as_nanos()).unwrap_or(u64::MAX);
        let new = cycles - self.cycles;
        if new == 0 {
            return;
        }
        self.counts.lost += new - 1 + u64::from(!self.seen);
        self.counts.finished += new;
        self.cycles = cycles;
        self.seen = false;
        let nanos = u64::try_from(cycle.as_nanos()).unwrap_or(u64::MAX);
        self.convert(self.started + Duration::from_nanos(nanos.saturating_mul(cycles - 1)));
    }

    /// Averages one cycle that begins at `start`: current, then voltage, then their product, again and again.
    fn convert(&mut self, start: Duration) {
        let (averaging, voltage_micros, current_micros) = self.settings();
        let scale = self.slowness / 1e6;
        let (ct, vt) = (
            f64::from(current_micros) * scale,
            f64::from(voltage_micros) * scale,
        );
        let (mut current, mut voltage, mut product) = (0.0, 0.0, 0.0);
        for step in 0..averaging {
            let begin = start.as_secs_f64() + f64::from(step) * (ct + vt);
            let amperes = self.load_at(begin + ct / 2.0).0;
            let volts = self.load_at(begin + ct + vt / 2.0).1;
            self.compare(amperes, volts);
            current += amperes;
            voltage += volts;
            product += amperes * volts;
        }
        let n = f64::from(averaging);
        self.current = word(current / n / 0.00125, -32_768.0, 32_767.0);
        self.voltage = word(voltage / n / 0.00125, 0.0, 32_767.0);
        let power = (product / n).abs() / 0.01;
        self.power = word(power, 0.0, POWER_LIMIT);
        self.flags |= MaskEnable::READY;
        self.flags &= !MaskEnable::OVERFLOW;
        if power > POWER_LIMIT {
            self.flags |= MaskEnable::OVERFLOW;
        }
    }

    fn load_at(&self, seconds: f64) -> (f64, f64) {
        if self.overloaded {
            (15.0, 36.0)
        } else {
            self.load.at(seconds)
        }
    }

    /// The alert comparator sees single conversions; of several functions the highest bit wins.
    fn compare(&mut self, amperes: f64, volts: f64) {
        let (current, voltage) = (amperes / 0.00125, volts / 0.00125);
        let signed = f64::from(self.alert_limit.cast_signed());
        let unsigned = f64::from(self.alert_limit);
        let tripped = match self.mask_enable.leading_zeros() {
            0 => current > signed,
            1 => current < signed,
            2 => voltage > unsigned,
            3 => voltage < unsigned,
            4 => (amperes * volts).abs() / 0.01 > unsigned,
            _ => false,
        };
        if tripped {
            self.flags |= MaskEnable::ALERT;
        } else if self.mask_enable & MaskEnable::LATCH == 0 {
            self.flags &= !MaskEnable::ALERT;
        }
    }
}

/// Rounds to a register's step and stops at its ends.
#[expect(
    clippy::cast_possible_truncation,
    reason = "clamped to what 16 bits hold"
)]
#[expect(
    clippy::cast_sign_loss,
    reason = "two's complement is what the register has"
)]
fn word(steps: f64, lowest: f64, highest: f64) -> u16 {
    steps.round().clamp(lowest, highest) as i32 as u16
}
