//! Measures sensors for `run` and `calibrate`: directly, or through the service that uses the bus.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use super::Failure;
use super::read::Stop;
use super::read::reader::Reader;
use super::running_exporter::Exporters;
use crate::config::{Plan, SensorPlan};
use crate::i2c::Bus;
use crate::ina260;
use crate::ina260::settings::Averaging;
use crate::scrape::ScrapedSensor;
use crate::supervisor::{BusProvider, NothingToMeasure, Supervisor};
use ledger::Ledger;
pub(super) use ledger::{Energy, Moments, Slice};
pub(super) use source::Source;
use source::Stream;

mod ledger;
mod source;

/// Owner in the bus lock, in place of a daemon's URL.
const COMMAND: &str = "ina260-exporter run or calibrate";

pub(super) struct Sensor {
    pub(super) plan: SensorPlan,
    pub(super) stream: Stream,
    pub(super) ledger: Ledger,
    /// How it is measured, or why it is not.
    pub(super) source: Result<Source, String>,
}

impl Sensor {
    /// Returns the name of the service that measures it; `None`: it is measured directly.
    pub(super) fn service(&self) -> Option<&str> {
        if let Ok(Source::Service(name)) = &self.source { Some(name) } else { None }
    }

    fn is_direct(&self) -> bool {
        matches!(self.source, Ok(Source::Direct(..)))
    }

    /// Returns whether a result whose cycle began at `since` may still arrive, perhaps through a
    /// service.
    fn may_arrive(&self, since: Instant) -> bool {
        since.elapsed() < 2 * self.stream.cycle + Duration::from_secs(2)
    }
}

pub(super) struct Session {
    /// Sensors that a service measures come first.
    pub(super) sensors: Vec<Sensor>,
    /// Measures the other sensors, in their order.
    supervisor: Option<Supervisor>,
    reader: Reader,
    /// Scrapes the services: a slow one must not delay signals.
    scrape: Option<JoinHandle<Vec<Option<ScrapedSensor>>>>,
    next_scrape: Instant,
}

impl Session {
    /// Longest time between two calls of [`Session::collect`].
    pub(super) const STEP: Duration = Duration::from_millis(100);
    /// Time between two scrapes; the service updates its metrics once a second.
    const SCRAPE_PERIOD: Duration = Duration::from_millis(500);
    /// Time in which the sampler finds the phase of short cycles.
    const PHASE: Duration = Duration::from_millis(250);
    /// Longest time from the end of a command until it is noticed.
    const NOTICE: Duration = Duration::from_secs(1);

    /// Opens the sensors of a plan, and writes nothing. `direct` refuses to measure through a
    /// service. Without an `interval`, the cycle is as short as the bus allows. The averaging is
    /// used if the bus is fast enough for it.
    pub(super) fn open(
        mut plan: Plan,
        provider: BusProvider,
        direct: bool,
        interval: Option<Duration>,
        averaging: Option<Averaging>,
    ) -> Result<Self, Failure> {
        let mut reader = Reader::new(&plan, provider, false);
        let find = |plan: SensorPlan| {
            let source = source::find(&mut reader, plan.location, direct);
            let source = source.map_err(|problem| format!("{plan}: {problem}"));
            Sensor { plan, source, stream: Stream::default(), ledger: Ledger::default() }
        };
        let mut sensors: Vec<_> = std::mem::take(&mut plan.sensors).into_iter().map(find).collect();
        if sensors.iter().all(|sensor| sensor.source.is_err()) {
            return Err(Failure::Nothing(missing(&sensors)));
        }
        sensors.sort_by_key(|sensor| sensor.service().is_none());
        source::set_cycles(&mut sensors, interval, averaging).map_err(Failure::Usage)?;
        let others = sensors.iter().filter(|sensor| sensor.is_direct());
        plan.sensors = others.map(|sensor| sensor.plan.clone()).collect();
        // Also reads the power register in short cycles: a pulsed load needs it.
        plan.script_metrics = true;
        let supervisor = (!plan.sensors.is_empty())
            .then(|| Supervisor::open(plan, reader.provider.clone(), Some(COMMAND)))
            .transpose()
            .map_err(|NothingToMeasure(messages)| Failure::Nothing(messages))?;
        Ok(Self { sensors, supervisor, reader, scrape: None, next_scrape: Instant::now() })
    }

    /// Starts measuring, and writes to the chips. From now on they have to be restored, so signals
    /// have to be caught. Waits until each sensor has a result and the phase of short cycles is
    /// known, and for the first scrape. Returns false at a request to stop.
    pub(super) fn start(&mut self, stop: Stop) -> Result<bool, Failure> {
        // The meters keep their results from now on.
        self.collect();
        let started = self.supervisor.as_mut().map_or(Ok(()), |it| it.start(Arc::new(|| ())));
        // The threads that were started may have written already.
        let started = started.inspect_err(|_| drop(self.close()));
        started.map_err(Failure::of("cannot start a thread"))?;
        let begun = Instant::now();
        Ok(self.collect_while(stop, |sensor| {
            let has_none = sensor.is_direct() && sensor.ledger.kept.is_empty();
            begun.elapsed() < Self::PHASE || has_none && sensor.may_arrive(begun)
        }))
    }

