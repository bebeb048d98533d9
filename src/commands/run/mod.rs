//! `run`: runs a command and reports the energy that each sensor measured meanwhile.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use super::measuring::{Energy, Options, Session};
use super::shared_args::{self, ConfigArgs};
use super::{Failure, report};
use crate::config::Plan;
use crate::printable::escape;
use crate::supervisor::BusProvider;

mod child;
mod figures;
mod summary;
mod tables;
#[cfg(test)]
mod tests;

use child::{Event, Events, Running, exit_code};
use summary::Summary;

/// Exit code for a failure of `run` itself, as in env(1) and timeout(1).
pub const FAILURE: u8 = 125;

// No doc comment on the struct: clap would print it as the program's.
#[expect(missing_docs, reason = "see above")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "\
Examples:
  ina260-exporter run -- ./infer model.onnx image.png
                                            the energy of one run
  ina260-exporter run --repeat 10 --warmup 1 --idle 5s -- ./infer model.onnx image.png
                                            mean and standard deviation, net of the idle power
  ina260-exporter run --device cpu --device gpu --sum -- make -j4
                                            two sensors, and their sum
  ina260-exporter run --simulate -- sleep 1 an example without hardware

Exit code: that of COMMAND; 128 + the number of the signal that ended it; 127 if it was not found,
126 if it cannot be executed; 125 if this program failed.")]
pub struct RunArgs {
    /// Measure only this sensor; may be repeated [default: all configured sensors]
    #[arg(long, value_name = "NAME")]
    pub device: Vec<String>,

    /// Run COMMAND this many times; stop after the first failure [default: 1]
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    pub repeat: u32,

    /// First run COMMAND this many times without measuring [default: 0]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    #[arg(allow_negative_numbers = true)]
    pub warmup: u32,

    /// First measure the idle power for this time, at most 1h; also show the energy net of idle
    #[arg(long, value_name = "DURATION", value_parser = shared_args::up_to_an_hour)]
    pub idle: Option<Duration>,

    /// Also print the sum of the sensors, for sensors that feed one load
    #[arg(long)]
    pub sum: bool,

    /// Measure directly, never through the service
    #[arg(long)]
    pub direct: bool,

    /// When measuring directly, maximum time between two results [default: as short as the bus
    /// allows]
    #[arg(long, value_name = "DURATION", value_parser = shared_args::up_to_an_hour)]
    pub interval: Option<Duration>,

    /// Print JSON
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,

    /// Print CSV, a line for each run and sensor
    #[arg(long)]
    pub csv: bool,

    /// Write to this file instead of standard error
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Also list each run, how it was measured, and the error due to the chip's accuracy
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    pub verbose: bool,

    #[command(flatten)]
    pub config: ConfigArgs,

    /// Command to run, with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// One run of the command, or the idle time before it.
struct Run {
    begun: Instant,
    ended: Instant,
    /// Exit code of the command.
    code: u8,
    /// Whether the command failed, or a signal arrived.
    is_partial: bool,
    /// Energy of each sensor.
    energies: Vec<Energy>,
}

/// Runs the command. Returns the exit code.
///
/// # Errors
/// Any [`Failure`] of this program.
pub fn run(args: &RunArgs) -> Result<u8, Failure> {
    let plan = shared_args::sensors(&args.config, &args.device)?;
    let mut output: Box<dyn Write> = match &args.output {
        Some(path) => Box::new(File::create(path).map_err(|error| {
            Failure::Usage(format!("--output {}: {error}", escape(&path.to_string_lossy())))
        })?),
        None => Box::new(io::stderr()),
    };
    let provider = BusProvider::new(plan.simulate.as_ref());
    let (summary, code) = measure(args, plan, provider, Events::catch)?;
    let written = match args {
        _ if summary.runs.is_empty() => Ok(()),
        RunArgs { json: true, .. } => tables::write_json(&summary, &mut output),
        RunArgs { csv: true, .. } => tables::write_csv(&summary, &mut output),
        _ => summary.write(args.verbose, &mut output),
    };
    match written.and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(code),
    }
}

