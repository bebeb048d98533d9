//! Measures sensors for `run` and `calibrate`: directly, or through the service that uses the bus.

use std::io;
use std::time::{Duration, Instant, SystemTime};

use super::Failure;
use super::running_exporter::RunningExporter;
use crate::config::{Plan, SensorPlan};
use crate::ina260::settings::Averaging;
use crate::meter::SharedMeter;
use crate::supervisor::BusProvider;
use direct::Direct;
use ledger::Ledger;
pub(super) use ledger::{Energy, Slice};
use via_service::Served;

mod direct;
mod ledger;
mod via_service;

/// How to measure.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    /// Refuse to measure through a service.
    pub(super) direct: bool,
    /// Maximum cycle; `None`: as short as the bus allows.
    pub(super) interval: Option<Duration>,
    /// Averaging; `None`: to suit the cycle.
    pub(super) averaging: Option<Averaging>,
}

/// A sensor that is measured.
pub(super) struct Sensor {
    pub(super) plan: SensorPlan,
    source: Source,
    ledger: Option<Ledger>,
}

enum Source {
    Direct {
        meter: SharedMeter,
        /// End of the last result.
        end: Option<Instant>,
    },
    Service {
        served: Served,
        /// Name of the service for messages.
        name: String,
    },
}

impl Sensor {
    /// Returns the name of the service that measures it; `None`: it is measured directly.
    pub(super) fn service(&self) -> Option<&str> {
        match &self.source {
            Source::Direct { .. } => None,
            Source::Service { name, .. } => Some(name),
        }
    }

    /// Returns the time from one result to the next.
    pub(super) fn cycle(&self) -> Duration {
        match &self.source {
            Source::Direct { meter, .. } => meter.lock().cycle,
            Source::Service { served, .. } => served.cycle,
        }
    }

    /// Returns how often the counters of the service were reset.
    pub(super) fn restarts(&self) -> u32 {
        match &self.source {
            Source::Direct { .. } => 0,
            Source::Service { served, .. } => served.restarts,
        }
    }

    /// Returns whether it may still have a result that ends after `end`.
    fn is_awaited(&self, end: Instant) -> bool {
        let is_up = match &self.source {
            Source::Direct { meter, .. } => meter.lock().up,
            Source::Service { served, .. } => served.is_up,
        };
        let timeout = 2 * self.cycle() + Session::MARGIN;
        let reaches = self.ledger.as_ref().is_some_and(|ledger| ledger.reaches(end));
        is_up && !reaches && end.elapsed() < timeout
    }
}

/// Sensors that are being measured.
pub(super) struct Session {
    pub(super) sensors: Vec<Sensor>,
    direct: Option<Direct>,
    provider: BusProvider,
    scraped: Option<Instant>,
}

impl Session {
    /// Longest time between two calls of [`Session::collect`].
    pub(super) const STEP: Duration = Duration::from_millis(100);
    /// Time between two scrapes; the service updates its metrics once a second.
    const SCRAPE_PERIOD: Duration = Duration::from_millis(500);
    /// Time for a result to arrive after its end: the service shows it at the next second.
    const MARGIN: Duration = Duration::from_secs(2);
    /// Time in which the sampler finds the phase of short cycles.
    const PHASE: Duration = Duration::from_millis(250);

    /// Opens the sensors of a plan, and writes nothing. Returns messages about those that are not.
    ///
    /// # Errors
    /// [`Failure::Nothing`] if no sensor can be measured, [`Failure::Usage`] if the bus does not
    /// carry the interval.
    pub(super) fn open(
        plan: Plan,
        provider: BusProvider,
        options: Options,
    ) -> Result<(Self, Vec<String>), Failure> {
        let (mut sensors, mut own, mut messages) = (Vec::new(), Vec::new(), Vec::new());
        for sensor in &plan.sensors {
            let bus = sensor.location.bus;
            let Some(exporter) = RunningExporter::find(bus, &provider) else {
                own.push(sensor.clone());
                continue;
            };
            let SensorPlan { device, location, .. } = sensor;
            let name = exporter.name();
            let reason = match exporter.sensor(*location) {
                _ if options.direct => format!(
                    "in use by {name}, which would lose results and settings); omit --direct to \
                     measure through it, or stop it first"
                ),
                Ok(Some(scraped)) => {
                    let served = Served::new(scraped, Instant::now(), SystemTime::now());
                    let source = Source::Service { served, name };
                    sensors.push(Sensor { plan: sensor.clone(), source, ledger: None });
                    continue;
                }
                Ok(None) => format!(
                    "in use by {name}, which does not measure this sensor); stop it first, or \
                     configure the sensor there"
                ),
                Err(error) => format!("in use; {error}); stop the program that uses it"),
            };
            messages
                .push(format!("sensor {device} ({location}): not measured (bus {bus} is {reason}"));
        }
        let (mut direct, mut provider) = (None, provider);
        if !own.is_empty() {
            let opened = Direct::open(Plan { sensors: own, ..plan }, provider, options)?;
            messages.extend(opened.messages);
            provider = opened.provider;
            let metered = opened.direct.iter().flat_map(Direct::sensors);
            sensors.extend(metered.map(|(sensor, meter)| Sensor {
                plan: sensor.clone(),
                source: Source::Direct { meter: meter.clone(), end: None },
                ledger: None,
            }));
            direct = opened.direct;
        }
        if sensors.is_empty() {
            return Err(Failure::Nothing(messages));
        }
        Ok((Self { sensors, direct, provider, scraped: None }, messages))
    }

