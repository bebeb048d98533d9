//! Details of the selected entry, as lines of text.

use std::time::{Duration, Instant};

use ratatui::style::Style;
use ratatui::text::Line;

use super::model::{Condition, Entry, HostState, WatchedSensor};
use super::numbers::{cost, duration, si, watt_hours};
use super::screen::Screen;
use crate::scrape::ScrapedSensor;

const SECONDS_PER_DAY: f64 = 86_400.0;

/// Returns the details of an entry in lines of at most `width` characters, errors in red.
pub(super) fn lines(
    screen: &Screen,
    entry: &Entry<'_>,
    width: u16,
    now: Instant,
) -> Vec<Line<'static>> {
    let host = &entry.host.name;
    let mut lines = Vec::new();
    let mut add = |is_error: bool, text: String| {
        let style = if is_error { Style::new().red().bold() } else { Style::new() };
        lines.extend(wrapped(&text, width).into_iter().map(|line| Line::styled(line, style)));
    };
    if let HostState::Failing { since, error } = &entry.host.state {
        let failing = duration(now.saturating_duration_since(*since));
        add(true, format!("{host}: {error}; retrying every second, for {failing} so far"));
    }
    if !entry.host.left_out.is_empty() {
        add(true, format!("{host}: {}", entry.host.left_out));
    }
    if entry.condition() == Condition::NoSensors {
        add(false, format!("{host}: responds, but has no sensors"));
    }
    let Some(sensor) = entry.sensor else { return lines };
    let WatchedSensor { last, history, increase, .. } = sensor;
    let watched = duration(now.saturating_duration_since(screen.model.started));
    let mean_power = history.mean_power(screen.span(), now);
    let energies = |name: &str, format: &dyn Fn(f64) -> String| {
        let [total, reverse] = last.energy.map(format);
        let per_day = mean_power.map(|watts| format(watts * SECONDS_PER_DAY));
        let parts = [
            Some(format!("{name} {total} total; {} in {watched}", format(increase.energy))),
            per_day.map(|amount| format!("{amount} per day at this rate")),
            (last.energy[1] > 0.0).then(|| format!("{reverse} in reverse")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    };
    add(false, identity(last, host));
    add(false, energies("Energy", &watt_hours));
    if let Some(price) = screen.price {
        add(false, energies("Cost", &|joules| cost(joules, price)));
    }
    if let Some(alert) = &last.alert {
        let limit = si(alert.limit, alert.unit);
        let state = if alert.active { "ACTIVE" } else { "inactive" };
        let increase = increased(increase.alerts);
        let text = format!("Alert {} {limit}: {state}; {} total{increase}", alert.on, last.alerts);
        add(alert.active, text);
    }
    add(increase.errors.values().any(|count| *count > 0.0), errors(sensor));
    lines
}

/// Returns the names, location, cycle time and own labels of a sensor.
fn identity(sensor: &ScrapedSensor, host: &str) -> String {
    let names = ["hostname", "device"];
    let location = sensor.chip.iter().map(|chip| chip.location_text.clone());
    let cycle = sensor.cycle.map(|seconds| format!("result every {}", si(seconds, "s")));
    let labels = sensor.labels.iter().filter(|(name, _)| !names.contains(&name.as_str()));
    let labels = labels.map(|(name, value)| format!("{name}={value}"));
    let parts: Vec<_> = location.chain([host.to_owned()]).chain(cycle).chain(labels).collect();
    let names = names.map(|name| sensor.label(name)).join(" ");
    format!("{}: {}", names.trim_start(), parts.join(", "))
}

/// Returns the error counters, and the part of the time that was measured.
fn errors(WatchedSensor { last, increase, .. }: &WatchedSensor) -> String {
    let counts = last.errors.iter().filter(|(_, count)| **count > 0.0).map(|(kind, count)| {
        let increase = increase.errors.get(kind).copied().unwrap_or_default();
        format!("{kind} {count}{}", increased(increase))
    });
    let counts: Vec<_> = counts.collect();
    let counts = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
    let time = |seconds| duration(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    let (measured, total) = (time(last.measured), time(last.measured + last.unmeasured));
    format!("Errors {counts}; measured {measured} of {total}")
}

/// Formats the increase of a counter since the start: ` (+3)`, nothing if it is 0.
fn increased(count: f64) -> String {
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
