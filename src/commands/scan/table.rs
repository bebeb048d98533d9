//! What was found, for people.

use std::io::{self, Write};

use super::{Found, Report};

/// Writes a paragraph for each bus, with a line for each chip.
pub(super) fn write(reports: &[Report], output: &mut dyn Write) -> io::Result<()> {
    for report in reports {
        let name = &report.adapter.name;
        let separator = if name.is_empty() { "" } else { "  " };
        writeln!(output, "bus {}{separator}{name}", report.adapter.number)?;
        if let Some(user) = &report.in_use {
            writeln!(output, "  in use by {user}")?;
        }
        let lines: Vec<(String, String)> = report.found.iter().map(line).collect();
        let width = lines.iter().map(|(place, _)| place.len()).max();
        let width = width.unwrap_or_default();
        for (place, what) in lines {
            writeln!(output, "  {place:width$}  {what}")?;
        }
        for problem in &report.problems {
            writeln!(output, "  {problem}")?;
        }
        if report.found.is_empty() && report.problems.is_empty() {
            writeln!(output, "  nobody answers from 0x40 to 0x4f")?;
        }
    }
    output.flush()
}

fn line(found: &Found) -> (String, String) {
    let channel = found
        .channel
        .map_or(String::new(), |channel| format!("mux {channel}, "));
    let device = found
        .device
        .as_ref()
        .map_or(String::new(), |device| format!(": {device}"));
    (
        format!("{channel}{}", found.address),
        format!("{}{device}", found.answer),
    )
}
