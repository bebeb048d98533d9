//! Energy, charge and time, accumulated exactly: integers do not drift over years.

use std::time::{Duration, Instant};

use crate::units::Measured;

/// Attojoules in a joule, attocoulombs in a coulomb.
const ATTO: u128 = 1_000_000_000_000_000_000;

/// Energy or charge by direction; net per result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// With a positive current, in 1e-18 of the unit.
    pub forward: u128,
    /// With a negative current, in 1e-18 of the unit.
    pub reverse: u128,
}

impl Flow {
    /// Returns both directions in whole units: forward, reverse.
    pub(crate) fn whole(&self) -> [u64; 2] {
        [self.forward, self.reverse].map(|atto| u64::try_from(atto / ATTO).unwrap_or(u64::MAX))
    }

    /// Adds a `rate`, in units per second, over a `time`. The rate is rounded to 1e-9 units per
    /// second, a thousandth of the resolution of the chip's registers.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "nanowatts and nanoamperes of this chip fit easily"
    )]
    fn add(&mut self, rate: f64, time: Duration) {
        let nano = (rate * 1e9).round() as i64;
        let atto = u128::from(nano.unsigned_abs()) * time.as_nanos();
        let flow = if nano < 0 { &mut self.reverse } else { &mut self.forward };
        *flow += atto;
    }
}

/// Totals of a sensor: energy, charge, time and results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// In joules.
    pub energy: Flow,
    /// In coulombs.
    pub charge: Flow,
    /// Time covered by results.
    pub measured: Duration,
    /// Time not covered by any result.
    pub unmeasured: Duration,
    /// Results read.
    pub results: u64,
    /// Completed results that were not used.
    pub missed: u64,
}

/// The conversion cycle of a result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cycle {
    /// When it ended.
    pub end: Instant,
    /// Cycles that ended since that of the previous result, this one included; 0 if it began before
    /// the first poll, `None` if the number is unknown.
    pub elapsed: Option<u64>,
    /// Results now known to have been completed and not used; known late after some stalls.
    pub missed: u64,
    /// The chip's period.
    pub period: Duration,
}

/// Accumulates energy, charge and covered time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accumulator {
    pub(super) totals: Totals,
    /// Time before this has already been counted as measured or unmeasured.
    counted: Option<Instant>,
    /// Whether the time since the last result counts as unmeasured until the next one.
    down: bool,
}

impl Accumulator {
    /// Counts the time until `now`, and all time until the next restart, as unmeasured. The first
    /// call or restart starts the count.
    pub fn mark_down(&mut self, now: Instant) {
        self.skip(now);
        self.down = true;
    }

