//! Owns the plan and runs it: starts, replaces and stops the bus threads, and keeps each sensor's meter across a change of plan.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::error;

use crate::clock::SystemClock;
use crate::config::{Plan, SensorPlan};
use crate::exposition::{AlertView, View};
use crate::i2c::linux::LinuxBus;
use crate::i2c::{Bus, Location};
use crate::ina260::Ina260;
use crate::meter::SharedMeter;
use crate::sampler::{BusThread, OnChange, Sampler, Setup};
use crate::state::SavedSensor;

pub mod bus_lock;
mod bus_provider;
mod preflight;

use bus_lock::BusLock;
pub use bus_provider::BusProvider;

/// A bus that is open and has no thread yet.
struct OpenBus {
    bus: Box<dyn Bus>,
    lock: Option<BusLock>,
}

/// Owns the plan and everything that runs on it, except what serves metrics.
pub struct Supervisor {
    plan: Plan,
    provider: BusProvider,
    /// URL in the lock file of each bus.
    lock_url: String,
    /// Called when a sensor goes up or down.
    on_change: OnChange,
    /// The meter of each sensor of the plan, in its order.
    meters: Vec<SharedMeter>,
    threads: BTreeMap<u8, BusThread>,
    /// Opened by [`Supervisor::open`] or a change of plan; [`Supervisor::start_threads`] empties it.
    opened: BTreeMap<u8, OpenBus>,
}

/// Reason why no sensor can be measured, as messages of one line each.
#[derive(Debug)]
pub struct NothingToMeasure(pub Vec<String>);

impl Supervisor {
    /// Opens the buses of a plan. A bus that cannot be opened is retried later, if at least one other can be.
    ///
    /// Lock files name `lock_url` as the place where this process serves its metrics.
    ///
    /// # Errors
    /// [`NothingToMeasure`] if no bus can be opened.
    pub fn open(
        plan: Plan,
        provider: BusProvider,
        lock_url: String,
    ) -> Result<Self, NothingToMeasure> {
        let meters = plan
            .sensors
            .iter()
            .map(|_| SharedMeter::default())
            .collect();
        let mut supervisor = Self {
            plan,
            provider,
            lock_url,
            on_change: Arc::new(|| ()),
            meters,
            threads: BTreeMap::new(),
            opened: BTreeMap::new(),
        };
        let mut failures = BTreeMap::new();
        for number in buses(&supervisor.plan) {
            let opened = supervisor
                .provider
                .open(number, locations(&supervisor.plan));
            match opened {
                Ok(bus) => supervisor.add_open(number, bus),
                Err(failure) => _ = failures.insert(number, failure.to_string()),
            }
        }
        if supervisor.opened.is_empty() {
            return Err(NothingToMeasure(failures.into_values().collect()));
        }
        for (number, failure) in failures {
            error!("{failure}; its sensors are down until the bus can be opened");
            supervisor.add_open(number, Box::new(LinuxBus::closed(number)));
        }
        Ok(supervisor)
    }

    fn add_open(&mut self, number: u8, bus: Box<dyn Bus>) {
        let lock = if self.provider.is_simulated() {
            None
        } else {
            BusLock::take(number, &self.lock_url)
        };
        self.opened.insert(number, OpenBus { bus, lock });
    }

    /// Starts to measure; `on_change` is called whenever a sensor goes up or down.
    ///
    /// # Errors
    /// The kernel's error if a thread cannot be created.
    pub fn start(&mut self, on_change: OnChange) -> io::Result<()> {
        self.on_change = on_change;
        self.start_threads()
    }

    /// Starts a thread for each bus that has none.
    fn start_threads(&mut self) -> io::Result<()> {
        for meter in &self.meters {
            meter.lock().window.set_length(self.plan.window);
        }
        for (number, OpenBus { bus, lock }) in std::mem::take(&mut self.opened) {
            let name = self.bus_name(number);
            let sampler = Sampler::new(
                name.clone(),
                bus,
                self.setups(number),
                Arc::new(SystemClock),
                self.on_change.clone(),
            );
            let thread = BusThread::spawn(&name, sampler, lock)?;
            self.threads.insert(number, thread);
        }
        Ok(())
    }

    /// Changes to a new plan completely, or not at all.
    ///
    /// # Errors
    /// A message if a bus cannot be opened or a thread cannot be created.
    pub fn change(&mut self, plan: Plan) -> Result<(), String> {
        let wanted = buses(&plan);
        for &number in &wanted {
            let runs = self.threads.contains_key(&number);
            if runs && !self.provider.is_simulated() {
                continue;
            }
            // A simulated bus that runs is opened again for the chips of new sensors.
            match self.provider.open(number, locations(&plan)) {
                Ok(bus) if !runs => self.add_open(number, bus),
                Ok(_) => {}
                Err(failure) => {
                    self.opened.clear();
                    return Err(failure.to_string());
                }
            }
        }
        let meters = plan.sensors.iter().map(|sensor| self.meter_at(sensor));
        self.meters = meters.collect();
        self.plan = plan;
        for (number, thread) in &self.threads {
            thread.replace(self.setups(*number));
        }
        // Dropping a bus thread stops it and releases its bus.
        self.threads.retain(|number, _| wanted.contains(number));
        self.start_threads().map_err(|error| error.to_string())
    }

