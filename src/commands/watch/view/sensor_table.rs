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

/// Contents of a column.
#[derive(Clone, Copy)]
enum Column {
    Host,
    Device,
    Reading(Quantity),
    Energy,
    Cost(f64),
    State,
}

impl Column {
    fn heading(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Device => "device",
            Self::Reading(quantity) => quantity.name(),
            Self::Energy => "energy",
            Self::Cost(_) => "cost",
            Self::State => "state",
        }
    }

    fn alignment(self) -> Alignment {
        match self {
            Self::Host | Self::Device | Self::State => Alignment::Left,
            Self::Reading(_) | Self::Energy | Self::Cost(_) => Alignment::Right,
        }
    }

    fn text(self, entry: &Entry<'_>) -> String {
        let joules = entry.sensor.map(|sensor| sensor.last.energy[0]);
        match (self, entry.sensor) {
            (Self::Host, Some(sensor)) => sensor.last.label("hostname").to_owned(),
            (Self::Host, None) => entry.host.name.clone(),
            (Self::Device, Some(sensor)) => sensor.last.label("device").to_owned(),
            (Self::Device, None) => String::new(),
            (Self::Reading(quantity), _) => match entry.readings() {
                Some(readings) => si(quantity.of(&readings.last), quantity.unit()),
                None => "-".to_owned(),
            },
            (Self::Energy, _) => joules.map_or(String::new(), watt_hours),
            (Self::Cost(price), _) => joules.map_or(String::new(), |joules| cost(joules, price)),
            (Self::State, _) => state(entry).0.to_owned(),
        }
    }

    fn cell(self, text: impl Into<Text<'static>>) -> Cell<'static> {
        Cell::from(text.into().alignment(self.alignment()))
    }
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

/// Returns the columns that fit, each with its width.
fn columns(price: Option<f64>, width: u16) -> Vec<(Column, u16)> {
    let mut columns = vec![(Column::Reading(Quantity::Power), 9)];
    if width >= MIN_WIDTH_FOR_READINGS {
        columns.push((Column::Reading(Quantity::Voltage), 9));
        columns.push((Column::Reading(Quantity::Current), 9));
        columns.push((Column::Energy, 9));
    }
    if let Some(price) = price.filter(|_| width >= MIN_WIDTH_FOR_COST) {
        columns.push((Column::Cost(price), 9));
    }
    columns.push((Column::State, 11));
    // One more column each for the spacing, and the margin on the left.
    let taken: u16 = columns.iter().map(|(_, width)| width + 1).sum();
    let names = width.saturating_sub(taken + 1);
    let mut all = if names >= MIN_WIDTH_OF_NAMES {
        let host = names / 2;
        vec![(Column::Host, host), (Column::Device, names - host - 1)]
    } else {
        vec![(Column::Device, names)]
    };
    all.extend(columns);
    all
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
        let cells = columns.iter().map(|(column, _)| {
            let cell = column.cell(column.text(entry));
            match column {
                Column::State if index != selected => cell.style(state(entry).1),
                _ => cell,
            }
        });
        Row::new(cells)
    });
    let headings = columns.iter().map(|(column, _)| column.cell(column.heading()));
    let widths = columns.iter().map(|(_, width)| Constraint::Length(*width));
    let table = Table::new(rows, widths)
        .header(Row::new(headings).dim())
        .row_highlight_style(Modifier::REVERSED)
        // The margin on the left.
        .highlight_symbol(" ")
        .highlight_spacing(HighlightSpacing::Always);
    let mut state = TableState::new().with_selected(selected - first);
    frame.render_stateful_widget(table, area, &mut state);
}
