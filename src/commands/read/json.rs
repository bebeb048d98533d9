//! What sensors show, for programs.

use std::io::{self, Write};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::Visit;
use super::seen::{Seen, State};

/// Writes one object, `sensors`.
pub(super) fn write(visits: &[Visit], output: &mut dyn Write) -> io::Result<()> {
    let sensors: Vec<Value> = visits.iter().map(sensor).collect();
    writeln!(output, "{:#}", json!({ "sensors": sensors }))?;
    output.flush()
}

fn sensor(visit: &Visit) -> Value {
    let sensor = visit.sensor;
    let mut value = json!({
        "device": sensor.device,
        "bus": sensor.location.bus,
        "mux": sensor.location.mux.map(|channel| channel.to_string()),
        "address": sensor.location.address.to_string(),
    });
    let more = match &visit.outcome {
        Ok(seen) => shown(seen),
        Err(why) => json!({ "error": why }),
    };
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

fn shown(seen: &Seen) -> Value {
    let state = seen.state.as_ref().ok();
    json!({
        "timestamp_seconds": unix_seconds(seen.at),
        "voltage_volts": seen.measured.voltage.0,
        "current_amperes": seen.measured.current.0,
        "power_watts": seen.measured.power.0,
        "die": seen.die,
        "settings": state.map(settings),
        "flags": {
            "ready": state.and_then(|state| state.ready),
            "alert": state.map(|state| state.alert_active),
            "end_of_scale": seen.saturated,
        },
        "alert": state.and_then(alert),
        "settings_unknown": seen.state.as_ref().err(),
        "settings_from": state.map(|state| if state.is_the_services() { "service" } else { "chip" }),
    })
}

fn settings(state: &State) -> Value {
    json!({
        "averaging": state.averaging,
        "voltage_conversion_time_microseconds": state.voltage_micros,
        "current_conversion_time_microseconds": state.current_micros,
        "cycle_seconds": f64::from(state.cycle_micros()) / 1e6,
        "mode": state.mode.name(),
    })
}

fn alert(state: &State) -> Option<Value> {
    let (on, limit) = state.alert.as_ref()?;
    Some(json!({ "on": on, "limit": limit, "active": state.alert_active }))
}

/// Since 1970, in milliseconds' steps.
pub(super) fn unix_seconds(at: SystemTime) -> f64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    (since.unwrap_or_default().as_secs_f64() * 1e3).round() / 1e3
}
