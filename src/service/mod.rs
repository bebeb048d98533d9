//! The daemon towards systemd and its administrator: readiness, watchdog, status, signals, reload.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tracing::{error, info};

mod notify;
mod pulse;
mod signals;
mod totals;

pub use notify::Notifier;
pub use pulse::Pulse;
pub use signals::{Event, events};
pub use totals::{Entry, Store, Untaken};

use crate::meter::SharedMeter;

/// What the service needs of everything else.
pub trait Daemon {
    /// Whether every bus does what it promised.
    fn is_alive(&self, now: Instant) -> bool;
    /// Every sensor by the name of its device, with its meter.
    fn sensors(&self) -> Vec<(&str, &SharedMeter)>;
    /// How often means are logged.
    fn summary(&self) -> Option<Duration>;
    /// Reads the configuration again. Says itself how that went.
    fn reload(&mut self);
}

/// How the service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Somebody asked for it.
    Asked,
    /// The listener answers nobody.
    Silent,
}

/// From one look around to the next.
const PERIOD: Duration = Duration::from_secs(1);

/// From one attempt to remove old totals to the next.
const RETRY: Duration = Duration::from_secs(60);

/// Serves until somebody asks to stop, or nothing is served any more. A store is given if the start could not remove its file.
pub fn run(
    daemon: &mut impl Daemon,
    events: &Receiver<Event>,
    notifier: &mut Notifier,
    pulse: &Pulse,
    mut leftover: Option<&Store>,
) -> End {
    let mut summarised = Instant::now();
    let mut retry = summarised;
    loop {
        let now = Instant::now();
        if daemon.is_alive(now) {
            notifier.alive(now);
            if !pulse.beats(now) {
                let silence = Pulse::SILENCE;
                error!(
                    "the listener has not answered for {silence:?}; stopping, to be started anew"
                );
                return End::Silent;
            }
        }
        notifier.status(&status(&daemon.sensors(), now), now);
        if daemon
            .summary()
            .is_some_and(|period| now.duration_since(summarised) >= period)
        {
            log_means(&daemon.sensors(), now.duration_since(summarised));
            summarised = now;
        }
        if now >= retry
            && let Some(store) = leftover
        {
            retry = now + RETRY;
            // Too old to be used. As long as it is there, a kill makes the next start go back to it.
            if let Ok(_) | Err(Untaken::Foreign(_)) = store.take() {
                info!("the old totals are gone now; no later start goes back to them");
                leftover = None;
            }
        }
        match events.recv_timeout(PERIOD.min(notifier.patience())) {
            Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return End::Asked,
            Ok(Event::Reload) => daemon.reload(),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// The latest result of each sensor, in a line.
fn status(sensors: &[(&str, &SharedMeter)], now: Instant) -> String {
    let one = |(device, meter): &(&str, &SharedMeter)| match meter.lock().live(now) {
        Some(reading) => {
            format!(
                "{device}: {}, {}, {}",
                reading.voltage, reading.current, reading.power
            )
        }
        None => format!("{device}: no result"),
    };
    sensors.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn log_means(sensors: &[(&str, &SharedMeter)], period: Duration) {
    for (device, meter) in sensors {
        let sums = meter.lock().take_sums();
        if let Some((voltage, current, power)) = sums.means() {
            let (results, seconds) = (sums.results, period.as_secs());
            info!(
                "sensor {device}: {voltage}, {current}, {power}: means of {results} results in {seconds} s"
            );
        }
    }
}
