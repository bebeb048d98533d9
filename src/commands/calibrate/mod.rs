//! `calibrate`: measures a sensor without a load or with a reference, and prints its correction.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use clap::Args;

use super::measuring::{Session, Slice};
use super::shared_args::{self, ConfigArgs};
use super::{Caller, Failure, Progress};
use crate::config::{self, Plan, SensorPlan};
use crate::ina260::calibration::Calibration;
use crate::ina260::settings::Averaging;
use crate::supervisor::BusProvider;
use crate::units::Quantity;

mod correction;

use correction::{Blocks, Mean, RATED_AMPERES, correct, keys, nominal};

#[expect(missing_docs, reason = "clap would print it as the program's")]
#[derive(Args, Clone, Debug, Default)]
#[command(group(clap::ArgGroup::new("what").multiple(true).required(true)))]
#[command(after_help = "\
Examples:
  ina260-exporter calibrate --zero          1. the offset: supply on, load disconnected
  ina260-exporter calibrate --current 2.500A --voltage 12.003V
                                            2. the gains: with a load that an instrument measures
  ina260-exporter calibrate --device orin --zero --for 5m --toml
                                            one of several sensors, as a table to paste

Add the printed keys to the sensor's table in the configuration, then reload the service.")]
pub struct CalibrateArgs {
    /// Measure the offset, with the supply on and the load disconnected
    #[arg(long, group = "what", conflicts_with = "current")]
    pub zero: bool,

    /// True current, as shown by a reference instrument, such as 2.500A
    #[arg(long, group = "what", value_parser = amperes, allow_hyphen_values = true)]
    pub current: Option<f64>,

    /// True bus voltage, as shown by a reference instrument, such as 12.003V
    #[arg(long, group = "what", value_parser = volts, allow_hyphen_values = true)]
    pub voltage: Option<f64>,

    /// Sensor to calibrate, if several are configured
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,

    /// Time to average over, at most 1h [default: 60s]
    #[arg(long = "for", value_name = "DURATION", default_value = "60s", hide_default_value = true)]
    #[arg(value_parser = shared_args::up_to_an_hour)]
    pub duration: Duration,

    /// Print a [[sensor]] table to paste
    #[expect(rustdoc::broken_intra_doc_links, reason = "help text, not Markdown")]
    #[arg(long)]
    pub toml: bool,

    /// Measure directly, never through the service
    #[arg(long)]
    pub direct: bool,

    #[command(flatten)]
    pub config: ConfigArgs,
}

fn amperes(text: &str) -> Result<f64, &'static str> {
    let expected = "expected a current such as 2.500A or -2.500A; without a current, use --zero";
    let given = config::parse_quantity(text).filter(|it| it.unit == "A" && it.number != 0.0);
    given.map(|it| it.number).ok_or(expected)
}

fn volts(text: &str) -> Result<f64, &'static str> {
    let given = config::parse_quantity(text).filter(|it| it.unit == "V" && it.number > 0.0);
    given.map(|it| it.number).ok_or("expected a voltage above 0, such as 12.003V")
}

/// Measures the sensor and prints the keys of its calibration.
///
/// # Errors
/// [`Failure::Usage`], [`Failure::Configuration`], [`Failure::Nothing`] if the sensor cannot be
/// measured, [`Failure::Partly`] if the average cannot be used.
pub fn run(args: &CalibrateArgs, caller: Caller<'_>) -> Result<(), Failure> {
    let plan = shared_args::sensors(&args.config, args.device.as_slice())?;
    let provider = BusProvider::new(plan.simulate.as_ref());
    calibrate(args, plan, provider, caller)
}

fn calibrate(
    args: &CalibrateArgs,
    mut plan: Plan,
    provider: BusProvider,
    Caller { output, progress, stop }: Caller<'_>,
) -> Result<(), Failure> {
    let names: Vec<_> = plan.sensors.iter().map(|sensor| sensor.device.clone()).collect();
    let [sensor] = plan.sensors.as_mut_slice() else {
        let message = format!("--device is missing; expected one of {}", names.join(", "));
        return Err(Failure::Usage(message));
    };
    // The chip's own values are needed.
    let existing = std::mem::take(&mut sensor.calibration);
    // A gain beyond the chip's error is that of a shunt in parallel.
    let max = (RATED_AMPERES * nominal(existing.current_gain) * 1e3).round() / 1e3;
    if let Some(current) = args.current.filter(|current| current.abs() > max) {
        return Err(Failure::Usage(format!(
            "--current {current}A: expected a current from -{max}A to {max}A (the chip's rating, \
             times current_gain)"
        )));
    }
    let mut session = Session::open(plan, provider, args.direct, None, Some(Averaging::X1))?;
    let mut progress = Progress::new(progress);
    let mut stopped = !session.start(stop)?;
    let (begun, duration) = (Instant::now(), args.duration);
    let mut blocks = Blocks::new(begun, duration);
    while !stopped && begun.elapsed() < duration {
        let left = duration.saturating_sub(begun.elapsed());
        progress.show(&format!("measuring, {} s left", left.as_secs() + 1));
        stopped = stop(left.min(Session::STEP));
        session.collect();
        let sensor = &mut session.sensors[0];
        // The service has corrected its results.
        let applied = if sensor.service().is_some() { existing } else { Calibration::default() };
        for Slice { end, last, .. } in sensor.ledger.kept.drain(..) {
            let amperes = applied.chip_value(Quantity::Current, last.current.0);
            let volts = applied.chip_value(Quantity::Voltage, last.voltage.0);
            blocks.add(end, amperes, volts);
        }
    }
    drop(progress);
    let mut messages = session.close();
    let sensor = &session.sensors[0].plan;
    let means = blocks.means();
    match means.and_then(|means| Ok((means, correct(&means, args, &existing)?))) {
        _ if stopped => messages.insert(0, "stopped by a signal; nothing was averaged".to_owned()),
        Ok((means, corrected)) => write(args, sensor, &means, &corrected, output)?,
        Err(error) => messages.insert(0, format!("{sensor}: {error}")),
    }
    if messages.is_empty() { Ok(()) } else { Err(Failure::Partly(messages)) }
}

fn write(
    args: &CalibrateArgs,
    sensor: &SensorPlan,
    [current, voltage]: &[Mean; 2],
    corrected: &Calibration,
    output: &mut dyn Write,
) -> io::Result<()> {
    let comment = if args.toml { "# " } else { "" };
    writeln!(
        output,
        "{comment}{}  {}\n\
         {comment}  current  {:.3} mA ± {:.3} (mean of {} results, with its standard error)\n\
         {comment}  voltage  {:.5} V ± {:.5}",
        sensor.device,
        sensor.location,
        current.value * 1e3,
        current.error * 1e3,
        current.results,
        voltage.value,
        voltage.error
    )?;
    if args.toml {
        write!(output, "{}", super::scan::table(&sensor.device, sensor.location, ""))?;
    }
    for line in keys(corrected, args) {
        writeln!(output, "{line}")?;
    }
    let next_step = if args.toml {
        ""
    } else if args.zero {
        "Add this to the sensor's table and reload the service. Then connect a load and a \
         reference for the gains: --current, --voltage.\n"
    } else {
        "Add this to the sensor's table, replacing any existing line, and reload the service.\n"
    };
    write!(output, "{next_step}")
}

#[cfg(test)]
mod tests;
