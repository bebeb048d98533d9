//! What was found, for programs.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Answer, Found, Report};

/// Writes one object, `buses`.
pub(super) fn write(reports: &[Report], output: &mut dyn Write) -> io::Result<()> {
    let buses: Vec<Value> = reports.iter().map(bus).collect();
    writeln!(output, "{:#}", json!({ "buses": buses }))?;
    output.flush()
}

fn bus(report: &Report) -> Value {
    json!({
        "bus": report.adapter.number,
        "name": report.adapter.name,
        "in_use_by": report.in_use,
        "chips": report.found.iter().map(chip).collect::<Vec<_>>(),
        "problems": report.problems,
    })
}

fn chip(found: &Found) -> Value {
    let word = |word: u16| format!("{word:#06x}");
    let mut chip = json!({
        "address": found.address.to_string(),
        "mux": found.channel.map(|channel| channel.to_string()),
        "kind": found.answer.kind(),
        "device": found.device,
    });
    match &found.answer {
        Answer::Ina260 { die } => chip["die"] = word(*die).into(),
        Answer::ScrapedSensor { up } => chip["up"] = (*up).into(),
        Answer::Other { manufacturer, die } => {
            chip["manufacturer"] = word(*manufacturer).into();
            chip["die"] = word(*die).into();
        }
        Answer::Driver(owner) => {
            chip["driver"] = owner.driver.as_str().into();
            chip["release"] = owner.unbind.as_str().into();
        }
        Answer::Failed(error) => chip["error"] = error.to_string().into(),
    }
    chip
}
