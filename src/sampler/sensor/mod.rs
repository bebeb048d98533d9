//! One sensor and its states: new, running, down.

use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::backoff::{Backoff, LogRateLimit};
use super::poller::{PollOutcome, Poller};
use super::report::{Error, overflows, transfer_failure};
use super::tracker::FlagRead;
use super::{Access, Setup};
use crate::i2c::Bus;
use crate::i2c::mux::{self, Multiplexers};
use crate::ina260;
use crate::ina260::alert::Alert;
use crate::meter::{Failure, Raw, Reading};
use outage::Outage;

mod outage;

/// Nominal cycle from which the power register is read even without [`Setup::always_power`].
const MIN_POWER_CYCLE: Duration = Duration::from_millis(10);

pub(super) struct Sensor {
    pub(super) setup: Setup,
    state: State,
    /// Whether it went up or down, until that is reported.
    pub(super) changed: bool,
    log_limit: LogRateLimit,
    /// Separate from that of outages, which a flickering alert must not suppress.
    alert_log_limit: LogRateLimit,
    /// Whether the activation of the alert was logged; only then is its end logged, too.
    alert_logged: bool,
    /// Pauses before overwriting another master's configuration, and the time of its last write.
    foreign_writes: (Backoff, Option<Instant>),
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

impl Sensor {
    pub(super) fn new(setup: Setup, now: Instant) -> Self {
        setup.meter.lock().accumulator.mark_down(now);
        Self {
            nominal_cycle: setup.chip.settings.cycle(),
            setup,
            state: State::New(now),
            changed: false,
            log_limit: LogRateLimit::new(now),
            alert_log_limit: LogRateLimit::new(now),
            alert_logged: false,
            foreign_writes: (Backoff::default(), None),
            word_time: None,
        }
    }

