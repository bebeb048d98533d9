//! A curve of characters.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// What dots are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marks {
    /// Two by four dots in a character.
    Braille,
    /// One by two; the console of Linux has no others.
    Blocks,
    /// One, where the terminal's characters are not UTF-8.
    Ascii,
}

impl Marks {
    /// What this terminal can show, by `LC_ALL`, `LC_CTYPE` and `LANG`, of which the first that is set counts, and `TERM`.
    pub(super) fn of(locale: [Option<&str>; 3], term: Option<&str>) -> Self {
        let set = locale.into_iter().flatten().find(|value| !value.is_empty());
        // Without any, as of ssh from a system that sends none, UTF-8 is by far the likeliest.
        let utf8 = set.is_none_or(|value| {
            let value = value.to_ascii_lowercase();
            value.contains("utf-8") || value.contains("utf8")
        });
        match (utf8, term) {
            (false, _) => Self::Ascii,
            (true, Some("linux")) => Self::Blocks,
            (true, _) => Self::Braille,
        }
    }

    /// Columns and rows of dots in a character.
    const fn dots(self) -> (u16, u16) {
        match self {
            Self::Braille => (2, 4),
            Self::Blocks => (1, 2),
            Self::Ascii => (1, 1),
        }
    }

    /// The character with these dots: bit 4·column + row.
    fn character(self, dots: u8) -> char {
        /// Of Unicode's braille patterns, whose first six dots were there before the lowest two.
        const BRAILLE: [u32; 8] = [0x01, 0x02, 0x04, 0x40, 0x08, 0x10, 0x20, 0x80];
        match (self, dots) {
            (Self::Braille, dots) => {
                let set = (0..8).filter(|bit| dots >> bit & 1 == 1);
                let pattern: u32 = set.map(|bit| BRAILLE[bit]).sum();
                char::from_u32(0x2800 + pattern).unwrap_or(' ')
            }
            (Self::Blocks, 0b01) => '▀',
            (Self::Blocks, 0b10) => '▄',
            (Self::Blocks, _) => '█',
            (Self::Ascii, _) => '*',
        }
    }
}

/// A quantity over the last `span`, newest at the right end.
pub(super) struct Curve {
    pub(super) marks: Marks,
    pub(super) style: Style,
    pub(super) span: Duration,
    /// The values at the lower and the upper end.
    pub(super) bounds: (f64, f64),
}

impl Curve {
    /// Draws points, oldest first: how long ago, and the value, if there was one. Where there was none the line is broken.
    pub(super) fn draw(
        &self,
        buffer: &mut Buffer,
        area: Rect,
        points: impl Iterator<Item = (Duration, Option<f64>)>,
    ) {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return;
        }
        let mut dots = Dots::new(area, self.marks);
        let mut before: Option<(u16, u16)> = None;
        for (age, value) in points {
            let here =
                value.map(|value| (dots.column(age, self.span), dots.row(value, self.bounds)));
            if let Some(here) = here {
                dots.line(before.unwrap_or(here), here);
            }
            before = here;
        }
        dots.show(buffer, self.style);
    }
}

/// The dots of an area.
struct Dots {
    area: Rect,
    marks: Marks,
    columns: u16,
    rows: u16,
    /// By character, row by row.
    set: Vec<u8>,
}

impl Dots {
    fn new(area: Rect, marks: Marks) -> Self {
        let (columns, rows) = marks.dots();
        Self {
            area,
            marks,
            columns: area.width.saturating_mul(columns),
            rows: area.height.saturating_mul(rows),
            set: vec![0; usize::from(area.width) * usize::from(area.height)],
        }
    }

    fn column(&self, age: Duration, span: Duration) -> u16 {
        let part = age.as_secs_f64() / span.as_secs_f64().max(1e-9);
        scaled(1.0 - part, self.columns)
    }

    fn row(&self, value: f64, (low, high): (f64, f64)) -> u16 {
        scaled((high - value) / (high - low).max(1e-9), self.rows)
    }

    /// From the point before to this one: each column from where the last one ended, so that no jump is without its line.
    fn line(&mut self, (before, from): (u16, u16), (column, to): (u16, u16)) {
        let mut last = from;
        for at in (before + 1).min(column)..=column {
            let along = f64::from(at.saturating_sub(before))
                / f64::from(column.saturating_sub(before)).max(1.0);
            let height = f64::from(from) + along * (f64::from(to) - f64::from(from));
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between two rows"
            )]
            let row = if at == column {
                to
            } else {
                height.round() as u16
            };
            if row > last {
                (last + 1..row).for_each(|between| self.dot(at, between));
            } else {
                (row + 1..last).for_each(|between| self.dot(at, between));
            }
            self.dot(at, row);
            last = row;
        }
    }

    fn dot(&mut self, column: u16, row: u16) {
        let (columns, rows) = self.marks.dots();
        let cell =
            usize::from(row / rows) * usize::from(self.area.width) + usize::from(column / columns);
        if let Some(set) = self.set.get_mut(cell) {
            *set |= 1 << (4 * (column % columns) + row % rows);
        }
    }

    fn show(&self, buffer: &mut Buffer, style: Style) {
        for (position, dots) in self.area.positions().zip(&self.set) {
            if *dots != 0 {
                buffer[position]
                    .set_char(self.marks.character(*dots))
                    .set_style(style);
            }
        }
    }
}

