//! One sensor and its states: new, running, down.

use std::time::{Duration, Instant};

use tracing::{debug, info};

use super::backoff::LogRateLimit;
use super::poller::{ChipAccess, PollOutcome, Poller};
use super::report::{Error, overflows, reading, transfer_failure};
use super::setup::Setup;
use super::tracker::FlagRead;
use crate::clock::Clock;
use crate::i2c::mux::{self, Multiplexers};
use crate::i2c::{Bus, Retry};
use crate::ina260::{self, Ina260};
use crate::meter::{ChipInfo, Failure};
use alert_log::AlertLog;
use outage::{ForeignWriteBackoff, Outage};

mod alert_log;
mod outage;

/// Nominal cycle from which the power register is read even without [`Setup::always_power`].
const MIN_POWER_CYCLE: Duration = Duration::from_millis(10);

pub(super) struct Sensor {
    pub(super) setup: Setup,
    state: State,
    /// Whether it went up or down since the last [`Self::take_changed`].
    changed: bool,
    log_limit: LogRateLimit,
    alert_log: AlertLog,
    foreign_writes: ForeignWriteBackoff,
    /// Shortest time of a register read, once the sensor has been configured.
    pub(super) word_time: Option<Duration>,
    /// Cycle by the chip's settings; until it was configured, by those of the setup.
    nominal_cycle: Duration,
}

enum State {
    /// Not polled yet; holds the time at which the sensor was added.
    New(Instant),
    Running(Box<Poller>),
    Down(Outage),
}

/// The bus during one poll.
struct BusAccess<'a> {
    bus: Retry<'a>,
    multiplexers: &'a mut Multiplexers,
    clock: &'a dyn Clock,
}

impl BusAccess<'_> {
    fn chip<'a>(&'a mut self, chip: &'a Ina260, with_power: bool) -> ChipAccess<'a> {
        ChipAccess { chip, with_power, bus: &mut self.bus, clock: self.clock }
    }
}

impl Sensor {
    pub(super) fn new(setup: Setup, now: Instant) -> Self {
        setup.meter.lock().accumulator.mark_down(now);
        Self {
            nominal_cycle: setup.chip.settings.cycle(),
            setup,
            state: State::New(now),
            changed: false,
            log_limit: LogRateLimit::new(now),
            alert_log: AlertLog::new(now),
            foreign_writes: ForeignWriteBackoff::default(),
            word_time: None,
        }
    }

    /// Applies a new setup; the conversions continue if the chip's settings are the same.
    pub(super) fn apply(&mut self, setup: Setup, now: Instant) {
        if setup.chip == self.setup.chip {
            self.setup = setup;
        } else {
            let mut meter = setup.meter.lock();
            meter.mark_down(now);
            meter.set_alert(false);
            drop(meter);
            if let Some(alert) = self.setup.chip.alert {
                self.alert_log.log_reconfigured(&self.setup.name, alert);
            }
            *self = Self::new(setup, now);
        }
    }

    /// Returns when to poll the sensor next.
    pub(super) fn due(&self) -> Instant {
        match &self.state {
            State::New(at) => *at,
            State::Running(poller) => poller.due(),
            State::Down(outage) => outage.retry_at,
        }
    }

    fn poller(&self) -> Option<&Poller> {
        if let State::Running(poller) = &self.state { Some(poller) } else { None }
    }

    /// Returns when the result that is due will be overwritten.
    pub(super) fn overwritten_at(&self) -> Instant {
        self.due() + self.poller().map_or(Duration::ZERO, Poller::period)
    }

