//! The measurements of one sensor: its last result, and everything counted since the start.
//!
//! The sampler writes a meter, exposition and daemon read it. Its lock is held for nanoseconds.

mod counters;
mod extremes;
mod totals;

pub(crate) use extremes::{Extremes, Window};
pub use totals::{Accumulator, Cycle, Flow, Totals};

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use strum::VariantNames;

use crate::ina260::settings::Settings;
use crate::units::{Measured, Quantity};

/// Reason why a sensor could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Failure {
    /// The address was not acknowledged.
    Nack,
    /// A transfer timed out: the bus is stuck.
    Timeout,
    /// Another master won the arbitration.
    Arbitration,
    /// Any other failed transfer.
    Io,
    /// The chip at the address is not an INA260.
    Identity,
    /// The configuration was not kept, or was changed by another master.
    Settings,
    /// The mux failed, or has another channel selected.
    Mux,
    /// A register was read twice with different contents, or its content is impossible.
    Corrupt,
}

/// Cause of the loss of a chip's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Reset {
    /// Its supply voltage dipped.
    BrownOut,
    /// Another master wrote to it.
    Foreign,
}

/// The registers of a result in the units of the Python script's metrics, not calibrated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Raw {
    /// In volts.
    pub voltage: f64,
    /// In milliamperes, signed.
    pub current: f64,
    /// In milliwatts, unsigned: the power register.
    pub power: f64,
}

/// One result of a sensor, in physical units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Monotonic time at which it was read.
    pub at: Instant,
    /// Time since boot at which it was read; shown as wall-clock time, which may be set in between.
    pub booted: Duration,
    /// Means over the cycle, calibrated.
    pub measured: Measured,
    /// Values of the script's metrics, if the power register was read.
    pub raw: Option<Raw>,
}

/// Values that have not been added to the histograms yet.
#[derive(Clone, Debug, Default)]
pub struct Observations {
    /// Durations of polls in seconds.
    pub polls: Vec<f64>,
    /// Power of each result in watts, with its sign.
    pub powers: Vec<f64>,
}

impl Observations {
    /// Upper bound on each list, for the case that the exposition has stopped.
    const MAX: usize = 65_536;

    fn push(values: &mut Vec<f64>, value: f64) {
        if values.len() < Self::MAX {
            values.push(value);
        }
    }

    /// Empties both lists and keeps their memory.
    pub fn clear(&mut self) {
        self.polls.clear();
        self.powers.clear();
    }
}

/// Revision and effective settings of a chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChipInfo {
    pub(crate) die: u16,
    pub(crate) settings: Settings,
}

/// The measurements of one sensor.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// Whether the last poll succeeded.
    pub up: bool,
    /// The last result, of any age.
    pub last: Option<Reading>,
    /// Time of the last poll, and the time since the one before it.
    polled: Option<(Instant, Duration)>,
    /// The chip's measured period.
    pub cycle: Duration,
    /// The chip, once it responded.
    pub(crate) chip: Option<ChipInfo>,
    /// Failed reads by kind.
    pub failures: [u64; Failure::VARIANTS.len()],
    /// Losses of the configuration by cause.
    pub resets: [u64; Reset::VARIANTS.len()],
    /// Results with a value out of range, by quantity.
    pub overflows: [u64; Quantity::ALL.len()],
    /// Whether the chip's comparator tripped during the last result.
    pub alert: bool,
    /// Number of alert activations.
    pub alerts: u64,
    /// Energy, charge, time and results.
    pub accumulator: Accumulator,
    /// Recent results, for their extremes.
    pub(crate) window: Window,
    /// Sums over the results since [`Self::take_means`], each times its period; sum of the periods
    /// in seconds; number of results.
    sums: (Measured, f64, u64),
    /// Observations of the results and polls since they were last taken.
    pub observations: Observations,
    /// Every result with its cycle and the time that it covers, since [`Self::take_results`].
    results: Option<Vec<(Measured, Cycle, Duration)>>,
}

