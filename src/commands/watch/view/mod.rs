//! The picture: a table of sensors, the curves of one, and what else is known of it.

use std::time::Instant;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::details;
use super::model::{Condition, Model, Row, State};
use super::numbers::counted;
use super::screen::Screen;

mod canvas;
mod panel;
mod table;

use canvas::{Canvas, Tone, bottom, height_of, top};

const KEYS: &str = " q quit  up/down sensor  tab host  space pause  +/- time";
/// Two panels, each with a heading and a curve of two lines.
const LEAST_FOR_CURVES: u16 = 6;

/// Draws everything.
pub(super) fn draw(screen: &Screen, buffer: &mut Buffer, now: Instant) {
    let mut area = buffer.area;
    let mut canvas = Canvas::new(buffer, screen.look.colour);
    let (model, now) = screen.seen(now);
    let rows: Vec<Row<'_>> = model.rows().collect();
    let selected = screen.selected(&rows);
    let Some(row) = rows.get(selected) else {
        return;
    };
    title(screen, model, &mut canvas, top(&mut area, 1));
    canvas.write(bottom(&mut area, 1), KEYS, Tone::Quiet);
    let lines = details::lines(screen, row, area.width, now);
    let of_lines = height_of(lines.len());
    // Curves come last, and so are the first to go where there is no room.
    let of_all = height_of(rows.len() + 1);
    let of_table = of_all.min(area.height / 4).max(2);
    let with_curves = area.height >= of_table + of_lines + LEAST_FOR_CURVES;
    let of_table = if with_curves {
        of_table
    } else {
        of_all.min(area.height.saturating_sub(of_lines)).max(2)
    };
    let place = top(&mut area, of_table);
    table::draw(screen, &mut canvas, place, &rows, selected);
    let mut below = if with_curves {
        bottom(&mut area, of_lines)
    } else {
        area
    };
    for (is_bad, line) in lines {
        let tone = if is_bad { Tone::Bad } else { Tone::Plain };
        canvas.write(top(&mut below, 1), &line, tone);
    }
    if with_curves {
        panel::draw(screen, &mut canvas, area, row, now);
    }
}

fn title(screen: &Screen, model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let hosts = counted(model.hosts.len(), "host");
    let sensors = counted(
        model.rows().filter(|row| row.sensor.is_some()).count(),
        "sensor",
    );
    let text = format!(" ina260-exporter  {hosts}, {sensors}");
    let mut rest = canvas.write(area, &text, Tone::Heading);
    let is_silent = |state: &State| matches!(state, State::Fails(..));
    let silent = model.hosts.iter().filter(|host| is_silent(&host.state));
    for (count, text) in [
        (model.count(Condition::Alert), "in alert"),
        (model.count(Condition::Down), "down"),
        (silent.count(), "without answer"),
    ] {
        if count > 0 {
            rest = canvas.write(rest, ", ", Tone::Plain);
            rest = canvas.write(rest, &format!("{count} {text}"), Tone::Bad);
        }
    }
    if screen.is_paused() {
        rest = canvas.write(rest, "  ", Tone::Plain);
        canvas.write(rest, " paused ", Tone::Selected);
    }
}

#[cfg(test)]
mod tests;
