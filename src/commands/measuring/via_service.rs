//! Results that the running service measures, from the sum of its power distribution.

use std::time::{Duration, Instant, SystemTime};

use super::Slice;
use crate::scrape::ScrapedSensor;

/// Margin for the time from the end of a cycle to the timestamp of its result, in cycles: the
/// service polls in steps of a sixteenth, and then reads the registers.
const EDGE: f64 = 0.25;

/// Results of a sensor as they arrive.
#[derive(Debug, Default)]
pub(in crate::commands) struct Stream {
    /// Time from one result to the next.
    pub(in crate::commands) cycle: Duration,
    /// Number of times that the counters of the service were reset.
    pub(in crate::commands) restarts: u32,
    pub(super) is_up: bool,
    /// The last scrape with a new result, and the time of that.
    last: Option<(Instant, ScrapedSensor)>,
}

impl Stream {
    /// Takes a scrape, or `None` if it failed. Returns the results since the previous one, if there
    /// are any.
    pub(super) fn advance(
        &mut self,
        scraped: Option<&ScrapedSensor>,
        (now, wall): (Instant, SystemTime),
    ) -> Option<Slice> {
        let scraped = scraped.filter(|scraped| scraped.up);
        self.is_up = scraped.is_some();
        let scraped = scraped?;
        let last = scraped.readings?.last;
        let result = Duration::try_from_secs_f64(scraped.last_result?).ok()?;
        let age = wall.duration_since(SystemTime::UNIX_EPOCH + result).unwrap_or_default();
        let end = now.checked_sub(age)?;
        let cycle = scraped.cycle.and_then(|cycle| Duration::try_from_secs_f64(cycle).ok());
        self.cycle = cycle.unwrap_or(self.cycle);
        let (begin, previous) = self.last.replace((end, scraped.clone()))?;
        let [watts, results] = [0, 1].map(|it| scraped.power[it] - previous.power[it]);
        if scraped.epoch.map(f64::to_bits) != previous.epoch.map(f64::to_bits) || results < 0.0 {
            self.restarts += 1;
            return None;
        }
        if results < 0.5 || end <= begin {
            self.last = Some((begin, previous));
            return None;
        }
        let span = end.duration_since(begin);
        // A timestamp is the time of reading: a span without a gap may differ by part of a cycle.
        let covered = self.cycle.mul_f64(results);
        let missed = [scraped, &previous].map(|it| it.errors.get("missed").copied());
        let [missed, missed_before] = missed.map(Option::unwrap_or_default);
        Some(Slice {
            begin,
            end,
            measured: if span < covered + self.cycle / 2 { span } else { covered },
            watts: watts / results,
            last,
            missed: missed - missed_before,
            edge: self.cycle.mul_f64(EDGE),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::Readings;
    use crate::units::Measured;

    const SECOND: Duration = Duration::from_secs(1);

    fn scraped(seconds: f64, sum: f64, count: f64) -> ScrapedSensor {
        let last = Measured::new(5.0, 1.0, 5.0);
        ScrapedSensor {
            up: true,
            readings: Some(Readings { last, min: last, max: last }),
            last_result: Some(1_767_225_600.0 + seconds),
            power: [sum, count],
            cycle: Some(0.5),
            epoch: [1_767_225_000.0, 0.0],
            ..ScrapedSensor::default()
        }
    }

    /// Scrapes a second apart, each half a second after its last result.
    fn slices(scrapes: &[Option<ScrapedSensor>]) -> (Vec<Option<Slice>>, Stream, Instant) {
        let start = Instant::now();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_600_500);
        let mut stream = Stream::default();
        let slices = (0_u32..).zip(scrapes).map(|(index, scraped)| {
            let time = SECOND * index;
            stream.advance(scraped.as_ref(), (start + time, wall + time))
        });
        (slices.collect(), stream, start)
    }

    #[test]
    fn results_between_scrapes_are_one_slice() {
        let same = scraped(1.0, 30.0, 12.0);
        let (slices, stream, start) =
            slices(&[Some(scraped(0.0, 20.0, 10.0)), Some(same.clone()), Some(same)]);
        let half = Duration::from_millis(500);
        let slice = slices[1].unwrap();
        // Two results with 10 W together.
        assert_eq!((slice.watts, slice.measured), (5.0, SECOND));
        assert!(slice.begin.duration_since(start - half) < Duration::from_micros(1));
        assert!(slice.end.duration_since(start + half) < Duration::from_micros(1));
        assert_eq!((slices[0], slices[2], stream.restarts), (None, None, 0));
    }

    #[test]
    fn gap_between_results_is_unmeasured() {
        let (slices, ..) = slices(&[
            Some(scraped(0.0, 20.0, 10.0)),
            None,
            None,
            Some(ScrapedSensor {
                errors: [("missed".to_owned(), 4.0)].into(),
                ..scraped(3.0, 30.0, 12.0)
            }),
        ]);
        let slice = slices[3].unwrap();
        assert_eq!((slice.measured, slice.end - slice.begin), (SECOND, 3 * SECOND));
        assert_eq!(slice.missed, 4.0);
    }

    #[test]
    fn reset_of_the_counters_is_noticed() {
        let before = scraped(0.0, 20.0, 10.0);
        let rebuilt = ScrapedSensor { epoch: [1_767_225_000.0, 1.0], ..scraped(1.0, 60.0, 12.0) };
        let restarted = ScrapedSensor { epoch: [1_767_225_601.0, 0.0], ..scraped(1.0, 60.0, 12.0) };
        for after in [scraped(1.0, 5.0, 1.0), rebuilt, restarted] {
            let (slices, stream, _) = slices(&[Some(before.clone()), Some(after)]);
            assert_eq!((slices[1], stream.restarts), (None, 1));
        }
    }

    #[test]
    fn sensor_that_is_down_is_not_awaited() {
        let down = ScrapedSensor { up: false, readings: None, ..ScrapedSensor::default() };
        let (slices, stream, _) = slices(&[Some(scraped(0.0, 20.0, 10.0)), Some(down)]);
        assert_eq!((slices[1], stream.is_up), (None, false));
    }
}
