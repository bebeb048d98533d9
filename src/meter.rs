//! What is known of one sensor: its last result and everything counted since the start.
//!
//! A sampler writes it, whoever shows it reads it; the lock between them is held for nanoseconds.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use crate::units::{Amperes, Volts, Watts};

/// Why a sensor could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody acknowledged the address.
    Nack,
    /// The bus is stuck.
    Timeout,
    /// Another master won the bus.
    Arbitration,
    /// Any other failed transfer.
    Io,
    /// Something else is at the address.
    Identity,
    /// The settings are not ours, or were not kept.
    Settings,
}

impl Failure {
    /// What each kind is called, in the order of its counter.
    pub const NAMES: [&str; 6] = [
        "nack",
        "timeout",
        "arbitration",
        "io",
        "identity",
        "settings",
    ];
}

/// Why a sensor lost its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// Its supply dipped.
    BrownOut,
    /// Another master wrote to it.
    Foreign,
}

impl Reset {
    /// What each cause is called, in the order of its counter.
    pub const NAMES: [&str; 2] = ["brown-out", "foreign"];
}

/// A quantity that can leave its register's range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Over 419.43 W.
    Power,
    /// At one end of its scale.
    Current,
    /// At the end of its scale.
    Voltage,
}

impl Quantity {
    /// What each quantity is called, in the order of its counter.
    pub const NAMES: [&str; 3] = ["power", "current", "voltage"];
}

/// What the Python script showed: the chip's own words in its units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Raw {
    /// In volts.
    pub voltage: f64,
    /// In milliamperes, signed.
    pub current: f64,
    /// In milliwatts, unsigned: the power register.
    pub power: f64,
}

/// One result of a sensor, in units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// When it was read.
    pub at: Instant,
    /// The same for people.
    pub wall: SystemTime,
    /// Mean bus voltage of the cycle.
    pub voltage: Volts,
    /// Mean current of the cycle.
    pub current: Amperes,
    /// Mean power of the cycle, with the sign of the current.
    pub power: Watts,
    /// The script's view of it, where the power register was read.
    pub raw: Option<Raw>,
    /// Which quantities left their range, in the order of [`Quantity::NAMES`].
    pub overflows: [bool; 3],
}

/// Sums over some results, for their means.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// How many.
    pub results: u32,
    voltage: f64,
    current: f64,
    power: f64,
}

impl Sums {
    fn add(&mut self, reading: &Reading) {
        self.results += 1;
        self.voltage += reading.voltage.0;
        self.current += reading.current.0;
        self.power += reading.power.0;
    }

    /// The means, if there was a result at all.
    #[must_use]
    pub fn means(&self) -> Option<(Volts, Amperes, Watts)> {
        let n = f64::from(self.results);
        (self.results > 0).then(|| {
            (
                Volts(self.voltage / n),
                Amperes(self.current / n),
                Watts(self.power / n),
            )
        })
    }
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
    /// Its die identity register, once it answered.
    pub die: Option<u16>,
    /// Results read.
    pub results: u64,
    /// Failed reads, in the order of [`Failure::NAMES`].
    pub failures: [u64; Failure::NAMES.len()],
    /// Lost settings, in the order of [`Reset::NAMES`].
    pub resets: [u64; Reset::NAMES.len()],
    /// Results with a quantity out of range, in the order of [`Quantity::NAMES`].
    pub overflows: [u64; Quantity::NAMES.len()],
    /// Since they were last taken away.
    sums: Sums,
    /// Seconds that visits on the bus took, since they were last taken away.
    visits: Vec<f64>,
}

impl Meter {
    /// More visits than this wait for nobody: whoever takes them away is gone.
    const VISITS: usize = 65_536;

    /// Counts a result and keeps it as the last.
    pub fn record(&mut self, reading: Reading) {
        self.up = true;
        self.results += 1;
        for (count, out_of_range) in self.overflows.iter_mut().zip(reading.overflows) {
            *count += u64::from(out_of_range);
        }
        self.sums.add(&reading);
        self.last = Some(reading);
    }

