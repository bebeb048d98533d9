//! `watch`: a live view of sensors in the terminal.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::Failure;
use super::args::{ConfigArgs, LocationArgs};
use crate::config;
use crate::scrape::Url;
use crate::signals::Event;

mod curve;
mod details;
mod history;
mod model;
mod numbers;
mod screen;
mod snapshot;
mod sources;
mod terminal;
mod view;

use model::Model;
use screen::Screen;
pub use sources::Scrape;
use sources::{ScrapeLoop, Sensors};
use terminal::{Input, Terminal};

// No doc comment on the struct: clap would print it as the program's.
#[expect(missing_docs, reason = "see above")]
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "\
Examples:
  ina260-exporter watch                     the service on this machine
  ina260-exporter watch --url pi4 --url pi5:9000 --price 0.35
                                            two hosts, with the cost of their energy
  ina260-exporter watch --address 0x41      the sensor at bus 1, address 0x41, if no service uses the bus
  ina260-exporter watch --simulate          show an example without hardware")]
pub struct WatchArgs {
    /// Watch the exporter at this URL: http://HOST:PORT/metrics, HOST[:PORT] or unix:/PATH; may be repeated
    /// [default: the configured listen address of this machine]
    #[arg(long, value_name = "URL", conflicts_with_all = ["direct", "simulate", "bus", "address", "mux", "config"])]
    pub url: Vec<String>,

    /// Price of a kilowatt-hour, to show the cost of the energy
    #[arg(long, value_parser = price)]
    pub price: Option<f64>,

    /// Measure the configured sensors directly, if no service uses their buses
    #[arg(long)]
    pub direct: bool,

    #[command(flatten)]
    pub location: LocationArgs,

    #[command(flatten)]
    pub config: ConfigArgs,
}

impl WatchArgs {
    /// Returns whether sensors are measured directly, not through an exporter.
    fn is_direct(&self) -> bool {
        self.direct || self.config.simulate.is_some() || self.location.is_named()
    }
}

fn price(text: &str) -> Result<f64, String> {
    let price = text
        .parse()
        .ok()
        .filter(|price: &f64| price.is_finite() && *price >= 0.0);
    price.ok_or_else(|| "a price is a number of at least 0, e.g. 0.35".to_owned())
}

/// However many hosts answer, no more pictures than these are drawn of it.
const BETWEEN_PICTURES: Duration = Duration::from_millis(250);
/// And no fewer: how long a host has not answered is shown in seconds.
const LONGEST_PICTURE: Duration = Duration::from_secs(1);

/// Something happened.
enum Message {
    Input(Input),
    /// The host of that number was asked.
    Scraped(usize, Result<Vec<snapshot::Sensor>, String>),
    End(io::Result<()>),
}

/// Watches what the flags name, until somebody ends it.
///
/// # Errors
/// [`Failure`].
pub fn run(
    flags: &WatchArgs,
    environment: impl IntoIterator<Item = (String, String)>,
    events: Receiver<Event>,
) -> Result<(), Failure> {
    terminal::check().map_err(Failure::Usage)?;
    watch(sources(flags, environment)?, flags.price, events)
}

fn sources(
    flags: &WatchArgs,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Vec<Box<dyn Scrape>>, Failure> {
    if !flags.url.is_empty() {
        let url = |text: &String| {
            let url = text
                .parse::<Url>()
                .map_err(|why| format!("--url {text}: {why}"));
            url.map(|url| Box::new(url) as _).map_err(Failure::Usage)
        };
        return flags.url.iter().map(url).collect();
    }
    let overrides = flags.location.add_to(flags.config.overrides());
    let plan = config::load(&overrides, environment)
        .map_err(Failure::Configuration)?
        .plan;
    if flags.is_direct() {
        return Ok(vec![Box::new(Sensors::open(plan)?)]);
    }
    Ok(vec![Box::new(Url::from(&plan.listen))])
}

/// Watches these sources, until somebody ends it.
///
/// # Errors
/// [`Failure::Output`] if the terminal can't be used.
pub fn watch(
    sources: Vec<Box<dyn Scrape>>,
    price: Option<f64>,
    events: Receiver<Event>,
) -> Result<(), Failure> {
    let names = sources.iter().map(|source| source.name());
    let model = Model::new(names, Instant::now());
    let screen = Screen::new(model, terminal::look(), price);
    let (messages, received) = mpsc::channel();
    let mut feeds = Vec::new();
    for (host, source) in sources.into_iter().enumerate() {
        let messages = messages.clone();
        feeds.push(ScrapeLoop::start(source, move |scrape| {
            let read = scrape.and_then(|text| snapshot::read(&text));
            messages.send(Message::Scraped(host, read)).is_ok()
        })?);
    }
    let of_signals = messages.clone();
    listen("end", move || {
        // Whatever signal it was; a terminal that was closed sends one, too.
        if events.recv().is_ok() {
            end(&of_signals, Ok(()));
        }
    })?;
    let terminal = Terminal::open()?;
    listen("keys", move || {
        loop {
            match terminal::input() {
                Ok(input) if messages.send(Message::Input(input)).is_ok() => {}
                Ok(_) => return,
                Err(error) => return end(&messages, Err(error)),
            }
        }
    })?;
    // The terminal is given back before what is measured is put down, which may take a moment.
    let shown = show(terminal, screen, &received);
    drop(feeds);
    Ok(shown?)
}

fn listen(name: &str, listener: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(listener).map(drop)
}

fn end(messages: &Sender<Message>, how: io::Result<()>) {
    // Nobody listens any more where it has ended already.
    let _ = messages.send(Message::End(how));
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
            terminal.draw(|buffer| view::draw(&screen, buffer, now))?;
            due = now + LONGEST_PICTURE;
        }
        let soon = now + BETWEEN_PICTURES;
        match messages.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(Message::Input(Input::Key(key))) => {
                if screen.press(key, Instant::now()) {
                    return Ok(());
                }
                due = now;
            }
            Ok(Message::Input(Input::Resized)) => due = now,
            Ok(Message::Scraped(host, read)) => {
                screen.model.on_scrape(host, read, Instant::now());
                due = due.min(soon);
            }
            Ok(Message::End(how)) => return how,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}
