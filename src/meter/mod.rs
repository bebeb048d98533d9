//! What is known of one sensor: its last result and everything counted since the start.
//!
//! A sampler writes it, whoever shows it reads it; the lock between them is held for nanoseconds.

mod carried;
mod extremes;
mod kinds;
mod reading;
mod totals;

pub use extremes::{Extremes, Window};
pub use kinds::{Failure, Quantity, Reset};
pub use reading::{Raw, Reading, Sums};
pub use totals::{Accumulator, Covered, Flow, Totals};

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Single values that wait for whoever makes histograms of them.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Seconds that visits on the bus took.
    pub visits: Vec<f64>,
    /// Power of each result in watts, with its sign.
    pub powers: Vec<f64>,
}

impl Samples {
    /// More than this wait for nobody: whoever takes them away is gone.
    const MOST: usize = 65_536;

    fn push(samples: &mut Vec<f64>, sample: f64) {
        if samples.len() < Self::MOST {
            samples.push(sample);
        }
    }

    /// Empties both and keeps their memory.
    pub fn clear(&mut self) {
        self.visits.clear();
        self.powers.clear();
    }
}

/// Which chip answered, and how it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its die identity register.
    pub die: u16,
    /// Poller in a result.
    pub averaging: u32,
    /// Of one voltage conversion, in microseconds.
    pub voltage_micros: u32,
    /// Of one current conversion, in microseconds.
    pub current_micros: u32,
}

/// A sensor's numbers.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// The last look at the sensor worked.
    pub up: bool,
    /// The last result, however old.
    pub last: Option<Reading>,
    /// The chip's measured cycle.
    pub cycle: Duration,
    /// What was found when it answered.
    pub found: Option<Found>,
    /// Failed reads, in the order of [`Failure::NAMES`].
    pub failures: [u64; Failure::NAMES.len()],
    /// Lost settings, in the order of [`Reset::NAMES`].
    pub resets: [u64; Reset::NAMES.len()],
    /// Results with a quantity out of range, in the order of [`Quantity::NAMES`].
    pub overflows: [u64; Quantity::NAMES.len()],
    /// Whether the chip's comparator saw its limit crossed during the last result.
    pub alert: bool,
    /// Times that it did after it had not.
    pub alerts: u64,
    /// Energy, charge, time and results.
    pub accumulator: Accumulator,
    /// The results of the last while.
    pub window: Window,
    /// Since they were last taken away.
    sums: Sums,
    /// What histograms are made of, since it was last taken away.
    samples: Samples,
}

impl Meter {
    /// Counts a result and keeps it as the last.
    pub fn record(&mut self, reading: Reading, covered: &Covered) {
        self.up = true;
        for (count, out_of_range) in self.overflows.iter_mut().zip(reading.overflows) {
            *count += u64::from(out_of_range);
        }
        self.accumulator.add(&reading.measured, covered);
        self.window.add(reading.at, &reading.measured);
        self.sums.add(&reading.measured);
        Samples::push(&mut self.samples.powers, reading.measured.power.0);
        self.last = Some(reading);
    }

    /// The sensor is down: nothing is measured from `now` on.
    pub fn lose(&mut self, now: Instant) {
        self.up = false;
        self.accumulator.down(now);
    }

    /// Notes what the comparator saw. Tells whether that is new.
    pub fn set_alert(&mut self, active: bool) -> bool {
        let new = active != self.alert;
        self.alert = active;
        self.alerts += u64::from(active && new);
        new
    }

    /// Takes the sums since the last time away.
    pub fn take_sums(&mut self) -> Sums {
        std::mem::take(&mut self.sums)
    }

    /// Counts a failed read.
    pub fn fail(&mut self, failure: Failure) {
        self.failures[failure as usize] += 1;
    }

    /// Counts a loss of settings.
    pub fn reset(&mut self, reset: Reset) {
        self.resets[reset as usize] += 1;
    }

