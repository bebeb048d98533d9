//! Polls a running sensor: finds the cycle of each result, and rejects torn reads.

use std::time::{Duration, Instant};

use super::tracker::{CycleTracker, FlagRead};
use crate::clock::Clock;
use crate::i2c::Bus;
use crate::ina260::registers::MaskEnable;
use crate::ina260::{self, Error, Ina260, Measurement, RegisterDump};
use crate::meter::{ChipInfo, Cycle};

/// Outcome of a poll.
pub(super) enum PollOutcome {
    /// The sensor was not running; it has been configured.
    Configured(Box<Poller>, ChipInfo),
    /// No result has been completed since the last poll.
    NoResult,
    /// A whole result.
    Result {
        /// When its registers were read.
        at: Instant,
        measurement: Measurement,
        cycle: Cycle,
        /// Whether the comparator has tripped since the previous result.
        alert: bool,
    },
    /// The chip has lost its configuration; holds what its registers contain.
    Reset(RegisterDump),
}

/// A chip and its bus.
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
    /// Whether the last result looked like power-on values but was real (a rail that is off): the
    /// next such result is not verified again.
    zeros: bool,
}

impl Poller {
    /// Time between two checks of the registers that the flags do not cover.
    const CHECK_INTERVAL: Duration = Duration::from_secs(1);
    /// Torn reads in a row, the last of which is used: the bus is too slow, or the chip's flag is
    /// wrong. Registers of neighbouring results are better than none.
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
            zeros: false,
        }
    }

    /// Returns when to poll next: for the next result, or for the check, which also finds within a
    /// second that a sensor with a long cycle has failed.
    pub(super) fn due(&self) -> Instant {
        self.tracker.due().min(self.checked + Self::CHECK_INTERVAL)
    }

    /// Returns from when on a poll makes sense.
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

    /// Reads the flags and, if they announce a result, the result.
    ///
    /// # Errors
    /// A failed transfer.
    pub(super) fn poll(&mut self, access: &mut ChipAccess<'_>) -> Result<PollOutcome, Error> {
        let (flag_read, flags) = access.read_flags()?;
        if let Some(found) = self.check_flags(access, flags)? {
            return Ok(PollOutcome::Reset(found));
        }
        let delay = flag_read.begun.saturating_duration_since(self.tracker.due());
        let late = delay > self.period() / 2;
        let outcome = self.read(access, late, (flag_read, flags))?;
        // After the result, which has to be read as soon after its flags as possible.
        if flag_read.ended.duration_since(self.checked) >= Self::CHECK_INTERVAL {
            if let Some(found) = access.chip.check(access.bus, &self.registers, flags)? {
                return Ok(PollOutcome::Reset(found));
            }
            self.checked = flag_read.ended;
        }
        Ok(outcome)
    }

    /// Reads the result that the flags announce; again, if an edge may have torn it.
    fn read(
        &mut self,
        access: &mut ChipAccess<'_>,
        late: bool,
        (mut flag_read, mut flags): (FlagRead, MaskEnable),
    ) -> Result<PollOutcome, Error> {
        for attempt in 1..=Self::MAX_ATTEMPTS {
            self.alert |= flags.alert();
            if !flags.ready() {
                self.tracker.not_ready(flag_read);
                break;
            }
            let mut cycle = self.tracker.ready(flag_read);
            self.missed += cycle.missed;
            let unused = self.unused.replace(0);
            cycle.elapsed = unused.and_then(|unused| Some(cycle.elapsed? + unused));
            let measurement = access.measure(flags)?;
            let at = access.clock.now();
            // On a bus that needs longer for a result than the chip, another attempt cannot help.
            let too_slow = at.duration_since(flag_read.ended) > self.period() * 3 / 4;
            // The flags show whether an edge has torn the result. They also show a brown-out, whose
            // zeros are not a result.
            let is_doubtful = late
                || attempt > 1
                || (measurement.looks_like_power_on() && !self.zeros)
                || self.tracker.may_tear(flag_read.begun, at);
            if is_doubtful && !too_slow && attempt < Self::MAX_ATTEMPTS {
                (flag_read, flags) = access.read_flags()?;
                if let Some(found) = self.check_flags(access, flags)? {
                    return Ok(PollOutcome::Reset(found));
                }
                if flags.ready() {
                    self.unused = cycle.elapsed.filter(|&elapsed| elapsed > 0);
                    self.missed += 1;
                    continue;
                }
                self.alert |= flags.alert();
                self.missed += self.tracker.confirm_last(flag_read);
            }
            self.zeros = measurement.looks_like_power_on();
            cycle.missed = std::mem::take(&mut self.missed);
            return Ok(PollOutcome::Result {
                at,
                measurement,
                cycle,
                alert: std::mem::take(&mut self.alert),
            });
        }
        Ok(PollOutcome::NoResult)
    }

    /// Returns the registers if the flags show that the chip has lost its configuration.
    fn check_flags(
        &self,
        access: &mut ChipAccess<'_>,
        flags: MaskEnable,
    ) -> Result<Option<RegisterDump>, Error> {
        if self.registers.matches_flags(flags) {
            return Ok(None);
        }
        access.chip.check(access.bus, &self.registers, flags)
    }
}

impl ChipAccess<'_> {
    fn read_flags(&mut self) -> Result<(FlagRead, MaskEnable), Error> {
        let begun = self.clock.now();
        let flags = self.chip.read_flags(self.bus)?;
        let ended = self.clock.now();
        Ok((FlagRead { begun, ended }, flags))
    }

    fn measure(&mut self, flags: MaskEnable) -> Result<Measurement, Error> {
        let (address, overflow) = (self.chip.address, flags.overflow());
        ina260::measure(self.bus, address, overflow, self.with_power)
    }
}
