//! Details of the selected entry, as lines of text.

use std::time::{Duration, Instant};

use ratatui::style::Stylize;
use ratatui::text::Line;

use super::model::{Entry, HostState, WatchedSensor};
use super::numbers::{cost, duration, si, watt_hours};
use super::screen::Screen;
use crate::scrape::ScrapedAlert;

const SECONDS_PER_DAY: f64 = 86_400.0;

/// Returns the details of an entry in lines of at most `width` characters, errors in red.
pub(super) fn lines(
    screen: &Screen,
    entry: &Entry<'_>,
    width: u16,
    now: Instant,
) -> Vec<Line<'static>> {
    let paragraphs = paragraphs(screen, entry, now);
    let lines = paragraphs.into_iter().flat_map(|(is_error, text)| {
        wrapped(&text, width).into_iter().map(move |line| {
            let line = Line::from(line);
            if is_error { line.red().bold() } else { line }
        })
    });
    lines.collect()
}

/// Returns each paragraph, and whether it is an error.
fn paragraphs(screen: &Screen, entry: &Entry<'_>, now: Instant) -> Vec<(bool, String)> {
    let host = &entry.host.name;
    let mut paragraphs = Vec::new();
    if let HostState::Failing { since, error } = &entry.host.state {
        let failing = duration(now.saturating_duration_since(*since));
        let text = format!("{host}: {error}; retrying every second, for {failing} so far");
        paragraphs.push((true, text));
    }
    if !entry.host.left_out.is_empty() {
        paragraphs.push((true, format!("{host}: {}", entry.host.left_out)));
    }
    let Some(sensor) = entry.sensor else {
        if entry.host.state == HostState::Up {
            paragraphs.push((false, format!("{host}: responds, but has no sensors")));
        }
        return paragraphs;
    };
    let (model, _) = screen.displayed(now);
    let watched = duration(now.saturating_duration_since(model.started));
    let mean_power = sensor.history.mean_power(screen.span(), now);
    let energies = |name: &str, format: &dyn Fn(f64) -> String| {
        let [total, reverse] = sensor.last.energy.map(format);
        let in_time = format(sensor.increase.energy[0]);
        let per_day = mean_power.map(|watts| format(watts * SECONDS_PER_DAY));
        let parts = [
            Some(format!("{name} {total} total; {in_time} in {watched}")),
            per_day.map(|amount| format!("{amount} per day at this rate")),
            (sensor.last.energy[1] > 0.0).then(|| format!("{reverse} in reverse")),
        ];
        (false, parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
    };
    paragraphs.push((false, identity(sensor, host)));
    paragraphs.push(energies("Energy", &watt_hours));
    if let Some(price) = screen.price {
        paragraphs.push(energies("Cost", &|joules| cost(joules, price)));
    }
    if let Some(alert) = &sensor.last.alert {
        paragraphs.push((alert.active, alert_status(alert, sensor)));
    }
    paragraphs.push(errors(sensor));
    paragraphs
}

/// Returns the names, location, cycle time and own labels of a sensor.
fn identity(sensor: &WatchedSensor, host: &str) -> String {
    let labels = sensor.last.labels.iter();
    let labels = labels.filter(|(name, _)| name != "hostname" && name != "device");
    let labels = labels.map(|(name, value)| format!("{name}={value}"));
    let cycle = sensor.last.cycle;
    let cycle = cycle.map(|seconds| format!("result every {}", si(seconds, "s")));
    let location = sensor.last.chip.as_ref();
    let location = location.map(|chip| chip.location_text.clone());
    let parts = location.into_iter().chain([host.to_owned()]);
    let parts: Vec<_> = parts.chain(cycle).chain(labels).collect();
    let names = ["hostname", "device"].map(|name| sensor.last.label(name)).join(" ");
    format!("{}: {}", names.trim_start(), parts.join(", "))
}

fn alert_status(alert: &ScrapedAlert, sensor: &WatchedSensor) -> String {
    format!(
        "Alert {} {}: {}; {} total{}",
        alert.on,
        si(alert.limit, alert.unit),
        if alert.active { "ACTIVE" } else { "inactive" },
        sensor.last.alerts,
        increase(sensor.increase.alerts),
    )
}

/// Returns the error counters, and whether one increased while it was watched.
fn errors(sensor: &WatchedSensor) -> (bool, String) {
    let increased = |name: &String| sensor.increase.errors.get(name).copied().unwrap_or_default();
    let counts = sensor.last.errors.iter();
    let counts = counts.filter(|(_, count)| **count > 0.0);
    let counts = counts.map(|(name, count)| format!("{name} {count}{}", increase(increased(name))));
    let mut counts: Vec<String> = counts.collect();
    if counts.is_empty() {
        counts.push("none".to_owned());
    }
    let is_error = sensor.last.errors.keys().any(|name| increased(name) > 0.0);
    let time = |seconds| duration(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    let measured = sensor.last.measured;
    let text = format!(
        "Errors {}; measured {} of {}",
        counts.join(", "),
        time(measured),
        time(measured + sensor.last.unmeasured)
    );
    (is_error, text)
}

/// Formats the increase of a counter since the start: ` (+3)`, nothing if it is 0.
fn increase(count: f64) -> String {
    if count > 0.0 { format!(" (+{count})") } else { String::new() }
}

/// Wraps a paragraph at spaces, with a margin of one space on the left.
// ratatui's `Paragraph` also wraps, but only an unstable feature returns how many lines that takes.
fn wrapped(paragraph: &str, width: u16) -> Vec<String> {
    let width = usize::from(width).max(20);
    let mut lines: Vec<String> = Vec::new();
    for word in paragraph.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!(" {word}")),
        }
    }
    lines
}
