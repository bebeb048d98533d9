//! Minimum and maximum of the results in a moving window.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::units::{Measured, Quantity};

/// Resolution of the window: of results closer together than this fraction of it, only the most
/// extreme is kept. Bounds the memory at any rate; results further apart are exact.
const SLOTS: u32 = 1_024;

/// The results that can still become the maximum, oldest first, each smaller than those before it.
#[derive(Clone, Debug, Default)]
struct RunningMax(VecDeque<(Instant, f64)>);

impl RunningMax {
    fn add(&mut self, at: Instant, value: f64, slot: Duration) {
        while self.0.back().is_some_and(|(_, last)| *last <= value) {
            self.0.pop_back();
        }
        let crowded = |(last, _): &(Instant, f64)| at.saturating_duration_since(*last) < slot;
        if !self.0.back().is_some_and(crowded) {
            self.0.push_back((at, value));
        }
    }

    fn expire(&mut self, now: Instant, window: Duration) {
        let old = |(at, _): &(Instant, f64)| now.saturating_duration_since(*at) >= window;
        while self.0.front().is_some_and(old) {
            self.0.pop_front();
        }
    }
}

/// Minimum and maximum of one quantity.
#[derive(Clone, Debug, Default)]
struct Range {
    max: RunningMax,
    /// The maximum of the negated values.
    negated_min: RunningMax,
}

impl Range {
    fn add(&mut self, at: Instant, value: f64, slot: Duration) {
        self.max.add(at, value, slot);
        self.negated_min.add(at, -value, slot);
    }

    fn within(&mut self, now: Instant, window: Duration) -> Option<(f64, f64)> {
        self.max.expire(now, window);
        self.negated_min.expire(now, window);
        Some((-self.negated_min.0.front()?.1, self.max.0.front()?.1))
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

/// The results of the last `length`.
#[derive(Clone, Debug)]
pub struct Window {
    length: Duration,
    /// In the order of [`Quantity::ALL`].
    ranges: [Range; Quantity::ALL.len()],
}

impl Default for Window {
    fn default() -> Self {
        Self { length: Duration::from_secs(60), ranges: Default::default() }
    }
}

impl Window {
    /// Sets the length; results that have left the window already do not return.
    pub fn set_length(&mut self, length: Duration) {
        self.length = length;
    }

    /// Adds a result.
    pub fn add(&mut self, at: Instant, measured: &Measured) {
        let slot = self.length / SLOTS;
        for (quantity, range) in Quantity::ALL.iter().zip(&mut self.ranges) {
            range.add(at, quantity.of(measured), slot);
        }
    }

    /// Returns the extremes of the window that ends `now`, if it contains a result.
    pub fn extremes(&mut self, now: Instant) -> Option<Extremes> {
        let ranges = self.ranges.each_mut().map(|range| range.within(now, self.length));
        let [Some(power), Some(current), Some(voltage)] = ranges else { return None };
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
    use crate::units::{Amperes, Watts};

    #[test]
    fn empty_window_has_no_extremes() {
        let now = Instant::now();
        let mut window = Window::default();
        assert_eq!(window.extremes(now), None);
        window.add(now, &Measured::new(5.0, -1.0, -5.0));
        let extremes = window.extremes(now + Duration::from_secs(59)).unwrap();
        assert_eq!(
            (extremes.min.current, extremes.max.current, extremes.min.power),
            (Amperes(-1.0), Amperes(-1.0), Watts(-5.0))
        );
        assert_eq!(window.extremes(now + Duration::from_secs(60)), None);
    }

    #[test]
    fn memory_is_bounded_on_a_ramp() {
        let start = Instant::now();
        let mut range = Range::default();
        for n in 0..240_000_u32 {
            let at = start + n * Duration::from_micros(500);
            range.add(at, -f64::from(n), Duration::from_secs(60) / SLOTS);
            range.within(at, Duration::from_secs(60));
        }
        assert!(range.max.0.len() <= 1_025 && range.negated_min.0.len() == 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn extremes_match_a_full_search(
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
                let inside = all.iter().filter(|(at, _)| now - *at < length);
                let inside = inside.map(|(_, value)| *value);
                let min = inside.clone().fold(f64::MAX, f64::min);
                let expected = (min, inside.fold(f64::MIN, f64::max));
                prop_assert_eq!(range.within(now, length), Some(expected));
            }
        }
    }
}
