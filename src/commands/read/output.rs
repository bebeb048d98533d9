//! Output of `read`: text, JSON, or CSV (RFC 4180) with a line for each result.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::Row;
use super::reader::{ChipState, SensorReport};
use crate::i2c::Location;
use crate::ina260::registers::POWER_ON_CONFIGURATION;
use crate::ina260::settings::{Mode, Settings};

pub(super) const COLUMNS: &str = "timestamp_seconds,device,bus,mux,address,voltage_volts,\
                                  current_amperes,power_watts,alert,error";

const FROM_SERVICE: &str = "the bus is in use: settings and alert are from the service's metrics";

pub(super) fn write_text(rows: &[Row], output: &mut dyn Write) -> io::Result<()> {
    for (index, Row { sensor, outcome }) in rows.iter().enumerate() {
        let separator = if index > 0 { "\n" } else { "" };
        writeln!(output, "{separator}{}  {}", sensor.device, sensor.location)?;
        let Ok(report) = outcome else {
            // The error goes to standard error.
            writeln!(output, "  no result")?;
            continue;
        };
        let state = report.state.as_ref();
        let note = match state {
            Ok(state) if state.ready.is_some() => None,
            Ok(_) => Some(FROM_SERVICE.to_owned()),
            Err(reason) => Some(reason.clone()),
        };
        for (name, value) in [
            ("voltage", Some(format!("{:.3} V", report.measured.voltage.0))),
            ("current", Some(format!("{:.3} A", report.measured.current.0))),
            ("power", Some(format!("{:.3} W", report.measured.power.0))),
            ("settings", state.ok().map(|state| settings(state, sensor.configure))),
            ("flags", Some(flags(report))),
            ("alert", state.ok().map(alert)),
            ("identity", Some(format!("INA260, die {}", report.die))),
            ("", note),
        ] {
            if let Some(value) = value {
                writeln!(output, "  {name:9} {value}")?;
            }
        }
    }
    Ok(())
}

fn settings(state: &ChipState, is_configured: bool) -> String {
    let Settings { averaging, voltage_conversion_time, current_conversion_time } = state.settings;
    let note = if state.mode != Mode::BothContinuous {
        format!(" ({}; the result may be old)", state.mode.name())
    } else if state.ready.is_some() && state.settings.word() == POWER_ON_CONFIGURATION {
        let next = if is_configured { "; the service will reconfigure the chip" } else { "" };
        format!(" (power-on defaults{next})")
    } else {
        String::new()
    };
    format!(
        "mean of {} × ({} µs current + {} µs voltage) = {} ms{note}",
        averaging.count(),
        current_conversion_time.micros(),
        voltage_conversion_time.micros(),
        state.settings.cycle().div_duration_f64(Duration::from_millis(1))
    )
}

fn flags(report: &SensorReport) -> String {
    let state = report.state.as_ref().ok();
    let flags = [
        state.is_some_and(|it| it.ready == Some(true)).then_some("ready"),
        state.is_some_and(|it| it.alert_active).then_some("alert"),
        report.saturated.then_some("full scale"),
    ];
    let set: Vec<&str> = flags.into_iter().flatten().collect();
    if set.is_empty() { "none".to_owned() } else { set.join(", ") }
}

fn alert(state: &ChipState) -> String {
    state.alert.as_ref().map_or("none".to_owned(), |alert| {
        let active = if alert.active { "active" } else { "inactive" };
        format!("{} {} {}: {active}", alert.on, alert.limit, alert.unit)
    })
}

pub(super) fn write_json(rows: &[Row], output: &mut dyn Write) -> io::Result<()> {
    let sensors: Vec<Value> = rows.iter().map(json).collect();
    writeln!(output, "{:#}", json!({ "sensors": sensors }))
}

fn json(Row { sensor, outcome }: &Row) -> Value {
    let mut value = match outcome {
        Ok(report) => result(report),
        Err(error) => json!({ "error": error.to_string() }),
    };
    let location = sensor.location;
    value["device"] = json!(sensor.device);
    value["bus"] = json!(location.bus);
    value["mux"] = json!(location.mux.map(|channel| channel.to_string()));
    value["address"] = json!(location.address.to_string());
    value
}

