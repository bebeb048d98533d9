//! Figures of the bench `parts`, from the table that divan prints: it has no machine-readable
//! output.

use std::error::Error;
use std::fs;
use std::path::Path;

use crate::shared::summary::{Figure, Summary};

/// File to which `benches/run` writes the table.
const TABLE: &str = "parts.txt";

/// Figures that others are compared with.
pub(crate) struct Parts {
    /// CPU time of one result from the registers to the meter, without transfers, in µs.
    pub(crate) result: f64,
}

/// Adds the figures with their targets.
pub(crate) fn add(summary: &mut Summary, results: &Path) -> Result<Parts, Box<dyn Error>> {
    let path = results.join(TABLE);
    let table = fs::read_to_string(&path)
        .map_err(|error| format!("{}: {error}; run benches/run", path.display()))?;
    let median = |name: &str| median(&table, name).ok_or(format!("{TABLE}: no figure for {name}"));
    let transfers = median("result_transfers")?;
    let result = (median("result")? - transfers) / 1e3;
    summary.add(
        Figure::new("one result, registers to meter, without transfers", result, "µs")
            .target(0.6)
            .reference("the transfers alone", transfers / 1e3),
    );
    let simulated = median("result_simulated")? / 1e3;
    summary.add(Figure::new("one result from the simulated chip", simulated, "µs"));
    let tick = median("tick_of_16_sensors")? / 1e6;
    summary.add(Figure::new("tick of 16 sensors", tick, "ms").target(0.5));
    Ok(Parts { result })
}

/// Returns the median in nanoseconds from a line
/// `├─ name  fastest │ slowest │ median │ …`.
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
