//! State of the display: selected row, time span, pause.

use std::time::{Duration, Instant};

use ratatui::symbols::Marker;

use super::history::History;
use super::model::{Entry, Model};

/// Time spans of the charts.
const SPANS: [Duration; 3] =
    [Duration::from_secs(2 * 60), Duration::from_secs(5 * 60), History::MAX_AGE];

/// An action that is bound to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    NextHost,
    PreviousHost,
    LongerSpan,
    ShorterSpan,
    Pause,
    Quit,
}

/// What the terminal can display.
#[derive(Clone, Copy, Debug)]
pub(super) struct TerminalCaps {
    /// Marker of the charts.
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
    selected: usize,
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

    /// Returns the index of the selected entry; valid unless `entries` is empty.
    pub(super) fn selected(&self, entries: &[Entry<'_>]) -> usize {
        self.selected.min(entries.len().saturating_sub(1))
    }

    /// Executes an action; returns whether to quit.
    pub(super) fn execute(&mut self, action: Action, now: Instant) -> bool {
        let (model, _) = self.displayed(now);
        let entries: Vec<Entry<'_>> = model.entries().collect();
        let selected = self.selected(&entries);
        let last = entries.len().saturating_sub(1);
        // First entry of each host.
        let is_first = |index: &usize| {
            *index == 0 || !std::ptr::eq(entries[*index].host, entries[index - 1].host)
        };
        let mut firsts = (0..entries.len()).filter(is_first);
        self.selected = match action {
            Action::Up => selected.saturating_sub(1),
            Action::Down => selected + 1,
            Action::PageUp => selected.saturating_sub(Self::PAGE),
            Action::PageDown => selected + Self::PAGE,
            Action::First => 0,
            Action::Last => last,
            Action::NextHost => firsts.find(|index| *index > selected).unwrap_or_default(),
            Action::PreviousHost => {
                let before = firsts.clone().rfind(|index| *index < selected);
                before.or_else(|| firsts.next_back()).unwrap_or_default()
            }
            Action::LongerSpan | Action::ShorterSpan | Action::Pause | Action::Quit => selected,
        }
        .min(last);
        match action {
            Action::LongerSpan => self.span = (self.span + 1).min(SPANS.len() - 1),
            Action::ShorterSpan => self.span = self.span.saturating_sub(1),
            Action::Pause if self.paused.is_some() => self.paused = None,
            Action::Pause => self.paused = Some((self.model.clone(), now)),
            _ => {}
        }
        action == Action::Quit
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
        let mut model = Model::new(["a", "b", "c"].map(str::to_owned), now);
        let sensors = vec![sensor("x", 9.0, 0.0), sensor("y", 2.0, 0.0)];
        model.on_scrape(0, Ok(scrape(sensors)), now);
        model.on_scrape(2, Ok(scrape(vec![sensor("z", 1.0, 0.0)])), now);
        Screen::new(model, CAPS, None)
    }

    fn after(screen: &mut Screen, actions: &[Action]) -> usize {
        for action in actions {
            assert!(!screen.execute(*action, Instant::now()));
        }
        let entries: Vec<_> = screen.model.entries().collect();
        screen.selected(&entries)
    }

    #[test]
    fn selection_stops_at_both_ends() {
        let mut screen = screen(Instant::now());
        assert_eq!(after(&mut screen, &[Action::Up]), 0);
        assert_eq!(after(&mut screen, &[Action::Down, Action::Down]), 2);
        let actions = [Action::Down, Action::Down, Action::Up];
        assert_eq!(after(&mut screen, &actions), 2);
        assert_eq!(after(&mut screen, &[Action::PageDown]), 3);
        assert_eq!(after(&mut screen, &[Action::PageUp]), 0);
        assert_eq!(after(&mut screen, &[Action::Last]), 3);
        assert_eq!(after(&mut screen, &[Action::First]), 0);
    }

    #[test]
    fn tab_cycles_through_the_hosts() {
        let mut screen = screen(Instant::now());
        let mut tab = |action| after(&mut screen, &[action]);
        assert_eq!([0; 3].map(|_| tab(Action::NextHost)), [2, 3, 0]);
        assert_eq!([0; 3].map(|_| tab(Action::PreviousHost)), [3, 2, 0]);
    }

    #[test]
    fn pause_freezes_the_display_not_the_model() {
        let now = Instant::now();
        let mut screen = screen(now);
        screen.execute(Action::Pause, now);
        let later = now + Duration::from_secs(1);
        let sensors = vec![sensor("new", 1.0, 0.0)];
        screen.model.on_scrape(1, Ok(scrape(sensors)), later);
        let displayed = |screen: &Screen| {
            let (model, at) = screen.displayed(later);
            let sensors = model.entries().filter(|entry| entry.sensor.is_some());
            (sensors.count(), at)
        };
        assert_eq!(displayed(&screen), (3, now));
        screen.execute(Action::Pause, later);
        assert_eq!(displayed(&screen), (4, later));
    }

    #[test]
    fn span_has_a_minimum_and_a_maximum() {
        let mut screen = screen(Instant::now());
        let mut spans = |action| {
            screen.execute(action, Instant::now());
            screen.span().as_secs()
        };
        assert_eq!([Action::LongerSpan; 3].map(&mut spans), [300, 900, 900]);
        assert_eq!([Action::ShorterSpan; 3].map(&mut spans), [300, 120, 120]);
    }

    #[test]
    fn quit_is_reported_to_the_caller() {
        assert!(screen(Instant::now()).execute(Action::Quit, Instant::now()));
    }

    #[test]
    fn actions_without_any_host_do_nothing() {
        let now = Instant::now();
        let mut screen = Screen::new(Model::new([], now), CAPS, None);
        for action in [
            Action::Up,
            Action::Down,
            Action::Last,
            Action::NextHost,
            Action::PreviousHost,
            Action::Pause,
        ] {
            screen.execute(action, now);
        }
        assert_eq!(screen.selected(&[]), 0);
    }
}
