//! Register-level INA260, written from the data sheet and independent of the driver.
//!
//! Completed cycles are computed when the chip is accessed. Times are since the bus was created.

use std::f64::consts::TAU;
use std::time::Duration;

use crate::ina260::registers::{
    CONFIGURATION_FIXED, DIE, MANUFACTURER, MaskEnable, POWER_ON_CONFIGURATION, RESET, word,
};
use crate::ina260::settings::Settings;
use crate::units::Measured;

/// Full scale of the power register: 419.43 W.
const POWER_LIMIT: f64 = 41_943.0;
/// One bit of the current and of the voltage register, in amperes or volts.
const STEP: f64 = 0.00125;
/// Whole cycles whose conversions are computed after a pause; earlier ones were overwritten.
const MAX_CYCLES: u64 = 2;

/// Amplitude of the noise of current and voltage, in steps of their registers.
const NOISE: f64 = 2.0;
/// Offset of the current in steps; at most ±4 by the data sheet.
const CURRENT_OFFSET: f64 = 0.8;
/// Offset of the voltage in steps; at most ±6 by the data sheet.
const VOLTAGE_OFFSET: f64 = -2.0;

/// Load at a sensor.
pub struct Load {
    /// Open-circuit voltage of the source in volts.
    pub source: f64,
    /// Resistance between the source and the sensor, in ohms.
    pub resistance: f64,
    /// Returns the current in amperes at a time in seconds.
    pub current: Box<dyn Fn(f64) -> f64 + Send>,
}

impl Load {
    /// Returns a constant load on a source without resistance.
    pub fn steady(volts: f64, amperes: f64) -> Self {
        Self { source: volts, resistance: 0.0, current: Box::new(move |_| amperes) }
    }

    /// Returns the load of a single-board computer on a 5.1 V supply with 50 mΩ of cable: idles at
    /// 0.6 A, varies by 0.1 A with a period of 30 s, and draws 1.2 A more for 4 s of every 10 s.
    /// Boards of different numbers are out of phase.
    pub fn board(number: u32) -> Self {
        let shift = f64::from(number) * 1.7;
        let current = move |seconds: f64| {
            let t = seconds + shift;
            let work = if t.rem_euclid(10.0) < 4.0 { 1.2 } else { 0.0 };
            0.6 + 0.1 * (TAU * t / 30.0).sin() + work
        };
        Self { source: 5.1, resistance: 0.05, current: Box::new(current) }
    }
}

/// Numbers of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Completed.
    pub finished: u64,
    /// Read: at least their current register.
    pub read: u64,
    /// Completed before the configuration was first written.
    pub unconfigured: u64,
}

const POWER_ON: [u16; 8] = [POWER_ON_CONFIGURATION, 0, 0, 0, 0, 0, 0, 0];

/// A simulated sensor.
pub struct Chip {
    /// Load that it measures.
    pub load: Load,
    /// Whether its power register holds the magnitude of the mean of the products of current and
    /// voltage, instead of the mean of their magnitudes, which real chips seem to hold.
    pub has_signed_power: bool,
    /// Factor of the noise and the offsets of its conversions.
    imperfection: f64,
    /// Period of its clock: 1.0 is nominal, with 1.1 everything takes 10 % longer.
    slowness: f64,
    pub(super) die: u16,
    /// Measures more power than its register can hold, whatever the load.
    pub(super) overloaded: bool,
    /// Numbers of its results.
    pub counts: Counts,
    /// Number of register writes.
    pub writes: u64,
    /// Content of the registers 0x00 to 0x07.
    registers: [u16; 8],
    /// Time of the last restart of the conversions.
    pub started: Duration,
    /// Pairs of conversions since then that have been performed.
    pairs: u64,
    /// Sums of the conversions of the current cycle.
    sums: Measured,
    /// State of the noise.
    random: u64,
    /// Whether the result in the registers was read.
    is_read: bool,
}

impl Chip {
    /// Returns a chip with noise and offsets, powered on when its bus was created.
    pub fn new(load: Load) -> Self {
        Self {
            load,
            has_signed_power: false,
            imperfection: 1.0,
            slowness: 1.0,
            die: DIE,
            overloaded: false,
            counts: Counts::default(),
            writes: 0,
            registers: POWER_ON,
            started: Duration::ZERO,
            pairs: 0,
            sums: Measured::default(),
            random: 0x1A26_0260,
            is_read: true,
        }
    }

    /// Returns a chip without noise and offsets, for tests of exact digits.
    pub fn exact(load: Load) -> Self {
        Self { imperfection: 0.0, ..Self::new(load) }
    }

    /// Restores all power-on values, as a brown-out or the reset bit does.
    pub fn power_on(&mut self, now: Duration) {
        self.registers = POWER_ON;
        self.is_read = true;
        self.restart(now);
    }

    /// Changes the period of its clock, which restarts the conversions.
    pub(super) fn slow_down(&mut self, slowness: f64, now: Duration) {
        #[expect(clippy::float_cmp, reason = "assigned, not computed")]
        if slowness != self.slowness {
            self.catch_up(now);
            self.slowness = slowness;
            self.restart(now);
        }
    }

