//! When to read, in what order, and what to do when it fails: one sampler a bus, one thread a sampler.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::clock::Clock;
use crate::i2c::Bus;
use crate::i2c::mux::Multiplexers;

mod alert_log;
mod backoff;
mod bus_thread;
mod outage;
mod poller;
mod report;
mod sensor;
mod setup;
mod tracker;

use backoff::Backoff;
pub use bus_thread::{BusThread, Deadline, set_timer_slack};
use report::Error;
use sensor::Sensor;
pub use setup::Setup;

/// Called when a sensor went up or down.
pub type OnChange = Arc<dyn Fn() + Send + Sync>;

/// A bus with all its sensors. There is no lock around a bus: its thread owns it.
pub struct Sampler {
    /// How messages call the bus: `bus 1`.
    name: String,
    bus: Box<dyn Bus>,
    multiplexers: Multiplexers,
    sensors: Vec<Sensor>,
    clock: Arc<dyn Clock>,
    deadline: Deadline,
    on_change: OnChange,
    timeouts_in_a_row: u32,
    stuck: Backoff,
    stuck_until: Option<Instant>,
    /// What the machine had suspended at the last round.
    suspended: Duration,
    /// Whether somebody was told already that the bus is too slow for its sensors.
    warned: bool,
}

impl Sampler {
    /// With nothing to do, a thread looks around once an hour.
    const IDLE: Duration = Duration::from_secs(3600);
    /// Two timeouts in a row are the bus' fault and not a sensor's.
    const TIMEOUTS_OF_A_STUCK_BUS: u32 = 2;
    /// A result that is overwritten so soon does not wait for the convenience of the multiplexers.
    const URGENT: Duration = Duration::from_millis(10);
    /// Less sleep than this may be what passes between the reading of two clocks.
    const SUSPEND_THRESHOLD: Duration = Duration::from_millis(10);

    /// A sampler that has not looked at anything yet.
    #[must_use]
    pub fn new(
        name: String,
        bus: Box<dyn Bus>,
        setups: Vec<Setup>,
        clock: Arc<dyn Clock>,
        on_change: OnChange,
    ) -> Self {
        let now = clock.now();
        let mut sampler = Self {
            name,
            bus,
            multiplexers: Multiplexers::default(),
            sensors: Vec::new(),
            deadline: Deadline::new(now),
            suspended: clock.suspended(),
            clock,
            on_change,
            timeouts_in_a_row: 0,
            stuck: Backoff::default(),
            stuck_until: None,
            warned: false,
        };
        sampler.replace(setups);
        sampler
    }

    /// The sensors of a new configuration; those that stay where they are go on.
    pub fn replace(&mut self, setups: Vec<Setup>) {
        let now = self.clock.now();
        let mut before = std::mem::take(&mut self.sensors);
        for setup in setups {
            let same = |sensor: &Sensor| sensor.setup.is_at_place_of(&setup);
            let sensor = match before.iter().position(same) {
                Some(index) => {
                    let mut sensor = before.swap_remove(index);
                    sensor.adopt(setup, now);
                    sensor
                }
                None => Sensor::new(setup, now),
            };
            self.sensors.push(sensor);
        }
        self.let_go(&before);
        // Those of before, and below those of now: one that nobody switches any more must not stay open.
        self.close_multiplexers();
        let channels = self
            .sensors
            .iter()
            .filter_map(|sensor| sensor.setup.channel);
        self.multiplexers = Multiplexers::new(channels);
        self.close_multiplexers();
        self.warned = false;
    }

    /// Serves every sensor that is due, then looks for one that is lost. Returns when to come back.
    pub fn round(&mut self) -> Instant {
        self.check_suspend();
        if self
            .stuck_until
            .is_none_or(|until| until <= self.clock.now())
        {
            self.serve();
        }
        let next = self.sensors.iter().map(Sensor::due).min();
        let next = next.unwrap_or_else(|| self.clock.now() + Self::IDLE);
        let next = self.stuck_until.map_or(next, |until| until.max(next));
        self.deadline.extend(next);
        next
    }

    fn serve(&mut self) {
        for _ in 0..self.sensors.len() {
            let now = self.clock.now();
            match self.most_urgent(now) {
                Some(index) if self.visit(index, now) => {}
                Some(_) => return, // A timeout ends the round.
                None => break,
            }
        }
        if self.sensors.iter().all(Sensor::is_running) {
            return;
        }
        // Probes of lost sensors come last, one a round: they may cost a timeout.
        let now = self.clock.now();
        let lost = (0..self.sensors.len())
            .filter(|&index| !self.sensors[index].is_running() && self.sensors[index].due() <= now)
            .min_by_key(|&index| self.sensors[index].due());
        if let Some(index) = lost {
            self.visit(index, now);
            self.compare_with_bus();
        }
    }

