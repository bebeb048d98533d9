//! Draws a frame: sensor table, charts and details of the selected entry.

use std::time::{Duration, Instant};
use std::{iter, mem};

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Cell, HighlightSpacing, Paragraph, Row, Table, TableState};

use super::charts;
use super::model::{Condition, Entry, HostState, Model, WatchedSensor};
use super::numbers::{cost, duration, plural, si, watt_hours};
use super::screen::{Screen, TerminalCaps};
use crate::scrape::{ScrapedChip, ScrapedSensor};
use crate::units::Quantity;

const KEYS: &str = " q quit  up/down sensor  tab host  space pause/resume  +/- time span";
/// Height of two rows of charts, each with a title and two lines.
const MIN_CHARTS_HEIGHT: usize = 6;
const MIN_WIDTH_FOR_POWER: u16 = 24;
/// Minimum width for more quantities than power.
const MIN_WIDTH_FOR_READINGS: u16 = 60;
const MIN_WIDTH_FOR_COST: u16 = 80;
/// Minimum width of the names of host and device; with less, only the device is shown.
const MIN_WIDTH_OF_NAMES: usize = 16;
const NUMBER_WIDTH: u16 = 9;
const SECONDS_PER_DAY: f64 = 86_400.0;

pub(super) fn draw(screen: &Screen, frame: &mut Frame<'_>, now: Instant) {
    let (model, now) = screen.displayed(now);
    let entries: Vec<Entry<'_>> = model.entries().collect();
    let selected = screen.selected.min(entries.len().saturating_sub(1));
    let Some(entry) = entries.get(selected) else { return };
    let area = frame.area();
    let details = details(screen, entry, area.width, now);
    // In a terminal with few lines, the charts are left out first, then the end of the details.
    let height = usize::from(area.height.saturating_sub(2));
    let full_table = entries.len() + 1;
    let table = full_table.min(height / 4).max(2);
    let has_charts = height >= table + details.len() + MIN_CHARTS_HEIGHT;
    let (table, charts) = if has_charts {
        (table, height - table - details.len())
    } else {
        (full_table.min(height.saturating_sub(details.len())).max(2), 0)
    };
    let lines = |count| Constraint::Length(u16::try_from(count).unwrap_or(u16::MAX));
    let rows = [lines(1), lines(table.min(height)), lines(charts), Constraint::Min(0), lines(1)];
    let [title_area, table_area, charts_area, details_area, keys_area] =
        Layout::vertical(rows).areas(area);

    frame.render_widget(title(screen, model, &entries), title_area);
    draw_table(screen, frame, table_area, &entries, selected);
    if has_charts {
        charts::draw(screen, frame, charts_area, entry, now);
    }
    frame.render_widget(Paragraph::new(details), details_area);
    frame.render_widget(Line::from(KEYS).dim(), keys_area);
    degrade(frame.buffer_mut(), screen.caps);
}

