//! The main loop of the daemon: watchdog, status, summaries, events.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use tracing::{error, info, warn};

use super::health::HealthCheck;
use super::notify::Notifier;
use super::{log_problems, plural};
use crate::config::{self, Overrides, Plan, SensorPlan};
use crate::exposition::Ticker;
use crate::logging::Logging;
use crate::meter::SharedMeter;
use crate::signals::Event;
use crate::state::{RestoreError, Store};
use crate::supervisor::Supervisor;

/// Time between two passes of the main loop.
const PERIOD: Duration = Duration::from_secs(1);

/// Time between two attempts to remove a stale state file.
const RETRY: Duration = Duration::from_secs(60);

/// Reason why the main loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A signal asked for it.
    Requested,
    /// The listener does not respond.
    ListenerFailed,
}

/// Everything the main loop acts on.
pub(super) struct MainLoop<'a> {
    pub(super) overrides: &'a Overrides,
    pub(super) logging: &'a Logging,
    pub(super) supervisor: &'a mut Supervisor,
    pub(super) ticker: &'a Ticker,
    pub(super) health: &'a HealthCheck,
    pub(super) notifier: &'a mut Notifier,
    /// The store whose file could not be removed at start-up.
    pub(super) stale: Option<&'a Store>,
}

impl MainLoop<'_> {
    /// Runs until a signal asks to stop, or the listener does not respond.
    pub(super) fn run(&mut self, events: &Receiver<Event>) -> End {
        let mut summarised = Instant::now();
        let mut retry = summarised;
        loop {
            let now = Instant::now();
            if self.supervisor.is_alive(now) {
                self.notifier.alive(now);
                if !self.health.is_healthy(now) {
                    let silence = HealthCheck::SILENCE;
                    error!(
                        "the listener has not responded for {silence:?}; exiting, to be restarted"
                    );
                    return End::ListenerFailed;
                }
            }
            self.notifier
                .status(&status(self.supervisor.sensors(), now), now);
            let elapsed = now.duration_since(summarised);
            if self
                .supervisor
                .plan()
                .summary
                .is_some_and(|period| elapsed >= period)
            {
                log_means(self.supervisor.sensors(), elapsed);
                summarised = now;
            }
            if now >= retry {
                retry = now + RETRY;
                self.remove_stale();
            }
            match events.recv_timeout(PERIOD.min(self.notifier.max_interval())) {
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return End::Requested,
                Ok(Event::Reload) => self.reload(),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Removes counters that are too old to be used: while the file exists, a kill makes the next start continue from it.
    fn remove_stale(&mut self) {
        if let Some(store) = self.stale
            && let Ok(_) | Err(RestoreError::Foreign(_)) = store.load_and_remove()
        {
            info!("removed the stale saved counters");
            self.stale = None;
        }
    }

    fn reload(&mut self) {
        let loaded = config::load(self.overrides, config::environment());
        let changed = match loaded {
            Ok(loaded) => self
                .change(loaded.plan)
                .inspect_err(|message| error!("{message}")),
            Err(problems) => {
                log_problems(&problems);
                Err(String::new())
            }
        };
        if changed.is_ok() {
            let sensors = self.supervisor.plan().sensors.len();
            info!(
                "configuration reloaded: {sensors} sensor{}",
                plural(sensors)
            );
        } else {
            error!("reload failed; keeping the running configuration");
        }
        self.ticker.reloaded(changed.is_ok(), SystemTime::now());
    }

    /// Changes to a new plan, except for what a running listener cannot change.
    fn change(&mut self, mut plan: Plan) -> Result<(), String> {
        let running = self.supervisor.plan();
        let fixed = plan.keep_fixed(running);
        self.supervisor.change(plan)?;
        if !fixed.is_empty() {
            warn!("changes of {} apply at the next restart", fixed.join(", "));
        }
        self.logging.set_level(self.supervisor.plan().log);
        self.ticker.show(self.supervisor.views());
        Ok(())
    }
}

/// Returns the latest result of each sensor, on one line.
fn status<'a>(
    sensors: impl Iterator<Item = (&'a SensorPlan, &'a SharedMeter)>,
    now: Instant,
) -> String {
    let one = |(sensor, meter): (&SensorPlan, &SharedMeter)| {
        let device = &sensor.device;
        match meter.lock().live(now) {
            Some(reading) => format!("{device}: {}", reading.measured),
            None => format!("{device}: no result"),
        }
    };
    sensors.map(one).collect::<Vec<_>>().join("; ")
}

fn log_means<'a>(
    sensors: impl Iterator<Item = (&'a SensorPlan, &'a SharedMeter)>,
    period: Duration,
) {
    for (sensor, meter) in sensors {
        let sums = meter.lock().take_sums();
        if let Some(means) = sums.means() {
            let (device, results, seconds) = (&sensor.device, sums.results, period.as_secs());
            info!("sensor {device}: {means}: means of {results} results in {seconds} s");
        }
    }
}
