//! Polls the sensors of a bus: when, in which order, and what follows a failure. Each bus has one
//! sampler, which runs in a thread of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::clock::Clock;
use crate::i2c::mux::{self, Channel, Multiplexers};
use crate::i2c::{self, Bus, ErrorKind, Retry};
use crate::ina260::calibration::Calibration;
use crate::ina260::{self, Ina260};
use crate::meter::{Failure, SharedMeter};

mod backoff;
mod bus_thread;
mod poller;
mod power_guard;
mod sensor;
mod tracker;

use backoff::Backoff;
pub(crate) use bus_thread::BusThread;
use bus_thread::Deadline;
pub use bus_thread::set_timer_slack;
use poller::Poller;
use sensor::Sensor;

/// Configuration of a sensor; the supervisor creates it from the plan.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Name in messages: `sensor orin (bus 1, 0x41)`.
    pub name: String,
    /// Mux channel that the chip is downstream of.
    pub channel: Option<Channel>,
    /// Address and settings.
    pub chip: Ina260,
    /// Whether to read the power register at short cycles, too.
    pub always_power: bool,
    /// Correction of the results.
    pub calibration: Calibration,
    /// Receives the results.
    pub meter: SharedMeter,
}

/// A failed poll.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Chip(#[from] ina260::Error),
    #[error(transparent)]
    Mux(#[from] mux::Error),
}

impl Error {
    /// Returns the kind of failure to count; `None` for a failed transfer to the chip, which is
    /// counted by itself.
    fn failure(&self) -> Option<Failure> {
        use ina260::Error as Chip;

        match self {
            Self::Chip(Chip::Read { .. } | Chip::Write { .. }) => None,
            Self::Chip(Chip::Bound(_)) => Some(Failure::Io),
            Self::Chip(Chip::InUse(_) | Chip::NotAnIna260 { .. }) => Some(Failure::Identity),
            Self::Chip(Chip::RegisterMismatch { .. } | Chip::NotContinuous(_)) => {
                Some(Failure::Settings)
            }
            Self::Mux(_) => Some(Failure::Mux),
        }
    }
}

fn transfer_failure(kind: ErrorKind) -> Failure {
    match kind {
        ErrorKind::Nack => Failure::Nack,
        ErrorKind::Timeout | ErrorKind::Busy | ErrorKind::Hung => Failure::Timeout,
        ErrorKind::Arbitration => Failure::Arbitration,
        ErrorKind::Closed | ErrorKind::Io => Failure::Io,
    }
}

/// The bus during one poll of a sensor.
struct Access<'a> {
    bus: Retry<'a>,
    multiplexers: &'a mut Multiplexers,
}

/// Callback for a sensor that went up or down.
pub type OnChange = Arc<dyn Fn() + Send + Sync>;

/// A bus and its sensors. There is no lock around a bus: its thread owns it.
pub struct Sampler {
    /// Name of the bus in messages: `bus 1`.
    name: String,
    bus: Box<dyn Bus>,
    multiplexers: Multiplexers,
    sensors: Vec<Sensor>,
    clock: Arc<dyn Clock>,
    deadline: Deadline,
    on_change: OnChange,
    consecutive_timeouts: u32,
    pauses: Backoff,
    paused_until: Option<Instant>,
    /// Monotonic time and time since boot, which advance together unless the machine is suspended.
    awake: (Instant, Duration),
    overload_logged: bool,
}

impl Sampler {
    /// Time between two passes of a sampler that has no sensors.
    const IDLE: Duration = Duration::from_secs(3600);
    /// Number of consecutive timeouts, or other failures that a stuck bus can cause, after
    /// which it is paused; one sensor, or another master's transfer, can cause a single one.
    const MAX_TIMEOUTS: u32 = 2;
    /// Results that are overwritten within this time take precedence over saving mux transfers.
    const MUX_SLACK: Duration = Duration::from_millis(10);
    /// Minimum duration of a suspend: shorter times can pass between reading the two clocks.
    const SUSPEND_THRESHOLD: Duration = Duration::from_millis(10);

