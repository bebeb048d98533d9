//! The curves of a sensor, each below its numbers.

use std::time::{Duration, Instant};

use ratatui::layout::Rect;

use super::super::curve::{Curve, Marks, bounds};
use super::super::model::{Row, Sensor};
use super::super::numbers::{both, si, time};
use super::super::screen::Screen;
use super::super::snapshot::Quantity;
use super::canvas::{Canvas, Tone, height_of, top};

/// Under this width two curves have no room beside each other.
const LEAST_FOR_TWO: u16 = 60;
/// Where the values at the ends of a scale stand.
const SCALE: u16 = 9;

/// So much of a quantity is at least between the ends of its scale: ten steps of the chip's register.
const fn least_scale(quantity: Quantity) -> f64 {
    match quantity {
        Quantity::Voltage | Quantity::Current => 0.0125,
        Quantity::Power => 0.1,
    }
}

pub(super) fn draw(
    screen: &Screen,
    canvas: &mut Canvas<'_>,
    mut area: Rect,
    row: &Row<'_>,
    now: Instant,
) {
    let Some(sensor) = row.sensor else { return };
    let mut panel = |area, quantity| {
        let panel = Panel {
            screen,
            sensor,
            quantity,
            now,
            value: row.ranges().map(|ranges| ranges[quantity as usize].now),
        };
        panel.draw(canvas, area);
    };
    if area.width >= LEAST_FOR_TWO {
        let height = area.height - area.height / 2;
        panel(top(&mut area, height), Quantity::Power);
        let half = area.width / 2;
        panel(
            Rect {
                width: half,
                ..area
            },
            Quantity::Voltage,
        );
        area.x += half;
        area.width -= half;
        panel(area, Quantity::Current);
    } else {
        let third = area.height / 3;
        panel(top(&mut area, third), Quantity::Voltage);
        panel(top(&mut area, third), Quantity::Current);
        panel(area, Quantity::Power);
    }
}

struct Panel<'a> {
    screen: &'a Screen,
    sensor: &'a Sensor,
    quantity: Quantity,
    now: Instant,
    value: Option<f32>,
}

impl Panel<'_> {
    fn draw(&self, canvas: &mut Canvas<'_>, mut area: Rect) {
        self.heading(canvas, top(&mut area, 1));
        let Some(bounds) = self.bounds() else { return };
        self.scale(canvas, area, bounds);
        area.x += SCALE.min(area.width);
        area.width = area.width.saturating_sub(SCALE + 1);
        let curve = Curve {
            marks: self.screen.look.marks,
            style: canvas.style(Tone::Of(self.quantity)),
            span: self.screen.span(),
            bounds,
        };
        curve.draw(canvas.buffer, area, self.values());
    }

    fn si(&self, value: impl Into<f64>) -> String {
        si(value.into(), self.quantity.unit())
    }

    /// The name, the value, the extremes, and how far the curve looks back.
    fn heading(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let name = format!(" {} ", self.quantity.name());
        let value = self.value.map_or("-".to_owned(), |value| self.si(value));
        let rest = canvas.write(area, &name, Tone::Heading);
        let mut rest = canvas.write(rest, &value, Tone::Of(self.quantity));
        let (history, span) = (&self.sensor.history, self.screen.span());
        if let Some((least, greatest)) = history.extremes(self.quantity, span, self.now) {
            let (least, greatest) = both(least.into(), greatest.into(), self.quantity.unit());
            let long = format!("  min {least} max {greatest}");
            let short = format!("  {least} to {greatest}");
            // A number that is cut off is another number.
            let fits = |text: &&String| usize::from(rest.width) > text.len();
            if let Some(text) = [&long, &short].into_iter().find(fits) {
                rest = canvas.write(rest, text, Tone::Plain);
            }
        }
        let span = format!("last {}", time(span));
        let width = height_of(span.len());
        if rest.width > width + 2 {
            rest.x = rest.right() - width - 1;
            canvas.write(rest, &span, Tone::Quiet);
        }
    }

    fn values(&self) -> impl Iterator<Item = (Duration, Option<f64>)> {
        let history = &self.sensor.history;
        let seen = history.of(self.quantity, self.screen.span(), self.now);
        seen.map(|(age, range)| (age, range.map(|range| range.now.into())))
    }

    /// Of the curve, if there is one.
    fn bounds(&self) -> Option<(f64, f64)> {
        let values = self.values().filter_map(|(_, value)| value);
        let (least, greatest) = values
            .map(|value| (value, value))
            .reduce(|(least, greatest), (value, _)| (least.min(value), greatest.max(value)))?;
        Some(bounds(least, greatest, least_scale(self.quantity)))
    }

    fn scale(&self, canvas: &mut Canvas<'_>, mut area: Rect, (low, high): (f64, f64)) {
        let edge = match self.screen.look.marks {
            Marks::Ascii => '|',
            Marks::Braille | Marks::Blocks => '│',
        };
        let width = usize::from(SCALE) - 1;
        for line in 0..area.height {
            let mut number = match line {
                0 => self.si(high),
                // The last: it has not been cut off yet.
                _ if area.height == 1 => self.si(low),
                _ => String::new(),
            };
            if number.len() > width {
                // A sign: the edge stays in its column.
                number.retain(|c| c != ' ');
            }
            canvas.write(
                top(&mut area, 1),
                &format!("{number:>width$}{edge}"),
                Tone::Quiet,
            );
        }
    }
}
