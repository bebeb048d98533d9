//! Measures sensors for `run` and `calibrate`: directly, or through the service that uses the bus.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::Failure;
use super::read::reader::Reader;
use super::running_exporter::RunningExporter;
use crate::config::{Plan, SensorPlan};
use crate::i2c::Bus;
use crate::ina260;
use crate::ina260::settings::Averaging;
use crate::meter::SharedMeter;
use crate::supervisor::{BusProvider, NothingToMeasure, Supervisor};
use direct::Found;
use ledger::Ledger;
pub(super) use ledger::{Energy, Slice};
pub(super) use moments::Moments;
use via_service::Stream;

mod direct;
mod ledger;
mod moments;
mod via_service;

/// Owner in the bus lock, in place of a daemon's URL.
const OWNER: &str = "ina260-exporter run or calibrate";

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    /// Refuse to measure through a service.
    pub(super) direct: bool,
    /// Maximum cycle; `None`: as short as the bus allows.
    pub(super) interval: Option<Duration>,
    /// Averaging, if the bus is fast enough for it; `None`: as suits the cycle.
    pub(super) averaging: Option<Averaging>,
}

pub(super) struct Sensor {
    pub(super) plan: SensorPlan,
    pub(super) stream: Stream,
    source: Source,
    ledger: Option<Ledger>,
}

enum Source {
    Direct(SharedMeter),
    /// Name of the service for messages.
    Service(String),
}

impl Sensor {
    fn new(plan: &SensorPlan, stream: Stream, source: Source) -> Self {
        Self { plan: plan.clone(), stream, source, ledger: None }
    }

    /// Returns the name of the service that measures it; `None`: it is measured directly.
    pub(super) fn service(&self) -> Option<&str> {
        match &self.source {
            Source::Direct(_) => None,
            Source::Service(name) => Some(name),
        }
    }

    /// Returns the maximum time from the start of a result to its arrival: the service updates its
    /// metrics once a second.
    fn timeout(&self) -> Duration {
        2 * self.stream.cycle + Duration::from_secs(2)
    }

    /// Returns whether a result that ends after `end` may still arrive.
    fn is_awaited(&self, end: Instant) -> bool {
        let reaches = self.ledger.as_ref().is_some_and(|ledger| ledger.reaches(end));
        self.stream.is_up && !reaches && end.elapsed() < self.timeout()
    }
}

pub(super) struct Session {
    pub(super) sensors: Vec<Sensor>,
    /// Measures directly.
    supervisor: Option<Supervisor>,
    /// Sensors that are measured directly.
    found: Vec<Found>,
    reader: Reader,
    scraped: Option<Instant>,
}

impl Session {
    /// Longest time between two calls of [`Session::collect`].
    pub(super) const STEP: Duration = Duration::from_millis(100);
    /// Time between two scrapes; the service updates its metrics once a second.
    const SCRAPE_PERIOD: Duration = Duration::from_millis(500);
    /// Time in which the sampler finds the phase of short cycles.
    const PHASE: Duration = Duration::from_millis(250);
    /// Longest wait for the bus threads to stop.
    const STOP_TIMEOUT: Duration = Duration::from_millis(1_500);

    /// Opens the sensors of a plan, and writes nothing. Also returns a message for each sensor that
    /// cannot be measured.
    ///
    /// # Errors
    /// [`Failure::Nothing`] if no sensor can be measured, [`Failure::Usage`] if the interval is too
    /// short.
    pub(super) fn open(
        mut plan: Plan,
        provider: BusProvider,
        options: Options,
    ) -> Result<(Self, Vec<String>), Failure> {
        let mut reader = Reader::new(&plan, provider, false);
        let (mut sensors, mut own, mut messages) = (Vec::new(), Vec::new(), Vec::new());
        for sensor in std::mem::take(&mut plan.sensors) {
            let SensorPlan { device, location, .. } = &sensor;
            let Some(exporter) = RunningExporter::find(location.bus, &reader.provider) else {
                own.push(sensor);
                continue;
            };
            let name = exporter.name.clone();
            let reason = match exporter.sensor(*location) {
                Ok(_) if options.direct => format!(
                    "bus {} is in use by {name}, which would lose results and settings); omit \
                     --direct to measure through it, or stop it first",
                    location.bus
                ),
                Ok(scraped) => {
                    let stream = Stream::new(scraped, Instant::now(), SystemTime::now());
                    sensors.push(Sensor::new(&sensor, stream, Source::Service(name)));
                    continue;
                }
                Err(reason) => {
                    let is_served = !options.direct && exporter.sensors.is_ok();
                    let advice = if is_served { ", or configure the sensor there" } else { "" };
                    format!("{reason}); stop it first{advice}")
                }
            };
            messages.push(format!("sensor {device} ({location}): not measured ({reason}"));
        }
        let found = direct::prepare(&mut reader, own, options, &mut messages)?;
        let mut supervisor = None;
        if !found.is_empty() {
            plan.sensors = found.iter().map(|(sensor, _)| sensor.clone()).collect();
            // Also reads the power register in short cycles: a pulsed load needs it.
            plan.script_metrics = true;
            let opened = Supervisor::open(plan, reader.provider.clone(), OWNER.to_owned())
                .map_err(|NothingToMeasure(messages)| Failure::Nothing(messages))?;
            for (sensor, meter) in opened.sensors() {
                meter.lock().take_results();
                let source = Source::Direct(meter.clone());
                sensors.push(Sensor::new(sensor, Stream::default(), source));
            }
            supervisor = Some(opened);
        }
        if sensors.is_empty() {
            return Err(Failure::Nothing(messages));
        }
        Ok((Self { sensors, supervisor, found, reader, scraped: None }, messages))
    }

