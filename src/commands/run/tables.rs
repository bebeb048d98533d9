//! The output of `run` for programs: JSON and CSV.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::figures::Figures;
use super::summary::Summary;
use crate::commands::read::csv_field;

/// Returns the columns that both have, with names that end in their unit.
fn columns(figures: &Figures) -> [(&'static str, Option<f64>); 11] {
    let measured = |value| figures.watts.map(|_| value);
    let (extremes, net) = (figures.extremes, figures.net);
    [
        ("energy_joules", measured(figures.joules)),
        ("uncertainty_joules", measured(figures.uncertainty)),
        ("mean_watts", figures.watts),
        ("max_watts", extremes.map(|(max, _)| max)),
        ("min_volts", extremes.map(|(_, min)| min)),
        ("duration_seconds", Some(figures.seconds)),
        ("unmeasured_seconds", Some(figures.unmeasured_seconds)),
        ("missed_results", Some(figures.missed)),
        ("idle_watts", net.map(|net| net.idle_watts)),
        ("net_joules", net.map(|net| net.joules)),
        ("net_uncertainty_joules", net.map(|net| net.uncertainty)),
    ]
}

fn object(figures: &Figures) -> Map<String, Value> {
    columns(figures).into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

/// Writes the figures of each sensor over the runs, and each run.
pub(super) fn write_json(summary: &Summary, output: &mut dyn Write) -> io::Result<()> {
    let all = |figures: &Figures| {
        let mut object = object(figures);
        object.insert("runs".to_owned(), json!(figures.runs));
        object.insert("standard_deviation_joules".to_owned(), json!(figures.deviation));
        object
    };
    let (figures, sum) = summary.figures();
    let sensors = summary.sensors.iter().zip(&figures).map(|(sensor, figures)| {
        let mut object = all(figures);
        object.insert("device".to_owned(), json!(sensor.plan.device));
        object.insert("cycle_seconds".to_owned(), json!(sensor.cycle().as_secs_f64()));
        object.insert("service".to_owned(), json!(sensor.service()));
        object
    });
    let runs = (0..summary.runs.len()).map(|number| {
        let run = &summary.runs[number];
        let sensors = summary.sensors.iter().enumerate().map(|(index, sensor)| {
            let mut object = object(&summary.figures_of_run(number, index));
            object.insert("device".to_owned(), json!(sensor.plan.device));
            object
        });
        let sensors: Vec<_> = sensors.collect();
        json!({ "exit_code": run.code, "partial": run.is_partial, "sensors": sensors })
    });
    let (sensors, runs) = (sensors.collect::<Vec<_>>(), runs.collect::<Vec<_>>());
    let sum = sum.as_ref().map(all);
    writeln!(output, "{:#}", json!({ "sensors": sensors, "sum": sum, "runs": runs }))
}

/// Writes a line for each run and sensor (RFC 4180).
pub(super) fn write_csv(summary: &Summary, output: &mut dyn Write) -> io::Result<()> {
    let names = columns(&Figures::default()).map(|(name, _)| name);
    writeln!(output, "run,device,exit_code,partial,{}", names.join(","))?;
    for (number, run) in summary.runs.iter().enumerate() {
        for (index, sensor) in summary.sensors.iter().enumerate() {
            let values = columns(&summary.figures_of_run(number, index))
                .map(|(_, value)| value.map_or(String::new(), |value| value.to_string()));
            let (device, code, partial) =
                (csv_field(&sensor.plan.device), run.code, run.is_partial);
            writeln!(output, "{},{device},{code},{partial},{}", number + 1, values.join(","))?;
        }
    }
    Ok(())
}
