//! What people run beside the daemon, on the same parts.
//!
//! None of them disturbs a daemon at work: on a bus that is in use nothing is read that reading changes, and nothing is switched.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::config::{Plan, Problems};
use crate::simulated::faults;
use crate::station::Source;

pub mod http;
pub mod metrics;
pub mod place;
pub mod read;
pub mod scan;
mod service;
mod switch;
pub mod watch;

/// Why a tool could not do what it was asked for; each sentence says what to do next.
#[derive(Debug)]
pub enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// The configuration is wrong.
    Configuration(Problems),
    /// Nothing is there that it could be done with.
    Nothing(Vec<String>),
    /// Some of it could not be done.
    Partly(Vec<String>),
    /// What it found could not be written.
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Configuration(problems)
    }
}

/// What a tool has to do with whoever called it.
pub struct Caller<'a> {
    /// Takes what was found.
    pub output: &'a mut dyn Write,
    /// Shows what is done, where that takes long; `None`: nobody looks.
    pub progress: Option<&'a mut dyn Write>,
    /// Waits for so long, or until somebody asks to end, and tells whether somebody did.
    pub stop: &'a mut dyn FnMut(Duration) -> bool,
}

/// What is being done, on one line that goes away.
struct Progress<'a> {
    stream: Option<&'a mut dyn Write>,
    begun: Instant,
    shown: bool,
}

impl<'a> Progress<'a> {
    /// What is over sooner needs no explanation.
    const AFTER: Duration = Duration::from_secs(1);

    fn new(stream: Option<&'a mut dyn Write>) -> Self {
        Self {
            stream,
            begun: Instant::now(),
            shown: false,
        }
    }

    fn show(&mut self, what: &str) {
        if self.begun.elapsed() < Self::AFTER {
            return;
        }
        if let Some(stream) = &mut self.stream {
            self.shown = true;
            // It is no loss.
            let _ = write!(stream, "\r{what}\x1b[K").and_then(|()| stream.flush());
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let (true, Some(stream)) = (self.shown, &mut self.stream) {
            let _ = write!(stream, "\r\x1b[K").and_then(|()| stream.flush());
        }
    }
}

/// Where the buses of a plan come from.
fn source(plan: &Plan) -> Result<Source, Failure> {
    match &plan.simulate {
        None => Ok(Source::Linux { serves: None }),
        Some(text) => Ok(Source::Simulated {
            faults: faults::parse(text)
                .map_err(|message| Failure::Usage(format!("--simulate: {message}")))?,
            boards: std::collections::BTreeMap::new(),
        }),
    }
}