    /// Returns whether the sensor is running and a poll would find a result, or is due anyway.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        self.poller().is_some_and(|poller| poller.ready_from() <= now)
    }

    pub(super) fn is_running(&self) -> bool {
        self.poller().is_some()
    }

    /// Returns the transfers per second that reading every result takes: flags and registers.
    pub(super) fn transfers_per_second(&self) -> f64 {
        let words = if self.with_power() { 4.0 } else { 3.0 };
        words / self.nominal_cycle.as_secs_f64()
    }

    /// Returns whether the sensor went up or down since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Accounts for a suspend of the machine: the state of the sensor during it is unknown.
    pub(super) fn on_suspend(&mut self, time: Duration) {
        self.setup.meter.lock().accumulator.add_suspended(time);
        if let State::Running(poller) = &mut self.state {
            poller.lose_phase();
        }
    }

    /// Polls the sensor; configures it first if it is not running.
    ///
    /// # Errors
    /// The failure, which is counted and logged already.
    pub(super) fn poll(
        &mut self,
        bus: &mut dyn Bus,
        multiplexers: &mut Multiplexers,
        clock: &dyn Clock,
        begun: Instant,
    ) -> Result<(), Error> {
        let mut access = BusAccess { bus: Retry::new(bus, clock), multiplexers, clock };
        let mut result = self.poll_channel(&mut access);
        if let Err(error @ Error::Mux(mux::Error::ControlMismatch { .. })) = &result {
            debug!("{}: {error}; selecting the channel again", self.setup.name);
            self.setup.meter.lock().count_failure(Failure::Mux);
            result = self.poll_channel(&mut access);
        }
        let now = clock.now();
        let mut meter = self.setup.meter.lock();
        meter.record_poll(now.duration_since(begun));
        for kind in access.bus.failures {
            meter.count_failure(transfer_failure(kind));
        }
        drop(meter);
        result.inspect_err(|error| {
            multiplexers.forget();
            self.mark_down(error, now);
        })
    }

    /// Disables the chip's alerts, if the sensor is running.
    pub(super) fn release(
        &self,
        bus: &mut dyn Bus,
        multiplexers: &mut Multiplexers,
    ) -> Result<(), Error> {
        if self.is_running() {
            if let Some(channel) = self.setup.channel {
                multiplexers.select(bus, channel)?;
            }
            self.setup.chip.release(bus)?;
        }
        Ok(())
    }

    /// Selects the mux channel, polls, and verifies the channel before the outcome counts.
    fn poll_channel(&mut self, access: &mut BusAccess<'_>) -> Result<(), Error> {
        if let Some(channel) = self.setup.channel {
            if !self.is_running() {
                // The chip will be written, and another master may have changed the channel.
                access.multiplexers.forget();
            }
            access.multiplexers.select(&mut access.bus, channel)?;
        }
        let before = self.setup.channel.and_then(|_| self.poller().cloned());
        let outcome = self.poll_chip(access);
        // Also after a failure, which an empty channel causes, too; but not on a stuck bus.
        if self.setup.channel.is_some()
            && !outcome.as_ref().is_err_and(Error::is_timeout)
            && let Err(failure) = access.multiplexers.verify(&mut access.bus)
        {
            // The flags and the registers may have been those of another chip.
            if let Some(mut before) = before {
                before.guard.taint();
                self.state = State::Running(Box::new(before));
            }
            return Err(failure.into());
        }
        let had_failures = !access.bus.failures.is_empty();
        if let State::Running(poller) = &mut self.state {
            let corrupt = std::mem::take(&mut poller.corrupt);
            self.setup.meter.lock().failures[Failure::Corrupt as usize] += corrupt;
            if had_failures {
                // A transfer that failed may have cleared a tripped comparator.
                poller.guard.taint();
            }
        }
        match outcome? {
            PollOutcome::Configured(poller, chip) => self.start(poller, chip),
            PollOutcome::NoResult => {}
            PollOutcome::Result { at, measurement, cycle, greater_counts, alert } => {
                let booted = access.clock.booted();
                let calibration = &self.setup.calibration;
                let greater_counts = greater_counts && !had_failures;
                let reading = reading(measurement, greater_counts, calibration, at, booted);
                debug!("{}: {}", self.setup.name, reading.measured);
                let mut meter = self.setup.meter.lock();
                self.changed |= !meter.up;
                meter.cycle = cycle.period;
                overflows(&measurement).for_each(|quantity| meter.count_overflow(quantity));
                meter.record(reading, &cycle);
                let alert_changed = meter.set_alert(alert);
                drop(meter);
                if let Some(set) = self.setup.chip.alert.filter(|_| alert_changed) {
                    let now = access.clock.now();
                    self.alert_log.log(&self.setup.name, set, alert, now);
                }
                return self.write_guard(access);
            }
            PollOutcome::Reset(found) => return self.handle_reset(found, access),
        }
        Ok(())
    }

    /// Writes the power guard, if the last result has shown that it has to change.
    fn write_guard(&mut self, access: &mut BusAccess<'_>) -> Result<(), Error> {
        let with_power = self.with_power();
        let State::Running(poller) = &mut self.state else {
            return Ok(());
        };
        if !poller.guard.has_request() {
            return Ok(());
        }
        poller.write_guard(&mut access.chip(&self.setup.chip, with_power))?;
        if self.setup.channel.is_some()
            && let Err(failure) = access.multiplexers.verify(&mut access.bus)
        {
            // Another chip may have been written: this one is configured again.
            let now = access.clock.now();
            self.setup.meter.lock().accumulator.mark_down(now);
            self.state = State::Down(Outage::new(now));
            return Err(failure.into());
        }
        Ok(())
    }

    fn poll_chip(&mut self, access: &mut BusAccess<'_>) -> Result<PollOutcome, Error> {
        let with_power = self.with_power();
        if let State::Running(poller) = &mut self.state {
            return Ok(poller.poll(&mut access.chip(&self.setup.chip, with_power))?);
        }
        let (poller, chip) = self.configure(access)?;
        Ok(PollOutcome::Configured(poller, chip))
    }

    /// Identifies the chip and writes its settings.
    fn configure(&mut self, access: &mut BusAccess<'_>) -> Result<(Box<Poller>, ChipInfo), Error> {
        let (bus, clock) = (&mut access.bus, access.clock);
        let die = ina260::identify(bus, self.setup.chip.address)?;
        let mut start: Option<FlagRead> = None;
        let registers = self.setup.chip.configure(bus, || {
            let ended = clock.now();
            let begun = start.map_or(ended, |start| start.begun);
            start = Some(FlagRead { begun, ended });
        })?;
        let poller = Poller::new(registers, start, clock.now());
        self.word_time = bus.fastest_word;
        let settings = registers.settings();
        self.nominal_cycle = settings.cycle();
        Ok((Box::new(poller), ChipInfo { die, settings }))
    }

    /// Starts polling a chip that was configured.
    fn start(&mut self, poller: Box<Poller>, chip: ChipInfo) {
        let period = poller.period();
        let mut meter = self.setup.meter.lock();
        meter.chip = Some(chip);
        meter.cycle = period;
        meter.accumulator.restart(poller.started);
        drop(meter);
        let (name, die) = (&self.setup.name, chip.die);
        match &self.state {
            State::New(_) => {
                let millis = period.as_secs_f64() * 1e3;
                info!("{name}: INA260 found (die {die:#06x}); a result every {millis:.2} ms");
            }
            State::Down(outage) => {
                if let Some(message) = outage.end() {
                    info!("{name}: {message}");
                }
            }
            State::Running(_) => {}
        }
        self.state = State::Running(poller);
    }

    /// Returns whether the power register is read.
    fn with_power(&self) -> bool {
        self.setup.always_power || self.nominal_cycle >= MIN_POWER_CYCLE
    }
}
