//! Readings of the last minutes, for the charts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::scrape::Readings;
use crate::units::Quantity;

/// Times and readings of the scrapes of a sensor, oldest first; `None` is a gap.
#[derive(Clone, Debug, Default)]
pub(super) struct History(VecDeque<(Instant, Option<Readings>)>);

impl History {
    pub(super) const MAX_AGE: Duration = Duration::from_secs(15 * 60);

    /// Adds a point, and removes those that are too old or more than `max_points`.
    pub(super) fn add(&mut self, at: Instant, readings: Option<Readings>, max_points: usize) {
        // One point is enough for a gap of any length.
        if readings.is_none() && self.0.back().is_none_or(|(_, last)| last.is_none()) {
            return;
        }
        self.0.push_back((at, readings));
        let age = |(then, _): &(Instant, _)| at.saturating_duration_since(*then);
        while self.0.front().is_some_and(|it| age(it) > Self::MAX_AGE) || self.0.len() > max_points
        {
            self.0.pop_front();
        }
    }

    /// Returns the points of the last `span`, oldest first: age, and the readings unless it is a
    /// gap.
    pub(super) fn points(
        &self,
        span: Duration,
        now: Instant,
    ) -> impl Iterator<Item = (Duration, Option<Readings>)> {
        let age = move |at: Instant| now.saturating_duration_since(at);
        let points = self.0.iter().map(move |(at, readings)| (age(*at), *readings));
        points.skip_while(move |(age, _)| *age > span)
    }

    fn readings(&self, span: Duration, now: Instant) -> impl Iterator<Item = Readings> {
        self.points(span, now).filter_map(|(_, readings)| readings)
    }

    /// Returns the min and max over `span`, including results between two scrapes.
    pub(super) fn extremes(
        &self,
        quantity: Quantity,
        span: Duration,
        now: Instant,
    ) -> Option<(f64, f64)> {
        let readings = self.readings(span, now);
        let extremes = readings.map(|it| (quantity.of(&it.min), quantity.of(&it.max)));
        extremes.reduce(|(min, max), (low, high)| (min.min(low), max.max(high)))
    }

    /// Returns the mean power of the readings over `span`, in watts.
    pub(super) fn mean_power(&self, span: Duration, now: Instant) -> Option<f64> {
        let (sum, count) = self
            .readings(span, now)
            .fold((0.0, 0.0), |(sum, count), readings| (sum + readings.last.power.0, count + 1.0));
        (count > 0.0).then(|| sum / count)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::units::Measured;

    /// Returns readings of 5 V, with min and max 1 below and above.
    pub(in super::super) fn readings(power: f64) -> Readings {
        let measured =
            |offset: f64| Measured::new(5.0 + offset, power / 5.0 + offset, power + offset);
        Readings { last: measured(0.0), min: measured(-1.0), max: measured(1.0) }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn history_is_limited_to_its_max_age() {
        let start = Instant::now();
        let mut history = History::default();
        for second in 0..=2_000 {
            history.add(start + seconds(second), Some(readings(1.0)), 1_000);
        }
        assert_eq!(history.0.len(), 901);
        history.add(start + seconds(2_000), Some(readings(1.0)), 3);
        assert_eq!(history.0.len(), 3);
        let points = history.points(seconds(2), start + seconds(2_000));
        let ages: Vec<_> = points.map(|(age, _)| age.as_secs()).collect();
        assert_eq!(ages, [1, 0, 0]);
    }

    #[test]
    fn outage_is_one_gap_and_not_in_the_mean() {
        let start = Instant::now();
        let mut history = History::default();
        let powers = [None, Some(2.0), None, None, Some(4.0), Some(6.0)];
        for (second, power) in (0..).zip(powers) {
            history.add(start + seconds(second), power.map(readings), 1_000);
        }
        let now = start + seconds(5);
        let points = history.points(History::MAX_AGE, now);
        let points: Vec<_> = points.map(|(_, it)| it.map(|it| it.last.power.0)).collect();
        assert_eq!(points, [Some(2.0), None, Some(4.0), Some(6.0)]);
        assert_eq!(history.mean_power(History::MAX_AGE, now), Some(4.0));
        let extremes = |span| history.extremes(Quantity::Power, span, now);
        assert_eq!(extremes(History::MAX_AGE), Some((1.0, 7.0)));
        assert_eq!(extremes(seconds(1)), Some((3.0, 7.0)));
        assert_eq!(History::default().mean_power(seconds(1), now), None);
    }
}