    /// Of the sensors whose result is there, the one whose result is overwritten first; while there is time, one that needs no
    /// multiplexer switched.
    fn most_urgent(&self, now: Instant) -> Option<usize> {
        let ready = |&index: &usize| self.sensors[index].is_ready(now);
        let deadline = |&index: &usize| self.sensors[index].deadline();
        let urgent = (0..self.sensors.len()).filter(ready).min_by_key(deadline)?;
        let open = self.multiplexers.selected();
        if open.is_none() || self.sensors[urgent].deadline() < now + Self::URGENT {
            return Some(urgent);
        }
        let needs_no_switch = |&index: &usize| self.sensors[index].setup.channel == open;
        let convenient = (0..self.sensors.len())
            .filter(ready)
            .filter(needs_no_switch)
            .min_by_key(deadline);
        convenient.or(Some(urgent))
    }

    /// Time in which the machine suspended is nobody's.
    fn check_suspend(&mut self) {
        let new = || self.clock.suspended().saturating_sub(self.suspended);
        if new() <= Self::SUSPEND_THRESHOLD {
            return;
        }
        // A thread that is put aside between the reading of the two clocks sees a sleep, too, but not twice in a row.
        let new = new();
        if new > Self::SUSPEND_THRESHOLD {
            self.suspended += new;
            for sensor in &mut self.sensors {
                sensor.suspended(new);
            }
        }
    }

    /// Visits one sensor. Tells whether the bus is fit for the next.
    fn visit(&mut self, index: usize, now: Instant) -> bool {
        let sensor = &mut self.sensors[index];
        self.deadline.extend(now);
        let result = sensor.visit(
            self.bus.as_mut(),
            &mut self.multiplexers,
            self.clock.as_ref(),
            now,
        );
        let mut changed = sensor.take_changed();
        let timeout = result.err().filter(Error::is_timeout);
        if let Some(error) = &timeout {
            self.timeouts_in_a_row += 1;
            if self.timeouts_in_a_row >= Self::TIMEOUTS_OF_A_STUCK_BUS {
                let now = self.clock.now();
                self.stuck_until = Some(now + self.stuck.pause());
                for sensor in self.sensors.iter_mut().filter(|sensor| sensor.is_running()) {
                    sensor.lose(error, now);
                    changed |= sensor.take_changed();
                }
            }
        } else {
            self.timeouts_in_a_row = 0;
            self.stuck = Backoff::default();
            self.stuck_until = None;
        }
        if changed {
            (self.on_change)();
        }
        timeout.is_none()
    }

    /// Says so, once, if the bus can't carry what its sensors make: the daemon then reads what fits.
    fn compare_with_bus(&mut self) {
        let Some(word) = self.sensors.iter().filter_map(Sensor::word_time).min() else {
            return;
        };
        let carries = 1.0 / word.as_secs_f64();
        let demand: f64 = self.sensors.iter().map(Sensor::demand).sum();
        if demand > carries && !self.warned {
            self.warned = true;
            warn!(
                "{}: its sensors make {demand:.0} words a second, it carries {carries:.0} (a word takes {word:?}): some results will \
                 not be read; use a longer interval or a faster bus",
                self.name
            );
        }
    }

    /// Switches the alerts of every chip off and closes the multiplexers, at the end.
    pub fn release(&mut self) {
        let sensors = std::mem::take(&mut self.sensors);
        self.let_go(&sensors);
        self.sensors = sensors;
        self.close_multiplexers();
    }

    /// A bus that is stuck ends it: each further transfer would cost its timeout.
    fn let_go(&mut self, sensors: &[Sensor]) {
        for sensor in sensors {
            if let Err(error) = sensor.release(self.bus.as_mut(), &mut self.multiplexers) {
                debug!("{}: alerts not switched off: {error}", sensor.setup.name);
                if error.is_timeout() {
                    return;
                }
            }
        }
    }

    fn close_multiplexers(&mut self) {
        if let Err(failure) = self.multiplexers.deselect_all(self.bus.as_mut()) {
            debug!("{}: {failure}", self.name);
        }
    }

    /// Shows from other threads whether this sampler keeps its promises.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        self.deadline.clone()
    }
}

#[cfg(test)]
mod tests;
