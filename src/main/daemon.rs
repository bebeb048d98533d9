//! The daemon: start-up in its order, and what is done at a reload and at the end.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime};

use ina260_exporter::config::{self, Flags, Loaded, LogLevel, Plan, Problems};
use ina260_exporter::exposition::{self, Exposition, Listener, Serving, Ticker};
use ina260_exporter::logging::Logging;
use ina260_exporter::meter::SharedMeter;
use ina260_exporter::sampler::OnChange;
use ina260_exporter::service::{self, Daemon, End, Event, Notifier, Pulse, Store, Untaken};
use ina260_exporter::simulated::faults;
use ina260_exporter::station::{NothingToMeasure, Source, Station};
use tracing::{error, info, warn};

use crate::{CONFIG, FAILURE, UNAVAILABLE, USAGE};

/// A working bus lets its thread go at once, a stuck one after the adapter's timeout of about a second.
const STOP_PATIENCE: Duration = Duration::from_millis(1_500);

/// Checks the configuration, or runs until somebody asks to end.
pub(super) fn run(flags: Flags) -> ExitCode {
    let faults = match faults::parse(flags.simulate.as_deref().unwrap_or_default()) {
        Ok(faults) => faults,
        Err(message) => {
            // Standard error is all that is left to say it on.
            let _ = writeln!(io::stderr(), "--simulate: {message}");
            return ExitCode::from(USAGE);
        }
    };
    let loaded = config::load(&flags, config::environment());
    if flags.check_config {
        return check_config(&flags, loaded);
    }
    match loaded {
        Ok(loaded) => {
            let logging = Logging::start(loaded.plan.log);
            start(flags, loaded.plan, faults, logging)
        }
        Err(problems) => {
            let _logging = Logging::start(LogLevel::Info);
            log_problems(&problems);
            ExitCode::from(CONFIG)
        }
    }
}

fn check_config(flags: &Flags, loaded: Result<Loaded, Problems>) -> ExitCode {
    let (written, code) = match loaded {
        Ok(_) if flags.quiet => (Ok(()), ExitCode::SUCCESS),
        Ok(loaded) => (
            write!(io::stdout(), "{}", loaded.effective),
            ExitCode::SUCCESS,
        ),
        Err(problems) => (writeln!(io::stderr(), "{problems}"), ExitCode::from(CONFIG)),
    };
    // A reader that had enough is no failure of ours; a full disk is.
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            // Standard error is all that is left to say it on.
            let _ = writeln!(io::stderr(), "cannot write: {error}");
            ExitCode::from(FAILURE)
        }
        _ => code,
    }
}

/// Buses, sensors, signals, socket, threads; then ready.
fn start(flags: Flags, plan: Plan, faults: Vec<faults::Injected>, logging: Logging) -> ExitCode {
    let source = source(&plan, faults);
    let mut station = match Station::open(&plan, source) {
        Ok(station) => station,
        Err(nothing) => return nothing_to_measure(&nothing),
    };
    if !plan.wait_for_sensor
        && let Err(nothing) = station.survey()
    {
        return nothing_to_measure(&nothing);
    }
    // Not before: until here a signal ends it at once, even in a transfer that hangs.
    let events = match service::events() {
        Ok(events) => events,
        Err(error) => return failed(&format!("cannot catch signals: {error}")),
    };
    let (listener, recorder) = match Listener::bind(
        &plan.listen,
        plan.socket_mode,
        &plan.allowed_peers(),
        &plan.buckets,
    ) {
        Ok(bound) => bound,
        Err(message) => return failed(&message),
    };
    // Bound, the listener lets scrapes wait; none sees counts before they go on from the last.
    let store = if plan.simulate.is_some() {
        None
    } else {
        Store::from_environment()
    };
    let mut leftover = None;
    match store.as_ref().map_or(Ok(Vec::new()), Store::take) {
        Ok(entries) => station.carry_over(&entries),
        Err(untaken) => {
            warn!("the totals of the last run are not taken over: {untaken}; counting from 0");
            if let Untaken::Io(_) = untaken {
                leftover = store.as_ref();
            }
        }
    }
    let mut exposition = Exposition::new(recorder, SystemTime::now());
    exposition.show(station.views(&plan), Instant::now());
    match Exporter::start(flags, plan, logging, station, exposition, listener) {
        Ok((mut exporter, pulse, serving)) => {
            let end = exporter.run(&events, &pulse, leftover);
            // As long as the socket answers, nobody else takes its place; once it is closed, it may be another's.
            exposition::remove_socket(&exporter.plan.listen);
            serving.stop();
            exporter.stop(store.as_ref());
            end
        }
        Err(error) => failed(&format!("cannot start a thread: {error}")),
    }
}

