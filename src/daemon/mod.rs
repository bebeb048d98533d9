//! The daemon: start-up, main loop, reload and shutdown.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tracing::{error, info, warn};

use crate::config::{self, DEFAULT_FILE, LogLevel, Overrides, Plan};
use crate::exposition::{Prepared, Server};
use crate::logging::Logging;
use crate::signals::{self, Event};
use crate::state::{RestoreError, Store};
use crate::supervisor::{BusProvider, NothingToMeasure, Supervisor};

mod args;
mod notify;

pub use args::DaemonArgs;
use notify::Notifier;

/// Time between two passes. If a pass is late by more, the later ones are timed from it.
const PERIOD: Duration = Duration::from_secs(1);

/// Time between two attempts to remove stale saved counters.
const REMOVAL_PERIOD: Duration = Duration::from_secs(60);

/// Reason why the daemon ended without a signal; the messages have been logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The configuration is invalid.
    Configuration,
    /// No sensor responds, or no bus can be opened.
    NothingToMeasure,
    /// Anything else.
    Other,
}

/// Runs the daemon until a signal asks it to stop.
///
/// # Errors
/// [`Failure`], after its messages were logged.
pub fn run(args: &DaemonArgs) -> Result<(), Failure> {
    let (sender, events) = mpsc::channel();
    let handle = signals::catch_reload(sender.clone());
    let overrides = args.overrides();
    let logging = Logging::start(LogLevel::Info);
    let plan = load(&overrides)?;
    logging.set_level(plan.log);
    let handle = handle.map_err(failed("cannot install signal handlers"))?;
    let is_simulated = plan.simulate.is_some();
    if is_simulated {
        warn!("simulated sensors: served values are not real measurements");
    }

    // Until `catch_stop`, the other signals end the process at once, even in a transfer that hangs.
    let mut supervisor = open_buses(plan).map_err(|NothingToMeasure(messages)| {
        for message in messages {
            error!("{message}");
        }
        Failure::NothingToMeasure
    })?;
    signals::catch_stop(&handle).map_err(failed("cannot install signal handlers"))?;

    // Scrapes wait in the bound socket until counters are restored.
    let listener = Server::bind(supervisor.plan().server.clone()).map_err(log)?;
    let store = if is_simulated { Ok(None) } else { Store::from_environment() };
    let store = store.unwrap_or_else(|in_use| {
        warn!("{in_use}; counters are not kept across a restart");
        None
    });
    let is_stale = restore_counters(&supervisor, store.as_ref())?;
    // Only this process has the counters now: they are saved, whatever fails.
    let stale = store.as_ref().filter(|_| is_stale);
    let reload = |supervisor: &mut Supervisor, server: &mut Server| {
        let is_changed = change(supervisor, server, &overrides).is_ok();
        if is_changed {
            logging.set_level(supervisor.plan().log);
            info!("configuration reloaded: {}", count_sensors(supervisor));
        } else {
            error!("reload failed; keeping the running configuration");
        }
        server.record_reload(is_changed);
    };
    let outcome = serve(&mut supervisor, listener, sender, &events, stale, &reload);
    stop(supervisor, store.as_ref());
    // While messages are still written, a second signal must not end the process.
    drop(logging);
    drop(events);
    outcome
}

fn serve(
    supervisor: &mut Supervisor,
    listener: Prepared,
    sender: Sender<Event>,
    events: &Receiver<Event>,
    stale: Option<&Store>,
    reload: &dyn Fn(&mut Supervisor, &mut Server),
) -> Result<(), Failure> {
    let no_thread = failed::<io::Error>("cannot start a thread");
    // Without a receiver, the daemon is stopping.
    let on_change = Arc::new(move || _ = sender.send(Event::SensorChanged));
    supervisor.start(on_change).map_err(&no_thread)?;
    let mut server = Server::start(listener, supervisor.views()).map_err(&no_thread)?;
    if server.is_serving() {
        let (sensors, url) = (count_sensors(supervisor), supervisor.plan().server.listen.url());
        info!("serving {sensors} at {url}");
    }
    let mut notifier = Notifier::from_environment().map_err(failed("cannot create a socket"))?;
    notifier.send(&NotifyState::Ready);
    MainLoop { supervisor, server: &mut server, notifier: &mut notifier, stale, reload }
        .run(events);
    notifier.stopping();
    Ok(())
}

fn load(overrides: &Overrides) -> Result<Plan, Failure> {
    let loaded = config::load(overrides, config::environment()).map_err(|problems| {
        problems.messages().for_each(|problem| error!("{problem}"));
        if problems.is_temporary { Failure::Other } else { Failure::Configuration }
    });
    Ok(loaded?.plan)
}