    /// Starts measuring, and writes to the chips. From now on they have to be restored, so signals
    /// have to be caught.
    pub(super) fn start(&mut self) -> io::Result<()> {
        let started = self.supervisor.as_mut().map_or(Ok(()), |it| it.start(Arc::new(|| ())));
        // The threads that were started may have written already.
        started.inspect_err(|_| drop(self.close()))
    }

    /// Waits until each sensor has a result and the phase of short cycles is known. Returns false
    /// at a request to stop.
    pub(super) fn wait_ready(&mut self, stop: &mut dyn FnMut(Duration) -> bool) -> bool {
        let begun = Instant::now();
        let is_awaited = |sensor: &Sensor| match &sensor.source {
            Source::Direct(meter) => {
                meter.lock().last.is_none() && begun.elapsed() < sensor.timeout()
            }
            Source::Service(_) => false,
        };
        while begun.elapsed() < Self::PHASE || self.sensors.iter().any(is_awaited) {
            if stop(Self::STEP) {
                return false;
            }
            self.collect(|_| ());
        }
        true
    }

    /// Begins to add up the energy from `at` on.
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
        // One scrape for each bus.
        let mut exporters = BTreeMap::new();
        for Sensor { plan, stream, source, ledger } in &mut self.sensors {
            let slices: Vec<Slice> = match source {
                Source::Direct(meter) => {
                    let mut meter = meter.lock();
                    (stream.cycle, stream.is_up) = (meter.cycle, meter.up);
                    meter.take_results().iter().map(direct::slice).collect()
                }
                Source::Service(_) if is_due => {
                    let bus = plan.location.bus;
                    let find = || RunningExporter::find(bus, &self.reader.provider);
                    let exporter = exporters.entry(bus).or_insert_with(find).as_ref();
                    let scraped = exporter.and_then(|it| it.sensor(plan.location).ok());
                    stream.advance(scraped, Instant::now(), SystemTime::now()).into_iter().collect()
                }
                Source::Service(_) => Vec::new(),
            };
            slices.iter().for_each(&mut each);
            if let Some(ledger) = ledger {
                ledger.add(slices);
            }
        }
    }

    /// Adds up the results that ended by `before`, which must not be after the end of the time.
    pub(super) fn settle(&mut self, before: Instant) {
        for ledger in self.sensors.iter_mut().filter_map(|sensor| sensor.ledger.as_mut()) {
            ledger.settle(before);
        }
    }

    /// Waits for the results that end after `end`, and returns the energy until `end`. A request to
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
        let ledgers = self.sensors.iter_mut().filter_map(|sensor| sensor.ledger.take());
        ledgers.map(|ledger| ledger.finish(end)).collect()
    }

    /// Stops measuring and restores the registers of the chips. Returns what failed.
    pub(super) fn close(&mut self) -> Vec<String> {
        let Some(mut supervisor) = self.supervisor.take() else { return Vec::new() };
        if !supervisor.stop(Self::STOP_TIMEOUT) {
            // The blocked thread ends with the process.
            return vec!["a transfer is still blocked; registers not restored".to_owned()];
        }
        let configured = self.found.iter().filter(|(sensor, _)| sensor.configure);
        let failed = configured.filter_map(|(SensorPlan { device, location, .. }, registers)| {
            let write =
                |bus: &mut dyn Bus| ina260::write_settings(bus, location.address, registers);
            let error = self.reader.on_chip(*location, write).err()?;
            Some(format!("sensor {device} ({location}): registers not restored: {error}"))
        });
        failed.collect()
    }
}

#[cfg(test)]
mod tests;
