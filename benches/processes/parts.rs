//! Figures of the bench `parts`, from the table that divan prints: it has no machine-readable
//! output.

use std::error::Error;
use std::fs;
use std::path::Path;

use crate::shared::summary::{Figure, Summary};

/// File to which `benches/run` writes the table.
const TABLE: &str = "parts.txt";

/// Adds the figures with their targets.
pub(crate) fn add(summary: &mut Summary, results: &Path) -> Result<(), Box<dyn Error>> {
    let path = results.join(TABLE);
    let table = fs::read_to_string(&path)
        .map_err(|error| format!("{}: {error}; run benches/run", path.display()))?;
    let median = |name: &str| median(&table, name).ok_or(format!("{TABLE}: no figure for {name}"));
    let (result, transfers) = (median("result")?, median("result_transfers")?);
    summary.add(
        Figure::new(
            "one result, registers to meter, without transfers",
            (result - transfers) / 1e3,
            "µs",
        )
        .target(0.6)
        .reference("the transfers alone", transfers / 1e3)
        .reference("the Python script", 29.0),
    );
    summary.add(Figure::new(
        "one result from the simulated chip",
        median("result_simulated")? / 1e3,
        "µs",
    ));
    summary.add(
        Figure::new("tick of 16 sensors", median("tick_of_16_sensors")? / 1e6, "ms").target(0.5),
    );
    Ok(())
}

/// Returns the median in nanoseconds from a line `├─ name  fastest │ slowest │ median │ …`.
fn median(table: &str, name: &str) -> Option<f64> {
    table.lines().find_map(|line| {
        let mut columns = line.split('│');
        let found = columns.next()?.split_whitespace().nth(1)?;
        let mut median = columns.nth(1)?.split_whitespace();
        let (value, unit) = (median.next()?.parse::<f64>().ok()?, median.next()?);
        let nanos = match unit {
            "ns" => value,
            "µs" => value * 1e3,
            "ms" => value * 1e6,
            _ => return None,
        };
        (found == name).then_some(nanos)
    })
}
