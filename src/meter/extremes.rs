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

    /// Returns the maximum of the window, or of the last result if the window is empty.
    fn within(&mut self, now: Instant, window: Duration) -> Option<f64> {
        let is_over = |(at, _): &(Instant, f64)| now.saturating_duration_since(*at) >= window;
        while self.0.len() > 1 && self.0.front().is_some_and(is_over) {
            self.0.pop_front();
        }
        self.0.front().map(|(_, max)| *max)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Extremes {
    pub(crate) min: Measured,
    pub(crate) max: Measured,
}

/// The results of the last `length`.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// After a change, results that have left the window already do not return.
    pub(crate) length: Duration,
    /// The maxima of the negated and of the plain values, in the order of [`Quantity::ALL`].
    maxima: [[RunningMax; 2]; Quantity::ALL.len()],
}

impl Default for Window {
    fn default() -> Self {
        Self { length: Duration::from_secs(60), maxima: Default::default() }
    }
}

impl Window {
    pub(super) fn add(&mut self, at: Instant, measured: &Measured) {
        let slot = self.length / SLOTS;
        for (quantity, [negated, plain]) in Quantity::ALL.iter().zip(&mut self.maxima) {
            let value = quantity.of(measured);
            negated.add(at, -value, slot);
            plain.add(at, value, slot);
        }
    }

    /// Shifts all results into the past, by time suspended, which monotonic time excludes.
    pub(super) fn add_suspended(&mut self, time: Duration) {
        for (at, _) in self.maxima.iter_mut().flatten().flat_map(|it| &mut it.0) {
            *at = at.checked_sub(time).unwrap_or(*at);
        }
    }

    /// Returns the extremes of the window that ends `now`, if there has been a result.
    pub(crate) fn extremes(&mut self, now: Instant) -> Option<Extremes> {
        let [power, current, voltage] = self.maxima.each_mut().map(|[negated, plain]| {
            Some((-negated.within(now, self.length)?, plain.within(now, self.length)?))
        });
        let (power, current, voltage) = (power?, current?, voltage?);
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
    fn last_result_is_in_every_window() {
        let now = Instant::now();
        let mut window = Window::default();
        assert_eq!(window.extremes(now), None);
        window.add(now, &Measured::new(5.0, 2.0, 10.0));
        window.add(now + Duration::from_secs(1), &Measured::new(5.0, -1.0, -5.0));
        for (seconds, max) in [(59, 2.0), (60, -1.0), (61, -1.0)] {
            let extremes = window.extremes(now + Duration::from_secs(seconds)).unwrap();
            assert_eq!(
                (extremes.min.current, extremes.max.current, extremes.min.power),
                (Amperes(-1.0), Amperes(max), Watts(-5.0))
            );
        }
    }

    #[test]
    fn memory_is_bounded_on_a_ramp() {
        let start = Instant::now();
        let mut window = Window::default();
        for n in 0..240_000_u32 {
            let at = start + n * Duration::from_micros(500);
            window.add(at, &Measured::new(0.0, 0.0, -f64::from(n)));
            window.extremes(at);
        }
        let [negated, plain] = &window.maxima[Quantity::Power as usize];
        assert!(plain.0.len() <= 1_025 && negated.0.len() == 1);
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
            let mut window = Window { length, ..Window::default() };
            let mut now = Instant::now();
            let mut all = Vec::new();
            for (millis, value) in results {
                now += Duration::from_millis(millis);
                all.push((now, f64::from(value)));
                window.add(now, &Measured::new(0.0, 0.0, f64::from(value)));
                let inside = all.iter().filter(|(at, _)| now - *at < length);
                let inside = inside.map(|(_, value)| *value);
                let min = inside.clone().fold(f64::MAX, f64::min);
                let expected = (min, inside.fold(f64::MIN, f64::max));
                let found = window.extremes(now).map(|it| (it.min.power.0, it.max.power.0));
                prop_assert_eq!(found, Some(expected));
            }
        }
    }
}
