//! State of the display: selected row, time span, pause.

use std::time::{Duration, Instant};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::symbols::Marker;

use super::model::{Entry, History, Model};

/// Time spans of the charts.
const SPANS: [Duration; 3] =
    [Duration::from_secs(2 * 60), Duration::from_secs(5 * 60), History::MAX_AGE];

#[derive(Clone, Copy, Debug)]
pub(super) struct TerminalCaps {
    pub(super) marker: Marker,
    /// Whether characters outside ASCII can be displayed.
    pub(super) utf8: bool,
    pub(super) colour: bool,
}

/// The model and how it is displayed.
pub(super) struct Screen {
    pub(super) model: Model,
    pub(super) caps: TerminalCaps,
    /// Price of a kilowatt-hour.
    pub(super) price: Option<f64>,
    /// Index of the selected entry, if there are that many.
    pub(super) selected: usize,
    span: usize,
    /// The model when the display was paused, and the time of the pause.
    pub(super) paused: Option<(Model, Instant)>,
}

impl Screen {
    const PAGE: usize = 10;

    pub(super) fn new(model: Model, caps: TerminalCaps, price: Option<f64>) -> Self {
        Self { model, caps, price, selected: 0, span: 0, paused: None }
    }

    /// Returns the model to display, and the time at which it is displayed.
    pub(super) fn displayed(&self, now: Instant) -> (&Model, Instant) {
        match &self.paused {
            Some((model, then)) => (model, *then),
            None => (&self.model, now),
        }
    }

    pub(super) fn span(&self) -> Duration {
        SPANS[self.span]
    }

    /// Executes what a key is bound to; returns whether to quit.
    pub(super) fn press(&mut self, key: KeyEvent, now: Instant) -> bool {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return key.code == KeyCode::Char('c');
        }
        let (model, _) = self.displayed(now);
        let entries: Vec<Entry<'_>> = model.entries().collect();
        let last = entries.len().saturating_sub(1);
        let selected = self.selected.min(last);
        // First entry of each host.
        let is_first = |index: &usize| {
            *index == 0 || !std::ptr::eq(entries[*index].host, entries[index - 1].host)
        };
        match key.code {
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => return true,
            KeyCode::Up | KeyCode::Char('k') => self.selected = selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.selected = selected + 1,
            KeyCode::PageUp => self.selected = selected.saturating_sub(Self::PAGE),
            KeyCode::PageDown => self.selected = selected + Self::PAGE,
            KeyCode::Home => self.selected = 0,
            KeyCode::End => self.selected = last,
            KeyCode::Tab | KeyCode::Right => {
                self.selected = (selected + 1..entries.len()).find(is_first).unwrap_or_default();
            }
            KeyCode::BackTab | KeyCode::Left => {
                let mut previous = (0..selected).rev().chain((0..entries.len()).rev());
                self.selected = previous.find(is_first).unwrap_or_default();
            }
            KeyCode::Char('+' | '=') => self.span = (self.span + 1).min(SPANS.len() - 1),
            KeyCode::Char('-') => self.span = self.span.saturating_sub(1),
            KeyCode::Char(' ' | 'p') => {
                self.paused = self.paused.is_none().then(|| (self.model.clone(), now));
            }
            _ => {}
        }
        self.selected = self.selected.min(last);
        false
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::model::tests::{scrape, sensor};
    use super::*;

    pub(in super::super) const CAPS: TerminalCaps =
        TerminalCaps { marker: Marker::Braille, utf8: true, colour: true };

    /// Host a with the sensors x and y, host b without a scrape yet, host c with the sensor z.
    fn screen(now: Instant) -> Screen {
        let mut model = Model::new(["a", "b", "c"].map(str::to_owned));
        let sensors = vec![sensor("x", 9.0, 0.0), sensor("y", 2.0, 0.0)];
        model.on_scrape(0, Ok(scrape(sensors)), now);
        model.on_scrape(2, Ok(scrape(vec![sensor("z", 1.0, 0.0)])), now);
        Screen::new(model, CAPS, None)
    }