    /// Returns the meter of the sensor at the same location, or a new one: a renamed sensor keeps its counters.
    fn meter_at(&self, sensor: &SensorPlan) -> SharedMeter {
        self.sensors()
            .find(|(running, _)| running.location == sensor.location)
            .map(|(_, meter)| meter.clone())
            .unwrap_or_default()
    }

    /// Returns the plan that runs.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns each sensor of the plan with its meter.
    pub fn sensors(&self) -> impl Iterator<Item = (&SensorPlan, &SharedMeter)> {
        self.plan.sensors.iter().zip(&self.meters)
    }

    /// Continues counters from saved ones. To be called before any of them is served.
    pub fn restore_counters(&self, saved: &[SavedSensor]) {
        for (sensor, meter) in self.sensors() {
            if let Some(saved) = saved.iter().find(|saved| saved.location == sensor.location) {
                meter.lock().restore_counters(&saved.counters);
            }
        }
    }

    /// Returns every sensor's counters, to be saved.
    #[must_use]
    pub fn export_counters(&self) -> Vec<SavedSensor> {
        let now = Instant::now();
        self.sensors()
            .map(|(sensor, meter)| SavedSensor {
                location: sensor.location,
                device: sensor.device.clone(),
                counters: meter.lock().export_counters(now),
            })
            .collect()
    }

    /// Returns what the exposition shows of each sensor.
    #[must_use]
    pub fn views(&self) -> Vec<View> {
        let view = |(sensor, meter): (&SensorPlan, &SharedMeter)| View {
            labels: self.labels(sensor),
            info: self.info(sensor),
            script: self.plan.script_metrics,
            alert: sensor.alert.map(|alert| AlertView {
                on: alert.function.name(),
                unit: alert.function.unit(),
                limit: alert.limit,
            }),
            meter: meter.clone(),
        };
        self.sensors().map(view).collect()
    }

    /// Returns whether every bus thread meets its deadline.
    #[must_use]
    pub fn is_alive(&self, now: Instant) -> bool {
        self.threads.values().all(|thread| thread.is_alive(now))
    }

    /// Stops every thread, waiting for at most `timeout`: a transfer on a stuck bus cannot be aborted. Returns whether all have ended.
    #[must_use]
    pub fn stop(&mut self, timeout: Duration) -> bool {
        for thread in self.threads.values() {
            thread.stop();
        }
        let deadline = Instant::now() + timeout;
        std::mem::take(&mut self.threads)
            .into_values()
            .all(|thread| thread.join_until(deadline))
    }

    fn setups(&self, bus: u8) -> Vec<Setup> {
        let setup = |(sensor, meter): (&SensorPlan, &SharedMeter)| Setup {
            name: self.sensor_name(sensor),
            channel: sensor.location.mux,
            chip: Ina260 {
                address: sensor.location.address,
                settings: sensor.settings,
                alert: sensor.alert,
                configure: sensor.configure,
            },
            calibration: sensor.calibration,
            always_power: self.plan.script_metrics,
            meter: meter.clone(),
        };
        self.sensors()
            .filter(|(sensor, _)| sensor.location.bus == bus)
            .map(setup)
            .collect()
    }

    fn sensor_name(&self, sensor: &SensorPlan) -> String {
        let SensorPlan {
            device, location, ..
        } = sensor;
        let simulated = self.simulated();
        format!("sensor {device} ({simulated}{location})")
    }

    fn bus_name(&self, number: u8) -> String {
        format!("{}bus {number}", self.simulated())
    }

    /// Prefix of a bus in messages.
    fn simulated(&self) -> &'static str {
        if self.provider.is_simulated() {
            "simulated "
        } else {
            ""
        }
    }

    fn labels(&self, sensor: &SensorPlan) -> Vec<(String, String)> {
        let own = [
            ("hostname", &self.plan.hostname),
            ("device", &sensor.device),
        ];
        own.map(|(name, value)| (name.to_owned(), value.clone()))
            .into_iter()
            .chain(sensor.labels.iter().cloned())
            .collect()
    }

    fn info(&self, sensor: &SensorPlan) -> Vec<(String, String)> {
        let Location { bus, mux, address } = sensor.location;
        let bus = if self.provider.is_simulated() {
            "simulated".to_owned()
        } else {
            bus.to_string()
        };
        let mux = mux.map(|channel| ("mux", channel.to_string()));
        [("bus", bus), ("address", address.to_string())]
            .into_iter()
            .chain(mux)
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

fn buses(plan: &Plan) -> BTreeSet<u8> {
    locations(plan).map(|location| location.bus).collect()
}

fn locations(plan: &Plan) -> impl Iterator<Item = Location> {
    plan.sensors.iter().map(|sensor| sensor.location)
}

#[cfg(test)]
mod tests;
