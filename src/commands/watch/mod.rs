//! `watch`: a live view of sensors in the terminal.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::KeyEvent;

use super::Failure;
use super::shared_args::{self, ConfigArgs, LocationArgs};
use crate::clock::SystemClock;
use crate::config::Plan;
use crate::exposition::{self, Exposition};
use crate::i2c::BusName;
use crate::scrape::{self, Body, Scrape, Url};
use crate::signals::{self, SIGCONT, Signal};
use crate::supervisor::{BusProvider, NothingToMeasure, Supervisor, bus_lock};

mod charts;
mod model;
mod numbers;
mod screen;
mod terminal;
mod view;

use model::Model;
use screen::Screen;

#[expect(missing_docs, reason = "clap would print it as the program's")]
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "\
Examples:
  ina260-exporter watch                     the service on this machine
  ina260-exporter watch --url pi4 --url pi5:9000 --price 0.35
                                            two hosts, with the cost of their energy
  ina260-exporter watch --address 0x41      the sensor on bus 1 at address 0x41, without the service
  ina260-exporter watch --simulate          a simulated sensor, without hardware")]
pub struct WatchArgs {
    /// Exporter to watch: http://HOST:PORT/metrics, HOST[:PORT] or unix:/PATH; may be repeated
    /// [default: the configured listen address of this machine]
    #[expect(rustdoc::broken_intra_doc_links, reason = "help text, not Markdown")]
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = ["direct", "simulate", "bus", "address", "mux", "config"]
    )]
    pub url: Vec<Url>,

    /// Price per kilowatt-hour; adds the cost of the energy
    #[arg(long, value_parser = price)]
    pub price: Option<f64>,

    /// Read the configured sensors directly instead of through the service; their buses must not
    /// be in use
    #[arg(long)]
    pub direct: bool,

    #[command(flatten)]
    pub location: Option<LocationArgs>,

    #[command(flatten)]
    pub config: ConfigArgs,
}

fn price(text: &str) -> Result<f64, &'static str> {
    let price = text.parse().ok().filter(|price: &f64| price.is_finite() && *price >= 0.0);
    price.ok_or("expected a number of at least 0, e.g. 0.35")
}

const SCRAPE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two scrapes; an exporter updates its metrics once a second.
const SCRAPE_PERIOD: Duration = Duration::from_secs(1);
/// Minimum time between two frames that scrapes cause.
const MIN_FRAME_INTERVAL: Duration = Duration::from_millis(250);
/// Maximum time between two frames: the time for which a host has been failing is shown in seconds.
const MAX_FRAME_INTERVAL: Duration = Duration::from_secs(1);
/// Time from a key to the next frame, for all keys that are pressed or pasted meanwhile.
const KEY_DELAY: Duration = Duration::from_millis(15);
/// Time for the display to restore the terminal after a signal.
const DISPLAY_GRACE: Duration = Duration::from_millis(80);
/// The same for a terminal that still accepts output.
const SLOW_DISPLAY_GRACE: Duration = Duration::from_secs(2);

/// Owner in the bus lock, in place of a daemon's URL.
const COMMAND: &str = "ina260-exporter watch";

/// A source of scrapes: an exporter, or sensors that this process measures itself.
pub struct ScrapeSource {
    /// The name to display.
    pub name: String,
    /// Returns the current metrics in the text format.
    pub scrape: Box<dyn FnMut() -> Result<Body, scrape::Error> + Send>,
}

impl From<Url> for ScrapeSource {
    fn from(url: Url) -> Self {
        Self { name: url.authority().to_owned(), scrape: Box::new(move || url.get(SCRAPE_TIMEOUT)) }
    }
}

/// A message to the display.
enum Message {
    /// A key; `None`: the size has changed.
    Input(io::Result<Option<KeyEvent>>),
    /// The outcome of a scrape of the host with that index.
    Scraped(usize, Result<Scrape, scrape::Error>),
    /// The process was stopped; a shell has used the terminal since then.
    Continued,
    End,
}

/// Shows the sources that the arguments name, until the user quits or a signal arrives. Signals are
/// caught once the buses are open: before, a signal ends the process even in a transfer that
/// hangs.
///
/// # Errors
/// [`Failure::Usage`] without a terminal, [`Failure::Configuration`], [`Failure::Nothing`] if there
/// is nothing to measure, [`Failure::Partly`] if the terminal fails.
pub fn run(args: &WatchArgs) -> Result<(), Failure> {
    terminal::check().map_err(Failure::Usage)?;
    if !args.url.is_empty() {
        let sources = args.url.iter().cloned().map(ScrapeSource::from);
        return watch(sources.collect(), args.price);
    }
    let plan = shared_args::plan(args.location.as_ref(), &args.config)?;
    if !args.direct && args.config.simulate.is_none() && args.location.is_none() {
        return watch(vec![Url::from(&plan.server.listen).into()], args.price);
    }
    let (source, mut supervisor) = measure(plan)?;
    let shown = watch(vec![source], args.price);
    // A thread that is blocked in a transfer ends with the process.
    let _ = supervisor.stop();
    shown
}

