//! Polls a running sensor: finds the cycle of each result, and rejects torn reads.

use std::time::{Duration, Instant};

use super::power_guard::PowerGuard;
use super::tracker::{CycleTracker, FlagRead};
use crate::clock::Clock;
use crate::i2c::Bus;
use crate::ina260::registers::{MaskEnable, Register};
use crate::ina260::{self, Error, Ina260, Measurement, RegisterDump};
use crate::meter::{ChipInfo, Cycle};

pub(super) enum PollOutcome {
    /// The sensor was not running; it has been configured.
    Configured(Box<Poller>, ChipInfo),
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

pub(super) struct ChipAccess<'a> {
    pub(super) chip: &'a Ina260,
    /// Whether to read the power register, too.
    pub(super) with_power: bool,
    pub(super) bus: &'a mut dyn Bus,
    pub(super) clock: &'a dyn Clock,
}

/// Polls one sensor from its configuration on.
#[derive(Clone)]
pub(super) struct Poller {
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
    pub(super) fn new(registers: RegisterDump, start: Option<FlagRead>, now: Instant) -> Self {
        let tracker = CycleTracker::new(registers.settings().cycle(), start, now);
        Self {
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
        let due = self.tracker.due();
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
        self.tracker.ready_from().min(self.due())
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

    pub(super) fn write_guard(&mut self, access: &mut ChipAccess<'_>) -> Result<(), Error> {
        let registers = self.registers.with_guard(self.guard.requested);
        let begun = access.clock.now();
        access.chip.change_guard(access.bus, &self.registers, &registers)?;
        self.registers = registers;
        // The write may have ended in the cycle after the next edge.
        let is_late = self.tracker.may_tear(begun, access.clock.now());
        self.guard.written(if is_late { 2 } else { 1 });
        Ok(())
    }

    /// Reads the flags and, if they announce a result, the result.
    pub(super) fn poll(&mut self, access: &mut ChipAccess<'_>) -> Result<PollOutcome, Error> {
        let (flag_read, flags) = match self.read_flags(access)? {
            Ok(read) => read,
            Err(found) => return Ok(PollOutcome::Reset(found)),
        };
        let delay = flag_read.begun.saturating_duration_since(self.tracker.due());
        let late = delay > self.period() / 2;
        let outcome = self.read(access, late, (flag_read, flags))?;
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
        access: &mut ChipAccess<'_>,
        late: bool,
        (mut flag_read, mut flags): (FlagRead, MaskEnable),
    ) -> Result<PollOutcome, Error> {
        for attempt in 1..=Self::MAX_ATTEMPTS {
            self.record_alert(access, flags);
            if !flags.ready() {
                self.guard.not_ready(flags.alert());
                self.tracker.not_ready(flag_read);
                if self.may_have_cleared {
                    self.tracker.discard_lower_bound();
                }
                break;
            }
            self.may_have_cleared = false;
            self.guard.ready(flags.alert());
            let mut cycle = self.tracker.ready(flag_read);
            self.missed += cycle.missed;
            let unused = self.unused.replace(0);
            cycle.elapsed = unused.and_then(|unused| Some(cycle.elapsed? + unused));
            let begun = access.clock.now();
            let (address, overflow) = (access.chip.address, flags.overflow());
            let measurement = ina260::measure(access.bus, address, overflow, access.with_power)?;
            let mut at = access.clock.now();
            // On a bus that needs longer for a result than the chip, another attempt cannot help.
            let too_slow = at.duration_since(flag_read.ended) > self.period() * 3 / 4;
            let can_retry = !too_slow && attempt < Self::MAX_ATTEMPTS;
            let doubts = measurement.doubts(self.previous.as_ref());
            let looks_like_power_on = measurement.looks_like_power_on()
                && !self.previous.is_some_and(|it| it.looks_like_power_on());
            let word_time = at.duration_since(begun) / if access.with_power { 3 } else { 2 };
            let mut repeated = None;
            if can_retry && !doubts.is_empty() {
                // Including a third read of one word, and the flags.
                let words = u32::try_from(doubts.len() + 2).unwrap_or(5);
                if self.tracker.leaves_time(at, word_time * words) {
                    repeated = Some(access.repeat(measurement, &doubts)?);
                    at = access.clock.now();
                }
            }
            // The flags show whether an edge has torn the result. They also show a brown-out, whose
            // zeros are not a result.
            let is_doubtful = late
                || attempt > 1
                || repeated.is_some()
                || looks_like_power_on
                || self.tracker.may_tear(flag_read.begun, at);
            if is_doubtful && can_retry {
                (flag_read, flags) = match self.read_flags(access)? {
                    Ok(read) => read,
                    Err(found) => return Ok(PollOutcome::Reset(found)),
                };
                if flags.ready() {
                    self.miss(&cycle);
                    continue;
                }
                self.record_alert(access, flags);
                self.guard.not_ready(flags.alert());
                self.missed += self.tracker.confirm_last(flag_read);
            }
            let (measurement, corrupt) = repeated.unwrap_or_else(|| {
                let is_impossible = measurement.is_impossible();
                ((!is_impossible).then_some(measurement), is_impossible.into())
            });
            self.corrupt += corrupt;
            let Some(measurement) = measurement else {
                self.miss(&cycle);
                break;
            };
            self.previous = Some(measurement);
            let greater_counts = self.guard.covers(&measurement);
            self.guard.add(&measurement, access.chip.can_guard());
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

    fn record_alert(&mut self, access: &ChipAccess<'_>, flags: MaskEnable) {
        self.alert |= flags.alert() && access.chip.has_alert(&self.registers);
    }

    /// Reads the flags; twice, if they do not match the configuration.
    fn read_flags(&mut self, access: &mut ChipAccess<'_>) -> Result<Flags, Error> {
        let (flag_read, mut flags) = access.read_flags()?;
        if !self.registers.matches_flags(flags) {
            let again = access.read_flags()?.1;
            if let Some(found) = self.check(access, again)? {
                return Ok(Err(found));
            }
            // The first word was corrupted, and reading it has cleared the flags.
            flags = again;
            self.corrupt += 1;
            self.guard.taint();
            self.may_have_cleared = true;
        }
        if self.may_have_cleared && self.tracker.is_due(flag_read) {
            flags.0 |= MaskEnable::READY;
        }
        Ok(Ok((flag_read, flags)))
    }

    /// Returns the registers if the chip has lost its configuration: if they differ twice.
    fn check(
        &mut self,
        access: &mut ChipAccess<'_>,
        flags: MaskEnable,
    ) -> Result<Option<RegisterDump>, Error> {
        let mut check = || access.chip.check(access.bus, &self.registers, flags);
        if check()?.is_none() {
            return Ok(None);
        }
        let found = check()?;
        self.corrupt += u64::from(found.is_none());
        Ok(found)
    }
}

impl ChipAccess<'_> {
    fn read_flags(&mut self) -> Result<(FlagRead, MaskEnable), Error> {
        let begun = self.clock.now();
        let flags = self.chip.read_flags(self.bus)?;
        let ended = self.clock.now();
        Ok((FlagRead { begun, ended }, flags))
    }

    /// Reads the doubtful words again, and a third time if they differ. Returns the words that two
    /// reads agree on, or `None` if a word differed each time; and the number of corrupted reads.
    fn repeat(
        &mut self,
        mut measurement: Measurement,
        doubts: &[Register],
    ) -> Result<(Option<Measurement>, u64), Error> {
        let (mut is_known, mut corrupt) = (true, 0);
        for &register in doubts {
            let mut read = || ina260::read(self.bus, self.chip.address, register);
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
        Ok((is_known.then_some(measurement), corrupt))
    }
}
