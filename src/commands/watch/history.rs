//! The readings of the last minutes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::snapshot::{Quantity, Range, Ranges};

/// At one time: a reading, or that there was none.
#[derive(Clone, Copy, Debug)]
struct Point {
    at: Instant,
    ranges: Option<Ranges>,
}

/// What a curve is drawn from, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct History(VecDeque<Point>);

impl History {
    /// The longest look back.
    pub(super) const LONGEST: Duration = Duration::from_secs(15 * 60);

    pub(super) fn add(&mut self, at: Instant, ranges: Option<Ranges>) {
        // However long an outage lasts, one point of it is enough.
        let is_gap = |point: &Point| point.ranges.is_none();
        if ranges.is_none() && self.0.back().is_none_or(is_gap) {
            return;
        }
        self.0.push_back(Point { at, ranges });
        while self
            .0
            .front()
            .is_some_and(|first| at.saturating_duration_since(first.at) > Self::LONGEST)
        {
            self.0.pop_front();
        }
    }

    /// Points not older than `span`: how long ago, and the reading, if there was one.
    pub(super) fn of(
        &self,
        quantity: Quantity,
        span: Duration,
        now: Instant,
    ) -> impl Iterator<Item = (Duration, Option<Range>)> {
        let aged = move |point: &Point| {
            let age = now.saturating_duration_since(point.at);
            (age, point.ranges.map(|ranges| ranges[quantity as usize]))
        };
        let points = self.0.iter().map(aged);
        points.skip_while(move |(age, _)| *age > span)
    }

    /// The least and the greatest of all results, between those that were seen, too.
    pub(super) fn extremes(
        &self,
        quantity: Quantity,
        span: Duration,
        now: Instant,
    ) -> Option<(f32, f32)> {
        let ranges = self.of(quantity, span, now).filter_map(|(_, range)| range);
        ranges
            .map(|range| (range.min, range.max))
            .reduce(|(least, greatest), (min, max)| (least.min(min), greatest.max(max)))
    }

    /// The mean of the readings seen.
    pub(super) fn mean(&self, quantity: Quantity, span: Duration, now: Instant) -> Option<f64> {
        let readings = self.of(quantity, span, now).filter_map(|(_, range)| range);
        let (sum, count) = readings.fold((0.0, 0.0), |(sum, count), range| {
            (sum + f64::from(range.now), count + 1.0)
        });
        (count > 0.0).then(|| sum / count)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn ranges(power: f32) -> Ranges {
        let of = |now| Range {
            now,
            min: now - 1.0,
            max: now + 1.0,
        };
        [of(5.0), of(power / 5.0), of(power)]
    }

    #[test]
    fn no_more_is_kept_than_can_be_shown() {
        let begun = Instant::now();
        let mut history = History::default();
        for second in 0..=2_000 {
            history.add(begun + Duration::from_secs(second), Some(ranges(1.0)));
        }
        assert_eq!(history.0.len(), 901);
        let now = begun + Duration::from_secs(2_000);
        let ages: Vec<_> = history
            .of(Quantity::Power, Duration::from_secs(2), now)
            .map(|(age, _)| age.as_secs())
            .collect();
        assert_eq!(ages, [2, 1, 0]);
    }

    #[test]
    fn an_outage_is_one_gap_and_counts_for_nothing() {
        let begun = Instant::now();
        let mut history = History::default();
        for (second, power) in [None, Some(2.0), None, None, Some(4.0), Some(6.0)]
            .into_iter()
            .enumerate()
        {
            history.add(
                begun + Duration::from_secs(second as u64),
                power.map(ranges),
            );
        }
        let now = begun + Duration::from_secs(5);
        let seen: Vec<_> = history
            .of(Quantity::Power, History::LONGEST, now)
            .map(|(_, range)| range.map(|r| r.now))
            .collect();
        assert_eq!(seen, [Some(2.0), None, Some(4.0), Some(6.0)]);
        assert_eq!(
            history.mean(Quantity::Power, History::LONGEST, now),
            Some(4.0)
        );
        assert_eq!(
            history.extremes(Quantity::Power, History::LONGEST, now),
            Some((1.0, 7.0))
        );
        let span = Duration::from_secs(1);
        assert_eq!(
            history.extremes(Quantity::Power, span, now),
            Some((3.0, 7.0))
        );
        assert_eq!(History::default().mean(Quantity::Power, span, now), None);
    }
}
