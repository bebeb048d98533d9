//! What is drawn on, and how what is written looks.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::super::snapshot::Quantity;

/// What is said by colour, where there is any, and else by weight.
#[derive(Clone, Copy)]
pub(super) enum Tone {
    Plain,
    Heading,
    Quiet,
    Selected,
    Good,
    Bad,
    Of(Quantity),
}

/// A buffer that takes nothing outside of itself amiss.
pub(super) struct Canvas<'a> {
    pub(super) buffer: &'a mut Buffer,
    colour: bool,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(buffer: &'a mut Buffer, colour: bool) -> Self {
        Self { buffer, colour }
    }

    pub(super) fn style(&self, tone: Tone) -> Style {
        let style = Style::new();
        // Of the sixteen colours that every terminal has fitting to its background.
        let coloured = |colour| if self.colour { style.fg(colour) } else { style };
        match tone {
            Tone::Plain => style,
            Tone::Heading => style.add_modifier(Modifier::BOLD),
            Tone::Quiet => style.add_modifier(Modifier::DIM),
            Tone::Selected => style.add_modifier(Modifier::REVERSED),
            Tone::Good | Tone::Of(Quantity::Power) => coloured(Color::Green),
            Tone::Bad => coloured(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Of(Quantity::Voltage) => coloured(Color::Cyan),
            Tone::Of(Quantity::Current) => coloured(Color::Magenta),
        }
    }

    /// Writes a text into the first line of an area, and returns what is left of that line.
    pub(super) fn write(&mut self, area: Rect, text: &str, tone: Tone) -> Rect {
        let area = area.intersection(self.buffer.area);
        if area.is_empty() {
            return area;
        }
        let (style, width) = (self.style(tone), area.width.into());
        let (end, _) = self.buffer.set_stringn(area.x, area.y, text, width, style);
        Rect::new(end, area.y, area.right().saturating_sub(end), 1)
    }
}

/// Cuts lines off the top of an area.
pub(super) fn top(area: &mut Rect, height: u16) -> Rect {
    let height = height.min(area.height);
    let cut = Rect { height, ..*area };
    area.y += height;
    area.height -= height;
    cut
}

/// Cuts lines off the bottom of an area.
pub(super) fn bottom(area: &mut Rect, height: u16) -> Rect {
    let height = height.min(area.height);
    area.height -= height;
    Rect::new(area.x, area.bottom(), area.width, height)
}

/// So many lines, or as many as any terminal has.
pub(super) fn height_of(lines: usize) -> u16 {
    u16::try_from(lines).unwrap_or(u16::MAX)
}
