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
    /// The chip has lost its configuration; holds what its registers contain.
    Reset(RegisterDump),
}

/// Polls one sensor from its configuration on.
#[derive(Clone)]
pub(super) struct Poller {
    chip: Ina260,
    pub(super) info: ChipInfo,
    /// The registers as they were configured.
    registers: RegisterDump,
    tracker: CycleTracker,
    /// When the conversions were restarted or, if they were not, the chip configured.
    pub(super) started: Instant,
    /// When the registers that the flags do not cover were checked last.
    checked: Instant,
    /// A latched alert, which reading the flags clears, until it is reported with a result.
    alert: bool,
    /// Completed results that were not used since the last one that was; `None` if unknown.
    unused: Option<u64>,
    /// Missed results that have not been reported.
    missed: u64,
    /// The last result that counted.
    previous: Option<Measurement>,
    pub(super) guard: PowerGuard,
    /// Whether a corrupted read of the flags may have cleared the ready flag of an unread result.
    may_have_cleared: bool,
    /// Corrupted words that have not been counted.
    pub(super) corrupt: u64,
}

/// A read of the flags, or the registers of a chip that has lost its configuration.
type Flags = Result<(FlagRead, MaskEnable), RegisterDump>;

impl Poller {
    /// Time between two checks of the registers that the flags do not cover.
    const CHECK_INTERVAL: Duration = Duration::from_secs(1);
    /// Longest cycle whose results are frequent enough for the checks: 1 s, and 10 % more for a
    /// slow chip. A poll for a check alone costs a wake-up.
    const LONGEST_CHECKED: Duration = Duration::from_millis(1_100);
    /// Torn reads in a row after which the last one is used: the bus is too slow, or the chip's
    /// flag is wrong. Registers of neighbouring results are better than none.
    const MAX_ATTEMPTS: usize = 4;

    /// Returns the poller of a chip that was configured `now`; `start` is the write that restarted
    /// its conversions, if any did.
    pub(super) fn new(
        chip: Ina260,
        die: u16,
        registers: RegisterDump,
        start: Option<FlagRead>,
        now: Instant,
    ) -> Self {
        let settings = registers.settings();
        let tracker = CycleTracker::new(settings.cycle(), start, now);
        Self {
            chip,
            info: ChipInfo { die, settings },
            registers,
            started: tracker.started().unwrap_or(now),
            tracker,
            checked: now,
            alert: false,
            unused: Some(0),
            missed: 0,
            previous: None,
            guard: PowerGuard::default(),
            may_have_cleared: false,
            corrupt: 0,
        }
    }

    /// Returns when to poll next: for the next result, or for the check, which also finds within a
    /// second that a sensor with a long cycle has failed.
    pub(super) fn due(&self) -> Instant {
        let due = self.tracker.due;
        if self.period() <= Self::LONGEST_CHECKED {
            due
        } else {
            due.min(self.checked + Self::CHECK_INTERVAL)
        }
    }

    /// Returns whether a poll at `now` is to check the registers that the flags do not cover: the
    /// poll that is closest to the end of the interval.
    fn needs_check(&self, now: Instant) -> bool {
        let period = self.period();
        let early = if period <= Self::LONGEST_CHECKED { period / 2 } else { Duration::ZERO };
        now.duration_since(self.checked) + early >= Self::CHECK_INTERVAL
    }

    /// Returns the earliest time at which a poll makes sense.
    pub(super) fn ready_from(&self) -> Instant {
        self.tracker.ready_from.min(self.due())
    }

    /// Returns the chip's period: nominal until it was measured.
    pub(super) fn period(&self) -> Duration {
        self.tracker.period()
    }

    /// Discards the phase, and with it the number of results completed since the last one.
    pub(super) fn lose_phase(&mut self) {
        self.tracker.lose_phase();
        self.unused = None;
    }

    pub(super) fn write_guard(&mut self, access: &mut Access<'_>) -> Result<(), Error> {
        let registers = self.registers.with_guard(self.guard.requested);
        let begun = access.clock.now();
        self.chip.change_guard(&mut access.bus, &self.registers, &registers)?;
        self.registers = registers;
        // The write may have ended in the cycle after the next edge.
        let is_late = self.tracker.may_tear(begun, access.clock.now());
        self.guard.written(if is_late { 2 } else { 1 });
        Ok(())
    }

    /// Reads the flags and, if they announce a result, the result.
    pub(super) fn poll(
        &mut self,
        access: &mut Access<'_>,
        with_power: bool,
    ) -> Result<PollOutcome, Error> {
        let due = self.tracker.due;
        let (flag_read, flags) = match self.read_flags(access)? {
            Ok(read) => read,
            Err(found) => return Ok(PollOutcome::Reset(found)),
        };
        let is_late = flag_read.begun.saturating_duration_since(due) > self.period() / 2;
        let outcome = self.read(access, with_power, is_late, (flag_read, flags))?;
        // After the result, which has to be read as soon after its flags as possible.
        if self.needs_check(flag_read.ended) {
            if let Some(found) = self.check(access, flags)? {
                return Ok(PollOutcome::Reset(found));
            }
            self.checked = flag_read.ended;
        }
        Ok(outcome)
    }

