//! `run`: runs a command and reports the energy that each sensor measured meanwhile.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use super::measuring::{self, Energy, Session};
use super::shared_args::{self, ConfigArgs};
use super::{Failure, report};
use crate::config::Plan;
use crate::printable::escape;
use crate::supervisor::BusProvider;

mod child;
mod summary;

use child::{Event, Events};
use summary::Summary;

/// Exit code for a failure of `run` itself, as in env(1) and timeout(1).
pub const FAILURE: u8 = 125;

#[expect(missing_docs, reason = "clap would print it as the program's")]
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
  ina260-exporter run --simulate -- sleep 1
                                            an example without hardware

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

    /// Also print the sum of the sensors, for a load that is fed through several of them
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

    /// Also list each run, how it was measured, and the error due to the chip's limited accuracy
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    pub verbose: bool,

    #[command(flatten)]
    pub config: ConfigArgs,

    /// Command to run, with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

struct Run {
    code: u8,
    /// Whether the command failed, or a signal arrived.
    is_partial: bool,
    begun: Instant,
    ended: Instant,
    energies: Vec<Energy>,
}

/// Runs the command. Returns the exit code.
///
/// # Errors
/// Any [`Failure`] of this program.
pub fn run(args: &RunArgs) -> Result<u8, Failure> {
    let plan = shared_args::sensors(&args.config, &args.device)?;
    if args.sum && plan.sensors.iter().any(|sensor| sensor.device == "sum") {
        let message = "--sum: a sensor is named sum; rename it, or omit --sum".to_owned();
        return Err(Failure::Usage(message));
    }
    let mut output: Box<dyn Write> = match &args.output {
        Some(path) => Box::new(File::create(path).map_err(|error| {
            Failure::Usage(format!("--output {}: {error}", escape(&path.to_string_lossy())))
        })?),
        None => Box::new(io::stderr()),
    };
    let provider = BusProvider::new(plan.simulate.as_ref());
    let (summary, code) = measure(args, plan, provider, Events::catch)?;
    match summary.write(&mut output) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(code),
    }
}

/// Measures the runs, and reports problems. Returns what was measured and the exit code.
#[expect(clippy::unnecessary_debug_formatting, reason = "shows where the name begins and ends")]
fn measure(
    args: &RunArgs,
    plan: Plan,
    provider: BusProvider,
    catch: impl FnOnce() -> io::Result<Events>,
) -> Result<(Summary, u8), Failure> {
    let mut session = Session::open(plan, provider, args.direct, args.interval, None)?;
    // Until here a signal ends the process, even in a transfer that hangs.
    let mut events = catch().map_err(Failure::of("cannot install signal handlers"))?;
    let is_ready = session.start(&mut |time| events.wait(time).is_some())?;
    let mut summary = Summary { args: args.clone(), session, idle: None, runs: Vec::new() };
    let outcome = measure_runs(&mut summary, &mut events, is_ready);
    let mut messages = summary.session.close();
    if summary.runs.is_empty() {
        // Otherwise they are notes.
        messages.extend(measuring::missing(&summary.session.sensors));
    }
    // From here a signal ends the process again, even if a full pipe blocks it.
    drop(events);
    let (code, problem) = match outcome {
        Ok(code) => (code, summary.no_run(code)),
        Err(error) => {
            (child::error_code(&error), Some(format!("cannot run {:?}: {error}", args.command[0])))
        }
    };
    report(problem.into_iter().chain(messages));
    Ok((summary, code))
}

/// Measures the idle power and the runs, until one fails or a signal arrives. Returns the exit
/// code, or why the command cannot be run.
fn measure_runs(summary: &mut Summary, events: &mut Events, is_ready: bool) -> io::Result<u8> {
    let Summary { args, session, idle, runs } = summary;
    if let Some(time) = args.idle.filter(|_| is_ready) {
        let begun = Instant::now();
        let until = begun + time;
        let ended = session.measure(begun, |step| {
            let left = until.saturating_duration_since(Instant::now());
            let is_over = left.is_zero() || events.wait(left.min(step)).is_some();
            is_over.then(|| until.min(Instant::now()))
        });
        // Another signal ends the wait for the last results.
        *idle = Some(session.finish(ended, &mut |time| events.wait(time).is_some()));
    }
    let mut code = FAILURE;
    for number in 0..u64::from(args.warmup) + u64::from(args.repeat) {
        if let Some(signal) = events.signal {
            // It came between two runs.
            return Ok(child::signal_code(signal));
        }
        let begun = Instant::now();
        let mut child = child::start(&args.command, events)?;
        let ended = session.measure(begun, |step| match events.wait(step)? {
            Event::Ended(at) => Some(at),
            Event::Signal(signal) => {
                child::pass_on(signal, &child);
                None
            }
        });
        // A command that has ended has a status.
        code = child.wait().map_or(FAILURE, child::exit_code);
        let is_partial = code != 0 || events.signal.is_some();
        let energies = session.finish(ended, &mut |time| events.wait(time).is_some());
        if number >= args.warmup.into() {
            runs.push(Run { code, is_partial, begun, ended, energies });
        }
        if is_partial {
            break;
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests;