    /// Returns a sampler that has not polled any sensor yet.
    pub fn new(
        name: String,
        bus: Box<dyn Bus>,
        setups: Vec<Setup>,
        clock: Arc<dyn Clock>,
        on_change: OnChange,
    ) -> Self {
        let mut sampler = Self {
            name,
            bus,
            multiplexers: Multiplexers::default(),
            sensors: Vec::new(),
            deadline: Deadline::new(clock.now()),
            awake: (clock.now(), clock.booted()),
            clock,
            on_change,
            consecutive_timeouts: 0,
            pauses: Backoff::default(),
            paused_until: None,
            overload_logged: false,
        };
        sampler.replace(setups);
        sampler
    }

    /// Applies a new configuration; sensors whose location and settings stay are not interrupted.
    /// Alerts of sensors that are removed, or that another master configures from now on, are
    /// disabled, and all mux channels deselected.
    pub fn replace(&mut self, setups: Vec<Setup>) {
        let now = self.clock.now();
        let mut is_stuck = false;
        let bus = Retry::new(self.bus.as_mut(), self.clock.as_ref(), now);
        let mut access = Access { bus, multiplexers: &mut self.multiplexers };
        let mut release = |sensor: &mut Sensor| {
            // On a stuck bus each transfer would take as long.
            if !is_stuck && let Err(error) = sensor.release(&mut access) {
                is_stuck = i2c::is_timeout(&error);
                let name = &sensor.setup.name;
                if sensor.setup.chip.alert.is_some() {
                    warn!("{name}: cannot disable the alert: {error}");
                } else {
                    debug!("{name}: cannot disable the power guard: {error}");
                }
            }
        };
        let mut before = std::mem::take(&mut self.sensors);
        for setup in setups {
            let location = |setup: &Setup| (setup.channel, setup.chip.address);
            let same = |sensor: &Sensor| location(&sensor.setup) == location(&setup);
            if let Some(index) = before.iter().position(same) {
                let mut sensor = before.swap_remove(index);
                if !setup.chip.configure {
                    release(&mut sensor);
                }
                sensor.apply(setup, now);
                self.sensors.push(sensor);
            } else {
                self.sensors.push(Sensor::new(setup, now));
            }
        }
        before.iter_mut().for_each(release);
        // First the old muxes: no channel of one that is no longer used may stay selected.
        // A single timeout can be caused by one sensor.
        is_stuck = (is_stuck && self.paused_until.is_some()) || self.deselect_muxes();
        let sensors = self.sensors.iter();
        self.multiplexers = Multiplexers::new(sensors.filter_map(|it| it.setup.channel));
        if !is_stuck {
            self.deselect_muxes();
        }
        self.overload_logged = false;
        self.check_load();
    }

    /// Polls the running sensors that are due, then at most one other. Returns when to call again.
    pub fn poll_due(&mut self) -> Instant {
        let now = self.check_suspend();
        if self.paused_until.is_none_or(|until| until <= now) {
            self.poll_sensors(now);
        }
        let next = self.sensors.iter().map(Sensor::due).min().unwrap_or(now + Self::IDLE);
        let next = self.paused_until.map_or(next, |until| until.max(next));
        self.deadline.extend(next);
        next
    }

    fn poll_sensors(&mut self, mut now: Instant) {
        for _ in 0..self.sensors.len() {
            let Some(index) = self.next_running(now) else { break };
            let Some(ended) = self.poll(index, now) else { return };
            now = ended;
        }
        // Sensors that are not running come last, one per pass, since each may cost a timeout.
        let sensors = self.sensors.iter().enumerate();
        let due = sensors.filter(|(_, sensor)| sensor.poller().is_none() && sensor.due() <= now);
        if let Some((_, index)) = due.map(|(index, sensor)| (sensor.due(), index)).min() {
            self.poll(index, now);
            self.check_load();
        }
    }

