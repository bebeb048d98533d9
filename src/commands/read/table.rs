//! What sensors show, for people.

use std::io::{self, Write};

use super::Visit;
use super::seen::{Seen, State};

/// Writes a paragraph for each sensor.
pub(super) fn write(visits: &[Visit], output: &mut dyn Write) -> io::Result<()> {
    for (index, visit) in visits.iter().enumerate() {
        if index > 0 {
            writeln!(output)?;
        }
        let place = visit.sensor.location;
        writeln!(output, "{}  {place}", visit.sensor.device)?;
        for (what, value) in lines(visit) {
            let line = format!("  {what:9} {value}");
            writeln!(output, "{}", line.trim_end())?;
        }
    }
    output.flush()
}

fn lines(visit: &Visit) -> Vec<(&'static str, String)> {
    let Ok(seen) = &visit.outcome else {
        // Why is for standard error.
        return vec![("no result", String::new())];
    };
    let mut lines = vec![
        ("voltage", seen.measured.voltage.to_string()),
        ("current", seen.measured.current.to_string()),
        ("power", seen.measured.power.to_string()),
    ];
    if let Ok(state) = &seen.state {
        lines.push(("settings", settings(state)));
    }
    lines.push(("flags", flags(seen)));
    if let Ok(state) = &seen.state {
        lines.push(("alert", alert(state)));
    }
    lines.push(("identity", format!("INA260, die {}", seen.die)));
    match &seen.state {
        Err(why) => lines.push(("", why.clone())),
        Ok(state) if state.is_the_services() => {
            lines.push((
                "",
                "the bus is in use: settings and alert are what the service says".to_owned(),
            ));
        }
        Ok(_) => {}
    }
    lines
}

fn settings(state: &State) -> String {
    let State {
        averaging,
        voltage_micros,
        current_micros,
        ..
    } = state;
    let millis = f64::from(state.cycle_micros()) / 1e3;
    let note = if !state.is_continuous() {
        format!("; {}: the result may be of any age", state.mode.name())
    } else if state.is_as_at_power_on() {
        "; as at power-on, the service sets others".to_owned()
    } else {
        String::new()
    };
    format!(
        "mean of {averaging} × ({current_micros} µs current + {voltage_micros} µs voltage) = {millis} ms{note}"
    )
}

fn flags(seen: &Seen) -> String {
    let ready = seen.state.as_ref().ok().and_then(|state| state.ready);
    let active = seen.state.as_ref().is_ok_and(|state| state.alert_active);
    let flags: Vec<&str> = [
        (ready == Some(true), "ready"),
        (active, "alert"),
        (seen.saturated, "end of scale"),
    ]
    .into_iter()
    .filter_map(|(is_set, name)| is_set.then_some(name))
    .collect();
    if flags.is_empty() {
        "none".to_owned()
    } else {
        flags.join(", ")
    }
}

fn alert(state: &State) -> String {
    match &state.alert {
        None => "none".to_owned(),
        Some((on, limit)) => {
            let active = if state.alert_active {
                "active"
            } else {
                "quiet"
            };
            format!("{on} {limit} {}: {active}", unit(on))
        }
    }
}

fn unit(on: &str) -> &'static str {
    use crate::ina260::alert::Function;
    let mut functions = Function::ALL.into_iter();
    functions
        .find(|function| function.name() == on)
        .map_or("", Function::unit)
}
