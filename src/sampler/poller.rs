//! Polls a running sensor: finds the cycle of each result, and rejects torn reads.

use std::time::{Duration, Instant};

use super::Access;
use super::power_guard::PowerGuard;
use super::tracker::{CycleTracker, FlagRead};
use crate::ina260::registers::{MaskEnable, Register};
use crate::ina260::{self, Error, Ina260, Measurement, RegisterDump};
use crate::meter::{ChipInfo, Cycle};

pub(super) enum PollOutcome {
    /// The sensor was not running; it has been configured.
    Configured(Box<Poller>),
    /// No result has been completed since the last poll.
    NoResult,
    Result {
        /// When its registers were read.
        at: Instant,
        measurement: Measurement,
        cycle: Cycle,
        /// Whether a power register above voltage times current counts.
        greater_counts: bool,
        /// Whether the comparator has tripped since the previous result.
        alert: bool,
    },
}

/// A poll without an outcome.
#[derive(Debug, thiserror::Error)]
pub(super) enum PollError {
    /// Holds what the registers contain.
    #[error("the chip has lost its configuration")]
    Reset(RegisterDump),
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Polls one sensor from its configuration on.
#[derive(Clone)]
pub(super) struct Poller {
    chip: Ina260,
    pub(super) info: ChipInfo,
    /// The registers as they were configured.
    registers: RegisterDump,
    pub(super) tracker: CycleTracker,
    /// When the conversions were restarted or, if they were not, the chip configured.
    pub(super) started: Instant,
    /// When the registers that the flags do not cover were checked last.
    checked: Instant,
    /// A latched alert, which reading the flags clears, until it is reported with a result.
    pub(super) alert: bool,
    /// The last result that counted.
    previous: Option<Measurement>,
    pub(super) guard: PowerGuard,
    /// Whether a corrupted read of the flags may have cleared the ready flag of an unread result.
    may_have_cleared: bool,
    /// Corrupted words that have not been counted.
    pub(super) corrupt: u64,
    /// Set while it responds without results: whether that was logged.
    pub(super) silence: Option<bool>,
}

impl Poller {
    /// Time between two checks of the registers that the flags do not cover.
    pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(1);
    /// Longest cycle whose results are frequent enough for the checks: 1 s, and 10 % more for a
    /// slow chip. A poll for a check alone costs a wake-up.
    const LONGEST_CHECKED: Duration = Duration::from_millis(1_100);
    /// Torn reads in a row after which the last one is used: the bus is too slow, or the chip's
    /// flag is wrong. Registers of neighbouring results are better than none.
    const MAX_ATTEMPTS: usize = 8;

    /// Writes the settings of a chip that was identified.
    pub(super) fn configure(
        chip: Ina260,
        die: u16,
        access: &mut Access<'_>,
    ) -> Result<Self, Error> {
        let (clock, mut start) = (access.bus.clock, Vec::new());
        let registers = chip.configure(&mut access.bus, || start.push(clock.now()))?;
        let (now, settings) = (clock.now(), registers.settings());
        let tracker = CycleTracker::new(settings.cycle(), &start, now);
        Ok(Self {
            chip,
            info: ChipInfo { die, settings },
            registers,
            started: tracker.started().unwrap_or(now),
            tracker,
            checked: now,
            alert: false,
            previous: None,
            guard: PowerGuard::default(),
            may_have_cleared: false,
            corrupt: 0,
            silence: None,
        })
    }

    /// Returns when to poll next: for the next result, or for the check, which also finds within a
    /// second that a sensor with a long cycle has failed.
    pub(super) fn due(&self) -> Instant {
        let (due, check_due) = (self.tracker.due, self.checked + Self::CHECK_INTERVAL);
        let is_checked_with_result = self.tracker.period() <= Self::LONGEST_CHECKED;
        if is_checked_with_result { due } else { due.min(check_due) }
    }

    /// Writes the power guard if the last result requests a change. Returns whether it did.
    pub(super) fn write_guard(&mut self, access: &mut Access<'_>) -> Result<bool, Error> {
        if self.guard.requested == self.guard.armed {
            return Ok(false);
        }
        let registers = self.registers.with_guard(self.guard.requested);
        let before = Some(self.registers.mask_enable);
        self.chip.set_comparator(&mut access.bus, before, &registers)?;
        self.registers = registers;
        // The write may have ended after the edge that follows the flags.
        let (flags, now) = (self.tracker.not_before, access.bus.clock.now());
        let is_late = flags.is_none_or(|flags| self.tracker.may_tear(flags, now));
        self.guard.written(if is_late { 2 } else { 1 });
        Ok(true)
    }

    /// Reads the flags and, if they announce a result, the result.
    pub(super) fn poll(
        &mut self,
        access: &mut Access<'_>,
        with_power: bool,
    ) -> Result<PollOutcome, PollError> {
        let read = self.read_flags(access)?;
        let outcome = self.read_result(access, with_power, read)?;
        // In the poll closest to the end of the check interval; after the result, which has to be
        // read as soon after its flags as possible.
        let period = self.tracker.period();
        let early = if period <= Self::LONGEST_CHECKED { period / 2 } else { Duration::ZERO };
        if read.ended.duration_since(self.checked) + early >= Self::CHECK_INTERVAL {
            if let Err(error) = self.check(access, read.flags) {
                if let PollOutcome::Result { cycle, alert, .. } = &outcome {
                    self.tracker.reject(cycle);
                    self.alert |= alert;
                }
                return Err(error);
            }
            self.checked = read.ended;
        }
        Ok(outcome)
    }

