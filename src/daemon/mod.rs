//! The daemon: start-up, reload and shutdown.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tracing::{error, info, warn};

use crate::config::{self, DEFAULT_FILE, LogLevel, Overrides, Plan};
use crate::exposition::{Prepared, Server};
use crate::logging::Logging;
use crate::signals::{Event, Signals};
use crate::state::{RestoreError, Store};
use crate::supervisor::{BusProvider, NothingToMeasure, Supervisor};

mod args;
mod main_loop;
mod notify;

pub use args::DaemonArgs;
use main_loop::MainLoop;
use notify::Notifier;

/// Time for the bus threads to end: a working bus takes microseconds, a stuck one the adapter's
/// timeout of about a second.
const STOP_TIMEOUT: Duration = Duration::from_millis(1_500);

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
    let signals = Signals::catch_reload();
    let overrides = args.overrides();
    let logging = Logging::start(LogLevel::Info);
    let plan = load(&overrides)?;
    logging.set_level(plan.log);
    let signals = signals.map_err(failed("cannot install signal handlers"))?;
    let is_simulated = plan.simulate.is_some();
    if is_simulated {
        warn!("simulated sensors: served values are not real measurements");
    }

    // Until they are caught, SIGTERM, SIGINT and SIGQUIT end the process at once, even in a
    // transfer that hangs. A SIGHUP causes a reload once the main loop runs.
    let mut supervisor = open_buses(plan).map_err(|NothingToMeasure(messages)| {
        for message in messages {
            error!("{message}");
        }
        Failure::NothingToMeasure
    })?;
    let sender = signals.sender.clone();
    let events = signals.catch_stop().map_err(failed("cannot install signal handlers"))?;

    // Scrapes wait in the bound socket until counters are restored.
    let listener = Server::bind(supervisor.plan().server.clone()).map_err(log)?;
    let store = if is_simulated { None } else { open_store() };
    let is_stale = restore_counters(&supervisor, store.as_ref())?;
    // Only this process has the counters now: they are saved, whatever fails.
    let stale = store.as_ref().filter(|_| is_stale);
    let reload = |supervisor: &mut Supervisor, server: &mut Server| {
        reload(supervisor, server, &overrides, &logging);
    };
    let outcome = serve(&mut supervisor, listener, sender, &events, stale, &reload);
    stop(supervisor, store.as_ref());
    // While messages are still written, a second signal must not end the process.
    drop(logging);
    drop(events);
    outcome
}

/// Measures and serves until a signal asks the daemon to stop.
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

/// Loads the configuration, and logs its problems if it is invalid.
fn load(overrides: &Overrides) -> Result<Plan, Failure> {
    let loaded = config::load(overrides, config::environment()).map_err(|problems| {
        problems.messages().for_each(|problem| error!("{problem}"));
        if problems.is_temporary { Failure::Other } else { Failure::Configuration }
    });
    Ok(loaded?.plan)
}

/// Opens the buses and probes the sensors.
fn open_buses(plan: Plan) -> Result<Supervisor, NothingToMeasure> {
    let provider = BusProvider::new(plan.simulate.as_ref());
    let url = plan.server.listen.url();
    let supervisor = Supervisor::open(plan, provider, url)?;
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

/// Returns the state directory, unless there is none or another instance uses it.
fn open_store() -> Option<Store> {
    let store = Store::from_environment();
    store.inspect_err(|in_use| warn!("{in_use}; counters are not kept across a restart")).ok()?
}

/// Restores saved counters, if there are any. Returns whether a file is left that has to be
/// removed.
///
/// # Errors
/// [`Failure::Other`] for a lack of resources: a later start can restore them.
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
    if !supervisor.stop(STOP_TIMEOUT) {
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
fn reload(
    supervisor: &mut Supervisor,
    server: &mut Server,
    overrides: &Overrides,
    logging: &Logging,
) {
    let is_changed = change(supervisor, server, overrides).is_ok();
    if is_changed {
        logging.set_level(supervisor.plan().log);
        info!("configuration reloaded: {}", count_sensors(supervisor));
    } else {
        error!("reload failed; keeping the running configuration");
    }
    server.record_reload(is_changed);
}

/// Changes to the configuration as it is now. If that fails, nothing changes.
fn change(
    supervisor: &mut Supervisor,
    server: &mut Server,
    overrides: &Overrides,
) -> Result<(), Failure> {
    let plan = load(&with_file(overrides, supervisor.plan()))?;
    let listener = server.prepare(plan.server.clone()).map_err(log)?;
    let changed = supervisor.change(plan);
    // Both may have taken seconds.
    server.tick(Instant::now());
    changed.map_err(log)?;
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

#[cfg(test)]
mod tests;
