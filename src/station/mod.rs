//! The sensors at work: a plan becomes buses with their threads, and a new plan changes them without losing a count.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::error;

use crate::bus::Bus;
use crate::clock::{Clock, SystemClock};
use crate::config::{Plan, SensorPlan};
use crate::exposition::View;
use crate::ina260::Ina260;
use crate::meter::SharedMeter;
use crate::sampler::{OnChange, Sampler, Setup, Worker};
use crate::service::Entry;

mod source;
mod survey;

pub use source::{Place, Source};

/// A sensor's place and numbers.
struct Sensor {
    plan: SensorPlan,
    meter: SharedMeter,
}

/// Every bus with its sensors.
pub struct Station {
    source: Source,
    sensors: Vec<Sensor>,
    workers: BTreeMap<u8, Worker>,
    /// Opened, and not yet in its thread.
    opened: BTreeMap<u8, Box<dyn Bus>>,
}

/// Why there is nothing to measure; each line is a message.
#[derive(Debug)]
pub struct NothingToMeasure(pub Vec<String>);

impl Station {
    /// Opens the buses of a plan. A bus that can't be opened is tried again later, if at least one other can.
    ///
    /// # Errors
    /// [`NothingToMeasure`] if none can.
    pub fn open(plan: &Plan, mut source: Source) -> Result<Self, NothingToMeasure> {
        let mut opened = BTreeMap::new();
        let mut failures = Vec::new();
        for (number, places) in by_bus(&plan.sensors) {
            match source.open(number, &places) {
                Ok(bus) => _ = opened.insert(number, bus),
                Err(failure) => failures.push((number, failure.to_string())),
            }
        }
        if opened.is_empty() {
            return Err(NothingToMeasure(
                failures.into_iter().map(|(_, failure)| failure).collect(),
            ));
        }
        for (number, failure) in failures {
            error!("{failure}; its sensors are down until it does");
            opened.insert(number, source.closed(number));
        }
        let sensors = adopt(&plan.sensors, &[]);
        Ok(Self {
            source,
            sensors,
            workers: BTreeMap::new(),
            opened,
        })
    }

    /// Starts a thread for each bus that has none.
    ///
    /// # Errors
    /// What the kernel says if there can't be another thread.
    pub fn start(&mut self, plan: &Plan, on_change: &OnChange) -> io::Result<()> {
        for sensor in &self.sensors {
            sensor.meter.lock().window.set_length(plan.window);
        }
        for (number, bus) in std::mem::take(&mut self.opened) {
            let clock: Arc<dyn Clock> = Arc::new(SystemClock);
            let name = self.bus_name(number);
            let sampler = Sampler::new(
                name.clone(),
                bus,
                self.setups(plan, number),
                clock,
                on_change.clone(),
            );
            self.workers.insert(number, Worker::spawn(&name, sampler)?);
        }
        Ok(())
    }

    /// Changes to a new plan: all of it, or nothing.
    ///
    /// # Errors
    /// A bus that can't be opened, or a thread that can't be started.
    pub fn change(&mut self, plan: &Plan, on_change: &OnChange) -> Result<(), String> {
        let wanted = by_bus(&plan.sensors);
        for (number, places) in &wanted {
            if !self.workers.contains_key(number) || self.source.is_simulated() {
                let bus = self.source.open(*number, places).map_err(|error| {
                    self.opened.clear();
                    error.to_string()
                })?;
                if !self.workers.contains_key(number) {
                    self.opened.insert(*number, bus);
                }
            }
        }
        self.sensors = adopt(&plan.sensors, &self.sensors);
        for (number, worker) in &self.workers {
            worker.replace(self.setups(plan, *number));
        }
        // A worker whose sensors are all gone lets go of its bus.
        self.workers.retain(|number, _| wanted.contains_key(number));
        self.start(plan, on_change)
            .map_err(|error| error.to_string())
    }

    /// Goes on from what an earlier process counted. To be called before anything is shown.
    pub fn carry_over(&self, entries: &[Entry]) {
        for sensor in &self.sensors {
            if let Some(entry) = entries
                .iter()
                .find(|entry| entry.place == place(&sensor.plan))
            {
                sensor.meter.lock().carry_over(&entry.counts);
            }
        }
    }

    /// What a later process can go on from.
    #[must_use]
    pub fn totals(&self) -> Vec<Entry> {
        let now = Instant::now();
        let entry = |sensor: &Sensor| Entry {
            place: place(&sensor.plan),
            name: sensor.plan.device.clone(),
            counts: sensor.meter.lock().carried(now),
        };
        self.sensors.iter().map(entry).collect()
    }