    fn after(screen: &mut Screen, keys: &[KeyCode]) -> usize {
        for key in keys {
            assert!(!screen.press((*key).into(), Instant::now()));
        }
        screen.selected
    }

    #[test]
    fn selection_stops_at_both_ends() {
        let mut screen = screen(Instant::now());
        assert_eq!(after(&mut screen, &[KeyCode::Up]), 0);
        assert_eq!(after(&mut screen, &[KeyCode::Down, KeyCode::Down]), 2);
        let keys = [KeyCode::Down, KeyCode::Down, KeyCode::Up];
        assert_eq!(after(&mut screen, &keys), 2);
        assert_eq!(after(&mut screen, &[KeyCode::PageDown]), 3);
        assert_eq!(after(&mut screen, &[KeyCode::PageUp]), 0);
        assert_eq!(after(&mut screen, &[KeyCode::End]), 3);
        assert_eq!(after(&mut screen, &[KeyCode::Home]), 0);
    }

    #[test]
    fn tab_cycles_through_the_hosts() {
        let mut screen = screen(Instant::now());
        let mut press = |code, modifiers| {
            screen.press(KeyEvent::new(code, modifiers), Instant::now());
            screen.selected
        };
        let next = [0; 3].map(|_| press(KeyCode::Tab, KeyModifiers::NONE));
        assert_eq!(next, [2, 3, 0]);
        let previous = [0; 3].map(|_| press(KeyCode::BackTab, KeyModifiers::SHIFT));
        assert_eq!(previous, [3, 2, 0]);
    }

    #[test]
    fn pause_freezes_the_display_not_the_model() {
        let now = Instant::now();
        let mut screen = screen(now);
        screen.press(KeyCode::Char(' ').into(), now);
        let later = now + Duration::from_secs(1);
        let sensors = vec![sensor("new", 1.0, 0.0)];
        screen.model.on_scrape(1, Ok(scrape(sensors)), later);
        let displayed = |screen: &Screen| {
            let (model, at) = screen.displayed(later);
            let sensors = model.entries().filter(|entry| entry.sensor.is_some());
            (sensors.count(), at)
        };
        assert_eq!(displayed(&screen), (3, now));
        screen.press(KeyCode::Char(' ').into(), later);
        assert_eq!(displayed(&screen), (4, later));
    }

    #[test]
    fn span_has_a_minimum_and_a_maximum() {
        let mut screen = screen(Instant::now());
        let mut spans = |key: KeyCode| {
            screen.press(key.into(), Instant::now());
            screen.span().as_secs()
        };
        assert_eq!([KeyCode::Char('+'); 3].map(&mut spans), [300, 900, 900]);
        assert_eq!([KeyCode::Char('-'); 3].map(&mut spans), [300, 120, 120]);
    }

    #[test]
    fn quit_is_reported_to_the_caller() {
        let quits = |code, modifiers| {
            screen(Instant::now()).press(KeyEvent::new(code, modifiers), Instant::now())
        };
        assert!(quits(KeyCode::Char('q'), KeyModifiers::NONE));
        assert!(!quits(KeyCode::Char('c'), KeyModifiers::NONE));
        assert!(quits(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(!quits(KeyCode::Char('q'), KeyModifiers::CONTROL));
    }

    #[test]
    fn keys_without_any_host_do_nothing() {
        let now = Instant::now();
        let mut screen = Screen::new(Model::new([]), CAPS, None);
        for key in [
            KeyCode::Up,
            KeyCode::Down,
            KeyCode::End,
            KeyCode::Tab,
            KeyCode::BackTab,
            KeyCode::Char(' '),
        ] {
            screen.press(key.into(), now);
        }
        assert_eq!(screen.selected, 0);
    }
}
