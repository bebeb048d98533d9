//! The main loop: series, watchdog, status, summaries, events. All of it in one thread, which wakes
//! once a second.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tracing::info;

use super::notify::Notifier;
use crate::exposition::Server;
use crate::signals::Event;
use crate::state::{RestoreError, Store};
use crate::supervisor::Supervisor;

/// Time between two passes. If a pass is late by more, the later ones are timed from it.
const PERIOD: Duration = Duration::from_secs(1);

/// Time between two attempts to remove stale saved counters.
const REMOVAL_PERIOD: Duration = Duration::from_secs(60);

/// Everything the main loop acts on.
pub(super) struct MainLoop<'a> {
    pub(super) supervisor: &'a mut Supervisor,
    pub(super) server: &'a mut Server,
    pub(super) notifier: &'a mut Notifier,
    /// The store whose file could not be removed at start-up.
    pub(super) stale: Option<&'a Store>,
    /// Called on SIGHUP.
    pub(super) reload: &'a dyn Fn(&mut Supervisor, &mut Server),
}

impl MainLoop<'_> {
    /// Runs until a signal asks the daemon to stop.
    pub(super) fn run(&mut self, events: &Receiver<Event>) {
        let mut last_summary = Instant::now();
        let mut next_removal = last_summary;
        let mut next = last_summary;
        loop {
            let now = Instant::now();
            if now >= next {
                next = (next + PERIOD).max(now);
            }
            if self.supervisor.is_alive(now) {
                self.notifier.alive(now);
            }
            self.server.tick(now);
            self.notifier.status(|| status(self.supervisor, now), now);
            let elapsed = now.duration_since(last_summary);
            let period = self.supervisor.plan().summary;
            if period.is_some_and(|period| elapsed >= period) {
                self.log_summary(elapsed);
                last_summary = now;
            }
            if now >= next_removal {
                next_removal = now + REMOVAL_PERIOD;
                self.remove_stale();
            }
            let wait = next.saturating_duration_since(Instant::now());
            let event = match events.recv_timeout(wait.min(self.notifier.max_interval())) {
                Ok(event) => Some(event),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // All queued signals cause one reload: neither the watchdog nor a stop waits for many.
            // The next pass shows a change of a sensor.
            let waiting: Vec<Event> = event.into_iter().chain(events.try_iter()).collect();
            if waiting.contains(&Event::Stop) {
                return;
            }
            if waiting.contains(&Event::Reload) {
                (self.reload)(self.supervisor, self.server);
            }
        }
    }

    /// Tries again to remove saved counters that were not restored: after a crash, the next start
    /// would restore them although newer values were served.
    fn remove_stale(&mut self) {
        if let Some(store) = self.stale
            && let Ok(_) | Err(RestoreError::Foreign(_)) = store.load_and_remove()
        {
            info!("removed the stale saved counters");
            self.stale = None;
        }
    }

    /// Logs the means since the last summary, a few sensors per line.
    fn log_summary(&self, elapsed: Duration) {
        const SENSORS_PER_LINE: usize = 16;
        let means = self.supervisor.sensors().filter_map(|(sensor, meter)| {
            let (means, results) = meter.lock().take_means()?;
            Some(format!("{}: {means} (results: {results})", sensor.device))
        });
        for means in means.collect::<Vec<_>>().chunks(SENSORS_PER_LINE) {
            info!("means over {} s: {}", elapsed.as_secs(), means.join("; "));
        }
    }
}

/// Returns the latest result of each sensor, on one line, which says so if they are simulated.
fn status(supervisor: &Supervisor, now: Instant) -> String {
    let sensors = supervisor.sensors().map(|(sensor, meter)| {
        let device = &sensor.device;
        match meter.lock().live(now) {
            Some(reading) => format!("{device}: {}", reading.measured),
            None => format!("{device}: no result"),
        }
    });
    let prefix = if supervisor.plan().simulate.is_some() { "simulated: " } else { "" };
    format!("{prefix}{}", sensors.collect::<Vec<_>>().join("; "))
}
