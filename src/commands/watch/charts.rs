//! Charts of the selected sensor, each below its values.

use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Borders, Chart, Dataset, GraphType};

use super::model::{Entry, WatchedSensor};
use super::numbers::{duration, si, si_pair};
use super::screen::Screen;
use crate::scrape::Readings;
use crate::units::Quantity;

/// Minimum width for two charts side by side.
const MIN_WIDTH_FOR_TWO: u16 = 60;
/// Width of the labels of the value axis.
const LABEL_WIDTH: usize = 8;
/// Largest magnitude that is drawn: the arithmetic of the chart overflows at about 1e308.
const MAX_MAGNITUDE: f64 = 1e15;

pub(super) fn draw(
    screen: &Screen,
    frame: &mut Frame<'_>,
    area: Rect,
    entry: &Entry<'_>,
    now: Instant,
) {
    let [power, voltage, current] = if area.width >= MIN_WIDTH_FOR_TWO {
        let [power, below] = Layout::vertical([Constraint::Fill(1); 2]).areas(area);
        let columns = Layout::horizontal([Constraint::Fill(1); 2]).spacing(1);
        let [voltage, current] = columns.areas(below);
        [power, voltage, current]
    } else {
        Layout::vertical([Constraint::Fill(1); 3]).areas(area)
    };
    draw_quantity(screen, frame, power, entry, Quantity::Power, now);
    draw_quantity(screen, frame, voltage, entry, Quantity::Voltage, now);
    draw_quantity(screen, frame, current, entry, Quantity::Current, now);
}

fn draw_quantity(
    screen: &Screen,
    frame: &mut Frame<'_>,
    area: Rect,
    entry: &Entry<'_>,
    quantity: Quantity,
    now: Instant,
) {
    let Some(WatchedSensor { history, .. }) = entry.sensor else { return };
    // These are among the sixteen colours that a terminal adapts to its background. The minimum
    // range of the value axis is ten steps of the chip's register.
    let (name, colour, min_range) = match quantity {
        Quantity::Power => (" Power ", Color::Green, 0.1),
        Quantity::Voltage => (" Voltage ", Color::Cyan, 0.0125),
        Quantity::Current => (" Current ", Color::Magenta, 0.0125),
    };
    let (span, unit) = (screen.span(), quantity.unit());
    let last = entry.readings().map(|readings| si(quantity.of(&readings.last), unit));
    let last = last.or_else(|| Some("-".to_owned()));
    let last = last.filter(|last| name.len() + last.len() < usize::from(area.width));
    let title = [Some(name.bold()), last.map(|last| last.fg(colour))];
    let title = title.into_iter().flatten().collect();
    let block = block(title, history.extremes(quantity, span, now), unit, span, area.width);
    let value =
        |readings: Readings| quantity.of(&readings.last).clamp(-MAX_MAGNITUDE, MAX_MAGNITUDE);
    let points = history.points(span, now);
    let points: Vec<Option<(f64, f64)>> =
        points.map(|(age, readings)| Some((-age.as_secs_f64(), value(readings?)))).collect();
    let bounds = points.iter().flatten().map(|(_, value)| (*value, *value));
    let bounds = bounds.reduce(|(min, max), (value, _)| (min.min(value), max.max(value)));
    let Some(bounds) = bounds else { return frame.render_widget(block, area) };
    let (low, high) = axis_bounds(bounds, min_range);
    // A dataset per segment, so that a gap interrupts the line.
    let segments = points.split(Option::is_none);
    let segments: Vec<Vec<_>> =
        segments.map(|segment| segment.iter().flatten().copied().collect()).collect();
    let datasets = segments.iter().map(|segment| {
        Dataset::default()
            .marker(screen.caps.marker)
            .graph_type(GraphType::Line)
            .style(colour)
            .data(segment)
    });
    let mut value_axis =
        Axis::default().bounds([low, high]).labels_alignment(Alignment::Right).style(Modifier::DIM);
    // With less, the chart would cut digits off.
    if usize::from(area.width) / 3 >= LABEL_WIDTH {
        value_axis = value_axis.labels([low, high].map(|value| label(value, unit).dim()));
    }
    let chart = Chart::new(datasets.collect())
        .block(block)
        .x_axis(Axis::default().bounds([-span.as_secs_f64(), 0.0]))
        .y_axis(value_axis);
    frame.render_widget(chart, area);
}

/// Formats a label that is not wider than the others, so that the axes of all charts align.
fn label(value: f64, unit: &str) -> String {
    let mut label = si(value, unit);
    if label.len() > LABEL_WIDTH {
        // A minus sign takes the place of the space.
        label.retain(|c| c != ' ');
    }
    format!("{label:>LABEL_WIDTH$}")
}

/// Adds min, max and span to a title with name and value, as far as there is room.
fn block(
    mut title: Line<'static>,
    extremes: Option<(f64, f64)>,
    unit: &str,
    span: Duration,
    width: u16,
) -> Block<'static> {
    let fits = |title: &Line<'_>, text: &str| title.width() + text.len() < usize::from(width);
    if let Some((min, max)) = extremes {
        let (min, max) = si_pair(min, max, unit);
        // Left out rather than cut off: part of a number would be a wrong number.
        let forms = [format!("  min {min} max {max}"), format!("  {min} to {max}")];
        let form = forms.into_iter().find(|form| fits(&title, form));
        title.spans.extend(form.map(Span::from));
    }
    title.push_span(" ");
    let span = Some(format!(" last {} ", duration(span))).filter(|span| fits(&title, span));
    Block::new()
        .borders(Borders::TOP)
        .border_style(Modifier::DIM)
        .title_style(Style::new().not_dim())
        .title_top(title)
        .title_top(Line::from(span.unwrap_or_default()).dim().right_aligned())
}

/// Widens the bounds of the values, so that noise of a steady value does not fill the chart.
fn axis_bounds((min, max): (f64, f64), min_range: f64) -> (f64, f64) {
    let magnitude = min.abs().max(max.abs());
    let missing = (magnitude * 0.01).max(min_range) - (max - min);
    let margin = missing.max(0.0) / 2.0;
    (min - margin, max + margin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_value_is_centred() {
        assert_eq!(axis_bounds((100.0, 100.0), 0.1), (99.5, 100.5));
        assert_eq!(axis_bounds((0.0, 0.0), 0.5), (-0.25, 0.25));
        assert_eq!(axis_bounds((1.0, 2.0), 0.5), (1.0, 2.0));
    }
}
