//! When to read, in what order, and what to do when it fails: one sampler a bus, one thread a sampler.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::bus::Bus;
use crate::clock::Clock;
use crate::ina260::Error;

mod backoff;
mod pace;
mod report;
mod retry;
mod sensor;
mod worker;

use backoff::Backoff;
use sensor::Sensor;
pub use sensor::Setup;
pub use worker::{Heartbeat, Worker};

/// Called when a sensor went up or down.
pub type OnChange = Arc<dyn Fn() + Send + Sync>;

/// A bus with all its sensors. There is no lock around a bus: its thread owns it.
pub struct Sampler {
    /// How messages call the bus: `bus 1`.
    name: String,
    bus: Box<dyn Bus>,
    sensors: Vec<Sensor>,
    clock: Arc<dyn Clock>,
    heartbeat: Heartbeat,
    on_change: OnChange,
    timeouts_in_a_row: u32,
    stuck: Backoff,
    stuck_until: Option<Instant>,
    /// Indices of the sensors, sorted anew in each round; kept to keep its memory.
    order: Vec<usize>,
    /// Whether somebody was told already that the bus is too slow for its sensors.
    warned: bool,
}

impl Sampler {
    /// With nothing to do, a thread looks around once an hour.
    const IDLE: Duration = Duration::from_secs(3600);
    /// Two timeouts in a row are the bus' fault and not a sensor's.
    const TIMEOUTS_OF_A_STUCK_BUS: u32 = 2;

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
            sensors: Vec::new(),
            heartbeat: Heartbeat::new(now),
            clock,
            on_change,
            timeouts_in_a_row: 0,
            stuck: Backoff::default(),
            stuck_until: None,
            order: Vec::new(),
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
            let same = |sensor: &Sensor| sensor.setup.chip.address == setup.chip.address;
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
        release(&before, self.bus.as_mut());
        self.warned = false;
    }

    /// Serves every sensor that is due, earliest first, then looks for one that is lost. Returns when to come back.
    pub fn round(&mut self) -> Instant {
        if self
            .stuck_until
            .is_none_or(|until| until <= self.clock.now())
        {
            self.serve();
        }
        let next = self.sensors.iter().map(Sensor::due).min();
        let next = next.unwrap_or_else(|| self.clock.now() + Self::IDLE);
        let next = self.stuck_until.map_or(next, |until| until.max(next));
        self.heartbeat.promise(next);
        next
    }

    fn serve(&mut self) {
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(0..self.sensors.len());
        // Probes of lost sensors come last, one a round: they may cost a timeout.
        order.sort_unstable_by_key(|&index| {
            let sensor = &self.sensors[index];
            (!sensor.is_running(), sensor.due())
        });
        for &index in &order {
            let probe = !self.sensors[index].is_running();
            let due = self.sensors[index].due() <= self.clock.now();
            if due && !self.visit(index) {
                break; // A timeout ends the round.
            }
            if due && probe {
                self.compare_with_bus();
                break;
            }
        }
        self.order = order;
    }

    /// Visits one sensor. Tells whether the bus is fit for the next.
    fn visit(&mut self, index: usize) -> bool {
        let sensor = &mut self.sensors[index];
        self.heartbeat.promise(self.clock.now());
        let result = sensor.visit(self.bus.as_mut(), self.clock.as_ref());
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

    /// Switches the alerts of every chip off, at the end.
    pub fn release(&mut self) {
        release(&self.sensors, self.bus.as_mut());
    }

    /// Shows from other threads whether this sampler keeps its promises.
    #[must_use]
    pub fn heartbeat(&self) -> Heartbeat {
        self.heartbeat.clone()
    }
}

/// A bus that is stuck ends it: each further transfer would cost its timeout.
fn release(sensors: &[Sensor], bus: &mut dyn Bus) {
    for sensor in sensors {
        if let Err(error) = sensor.release(bus) {
            debug!("{}: alerts not switched off: {error}", sensor.setup.name);
            if error.is_timeout() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
