//! The least and the greatest of the results in a window that moves on.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::units::{Amperes, Measured, Volts, Watts};

/// A thousandth of the window is told apart: of results that lie closer together the extreme one is kept. This bounds the memory
/// whatever the rate, and results further apart than that are exact to the last one.
const SLOTS: u32 = 1_024;

/// The results that can still become the greatest, by the time they came: each smaller than those before it.
#[derive(Clone, Debug, Default)]
struct Greatest(VecDeque<(Instant, f64)>);

impl Greatest {
    fn add(&mut self, at: Instant, value: f64, slot: Duration) {
        while self.0.back().is_some_and(|(_, last)| *last <= value) {
            self.0.pop_back();
        }
        let crowded = |(last, _): &(Instant, f64)| at.saturating_duration_since(*last) < slot;
        if !self.0.back().is_some_and(crowded) {
            self.0.push_back((at, value));
        }
    }

    fn forget(&mut self, now: Instant, window: Duration) {
        let old = |(at, _): &(Instant, f64)| now.saturating_duration_since(*at) >= window;
        while self.0.front().is_some_and(old) {
            self.0.pop_front();
        }
    }
}

/// Both ends of one quantity.
#[derive(Clone, Debug, Default)]
struct Range {
    greatest: Greatest,
    /// The least is the greatest of the negated.
    least: Greatest,
}

impl Range {
    fn add(&mut self, at: Instant, value: f64, slot: Duration) {
        self.greatest.add(at, value, slot);
        self.least.add(at, -value, slot);
    }

    fn within(&mut self, now: Instant, window: Duration) -> Option<(f64, f64)> {
        self.greatest.forget(now, window);
        self.least.forget(now, window);
        Some((-self.least.0.front()?.1, self.greatest.0.front()?.1))
    }
}

/// Minimum and maximum of each quantity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extremes {
    /// The minima.
    pub min: Measured,
    /// The maxima.
    pub max: Measured,
}

/// The results of the last while.
#[derive(Clone, Debug)]
pub struct Window {
    length: Duration,
    slot: Duration,
    voltage: Range,
    current: Range,
    power: Range,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            length: Duration::from_secs(60),
            slot: Duration::from_secs(60) / SLOTS,
            voltage: Range::default(),
            current: Range::default(),
            power: Range::default(),
        }
    }
}

impl Window {
    /// Changes how far it goes back; what has left it already does not return.
    pub fn set_length(&mut self, length: Duration) {
        self.length = length;
        self.slot = length / SLOTS;
    }

    /// Takes a result in.
    pub fn add(&mut self, at: Instant, measured: &Measured) {
        let slot = self.slot;
        self.voltage.add(at, measured.voltage.0, slot);
        self.current.add(at, measured.current.0, slot);
        self.power.add(at, measured.power.0, slot);
    }

    /// The extremes of the window that ends `now`, if there was a result in it.
    pub fn extremes(&mut self, now: Instant) -> Option<Extremes> {
        let voltage = self.voltage.within(now, self.length)?;
        let current = self.current.within(now, self.length)?;
        let power = self.power.within(now, self.length)?;
        Some(Extremes {
            min: Measured::new(voltage.0, current.0, power.0),
            max: Measured::new(voltage.1, current.1, power.1),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn before_the_first_result_and_after_the_last_there_is_no_extreme() {
        let now = Instant::now();
        let mut window = Window::default();
        assert_eq!(window.extremes(now), None);
        window.add(now, &Measured::new(5.0, -1.0, -5.0));
        let extremes = window.extremes(now + Duration::from_secs(59)).unwrap();
        assert_eq!(
            (
                extremes.min.current,
                extremes.max.current,
                extremes.min.power
            ),
            (Amperes(-1.0), Amperes(-1.0), Watts(-5.0))
        );
        assert_eq!(window.extremes(now + Duration::from_secs(60)), None);
    }

    #[test]
    fn a_ramp_at_any_rate_needs_bounded_memory() {
        let start = Instant::now();
        let mut range = Range::default();
        for n in 0..240_000_u32 {
            let at = start + n * Duration::from_micros(500);
            range.add(at, -f64::from(n), Duration::from_secs(60) / SLOTS);
            range.within(at, Duration::from_secs(60));
        }
        assert!(range.greatest.0.len() <= 1_025 && range.least.0.len() == 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn extremes_are_those_of_every_result_in_the_window(
            results in prop::collection::vec((60..5_000_u64, -1000..1000_i32), 1..300),
            seconds in 1..60_u64,
        ) {
            let length = Duration::from_secs(seconds);
            let mut range = Range::default();
            let mut now = Instant::now();
            let mut all = Vec::new();
            for (millis, value) in results {
                now += Duration::from_millis(millis);
                all.push((now, f64::from(value)));
                range.add(now, f64::from(value), length / SLOTS);
                let inside = all.iter().filter(|(at, _)| now - *at < length).map(|(_, value)| *value);
                let expected = (inside.clone().fold(f64::MAX, f64::min), inside.fold(f64::MIN, f64::max));
                prop_assert_eq!(range.within(now, length), Some(expected));
            }
        }
    }
}