    /// Records that conversions were restarted `now`.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.skip(now);
        self.down = false;
    }

    pub(crate) fn add_missed(&mut self, missed: u64) {
        self.totals.missed += missed;
    }

    /// Adds one result. Returns the time that it covers.
    pub(super) fn add(&mut self, measured: &Measured, cycle: &Cycle) -> Duration {
        let span = self.skip(cycle.end);
        let time = match cycle.elapsed {
            // How much of it falls within the time that is counted is unknown.
            Some(0) => Duration::ZERO,
            Some(elapsed) => span / u32::try_from(elapsed).unwrap_or(u32::MAX),
            None => span.min(cycle.period),
        };
        self.totals.energy.add(measured.power.0, time);
        self.totals.charge.add(measured.current.0, time);
        self.totals.measured += time;
        self.totals.unmeasured -= time;
        self.totals.results += 1;
        self.totals.missed += cycle.missed;
        time
    }

    /// Returns the totals as of the last result; while the sensor is down, as of `now`.
    pub fn totals(&self, now: Instant) -> Totals {
        let since = self.counted.filter(|_| self.down).unwrap_or(now);
        let unmeasured = self.totals.unmeasured + now.saturating_duration_since(since);
        Totals { unmeasured, ..self.totals }
    }

    /// Counts the time up to `until` that is not counted yet as unmeasured, and returns it.
    fn skip(&mut self, until: Instant) -> Duration {
        let counted = self.counted.get_or_insert(until);
        let span = until.saturating_duration_since(*counted);
        *counted = until.max(*counted);
        self.totals.unmeasured += span;
        span
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn cycle(end: Instant, elapsed: Option<u64>) -> Cycle {
        Cycle { end, elapsed, missed: elapsed.map_or(0, |elapsed| elapsed - 1), period: SECOND }
    }

    #[test]
    fn whole_units_are_shown_and_fractions_kept() {
        let start = Instant::now();
        let mut accumulator = Accumulator::default();
        accumulator.restart(start);
        for second in 1..=10 {
            accumulator
                .add(&Measured::new(0.0, -0.1, 0.7), &cycle(start + second * SECOND, Some(1)));
        }
        let totals = accumulator.totals(start + 10 * SECOND);
        assert_eq!((totals.energy.whole(), totals.charge.whole()), ([7, 0], [0, 1]));
        assert_eq!((totals.measured, totals.results), (10 * SECOND, 10));
    }

    #[test]
    fn sum_of_small_powers_does_not_drift() {
        let mut flow = Flow::default();
        let cycle = Duration::from_micros(942_080);
        for _ in 0..1_000 {
            flow.add(0.001_562_5, cycle);
        }
        assert_eq!(flow.forward, 1_562_500 * 942_080_000 * 1_000);
    }

    #[test]
    fn fractions_of_a_nanojoule_are_kept() {
        // 1,562,501 nW for 942,080,001 ns are 1,472,000.943642501 nJ.
        let mut flow = Flow::default();
        for rate in [0.001_562_501, -0.001_562_501] {
            for _ in 0..1_000_000 {
                flow.add(rate, Duration::from_nanos(942_080_001));
            }
        }
        let attojoules = 1_472_000_943_642_501_000_000;
        assert_eq!((flow.forward, flow.reverse), (attojoules, attojoules));
    }

    #[test]
    fn missed_results_are_unmeasured_time() {
        let start = Instant::now();
        let mut accumulator = Accumulator::default();
        accumulator.restart(start);
        accumulator.add(&Measured::new(0.0, 1.0, 1.0), &cycle(start + 4 * SECOND, Some(4)));
        let totals = accumulator.totals(start + 5 * SECOND);
        assert_eq!((totals.missed, totals.results), (3, 1));
        assert_eq!((totals.measured, totals.unmeasured), (SECOND, 3 * SECOND));
    }

    #[test]
    fn unmeasured_time_grows_during_an_outage() {
        let start = Instant::now();
        let mut accumulator = Accumulator::default();
        accumulator.restart(start);
        accumulator.mark_down(start + SECOND);
        assert_eq!(accumulator.totals(start + 60 * SECOND).unmeasured, 60 * SECOND);
        accumulator.restart(start + 90 * SECOND);
        accumulator.add(&Measured::new(0.0, 1.0, 1.0), &cycle(start + 91 * SECOND, Some(1)));
        let totals = accumulator.totals(start + 91 * SECOND);
        assert_eq!((totals.measured, totals.unmeasured), (SECOND, 90 * SECOND));
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn measured_and_unmeasured_add_up_to_all_time(
            events in prop::collection::vec((0..5_u8, 0..10_000_u64, 1..9_u64), 1..200)
        ) {
            let start = Instant::now();
            let mut accumulator = Accumulator::default();
            accumulator.restart(start);
            let mut now = start;
            let mut suspended = Duration::ZERO;
            let mut down = false;
            let mut last = Totals::default();
            for (event, millis, elapsed) in events {
                now += Duration::from_millis(millis);
                match event {
                    0 => { accumulator.mark_down(now); down = true; }
                    _ if down => { accumulator.restart(now); down = false; }
                    1 => accumulator.restart(now),
                    3 => { accumulator.totals.unmeasured += SECOND; suspended += SECOND; }
                    _ => {
                        let elapsed = (elapsed > 1).then_some(elapsed);
                        accumulator.add(&Measured::new(0.0, 1.0, 1.0), &cycle(now, elapsed));
                    }
                }
                let totals = accumulator.totals(now);
                prop_assert!(totals.measured >= last.measured);
                prop_assert!(totals.unmeasured >= last.unmeasured);
                last = totals;
            }
            accumulator.mark_down(now);
            let totals = accumulator.totals(now);
            prop_assert_eq!(totals.measured + totals.unmeasured, now - start + suspended);
        }
    }
}