/// A part of the whole, as one of `count` places.
fn scaled(part: f64, count: u16) -> u16 {
    let last = f64::from(count.saturating_sub(1));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped"
    )]
    let place = (part * last).round().clamp(0.0, last) as u16;
    place
}

/// Bounds for values between `least` and `greatest`: a steady value is a line in the middle, not its noise in large.
pub(super) fn bounds(least: f64, greatest: f64, step: f64) -> (f64, f64) {
    let magnitude = least.abs().max(greatest.abs());
    let missing = (magnitude * 0.01).max(step) - (greatest - least);
    let margin = missing.max(0.0) / 2.0;
    (least - margin, greatest + margin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(marks: Marks, width: u16, height: u16, values: &[Option<f64>]) -> Vec<String> {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        let curve = Curve {
            marks,
            style: Style::new(),
            span: Duration::from_secs(values.len() as u64 - 1),
            bounds: (0.0, 3.0),
        };
        let ages = (0..values.len() as u64).rev().map(Duration::from_secs);
        curve.draw(&mut buffer, area, ages.zip(values.iter().copied()));
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        (0..height).map(row).collect()
    }

    #[test]
    fn a_rise_is_drawn_in_every_kind_of_mark() {
        let rise = [0.0, 1.0, 2.0, 3.0].map(Some);
        assert_eq!(drawn(Marks::Braille, 2, 1, &rise), ["⡠⠊"]);
        assert_eq!(
            drawn(Marks::Blocks, 4, 2, &rise),
            ["  ▄▀", "▄▀  "].map(String::from)
        );
        assert_eq!(
            drawn(Marks::Ascii, 4, 4, &rise),
            ["   *", "  * ", " *  ", "*   "]
        );
    }

    #[test]
    fn an_outage_breaks_the_line() {
        let values = [Some(3.0), Some(3.0), None, Some(3.0)];
        assert_eq!(drawn(Marks::Ascii, 4, 1, &values), ["** *"]);
    }

    #[test]
    fn points_far_apart_are_joined() {
        let values = [Some(0.0), Some(3.0)];
        assert_eq!(
            drawn(Marks::Ascii, 4, 4, &values),
            ["   *", "  * ", " *  ", "*   "]
        );
    }

    #[test]
    fn a_jump_has_a_line_however_many_columns_it_takes() {
        for values in [
            &[Some(0.0), Some(0.0), Some(3.0), Some(3.0)][..],
            &[Some(0.0), Some(3.0)],
        ] {
            for width in 2..9 {
                let lines = drawn(Marks::Ascii, width, 12, values);
                let is_bare = |line: &String| line.trim().is_empty();
                assert!(!lines.iter().any(is_bare), "{lines:#?}");
            }
        }
    }

    #[test]
    fn no_value_and_no_size_lead_out_of_the_area() {
        for (width, height) in [(0, 0), (1, 1), (0, 5), (5, 0)] {
            drawn(
                Marks::Braille,
                width,
                height,
                &[Some(-1e30), Some(f64::NAN), Some(1e30)],
            );
        }
    }

    #[test]
    fn a_steady_value_lies_in_the_middle() {
        assert_eq!(bounds(100.0, 100.0, 0.1), (99.5, 100.5));
        assert_eq!(bounds(0.0, 0.0, 0.5), (-0.25, 0.25));
        assert_eq!(bounds(1.0, 2.0, 0.5), (1.0, 2.0));
    }

    #[test]
    fn marks_are_what_the_terminal_can_show() {
        let of = Marks::of;
        assert_eq!(
            of([None, None, Some("de_DE.UTF-8")], Some("xterm")),
            Marks::Braille
        );
        assert_eq!(of([None, None, None], None), Marks::Braille);
        assert_eq!(
            of([Some(""), Some("C.utf8"), Some("C")], Some("linux")),
            Marks::Blocks
        );
        assert_eq!(
            of([Some("C"), None, Some("de_DE.UTF-8")], Some("xterm")),
            Marks::Ascii
        );
    }
}
