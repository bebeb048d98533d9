//! The daemon: start-up in its order, and shutdown.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::{error, info, warn};

use crate::config::{self, Loaded, LogLevel, Problems};
use crate::exposition::{self, Exposition, Listener, Ticker};
use crate::logging::Logging;
use crate::signals;
use crate::state::{RestoreError, Store};
use crate::supervisor::{BusProvider, NothingToMeasure, Supervisor};

mod args;
mod health;
mod main_loop;
mod notify;

pub use args::DaemonArgs;
use health::HealthCheck;
use main_loop::{End, MainLoop};
use notify::Notifier;

/// Time for the bus threads to end: a working bus takes microseconds, a stuck one the adapter's timeout of about a second.
const STOP_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Reason why the daemon ended, other than by a signal. The log has the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The configuration is invalid.
    Configuration,
    /// No sensor responds, or no bus can be opened.
    NothingToMeasure,
    /// Anything else.
    Other,
}

impl From<NothingToMeasure> for Failure {
    fn from(nothing: NothingToMeasure) -> Self {
        nothing.0.iter().for_each(|message| error!("{message}"));
        Self::NothingToMeasure
    }
}

/// Runs until a signal asks to stop.
///
/// # Errors
/// [`Failure`], after its messages were logged.
pub fn run(args: &DaemonArgs) -> Result<(), Failure> {
    let overrides = args.overrides();
    let (Loaded { plan, .. }, logging) = match config::load(&overrides, config::environment()) {
        Ok(loaded) => {
            let logging = Logging::start(loaded.plan.log);
            (loaded, logging)
        }
        Err(problems) => {
            let _logging = Logging::start(LogLevel::Info);
            log_problems(&problems);
            return Err(Failure::Configuration);
        }
    };

    // Buses and sensors. A signal ends the process at once until here, even in a transfer that hangs.
    let provider = BusProvider::new(plan.simulate.as_ref());
    let is_simulated = provider.is_simulated();
    if is_simulated {
        warn!("simulated sensors: served values are not real measurements");
    }
    let wait_for_sensor = plan.wait_for_sensor;
    let url = plan.listen.url();
    let mut supervisor = Supervisor::open(plan, provider, url.clone())?;
    if !wait_for_sensor {
        supervisor.probe_at_startup()?;
    }

    let events = signals::events().map_err(|error| failed("cannot catch signals", &error))?;
    let plan = supervisor.plan();
    let (listener, recorder) = Listener::bind(
        &plan.listen,
        plan.socket_mode,
        &plan.allowed_peers(),
        &plan.buckets,
    )
    .map_err(|message| {
        error!("{message}");
        Failure::Other
    })?;

    // Scrapes wait in the bound socket meanwhile: none sees counters before they continue from the saved ones.
    let store = if is_simulated {
        None
    } else {
        Store::from_environment()
    };
    let stale = restore_counters(&supervisor, store.as_ref());

    let mut exposition = Exposition::new(recorder, SystemTime::now());
    exposition.show(supervisor.views(), Instant::now());
    let no_thread = |error| failed("cannot start a thread", &error);
    let ticker = Ticker::spawn(exposition).map_err(no_thread)?;
    let changed = ticker.clone();
    supervisor
        .start(Arc::new(move || changed.tick()))
        .map_err(no_thread)?;
    let serving = listener.serve().map_err(no_thread)?;
    let listen = supervisor.plan().listen.clone();
    let health = HealthCheck::start(move || exposition::ask(&listen, HealthCheck::TIMEOUT))
        .map_err(no_thread)?;

    let sensors = supervisor.plan().sensors.len();
    info!("serving {sensors} sensor{} at {url}", plural(sensors));
    let mut notifier = Notifier::from_environment(is_simulated);
    notifier.ready();
    let end = MainLoop {
        overrides: &overrides,
        logging: &logging,
        supervisor: &mut supervisor,
        ticker: &ticker,
        health: &health,
        notifier: &mut notifier,
        stale: stale.then_some(store.as_ref()).flatten(),
    }
    .run(&events);
    notifier.stopping();

    // While the socket responds, no other process replaces it; once it is closed, it may be another's.
    exposition::remove_socket(&supervisor.plan().listen);
    serving.stop();
    stop(supervisor, store.as_ref());
    match end {
        End::Requested => Ok(()),
        End::ListenerFailed => Err(Failure::Other),
    }
}

/// Restores saved counters, if there are any. Returns whether a file remains that must be removed later.
fn restore_counters(supervisor: &Supervisor, store: Option<&Store>) -> bool {
    match store.map_or(Ok(Vec::new()), Store::load_and_remove) {
        Ok(saved) => supervisor.restore_counters(&saved),
        Err(error) => {
            warn!("cannot restore saved counters: {error}; starting from 0");
            return matches!(error, RestoreError::Io(_));
        }
    }
    false
}

/// Stops the bus threads, then saves the counters.
fn stop(mut supervisor: Supervisor, store: Option<&Store>) {
    if !supervisor.stop(STOP_TIMEOUT) {
        warn!("an I2C transfer is still blocked; exiting without waiting for it");
    }
    if let Some(store) = store
        && let Err(error) = store.save(&supervisor.export_counters())
    {
        error!("cannot save counters: {error}");
    }
    info!("stopped");
}

fn failed(what: &str, error: &std::io::Error) -> Failure {
    error!("{what}: {error}");
    Failure::Other
}

fn log_problems(problems: &Problems) {
    problems.iter().for_each(|problem| error!("{problem}"));
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}
