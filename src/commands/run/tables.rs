//! The output of `run` for programs: JSON and CSV.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::Run;
use super::figures::Figures;
use super::summary::Summary;
use crate::commands::read::csv_field;

/// Returns the columns that both formats have.
fn columns(figures: &Figures) -> [(&'static str, Option<f64>); 11] {
    let measured = |value| figures.watts.map(|_| value);
    let (extremes, net) = (figures.total.extremes, figures.net);
    [
        ("energy_joules", measured(figures.runs.mean)),
        ("uncertainty_joules", measured(figures.uncertainty())),
        ("mean_watts", figures.watts),
        ("max_watts", extremes.map(|(max, _)| max)),
        ("min_volts", extremes.map(|(_, min)| min)),
        ("duration_seconds", Some(figures.seconds())),
        ("unmeasured_seconds", Some(figures.unmeasured_seconds())),
        ("missed_results", Some(figures.total.missed)),
        ("idle_watts", net.map(|net| net.idle_watts)),
        ("net_joules", net.map(|net| net.joules)),
        ("net_uncertainty_joules", net.map(|net| net.uncertainty)),
    ]
}

/// Returns an object of the columns and some more members.
fn object<const N: usize>(figures: &Figures, more: [(&'static str, Value); N]) -> Value {
    let columns = columns(figures).map(|(name, value)| (name, json!(value)));
    columns.into_iter().chain(more).collect()
}

/// Returns what is known only of several runs.
fn of_runs(figures: &Figures) -> [(&'static str, Value); 2] {
    let Figures { runs, .. } = figures;
    [("runs", json!(runs.count)), ("standard_deviation_joules", json!(runs.deviation()))]
}

/// Writes the figures of each sensor over the runs, and each run.
pub(super) fn write_json(summary: &Summary, output: &mut dyn Write) -> io::Result<()> {
    let mut rows = summary.figures(&summary.counted());
    let sum = rows.split_off(summary.sensors.len()).pop();
    let sensors = summary.sensors.iter().zip(rows).enumerate().map(|(index, (sensor, row))| {
        let (device, figures) = row;
        let [runs, deviation] = of_runs(&figures);
        let device = ("device", json!(device));
        let cycle = ("cycle_seconds", json!(sensor.stream.cycle.as_secs_f64()));
        let notes = ("notes", json!(summary.notes(index, &figures, false)));
        let service = ("service", json!(sensor.service()));
        object(&figures, [runs, deviation, device, cycle, service, notes])
    });
    let runs = summary.runs.iter().map(|run| {
        let rows = summary.figures(&[run]).into_iter();
        let rows = rows.map(|(device, figures)| object(&figures, [("device", json!(device))]));
        let mut sensors: Vec<Value> = rows.collect();
        let sum = sensors.split_off(summary.sensors.len()).pop();
        json!({ "exit_code": run.code, "partial": run.is_partial, "sensors": sensors, "sum": sum })
    });
    let (sensors, runs) = (sensors.collect::<Vec<_>>(), runs.collect::<Vec<_>>());
    let sum = sum.map(|(_, sum)| object(&sum, of_runs(&sum)));
    writeln!(output, "{:#}", json!({ "sensors": sensors, "sum": sum, "runs": runs }))
}

/// Writes a line for each run and sensor (RFC 4180).
pub(super) fn write_csv(summary: &Summary, output: &mut dyn Write) -> io::Result<()> {
    let names = columns(&Figures::default()).map(|(name, _)| name);
    writeln!(output, "run,device,exit_code,partial,{},notes", names.join(","))?;
    for (number, run) in (1..).zip(&summary.runs) {
        for (index, (device, figures)) in summary.figures(&[run]).iter().enumerate() {
            let values = columns(figures)
                .map(|(_, value)| value.map_or(String::new(), |value| value.to_string()));
            let notes = summary.notes(index, figures, false).join("; ");
            let (device, values, notes) = (csv_field(device), values.join(","), csv_field(&notes));
            let Run { code, is_partial, .. } = run;
            writeln!(output, "{number},{device},{code},{is_partial},{values},{notes}")?;
        }
    }
    Ok(())
}
