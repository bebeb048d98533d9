//! The table of sensors, one per row.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::style::{Modifier, Style, Stylize};
use ratatui::text::Text;
use ratatui::widgets::{Cell, HighlightSpacing, Row, Table, TableState};

use super::super::model::{Condition, Entry, HostState};
use super::super::numbers::{cost, si, watt_hours};
use super::super::screen::Screen;
use crate::units::Quantity;

/// Minimum width for more quantities than power.
const MIN_WIDTH_FOR_READINGS: u16 = 60;
/// Minimum width for the cost.
const MIN_WIDTH_FOR_COST: u16 = 80;
/// Minimum width of the names of host and device together; below it, only that of the device is
/// shown.
const MIN_WIDTH_OF_NAMES: u16 = 16;

/// Heading of the column that is coloured.
const STATE: &str = "state";

/// A column of the table.
struct Column {
    heading: &'static str,
    width: u16,
    alignment: Alignment,
    text: Box<dyn Fn(&Entry<'_>) -> String>,
}

impl Column {
    fn left(heading: &'static str, width: u16, text: fn(&Entry<'_>) -> String) -> Self {
        Self { heading, width, alignment: Alignment::Left, text: Box::new(text) }
    }

    /// A column of numbers.
    fn right(heading: &'static str, text: impl Fn(&Entry<'_>) -> String + 'static) -> Self {
        Self { heading, width: 9, alignment: Alignment::Right, text: Box::new(text) }
    }

    fn reading(quantity: Quantity) -> Self {
        Self::right(quantity.name(), move |entry| {
            let last = entry.readings().map(|readings| quantity.of(&readings.last));
            last.map_or("-".to_owned(), |value| si(value, quantity.unit()))
        })
    }

    /// Formats the forward energy in joules; empty without a sensor.
    fn energy(heading: &'static str, format: impl Fn(f64) -> String + 'static) -> Self {
        Self::right(heading, move |entry| {
            entry.sensor.map_or(String::new(), |sensor| format(sensor.last.energy[0]))
        })
    }

    fn cell(&self, text: impl Into<Text<'static>>) -> Cell<'static> {
        Cell::from(text.into().alignment(self.alignment))
    }
}

fn host(entry: &Entry<'_>) -> String {
    let of_sensor = entry.sensor.map(|sensor| sensor.last.label("hostname"));
    of_sensor.unwrap_or(&entry.host.name).to_owned()
}

fn device(entry: &Entry<'_>) -> String {
    entry.sensor.map_or("", |sensor| sensor.last.label("device")).to_owned()
}

/// Returns the state of an entry and its style.
fn state(entry: &Entry<'_>) -> (&'static str, Style) {
    let (plain, error) = (Style::new(), Style::new().red().bold());
    match (entry.condition(), &entry.host.state) {
        (Some(Condition::Up), _) => ("up", plain.green()),
        (Some(Condition::Alert), _) => ("ALERT", error),
        (Some(Condition::Down), _) => ("DOWN", error),
        (Some(Condition::Gone), _) => ("gone", plain.dim()),
        (_, HostState::Failing { .. }) => ("UNREACHABLE", error),
        (_, HostState::Up) => ("no sensors", plain.dim()),
        (_, HostState::Connecting) => ("connecting", plain.dim()),
    }
}

/// Returns the columns that fit.
fn columns(price: Option<f64>, width: u16) -> Vec<Column> {
    let mut columns = vec![Column::reading(Quantity::Power)];
    if width >= MIN_WIDTH_FOR_READINGS {
        columns.extend([Quantity::Voltage, Quantity::Current].map(Column::reading));
        columns.push(Column::energy("energy", watt_hours));
    }
    if let Some(price) = price.filter(|_| width >= MIN_WIDTH_FOR_COST) {
        columns.push(Column::energy("cost", move |joules| cost(joules, price)));
    }
    columns.push(Column::left(STATE, 11, |entry| state(entry).0.to_owned()));
    // One more column each for the spacing, and the margin on the left.
    let taken: u16 = columns.iter().map(|column| column.width + 1).sum();
    let names = width.saturating_sub(taken + 1);
    if names >= MIN_WIDTH_OF_NAMES {
        let hosts = names / 2;
        columns.insert(0, Column::left("host", hosts, host));
        columns.insert(1, Column::left("device", names - hosts - 1, device));
    } else {
        columns.insert(0, Column::left("device", names, device));
    }
    columns
}

/// Draws the table, scrolled so that the selected entry is in the middle.
pub(super) fn draw(
    screen: &Screen,
    frame: &mut Frame<'_>,
    area: Rect,
    entries: &[Entry<'_>],
    selected: usize,
) {
    let columns = columns(screen.price, area.width);
    let height = usize::from(area.height.saturating_sub(1));
    let first = selected.saturating_sub(height / 2);
    let first = first.min(entries.len().saturating_sub(height));
    let visible = entries.iter().enumerate().skip(first).take(height);
    let rows = visible.map(|(index, entry)| {
        let cells = columns.iter().map(|column| {
            let cell = column.cell((column.text)(entry));
            let is_coloured = column.heading == STATE && index != selected;
            if is_coloured { cell.style(state(entry).1) } else { cell }
        });
        Row::new(cells)
    });
    let headings = columns.iter().map(|column| column.cell(column.heading));
    let widths = columns.iter().map(|column| Constraint::Length(column.width));
    let table = Table::new(rows, widths)
        .header(Row::new(headings).dim())
        .row_highlight_style(Modifier::REVERSED)
        // The margin on the left.
        .highlight_symbol(" ")
        .highlight_spacing(HighlightSpacing::Always);
    let mut state = TableState::new().with_selected(selected - first);
    frame.render_stateful_widget(table, area, &mut state);
}