    /// Collects until no scrape and no sensor is awaited. Returns false at a request to stop.
    fn collect_while(&mut self, stop: Stop, is_awaited: impl Fn(&Sensor) -> bool) -> bool {
        let mut is_stopped = false;
        self.collect();
        while !is_stopped && (self.scrape.is_some() || self.sensors.iter().any(&is_awaited)) {
            is_stopped = stop(Self::STEP / 10);
            self.collect();
        }
        !is_stopped
    }

    /// Adds up the energy from `begun` until `wait` returns the end, and returns the end. `wait`
    /// waits for at most the given time.
    pub(super) fn measure(
        &mut self,
        begun: Instant,
        mut wait: impl FnMut(Duration) -> Option<Instant>,
    ) -> Instant {
        for sensor in &mut self.sensors {
            sensor.ledger = Ledger::new(begun);
        }
        loop {
            let now = Instant::now();
            if let Some(end) = wait(Self::STEP) {
                return end;
            }
            self.collect();
            for sensor in &mut self.sensors {
                sensor.ledger.settle(now.checked_sub(Self::NOTICE).unwrap_or(now));
            }
        }
    }

    pub(super) fn collect(&mut self) {
        let others = self.sensors.iter_mut().filter(|sensor| sensor.is_direct());
        let meters = self.supervisor.iter().flat_map(Supervisor::sensors);
        for (Sensor { stream, ledger, .. }, (_, meter)) in others.zip(meters) {
            let mut meter = meter.lock();
            (stream.cycle, stream.is_up) = (meter.cycle, meter.up);
            ledger.kept.extend(meter.take_results().iter().map(source::slice));
        }
        if let Some(scrape) = self.scrape.take_if(|scrape| scrape.is_finished()) {
            let scraped = scrape.join().unwrap_or_default();
            for (Sensor { stream, ledger, .. }, scraped) in self.sensors.iter_mut().zip(scraped) {
                let now = (Instant::now(), SystemTime::now());
                ledger.kept.extend(stream.advance(scraped.as_ref(), now));
            }
        } else if self.scrape.is_none() && Instant::now() >= self.next_scrape {
            let served = self.sensors.iter().take_while(|sensor| sensor.service().is_some());
            let locations: Vec<_> = served.map(|sensor| sensor.plan.location).collect();
            if locations.is_empty() {
                return;
            }
            self.next_scrape = Instant::now() + Self::SCRAPE_PERIOD;
            let provider = self.reader.provider.clone();
            let scrape = move || {
                let mut exporters = Exporters::default();
                let scraped = locations.into_iter().map(|location| {
                    exporters.find(location.bus, &provider)?.sensor(location).ok().cloned()
                });
                scraped.collect()
            };
            // If no thread can be created, the next attempt follows after the same period.
            self.scrape = thread::Builder::new().name("scrape".to_owned()).spawn(scrape).ok();
        }
    }

    /// Waits for results that end after `end` or a request to stop. Returns the energy until `end`.
    pub(super) fn finish(&mut self, end: Instant, stop: Stop) -> Vec<Energy> {
        self.collect_while(stop, |sensor| {
            sensor.stream.is_up && !sensor.ledger.reaches(end) && sensor.may_arrive(end)
        });
        self.sensors.iter_mut().map(|sensor| sensor.ledger.finish(end)).collect()
    }

    /// Stops measuring and restores the registers of the chips. Returns what failed.
    pub(super) fn close(&mut self) -> Vec<String> {
        let mut messages = Vec::new();
        let Some(mut supervisor) = self.supervisor.take() else { return messages };
        // A blocked thread ends with the process.
        let blocked = supervisor.stop();
        for Sensor { plan, source, .. } in &self.sensors {
            if let (true, Ok(Source::Direct(registers, _))) = (plan.configure, source) {
                let restore = |bus: &mut dyn Bus| {
                    // It may have been replaced by another chip.
                    ina260::identify(bus, plan.location.address)?;
                    ina260::write_settings(bus, plan.location.address, registers)
                };
                let restored = if blocked.contains(&plan.location.bus) {
                    Err("a transfer is blocked".to_owned())
                } else {
                    self.reader.on_chip(plan.location, restore).map_err(|error| error.to_string())
                };
                let problem = |error| format!("{plan}: registers not restored: {error}");
                messages.extend(restored.err().map(problem));
            }
        }
        messages
    }
}

/// Returns why sensors are not measured.
pub(super) fn missing(sensors: &[Sensor]) -> Vec<String> {
    sensors.iter().filter_map(|sensor| sensor.source.as_ref().err().cloned()).collect()
}

#[cfg(test)]
mod tests;