    /// Reads the result that the flags announce; again if it may be torn or a word corrupted.
    fn read_result(
        &mut self,
        access: &mut Access<'_>,
        with_power: bool,
        mut read: FlagRead,
    ) -> Result<PollOutcome, PollError> {
        let delay = read.begun.saturating_duration_since(self.tracker.due);
        let is_late = delay > self.tracker.period() / 2;
        for attempt in 1..=Self::MAX_ATTEMPTS {
            if !read.flags.ready() {
                self.tracker.not_ready(read);
                if self.may_have_cleared {
                    // A result may have been completed before.
                    self.tracker.not_before = None;
                }
                break;
            }
            self.may_have_cleared = false;
            let mut cycle = self.tracker.ready(read);
            let (bus, overflow) = (&mut access.bus, read.flags.overflow());
            let mut measurement = ina260::measure(bus, self.chip.address, overflow, with_power)?;
            let (_, mut at) = bus.last_read;
            // If flags, data and flags take longer than a cycle, the flags always show another
            // result. A single transfer may have been delayed.
            let word =
                bus.fastest_word.map_or(self.tracker.shortest, |it| it.min(self.tracker.shortest));
            let too_slow = word * if with_power { 5 } else { 4 } > self.tracker.period();
            let can_retry = !too_slow && attempt < Self::MAX_ATTEMPTS;
            // Reading the flags again shows a torn result, or a brown-out: its zeros are no result.
            let mut is_doubtful = is_late
                || attempt > 1
                || measurement.looks_like_power_on()
                    && !self.previous.is_some_and(|it| it.looks_like_power_on());
            let mut is_usable = !measurement.is_impossible();
            let mut corrupt = u64::from(!is_usable);
            // Including a third read of one word, and the flags.
            let words = if with_power { 3 } else { 2 };
            let time = at.duration_since(read.ended) / words * (words + 2);
            if can_retry
                && measurement.is_suspicious(self.previous.as_ref())
                && self.tracker.leaves_time(at, time)
            {
                (is_usable, corrupt) = self.repeat(access, &mut measurement)?;
                (_, at) = access.bus.last_read;
                is_doubtful = true;
            }
            if can_retry && (is_doubtful || self.tracker.may_tear(read.begun, at)) {
                read = self.read_flags(access)?;
                if read.flags.ready() {
                    self.tracker.reject(&cycle);
                    continue;
                }
                self.tracker.confirm_last(read, &mut cycle);
            }
            self.corrupt += corrupt;
            if !is_usable {
                self.tracker.reject(&cycle);
                break;
            }
            self.previous = Some(measurement);
            let greater_counts = self.guard.covers(&measurement);
            self.guard.add(&measurement, self.chip.can_guard());
            let alert = std::mem::take(&mut self.alert);
            return Ok(PollOutcome::Result { at, measurement, cycle, greater_counts, alert });
        }
        Ok(PollOutcome::NoResult)
    }

    /// Reads the words again, and a third time if they differ; what two reads agree on counts.
    /// Returns whether there is such a word for each register, and the number of corrupted reads.
    fn repeat(
        &self,
        access: &mut Access<'_>,
        measurement: &mut Measurement,
    ) -> Result<(bool, u64), Error> {
        let (mut is_known, mut corrupt) = (true, 0);
        for register in [Register::Current, Register::BusVoltage, Register::Power] {
            let mut read = || ina260::read(&mut access.bus, self.chip.address, register);
            let Some(word) = measurement.word_mut(register) else { continue };
            let second = read()?;
            if second != *word {
                let third = read()?;
                corrupt += 1;
                if third == second {
                    *word = second;
                } else if third != *word {
                    corrupt += 1;
                    is_known = false;
                }
            }
        }
        Ok((is_known, corrupt))
    }

    /// Reads the flags; twice, if they do not match the configuration.
    fn read_flags(&mut self, access: &mut Access<'_>) -> Result<FlagRead, PollError> {
        let flags = self.chip.read_flags(&mut access.bus)?;
        let (begun, ended) = access.bus.last_read;
        let mut read = FlagRead { begun, ended, flags };
        if !self.registers.matches_flags(flags) {
            read.flags = self.chip.read_flags(&mut access.bus)?;
            self.check(access, read.flags)?;
            // The first word was corrupted, and reading it has cleared the flags.
            self.corrupt += 1;
            self.guard.taint();
            self.may_have_cleared = true;
        }
        if self.may_have_cleared && self.tracker.is_due(read) {
            read.flags.0 |= MaskEnable::READY;
        }
        self.guard.record(read.flags);
        // Otherwise, the comparator is that of a power guard or of another master.
        self.alert |= read.flags.alert() && self.chip.alert.is_some();
        Ok(read)
    }

    /// Checks that the chip has kept its configuration: it is lost if two checks in a row say so.
    fn check(&mut self, access: &mut Access<'_>, flags: MaskEnable) -> Result<(), PollError> {
        let mut check = || self.chip.check(&mut access.bus, &self.registers, flags);
        if check()?.is_some() {
            if let Some(found) = check()? {
                return Err(PollError::Reset(found));
            }
            self.corrupt += 1;
        }
        Ok(())
    }
}