fn title(screen: &Screen, model: &Model, entries: &[Entry<'_>]) -> Line<'static> {
    let hosts = plural(model.hosts.len(), "host");
    let sensors = plural(entries.iter().filter_map(|entry| entry.sensor).count(), "sensor");
    let mut title = Line::from(format!(" ina260-exporter  {hosts}, {sensors}").bold());
    let count = |condition| entries.iter().filter(|entry| entry.condition() == condition).count();
    let failing = model.hosts.iter().filter(|host| matches!(host.state, HostState::Failing { .. }));
    for (count, text) in [
        (count(Condition::Alert), "in alert"),
        (count(Condition::Down), "down"),
        (failing.count(), "unreachable"),
    ] {
        if count > 0 {
            title.push_span(", ");
            title.push_span(format!("{count} {text}").red().bold());
        }
    }
    if screen.paused.is_some() {
        title.push_span("  ");
        title.push_span(" paused ".reversed());
    }
    title
}

/// Draws the table of sensors, scrolled so that the selected entry is in the middle.
fn draw_table(
    screen: &Screen,
    frame: &mut Frame<'_>,
    area: Rect,
    entries: &[Entry<'_>],
    selected: usize,
) {
    let of_entry = |entry| numbers(entry, screen.price, area.width).into_iter();
    let headings: Vec<_> = of_entry(&entries[selected]).map(|it| it.0.to_owned()).collect();
    // Numbers and state, each after a space, and the margin on the left.
    let taken = headings.len() * 10 + 12 + 1;
    let has_hosts = usize::from(area.width) >= taken + MIN_WIDTH_OF_NAMES;
    let fixed = iter::repeat_n(Constraint::Length(NUMBER_WIDTH), headings.len());
    let names = iter::repeat_n(Constraint::Fill(1), if has_hosts { 2 } else { 1 });
    let widths = names.chain(fixed).chain([Constraint::Length(11)]);
    let row = |host: &str, device: &str, numbers: Vec<String>, state: Cell<'static>| {
        let host = has_hosts.then(|| Cell::from(host.to_owned()));
        let names = host.into_iter().chain([Cell::from(device.to_owned())]);
        let numbers = numbers.into_iter().map(|text| {
            // Not cut off: a number would lose its first digits.
            let fits = text.len() <= usize::from(NUMBER_WIDTH);
            Text::from(if fits { text } else { "too long".to_owned() }).right_aligned().into()
        });
        Row::new(names.chain(numbers).chain([state]))
    };
    let rows = entries.iter().map(|entry| {
        let label = |name| entry.sensor.map(|sensor| sensor.last.label(name));
        let host = label("hostname").unwrap_or(&entry.host.name);
        let numbers = of_entry(entry).map(|(_, text)| text).collect();
        row(host, label("device").unwrap_or_default(), numbers, state(entry.condition()))
    });
    let table = Table::new(rows, widths)
        .header(row("host", "device", headings, "state".into()).dim())
        .row_highlight_style(Style::reset().reversed())
        // The margin on the left.
        .highlight_symbol(" ")
        .highlight_spacing(HighlightSpacing::Always);
    let height = usize::from(area.height.saturating_sub(1));
    let first = selected.saturating_sub(height / 2).min(entries.len().saturating_sub(height));
    let mut state = TableState::new().with_offset(first).with_selected(selected);
    frame.render_stateful_widget(table, area, &mut state);
}

/// Returns heading and text of each column of numbers that fits.
fn numbers(entry: &Entry<'_>, price: Option<f64>, width: u16) -> Vec<(&'static str, String)> {
    let reading = |quantity: Quantity| {
        let last = entry.readings().map(|readings| quantity.of(&readings.last));
        let text = last.map_or("-".to_owned(), |value| si(value, quantity.unit()));
        (quantity.name(), text)
    };
    let joules = entry.sensor.map(|sensor| sensor.last.energy[0]);
    let amount = |format: &dyn Fn(f64) -> String| joules.map(format).unwrap_or_default();
    let columns = [
        (MIN_WIDTH_FOR_POWER, Some(reading(Quantity::Power))),
        (MIN_WIDTH_FOR_READINGS, Some(reading(Quantity::Voltage))),
        (MIN_WIDTH_FOR_READINGS, Some(reading(Quantity::Current))),
        (MIN_WIDTH_FOR_READINGS, Some(("energy", amount(&watt_hours)))),
        (MIN_WIDTH_FOR_COST, price.map(|price| ("cost", amount(&|joules| cost(joules, price))))),
    ];
    columns.into_iter().filter_map(|(min, column)| column.filter(|_| width >= min)).collect()
}

fn state(condition: Condition) -> Cell<'static> {
    let (plain, error) = (Style::new(), Style::new().red().bold());
    let (name, style) = match condition {
        Condition::Up => ("up", plain.green()),
        Condition::Alert => ("ALERT", error),
        Condition::Down => ("DOWN", error),
        Condition::Unreachable => ("UNREACHABLE", error),
        Condition::Gone => ("gone", plain.dim()),
        Condition::NoSensors => ("no sensors", plain.dim()),
        Condition::Connecting => ("connecting", plain.dim()),
    };
    Cell::from(name).style(style)
}

/// Returns the details of an entry in lines of at most `width` columns, errors in red.
fn details(screen: &Screen, entry: &Entry<'_>, width: u16, now: Instant) -> Vec<Line<'static>> {
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
    let WatchedSensor { last, history, increase, since, .. } = sensor;
    let watched = duration(now.saturating_duration_since(*since));
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
    let location = sensor.chip.iter().map(ScrapedChip::location_text);
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

/// Formats the increase of a counter while it was watched: ` (+3)`, nothing if it is 0.
fn increased(count: f64) -> String {
    if count > 0.0 { format!(" (+{count})") } else { String::new() }
}

/// Wraps a paragraph at spaces, and words longer than a line. Lines begin with a space as a margin.
// ratatui's `Paragraph` also wraps, but only an unstable feature returns how many lines that takes.
fn wrapped(paragraph: &str, width: u16) -> Vec<String> {
    let columns = |text: &str| Span::raw(text).width();
    let width = usize::from(width).max(20);
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for word in paragraph.split(' ') {
        if used > 0 && used + 1 + columns(word) > width {
            lines.push(mem::take(&mut line));
            used = 0;
        }
        for c in iter::once(' ').chain(word.chars()) {
            let columns = columns(c.encode_utf8(&mut [0; 4]));
            if used + columns > width {
                lines.push(mem::replace(&mut line, " ".to_owned()));
                used = 1;
            }
            line.push(c);
            used += columns;
        }
    }
    lines.push(line);
    lines
}

/// Replaces colours and characters that the terminal cannot display.
fn degrade(buffer: &mut Buffer, caps: TerminalCaps) {
    for cell in &mut buffer.content {
        if !caps.colour {
            cell.set_fg(Color::Reset).set_bg(Color::Reset);
        }
        if !caps.utf8 && !cell.symbol().is_ascii() {
            cell.set_char(match cell.symbol() {
                "│" => '|',
                "─" => '-',
                _ => '?',
            });
        }
    }
}

#[cfg(test)]
mod tests;
