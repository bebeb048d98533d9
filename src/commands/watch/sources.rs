//! Sources of scrapes: an exporter's URL, or sensors that this process measures itself.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::clock::SystemClock;
use crate::commands::Failure;
use crate::config::Plan;
use crate::exposition::{self, Exposition};
use crate::i2c::BusName;
use crate::scrape::{self, Body, Url};
use crate::supervisor::bus_lock;
use crate::supervisor::{BusProvider, NothingToMeasure, Supervisor};

const TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two scrapes; an exporter updates its metrics once a second.
const PERIOD: Duration = Duration::from_secs(1);
/// Longest wait for the bus threads to stop.
const STOP_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Owner in the bus lock, in place of a daemon's URL.
const WATCH_OWNER: &str = "ina260-exporter watch";

/// A source of scrapes.
pub trait ScrapeSource: Send {
    /// Returns the name to display.
    fn name(&self) -> String;

    /// Returns the current metrics in the text format.
    ///
    /// # Errors
    /// Reason why there are none.
    fn scrape(&mut self) -> Result<Body, scrape::Error>;

    /// Returns whether dropping the source has to finish before the process exits.
    fn needs_shutdown(&self) -> bool {
        false
    }
}

impl ScrapeSource for Url {
    fn name(&self) -> String {
        self.authority().to_owned()
    }

    fn scrape(&mut self) -> Result<Body, scrape::Error> {
        self.get(TIMEOUT)
    }
}

/// Sensors that this process measures.
pub(super) struct LocalSensors {
    supervisor: Supervisor,
    exposition: Exposition,
}

impl LocalSensors {
    /// Opens the buses of a plan, probes the sensors and starts to measure.
    ///
    /// # Errors
    /// [`Failure::Nothing`] if a bus is in use or there is nothing to measure.
    pub(super) fn open(plan: Plan) -> Result<Self, Failure> {
        if plan.simulate.is_none() {
            let mut buses = plan.sensors.iter().map(|sensor| sensor.location.bus);
            if let Some(message) = buses.find_map(in_use) {
                return Err(Failure::Nothing(vec![message]));
            }
        }
        let recorder = exposition::recorder(&plan.buckets);
        let provider = BusProvider::new(plan.simulate.as_ref());
        let nothing = |nothing: NothingToMeasure| Failure::Nothing(nothing.0);
        let mut supervisor =
            Supervisor::open(plan, provider, WATCH_OWNER.to_owned()).map_err(nothing)?;
        supervisor.probe_at_startup().map_err(nothing)?;
        let mut exposition = Exposition::new(recorder, Arc::new(SystemClock));
        exposition.show(supervisor.views());
        supervisor.start(Arc::new(|| {}))?;
        Ok(Self { supervisor, exposition })
    }
}

/// Returns a message if a bus is in use by another process.
fn in_use(bus: BusName) -> Option<String> {
    let user = bus_lock::holder_url(bus)?;
    let advice = match user.parse::<Url>() {
        Ok(_) => format!("use `ina260-exporter watch --url {user}`"),
        // `watch`, `run` and `calibrate` serve no metrics.
        Err(_) => "stop it first".to_owned(),
    };
    Some(format!("bus {bus} is in use by {user}; results would be split between the two: {advice}"))
}

impl ScrapeSource for LocalSensors {
    fn name(&self) -> String {
        "local".to_owned()
    }

    fn scrape(&mut self) -> Result<Body, scrape::Error> {
        self.exposition.tick(Instant::now());
        Ok(self.exposition.render().into())
    }

    fn needs_shutdown(&self) -> bool {
        true
    }
}

impl Drop for LocalSensors {
    fn drop(&mut self) {
        // A thread that is blocked in a transfer ends with the process.
        let _ = self.supervisor.stop(STOP_TIMEOUT);
    }
}

/// A thread that scrapes a source once a second until this is dropped.
pub(super) struct ScrapeLoop {
    stop: Option<Sender<Infallible>>,
    ended: Option<Receiver<Infallible>>,
}

impl ScrapeLoop {
    /// Starts the thread; it calls `on_scrape` with every scrape, until that returns false.
    ///
    /// # Errors
    /// See [`thread::Builder::spawn`].
    pub(super) fn start(
        mut source: Box<dyn ScrapeSource>,
        mut on_scrape: impl FnMut(Result<Body, scrape::Error>) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<Infallible>();
        let (end, ended) = mpsc::channel::<Infallible>();
        let needs_shutdown = source.needs_shutdown();
        let thread = thread::Builder::new().name("scrape".to_owned());
        thread.spawn(move || {
            let mut next = Instant::now();
            while on_scrape(source.scrape()) {
                next = (next + PERIOD).max(Instant::now());
                let wait = next.saturating_duration_since(Instant::now());
                if stopped.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
                    break;
                }
            }
            drop(source);
            drop(end);
        })?;
        Ok(Self { stop: Some(stop), ended: needs_shutdown.then_some(ended) })
    }
}

impl Drop for ScrapeLoop {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(ended) = self.ended.take() {
            // Longer than the source itself waits.
            let _ = ended.recv_timeout(2 * STOP_TIMEOUT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reports when it is dropped.
    struct Reporting(Sender<&'static str>);

    impl ScrapeSource for Reporting {
        fn name(&self) -> String {
            String::new()
        }

        fn scrape(&mut self) -> Result<Body, scrape::Error> {
            Ok("a 1\n".to_owned().into())
        }

        fn needs_shutdown(&self) -> bool {
            true
        }
    }

    impl Drop for Reporting {
        fn drop(&mut self) {
            self.0.send("dropped").unwrap();
        }
    }

    #[test]
    fn source_is_dropped_before_loop_drop_returns() {
        let (dropping, dropped) = mpsc::channel();
        let (sender, scrapes) = mpsc::channel();
        let on_scrape = move |scrape| sender.send(scrape).is_ok();
        let scraping = ScrapeLoop::start(Box::new(Reporting(dropping)), on_scrape).unwrap();
        assert_eq!(scrapes.recv().unwrap().unwrap(), "a 1\n".to_owned().into());
        drop(scraping);
        assert_eq!(dropped.try_recv(), Ok("dropped"));
    }

    #[test]
    fn lock_owner_is_not_taken_for_a_url() {
        assert!(WATCH_OWNER.parse::<Url>().is_err());
    }
}
