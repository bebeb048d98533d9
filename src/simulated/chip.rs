//! Register-level INA260, written from the data sheet and independent of the driver.
//!
//! Completed cycles are computed when the chip is accessed. Times are since the bus was created.

use std::time::Duration;

use super::load::Load;
use crate::ina260::registers::{
    CONFIGURATION_FIXED, DIE, MANUFACTURER, MaskEnable, POWER_ON_CONFIGURATION, RESET,
};
use crate::ina260::settings::Settings;

/// End of scale of the power register: 419.43 W.
const POWER_LIMIT: f64 = 41_943.0;

/// Number of results that the chip completed, and their fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Completed.
    pub finished: u64,
    /// Read: at least their current register.
    pub read: u64,
    /// Overwritten before they were read.
    pub lost: u64,
    /// Completed before the configuration was first written.
    pub unconfigured: u64,
}

/// A simulated sensor.
pub struct Chip {
    /// Load that it measures.
    pub load: Load,
    /// Period of its clock: 1.0 is nominal, with 1.1 everything takes 10 % longer.
    slowness: f64,
    /// Content of the die ID register.
    pub die: u16,
    /// Measures more power than its register can hold, whatever the load.
    pub overloaded: bool,
    /// Number of its results.
    pub counts: Counts,
    /// Number of register writes.
    pub writes: u64,
    configuration: u16,
    /// Bits 15-10, 1 and 0.
    mask_enable: u16,
    flags: u16,
    alert_limit: u16,
    current: u16,
    voltage: u16,
    power: u16,
    /// Time of the last restart of the conversions.
    started: Duration,
    /// Cycles completed since then.
    cycles: u64,
    /// The result in the registers was read.
    is_read: bool,
}

impl Chip {
    /// Returns a chip that was powered on when its bus was created.
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
            is_read: true,
        }
    }

    /// Restores all power-on values, as a brown-out or the reset bit does.
    pub fn power_on(&mut self, now: Duration) {
        let load = std::mem::replace(&mut self.load, Load::steady(0.0, 0.0));
        *self = Self {
            slowness: self.slowness,
            die: self.die,
            counts: self.counts,
            writes: self.writes,
            started: now,
            ..Self::new(load)
        };
    }

    /// Returns the time of the last restart of its conversions.
    pub fn started(&self) -> Duration {
        self.started
    }

    /// Changes the period of its clock, which restarts the conversions.
    pub fn slow_down(&mut self, slowness: f64, now: Duration) {
        #[expect(clippy::float_cmp, reason = "assigned, not computed")]
        if slowness != self.slowness {
            self.catch_up(now);
            self.slowness = slowness;
            self.started = now;
            self.cycles = 0;
        }
    }

    /// Returns the time from one result to the next.
    pub fn cycle(&self) -> Duration {
        let nominal = Settings::from_word(self.configuration).cycle();
        nominal.mul_f64(self.slowness)
    }

    /// Reads a register in a transfer that ends at `now`.
    pub fn read(&mut self, register: u8, now: Duration) -> u16 {
        self.catch_up(now);
        match register {
            0x00 => self.configuration,
            0x01 => {
                self.counts.read += u64::from(!self.is_read);
                self.is_read = true;
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

    /// Writes a register in a transfer that ends at `now`.
    pub fn write(&mut self, register: u8, word: u16, now: Duration) {
        self.catch_up(now);
        self.writes += 1;
        match register {
            0x00 if word & RESET != 0 => self.power_on(now),
            0x00 => {
                if self.configuration == POWER_ON_CONFIGURATION {
                    self.counts.unconfigured = self.counts.finished;
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

    /// Completes every result that is due by `now`.
    fn catch_up(&mut self, now: Duration) {
        if self.configuration & 0b111 != 0b111 {
            return; // Other modes are not simulated: the daemon does not use them.
        }
        let since_start = now.saturating_sub(self.started);
        let cycle = self.cycle();
        let cycles = u64::try_from(since_start.as_nanos() / cycle.as_nanos()).unwrap_or(u64::MAX);
        let new = cycles - self.cycles;
        if new == 0 {
            return;
        }
        self.counts.lost += new - 1 + u64::from(!self.is_read);
        self.counts.finished += new;
        self.cycles = cycles;
        self.is_read = false;
        let nanos = u64::try_from(cycle.as_nanos()).unwrap_or(u64::MAX);
        self.convert(self.started + Duration::from_nanos(nanos.saturating_mul(cycles - 1)));
    }

    /// Averages the cycle that begins at `start`: current and voltage in turns, and their product.
    fn convert(&mut self, start: Duration) {
        let settings = Settings::from_word(self.configuration);
        let averaging = settings.averaging.count();
        let seconds = |micros: u32| f64::from(micros) * (self.slowness / 1e6);
        let ct = seconds(settings.current_conversion_time.micros());
        let vt = seconds(settings.voltage_conversion_time.micros());
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
        if self.overloaded { (15.0, 36.0) } else { self.load.at(seconds) }
    }

    /// Compares single conversions with the alert limit, for the function of the highest bit.
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

/// Rounds to the steps of a register and clamps to its range.
#[expect(clippy::cast_possible_truncation, reason = "clamped to 16 bits")]
#[expect(clippy::cast_sign_loss, reason = "the register is two's complement")]
fn word(steps: f64, min: f64, max: f64) -> u16 {
    steps.round().clamp(min, max) as i32 as u16
}
