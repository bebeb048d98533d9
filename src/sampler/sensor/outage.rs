//! Outages of a sensor: how one begins, when the sensor is tried again, and what is logged.

use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::{BusAccess, Sensor, State};
use crate::ina260::RegisterDump;
use crate::meter::{Failure, Reset};
use crate::sampler::backoff::Backoff;
use crate::sampler::report::Error;

pub(super) struct Outage {
    pub(super) retry_at: Instant,
    backoff: Backoff,
    failed_attempts: u32,
    /// Whether the beginning was logged; only then is the end logged, too.
    logged: bool,
}

impl Outage {
    pub(super) fn new(retry_at: Instant) -> Self {
        Self { retry_at, backoff: Backoff::default(), failed_attempts: 0, logged: false }
    }

    /// Returns the maximum pause after an error. Looking for a missing adapter causes no bus
    /// traffic.
    fn max_pause(error: &Error) -> Duration {
        if error.is_closed() { Duration::from_secs(10) } else { Backoff::MAX }
    }

    fn add_failure(&mut self, error: &Error, now: Instant) {
        self.failed_attempts += 1;
        self.retry_at = now + self.backoff.pause().min(Self::max_pause(error));
    }

    /// Returns the message for the end of the outage, if its beginning was logged.
    pub(super) fn end(&self) -> Option<String> {
        self.logged.then(|| match self.failed_attempts {
            0 => "configuration restored".to_owned(),
            1 => "responding again after 1 failed attempt".to_owned(),
            attempts => format!("responding again after {attempts} failed attempts"),
        })
    }
}

/// Backoff before overwriting another master's configuration.
#[derive(Debug, Default)]
pub(super) struct ForeignWriteBackoff {
    backoff: Backoff,
    last: Option<Instant>,
}

impl ForeignWriteBackoff {
    /// Time without a foreign write after which the backoff is reset.
    const RESET_AFTER: Duration = Duration::from_secs(60);

    fn pause(&mut self, now: Instant) -> Duration {
        let elapsed = self.last.map(|last| now.duration_since(last));
        if elapsed.is_none_or(|elapsed| elapsed > Self::RESET_AFTER) {
            self.backoff = Backoff::default();
        }
        self.last = Some(now);
        self.backoff.pause()
    }
}

impl Sensor {
    /// Counts and logs a failure, and schedules the next attempt.
    pub(in crate::sampler) fn mark_down(&mut self, error: &Error, now: Instant) {
        if let Some(failure) = error.failure() {
            self.setup.meter.lock().count_failure(failure);
        }
        if let State::Down(outage) = &mut self.state {
            outage.add_failure(error, now);
            let (name, attempts) = (&self.setup.name, outage.failed_attempts);
            debug!("{name}: {error}; failed attempts: {attempts}");
        } else {
            let (min, max) = (Backoff::MIN, Outage::max_pause(error));
            let message = format!("{error}; retrying in {min:?}, backing off to {max:?}");
            let mut outage = Outage::new(now);
            outage.add_failure(error, now);
            self.begin_outage(&message, now, outage);
        }
    }

    /// Handles a chip that has lost its configuration. After a brown-out it is configured again at
    /// once. Another master's configuration is left alone for a time that grows; in read-only mode
    /// it is adopted.
    pub(super) fn handle_reset(
        &mut self,
        found: RegisterDump,
        access: &mut BusAccess<'_>,
    ) -> Result<(), Error> {
        let now = access.clock.now();
        let reset = if found.is_power_on() { Reset::BrownOut } else { Reset::Foreign };
        let mut meter = self.setup.meter.lock();
        meter.count_reset(reset);
        meter.accumulator.mark_down(now);
        drop(meter);
        let name = &self.setup.name;
        match reset {
            Reset::Foreign if self.setup.chip.configure => {
                self.setup.meter.lock().count_failure(Failure::Settings);
                let pause = self.foreign_writes.pause(now);
                let message =
                    format!("configuration changed by another master; rewriting in {pause:?}");
                self.begin_outage(&message, now, Outage::new(now + pause));
                return Ok(());
            }
            Reset::BrownOut if self.log_limit.allow(now) => {
                warn!("{name}: registers are at power-on defaults (brown-out?); reconfiguring");
            }
            Reset::Foreign | Reset::BrownOut => {}
        }
        let (poller, chip) = self.configure(access)?;
        if self.setup.channel.is_some() {
            access.multiplexers.verify(&mut access.bus)?;
        }
        self.start(poller, chip);
        Ok(())
    }

    fn begin_outage(&mut self, message: &str, now: Instant, mut outage: Outage) {
        outage.logged = self.log_limit.allow(now);
        if outage.logged {
            warn!("{}: {message}", self.setup.name);
        }
        self.state = State::Down(outage);
        self.changed = true;
        self.setup.meter.lock().mark_down(now);
    }
}
