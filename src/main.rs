//! The entry point: parses the command line, dispatches, and decides on exit codes.

use std::convert::Infallible;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::{self, ExitCode};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use std::{panic, thread};

use clap::Parser as _;
use ina260_exporter::cli::{Command, CommandLine};
use ina260_exporter::commands::{self, Caller, Failure, report};
use ina260_exporter::printable::escape;
use ina260_exporter::{daemon, signals};

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
/// State in which `scan` and `read` may leave a bus if a transfer blocks.
const MUXES: &str = "if a mux was switched, one of its channels may still be selected";

fn main() -> ExitCode {
    signals::catch_file_size_limit();
    let code = match parse().map_err(|error| escaped(&error)) {
        Ok(CommandLine { command: Some(command), .. }) => run(command),
        Ok(CommandLine { daemon, .. }) if daemon.check_config => {
            exit_code(commands::check_config(&daemon, &mut io::stdout()))
        }
        Ok(CommandLine { daemon, .. }) => match daemon::run(&daemon) {
            Ok(()) => 0,
            Err(daemon::Failure::Configuration) => CONFIG,
            Err(daemon::Failure::NothingToMeasure) => UNAVAILABLE,
            Err(daemon::Failure::Other) => FAILURE,
        },
        Err(error) => {
            let printed = error.print().and_then(|()| io::stdout().flush());
            let is_run = std::env::args_os().nth(1).is_some_and(|command| command == "run");
            match error.use_stderr() {
                true if is_run => commands::run::FAILURE,
                true => USAGE,
                // Help and version are not errors.
                false => exit_code(printed.map_err(Into::into)),
            }
        }
    };
    code.into()
}

/// Parses the command line in a thread if possible: clap uses 60 kB of stack, twice as much as the
/// daemon afterwards, and only the stack of a thread is released.
fn parse() -> Result<CommandLine, clap::Error> {
    /// glibc keeps smaller stacks, and what they contain, for later threads.
    const STACK: usize = 64 << 20;
    match thread::Builder::new().stack_size(STACK).spawn(CommandLine::try_parse) {
        Ok(thread) => thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)),
        Err(_) => CommandLine::try_parse(),
    }
}

/// Returns the error with invisible characters of the arguments escaped, since it may repeat them.
fn escaped(error: &clap::Error) -> clap::Error {
    let arguments = std::env::args_os().map(|argument| escape(&argument.to_string_lossy()));
    CommandLine::try_parse_from(arguments).err().unwrap_or_else(|| {
        // Escaped, the arguments are valid.
        let text = error.to_string();
        let lines: Vec<_> = text.trim_start_matches("error: ").lines().map(escape).collect();
        clap::Error::raw(error.kind(), lines.join("\n") + "\n")
    })
}

/// Runs a subcommand until it is done, or a signal asks it to end. Returns the exit code.
fn run(command: Command) -> u8 {
    exit_code(match command {
        Command::Scan(args) => {
            with_caller(GRACE, false, MUXES, |caller| commands::scan::run(&args, caller))
        }
        Command::Read(args) => {
            with_caller(GRACE, args.follow, MUXES, |caller| commands::read::run(&args, caller))
        }
        Command::Watch(args) => commands::watch::run(&args),
        // Restores the registers of the chip before it ends.
        Command::Calibrate(args) => {
            let left = "the sensor's registers may not have been restored";
            with_caller(50 * GRACE, false, left, |caller| commands::calibrate::run(&args, caller))
        }
        // Like env(1) and timeout(1): codes other than 125 to 127 are those of the command.
        Command::Run(args) => {
            return commands::run::run(&args).unwrap_or_else(|failure| {
                report_failure(&failure);
                commands::run::FAILURE
            });
        }
    })
}

/// Connects a subcommand to standard output, and its progress to standard error if that is a
/// terminal. The subcommand runs in a thread of its own: the kernel delivers signals to the main
/// thread, which must not be blocked in a transfer. If it blocks, the process ends after `grace`,
/// with 0 if a signal `is_normal`, and with the message `left` about what may remain changed.
fn with_caller(
    grace: Duration,
    is_normal: bool,
    left: &'static str,
    command: impl FnOnce(Caller<'_>) -> Result<(), Failure> + Send,
) -> Result<(), Failure> {
    let (request, requests) = mpsc::channel::<Infallible>();
    let mut request = Some(request);
    signals::on_signals(signals::ending(), move |signal| {
        drop(request.take());
        end_after(grace, left, if is_normal { 0 } else { 128 + signal.number })
    })
    .map_err(Failure::of("cannot install signal handlers"))?;
    let run = move || {
        let mut stop = |time| requests.recv_timeout(time) == Err(RecvTimeoutError::Disconnected);
        let (mut output, mut progress) = (io::stdout().lock(), io::stderr());
        let outcome = command(Caller {
            output: &mut output,
            progress: progress.is_terminal().then_some(&mut progress),
            stop: &mut stop,
        });
        // An error of the flush at the end of the process would be ignored.
        output.flush()?;
        outcome
    };
    thread::scope(|scope| {
        let running = thread::Builder::new().name("command".to_owned()).spawn_scoped(scope, run);
        let running = running.map_err(Failure::of("cannot start a thread"))?;
        running.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    })
}

/// Ends the process if the subcommand that was asked to end does not: a bus, an exporter or the
/// reader of its output may block it.
fn end_after(grace: Duration, left: &'static str, code: i32) -> ! {
    thread::sleep(grace);
    // In a thread, since standard error may be what blocks.
    let _ = thread::Builder::new().spawn(move || {
        let ended = "ended while waiting for a bus, an exporter or the output";
        let _ = writeln!(io::stderr(), "{ended}; {left}");
    });
    thread::sleep(GRACE / 4);
    process::exit(code);
}

/// Reports a failure, and returns the exit code.
fn exit_code(outcome: Result<(), Failure>) -> u8 {
    match outcome {
        Ok(()) => 0,
        // Ignore EPIPE; report any other write error.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(failure) => report_failure(&failure),
    }
}

fn report_failure(failure: &Failure) -> u8 {
    report(failure.to_string().lines());
    match failure {
        Failure::Usage(_) => USAGE,
        Failure::Nothing(_) => UNAVAILABLE,
        Failure::Configuration(problems) if !problems.is_temporary => CONFIG,
        Failure::Configuration(_) | Failure::Partly(_) | Failure::Output(_) => FAILURE,
    }
}