    /// Everything that outlives the process, by name.
    #[must_use]
    pub fn carried(&self) -> Vec<(String, u128)> {
        let mut copy = self.clone();
        copy.carried_mut()
            .into_iter()
            .map(|(name, count)| (name, u128::from(*count)))
            .collect()
    }

    /// Goes on from what an earlier process counted; a name that nobody knows any more is left out.
    pub fn carry_over(&mut self, carried: &[(String, u128)]) {
        for (name, count) in self.carried_mut() {
            let before = carried.iter().find(|(carried, _)| *carried == name);
            *count += before.map_or(0, |(_, before)| u64::try_from(*before).unwrap_or(0));
        }
    }

    fn carried_mut(&mut self) -> Vec<(String, &mut u64)> {
        let failures = Failure::NAMES.iter().zip(&mut self.failures);
        let resets = Reset::NAMES.iter().zip(&mut self.resets);
        let overflows = Quantity::NAMES.iter().zip(&mut self.overflows);
        [("results".to_owned(), &mut self.results)]
            .into_iter()
            .chain(failures.map(|(kind, count)| (format!("read_errors.{kind}"), count)))
            .chain(resets.map(|(cause, count)| (format!("resets.{cause}"), count)))
            .chain(overflows.map(|(quantity, count)| (format!("overflows.{quantity}"), count)))
            .collect()
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
        if self.visits.len() < Self::VISITS {
            self.visits.push(time.as_secs_f64());
        }
    }

    /// Takes the noted visits away and leaves the emptied `spare` for the next.
    pub fn take_visits(&mut self, spare: Vec<f64>) -> Vec<f64> {
        std::mem::replace(&mut self.visits, spare)
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
    use super::*;

    fn reading(at: Instant) -> Reading {
        Reading {
            at,
            wall: SystemTime::UNIX_EPOCH,
            voltage: Volts(5.0),
            current: Amperes(1.0),
            power: Watts(5.0),
            raw: None,
            overflows: [true, false, true],
        }
    }

    #[test]
    fn a_result_is_live_for_three_cycles_and_a_second() {
        let now = Instant::now();
        let mut meter = Meter {
            cycle: Duration::from_millis(500),
            ..Meter::default()
        };
        meter.record(reading(now));
        assert!(meter.live(now + Duration::from_millis(2_499)).is_some());
        assert!(meter.live(now + Duration::from_millis(2_500)).is_none());
        meter.up = false;
        assert!(meter.live(now).is_none());
    }

    #[test]
    fn quantities_out_of_range_are_counted_each() {
        let mut meter = Meter::default();
        meter.record(reading(Instant::now()));
        meter.record(reading(Instant::now()));
        assert_eq!((meter.results, meter.overflows), (2, [2, 0, 2]));
    }

    #[test]
    fn means_are_those_of_the_results_since_they_were_taken() {
        let mut meter = Meter::default();
        assert_eq!(meter.take_sums().means(), None);
        for volts in [4.0, 6.0] {
            meter.record(Reading {
                voltage: Volts(volts),
                ..reading(Instant::now())
            });
        }
        assert_eq!(
            meter.take_sums().means(),
            Some((Volts(5.0), Amperes(1.0), Watts(5.0)))
        );
        assert_eq!(meter.take_sums().results, 0);
    }

    #[test]
    fn what_is_carried_over_goes_on_from_there() {
        let mut before = Meter {
            results: 5,
            ..Meter::default()
        };
        before.fail(Failure::Identity);
        let mut after = Meter {
            results: 1,
            ..Meter::default()
        };
        let mut carried = before.carried();
        carried.push(("of.another.version".to_owned(), 7));
        after.carry_over(&carried);
        assert_eq!((after.results, after.failures), (6, [0, 0, 0, 0, 1, 0]));
    }

    #[test]
    fn visits_that_nobody_takes_away_do_not_pile_up() {
        let mut meter = Meter::default();
        for _ in 0..Meter::VISITS + 10 {
            meter.visited(Duration::from_millis(1));
        }
        assert_eq!(meter.take_visits(Vec::new()).len(), Meter::VISITS);
        assert!(meter.take_visits(Vec::new()).is_empty());
    }
}