    /// Reads the result that the flags announce; again, if an edge may have torn it or a word may
    /// be corrupted.
    fn read(
        &mut self,
        access: &mut Access<'_>,
        with_power: bool,
        is_late: bool,
        (mut flag_read, mut flags): (FlagRead, MaskEnable),
    ) -> Result<PollOutcome, Error> {
        for attempt in 1..=Self::MAX_ATTEMPTS {
            if !flags.ready() {
                self.tracker.not_ready(flag_read);
                if self.may_have_cleared {
                    // A result may have been completed before.
                    self.tracker.not_before = None;
                }
                break;
            }
            self.may_have_cleared = false;
            let mut cycle = self.tracker.ready(flag_read);
            self.missed += cycle.missed;
            let unused = self.unused.replace(0);
            cycle.elapsed = unused.and_then(|unused| Some(cycle.elapsed? + unused));
            let begun = access.clock.now();
            let (bus, overflow) = (&mut access.bus, flags.overflow());
            let mut measurement = ina260::measure(bus, self.chip.address, overflow, with_power)?;
            let mut at = access.clock.now();
            // On a bus that needs longer for a result than the chip, another attempt cannot help.
            let too_slow = at.duration_since(flag_read.ended) > self.period() * 3 / 4;
            let can_retry = !too_slow && attempt < Self::MAX_ATTEMPTS;
            let doubts = measurement.doubts(self.previous.as_ref());
            // The flags show whether an edge has torn the result. They also show a brown-out, whose
            // zeros are not a result.
            let mut is_doubtful = is_late
                || attempt > 1
                || measurement.looks_like_power_on()
                    && !self.previous.is_some_and(|it| it.looks_like_power_on());
            let mut is_usable = !measurement.is_impossible();
            let mut corrupt = u64::from(!is_usable);
            // Including a third read of one word, and the flags.
            let word_time = at.duration_since(begun) / if with_power { 3 } else { 2 };
            let time = word_time * u32::try_from(doubts.len() + 2).unwrap_or(5);
            if can_retry && !doubts.is_empty() && self.tracker.leaves_time(at, time) {
                (is_usable, corrupt) = self.repeat(access, &mut measurement, &doubts)?;
                at = access.clock.now();
                is_doubtful = true;
            }
            if can_retry && (is_doubtful || self.tracker.may_tear(flag_read.begun, at)) {
                (flag_read, flags) = match self.read_flags(access)? {
                    Ok(read) => read,
                    Err(found) => return Ok(PollOutcome::Reset(found)),
                };
                if flags.ready() {
                    self.miss(&cycle);
                    continue;
                }
                self.missed += self.tracker.confirm_last(flag_read);
            }
            self.corrupt += corrupt;
            if !is_usable {
                self.miss(&cycle);
                break;
            }
            self.previous = Some(measurement);
            let greater_counts = self.guard.covers(&measurement);
            self.guard.add(&measurement, self.chip.can_guard());
            cycle.missed = std::mem::take(&mut self.missed);
            return Ok(PollOutcome::Result {
                at,
                measurement,
                cycle,
                greater_counts,
                alert: std::mem::take(&mut self.alert),
            });
        }
        Ok(PollOutcome::NoResult)
    }

    /// Counts a result that was found and cannot be used.
    fn miss(&mut self, cycle: &Cycle) {
        self.unused = cycle.elapsed.filter(|&elapsed| elapsed > 0);
        self.missed += 1;
    }

    /// Reads the doubtful words again, and a third time if they differ; what two reads agree on
    /// counts. Returns whether there is such a word each time, and the number of corrupted reads.
    fn repeat(
        &self,
        access: &mut Access<'_>,
        measurement: &mut Measurement,
        doubts: &[Register],
    ) -> Result<(bool, u64), Error> {
        let (mut is_known, mut corrupt) = (true, 0);
        for &register in doubts {
            let mut read = || ina260::read(&mut access.bus, self.chip.address, register);
            let Some(word) = measurement.word_mut(register) else {
                continue;
            };
            let second = read()?;
            if second == *word {
                continue;
            }
            let third = read()?;
            corrupt += 1;
            if third == second {
                *word = second;
            } else if third != *word {
                corrupt += 1;
                is_known = false;
            }
        }
        Ok((is_known, corrupt))
    }

    /// Reads the flags; twice, if they do not match the configuration.
    fn read_flags(&mut self, access: &mut Access<'_>) -> Result<Flags, Error> {
        let begun = access.clock.now();
        let mut flags = self.chip.read_flags(&mut access.bus)?;
        let flag_read = FlagRead { begun, ended: access.clock.now() };
        if !self.registers.matches_flags(flags) {
            flags = self.chip.read_flags(&mut access.bus)?;
            if let Some(found) = self.check(access, flags)? {
                return Ok(Err(found));
            }
            // The first word was corrupted, and reading it has cleared the flags.
            self.corrupt += 1;
            self.guard.taint();
            self.may_have_cleared = true;
        }
        if self.may_have_cleared && self.tracker.is_due(flag_read) {
            flags.0 |= MaskEnable::READY;
        }
        self.guard.record(flags);
        self.alert |= flags.alert() && self.chip.has_alert(&self.registers);
        Ok(Ok((flag_read, flags)))
    }

    /// Returns the registers if the chip has lost its configuration: if they differ twice.
    fn check(
        &mut self,
        access: &mut Access<'_>,
        flags: MaskEnable,
    ) -> Result<Option<RegisterDump>, Error> {
        let mut check = || self.chip.check(&mut access.bus, &self.registers, flags);
        if check()?.is_none() {
            return Ok(None);
        }
        let found = check()?;
        self.corrupt += u64::from(found.is_none());
        Ok(found)
    }
}
