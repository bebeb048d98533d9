//! Draws a frame: sensor table, charts and details of the selected entry.

use std::iter;
use std::time::Instant;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, HighlightSpacing, Paragraph, Row, Table, TableState};

use super::model::{Condition, Entry, HostState, Model};
use super::numbers::{cost, plural, si, watt_hours};
use super::screen::{Screen, TerminalCaps};
use super::{charts, details};
use crate::units::Quantity;

const KEYS: &str = " q quit  up/down sensor  tab host  space pause/resume  +/- time span";
/// Height of two rows of charts, each with a title and two lines.
const MIN_CHARTS_HEIGHT: usize = 6;
/// Minimum width for more quantities than power.
const MIN_WIDTH_FOR_READINGS: u16 = 60;
/// Minimum width for the cost.
const MIN_WIDTH_FOR_COST: u16 = 80;
/// Minimum width of the names of host and device together; below it, only that of the device is
/// shown.
const MIN_WIDTH_OF_NAMES: usize = 16;

/// Draws a frame.
pub(super) fn draw(screen: &Screen, frame: &mut Frame<'_>, now: Instant) {
    let (model, now) = screen.displayed(now);
    let entries: Vec<Entry<'_>> = model.entries().collect();
    let selected = screen.selected.min(entries.len().saturating_sub(1));
    let Some(entry) = entries.get(selected) else {
        return;
    };
    let area = frame.area();
    let details = details::lines(screen, entry, area.width, now);
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
    let fixed = iter::repeat_n(Constraint::Length(9), headings.len());
    let names = iter::repeat_n(Constraint::Fill(1), if has_hosts { 2 } else { 1 });
    let widths = names.chain(fixed).chain([Constraint::Length(11)]);
    let row = |host: &str, device: &str, numbers: Vec<String>, state: Cell<'static>| {
        let host = has_hosts.then(|| Cell::from(host.to_owned()));
        let names = host.into_iter().chain([Cell::from(device.to_owned())]);
        let numbers = numbers.into_iter().map(|text| Text::from(text).right_aligned().into());
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
    let mut numbers = vec![reading(Quantity::Power)];
    if width >= MIN_WIDTH_FOR_READINGS {
        numbers.extend([Quantity::Voltage, Quantity::Current].map(reading));
        numbers.push(("energy", joules.map(watt_hours).unwrap_or_default()));
    }
    if let Some(price) = price.filter(|_| width >= MIN_WIDTH_FOR_COST) {
        let cost = joules.map(|joules| cost(joules, price));
        numbers.push(("cost", cost.unwrap_or_default()));
    }
    numbers
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