    /// Returns the time from one result to the next.
    pub fn cycle(&self) -> Duration {
        Settings::from_word(self.registers[0x00]).cycle().mul_f64(self.slowness)
    }

    /// Reads a register in a transfer that ends at `now`.
    pub fn read(&mut self, register: u8, now: Duration) -> u16 {
        self.catch_up(now);
        let word = match register {
            0xFE => MANUFACTURER,
            0xFF => self.die,
            _ => self.registers.get(usize::from(register)).copied().unwrap_or_default(),
        };
        match register {
            0x01 => {
                self.counts.read += u64::from(!self.is_read);
                self.is_read = true;
            }
            0x06 => self.registers[0x06] &= !(MaskEnable::READY | MaskEnable::ALERT),
            _ => {}
        }
        word
    }

    /// Writes a register in a transfer that ends at `now`.
    pub fn write(&mut self, register: u8, word: u16, now: Duration) {
        self.catch_up(now);
        self.writes += 1;
        match register {
            0x00 if word & RESET != 0 => self.power_on(now),
            0x00 => {
                if self.registers[0x00] == POWER_ON_CONFIGURATION {
                    self.counts.unconfigured = self.counts.finished;
                }
                self.registers[0x00] = word & 0x0FFF | CONFIGURATION_FIXED;
                self.registers[0x06] &= !MaskEnable::READY;
                self.restart(now);
            }
            0x06 => {
                let flags = self.registers[0x06] & !MaskEnable::KEPT;
                self.registers[0x06] = word & MaskEnable::KEPT | flags;
            }
            0x07 => self.registers[0x07] = word,
            _ => {}
        }
    }

    fn restart(&mut self, now: Duration) {
        self.started = now;
        self.pairs = 0;
        self.sums = Measured::default();
    }

    /// Performs every conversion that is complete by `now`.
    fn catch_up(&mut self, now: Duration) {
        let configuration = self.registers[0x00];
        if configuration & 0b111 != 0b111 {
            return; // Other modes are not simulated: the daemon does not use them.
        }
        let settings = Settings::from_word(configuration);
        let averaging = u64::from(settings.averaging.count());
        let since_start = now.saturating_sub(self.started);
        let pairs = since_start.as_nanos() * u128::from(averaging) / self.cycle().as_nanos();
        let pairs = u64::try_from(pairs).unwrap_or(u64::MAX);
        // Results that no transfer can have read are not computed.
        let first = (pairs / averaging).saturating_sub(MAX_CYCLES) * averaging;
        if first > self.pairs {
            self.counts.finished += first / averaging - self.pairs / averaging;
            self.is_read = false;
            self.sums = Measured::default();
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
        let (mut amperes, _) = self.load_at(begin + current_time / 2.0);
        let (_, mut volts) = self.load_at(begin + current_time + voltage_time / 2.0);
        let step = STEP * self.imperfection;
        amperes += step * (CURRENT_OFFSET + NOISE * self.random());
        volts += step * (VOLTAGE_OFFSET + NOISE * self.random());
        let volts = volts.max(0.0);
        self.compare(amperes, volts);
        self.sums.current.0 += amperes;
        self.sums.voltage.0 += volts;
        let product = amperes * volts;
        self.sums.power.0 += if self.has_signed_power { product } else { product.abs() };
    }

    /// Moves the means of a cycle to the registers.
    fn complete(&mut self, conversions: f64) {
        self.counts.finished += 1;
        self.is_read = false;
        let sums = std::mem::take(&mut self.sums);
        self.registers[0x01] = word(sums.current.0 / conversions / STEP, [-32_768.0, 32_767.0]);
        self.registers[0x02] = word(sums.voltage.0 / conversions / STEP, [0.0, 32_767.0]);
        let power = (sums.power.0 / conversions).abs() / 0.01;
        self.registers[0x03] = word(power, [0.0, POWER_LIMIT]);
        self.registers[0x06] |= MaskEnable::READY;
        self.set_flag(MaskEnable::OVERFLOW, power > POWER_LIMIT);
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

    /// Returns current and voltage at a time, in amperes and volts.
    fn load_at(&self, seconds: f64) -> (f64, f64) {
        if self.overloaded {
            return (15.0, 36.0);
        }
        let amperes = (self.load.current)(seconds);
        (amperes, self.load.source - self.load.resistance * amperes)
    }

    /// Compares single conversions with the alert limit, for the function of the highest bit.
    fn compare(&mut self, amperes: f64, volts: f64) {
        let (current, voltage) = (amperes / STEP, volts / STEP);
        let [.., mask_enable, alert_limit] = self.registers;
        let signed = f64::from(alert_limit.cast_signed());
        let unsigned = f64::from(alert_limit);
        let tripped = match mask_enable.leading_zeros() {
            0 => current > signed,
            1 => current < signed,
            2 => voltage > unsigned,
            3 => voltage < unsigned,
            4 => (amperes * volts).abs() / 0.01 > unsigned,
            _ => false,
        };
        if tripped || mask_enable & MaskEnable::LATCH == 0 {
            self.set_flag(MaskEnable::ALERT, tripped);
        }
    }

    fn set_flag(&mut self, flag: u16, is_set: bool) {
        let flags = &mut self.registers[0x06];
        *flags = if is_set { *flags | flag } else { *flags & !flag };
    }
}