    /// What is shown of the sensors.
    #[must_use]
    pub fn views(&self, plan: &Plan) -> Vec<View> {
        let view = |sensor: &Sensor| View {
            labels: labels(plan, &sensor.plan),
            info: self.info(&sensor.plan),
            script: plan.script_metrics,
            alert: sensor
                .plan
                .alert
                .map(|alert| (alert.function.name(), alert.limit)),
            meter: sensor.meter.clone(),
        };
        self.sensors.iter().map(view).collect()
    }

    /// Every sensor by the name of its device, with its meter.
    #[must_use]
    pub fn sensors(&self) -> Vec<(&str, &SharedMeter)> {
        self.sensors
            .iter()
            .map(|sensor| (sensor.plan.device.as_str(), &sensor.meter))
            .collect()
    }

    /// Whether every bus does what it promised.
    #[must_use]
    pub fn is_alive(&self, now: Instant) -> bool {
        self.workers.values().all(|worker| worker.is_alive(now))
    }

    /// Asks every thread to end and gives each the same `patience`: a transfer on a stuck bus can't be broken off. Tells whether
    /// all have ended.
    #[must_use]
    pub fn stop(&mut self, patience: Duration) -> bool {
        for worker in self.workers.values() {
            worker.stop();
        }
        let deadline = Instant::now() + patience;
        std::mem::take(&mut self.workers)
            .into_values()
            .all(|worker| worker.join_until(deadline))
    }

    fn setups(&self, plan: &Plan, bus: u8) -> Vec<Setup> {
        let setup = |sensor: &Sensor| Setup {
            name: self.name(&sensor.plan),
            channel: sensor.plan.mux,
            chip: Ina260 {
                address: sensor.plan.address,
                settings: sensor.plan.settings,
                alert: sensor.plan.alert,
                configure: sensor.plan.configure,
            },
            calibration: sensor.plan.calibration,
            always_power: plan.script_metrics,
            meter: sensor.meter.clone(),
        };
        self.sensors
            .iter()
            .filter(|sensor| sensor.plan.bus == bus)
            .map(setup)
            .collect()
    }

    fn name(&self, sensor: &SensorPlan) -> String {
        let channel = sensor
            .mux
            .map_or(String::new(), |channel| format!(", mux {channel}"));
        let bus = self.bus_name(sensor.bus);
        format!(
            "sensor {} ({bus}{channel}, {})",
            sensor.device, sensor.address
        )
    }

    fn bus_name(&self, number: u8) -> String {
        let simulated = if self.source.is_simulated() {
            "simulated "
        } else {
            ""
        };
        format!("{simulated}bus {number}")
    }

    fn info(&self, sensor: &SensorPlan) -> Vec<(String, String)> {
        let bus = if self.source.is_simulated() {
            "simulated".to_owned()
        } else {
            sensor.bus.to_string()
        };
        let mux = sensor.mux.map(|channel| ("mux", channel.to_string()));
        [("bus", bus), ("address", sensor.address.to_string())]
            .into_iter()
            .chain(mux)
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

fn labels(plan: &Plan, sensor: &SensorPlan) -> Vec<(String, String)> {
    let own = [("hostname", &plan.hostname), ("device", &sensor.device)];
    own.map(|(name, value)| (name.to_owned(), value.clone()))
        .into_iter()
        .chain(sensor.labels.iter().cloned())
        .collect()
}

/// What tells a sensor from all others: `1 0x40`, `1 0x70:3 0x40`.
fn place(sensor: &SensorPlan) -> String {
    let channel = sensor
        .mux
        .map_or(String::new(), |channel| format!("{channel} "));
    format!("{} {channel}{}", sensor.bus, sensor.address)
}

/// The places on each bus.
fn by_bus(sensors: &[SensorPlan]) -> BTreeMap<u8, Vec<Place>> {
    let mut buses: BTreeMap<u8, Vec<Place>> = BTreeMap::new();
    for sensor in sensors {
        buses
            .entry(sensor.bus)
            .or_default()
            .push((sensor.mux, sensor.address));
    }
    buses
}

/// A sensor is known by its place: whatever it is called now, its counts go on.
fn adopt(plans: &[SensorPlan], before: &[Sensor]) -> Vec<Sensor> {
    let meter = |plan: &SensorPlan| {
        let same = |sensor: &&Sensor| place(&sensor.plan) == place(plan);
        before
            .iter()
            .find(same)
            .map(|sensor| sensor.meter.clone())
            .unwrap_or_default()
    };
    plans
        .iter()
        .map(|plan| Sensor {
            plan: plan.clone(),
            meter: meter(plan),
        })
        .collect()
}

#[cfg(test)]
mod tests;