impl Meter {
    /// Counts a result and keeps it as the last.
    pub fn record(&mut self, reading: Reading, cycle: &Cycle) {
        self.up = true;
        let time = self.accumulator.add(&reading.measured, cycle);
        self.window.add(reading.at, &reading.measured);
        let (sum, seconds, results) = &mut self.sums;
        let period = cycle.period.as_secs_f64();
        sum.voltage.0 += reading.measured.voltage.0 * period;
        sum.current.0 += reading.measured.current.0 * period;
        sum.power.0 += reading.measured.power.0 * period;
        *seconds += period;
        *results += 1;
        Observations::push(&mut self.observations.powers, reading.measured.power.0);
        if let Some(results) = &mut self.results {
            results.push((reading.measured, *cycle, time));
        }
        self.last = Some(reading);
    }

    /// Removes and returns the results since the last call, each with its cycle and the time that
    /// it covers. Before the first call, results are not kept.
    pub(crate) fn take_results(&mut self) -> Vec<(Measured, Cycle, Duration)> {
        self.results.replace(Vec::new()).unwrap_or_default()
    }

    pub(crate) fn mark_down(&mut self, now: Instant) {
        self.up = false;
        self.accumulator.mark_down(now);
    }

    /// Adds time during which the machine was suspended, and the sensor perhaps without power.
    pub(crate) fn add_suspended(&mut self, time: Duration) {
        self.accumulator.totals.unmeasured += time;
        self.window.add_suspended(time);
    }

    /// Sets whether the alert is active. Returns whether that changed.
    pub(crate) fn set_alert(&mut self, active: bool) -> bool {
        let changed = active != self.alert;
        self.alert = active;
        self.alerts += u64::from(active && changed);
        changed
    }

    pub(crate) fn count_failure(&mut self, failure: Failure) {
        self.failures[failure as usize] += 1;
    }

    /// Records a poll that ended `now`, and its duration.
    pub fn record_poll(&mut self, now: Instant, time: Duration) {
        let before = self.polled.map_or(now, |(at, _)| at);
        self.polled = Some((now, now.saturating_duration_since(before)));
        Observations::push(&mut self.observations.polls, time.as_secs_f64());
    }

    /// Returns the time-weighted means and the number of results since the last call, if any.
    pub(crate) fn take_means(&mut self) -> Option<(Measured, u64)> {
        let (Measured { voltage, current, power }, seconds, results) =
            std::mem::take(&mut self.sums);
        let means = Measured::new(voltage.0 / seconds, current.0 / seconds, power.0 / seconds);
        (results > 0).then_some((means, results))
    }

    /// Returns a copy without the parts whose size grows with the rate.
    pub(crate) fn snapshot(&self) -> Self {
        let (window, observations) = (Window::default(), Observations::default());
        Self { window, observations, results: None, ..*self }
    }

    /// Returns the last result, if the sensor is up, the result younger than three cycles plus a
    /// second, and the last poll younger than three intervals between polls (a second each, more
    /// on a slow bus) plus a second.
    pub(crate) fn live(&self, now: Instant) -> Option<&Reading> {
        const SECOND: Duration = Duration::from_secs(1);
        let is_recent = |at, interval| now.saturating_duration_since(at) < 3 * interval + SECOND;
        let is_polled =
            self.polled.is_none_or(|(at, interval)| is_recent(at, interval.max(SECOND)));
        self.last.as_ref().filter(|it| self.up && is_polled && is_recent(it.at, self.cycle))
    }
}

/// A meter shared between the thread that writes it and those that read it.
#[derive(Clone, Debug, Default)]
pub struct SharedMeter(Arc<Mutex<Meter>>);