    /// Returns the running sensor to poll next: of those with a result, the one whose result is
    /// overwritten first; while there is time, one on the selected mux channel.
    fn next_running(&self, now: Instant) -> Option<usize> {
        let ready = self.sensors.iter().enumerate().filter_map(|(index, sensor)| {
            let poller = sensor.poller()?;
            let is_ready = poller.tracker.ready_from.min(poller.due()) <= now;
            // With a long cycle, a sensor waits at most until its next check.
            let slack = poller.tracker.period().min(Poller::CHECK_INTERVAL);
            is_ready.then(|| (poller.due() + slack, index))
        });
        let (overwritten_at, first) = ready.clone().min()?;
        let selected = self.multiplexers.selected;
        if selected.is_none() || overwritten_at < now + Self::MUX_SLACK {
            return Some(first);
        }
        let selected = ready.filter(|(_, index)| self.sensors[*index].setup.channel == selected);
        Some(selected.min().map_or(first, |(_, index)| index))
    }

    /// Polls one sensor. Returns when the bus was ready for the next; `None` if it is stuck.
    fn poll(&mut self, index: usize, now: Instant) -> Option<Instant> {
        self.deadline.extend(now);
        let bus = Retry::new(self.bus.as_mut(), self.clock.as_ref(), now);
        let access = Access { bus, multiplexers: &mut self.multiplexers };
        let (ended, result) = self.sensors[index].poll(access, now);
        let may_be_stuck =
            |error: &Error| i2c::transfer(error).is_some_and(i2c::Error::may_be_stuck);
        let failure = result.err().filter(may_be_stuck);
        if let Some(error) = &failure {
            self.consecutive_timeouts += 1;
            if self.consecutive_timeouts >= Self::MAX_TIMEOUTS {
                self.paused_until = Some(ended + self.pauses.pause());
                for sensor in self.sensors.iter_mut().filter(|sensor| sensor.poller().is_some()) {
                    sensor.mark_down(error, ended);
                }
            }
        } else {
            self.consecutive_timeouts = 0;
            self.pauses = Backoff::default();
            self.paused_until = None;
        }
        let sensors = self.sensors.iter_mut();
        if sensors.fold(false, |changed, sensor| changed | std::mem::take(&mut sensor.changed)) {
            (self.on_change)();
        }
        (!failure.as_ref().is_some_and(i2c::is_timeout)).then_some(ended)
    }

    /// Counts the time of a suspend as unmeasured. Returns the current time.
    fn check_suspend(&mut self) -> Instant {
        let (start, booted_then) = self.awake;
        // In this order: a thread that is preempted between the two clocks sees no suspend.
        let booted = self.clock.booted();
        let now = self.clock.now();
        let new = booted.saturating_sub(booted_then + (now - start));
        if new > Self::SUSPEND_THRESHOLD {
            self.awake.1 += new;
            for sensor in &mut self.sensors {
                sensor.on_suspend(new);
            }
        }
        now
    }

    /// Logs once if the bus is too slow for its sensors; as many results as possible are read.
    fn check_load(&mut self) {
        let word = self.sensors.iter().filter_map(|sensor| sensor.word_time).min();
        let capacity = word.map_or(f64::INFINITY, |word| 1.0 / word.as_secs_f64());
        let demand: f64 = self.sensors.iter().map(Sensor::transfers_per_second).sum();
        if demand > capacity && !self.overload_logged {
            self.overload_logged = true;
            warn!(
                "{}: overloaded (sensors need {demand:.0} transfers/s, bus sustains \
                 {capacity:.0}); some results will be missed; use a longer interval or a \
                 faster bus",
                self.name
            );
        }
    }

    /// Deselects all channels. Returns whether the bus is stuck.
    fn deselect_muxes(&mut self) -> bool {
        let clock = self.clock.as_ref();
        let mut bus = Retry::new(self.bus.as_mut(), clock, clock.now());
        let deselected = self.multiplexers.deselect_all(&mut bus);
        deselected.is_err_and(|error| {
            debug!("{}: {error}", self.name);
            i2c::is_timeout(&error)
        })
    }
}

#[cfg(test)]
mod tests;