fn result(report: &SensorReport) -> Value {
    let state = report.state.as_ref().ok();
    let alert = state.and_then(|state| state.alert.as_ref());
    json!({
        "timestamp_seconds": unix_seconds(report.at),
        "voltage_volts": report.measured.voltage.0,
        "current_amperes": report.measured.current.0,
        "power_watts": report.measured.power.0,
        "die": report.die,
        "settings": state.map(|state| json!({
            "averaging": state.settings.averaging.count(),
            "voltage_conversion_time_microseconds": state.settings.voltage_conversion_time.micros(),
            "current_conversion_time_microseconds": state.settings.current_conversion_time.micros(),
            "cycle_seconds": state.settings.cycle().as_secs_f64(),
            "mode": state.mode.name(),
        })),
        "flags": {
            "ready": state.and_then(|state| state.ready),
            "alert": state.map(|state| state.alert_active),
            "end_of_scale": report.saturated,
        },
        "alert": alert.map(|it| json!({ "on": it.on, "limit": it.limit, "active": it.active })),
        "settings_unknown": report.state.as_ref().err(),
        "settings_from": state.map(|it| if it.ready.is_none() { "service" } else { "chip" }),
    })
}

/// Writes a line of CSV, and flushes it to the reader of a pipe.
pub(super) fn write_csv(Row { sensor, outcome }: &Row, output: &mut dyn Write) -> io::Result<()> {
    let result = match outcome {
        Ok(SensorReport { measured, state, .. }) => {
            let [volts, amperes, watts] =
                [measured.voltage.0, measured.current.0, measured.power.0];
            let alert = state.as_ref().map(|state| u8::from(state.alert_active).to_string());
            format!("{volts},{amperes},{watts},{},", alert.unwrap_or_default())
        }
        Err(error) => format!(",,,,{}", field(&error.to_string())),
    };
    let at = outcome.as_ref().map_or_else(|_| SystemTime::now(), |report| report.at);
    let Location { bus, mux, address } = sensor.location;
    let mux = mux.map_or(String::new(), |mux| mux.to_string());
    let bus = bus.to_string();
    let (at, device, bus) = (unix_seconds(at), field(&sensor.device), field(&bus));
    writeln!(output, "{at:.3},{device},{bus},{mux},{address},{result}")?;
    output.flush()
}

/// Returns a field of CSV, quoted if necessary.
pub(in crate::commands) fn field(text: &str) -> Cow<'_, str> {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text.into()
    }
}

/// Returns seconds since 1970, rounded to milliseconds.
fn unix_seconds(at: SystemTime) -> f64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    (since.unwrap_or_default().as_secs_f64() * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::super::reader;
    use super::*;
    use crate::config;

    #[test]
    fn line_has_a_field_for_each_column() {
        let overrides = config::Overrides::default().with("bus", Some("/dev/a,b"));
        let mut sensor = config::load_alone(&overrides).unwrap().plan.sensors.remove(0);
        sensor.device = "12\" fan, left".to_owned();
        let outcome = Err(reader::Error::Bus("not \"there\", or in use".to_owned()));
        let mut line = Vec::new();
        write_csv(&Row { sensor: &sensor, outcome }, &mut line).unwrap();
        let line = String::from_utf8(line).unwrap();
        // As in RFC 4180: commas in quotes do not separate, and a quote is doubled.
        let (mut fields, mut is_quoted) = (vec![String::new()], false);
        for c in line.trim_end().replace("\"\"", "\0").chars() {
            match c {
                '"' => is_quoted = !is_quoted,
                ',' if !is_quoted => fields.push(String::new()),
                '\0' => fields.last_mut().unwrap().push('"'),
                c => fields.last_mut().unwrap().push(c),
            }
        }
        let expected =
            [&sensor.device, "/dev/a,b", "", "0x40", "", "", "", "", "not \"there\", or in use"];
        assert_eq!(fields[1..], expected);
        assert_eq!(fields.len(), COLUMNS.split(',').count());
    }

    #[test]
    fn field_with_comma_or_quote_is_quoted() {
        assert_eq!(field("orin"), "orin");
        assert_eq!(field("a,b"), "\"a,b\"");
        assert_eq!(field("12\" fan"), "\"12\"\" fan\"");
    }
}
