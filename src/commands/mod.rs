//! What people run beside the daemon, on the same parts.
//!
//! None of them disturbs a daemon at work: on a bus that is in use nothing is read that reading changes, and nothing is switched.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::config::{self, Problems};
use crate::daemon::DaemonArgs;
use crate::i2c::OpenError;
use crate::i2c::adapters::Adapter;

mod args;
mod mux_guard;
pub mod read;
mod running_exporter;
pub mod scan;
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

/// Checks the configuration and prints the effective one, with the source of each value.
///
/// # Errors
/// [`Failure::Configuration`] with every problem.
pub fn check_config(args: &DaemonArgs, output: &mut dyn Write) -> Result<(), Failure> {
    let loaded = config::load(&args.overrides(), config::environment())?;
    if !args.quiet {
        output.write_all(loaded.effective.as_bytes())?;
        output.flush()?;
    }
    Ok(())
}

/// Why a bus can't be opened, and what to do next.
fn advice(error: &OpenError, adapters: &[Adapter]) -> String {
    match error {
        OpenError::Absent { bus, .. } if adapters.iter().any(|it| it.number == *bus) => format!(
            "/dev/i2c-{bus} does not exist, though the kernel has this bus: load its module with `sudo modprobe i2c-dev`, \
             which the service does by itself"
        ),
        OpenError::Denied { group, .. } if group != "root" => {
            format!("{error} (`sudo usermod -aG {group} $USER`, then log in again; or `sudo`)")
        }
        OpenError::Absent { .. }
        | OpenError::Denied { .. }
        | OpenError::Incapable { .. }
        | OpenError::Io { .. } => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bus_that_cannot_be_opened_is_told_with_the_command_that_helps() {
        let adapter = Adapter {
            number: 1,
            name: "bcm2835 (i2c@7e804000)".to_owned(),
        };
        let absent = |bus| OpenError::Absent {
            bus,
            existing: Vec::new(),
        };
        let told = |error: OpenError| advice(&error, std::slice::from_ref(&adapter));
        assert!(told(absent(1)).contains("`sudo modprobe i2c-dev`"));
        assert!(told(absent(2)).contains("raspi-config"));
        let denied = |group: &str| OpenError::Denied {
            bus: 1,
            group: group.to_owned(),
        };
        assert!(told(denied("i2c")).contains("`sudo usermod -aG i2c $USER`"));
        let of_root = told(denied("root"));
        assert!(of_root.contains("udev rule"), "{of_root}");
        assert!(!of_root.contains("usermod"), "{of_root}");
    }

    #[test]
    fn progress_is_shown_where_it_takes_long_and_goes_away() {
        let mut seen = Vec::new();
        let mut progress = Progress::new(Some(&mut seen));
        progress.show("bus 1");
        progress.begun = Instant::now() - Progress::AFTER;
        progress.show("bus 2");
        drop(progress);
        assert_eq!(seen, b"\rbus 2\x1b[K\r\x1b[K");
    }
}
