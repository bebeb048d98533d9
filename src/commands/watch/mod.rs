//! `watch`: a live view of sensors in the terminal.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::Failure;
use super::shared_args::{ConfigArgs, LocationArgs};
use crate::config;
use crate::scrape::{self, Scrape, Url};
use crate::signals::Event;

mod details;
mod history;
mod model;
mod numbers;
mod screen;
mod sources;
mod terminal;
mod view;

use model::Model;
use screen::{Action, Screen};
pub use sources::ScrapeSource;
use sources::{LocalSensors, ScrapeLoop};
use terminal::Terminal;

// No doc comment on the struct: clap would print it as the program's.
#[expect(missing_docs, reason = "see above")]
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
    pub location: LocationArgs,

    #[command(flatten)]
    pub config: ConfigArgs,
}

impl WatchArgs {
    /// Returns whether sensors are read directly, not through an exporter.
    fn is_direct(&self) -> bool {
        self.direct || self.config.simulate.is_some() || self.location.is_named()
    }
}

fn price(text: &str) -> Result<f64, String> {
    let price = text.parse().ok().filter(|price: &f64| price.is_finite() && *price >= 0.0);
    price.ok_or_else(|| "expected a number of at least 0, e.g. 0.35".to_owned())
}

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

/// A message to the main loop.
enum Message {
    /// A key; `None`: the size has changed.
    Input(Option<Action>),
    /// The outcome of a scrape of the host with that index.
    Scraped(usize, Result<Scrape, scrape::Error>),
    End(io::Result<()>),
}

/// Shows the sources that the arguments name, until the user quits or a signal arrives. Signals are
/// caught by `events` once the buses are open: until then, one ends the process at once, even in a
/// transfer that hangs.
///
/// # Errors
/// [`Failure::Usage`] without a terminal, [`Failure::Configuration`],
/// [`Failure::Nothing`] if there is nothing to measure, [`Failure::Output`] of the terminal.
pub fn run(
    args: &WatchArgs,
    environment: impl IntoIterator<Item = (String, String)>,
    events: impl FnOnce() -> io::Result<Receiver<Event>>,
) -> Result<(), Failure> {
    terminal::check().map_err(Failure::Usage)?;
    let sources = sources(args, environment)?;
    watch(sources, args.price, events()?)
}

fn sources(
    args: &WatchArgs,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Vec<Box<dyn ScrapeSource>>, Failure> {
    if !args.url.is_empty() {
        return Ok(args.url.iter().map(|url| Box::new(url.clone()) as _).collect());
    }
    let overrides = args.location.add_to(args.config.overrides());
    let plan = config::load(&overrides, environment)?.plan;
    if args.is_direct() {
        return Ok(vec![Box::new(LocalSensors::open(plan)?)]);
    }
    Ok(vec![Box::new(Url::from(&plan.listen))])
}

/// Shows these sources, until the user quits or an event arrives.
///
/// # Errors
/// [`Failure::Output`] of the terminal.
pub fn watch(
    sources: Vec<Box<dyn ScrapeSource>>,
    price: Option<f64>,
    events: Receiver<Event>,
) -> Result<(), Failure> {
    let names = sources.iter().map(|source| source.name());
    let model = Model::new(names, Instant::now());
    let screen = Screen::new(model, terminal::detect(), price);
    let (messages, received) = mpsc::channel();
    let mut loops = Vec::new();
    for (host, source) in sources.into_iter().enumerate() {
        let messages = messages.clone();
        loops.push(ScrapeLoop::start(source, move |scrape| {
            let scrape = scrape.and_then(|body| scrape::decode(&body));
            messages.send(Message::Scraped(host, scrape)).is_ok()
        })?);
    }
    let (display_ended, ended) = mpsc::channel();
    let (signalled, overdue) = (messages.clone(), display_ended.clone());
    spawn("signals", move || {
        // Any event ends it: a terminal that is closed sends SIGHUP, which is a reload elsewhere.
        if events.recv().is_ok() {
            end(&signalled, Ok(()));
            thread::sleep(DISPLAY_GRACE);
            // The terminal may just be slow.
            let begun = Instant::now();
            while terminal::takes_output() && begun.elapsed() < SLOW_DISPLAY_GRACE {
                thread::sleep(DISPLAY_GRACE);
            }
            let _ = overdue.send(None);
        }
    })?;
    // In a thread of its own: if the terminal accepts no output, nothing else is blocked.
    spawn("display", move || {
        let _ = display_ended.send(Some(display(screen, messages, &received)));
    })?;
    // The terminal is restored before the sensors are stopped, which may take a moment.
    let shown = ended.recv().ok().flatten().unwrap_or_else(|| {
        terminal::restore_mode();
        Ok(())
    });
    drop(loops);
    Ok(shown?)
}

/// Sets up the terminal, reads keys and draws, until a message ends it.
fn display(
    screen: Screen,
    messages: Sender<Message>,
    received: &Receiver<Message>,
) -> io::Result<()> {
    let terminal = Terminal::open()?;
    spawn("keys", move || {
        loop {
            match terminal::input() {
                Ok(input) if messages.send(Message::Input(input)).is_ok() => {}
                Ok(_) => return,
                Err(error) => return end(&messages, Err(error)),
            }
        }
    })?;
    show(terminal, screen, received)
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(body).map(drop)
}

fn end(messages: &Sender<Message>, outcome: io::Result<()>) {
    // Fails only after the main loop has ended.
    let _ = messages.send(Message::End(outcome));
}

fn show(
    mut terminal: Terminal,
    mut screen: Screen,
    messages: &Receiver<Message>,
) -> io::Result<()> {
    let mut due = Instant::now();
    loop {
        let now = Instant::now();
        if now >= due {
            terminal.draw(|frame| view::draw(&screen, frame, now))?;
            due = now + MAX_FRAME_INTERVAL;
        }
        match messages.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(Message::Input(action)) => {
                if action.is_some_and(|action| screen.execute(action, Instant::now())) {
                    return Ok(());
                }
                due = due.min(now + KEY_DELAY);
            }
            Ok(Message::Scraped(host, scrape)) => {
                screen.model.on_scrape(host, scrape, Instant::now());
                due = due.min(now + MIN_FRAME_INTERVAL);
            }
            Ok(Message::End(outcome)) => return outcome,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}
