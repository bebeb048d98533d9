//! Owns the plan and runs it: starts, replaces and stops the bus threads, and keeps the meter of
//! each sensor across a change of the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::clock::SystemClock;
use crate::config::{Plan, SensorPlan};
use crate::exposition::{AlertView, View};
use crate::i2c::{Bus, BusName, Location, OpenError};
use crate::ina260::Ina260;
use crate::meter::SharedMeter;
use crate::sampler::{BusThread, OnChange, Sampler, Setup};
use crate::state::SavedSensor;

pub(crate) mod bus_lock;
mod bus_provider;
mod preflight;

pub use bus_provider::BusProvider;
use bus_provider::{Claims, lock};

/// Owns the plan and everything that runs on it, except what serves metrics.
pub struct Supervisor {
    plan: Plan,
    provider: BusProvider,
    on_change: OnChange,
    /// The meter of each sensor of the plan, in its order.
    meters: Vec<SharedMeter>,
    threads: BTreeMap<BusName, BusThread>,
    /// Buses without a thread, until [`Supervisor::start`].
    opened: BTreeMap<BusName, Box<dyn Bus>>,
    /// Reasons why buses could not be opened at the start.
    unopened: Vec<String>,
    /// Shared with the function that claims adapters for buses.
    claims: Arc<Mutex<Claims>>,
}

/// Reasons why no sensor can be measured, one line each.
#[derive(Debug)]
pub struct NothingToMeasure(pub Vec<String>);

impl Supervisor {
    /// Time for threads of unused buses to end: a new plan may use their adapters by another name.
    const RELEASE_TIMEOUT: Duration = Duration::from_millis(1_500);

    /// Opens the buses of a plan. A bus that cannot be opened is retried later, if another can be.
    /// `command` is the name of a subcommand, which opens no bus in use; `None`: the daemon.
    ///
    /// # Errors
    /// [`NothingToMeasure`] if no bus can be opened.
    pub fn open(
        plan: Plan,
        mut provider: BusProvider,
        command: Option<&'static str>,
    ) -> Result<Self, NothingToMeasure> {
        let claims = Arc::new(Mutex::new(Claims::new(command, &plan)));
        let shared = claims.clone();
        provider.claim = Some(Arc::new(move |bus, adapter, adapters, last| {
            lock(&shared).claim(bus, adapter, adapters, last)
        }));
        let mut unopened = Vec::new();
        let mut open = |name| {
            let bus = provider.open(name, locations(&plan)).unwrap_or_else(|error| {
                unopened.push(error.to_string());
                // The first transfer on it logs why.
                provider.closed(name)
            });
            (name, bus)
        };
        let opened: BTreeMap<_, _> = buses(&plan).into_iter().map(&mut open).collect();
        if unopened.len() == opened.len() {
            return Err(NothingToMeasure(unopened));
        }
        Ok(Self {
            provider,
            on_change: Arc::new(|| ()),
            meters: plan.sensors.iter().map(|_| SharedMeter::default()).collect(),
            threads: BTreeMap::new(),
            opened,
            unopened,
            claims,
            plan,
        })
    }

    /// Starts a thread per bus that has none. `on_change` is called when a sensor goes up or down.
    ///
    /// # Errors
    /// The kernel's error if a thread cannot be created.
    pub fn start(&mut self, on_change: OnChange) -> io::Result<()> {
        self.on_change = on_change;
        for (name, bus) in std::mem::take(&mut self.opened) {
            let thread = self.spawn(name, bus)?;
            self.threads.insert(name, thread);
        }
        self.apply();
        Ok(())
    }

    /// Starts a thread that has no sensors yet.
    fn spawn(&self, name: BusName, bus: Box<dyn Bus>) -> io::Result<BusThread> {
        let name = format!("{}bus {name}", self.provider.name_prefix());
        let (clock, on_change) = (Arc::new(SystemClock), self.on_change.clone());
        BusThread::spawn(&name, Sampler::new(name.clone(), bus, Vec::new(), clock, on_change))
    }

    fn apply(&self) {
        for meter in &self.meters {
            meter.lock().window.length = self.plan.window;
        }
        for (name, thread) in &self.threads {
            thread.replace(self.setups(*name));
        }
    }

    /// Changes to a new plan.
    ///
    /// # Errors
    /// A bus cannot be opened, or a thread cannot be created; nothing has changed.
    pub fn change(&mut self, plan: Plan) -> io::Result<()> {
        let (wanted, mut new) = (buses(&plan), BTreeMap::new());
        for &name in &wanted {
            let is_running = self.threads.contains_key(&name);
            if is_running && !self.provider.is_simulated() {
                continue;
            }
            // Opening a simulated bus again adds the chips of new sensors.
            let bus = match self.provider.open(name, locations(&plan)) {
                // Released below, or by this bus's own thread if that is stuck.
                Err(OpenError::Taken(_, other)) if other == name || !wanted.contains(&other) => {
                    self.provider.closed(name)
                }
                Ok(bus) => bus,
                Err(error) => return Err(io::Error::other(error)),
            };
            if !is_running {
                let thread = self
                    .spawn(name, bus)
                    .map_err(|error| io::Error::other(format!("cannot start a thread: {error}")))?;
                new.insert(name, thread);
            }
        }
        // A renamed sensor keeps its counters.
        let meter = |sensor: &SensorPlan| {
            let running = self.sensors().find(|(it, _)| it.location == sensor.location);
            running.map(|(_, meter)| meter.clone()).unwrap_or_default()
        };
        self.meters = plan.sensors.iter().map(meter).collect();
        self.plan = plan;
        lock(&self.claims).locations = locations(&self.plan).collect();
        self.renew_locks();
        let threads = std::mem::take(&mut self.threads).into_iter();
        let (used, unused) = threads.partition(|(name, _)| wanted.contains(name));
        self.threads = used;
        self.apply();
        let deadline = Instant::now() + Self::RELEASE_TIMEOUT;
        for (_, mut thread) in unused {
            thread.stop();
            // A thread that is stuck ends later; its adapter is opened then.
            let _ = thread.join_until(deadline);
        }
        for (name, thread) in new {
            thread.replace(self.setups(name));
            self.threads.insert(name, thread);
        }
        Ok(())
    }

