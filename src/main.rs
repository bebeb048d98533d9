//! The entry point: parses the command line, dispatches, and decides on exit codes, which no other
//! module does.

use std::convert::Infallible;
use std::io::{self, IsTerminal as _, Write as _};
use std::panic;
use std::process::{self, ExitCode};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use clap::Parser as _;
use ina260_exporter::cli::{Command, CommandLine};
use ina260_exporter::commands::{self, Caller, Failure, report};
use ina260_exporter::config;
use ina260_exporter::daemon;
use ina260_exporter::printable::escape;
use ina260_exporter::signals::{self, Event};

/// Exit code for any error except those below.
const FAILURE: u8 = 1;
/// The command line is invalid.
const USAGE: u8 = 2;
/// There is nothing to measure: `EX_UNAVAILABLE` of sysexits.h(3).
const UNAVAILABLE: u8 = 69;
/// The configuration is invalid: `EX_CONFIG` of sysexits.h(3).
const CONFIG: u8 = 78;
/// Grace period for a subcommand to end after a signal.
const GRACE: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let CommandLine { command, daemon } = match CommandLine::try_parse().or_else(escaped) {
        Ok(line) => line,
        Err(error) => {
            let printed = error.print().and_then(|()| io::stdout().flush());
            let is_run = std::env::args_os().nth(1).is_some_and(|command| command == "run");
            return match error.use_stderr() {
                true if is_run => ExitCode::from(commands::run::FAILURE),
                true => USAGE.into(),
                // Help and version are not errors.
                false => command_exit(printed.map_err(Into::into)),
            };
        }
    };
    match command {
        // Like env(1) and timeout(1): codes other than 125 to 127 are those of the command.
        Some(Command::Run(args)) => match commands::run::run(&args) {
            Ok(code) => ExitCode::from(code),
            Err(failure) => {
                report(&messages(failure).0);
                ExitCode::from(commands::run::FAILURE)
            }
        },
        Some(command) => command_exit(run(&command)),
        None if daemon.check_config => {
            command_exit(commands::check_config(&daemon, &mut io::stdout()))
        }
        None => match daemon::run(&daemon) {
            Ok(()) => ExitCode::SUCCESS,
            Err(daemon::Failure::Configuration) => ExitCode::from(CONFIG),
            Err(daemon::Failure::NothingToMeasure) => ExitCode::from(UNAVAILABLE),
            Err(daemon::Failure::Other) => ExitCode::from(FAILURE),
        },
    }
}

/// Returns the error of the same arguments with invisible characters escaped: a message about an
/// argument repeats it.
fn escaped(error: clap::Error) -> Result<CommandLine, clap::Error> {
    let arguments = std::env::args_os().map(|argument| escape(&argument.to_string_lossy()));
    Err(CommandLine::try_parse_from(arguments).err().unwrap_or(error))
}

/// Runs a subcommand until it is done, or a signal asks it to end.
fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Scan(args) => with_caller(GRACE, |caller| commands::scan::run(args, caller)),
        Command::Read(args) => with_caller(GRACE, |caller| commands::read::run(args, caller)),
        Command::Watch(args) => commands::watch::run(args, config::environment(), signals::events),
        // Restores the registers of the chip before it ends.
        Command::Calibrate(args) => {
            with_caller(50 * GRACE, |caller| commands::calibrate::run(args, caller))
        }
        // Run by `main`: it has exit codes of its own.
        Command::Run(_) => Ok(()),
    }
}

/// Connects a subcommand to standard output, and its progress to standard error if that is a
/// terminal. The subcommand runs in a thread of its own: the kernel delivers signals to the main
/// thread, which must not be blocked in a transfer.
fn with_caller(
    grace: Duration,
    command: impl FnOnce(Caller<'_>) -> Result<(), Failure> + Send,
) -> Result<(), Failure> {
    let events = signals::events()?;
    let (request, requests) = mpsc::channel();
    let thread = |name: &str| thread::Builder::new().name(name.to_owned());
    thread("end").spawn(move || end_at_signal(&events, request, grace))?;
    let run = move || {
        let mut stop = |time| requests.recv_timeout(time) == Err(RecvTimeoutError::Disconnected);
        let (mut output, mut progress) = (io::stdout().lock(), io::stderr());
        command(Caller {
            output: &mut output,
            progress: progress.is_terminal().then_some(&mut progress),
            stop: &mut stop,
        })?;
        // An error of the flush at the end of the process would be ignored.
        Ok(output.flush()?)
    };
    thread::scope(|scope| {
        let running = thread("command").spawn_scoped(scope, run)?;
        running.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    })
}

/// Waits for a signal, then asks the subcommand to end by dropping `request`. Ends the process if
/// the subcommand does not end: a bus, an exporter or the reader of its output may block it.
fn end_at_signal(events: &Receiver<Event>, request: Sender<Infallible>, grace: Duration) {
    // Fails only once signals are no longer caught.
    let Ok(Event::Stop | Event::Reload) = events.recv() else { return };
    drop(request);
    thread::sleep(grace);
    // In a thread, since standard error may be what blocks.
    let _ = thread::Builder::new().spawn(|| {
        let message = "ended while waiting for a bus, an exporter or the output; if muxes were \
                       scanned, a channel may still be selected";
        let _ = writeln!(io::stderr(), "{message}");
    });
    thread::sleep(GRACE / 4);
    process::exit(0);
}

/// Prints the messages of a subcommand that failed, and returns the exit code.
fn command_exit(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Ignore EPIPE; report any other write error.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let (messages, code) = messages(failure);
            report(&messages);
            ExitCode::from(code)
        }
    }
}

fn messages(failure: Failure) -> (Vec<String>, u8) {
    match failure {
        Failure::Output(error) => (vec![format!("cannot write: {error}")], FAILURE),
        Failure::Partly(messages) => (messages, FAILURE),
        Failure::Usage(message) => (vec![message], USAGE),
        Failure::Nothing(messages) => (messages, UNAVAILABLE),
        Failure::Configuration(problems) => {
            let code = if problems.is_temporary { FAILURE } else { CONFIG };
            (problems.messages().collect(), code)
        }
    }
}
