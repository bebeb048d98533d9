//! What the person in front of it has chosen to see.

use std::time::{Duration, Instant};

use super::curve::Marks;
use super::history::History;
use super::model::{Model, Row};

/// How far curves can look back.
const SPANS: [Duration; 3] = [
    Duration::from_secs(2 * 60),
    Duration::from_secs(5 * 60),
    History::LONGEST,
];

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    NextHost,
    PreviousHost,
    Longer,
    Shorter,
    Pause,
    Quit,
}

/// What the terminal can show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) marks: Marks,
    pub(super) colour: bool,
}

/// The model, and how it is looked at.
pub(super) struct Screen {
    pub(super) model: Model,
    pub(super) look: Look,
    /// For a kilowatt-hour.
    pub(super) price: Option<f64>,
    selected: usize,
    span: usize,
    /// As it was when it was paused.
    frozen: Option<(Model, Instant)>,
}

impl Screen {
    const PAGE: usize = 10;

    pub(super) fn new(model: Model, look: Look, price: Option<f64>) -> Self {
        Self {
            model,
            look,
            price,
            selected: 0,
            span: 0,
            frozen: None,
        }
    }

    /// What is to be seen, and as of when.
    pub(super) fn seen(&self, now: Instant) -> (&Model, Instant) {
        match &self.frozen {
            Some((model, then)) => (model, *then),
            None => (&self.model, now),
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.frozen.is_some()
    }

    pub(super) fn span(&self) -> Duration {
        SPANS[self.span]
    }

    /// The number of the selected row, which is there unless nothing is.
    pub(super) fn selected(&self, rows: &[Row<'_>]) -> usize {
        self.selected.min(rows.len().saturating_sub(1))
    }

    /// Does what a key asks for. Tells whether that is to end.
    pub(super) fn press(&mut self, key: Key, now: Instant) -> bool {
        let (model, _) = self.seen(now);
        let rows: Vec<Row<'_>> = model.rows().collect();
        let selected = self.selected(&rows);
        let last = rows.len().saturating_sub(1);
        // Where the hosts begin.
        let is_first =
            |row: &usize| *row == 0 || !std::ptr::eq(rows[*row].host, rows[row - 1].host);
        let mut firsts = (0..rows.len()).filter(is_first);
        self.selected = match key {
            Key::Up => selected.saturating_sub(1),
            Key::Down => selected + 1,
            Key::PageUp => selected.saturating_sub(Self::PAGE),
            Key::PageDown => selected + Self::PAGE,
            Key::First => 0,
            Key::Last => last,
            Key::NextHost => firsts.find(|row| *row > selected).unwrap_or_default(),
            Key::PreviousHost => {
                let before = firsts.clone().rfind(|row| *row < selected);
                before.or_else(|| firsts.next_back()).unwrap_or_default()
            }
            Key::Longer | Key::Shorter | Key::Pause | Key::Quit => selected,
        }
        .min(last);
        match key {
            Key::Longer => self.span = (self.span + 1).min(SPANS.len() - 1),
            Key::Shorter => self.span = self.span.saturating_sub(1),
            Key::Pause => {
                self.frozen = match self.frozen.take() {
                    Some(_) => None,
                    None => Some((self.model.clone(), now)),
                }
            }
            Key::Quit => return true,
            _ => {}
        }
        false
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::model::tests::sensor;
    use super::*;

    /// Host a with sensors x and y, host b that has not answered, host c with z.
    pub(in super::super) fn screen(now: Instant) -> Screen {
        let mut model = Model::new(["a", "b", "c"].map(str::to_owned), now);
        model.on_scrape(
            0,
            Ok(vec![sensor("x", 9.0, 0.0), sensor("y", 2.0, 0.0)]),
            now,
        );
        model.on_scrape(2, Ok(vec![sensor("z", 1.0, 0.0)]), now);
        let look = Look {
            marks: Marks::Braille,
            colour: false,
        };
        Screen::new(model, look, None)
    }

    fn after(screen: &mut Screen, keys: &[Key]) -> usize {
        for key in keys {
            assert!(!screen.press(*key, Instant::now()));
        }
        let rows: Vec<_> = screen.model.rows().collect();
        screen.selected(&rows)
    }

    #[test]
    fn arrows_select_and_stop_at_the_ends() {
        let mut screen = screen(Instant::now());
        assert_eq!(after(&mut screen, &[Key::Up]), 0);
        assert_eq!(after(&mut screen, &[Key::Down, Key::Down]), 2);
        assert_eq!(after(&mut screen, &[Key::Down, Key::Down, Key::Up]), 2);
        assert_eq!(after(&mut screen, &[Key::PageDown]), 3);
        assert_eq!(after(&mut screen, &[Key::PageUp]), 0);
        assert_eq!(after(&mut screen, &[Key::Last]), 3);
        assert_eq!(after(&mut screen, &[Key::First]), 0);
    }

    #[test]
    fn tab_goes_from_host_to_host_and_around() {
        let mut screen = screen(Instant::now());
        let mut tab = |key| after(&mut screen, &[key]);
        assert_eq!([0; 3].map(|_| tab(Key::NextHost)), [2, 3, 0]);
        assert_eq!([0; 3].map(|_| tab(Key::PreviousHost)), [3, 2, 0]);
    }

    #[test]
    fn a_pause_holds_what_is_seen_and_lets_the_rest_go_on() {
        let now = Instant::now();
        let mut screen = screen(now);
        screen.press(Key::Pause, now);
        let later = now + Duration::from_secs(1);
        screen
            .model
            .on_scrape(1, Ok(vec![sensor("new", 1.0, 0.0)]), later);
        let rows = |screen: &Screen| {
            let (model, at) = screen.seen(later);
            (model.rows().filter(|row| row.sensor.is_some()).count(), at)
        };
        assert_eq!(rows(&screen), (3, now));
        screen.press(Key::Pause, later);
        assert_eq!(rows(&screen), (4, later));
    }

    #[test]
    fn spans_have_a_shortest_and_a_longest() {
        let mut screen = screen(Instant::now());
        let mut spans = |key| {
            screen.press(key, Instant::now());
            screen.span().as_secs()
        };
        assert_eq!([Key::Longer; 3].map(&mut spans), [300, 900, 900]);
        assert_eq!([Key::Shorter; 3].map(&mut spans), [300, 120, 120]);
    }

    #[test]
    fn only_one_key_ends_it() {
        assert!(screen(Instant::now()).press(Key::Quit, Instant::now()));
    }

    #[test]
    fn keys_do_no_harm_when_nothing_is_watched() {
        let now = Instant::now();
        let mut screen = Screen::new(Model::new([], now), screen(now).look, None);
        for key in [
            Key::Up,
            Key::Down,
            Key::Last,
            Key::NextHost,
            Key::PreviousHost,
            Key::Pause,
        ] {
            screen.press(key, now);
        }
        assert_eq!(screen.selected(&[]), 0);
    }
}
