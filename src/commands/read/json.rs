//! Output of `read --json`.

use std::io::{self, Write};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::Row;
use super::sensor_report::{ChipState, SensorReport};

/// Writes one object with the key `sensors`.
pub(super) fn write(rows: &[Row], output: &mut dyn Write) -> io::Result<()> {
    let sensors: Vec<Value> = rows.iter().map(sensor).collect();
    writeln!(output, "{:#}", json!({ "sensors": sensors }))?;
    output.flush()
}

fn sensor(row: &Row) -> Value {
    let location = row.sensor.location;
    let mut value = json!({
        "device": row.sensor.device,
        "bus": location.bus,
        "mux": location.mux.map(|channel| channel.to_string()),
        "address": location.address.to_string(),
    });
    let more = match &row.outcome {
        Ok(report) => result(report),
        Err(error) => json!({ "error": error.to_string() }),
    };
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

fn result(report: &SensorReport) -> Value {
    let state = report.state.as_ref().ok();
    let source = |state: &ChipState| if state.ready.is_none() { "service" } else { "chip" };
    json!({
        "timestamp_seconds": unix_seconds(report.at),
        "voltage_volts": report.measured.voltage.0,
        "current_amperes": report.measured.current.0,
        "power_watts": report.measured.power.0,
        "die": report.die,
        "settings": state.map(settings),
        "flags": {
            "ready": state.and_then(|state| state.ready),
            "alert": state.map(|state| state.alert_active),
            "end_of_scale": report.saturated,
        },
        "alert": state.and_then(alert),
        "settings_unknown": report.state.as_ref().err(),
        "settings_from": state.map(source),
    })
}

fn settings(state: &ChipState) -> Value {
    json!({
        "averaging": state.settings.averaging.count(),
        "voltage_conversion_time_microseconds": state.settings.voltage_conversion_time.micros(),
        "current_conversion_time_microseconds": state.settings.current_conversion_time.micros(),
        "cycle_seconds": state.settings.cycle().as_secs_f64(),
        "mode": state.mode.name(),
    })
}

fn alert(state: &ChipState) -> Option<Value> {
    let alert = state.alert.as_ref()?;
    Some(json!({ "on": alert.on, "limit": alert.limit, "active": alert.active }))
}

/// Returns seconds since 1970, rounded to milliseconds.
pub(super) fn unix_seconds(at: SystemTime) -> f64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    (since.unwrap_or_default().as_secs_f64() * 1e3).round() / 1e3
}
