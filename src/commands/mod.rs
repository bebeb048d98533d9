//! Subcommands, built from the same parts as the daemon.
//!
//! They do not disturb a running daemon: on a bus in use they do not read mask/enable, which would
//! clear its flags, and switch no mux.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::config::{self, Problems};
use crate::daemon::DaemonArgs;
use crate::i2c::OpenError;
use crate::i2c::adapters::Adapters;

pub mod calibrate;
mod measuring;
mod mux_guard;
pub mod read;
pub mod run;
mod running_exporter;
pub mod scan;
mod shared_args;
pub mod watch;

/// Reason why a subcommand failed, with any number of messages, one per line.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line is invalid.
    #[error("{0}")]
    Usage(String),
    /// The configuration is invalid.
    #[error("{0}")]
    Configuration(#[from] Problems),
    /// Nothing was found, read or measured.
    #[error("{}", .0.join("\n"))]
    Nothing(Vec<String>),
    /// A part failed, or the system lacks resources.
    #[error("{}", .0.join("\n"))]
    Partly(Vec<String>),
    /// The output could not be written.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// Returns a function that turns an I/O error into [`Failure::Partly`]; `what` failed.
    pub fn of(what: &str) -> impl Fn(io::Error) -> Self {
        move |error| Self::Partly(vec![format!("{what}: {error}")])
    }
}

/// Connections of a subcommand to its caller.
pub struct Caller<'a> {
    /// Receives the results.
    pub output: &'a mut dyn Write,
    /// Stream that shows the progress of long operations; `None` if it is not a terminal.
    pub progress: Option<&'a mut dyn Write>,
    /// Waits for this time or for a request to stop. Returns whether there was one, now or before.
    pub stop: &'a mut dyn FnMut(Duration) -> bool,
}

/// A progress line, removed at the end.
struct Progress<'a> {
    stream: Option<&'a mut dyn Write>,
    begun: Instant,
    shown: bool,
}

impl<'a> Progress<'a> {
    /// Shorter operations show no progress.
    const DELAY: Duration = Duration::from_secs(1);

    fn new(stream: Option<&'a mut dyn Write>) -> Self {
        Self { stream, begun: Instant::now(), shown: false }
    }

    fn show(&mut self, text: &str) {
        if self.begun.elapsed() >= Self::DELAY
            && let Some(stream) = &mut self.stream
        {
            self.shown = true;
            // Progress is optional, so errors are ignored.
            let _ = write!(stream, "\r{text}\x1b[K").and_then(|()| stream.flush());
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if self.shown {
            self.show("");
        }
    }
}

/// Checks the configuration and prints the effective one, with the source of each value.
///
/// # Errors
/// [`Failure::Configuration`] with all problems.
pub fn check_config(args: &DaemonArgs, output: &mut dyn Write) -> Result<(), Failure> {
    let loaded = config::load(&args.overrides(), config::environment())?;
    if !args.quiet {
        output.write_all(loaded.effective.as_bytes())?;
        output.flush()?;
    }
    Ok(())
}

/// Writes messages to standard error.
pub fn report(messages: impl IntoIterator<Item = impl Display>) {
    for message in messages {
        // If standard error cannot be written to, there is nowhere left to report it.
        let _ = writeln!(io::stderr(), "{message}");
    }
}

/// Returns why a bus cannot be opened, and the command that helps.
fn describe_open_error(error: &OpenError, adapters: &Adapters) -> String {
    match error {
        OpenError::Absent { bus, .. } if adapters.0.iter().any(|it| it.number == *bus) => format!(
            "/dev/i2c-{bus} does not exist, although the kernel has this bus; load the module with \
             `sudo modprobe i2c-dev` (the service does so itself)"
        ),
        OpenError::Denied { group, .. } if group != "root" && !group.contains(' ') => {
            format!("{error} (`sudo usermod -aG {group} $USER`, then log in again; or `sudo`)")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i2c::adapters::Adapter;

    #[test]
    fn open_error_names_the_remedy() {
        let name = "bcm2835 (i2c@7e804000)".to_owned();
        let adapters = Adapters(vec![Adapter { number: 1, name, ..Adapter::default() }]);
        let absent = |bus| OpenError::Absent { bus, existing: Vec::new() };
        let message = |error: OpenError| describe_open_error(&error, &adapters);
        assert!(message(absent(1)).contains("`sudo modprobe i2c-dev`"));
        assert!(message(absent(2)).contains("raspi-config"));
        let denied = |group: &str| OpenError::Denied {
            node: "/dev/i2c-1".to_owned(),
            group: group.to_owned(),
        };
        assert!(message(denied("i2c")).contains("`sudo usermod -aG i2c $USER`"));
        assert!(message(denied("root")).contains("udev rule"));
        for group in ["root", "number 4242", "i2c, presumably; see `ls -l`"] {
            assert!(!message(denied(group)).contains("usermod"), "{group}");
        }
    }

    #[test]
    fn progress_appears_after_a_delay_and_is_removed() {
        let mut seen = Vec::new();
        let mut progress = Progress::new(Some(&mut seen));
        progress.show("bus 1");
        progress.begun = Instant::now() - Progress::DELAY;
        progress.show("bus 2");
        drop(progress);
        assert_eq!(seen, b"\rbus 2\x1b[K\r\x1b[K");
    }
}
