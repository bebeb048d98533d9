//! Draws a frame: sensor table, charts and details of the selected entry.

use std::time::Instant;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::details;
use super::model::{Condition, Entry, HostState, Model};
use super::numbers::plural;
use super::screen::{Screen, TerminalCaps};

mod charts;
mod sensor_table;

const KEYS: &str = " q quit  up/down sensor  tab host  space pause/resume  +/- time span";
/// Height of two rows of charts, each with a title and two lines.
const MIN_CHARTS_HEIGHT: usize = 6;

/// Draws a frame.
pub(super) fn draw(screen: &Screen, frame: &mut Frame<'_>, now: Instant) {
    let (model, now) = screen.displayed(now);
    let entries: Vec<Entry<'_>> = model.entries().collect();
    let selected = screen.selected(&entries);
    let Some(entry) = entries.get(selected) else {
        return;
    };
    let line = Constraint::Length(1);
    let rows = Layout::vertical([line, Constraint::Min(0), line]);
    let [title_area, body, keys_area] = rows.areas(frame.area());
    let details = details::lines(screen, entry, body.width, now);
    // In a terminal with few lines, the charts are left out first, then the end of the details.
    let height = usize::from(body.height);
    let full_table = entries.len() + 1;
    let table = full_table.min(height / 4).max(2);
    let has_charts = height >= table + details.len() + MIN_CHARTS_HEIGHT;
    let (table, charts) = if has_charts {
        (table, height - table - details.len())
    } else {
        (full_table.min(height.saturating_sub(details.len())).max(2), 0)
    };
    let lines = |count| Constraint::Length(u16::try_from(count).unwrap_or(u16::MAX));
    let rows = Layout::vertical([lines(table), lines(charts), Constraint::Min(0)]);
    let [table_area, charts_area, details_area] = rows.areas(body);

    frame.render_widget(title(screen, model), title_area);
    sensor_table::draw(screen, frame, table_area, &entries, selected);
    if has_charts {
        charts::draw(screen, frame, charts_area, entry, now);
    }
    frame.render_widget(Paragraph::new(details), details_area);
    frame.render_widget(Line::from(KEYS).dim(), keys_area);
    degrade(frame.buffer_mut(), screen.caps);
}

fn title(screen: &Screen, model: &Model) -> Line<'static> {
    let sensors = model.entries().filter(|entry| entry.sensor.is_some());
    let hosts = plural(model.hosts.len(), "host");
    let sensors = plural(sensors.count(), "sensor");
    let text = format!(" ina260-exporter  {hosts}, {sensors}");
    let mut spans = vec![Span::from(text).bold()];
    let failing = model.hosts.iter().filter(|host| matches!(host.state, HostState::Failing { .. }));
    for (count, text) in [
        (model.count(Condition::Alert), "in alert"),
        (model.count(Condition::Down), "down"),
        (failing.count(), "unreachable"),
    ] {
        if count > 0 {
            spans.push(Span::from(", "));
            spans.push(Span::from(format!("{count} {text}")).red().bold());
        }
    }
    if screen.paused.is_some() {
        spans.push(Span::from("  "));
        spans.push(Span::from(" paused ").reversed());
    }
    Line::from(spans)
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
