//! The conversions of a sensor that runs: which look finds which result, and whether it is whole.

use std::time::{Duration, Instant};

use super::tracker::{CycleTracker, Look};
use crate::clock::Clock;
use crate::i2c::Bus;
use crate::ina260::registers::MaskEnable;
use crate::ina260::{self, Error, Ina260, Measurement, RegisterDump, Reset};
use crate::meter::Cycle;

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Seen {
    /// No result yet.
    Nothing,
    /// One result, whole.
    Result {
        /// When its data were read.
        at: Instant,
        measurement: Measurement,
        cycle: Cycle,
        /// The comparator tripped since the result before.
        alert: bool,
    },
    /// The settings are not what they were.
    Reset(Reset),
}

/// A sensor's conversions since it was set.
#[derive(Clone)]
pub(super) struct Poller {
    registers: RegisterDump,
    /// As the chip is set, whoever set it.
    nominal: Duration,
    edges: CycleTracker,
    started: Instant,
    /// When the settings were compared last that the flags do not show.
    checked: Instant,
    /// Looks release the latched alert: it is kept here until a result tells it.
    alert: bool,
    /// Results that were finished and not used since the last that was; `None` if that can't be told.
    unused: Option<u64>,
    /// Results that were finished and not used, and are not told yet.
    missed: u64,
    /// The result before looked like one of a reset and was none: a rail that is off. Another costs no second look.
    zeros: bool,
}

impl Poller {
    /// How often settings are compared that the flags do not show.
    const CHECK: Duration = Duration::from_secs(1);
    /// A read that is torn so many times in a row is on a bus that is too slow for it, or of a chip whose flag means nothing; its
    /// registers are of neighbouring results then, and better than none.
    const ATTEMPTS: usize = 4;

    /// Poller that were prepared `now`, and started over in the transfer `start` if they were.
    pub(super) fn new(registers: RegisterDump, start: Option<Look>, now: Instant) -> Self {
        let nominal = registers.settings().cycle();
        let edges = CycleTracker::new(nominal, start, now);
        Self {
            registers,
            nominal,
            started: edges.started().unwrap_or(now),
            edges,
            checked: now,
            alert: false,
            unused: Some(0),
            missed: 0,
            zeros: false,
        }
    }

    /// When to look: for the next result, or because a second has passed; a result every minute is no reason to notice only then
    /// that the sensor is gone.
    pub(super) fn due(&self) -> Instant {
        self.edges.due().min(self.checked + Self::CHECK)
    }

    pub(super) fn ready_from(&self) -> Instant {
        self.edges.ready_from().min(self.due())
    }

    pub(super) fn cycle(&self) -> Duration {
        self.edges.cycle()
    }

    pub(super) fn nominal(&self) -> Duration {
        self.nominal
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Nothing is known any more of when the next result is finished, nor of how many were.
    pub(super) fn lose_phase(&mut self) {
        self.edges.lose_phase();
        self.unused = None;
    }

    /// Looks once, and reads what is there.
    ///
    /// # Errors
    /// A failed transfer.
    pub(super) fn look(
        &mut self,
        chip: &Ina260,
        with_power: bool,
        bus: &mut dyn Bus,
        clock: &dyn Clock,
    ) -> Result<Seen, Error> {
        let due = self.edges.due();
        let begun = clock.now();
        let late = begun.saturating_duration_since(due) > self.cycle() / 2;
        let flags = chip.read_flags(bus)?;
        let look = Look {
            begun,
            ended: clock.now(),
        };
        if !self.registers.matches_flags(flags)
            && let Some(reset) = chip.check(bus, &self.registers, flags)?
        {
            return Ok(Seen::Reset(reset));
        }
        let seen = self.read(chip, with_power, bus, clock, late, (look, flags))?;
        // After the data, since between flags and data there is no time to lose.
        if look.ended.duration_since(self.checked) >= Self::CHECK {
            if let Some(reset) = chip.check(bus, &self.registers, flags)? {
                return Ok(Seen::Reset(reset));
            }
            self.checked = look.ended;
        }
        Ok(seen)
    }

    /// Reads what a look has found.
    fn read(
        &mut self,
        chip: &Ina260,
        with_power: bool,
        bus: &mut dyn Bus,
        clock: &dyn Clock,
        late: bool,
        (mut look, mut flags): (Look, MaskEnable),
    ) -> Result<Seen, Error> {
        for attempt in 1..=Self::ATTEMPTS {
            self.alert |= flags.alert();
            if !flags.ready() {
                self.edges.not_ready(look);
                break;
            }
            let mut cycle = self.edges.ready(look);
            self.missed += cycle.missed;
            let unused = self.unused.replace(0);
            cycle.elapsed = unused.and_then(|unused| Some(cycle.elapsed? + unused));
            let measurement = ina260::measure(bus, chip.address, flags.overflow(), with_power)?;
            let read = clock.now();
            // A bus that takes longer for a result than the chip does gives neighbours at best, and no second look mends it.
            let hopeless = read.duration_since(look.ended) > self.cycle() * 3 / 4;
            // An edge between flags and data makes a result out of two. Where one may have come, the flags tell.
            // So they do of a brown-out, whose zeros are no result.
            let needs_deselect = late
                || attempt > 1
                || (measurement.looks_like_power_on() && !self.zeros)
                || self.edges.may_tear(look.begun, read);
            if needs_deselect && !hopeless && attempt < Self::ATTEMPTS {
                let begun = clock.now();
                flags = chip.read_flags(bus)?;
                look = Look {
                    begun,
                    ended: clock.now(),
                };
                if !self.registers.matches_flags(flags)
                    && let Some(reset) = chip.check(bus, &self.registers, flags)?
                {
                    return Ok(Seen::Reset(reset));
                }
                if flags.ready() {
                    self.unused = cycle.elapsed.filter(|&elapsed| elapsed > 0);
                    self.missed += 1;
                    continue;
                }
                self.alert |= flags.alert();
                self.missed += self.edges.looked_again(look);
            }
            self.zeros = measurement.looks_like_power_on();
            cycle.missed = std::mem::take(&mut self.missed);
            return Ok(Seen::Result {
                at: read,
                measurement,
                cycle,
                alert: std::mem::take(&mut self.alert),
            });
        }
        Ok(Seen::Nothing)
    }
}
