//! The command line's way: to the daemon, or to one of the tools; and the exit codes.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use ina260_exporter::config::{self, CommandLine, Tool};
use ina260_exporter::service::{self, Event};
use ina260_exporter::tools::{self, Caller, Failure};

// Beside the library's modules it would look like one of them.
#[path = "main/daemon.rs"]
mod daemon;

/// Something failed that was not the configuration's fault.
const FAILURE: u8 = 1;
/// The command line is wrong (the shells' custom).
const USAGE: u8 = 2;
/// Nothing to measure: `EX_UNAVAILABLE` of sysexits.h(3).
const UNAVAILABLE: u8 = 69;
/// The configuration is wrong: `EX_CONFIG` of sysexits.h(3).
const CONFIG: u8 = 78;

fn main() -> ExitCode {
    let CommandLine { tool, flags } = match CommandLine::read() {
        Ok(line) => line,
        Err(usage) => {
            return if usage.print() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match tool {
        None => daemon::run(flags),
        Some(tool) => ended(run(&tool)),
    }
}

/// Runs a tool until it is done, or somebody asks to end.
fn run(tool: &Tool) -> Result<(), Failure> {
    let events = service::events()?;
    match tool {
        Tool::Scan(flags) => called(&events, |caller| tools::scan::run(flags, caller)),
        Tool::Read(flags) => called(&events, |caller| tools::read::run(flags, caller)),
        Tool::Watch(flags) => tools::watch::run(flags, config::environment(), events),
    }
}

/// Calls a tool with standard output, and with standard error where somebody sees it.
fn called(
    events: &Receiver<Event>,
    tool: impl FnOnce(Caller<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut stop = |time| !matches!(events.recv_timeout(time), Err(RecvTimeoutError::Timeout));
    let (mut output, mut progress) = (io::stdout().lock(), io::stderr().lock());
    tool(Caller {
        output: &mut output,
        progress: progress.is_terminal().then_some(&mut progress),
        stop: &mut stop,
    })
}

/// How a tool ended, for who called it. Its failures go to standard error; there is no log.
fn ended(outcome: Result<(), Failure>) -> ExitCode {
    let (messages, code) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        // A reader that had enough is no failure of ours; a full disk is.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            return ExitCode::SUCCESS;
        }
        Err(Failure::Output(error)) => (vec![format!("cannot write: {error}")], FAILURE),
        Err(Failure::Partly(messages)) => (messages, FAILURE),
        Err(Failure::Usage(message)) => (vec![message], USAGE),
        Err(Failure::Nothing(messages)) => (messages, UNAVAILABLE),
        Err(Failure::Configuration(problems)) => {
            (problems.iter().map(ToString::to_string).collect(), CONFIG)
        }
    };
    for message in messages {
        // Standard error is all that is left to say it on.
        let _ = writeln!(io::stderr(), "{message}");
    }
    ExitCode::from(code)
}
