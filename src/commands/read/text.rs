//! Output of `read` as text.

use std::io::{self, Write};

use super::Row;
use super::sensor_report::{ChipState, SensorReport};
use crate::ina260::settings::{Mode, Settings};

/// Writes a paragraph for each sensor.
pub(super) fn write(rows: &[Row], output: &mut dyn Write) -> io::Result<()> {
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            writeln!(output)?;
        }
        writeln!(output, "{}  {}", row.sensor.device, row.sensor.location)?;
        let Ok(report) = &row.outcome else {
            // The error goes to standard error.
            writeln!(output, "  no result")?;
            continue;
        };
        for (name, value) in lines(report) {
            writeln!(output, "  {name:9} {value}")?;
        }
    }
    output.flush()
}

fn lines(report: &SensorReport) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("voltage", report.measured.voltage.to_string()),
        ("current", report.measured.current.to_string()),
        ("power", report.measured.power.to_string()),
    ];
    if let Ok(state) = &report.state {
        lines.push(("settings", settings(state)));
    }
    lines.push(("flags", flags(report)));
    if let Ok(state) = &report.state {
        lines.push(("alert", alert(state)));
    }
    lines.push(("identity", format!("INA260, die {}", report.die)));
    match &report.state {
        Err(reason) => lines.push(("", reason.clone())),
        Ok(state) if state.ready.is_none() => {
            let note = "the bus is in use: settings and alert are from the service's metrics";
            lines.push(("", note.to_owned()));
        }
        Ok(_) => {}
    }
    lines
}

fn settings(state: &ChipState) -> String {
    let Settings { averaging, voltage_conversion_time, current_conversion_time } = state.settings;
    let micros = u32::try_from(state.settings.cycle().as_micros()).unwrap_or(u32::MAX);
    let millis = f64::from(micros) / 1e3;
    let note = if state.mode != Mode::BothContinuous {
        format!(" ({}; the result may be old)", state.mode.name())
    } else if state.is_power_on_default {
        " (power-on defaults; the service will reconfigure)".to_owned()
    } else {
        String::new()
    };
    format!(
        "mean of {} × ({} µs current + {} µs voltage) = {millis} ms{note}",
        averaging.count(),
        current_conversion_time.micros(),
        voltage_conversion_time.micros()
    )
}

fn flags(report: &SensorReport) -> String {
    let state = report.state.as_ref().ok();
    let flags = [
        (state.is_some_and(|it| it.ready == Some(true)), "ready"),
        (state.is_some_and(|it| it.alert_active), "alert"),
        (report.saturated, "full scale"),
    ];
    let set: Vec<&str> =
        flags.into_iter().filter_map(|(is_set, name)| is_set.then_some(name)).collect();
    if set.is_empty() { "none".to_owned() } else { set.join(", ") }
}

fn alert(state: &ChipState) -> String {
    let Some(alert) = &state.alert else {
        return "none".to_owned();
    };
    let active = if alert.active { "active" } else { "inactive" };
    format!("{} {} {}: {active}", alert.on, alert.limit, alert.unit)
}
