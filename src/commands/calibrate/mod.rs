//! `calibrate`: measures a sensor without a load or with a reference, and prints its correction.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use clap::Args;

use super::measuring::{Options, Session, Slice};
use super::shared_args::{self, ConfigArgs};
use super::{Caller, Failure, Progress};
use crate::config::{self, Plan, SensorPlan};
use crate::ina260::calibration::Calibration;
use crate::ina260::settings::Averaging;
use crate::supervisor::BusProvider;
use crate::units::Quantity;

mod average;
mod correction;
#[cfg(test)]
mod tests;

use average::{Average, Blocks};
use correction::correct;

// No doc comment on the struct: clap would print it as the program's.
#[expect(missing_docs, reason = "see above")]
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
    #[arg(long = "for", value_name = "DURATION", value_parser = shared_args::up_to_an_hour)]
    pub duration: Option<Duration>,

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
    let current = config::parse_quantity(text).filter(|current| {
        let is_rated = current.number.abs() <= correction::RATED_AMPERES;
        current.unit == "A" && current.number != 0.0 && is_rated
    });
    current
        .map(|current| current.number)
        .ok_or("expected a current from -15A to 15A, such as 2.500A; without a current, use --zero")
}

fn volts(text: &str) -> Result<f64, &'static str> {
    let voltage = config::parse_quantity(text);
    let voltage = voltage.filter(|voltage| voltage.unit == "V" && voltage.number > 0.0);
    voltage.map(|voltage| voltage.number).ok_or("expected a voltage above 0, such as 12.003V")
}

const DEFAULT_DURATION: Duration = Duration::from_secs(60);

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
    caller: Caller<'_>,
) -> Result<(), Failure> {
    let names: Vec<_> = plan.sensors.iter().map(|sensor| sensor.device.clone()).collect();
    let [sensor] = plan.sensors.as_mut_slice() else {
        let message = format!("--device is missing; expected one of {}", names.join(", "));
        return Err(Failure::Usage(message));
    };
    // The chip's own values are needed.
    let existing = std::mem::take(&mut sensor.calibration);
    let sensor = sensor.clone();
    let options =
        Options { direct: args.direct, averaging: Some(Averaging::X1), ..Options::default() };
    let (mut session, messages) = Session::open(plan, provider, options)?;
    session.start()?;
    let outcome = measure(args, &mut session, &existing, caller.progress, caller.stop);
    let failed = [messages, session.close()].concat();
    let written = outcome.and_then(|average| {
        let corrected = correct(&average, args, &existing);
        let corrected = corrected.map_err(|error| partly(&sensor, &error))?;
        let keys = correction::keys(&corrected, args);
        Ok(write(args, &sensor, &average, &keys, caller.output)?)
    });
    match written {
        Err(Failure::Partly(messages)) => Err(Failure::Partly([messages, failed].concat())),
        Ok(()) if !failed.is_empty() => Err(Failure::Partly(failed)),
        written => written,
    }
}

fn partly(sensor: &SensorPlan, error: &dyn std::fmt::Display) -> Failure {
    Failure::Partly(vec![format!("sensor {} ({}): {error}", sensor.device, sensor.location)])
}

fn measure(
    args: &CalibrateArgs,
    session: &mut Session,
    existing: &Calibration,
    progress: Option<&mut dyn Write>,
    stop: &mut dyn FnMut(Duration) -> bool,
) -> Result<Average, Failure> {
    let duration = args.duration.unwrap_or(DEFAULT_DURATION);
    let mut progress = Progress::new(progress);
    let mut stopped = !session.wait_ready(stop);
    // The service has corrected its results.
    let is_corrected = session.sensors.iter().any(|sensor| sensor.service().is_some());
    let begun = Instant::now();
    let mut blocks = Blocks::new(begun, duration);
    while !stopped && begun.elapsed() < duration {
        let left = duration.saturating_sub(begun.elapsed());
        progress.show(&format!("measuring, {} s left", left.as_secs() + 1));
        stopped = stop(left.min(Session::STEP));
        session.collect(|Slice { end, last, .. }| {
            let (mut amperes, mut volts) = (last.current.0, last.voltage.0);
            if is_corrected {
                amperes = existing.chip_value(Quantity::Current, amperes);
                volts = existing.chip_value(Quantity::Voltage, volts);
            }
            blocks.add(*end, amperes, volts);
        });
    }
    drop(progress);
    if stopped {
        return Err(Failure::Partly(vec!["stopped by a signal; nothing was averaged".to_owned()]));
    }
    let sensor = &session.sensors[0].plan;
    blocks.average().map_err(|error| partly(sensor, &error))
}

/// Writes the average and the keys that follow from it.
fn write(
    args: &CalibrateArgs,
    sensor: &SensorPlan,
    average: &Average,
    keys: &[String],
    output: &mut dyn Write,
) -> io::Result<()> {
    let Average { results, current, voltage } = average;
    let comment = if args.toml { "# " } else { "" };
    writeln!(
        output,
        "{comment}{}  {}\n\
         {comment}  current  {:.3} mA ± {:.3} (mean of {results} results, with its standard \
         error)\n\
         {comment}  voltage  {:.5} V ± {:.5}",
        sensor.device,
        sensor.location,
        current.mean * 1e3,
        current.error * 1e3,
        voltage.mean,
        voltage.error
    )?;
    if args.toml {
        write!(output, "{}", super::scan::table(&sensor.device, sensor.location, ""))?;
    }
    for line in keys {
        writeln!(output, "{line}")?;
    }
    let next = match (args.toml, args.zero) {
        (true, _) => "",
        (false, true) => {
            "Add this to the sensor's table and reload the service. Then connect a load and a \
             reference for the gains: --current, --voltage.\n"
        }
        (false, false) => {
            "Add this to the sensor's table, replacing any existing line, and reload the service.\n"
        }
    };
    write!(output, "{next}")?;
    output.flush()
}