fn source(plan: &Plan, faults: Vec<faults::Injected>) -> Source {
    if plan.simulate.is_none() {
        return Source::Linux {
            serves: Some(plan.listen.url()),
        };
    }
    warn!("the sensors are simulated: nothing of what is served is measured");
    Source::Simulated {
        faults,
        boards: BTreeMap::new(),
    }
}

fn nothing_to_measure(nothing: &NothingToMeasure) -> ExitCode {
    nothing.0.iter().for_each(|message| error!("{message}"));
    ExitCode::from(UNAVAILABLE)
}

fn failed(message: &str) -> ExitCode {
    error!("{message}");
    ExitCode::from(FAILURE)
}

fn log_problems(problems: &Problems) {
    problems.iter().for_each(|problem| error!("{problem}"));
}

/// Everything that runs.
struct Exporter {
    flags: Flags,
    plan: Plan,
    logging: Logging,
    station: Station,
    ticker: Ticker,
    on_change: OnChange,
}

impl Exporter {
    fn start(
        flags: Flags,
        plan: Plan,
        logging: Logging,
        mut station: Station,
        exposition: Exposition,
        listener: Listener,
    ) -> io::Result<(Self, Pulse, Serving)> {
        let ticker = Ticker::spawn(exposition)?;
        let changed = ticker.clone();
        let on_change: OnChange = Arc::new(move || changed.tick());
        station.start(&plan, &on_change)?;
        let serving = listener.serve()?;
        let listen = plan.listen.clone();
        let pulse = Pulse::start(move || exposition::ask(&listen, Pulse::PATIENCE))?;
        Ok((
            Self {
                flags,
                plan,
                logging,
                station,
                ticker,
                on_change,
            },
            pulse,
            serving,
        ))
    }

    fn run(
        &mut self,
        events: &Receiver<Event>,
        pulse: &Pulse,
        leftover: Option<&Store>,
    ) -> ExitCode {
        let mut notifier = Notifier::from_environment(self.plan.simulate.is_some());
        let sensors = self.plan.sensors.len();
        info!(
            "serving {sensors} sensor{} at {}",
            plural(sensors),
            self.plan.listen.url()
        );
        notifier.ready();
        let end = service::run(self, events, &mut notifier, pulse, leftover);
        notifier.stopping();
        match end {
            End::Asked => ExitCode::SUCCESS,
            End::Silent => ExitCode::from(FAILURE),
        }
    }

    fn stop(&mut self, store: Option<&Store>) {
        if !self.station.stop(STOP_PATIENCE) {
            warn!("a transfer does not come back; stopping without waiting for it");
        }
        if let Some(store) = store
            && let Err(error) = store.save(&self.station.totals())
        {
            error!("the totals can't be saved: {error}");
        }
        info!("stopped");
    }

    /// Changes to a new plan, all of it but what a running listener can't change.
    fn change(&mut self, mut plan: Plan) -> Result<(), String> {
        let fixed = self.plan.fixed_changes(&plan);
        if !fixed.is_empty() {
            warn!("changes of {} apply at the next restart", fixed.join(", "));
        }
        self.station.change(&plan, &self.on_change)?;
        self.logging.set_level(plan.log);
        self.ticker.show(self.station.views(&plan));
        plan.listen.clone_from(&self.plan.listen);
        plan.socket_mode = self.plan.socket_mode;
        plan.allow.clone_from(&self.plan.allow);
        plan.buckets.clone_from(&self.plan.buckets);
        self.plan = plan;
        Ok(())
    }
}

impl Daemon for Exporter {
    fn is_alive(&self, now: Instant) -> bool {
        self.station.is_alive(now)
    }

    fn sensors(&self) -> Vec<(&str, &SharedMeter)> {
        self.station.sensors()
    }

    fn summary(&self) -> Option<Duration> {
        self.plan.summary
    }

    fn reload(&mut self) {
        let loaded = config::load(&self.flags, config::environment());
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
            let sensors = self.plan.sensors.len();
            info!(
                "configuration reloaded: {sensors} sensor{}",
                plural(sensors)
            );
        } else {
            error!("configuration not reloaded; everything stays as it was");
        }
        self.ticker.reloaded(changed.is_ok(), SystemTime::now());
    }
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}
