//! One sensor and its states: new, running, down.

use std::fmt;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::backoff::Backoff;
use super::poller::{PollError, PollOutcome, Poller};
use super::{Access, Error, Setup, transfer_failure};
use crate::clock::LogRateLimit;
use crate::i2c::{self, ErrorKind, mux};
use crate::ina260::alert::Alert;
use crate::ina260::{self, RegisterDump};
use crate::meter::{Failure, Raw, Reading, Reset};

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
    /// The alert whose activation was logged; only then is its end logged, too.
    logged_alert: Option<Alert>,
    /// Pauses before overwriting another master's configuration, and the time of its last write.
    foreign_writes: (Backoff, Option<Instant>),
    /// Shortest time of a register read, once the sensor has been configured.
    pub(super) word_time: Option<Duration>,
    /// Whether it may have settings of the exporter.
    is_configured: bool,
    /// Whether an alert was latched during an outage, until the sensor has been configured.
    latched_alert: bool,
    /// Cycle by the chip's settings; until it was configured, by those of the setup.
    nominal_cycle: Duration,
}

enum State {
    /// Not polled yet; holds the time at which the sensor was added.
    New(Instant),
    Running(Box<Poller>),
    Down(Outage),
}

struct Outage {
    retry_at: Instant,
    backoff: Backoff,
    failed_attempts: u32,
    /// Whether the beginning was logged; only then is the end logged, too.
    logged: bool,
}

impl Sensor {
    /// Time without a foreign write after which its backoff is reset.
    const FORGET_FOREIGN_WRITE: Duration = Duration::from_secs(60);

