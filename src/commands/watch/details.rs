//! What is known of the selected row beyond its curves, in lines.

use std::time::{Duration, Instant};

use super::model::{Row, Sensor, State};
use super::numbers::{cost, energy, si, time};
use super::screen::Screen;
use super::snapshot::{Alert, Quantity};

const DAY: f64 = 86_400.0;

/// Each with whether it is bad.
pub(super) fn lines(
    screen: &Screen,
    row: &Row<'_>,
    width: u16,
    now: Instant,
) -> Vec<(bool, String)> {
    let mut lines = Vec::new();
    if let State::Fails(since, why) = &row.host.state {
        let since = time(now.saturating_duration_since(*since));
        let said = format!(
            "{}: {why}; asked again every second, for {since} now",
            row.host.name
        );
        lines.extend(wrapped(&said, width).map(|line| (true, line)));
    }
    let Some(sensor) = row.sensor else {
        if row.host.state == State::Answers {
            lines.push((
                false,
                format!(" {}: answers, and has no sensor", row.host.name),
            ));
        }
        return lines;
    };
    let mut say = |is_bad, text: &str| {
        lines.extend(wrapped(text, width).map(|line| (is_bad, line)));
    };
    say(false, &about(sensor, &row.host.name));
    let (model, _) = screen.seen(now);
    let energies = Energies {
        all: sensor.last.energy[0],
        watched: sensor.added.energy[0],
        day: sensor
            .history
            .mean(Quantity::Power, screen.span(), now)
            .map(|watts| watts * DAY),
        reverse: sensor.last.energy[1],
    };
    let watching = time(now.saturating_duration_since(model.begun));
    say(false, &energies.describe("Energy", &watching, energy));
    if let Some(price) = screen.price {
        say(
            false,
            &energies.describe("Cost", &watching, |joules| cost(joules, price)),
        );
    }
    if let Some(alert) = &sensor.last.alert {
        say(alert.active, &alerts(alert, sensor));
    }
    let (is_bad, troubles) = troubles(sensor);
    say(is_bad, &troubles);
    lines
}

fn about(sensor: &Sensor, host: &str) -> String {
    let labels = sensor.last.labels.iter();
    let own = labels.filter(|(name, _)| name != "hostname" && name != "device");
    let own = own.map(|(name, value)| format!("{name}={value}"));
    let cycle = sensor.last.cycle;
    let cycle = cycle.map(|seconds| format!("a result each {}", si(seconds, "s")));
    let parts = [sensor.last.place.clone(), host.to_owned()];
    let parts = parts.into_iter().chain(cycle).chain(own);
    let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    let of = [sensor.label("hostname"), sensor.label("device")].join(" ");
    format!("{of}: {}", parts.join(", "))
}

/// In joules.
struct Energies {
    all: f64,
    watched: f64,
    /// Of a day like the time that the curves show.
    day: Option<f64>,
    reverse: f64,
}

impl Energies {
    fn describe(&self, name: &str, watching: &str, amount: impl Fn(f64) -> String) -> String {
        let all = format!("{name} {} in all", amount(self.all));
        let watched = format!("{} in {watching}", amount(self.watched));
        let day = self
            .day
            .map(|day| format!("{} a day at this rate", amount(day)));
        let reverse = (self.reverse > 0.0).then(|| format!("{} in reverse", amount(self.reverse)));
        let parts = [all, watched].into_iter().chain(day).chain(reverse);
        parts.collect::<Vec<_>>().join("; ")
    }
}

fn alerts(alert: &Alert, sensor: &Sensor) -> String {
    let unit = match alert.on.rsplit_once('-') {
        Some((_, "current")) => "A",
        Some((_, "voltage")) => "V",
        _ => "W",
    };
    let state = if alert.active { "ACTIVE" } else { "quiet" };
    format!(
        "Alert {} {}: {state}; {}{} in all",
        alert.on,
        si(alert.limit, unit),
        sensor.last.alerts,
        more(sensor.added.alerts),
    )
}

/// What went wrong, and whether any of it did while somebody watched.
fn troubles(sensor: &Sensor) -> (bool, String) {
    let added = |name: &String| sensor.added.troubles.get(name).copied().unwrap_or_default();
    let mut parts: Vec<String> = sensor
        .last
        .troubles
        .iter()
        .filter(|(_, count)| **count > 0.0)
        .map(|(name, count)| format!("{name} {count}{}", more(added(name))))
        .collect();
    let is_bad = sensor.last.troubles.keys().any(|name| added(name) > 0.0);
    if parts.is_empty() {
        parts.push("none".to_owned());
    }
    let seconds = |seconds: f64| time(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    let (measured, unmeasured) = (sensor.last.measured, sensor.last.unmeasured);
    let whole = seconds(measured + unmeasured);
    let text = format!(
        "Errors {}; measured {} of {whole}",
        parts.join(", "),
        seconds(measured)
    );
    (is_bad, text)
}

/// What came while it was watched.
fn more(count: f64) -> String {
    if count > 0.0 {
        format!(" (+{count})")
    } else {
        String::new()
    }
}

/// A sentence in lines of a width, broken at spaces, each begun with one.
fn wrapped(sentence: &str, width: u16) -> impl Iterator<Item = String> {
    let width = usize::from(width).max(20);
    let mut lines: Vec<String> = Vec::new();
    for word in sentence.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!(" {word}")),
        }
    }
    lines.into_iter()
}