    /// Updates the lock files, and tries again to lock buses that another process used.
    pub(crate) fn renew_locks(&self) {
        lock(&self.claims).renew(&self.plan.server.listen);
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn sensors(&self) -> impl Iterator<Item = (&SensorPlan, &SharedMeter)> {
        self.plan.sensors.iter().zip(&self.meters)
    }

    /// Returns the sensors as the exposition sees them.
    pub fn views(&self) -> Vec<View> {
        let owned = |(name, value): (&str, String)| (name.to_owned(), value);
        let view = |(sensor, meter): (&SensorPlan, &SharedMeter)| {
            // Without a value, a label is left out; Prometheus can add it by relabelling.
            let own = [("hostname", self.plan.hostname.clone()), ("device", sensor.device.clone())];
            let own = own.into_iter().filter(|(_, value)| !value.is_empty()).map(owned);
            let Location { bus, mux, address } = sensor.location;
            let is_real = !self.provider.is_simulated();
            let bus = if is_real { bus.to_string() } else { "simulated".to_owned() };
            let mux = mux.map(|channel| ("mux", channel.to_string()));
            let info = [("bus", bus), ("address", address.to_string())].into_iter().chain(mux);
            View {
                labels: own.chain(sensor.labels.iter().cloned()).collect(),
                info: info.map(owned).collect(),
                script: self.plan.script_metrics,
                alert: sensor.alert.map(|alert| AlertView {
                    on: alert.function.name(),
                    unit: alert.function.unit(),
                    limit: alert.limit,
                }),
                meter: meter.clone(),
            }
        };
        self.sensors().map(view).collect()
    }

    /// Restores saved counters. Must be called before they are served.
    pub(crate) fn restore_counters(&self, saved: &[SavedSensor]) {
        for (sensor, meter) in self.sensors() {
            let is_same = |saved: &&SavedSensor| saved.location() == Some(sensor.location);
            if let Some(saved) = saved.iter().find(is_same) {
                meter.lock().restore_counters(&saved.counters);
            }
        }
    }

    pub(crate) fn export_counters(&self) -> Vec<SavedSensor> {
        let now = Instant::now();
        let export = |(sensor, meter): (&SensorPlan, &SharedMeter)| {
            let counters = meter.lock().export_counters(now);
            SavedSensor::new(sensor.location, &sensor.device, counters)
        };
        self.sensors().map(export).collect()
    }

    pub(crate) fn is_alive(&self, now: Instant) -> bool {
        self.threads.values().all(|thread| thread.is_alive(now))
    }

    /// Stops every thread. Returns the buses whose threads have not ended: a working one takes
    /// microseconds, a stuck one the adapter's timeout of about a second, and its transfer cannot
    /// be aborted.
    #[must_use]
    pub(crate) fn stop(&mut self) -> Vec<BusName> {
        const TIMEOUT: Duration = Duration::from_millis(1_500);
        self.threads.values_mut().for_each(BusThread::stop);
        let deadline = Instant::now() + TIMEOUT;
        let threads = std::mem::take(&mut self.threads).into_iter();
        threads.filter_map(|(bus, it)| (!it.join_until(deadline)).then_some(bus)).collect()
    }

    fn setups(&self, bus: BusName) -> Vec<Setup> {
        let setup = |(sensor, meter): (&SensorPlan, &SharedMeter)| Setup {
            name: sensor_name(sensor, &self.provider),
            channel: sensor.location.mux,
            chip: Ina260 {
                address: sensor.location.address,
                settings: sensor.settings,
                alert: sensor.alert,
                configure: sensor.configure,
                power_guard: sensor.power_guard,
            },
            calibration: sensor.calibration,
            always_power: self.plan.script_metrics,
            meter: meter.clone(),
        };
        self.sensors().filter(|(sensor, _)| sensor.location.bus == bus).map(setup).collect()
    }
}

fn sensor_name(sensor: &SensorPlan, provider: &BusProvider) -> String {
    let SensorPlan { device, location, .. } = sensor;
    format!("sensor {device} ({}{location})", provider.name_prefix())
}

fn buses(plan: &Plan) -> BTreeSet<BusName> {
    locations(plan).map(|location| location.bus).collect()
}

fn locations(plan: &Plan) -> impl Iterator<Item = Location> {
    plan.sensors.iter().map(|sensor| sensor.location)
}

#[cfg(test)]
mod tests;