    /// Starts measuring. From now on the chips have to be restored, so signals have to be caught.
    pub(super) fn start(&mut self) -> io::Result<()> {
        self.direct.as_mut().map_or(Ok(()), Direct::start)
    }

    /// Waits until each sensor has a result and the phase of short cycles is known. Returns false
    /// at a request to stop.
    pub(super) fn wait_ready(&mut self, stop: &mut dyn FnMut(Duration) -> bool) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < Self::PHASE
            || self.sensors.iter().any(|sensor| {
                let timeout = 2 * sensor.cycle() + Self::MARGIN;
                matches!(&sensor.source, Source::Direct { end: None, .. })
                    && begun.elapsed() < timeout
            })
        {
            if stop(Self::STEP) {
                return false;
            }
            self.collect(|_| ());
        }
        true
    }

    /// Begins to add up the energy, after `at`.
    pub(super) fn begin(&mut self, at: Instant) {
        for sensor in &mut self.sensors {
            sensor.ledger = Some(Ledger::new(at));
        }
    }

    /// Takes new results, and passes them to `each`.
    pub(super) fn collect(&mut self, mut each: impl FnMut(&Slice)) {
        let is_due = self.scraped.is_none_or(|at| at.elapsed() >= Self::SCRAPE_PERIOD);
        if is_due {
            self.scraped = Some(Instant::now());
        }
        let mut exporter = None;
        for Sensor { plan, source, ledger } in &mut self.sensors {
            let slices = match source {
                Source::Direct { meter, end } => {
                    let results = meter.lock().take_results();
                    results.iter().map(|(it, cycle)| direct::slice(it, cycle, end)).collect()
                }
                Source::Service { served, .. } if is_due => {
                    // One scrape for each bus: its sensors follow each other in most plans.
                    let bus = plan.location.bus;
                    if exporter.as_ref().is_none_or(|(scraped, _)| *scraped != bus) {
                        exporter = Some((bus, RunningExporter::find(bus, &self.provider)));
                    }
                    let found = exporter.as_ref().and_then(|(_, exporter)| exporter.as_ref());
                    let sensor = found.and_then(|it| it.sensor(plan.location).ok().flatten());
                    served.advance(sensor, Instant::now(), SystemTime::now()).into_iter().collect()
                }
                Source::Service { .. } => Vec::new(),
            };
            for slice in slices {
                each(&slice);
                if let Some(ledger) = ledger {
                    ledger.add(slice);
                }
            }
        }
    }

    /// Adds up results that ended before a moment that is before the end.
    pub(super) fn settle(&mut self, before: Instant) {
        for ledger in self.sensors.iter_mut().filter_map(|sensor| sensor.ledger.as_mut()) {
            ledger.settle(before);
        }
    }

    /// Waits for the results that end after `end`, and returns the energy until then. A request to
    /// stop ends the wait.
    pub(super) fn finish(
        &mut self,
        end: Instant,
        stop: &mut dyn FnMut(Duration) -> bool,
    ) -> Vec<Energy> {
        self.collect(|_| ());
        while self.sensors.iter().any(|sensor| sensor.is_awaited(end)) {
            let stopped = stop(Self::STEP / 10);
            self.collect(|_| ());
            if stopped {
                break;
            }
        }
        let sensors = self.sensors.iter_mut();
        let ledgers =
            sensors.map(|sensor| sensor.ledger.take().unwrap_or_else(|| Ledger::new(end)));
        ledgers.map(|ledger| ledger.finish(end)).collect()
    }

    /// Stops measuring and restores the registers of the chips. Returns what failed.
    pub(super) fn close(&mut self) -> Vec<String> {
        self.direct.take().map(Direct::close).unwrap_or_default()
    }
}
