//! The sensors, a line each.

use ratatui::layout::Rect;

use super::super::model::{Condition, Row, State};
use super::super::numbers::{cost, energy, si};
use super::super::screen::Screen;
use super::super::snapshot::Quantity;
use super::canvas::{Canvas, Tone, top};

/// Under this width there is power alone; under the next, no cost.
const LEAST_WITH_READINGS: u16 = 60;
const LEAST_WITH_COST: u16 = 80;
/// Under this the names of host and device have no room beside each other.
const LEAST_FOR_NAMES: u16 = 16;

/// What a column is about.
#[derive(Clone, Copy)]
enum Column {
    Label(&'static str, &'static str),
    Reading(Quantity),
    Energy,
    Cost(f64),
    State,
}

impl Column {
    const fn heading(self) -> &'static str {
        match self {
            Self::Label(heading, _) => heading,
            Self::Reading(Quantity::Voltage) => "voltage",
            Self::Reading(Quantity::Current) => "current",
            Self::Reading(Quantity::Power) => "power",
            Self::Energy => "energy",
            Self::Cost(_) => "cost",
            Self::State => "state",
        }
    }

    fn text(self, row: &Row<'_>) -> String {
        let joules = row.sensor.map(|sensor| sensor.last.energy[0]);
        match (self, row.sensor) {
            (Self::Label(_, name), Some(sensor)) => sensor.label(name).to_owned(),
            (Self::Label(_, "hostname"), None) => row.host.name.clone(),
            (Self::Label(..), None) => String::new(),
            (Self::Reading(quantity), _) => match row.ranges() {
                Some(ranges) => si(ranges[quantity as usize].now.into(), quantity.unit()),
                None => "-".to_owned(),
            },
            (Self::Energy, _) => joules.map_or(String::new(), energy),
            (Self::Cost(price), _) => joules.map_or(String::new(), |joules| cost(joules, price)),
            (Self::State, _) => state(row).0.to_owned(),
        }
    }

    /// The text in its column: numbers to the right, words to the left.
    fn fitted(self, text: &str, width: u16) -> String {
        let width = usize::from(width);
        let text: String = text.chars().take(width).collect();
        match self {
            Self::Label(..) | Self::State => format!("{text:width$}"),
            Self::Reading(_) | Self::Energy | Self::Cost(_) => format!("{text:>width$}"),
        }
    }
}

/// The condition of a row in a word.
fn state(row: &Row<'_>) -> (&'static str, Tone) {
    match (row.condition(), &row.host.state) {
        (Some(Condition::Up), _) => ("up", Tone::Good),
        (Some(Condition::Alert), _) => ("ALERT", Tone::Bad),
        (Some(Condition::Down), _) => ("DOWN", Tone::Bad),
        (Some(Condition::Gone), _) => ("gone", Tone::Quiet),
        (_, State::Fails(..)) => ("NO ANSWER", Tone::Bad),
        (_, State::Answers) => ("no sensor", Tone::Quiet),
        (_, State::Asked) => ("asked", Tone::Quiet),
    }
}

/// The columns that there is room for, each with its width.
fn columns(price: Option<f64>, width: u16) -> Vec<(Column, u16)> {
    let mut columns = vec![(Column::Reading(Quantity::Power), 9)];
    if width >= LEAST_WITH_READINGS {
        columns.push((Column::Reading(Quantity::Voltage), 9));
        columns.push((Column::Reading(Quantity::Current), 9));
        columns.push((Column::Energy, 10));
    }
    if let Some(price) = price.filter(|_| width >= LEAST_WITH_COST) {
        columns.push((Column::Cost(price), 9));
    }
    columns.push((Column::State, 9));
    let taken: u16 = columns.iter().map(|(_, width)| width + 1).sum();
    let names = width.saturating_sub(taken + 1);
    let (host, device) = (
        Column::Label("host", "hostname"),
        Column::Label("device", "device"),
    );
    if names >= LEAST_FOR_NAMES {
        let of_host = names / 2 - 1;
        columns.insert(0, (device, names - of_host - 2));
        columns.insert(0, (host, of_host));
    } else {
        columns.insert(0, (device, names.saturating_sub(1)));
    }
    columns
}

pub(super) fn draw(
    screen: &Screen,
    canvas: &mut Canvas<'_>,
    mut area: Rect,
    rows: &[Row<'_>],
    selected: usize,
) {
    let columns = columns(screen.price, area.width);
    let mut line = |place: Rect, base: Tone, of_state: Tone, text: &dyn Fn(Column) -> String| {
        let mut rest = canvas.write(place, " ", base);
        for (column, width) in &columns {
            let tone = match column {
                Column::State => of_state,
                _ => base,
            };
            rest = canvas.write(rest, &column.fitted(&text(*column), *width), tone);
            rest = canvas.write(rest, " ", base);
        }
    };
    let heading = |column: Column| column.heading().to_owned();
    line(top(&mut area, 1), Tone::Quiet, Tone::Quiet, &heading);
    let height = usize::from(area.height);
    // The selected row in the middle, but at the ends.
    let first = selected.saturating_sub(height / 2);
    let first = first.min(rows.len().saturating_sub(height));
    for (index, row) in rows.iter().enumerate().skip(first).take(height) {
        let (base, of_state) = if index == selected {
            (Tone::Selected, Tone::Selected)
        } else {
            (Tone::Plain, state(row).1)
        };
        line(top(&mut area, 1), base, of_state, &|column| {
            column.text(row)
        });
    }
}
