//! What can be watched: an exporter by its scrape, or sensors by the same parts as the daemon, with nobody else in between.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::commands::Failure;
use crate::config::Plan;
use crate::exposition::{self, Exposition};
use crate::scrape::Url;
use crate::supervisor::bus_lock;
use crate::supervisor::{BusProvider, NothingToMeasure, Supervisor};

/// Whatever takes longer is shown as an answer that does not come.
const PATIENCE: Duration = Duration::from_secs(5);
/// What an exporter shows changes no faster.
const PERIOD: Duration = Duration::from_secs(1);
/// A bus that is stuck is not waited for longer.
const STOP_PATIENCE: Duration = Duration::from_millis(1_500);

/// What the lock of a bus that is measured here says in place of a URL.
const WATCH_OWNER: &str = "ina260-exporter watch, which serves nobody";

/// Something that shows sensors as a scrape does.
pub trait Scrape: Send {
    /// What it is called.
    fn name(&self) -> String;

    /// What it shows now.
    ///
    /// # Errors
    /// A sentence on why it shows nothing.
    fn scrape(&mut self) -> Result<String, String>;

    /// Whether it has something in hand that it has to put down before the process ends.
    fn needs_shutdown(&self) -> bool {
        false
    }
}

impl Scrape for Url {
    fn name(&self) -> String {
        self.authority()
    }

    fn scrape(&mut self) -> Result<String, String> {
        self.get(PATIENCE).map_err(|error| error.to_string())
    }
}

/// Sensors that are measured here.
pub(super) struct Sensors {
    supervisor: Supervisor,
    exposition: Exposition,
}

impl Sensors {
    /// Opens the buses of a plan, looks for its sensors and begins to measure.
    pub(super) fn open(plan: Plan) -> Result<Self, Failure> {
        if plan.simulate.is_none() {
            let mut buses = plan.sensors.iter().map(|sensor| sensor.location.bus);
            if let Some(refusal) = buses.find_map(refusal) {
                return Err(Failure::Nothing(vec![refusal]));
            }
        }
        let recorder =
            exposition::recorder(&plan.buckets).map_err(|why| Failure::Nothing(vec![why]))?;
        let wait_for_sensor = plan.wait_for_sensor;
        let provider = BusProvider::new(plan.simulate.as_ref());
        let nothing = |nothing: NothingToMeasure| Failure::Nothing(nothing.0);
        let mut supervisor =
            Supervisor::open(plan, provider, WATCH_OWNER.to_owned()).map_err(nothing)?;
        if !wait_for_sensor {
            supervisor.probe_at_startup().map_err(nothing)?;
        }
        let mut exposition = Exposition::new(recorder, SystemTime::now());
        exposition.show(supervisor.views(), Instant::now());
        supervisor.start(Arc::new(|| {}))?;
        Ok(Self {
            supervisor,
            exposition,
        })
    }
}

/// Why the sensors of a bus are left alone, if they are.
fn refusal(bus: u8) -> Option<String> {
    let user = bus_lock::user_of(bus)?;
    // Another `watch` can't be watched.
    let instead = match user.parse::<Url>() {
        Ok(_) => format!("`ina260-exporter watch --url {user}` shows what it measures"),
        Err(_) => "end it first".to_owned(),
    };
    Some(format!(
        "bus {bus} is in use by {user}; two would take results from each other: {instead}"
    ))
}

impl Scrape for Sensors {
    fn name(&self) -> String {
        "measured here".to_owned()
    }

    fn scrape(&mut self) -> Result<String, String> {
        self.exposition.tick(Instant::now());
        Ok(self.exposition.render())
    }

    fn needs_shutdown(&self) -> bool {
        true
    }
}

impl Drop for Sensors {
    fn drop(&mut self) {
        // A bus that does not come back is the kernel's from now on.
        let _ = self.supervisor.stop(STOP_PATIENCE);
    }
}

/// A source that is asked once a second, until this is dropped.
pub(super) struct ScrapeLoop {
    stop: Option<Sender<Infallible>>,
    ended: Option<Receiver<Infallible>>,
}

impl ScrapeLoop {
    /// Starts its thread; `hear` gets every scrape and tells whether more are wanted.
    pub(super) fn start(
        mut source: Box<dyn Scrape>,
        mut hear: impl FnMut(Result<String, String>) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<Infallible>();
        let (end, ended) = mpsc::channel::<Infallible>();
        let needs_shutdown = source.needs_shutdown();
        thread::Builder::new()
            .name("scrape".to_owned())
            .spawn(move || {
                let mut next = Instant::now();
                while hear(source.scrape()) {
                    next = (next + PERIOD).max(Instant::now());
                    let wait = next.saturating_duration_since(Instant::now());
                    if stopped.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
                        break;
                    }
                }
                drop(source);
                drop(end);
            })?;
        Ok(Self {
            stop: Some(stop),
            ended: needs_shutdown.then_some(ended),
        })
    }
}

impl Drop for ScrapeLoop {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(ended) = self.ended.take() {
            // Beyond the patience of its end, so that this is not the one to give up first.
            let _ = ended.recv_timeout(2 * STOP_PATIENCE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct RegisterDump(Sender<&'static str>);

    impl Scrape for RegisterDump {
        fn name(&self) -> String {
            String::new()
        }

        fn scrape(&mut self) -> Result<String, String> {
            Ok("a 1\n".to_owned())
        }

        fn needs_shutdown(&self) -> bool {
            true
        }
    }

    impl Drop for RegisterDump {
        fn drop(&mut self) {
            self.0.send("put down").unwrap();
        }
    }

    #[test]
    fn what_is_in_hand_is_put_down_before_the_feed_is_gone() {
        let (put_down, seen) = mpsc::channel();
        let (sender, heard) = mpsc::channel();
        let hear = move |scrape| sender.send(scrape).is_ok();
        let feed = ScrapeLoop::start(Box::new(RegisterDump(put_down)), hear).unwrap();
        assert_eq!(heard.recv().unwrap().unwrap(), "a 1\n");
        drop(feed);
        assert_eq!(seen.try_recv(), Ok("put down"));
    }
}