    pub(super) fn new(setup: Setup, now: Instant) -> Self {
        setup.meter.lock().accumulator.mark_down(now);
        Self {
            nominal_cycle: setup.chip.settings.cycle(),
            setup,
            is_configured: false,
            latched_alert: false,
            state: State::New(now),
            changed: false,
            log_limit: LogRateLimit::default(),
            alert_log_limit: LogRateLimit::default(),
            logged_alert: None,
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
        self.settle(now);
        if let Some(alert) = self.logged_alert {
            let (name, on) = (&self.setup.name, alert.function.name());
            info!("{name}: {on} alert cleared (sensor reconfigured)");
        }
        let mut meter = setup.meter.lock();
        meter.up = false;
        meter.set_alert(false);
        drop(meter);
        let is_configured = self.is_configured && setup.chip.configure;
        *self = Self { is_configured, ..Self::new(setup, now) };
    }

    pub(super) fn due(&self) -> Instant {
        match &self.state {
            State::New(at) => *at,
            State::Running(poller) => poller.due(),
            State::Down(outage) => outage.retry_at,
        }
    }

    pub(super) fn poller(&self) -> Option<&Poller> {
        if let State::Running(poller) = &self.state { Some(poller) } else { None }
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
        self.setup.meter.lock().add_suspended(time);
        if let State::Running(poller) = &mut self.state {
            poller.tracker.lose_phase();
        }
    }

    /// Polls the sensor, or configures it if it is not running. Counts and logs a failure. Also
    /// returns when the poll ended.
    pub(super) fn poll(
        &mut self,
        mut access: Access<'_>,
        begun: Instant,
    ) -> (Instant, Result<(), Error>) {
        let mut result = self.poll_channel(&mut access, begun);
        if let Err(error @ Error::Mux(mux::Error::ControlMismatch { .. })) = &result {
            debug!("{}: {error}; selecting the channel again", self.setup.name);
            self.setup.meter.lock().count_failure(Failure::Mux);
            result = self.poll_channel(&mut access, begun);
        }
        let now = access.bus.clock.now();
        let mut meter = self.setup.meter.lock();
        meter.record_poll(now, now.duration_since(begun));
        for kind in access.bus.failures {
            meter.count_failure(transfer_failure(kind));
        }
        drop(meter);
        if let Err(error) = &result {
            access.multiplexers.selected = None;
            self.mark_down(error, now);
        }
        (now, result)
    }

    /// Disables the chip's alerts, if it was configured, even during an outage.
    pub(super) fn release(&mut self, access: &mut Access<'_>) -> Result<(), Error> {
        self.settle(access.bus.clock.now());
        if self.is_configured {
            if let Some(channel) = self.setup.channel {
                // The chip will be written, and another master may have changed the channel.
                access.multiplexers.selected = None;
                access.multiplexers.select(&mut access.bus, channel)?;
            }
            // During an outage it may have been replaced by another one.
            ina260::identify(&mut access.bus, self.setup.chip.address)?;
            self.setup.chip.release(&mut access.bus)?;
            self.is_configured = false;
        }
        Ok(())
    }

    /// Counts what polls have found and would have reported with the next result: an alert, which
    /// reading the flags has cleared, and missed results.
    fn settle(&mut self, now: Instant) {
        let State::Running(poller) = &mut self.state else { return };
        let (alert, missed) = (std::mem::take(&mut poller.alert), poller.tracker.take_missed());
        self.setup.meter.lock().accumulator.add_missed(missed);
        if alert {
            self.set_alert(true, now);
        }
    }

    /// Selects the mux channel, polls, and verifies the channel before the outcome counts.
    fn poll_channel(&mut self, access: &mut Access<'_>, begun: Instant) -> Result<(), Error> {
        if let Some(channel) = self.setup.channel {
            if self.poller().is_none() {
                // The chip will be written, and another master may have changed the channel.
                access.multiplexers.selected = None;
            }
            access.multiplexers.select(&mut access.bus, channel)?;
        }
        let before = self.setup.channel.and_then(|_| self.poller().cloned());
        let latched_alert = self.latched_alert;
        let with_power = self.with_power();
        let outcome = match &mut self.state {
            State::Running(poller) => poller.poll(access, with_power),
            State::New(_) | State::Down(_) => {
                self.configure(access).map(PollOutcome::Configured).map_err(PollError::from)
            }
        };
        // Also verified after a failure, which an empty channel causes, too; not on a stuck bus.
        if !outcome.as_ref().is_err_and(i2c::is_timeout)
            && let Err(failure) = self.verify_channel(access)
        {
            // The flags and the registers may have been those of another chip.
            self.latched_alert = latched_alert;
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
        match outcome {
            Ok(PollOutcome::Configured(poller)) => self.start(poller),
            Ok(PollOutcome::NoResult) => self.check_silence(begun),
            Ok(PollOutcome::Result { at, measurement, cycle, greater_counts, alert }) => {
                let measured = measurement.measured(greater_counts && !had_failures);
                let measured = self.setup.calibration.apply(measured);
                let (voltage, current) =
                    (measurement.voltage().0, measurement.current_milliamperes());
                let power = measurement.power_register_milliwatts();
                let raw = power.map(|power| Raw { voltage, current, power });
                let reading = Reading { at, booted: access.bus.clock.booted(), measured, raw };
                debug!("{}: {}", self.setup.name, reading.measured);
                let mut meter = self.setup.meter.lock();
                self.changed |= !meter.up;
                meter.cycle = cycle.period;
                measurement.overflows().for_each(|it| meter.overflows[it as usize] += 1);
                if let State::Running(poller) = &mut self.state
                    && let Some(logged) = poller.silence.take()
                {
                    // Until now, the time was counted as unmeasured.
                    meter.accumulator.restart(at);
                    if logged {
                        info!("{}: usable results again", self.setup.name);
                    }
                }
                meter.record(reading, &cycle);
                drop(meter);
                self.set_alert(alert, at);
                self.write_guard(access)?;
            }
            Err(PollError::Reset(found)) => self.handle_reset(found, access)?,
            Err(PollError::Failed(error)) => return Err(error.into()),
        }
        Ok(())
    }

    /// Reports a sensor that responds without results for too long, at a poll that began `now`.
    fn check_silence(&mut self, now: Instant) {
        let State::Running(poller) = &mut self.state else { return };
        let mut meter = self.setup.meter.lock();
        let last = meter.last.map_or(poller.started, |last| last.at.max(poller.started));
        let silence = now.saturating_duration_since(last);
        if silence < 3 * poller.tracker.period() + Duration::from_secs(1) {
            return;
        }
        meter.mark_down(now);
        meter.accumulator.add_missed(poller.tracker.take_missed());
        if poller.silence.is_none() {
            self.changed = true;
            poller.silence = Some(self.log_limit.allow(now));
            if poller.silence == Some(true) {
                let name = &self.setup.name;
                warn!(
                    "{name}: responding, but without a usable result for {silence:.1?}; does \
                     another program read the chip?"
                );
            }
        }
    }

    fn verify_channel(&self, access: &mut Access<'_>) -> Result<(), Error> {
        if self.setup.channel.is_some() {
            access.multiplexers.verify(&mut access.bus)?;
        }
        Ok(())
    }

    /// Records whether the alert is active, and logs a change.
    fn set_alert(&mut self, active: bool, now: Instant) {
        let changed = self.setup.meter.lock().set_alert(active);
        let Some(alert) = self.setup.chip.alert.filter(|_| changed) else { return };
        let name = &self.setup.name;
        let (on, limit, unit) = (alert.function.name(), alert.limit, alert.function.unit());
        let before = self.logged_alert.take();
        if active && self.alert_log_limit.allow(now) {
            self.logged_alert = Some(alert);
            warn!("{name}: {on} alert active (a conversion crossed the limit of {limit} {unit})");
        } else if before.is_some() {
            info!("{name}: {on} alert cleared (within the limit of {limit} {unit} again)");
        }
    }

    fn write_guard(&mut self, access: &mut Access<'_>) -> Result<(), Error> {
        if let State::Running(poller) = &mut self.state
            && poller.write_guard(access)?
            && let Err(failure) = self.verify_channel(access)
        {
            // Another chip may have been written.
            let now = access.bus.clock.now();
            self.begin_outage(format_args!("{failure}; reconfiguring"), now, now);
            return Err(failure);
        }
        Ok(())
    }

    fn configure(&mut self, access: &mut Access<'_>) -> Result<Box<Poller>, ina260::Error> {
        let chip = self.setup.chip;
        let die = ina260::identify(&mut access.bus, chip.address)?;
        // Reading and configuring the chip clear an alert that was latched during an outage.
        if matches!(self.state, State::Down(_)) && self.is_configured && chip.alert.is_some() {
            self.latched_alert |= chip.has_alert(&mut access.bus)?;
        }
        self.is_configured |= chip.configure;
        let poller = Poller::configure(chip, die, access)?;
        self.word_time = access.bus.fastest_word;
        self.nominal_cycle = poller.info.settings.cycle();
        Ok(Box::new(poller))
    }

    /// Starts polling a chip that was configured.
    fn start(&mut self, mut poller: Box<Poller>) {
        poller.alert = std::mem::take(&mut self.latched_alert);
        let period = poller.tracker.period();
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

    /// Counts and logs a failure, and schedules the next attempt.
    pub(super) fn mark_down(&mut self, error: &Error, now: Instant) {
        if let Some(failure) = error.failure() {
            self.setup.meter.lock().count_failure(failure);
        }
        // Looking for a missing adapter causes no bus traffic.
        let is_missing = i2c::transfer(error).is_some_and(|it| it.kind == ErrorKind::Closed);
        let max = if is_missing { Duration::from_secs(10) } else { Backoff::MAX };
        if let State::Down(outage) = &self.state {
            let (name, attempts) = (&self.setup.name, outage.failed_attempts + 1);
            debug!("{name}: {error}; failed attempts: {attempts}");
        } else {
            let min = Backoff::MIN;
            let message = format_args!("{error}; retrying in {min:?}, backing off to {max:?}");
            self.begin_outage(message, now, now);
        }
        if let State::Down(outage) = &mut self.state {
            outage.failed_attempts += 1;
            outage.retry_at = now + outage.backoff.pause().min(max);
        }
    }

    /// Handles a chip that has lost its configuration: writes it again, after a brown-out at once,
    /// after another master's write with growing delays. In read-only mode, adopts the settings.
    fn handle_reset(&mut self, found: RegisterDump, access: &mut Access<'_>) -> Result<(), Error> {
        let now = access.bus.clock.now();
        self.settle(now);
        let reset = if found.is_power_on() { Reset::BrownOut } else { Reset::Foreign };
        let mut meter = self.setup.meter.lock();
        meter.resets[reset as usize] += 1;
        meter.accumulator.mark_down(now);
        drop(meter);
        if reset == Reset::Foreign && self.setup.chip.configure {
            self.setup.meter.lock().count_failure(Failure::Settings);
            let (backoff, last) = &mut self.foreign_writes;
            let last = last.replace(now);
            if last.is_some_and(|last| now.duration_since(last) > Self::FORGET_FOREIGN_WRITE) {
                *backoff = Backoff::default();
            }
            let pause = backoff.pause();
            let message =
                format_args!("configuration changed by another master; rewriting in {pause:?}");
            self.begin_outage(message, now, now + pause);
            return Ok(());
        }
        if reset == Reset::BrownOut && self.log_limit.allow(now) {
            let name = &self.setup.name;
            let next = if self.setup.chip.configure { "reconfiguring" } else { "adopting them" };
            warn!("{name}: registers are at power-on defaults (brown-out?); {next}");
        }
        let poller = self.configure(access)?;
        self.verify_channel(access)?;
        self.start(poller);
        Ok(())
    }

    fn begin_outage(&mut self, message: fmt::Arguments<'_>, now: Instant, retry_at: Instant) {
        self.settle(now);
        let (backoff, logged) = (Backoff::default(), self.log_limit.allow(now));
        if logged {
            warn!("{}: {message}", self.setup.name);
        }
        self.state = State::Down(Outage { retry_at, backoff, failed_attempts: 0, logged });
        self.changed = true;
        self.setup.meter.lock().mark_down(now);
    }
}