impl SharedMeter {
    /// Locks the meter.
    ///
    /// # Panics
    /// If another thread panicked while it held the lock.
    pub fn lock(&self) -> MutexGuard<'_, Meter> {
        self.0.lock().expect("no thread panics while it holds the lock")
    }

    /// Returns whether both are handles of one meter.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at: Instant) -> Reading {
        Reading { at, booted: Duration::ZERO, measured: Measured::new(5.0, 1.0, 5.0), raw: None }
    }

    fn cycle(end: Instant) -> Cycle {
        Cycle { end, elapsed: Some(1), missed: 0, period: Duration::from_secs(1) }
    }

    #[test]
    fn result_is_live_for_three_cycles_and_a_second() {
        let now = Instant::now();
        let mut meter = Meter { cycle: Duration::from_millis(500), ..Meter::default() };
        meter.record(reading(now), &cycle(now));
        assert!(meter.live(now + Duration::from_millis(2_499)).is_some());
        assert!(meter.live(now + Duration::from_millis(2_500)).is_none());
        meter.up = false;
        assert!(meter.live(now).is_none());
    }

    #[test]
    fn result_is_live_while_polls_are_recent() {
        let now = Instant::now();
        let mut meter = Meter { cycle: Duration::from_secs(20), ..Meter::default() };
        meter.record(reading(now), &cycle(now));
        // A second apart; then 5 s, on a slow bus.
        for (polled, limit) in [(1, 4), (2, 4), (7, 16), (12, 16)] {
            let polled = now + Duration::from_secs(polled);
            meter.record_poll(polled, Duration::ZERO);
            let until = polled + Duration::from_secs(limit);
            assert!(meter.live(until - Duration::from_millis(1)).is_some());
            assert!(meter.live(until).is_none());
        }
    }

    #[test]
    fn counters_are_in_the_order_of_variants() {
        let mut meter = Meter::default();
        meter.count_failure(Failure::Identity);
        assert_eq!(meter.failures, [0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(Reset::Foreign as usize, 1);
        assert_eq!((Failure::VARIANTS[4], Reset::VARIANTS[1]), ("identity", "foreign"));
        for (index, quantity) in Quantity::ALL.iter().enumerate() {
            assert_eq!(*quantity as usize, index);
        }
    }

    #[test]
    fn means_cover_results_since_last_call() {
        let mut meter = Meter::default();
        assert_eq!(meter.take_means(), None);
        for volts in [4.0, 6.0] {
            let reading =
                Reading { measured: Measured::new(volts, 1.0, 5.0), ..reading(Instant::now()) };
            meter.record(reading, &cycle(Instant::now()));
        }
        assert_eq!(meter.take_means(), Some((Measured::new(5.0, 1.0, 5.0), 2)));
        assert_eq!(meter.take_means(), None);
        // In 46 days without a summary, with a result every 0.92 ms.
        let seconds = f64::from(u32::MAX);
        meter.sums = (Measured::new(5.0 * seconds, 0.0, 0.0), seconds, u32::MAX.into());
        meter.record(reading(Instant::now()), &cycle(Instant::now()));
        assert!(meter.take_means().is_some_and(|(means, _)| (means.voltage.0 - 5.0).abs() < 1e-6));
    }

    /// 1 W for 55 min, with a result per second; then 10 W for 5 min, with one per 10 ms.
    #[test]
    fn means_are_weighted_by_time() {
        let mut meter = Meter::default();
        for (results, millis, watts) in [(3_300, 1_000, 1.0), (30_000, 10, 10.0)] {
            let now = Instant::now();
            let reading = Reading { measured: Measured::new(5.0, 0.0, watts), ..reading(now) };
            let cycle = Cycle { period: Duration::from_millis(millis), ..cycle(now) };
            (0..results).for_each(|_| meter.record(reading, &cycle));
        }
        let (means, results) = meter.take_means().unwrap();
        assert!((means.power.0 - 1.75).abs() < 1e-9, "{means}");
        assert_eq!(results, 33_300);
    }

    #[test]
    fn results_are_kept_on_request() {
        let now = Instant::now();
        let mut meter = Meter::default();
        meter.record(reading(now), &cycle(now));
        assert_eq!(meter.take_results(), []);
        let (later, time) = (now + Duration::from_secs(1), Duration::from_secs(1));
        meter.record(reading(later), &cycle(later));
        assert_eq!(meter.take_results(), [(Measured::new(5.0, 1.0, 5.0), cycle(later), time)]);
        assert_eq!(meter.take_results(), []);
    }

    #[test]
    fn observations_are_bounded() {
        let mut meter = Meter::default();
        for _ in 0..Observations::MAX + 10 {
            meter.record_poll(Instant::now(), Duration::from_millis(1));
        }
        assert_eq!(meter.observations.polls.len(), Observations::MAX);
    }

    #[test]
    fn alert_counts_when_it_becomes_active() {
        let mut meter = Meter::default();
        let changed = [true, true, false, true].map(|active| meter.set_alert(active));
        assert_eq!((changed, meter.alerts), ([true, false, true, true], 2));
    }
}