    /// Notes how long a visit on the bus took.
    pub fn visited(&mut self, time: Duration) {
        Samples::push(&mut self.samples.visits, time.as_secs_f64());
    }

    /// Takes the samples away and leaves an emptied `spare` for the next.
    pub fn take_samples(&mut self, spare: Samples) -> Samples {
        std::mem::replace(&mut self.samples, spare)
    }

    /// A copy without what only grows with the rate.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self {
            last: self.last,
            accumulator: self.accumulator.clone(),
            window: Window::default(),
            samples: Samples::default(),
            ..*self
        }
    }

    /// The last result, if the sensor is up and the result younger than three cycles and a second.
    #[must_use]
    pub fn live(&self, now: Instant) -> Option<&Reading> {
        let age = |reading: &&Reading| now.saturating_duration_since(reading.at);
        let limit = 3 * self.cycle + Duration::from_secs(1);
        self.last
            .as_ref()
            .filter(|reading| self.up && age(reading) < limit)
    }
}

/// A meter between the thread that writes it and the threads that read it.
#[derive(Clone, Debug, Default)]
pub struct SharedMeter(Arc<Mutex<Meter>>);

impl SharedMeter {
    /// Waits for the meter.
    ///
    /// # Panics
    /// If another thread panicked with the meter in hand.
    pub fn lock(&self) -> MutexGuard<'_, Meter> {
        self.0.lock().expect("nobody panics with a meter in hand")
    }

    /// Whether both are handles of one meter.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::units::Measured;

    fn reading(at: Instant) -> Reading {
        Reading {
            at,
            wall: SystemTime::UNIX_EPOCH,
            measured: Measured::new(5.0, 1.0, 5.0),
            raw: None,
            overflows: [true, false, true],
        }
    }

    fn covered(edge: Instant) -> Covered {
        Covered {
            edge,
            passed: Some(1),
            missed: 0,
            period: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_result_is_live_for_three_cycles_and_a_second() {
        let now = Instant::now();
        let mut meter = Meter {
            cycle: Duration::from_millis(500),
            ..Meter::default()
        };
        meter.record(reading(now), &covered(now));
        assert!(meter.live(now + Duration::from_millis(2_499)).is_some());
        assert!(meter.live(now + Duration::from_millis(2_500)).is_none());
        meter.up = false;
        assert!(meter.live(now).is_none());
    }

    #[test]
    fn quantities_out_of_range_are_counted_each() {
        let mut meter = Meter::default();
        meter.record(reading(Instant::now()), &covered(Instant::now()));
        meter.record(reading(Instant::now()), &covered(Instant::now()));
        assert_eq!(meter.overflows, [2, 0, 2]);
    }

    #[test]
    fn means_are_those_of_the_results_since_they_were_taken() {
        let mut meter = Meter::default();
        assert_eq!(meter.take_sums().means(), None);
        for volts in [4.0, 6.0] {
            let reading = Reading {
                measured: Measured::new(volts, 1.0, 5.0),
                ..reading(Instant::now())
            };
            meter.record(reading, &covered(Instant::now()));
        }
        assert_eq!(
            meter.take_sums().means(),
            Some(Measured::new(5.0, 1.0, 5.0))
        );
        assert_eq!(meter.take_sums().results, 0);
    }

    #[test]
    fn samples_that_nobody_takes_away_do_not_pile_up() {
        let mut meter = Meter::default();
        for _ in 0..Samples::MOST + 10 {
            meter.visited(Duration::from_millis(1));
        }
        assert_eq!(
            meter.take_samples(Samples::default()).visits.len(),
            Samples::MOST
        );
        assert!(meter.take_samples(Samples::default()).visits.is_empty());
    }

    #[test]
    fn an_alert_counts_when_it_begins() {
        let mut meter = Meter::default();
        let news = [true, true, false, true].map(|active| meter.set_alert(active));
        assert_eq!((news, meter.alerts), ([true, false, true, true], 2));
    }
}
