//! `read`: prints one result of each sensor, or results continuously. Never changes a setting.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use clap::Args;

use super::shared_args::{self, ConfigArgs, LocationArgs};
use super::{Caller, Failure};
use crate::config::{self, Overrides, Plan, SensorPlan};
use crate::supervisor::BusProvider;

mod output;
pub(super) mod reader;

pub(super) use output::field as csv_field;
use reader::{Reader, SensorReport};

#[expect(missing_docs, reason = "clap would print it as the program's")]
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "\
Examples:
  ina260-exporter read                      the configured sensors
  ina260-exporter read --address 0x41       the sensor on bus 1 at address 0x41
  ina260-exporter read --follow --interval 100ms --for 10s > inrush.csv
  ina260-exporter read --json | jq '.sensors[].power_watts'
  ina260-exporter read --simulate           print an example without hardware")]
pub struct ReadArgs {
    #[command(flatten)]
    pub location: Option<LocationArgs>,

    /// Print JSON
    #[arg(long, conflicts_with = "follow")]
    pub json: bool,

    /// Print CSV continuously until interrupted
    #[arg(long)]
    pub follow: bool,

    /// With --follow, time between two lines of one sensor [default: the configured interval]
    #[arg(long, value_name = "DURATION", requires = "follow")]
    pub interval: Option<String>,

    /// With --follow, end after this time, at most 1h [default: until interrupted]
    #[arg(long = "for", value_name = "DURATION", requires = "follow")]
    #[arg(value_parser = shared_args::up_to_an_hour)]
    pub duration: Option<Duration>,

    #[command(flatten)]
    pub config: ConfigArgs,
}

/// See [`Caller::stop`].
pub(super) type Stop<'a> = &'a mut dyn FnMut(Duration) -> bool;

struct Row<'a> {
    sensor: &'a SensorPlan,
    outcome: Result<SensorReport, reader::Error>,
}

/// Reads the configured sensors, or the one at the given location, and writes their results.
///
/// # Errors
/// [`Failure::Nothing`] if no sensor was read, [`Failure::Partly`] if some were not.
pub fn run(args: &ReadArgs, Caller { output, stop, .. }: Caller<'_>) -> Result<(), Failure> {
    let location = args.location.as_ref();
    let mut plan = shared_args::plan(location, &args.config)?;
    if args.interval.is_some() {
        let given = Overrides::default().with("interval", args.interval.as_deref());
        let interval = config::load_alone(&given)?.plan.sensors[0].interval;
        plan.sensors.iter_mut().for_each(|sensor| sensor.interval = interval);
    }
    let provider = BusProvider::new(plan.simulate.as_ref());
    let is_mux_named = location.is_some_and(|location| location.mux.is_some());
    let mut reader = Reader::new(&plan, provider, is_mux_named);
    if args.follow {
        return follow(&plan, &mut reader, args.duration, output, stop);
    }
    let row = |sensor| Row { sensor, outcome: reader.read(sensor, stop) };
    let rows: Vec<Row> = plan.sensors.iter().map(row).collect();
    if args.json {
        output::write_json(&rows, output)?;
    } else {
        output::write_text(&rows, output)?;
    }
    outcome(rows.iter().filter_map(failure).collect(), rows.len())
}

fn outcome(failures: Vec<String>, sensors: usize) -> Result<(), Failure> {
    match failures.len() {
        0 => Ok(()),
        all if all == sensors => Err(Failure::Nothing(failures)),
        _ => Err(Failure::Partly(failures)),
    }
}

fn failure(Row { sensor, outcome }: &Row) -> Option<String> {
    Some(format!("{sensor}: {}", outcome.as_ref().err()?))
}

/// Writes a line for each sensor at its interval, until a request to stop or the end of the
/// duration. Missed lines are not made up for.
fn follow(
    plan: &Plan,
    reader: &mut Reader,
    duration: Option<Duration>,
    output: &mut dyn Write,
    stop: Stop,
) -> Result<(), Failure> {
    writeln!(output, "{}", output::COLUMNS)?;
    output.flush()?;
    let begun = Instant::now();
    let mut due: Vec<_> = plan.sensors.iter().map(|sensor| (begun, sensor)).collect();
    // Failures of the sensors that were never read.
    let mut unread = BTreeMap::new();
    while let Some((at, sensor)) = due.iter_mut().min_by_key(|(at, _)| *at) {
        let end = duration.map(|duration| begun + duration).filter(|end| end < at);
        if stop(end.unwrap_or(*at).saturating_duration_since(Instant::now())) || end.is_some() {
            break;
        }
        reader.exporters.expire();
        let row = Row { sensor, outcome: reader.read(sensor, stop) };
        output::write_csv(&row, output)?;
        let first = unread.entry(&sensor.device).or_insert_with(|| failure(&row));
        *first = first.take().filter(|_| row.outcome.is_err());
        *at = (*at + sensor.interval).max(Instant::now());
    }
    outcome(unread.into_values().flatten().collect(), plan.sensors.len())
}

#[cfg(test)]
mod tests;
