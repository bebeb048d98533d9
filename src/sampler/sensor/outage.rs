//! Outages of a sensor: how one begins, and when the sensor is tried again.

use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::{Sensor, State};
use crate::i2c::ErrorKind;
use crate::ina260::RegisterDump;
use crate::meter::{Failure, Reset};
use crate::sampler::Access;
use crate::sampler::backoff::Backoff;
use crate::sampler::report::Error;

pub(super) struct Outage {
    pub(super) retry_at: Instant,
    backoff: Backoff,
    pub(super) failed_attempts: u32,
    /// Whether the beginning was logged; only then is the end logged, too.
    pub(super) logged: bool,
}

impl Outage {
    pub(super) fn new(retry_at: Instant) -> Self {
        Self { retry_at, backoff: Backoff::default(), failed_attempts: 0, logged: false }
    }

    fn add_failure(&mut self, now: Instant, max_pause: Duration) {
        self.failed_attempts += 1;
        self.retry_at = now + self.backoff.pause().min(max_pause);
    }
}

impl Sensor {
    /// Time without a foreign write after which its backoff is reset.
    const FORGET_FOREIGN_WRITE: Duration = Duration::from_secs(60);

    /// Counts and logs a failure, and schedules the next attempt.
    pub(in crate::sampler) fn mark_down(&mut self, error: &Error, now: Instant) {
        if let Some(failure) = error.failure() {
            self.setup.meter.lock().count_failure(failure);
        }
        // Looking for a missing adapter causes no bus traffic.
        let is_missing = error.transfer().is_some_and(|it| it.kind == ErrorKind::Closed);
        let max = if is_missing { Duration::from_secs(10) } else { Backoff::MAX };
        if let State::Down(outage) = &mut self.state {
            outage.add_failure(now, max);
            let (name, attempts) = (&self.setup.name, outage.failed_attempts);
            debug!("{name}: {error}; failed attempts: {attempts}");
        } else {
            let min = Backoff::MIN;
            let mut outage = Outage::new(now);
            outage.add_failure(now, max);
            let message = format!("{error}; retrying in {min:?}, backing off to {max:?}");
            self.begin_outage(&message, now, outage);
        }
    }

    /// Handles a chip that has lost its configuration. After a brown-out it is configured again at
    /// once. Another master's configuration is left alone for a time that grows; in read-only mode
    /// it is adopted.
    pub(super) fn handle_reset(
        &mut self,
        found: RegisterDump,
        access: &mut Access<'_>,
    ) -> Result<(), Error> {
        let now = access.clock.now();
        let reset = if found.is_power_on() { Reset::BrownOut } else { Reset::Foreign };
        let is_overwritten = reset == Reset::Foreign && self.setup.chip.configure;
        let mut meter = self.setup.meter.lock();
        meter.count_reset(reset);
        meter.accumulator.mark_down(now);
        if is_overwritten {
            meter.count_failure(Failure::Settings);
        }
        drop(meter);
        if is_overwritten {
            let (backoff, last) = &mut self.foreign_writes;
            let last = last.replace(now);
            if last.is_some_and(|last| now.duration_since(last) > Self::FORGET_FOREIGN_WRITE) {
                *backoff = Backoff::default();
            }
            let pause = backoff.pause();
            let message =
                format!("configuration changed by another master; rewriting in {pause:?}");
            self.begin_outage(&message, now, Outage::new(now + pause));
            return Ok(());
        }
        if reset == Reset::BrownOut && self.log_limit.allow(now) {
            let name = &self.setup.name;
            warn!("{name}: registers are at power-on defaults (brown-out?); reconfiguring");
        }
        let poller = self.configure(access)?;
        self.verify_channel(access)?;
        self.start(poller);
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