fn open_buses(plan: Plan) -> Result<Supervisor, NothingToMeasure> {
    let provider = BusProvider::new(plan.simulate.as_ref());
    let supervisor = Supervisor::open(plan, provider, None)?;
    supervisor.probe_at_startup()?;
    Ok(supervisor)
}

fn log(error: impl Display) -> Failure {
    error!("{error}");
    Failure::Other
}

/// Returns a function that logs what failed, with the error.
fn failed<E: Display>(what: &str) -> impl Fn(E) -> Failure {
    move |error| {
        error!("{what}: {error}");
        Failure::Other
    }
}

/// Restores saved counters. Returns whether a file is left that has to be removed. Fails on a lack
/// of resources, so that a later start can restore them.
fn restore_counters(supervisor: &Supervisor, store: Option<&Store>) -> Result<bool, Failure> {
    match store.map_or(Ok(Vec::new()), Store::load_and_remove) {
        Ok(saved) => {
            supervisor.restore_counters(&saved);
            Ok(false)
        }
        Err(RestoreError::Io(error)) if config::is_lack_of_resources(&error) => {
            Err(failed("cannot read saved counters")(error))
        }
        Err(error) => {
            warn!("cannot restore saved counters: {error}; starting from 0");
            Ok(matches!(error, RestoreError::Io(_)))
        }
    }
}

/// Stops the bus threads, then saves the counters.
fn stop(mut supervisor: Supervisor, store: Option<&Store>) {
    if !supervisor.stop().is_empty() {
        warn!("an I2C transfer is still blocked; exiting without waiting for it");
    }
    if let Some(store) = store
        && let Err(error) = store.save(supervisor.export_counters())
    {
        error!("cannot save counters: {error}");
    }
    info!("stopped");
}

/// Loads the configuration again and applies it; if it is invalid, or an address or a bus cannot be
/// opened, the running configuration stays.
fn change(
    supervisor: &mut Supervisor,
    server: &mut Server,
    overrides: &Overrides,
) -> Result<(), Failure> {
    let plan = load(&with_file(overrides, supervisor.plan()))?;
    let listener = server.prepare(plan.server.clone()).map_err(log)?;
    supervisor.change(plan).map_err(log)?;
    server.apply(listener, supervisor.views());
    Ok(())
}

/// Makes the file required if there was one: without it, a reload would go back to the defaults.
fn with_file(overrides: &Overrides, running: &Plan) -> Overrides {
    let mut overrides = overrides.clone();
    if running.has_file {
        overrides.config.get_or_insert(DEFAULT_FILE.into());
    }
    overrides
}

fn count_sensors(supervisor: &Supervisor) -> String {
    match supervisor.plan().sensors.len() {
        1 => "1 sensor".to_owned(),
        n => format!("{n} sensors"),
    }
}

struct MainLoop<'a> {
    supervisor: &'a mut Supervisor,
    server: &'a mut Server,
    notifier: &'a mut Notifier,
    /// The store whose file could not be removed at start-up.
    stale: Option<&'a Store>,
    /// Called on SIGHUP.
    reload: &'a dyn Fn(&mut Supervisor, &mut Server),
}

impl MainLoop<'_> {
    fn run(&mut self, events: &Receiver<Event>) {
        let mut last_summary = Instant::now();
        let mut period_end = last_summary;
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
            if let Some(end) = summary_end(period_end, self.supervisor.plan().summary, now) {
                self.log_summary(now.duration_since(last_summary));
                (last_summary, period_end) = (now, end);
            }
            self.supervisor.renew_locks();
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
            info!("means over {:.0} s: {}", elapsed.as_secs_f64(), means.join("; "));
        }
    }
}

/// Returns the end of a summary period, if a summary is due. Passes are late by varying times: if
/// the next period began with a late pass, the pass at its end could come too early.
fn summary_end(last: Instant, period: Option<Duration>, now: Instant) -> Option<Instant> {
    let end = last + period?;
    (now >= end).then(|| if now < end + PERIOD { end } else { now })
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
    format!("{prefix}{}", join(&sensors.collect::<Vec<_>>()))
}

/// Joins as many texts as fit: systemd ignores notifications of more than 4,096 bytes.
fn join(texts: &[String]) -> String {
    const MAX_LENGTH: usize = 4_000;
    let mut length = 0;
    let fits = |text: &&String| {
        length += text.len() + "; ".len();
        length <= MAX_LENGTH
    };
    let shown = texts.iter().take_while(fits).count();
    let more = (shown < texts.len()).then(|| format!("and {} more", texts.len() - shown));
    texts[..shown].iter().cloned().chain(more).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