/// Measures the runs. Returns what was measured and the exit code. Also reports other problems.
fn measure(
    args: &RunArgs,
    plan: Plan,
    provider: BusProvider,
    catch: impl FnOnce() -> io::Result<Events>,
) -> Result<(Summary, u8), Failure> {
    let options = Options { direct: args.direct, interval: args.interval, averaging: None };
    let (mut session, messages) = Session::open(plan, provider, options)?;
    // Until here a signal ends the process, even in a transfer that hangs.
    let mut events = catch()?;
    session.start()?;
    let (mut idle, mut runs) = (None, Vec::new());
    let outcome = measure_runs(args, &mut session, &mut events, &mut idle, &mut runs);
    let failed = session.close();
    // From here a signal ends the process again, even if a full pipe blocks it.
    drop(events);
    let Session { sensors, .. } = session;
    let requested = args.repeat as usize;
    let summary = Summary { sensors, idle, runs, requested, with_sum: args.sum };
    let code = match outcome {
        Ok(code) => {
            report(summary.no_run(code).as_slice());
            code
        }
        Err(failed) => {
            report(&[failed.to_string()]);
            failed.code()
        }
    };
    report(&messages);
    report(&failed);
    Ok((summary, code))
}

/// Measures the idle power and the runs, until one fails or a signal arrives. Returns the exit
/// code.
fn measure_runs(
    args: &RunArgs,
    session: &mut Session,
    events: &mut Events,
    idle: &mut Option<Run>,
    runs: &mut Vec<Run>,
) -> Result<u8, child::Failed> {
    let is_ready = session.wait_ready(&mut |time| events.stop(time));
    if let Some(time) = args.idle.filter(|_| is_ready) {
        let now = Instant::now();
        *idle = Some(observe(session, events, now, None, Some(now + time)));
    }
    let mut code = None;
    for number in 0..u64::from(args.warmup) + u64::from(args.repeat) {
        if events.signal.is_some() {
            // It came between two runs.
            code = None;
            break;
        }
        let running = Running::start(&args.command, events)?;
        let run = observe(session, events, running.begun, Some(running), None);
        code = Some(run.code);
        let is_partial = run.is_partial;
        if number >= args.warmup.into() {
            runs.push(run);
        }
        if is_partial {
            break;
        }
    }
    let signal = events.signal.and_then(|signal| u8::try_from(128 + signal).ok());
    Ok(code.or(signal).unwrap_or(FAILURE))
}

/// Measures until the command ends; without a command, until the time `until` or a signal.
fn observe(
    session: &mut Session,
    events: &mut Events,
    begun: Instant,
    command: Option<Running>,
    until: Option<Instant>,
) -> Run {
    /// Longest time from the end of a command until it is noticed.
    const NOTICE: Duration = Duration::from_secs(1);
    session.begin(begun);
    let ended = loop {
        let now = Instant::now();
        if until.is_some_and(|until| now >= until || events.signal.is_some()) {
            break until.map_or(now, |until| until.min(now));
        }
        let left = until.map_or(Session::STEP, |until| until.duration_since(now));
        match (events.wait(left.min(Session::STEP)), &command) {
            (Some(Event::Ended(at)), _) => break at,
            (Some(Event::Signal(signal)), Some(command)) => command.pass_on(signal),
            (Some(Event::Signal(_)) | None, _) => {}
        }
        session.collect(|_| ());
        session.settle(now.checked_sub(NOTICE).unwrap_or(now));
    };
    // A command that has ended has a status.
    let code = command.map_or(0, |command| command.status().map_or(FAILURE, exit_code));
    let is_partial = code != 0 || events.signal.is_some();
    // Another signal ends the wait for the last results.
    let energies = session.finish(ended, &mut |time| events.wait(time).is_some());
    Run { begun, ended, code, is_partial, energies }
}
