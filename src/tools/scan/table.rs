//! What was found, for people.

use std::io::{self, Write};

use super::Report;

/// Writes a paragraph for each bus.
pub(super) fn write(reports: &[Report], output: &mut dyn Write) -> io::Result<()> {
    for report in reports {
        let (number, name) = (report.adapter.number, &report.adapter.name);
        writeln!(output, "bus {number}  {name}")?;
        match &report.outcome {
            Ok(found) if found.is_empty() => writeln!(output, "  nobody answers")?,
            Ok(found) => {
                for found in found {
                    writeln!(output, "  {}  {}", found.address, found.answer)?;
                }
            }
            Err(why) => writeln!(output, "  {why}")?,
        }
    }
    output.flush()
}