/// Opens the buses of a plan, probes the sensors and starts to measure.
fn measure(plan: Plan) -> Result<(ScrapeSource, Supervisor), Failure> {
    let provider = BusProvider::new(plan.simulate.as_ref());
    let mut buses = plan.sensors.iter().map(|sensor| sensor.location.bus);
    if !provider.is_simulated()
        && let Some(message) = buses.find_map(in_use)
    {
        return Err(Failure::Nothing(vec![message]));
    }
    let recorder = exposition::recorder(&plan.server.buckets);
    let nothing = |NothingToMeasure(messages)| Failure::Nothing(messages);
    let mut supervisor = Supervisor::open(plan, provider, Some(COMMAND)).map_err(nothing)?;
    supervisor.probe_at_startup().map_err(nothing)?;
    let mut exposition = Exposition::new(recorder, Arc::new(SystemClock));
    exposition.show(supervisor.views());
    supervisor.start(Arc::new(|| {})).map_err(Failure::of("cannot start a thread"))?;
    let scrape = move || {
        exposition.tick(Instant::now());
        Ok(exposition.render().into())
    };
    Ok((ScrapeSource { name: "local".to_owned(), scrape: Box::new(scrape) }, supervisor))
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

/// Shows these sources until the user quits or a signal other than SIGCONT arrives.
///
/// # Errors
/// [`Failure::Partly`] if the terminal fails or a thread cannot be created.
pub fn watch(sources: Vec<ScrapeSource>, price: Option<f64>) -> Result<(), Failure> {
    let model = Model::new(sources.iter().map(|source| source.name.clone()));
    let caps = terminal::detect(|name| env::var(name).ok());
    let screen = Screen::new(model, caps, price);
    let (messages, received) = mpsc::channel();
    for (host, mut source) in sources.into_iter().enumerate() {
        let messages = messages.clone();
        let mut scrape = move || (source.scrape)().and_then(|body| scrape::decode(&body));
        spawn("scrape", move || {
            let mut next = Instant::now();
            while messages.send(Message::Scraped(host, scrape())).is_ok() {
                next = (next + SCRAPE_PERIOD).max(Instant::now());
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        })?;
    }
    let (display_ended, ended) = mpsc::channel();
    let (signalled, overdue) = (messages.clone(), display_ended.clone());
    let on_signal = move |signal: Signal| {
        if signal.number == SIGCONT {
            let _ = signalled.send(Message::Continued);
            return true;
        }
        let _ = signalled.send(Message::End);
        thread::sleep(DISPLAY_GRACE);
        // The terminal may just be slow.
        let begun = Instant::now();
        while terminal::takes_output() && begun.elapsed() < SLOW_DISPLAY_GRACE {
            thread::sleep(DISPLAY_GRACE);
        }
        let _ = overdue.send(None);
        true
    };
    signals::on_signals(signals::ending().chain([SIGCONT]), on_signal)
        .map_err(Failure::of("cannot install signal handlers"))?;
    // In a thread of its own: if the terminal accepts no output, nothing else is blocked.
    spawn("display", move || {
        let _ = display_ended.send(Some(display(screen, messages, &received)));
    })?;
    ended.recv().ok().flatten().unwrap_or_else(|| {
        terminal::restore_mode();
        Ok(())
    })
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
    thread.map(drop).map_err(Failure::of("cannot start a thread"))
}

/// Sets up the terminal, reads keys and draws, until a message ends it.
fn display(
    screen: Screen,
    messages: Sender<Message>,
    received: &Receiver<Message>,
) -> Result<(), Failure> {
    let no_terminal = Failure::of("cannot use the terminal");
    let terminal = terminal::open().map_err(&no_terminal)?;
    let keys = spawn("keys", move || {
        loop {
            let input = terminal::input();
            let is_last = input.is_err();
            if messages.send(Message::Input(input)).is_err() || is_last {
                return;
            }
        }
    });
    let shown = keys.and_then(|()| show(terminal, screen, received).map_err(no_terminal));
    terminal::restore();
    shown
}

fn show(
    mut terminal: DefaultTerminal,
    mut screen: Screen,
    messages: &Receiver<Message>,
) -> io::Result<()> {
    let mut due = Instant::now();
    loop {
        let now = Instant::now();
        if now >= due {
            terminal::draw(&mut terminal, |frame| view::draw(&screen, frame, now))?;
            due = now + MAX_FRAME_INTERVAL;
        }
        match messages.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(Message::Input(key)) => {
                if key?.is_some_and(|key| screen.press(key, Instant::now())) {
                    return Ok(());
                }
                due = due.min(now + KEY_DELAY);
            }
            Ok(Message::Scraped(host, scrape)) => {
                screen.model.on_scrape(host, scrape, Instant::now());
                due = due.min(now + MIN_FRAME_INTERVAL);
            }
            Ok(Message::Continued) => {
                terminal::set_up_again(&mut terminal)?;
                due = now;
            }
            Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_owner_is_not_taken_for_a_url() {
        assert!(COMMAND.parse::<Url>().is_err());
    }
}
