//! Register-level INA260, written from the data sheet and independent of the driver.
//!
//! Completed cycles are computed when the chip is accessed. Times are since the bus was created.

use std::time::Duration;

use super::load::Load;
use crate::ina260::registers::{
    CONFIGURATION_FIXED, DIE, MANUFACTURER, MaskEnable, POWER_ON_CONFIGURATION, RESET,
};
use crate::ina260::settings::Settings;

/// Full scale of the power register: 419.43 W.
const POWER_LIMIT: f64 = 41_943.0;
/// One bit of the current and of the voltage register, in amperes or volts.
const STEP: f64 = 0.00125;
/// Whole cycles whose conversions are computed after a pause; earlier ones were overwritten.
const MAX_CYCLES: u64 = 2;

/// Numbers of results: completed, read, overwritten.
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

/// Errors of each conversion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Imperfection {
    /// Amplitude of the noise of current and voltage, in steps of their registers.
    pub noise: f64,
    /// Offset of the current in steps; at most ±4 by the data sheet.
    pub current_offset: f64,
    /// Offset of the voltage in steps; at most ±6 by the data sheet.
    pub voltage_offset: f64,
}

impl Imperfection {
    /// No error at all, for tests of exact digits.
    pub const NONE: Self = Self { noise: 0.0, current_offset: 0.0, voltage_offset: 0.0 };
}

impl Default for Imperfection {
    fn default() -> Self {
        Self { noise: 2.0, current_offset: 0.8, voltage_offset: -2.0 }
    }
}

/// Sums of the conversions of one cycle.
#[derive(Clone, Copy, Default)]
struct Sums {
    current: f64,
    voltage: f64,
    product: f64,
}

/// A simulated sensor.
pub struct Chip {
    /// Load that it measures.
    pub load: Load,
    /// Whether its power register holds the magnitude of the mean of the products of current and
    /// voltage, instead of the mean of their magnitudes, which real chips seem to hold.
    pub has_signed_power: bool,
    /// Errors of its conversions.
    pub imperfection: Imperfection,
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
    /// Pairs of conversions since then that have been performed.
    pairs: u64,
    sums: Sums,
    /// State of the noise.
    random: u64,
    /// Whether the result in the registers was read.
    is_read: bool,
}

impl Chip {
    /// Returns a chip that was powered on when its bus was created. Its conversions have noise and
    /// offsets, and its power register averages magnitudes.
    pub fn new(load: Load) -> Self {
        Self {
            load,
            has_signed_power: false,
            imperfection: Imperfection::default(),
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
            pairs: 0,
            sums: Sums::default(),
            random: 0x1A26_0260,
            is_read: true,
        }
    }

    /// Returns a chip without noise and offsets, for tests of exact digits.
    pub fn exact(load: Load) -> Self {
        Self { imperfection: Imperfection::NONE, ..Self::new(load) }
    }

    /// Restores all power-on values, as a brown-out or the reset bit does.
    pub fn power_on(&mut self, now: Duration) {
        let load = std::mem::replace(&mut self.load, Load::steady(0.0, 0.0));
        *self = Self {
            has_signed_power: self.has_signed_power,
            imperfection: self.imperfection,
            slowness: self.slowness,
            die: self.die,
            counts: self.counts,
            writes: self.writes,
            random: self.random,
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
            self.restart(now);
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
                self.restart(now);
            }
            0x06 => self.mask_enable = word & MaskEnable::KEPT,
            0x07 => self.alert_limit = word,
            _ => {}
        }
    }

    fn restart(&mut self, now: Duration) {
        self.started = now;
        self.pairs = 0;
        self.sums = Sums::default();
    }

    /// Performs every conversion that is complete by `now`.
    fn catch_up(&mut self, now: Duration) {
        if self.configuration & 0b111 != 0b111 {
            return; // Other modes are not simulated: the daemon does not use them.
        }
        let settings = Settings::from_word(self.configuration);
        let averaging = u64::from(settings.averaging.count());
        let since_start = now.saturating_sub(self.started);
        let pairs = since_start.as_nanos() * u128::from(averaging) / self.cycle().as_nanos();
        let pairs = u64::try_from(pairs).unwrap_or(u64::MAX);
        // Results that no transfer can have read are not computed.
        let first = (pairs / averaging).saturating_sub(MAX_CYCLES) * averaging;
        if first > self.pairs {
            let cycles = first / averaging - self.pairs / averaging;
            self.counts.finished += cycles;
            self.counts.lost += cycles - 1 + u64::from(!self.is_read);
            self.is_read = false;
            self.sums = Sums::default();
            self.pairs = first;
        }
        let seconds = |micros: u32| f64::from(micros) * (self.slowness / 1e6);
        let current_time = seconds(settings.current_conversion_time.micros());
        let voltage_time = seconds(settings.voltage_conversion_time.micros());
        let start = self.started.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "less than 2^53 conversions")]
        while self.pairs < pairs {
            let begin = start + self.pairs as f64 * (current_time + voltage_time);
            self.convert(begin, current_time, voltage_time);
            self.pairs += 1;
            if self.pairs.is_multiple_of(averaging) {
                self.complete(averaging as f64);
            }
        }
    }

    /// Converts the current, then the voltage, and adds both and their product.
    fn convert(&mut self, begin: f64, current_time: f64, voltage_time: f64) {
        let Imperfection { noise, current_offset, voltage_offset } = self.imperfection;
        let amperes = self.load_at(begin + current_time / 2.0).0;
        let volts = self.load_at(begin + current_time + voltage_time / 2.0).1;
        let amperes = amperes + STEP * (current_offset + noise * self.random());
        let volts = (volts + STEP * (voltage_offset + noise * self.random())).max(0.0);
        self.compare(amperes, volts);
        self.sums.current += amperes;
        self.sums.voltage += volts;
        let product = amperes * volts;
        self.sums.product += if self.has_signed_power { product } else { product.abs() };
    }

    /// Moves the means of a cycle to the registers.
    fn complete(&mut self, conversions: f64) {
        self.counts.lost += u64::from(!self.is_read);
        self.counts.finished += 1;
        self.is_read = false;
        let sums = std::mem::take(&mut self.sums);
        self.current = word(sums.current / conversions / STEP, -32_768.0, 32_767.0);
        self.voltage = word(sums.voltage / conversions / STEP, 0.0, 32_767.0);
        let power = (sums.product / conversions).abs() / 0.01;
        self.power = word(power, 0.0, POWER_LIMIT);
        self.flags |= MaskEnable::READY;
        self.flags &= !MaskEnable::OVERFLOW;
        if power > POWER_LIMIT {
            self.flags |= MaskEnable::OVERFLOW;
        }
    }

    /// Returns the next value of the noise, between -1 and 1: the same values in each run.
    fn random(&mut self) -> f64 {
        // splitmix64
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let bits = u32::try_from(bits >> 32).unwrap_or_default();
        f64::from(bits) / f64::from(u32::MAX) * 2.0 - 1.0
    }

    fn load_at(&self, seconds: f64) -> (f64, f64) {
        if self.overloaded { (15.0, 36.0) } else { self.load.at(seconds) }
    }

    /// Compares single conversions with the alert limit, for the function of the highest bit.
    fn compare(&mut self, amperes: f64, volts: f64) {
        let (current, voltage) = (amperes / STEP, volts / STEP);
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