    /// Applies a new setup; the conversions continue if the chip's settings are the same.
    pub(super) fn apply(&mut self, setup: Setup, now: Instant) {
        if setup.chip == self.setup.chip {
            self.setup = setup;
            return;
        }
        if self.alert_logged
            && let Some(alert) = self.setup.chip.alert
        {
            let (name, on) = (&self.setup.name, alert.function.name());
            info!("{name}: {on} alert cleared (sensor reconfigured)");
        }
        let mut meter = setup.meter.lock();
        meter.up = false;
        meter.set_alert(false);
        drop(meter);
        *self = Self::new(setup, now);
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

    /// Returns whether the power register is read.
    fn with_power(&self) -> bool {
        self.setup.always_power || self.nominal_cycle >= MIN_POWER_CYCLE
    }

    /// Returns the transfers per second that reading every result takes: flags and registers.
    pub(super) fn transfers_per_second(&self) -> f64 {
        let words = if self.with_power() { 4.0 } else { 3.0 };
        words / self.nominal_cycle.as_secs_f64()
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
    pub(super) fn poll(&mut self, mut access: Access<'_>, begun: Instant) -> Result<(), Error> {
        let mut result = self.poll_channel(&mut access);
        if let Err(error @ Error::Mux(mux::Error::ControlMismatch { .. })) = &result {
            debug!("{}: {error}; selecting the channel again", self.setup.name);
            self.setup.meter.lock().count_failure(Failure::Mux);
            result = self.poll_channel(&mut access);
        }
        let now = access.clock.now();
        let mut meter = self.setup.meter.lock();
        meter.record_poll(now.duration_since(begun));
        for kind in access.bus.failures {
            meter.count_failure(transfer_failure(kind));
        }
        drop(meter);
        result.inspect_err(|error| {
            access.multiplexers.forget();
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
    fn poll_channel(&mut self, access: &mut Access<'_>) -> Result<(), Error> {
        if let Some(channel) = self.setup.channel {
            if !self.is_running() {
                // The chip will be written, and another master may have changed the channel.
                access.multiplexers.forget();
            }
            access.multiplexers.select(&mut access.bus, channel)?;
        }
        let before = self.setup.channel.and_then(|_| self.poller().cloned());
        let with_power = self.with_power();
        let outcome = match &mut self.state {
            State::Running(poller) => poller.poll(access, with_power).map_err(Error::from),
            State::New(_) | State::Down(_) => self.configure(access).map(PollOutcome::Configured),
        };
        // Also after a failure, which an empty channel causes, too; but not on a stuck bus.
        if !outcome.as_ref().is_err_and(Error::is_timeout)
            && let Err(failure) = self.verify_channel(access)
        {
            // The flags and the registers may have been those of another chip.
            if let Some(mut before) = before {
                before.guard.taint();
                self.state = State::Running(Box::new(before));
            }
            return Err(failure);
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
            PollOutcome::Configured(poller) => self.start(poller),
            PollOutcome::NoResult => {}
            PollOutcome::Result { at, measurement, cycle, greater_counts, alert } => {
                let measured = measurement.measured(greater_counts && !had_failures);
                let reading = Reading {
                    at,
                    booted: access.clock.booted(),
                    measured: self.setup.calibration.apply(measured),
                    raw: measurement.power_register_milliwatts().map(|power| Raw {
                        voltage: measurement.voltage().0,
                        current: measurement.current_milliamperes(),
                        power,
                    }),
                };
                debug!("{}: {}", self.setup.name, reading.measured);
                let mut meter = self.setup.meter.lock();
                self.changed |= !meter.up;
                meter.cycle = cycle.period;
                overflows(&measurement).for_each(|it| meter.overflows[it as usize] += 1);
                meter.record(reading, &cycle);
                let alert_changed = meter.set_alert(alert);
                drop(meter);
                if let Some(set) = self.setup.chip.alert.filter(|_| alert_changed) {
                    self.log_alert(set, alert, access.clock.now());
                }
                self.write_guard(access)?;
            }
            PollOutcome::Reset(found) => self.handle_reset(found, access)?,
        }
        Ok(())
    }

    fn verify_channel(&self, access: &mut Access<'_>) -> Result<(), Error> {
        if self.setup.channel.is_some() {
            access.multiplexers.verify(&mut access.bus)?;
        }
        Ok(())
    }

    /// Logs that the alert became active or was cleared.
    fn log_alert(&mut self, alert: Alert, active: bool, now: Instant) {
        let name = &self.setup.name;
        let (on, limit, unit) = (alert.function.name(), alert.limit, alert.function.unit());
        let was_logged = self.alert_logged;
        self.alert_logged = active && self.alert_log_limit.allow(now);
        if self.alert_logged {
            warn!("{name}: {on} alert active (a conversion crossed the limit of {limit} {unit})");
        } else if was_logged {
            info!("{name}: {on} alert cleared (within the limit of {limit} {unit} again)");
        }
    }

    /// Writes the power guard, if the last result has shown that it has to change.
    fn write_guard(&mut self, access: &mut Access<'_>) -> Result<(), Error> {
        if let State::Running(poller) = &mut self.state
            && poller.guard.has_request()
        {
            poller.write_guard(access)?;
            self.verify_channel(access).inspect_err(|_| {
                // Another chip may have been written: this one is configured again.
                let now = access.clock.now();
                self.setup.meter.lock().accumulator.mark_down(now);
                self.state = State::Down(Outage::new(now));
            })?;
        }
        Ok(())
    }

    /// Identifies the chip and writes its settings.
    fn configure(&mut self, access: &mut Access<'_>) -> Result<Box<Poller>, Error> {
        let (bus, clock, chip) = (&mut access.bus, access.clock, self.setup.chip);
        let die = ina260::identify(bus, chip.address)?;
        let mut times = Vec::new();
        let registers = chip.configure(bus, || times.push(clock.now()))?;
        let start =
            if let [begun, ended] = times[..] { Some(FlagRead { begun, ended }) } else { None };
        self.word_time = bus.fastest_word;
        self.nominal_cycle = registers.settings().cycle();
        Ok(Box::new(Poller::new(chip, die, registers, start, clock.now())))
    }

    /// Starts polling a chip that was configured.
    fn start(&mut self, poller: Box<Poller>) {
        let period = poller.period();
        let mut meter = self.setup.meter.lock();
        meter.chip = Some(poller.info);
        meter.cycle = period;
        meter.accumulator.restart(poller.started);
        drop(meter);
        let (name, die) = (&self.setup.name, poller.info.die);
        match &self.state {
            State::New(_) => {
                let millis = period.as_secs_f64() * 1e3;
                info!("{name}: INA260 found (die {die:#06x}); a result every {millis:.2} ms");
            }
            State::Down(outage) if outage.logged => match outage.failed_attempts {
                0 => info!("{name}: configuration restored"),
                1 => info!("{name}: responding again after 1 failed attempt"),
                attempts => info!("{name}: responding again after {attempts} failed attempts"),
            },
            State::Down(_) | State::Running(_) => {}
        }
        self.state = State::Running(poller);
    }
}
