//! Energy, charge and time, added up exactly: integers of 1e-18 J, 1e-18 C and nanoseconds, so that years leave no drift.

use std::time::{Duration, Instant};

use crate::units::Measured;

/// Attojoules in a joule, attocoulombs in a coulomb.
const ATTO: u128 = 1_000_000_000_000_000_000;

/// A quantity that flows one way or the other; net per result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// With a positive current, in 1e-18 of the unit.
    pub forward: u128,
    /// With a negative current.
    pub reverse: u128,
}

impl Flow {
    /// Both ways in whole units: forward, reverse.
    #[must_use]
    pub fn whole(&self) -> [u64; 2] {
        [self.forward, self.reverse].map(|atto| u64::try_from(atto / ATTO).unwrap_or(u64::MAX))
    }

    /// Adds what flowed at a `rate`, in units a second, over a `time`. The rate is rounded to 1e-9 units a second, a
    /// thousandth of what the chip's registers can tell.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "nanowatts and nanoamperes of this chip fit by far"
    )]
    fn add(&mut self, rate: f64, time: Duration) {
        let nano = (rate * 1e9).round() as i64;
        let flowed = u128::from(nano.unsigned_abs()) * time.as_nanos();
        if nano < 0 {
            self.reverse += flowed;
        } else {
            self.forward += flowed;
        }
    }
}

/// What a sensor measured in its life, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// In joules.
    pub energy: Flow,
    /// In coulombs.
    pub charge: Flow,
    /// Time that results cover.
    pub measured: Duration,
    /// Time that none does.
    pub unmeasured: Duration,
    /// Results read.
    pub results: u64,
    /// Results that the chip finished and nobody read.
    pub missed: u64,
}

/// Which part of the time since the last account a result covers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Covered {
    /// When the result was finished.
    pub edge: Instant,
    /// Results finished since the last account, itself included; 0 if it was begun before that, `None` if that can't be told.
    pub passed: Option<u64>,
    /// Results that are now known to have been finished and not read.
    pub missed: u64,
    /// The chip's period.
    pub period: Duration,
}

/// Adds up, and knows until when.
#[derive(Clone, Debug, Default)]
pub struct Accumulator {
    totals: Totals,
    /// Everything before it is either measured or unmeasured.
    accounted: Option<Instant>,
    /// Nothing is measured at present.
    down: bool,
}

impl Accumulator {
    /// Goes on from the times and flows of an earlier life.
    pub(super) fn restore_counters(&mut self, earlier: &Totals) {
        let totals = &mut self.totals;
        totals.energy.forward += earlier.energy.forward;
        totals.energy.reverse += earlier.energy.reverse;
        totals.charge.forward += earlier.charge.forward;
        totals.charge.reverse += earlier.charge.reverse;
        totals.measured += earlier.measured;
        totals.unmeasured += earlier.unmeasured;
    }

    /// Results read, and missed.
    pub(super) fn counts(&mut self) -> (&mut u64, &mut u64) {
        (&mut self.totals.results, &mut self.totals.missed)
    }

    /// Nothing was measured until `now`, and nothing is until the sensor starts over. The first time, its life begins.
    pub fn down(&mut self, now: Instant) {
        self.skip(now);
        self.down = true;
    }

    /// Poller start over `now`.
    pub fn start_over(&mut self, now: Instant) {
        self.skip(now);
        self.down = false;
    }

    /// Time passed in which this machine, and perhaps the sensor, suspended.
    pub fn suspended(&mut self, time: Duration) {
        self.totals.unmeasured += time;
    }

    /// Adds one result.
    pub fn add(&mut self, measured: &Measured, covered: &Covered) {
        let span = self.span(covered.edge);
        let time = match covered.passed {
            // How much of it flowed since, nobody knows.
            Some(0) => Duration::ZERO,
            Some(passed) => span / u32::try_from(passed).unwrap_or(u32::MAX),
            None => span.min(covered.period),
        };
        self.totals.energy.add(measured.power.0, time);
        self.totals.charge.add(measured.current.0, time);
        self.totals.measured += time;
        self.totals.unmeasured += span.saturating_sub(time);
        self.totals.results += 1;
        self.totals.missed += covered.missed;
        self.down = false;
    }

    /// The totals as of the last account; while the sensor is down, as of `now`.
    #[must_use]
    pub fn totals(&self, now: Instant) -> Totals {
        let since = self
            .accounted
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let unmeasured = if self.down { since } else { Duration::ZERO };
        Totals {
            unmeasured: self.totals.unmeasured + unmeasured,
            ..self.totals
        }
    }

    fn skip(&mut self, until: Instant) {
        let span = self.span(until);
        self.totals.unmeasured += span;
    }

    /// The time since the last account, which `until` becomes.
    fn span(&mut self, until: Instant) -> Duration {
        let accounted = self.accounted.get_or_insert(until);
        let span = until.saturating_duration_since(*accounted);
        *accounted = until.max(*accounted);
        span
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn covered(edge: Instant, passed: Option<u64>) -> Covered {
        Covered {
            edge,
            passed,
            missed: passed.map_or(0, |passed| passed - 1),
            period: SECOND,
        }
    }

    #[test]
    fn energy_and_charge_are_counted_in_whole_units_and_the_fraction_is_kept() {
        let start = Instant::now();
        let mut accumulator = Accumulator::default();
        accumulator.start_over(start);
        for second in 1..=10 {
            accumulator.add(
                &Measured::new(0.0, -0.1, 0.7),
                &covered(start + second * SECOND, Some(1)),
            );
        }
        let totals = accumulator.totals(start + 10 * SECOND);
        assert_eq!(
            (totals.energy.whole(), totals.charge.whole()),
            ([7, 0], [0, 1])
        );
        assert_eq!((totals.measured, totals.results), (10 * SECOND, 10));
    }

    #[test]
    fn ten_years_of_a_milliwatt_leave_no_drift() {
        // 315 million seconds, a result of 942.08 ms at a time, in one step of each thousand.
        let mut flow = Flow::default();
        let cycle = Duration::from_micros(942_080);
        for _ in 0..1_000 {
            flow.add(0.001_562_5, cycle);
        }
        assert_eq!(flow.forward, 1_562_500 * 942_080_000 * 1_000);
    }

    #[test]
    fn what_a_result_has_beyond_a_whole_nanojoule_is_kept() {
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
        accumulator.start_over(start);
        accumulator.add(
            &Measured::new(0.0, 1.0, 1.0),
            &covered(start + 4 * SECOND, Some(4)),
        );
        let totals = accumulator.totals(start + 5 * SECOND);
        assert_eq!((totals.missed, totals.results), (3, 1));
        assert_eq!((totals.measured, totals.unmeasured), (SECOND, 3 * SECOND));
    }

    #[test]
    fn an_outage_grows_while_it_lasts() {
        let start = Instant::now();
        let mut accumulator = Accumulator::default();
        accumulator.start_over(start);
        accumulator.down(start + SECOND);
        assert_eq!(
            accumulator.totals(start + 60 * SECOND).unmeasured,
            60 * SECOND
        );
        accumulator.start_over(start + 90 * SECOND);
        accumulator.add(
            &Measured::new(0.0, 1.0, 1.0),
            &covered(start + 91 * SECOND, Some(1)),
        );
        let totals = accumulator.totals(start + 91 * SECOND);
        assert_eq!((totals.measured, totals.unmeasured), (SECOND, 90 * SECOND));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn measured_and_unmeasured_add_up_to_the_life(
            events in prop::collection::vec((0..5_u8, 0..10_000_u64, 1..9_u64), 1..200)
        ) {
            let start = Instant::now();
            let mut accumulator = Accumulator::default();
            accumulator.start_over(start);
            let mut now = start;
            let mut suspended = Duration::ZERO;
            let mut down = false;
            let mut last = Totals::default();
            for (event, millis, passed) in events {
                now += Duration::from_millis(millis);
                match event {
                    0 => { accumulator.down(now); down = true; }
                    _ if down => { accumulator.start_over(now); down = false; }
                    1 => accumulator.start_over(now),
                                        3 => { accumulator.suspended(SECOND); suspended += SECOND; }
                    _ => accumulator.add(&Measured::new(0.0, 1.0, 1.0), &covered(now, (passed > 1).then_some(passed))),
                }
                let totals = accumulator.totals(now);
                prop_assert!(totals.measured >= last.measured && totals.unmeasured >= last.unmeasured);
                last = totals;
            }
            accumulator.down(now);
            let totals = accumulator.totals(now);
            prop_assert_eq!(totals.measured + totals.unmeasured, now - start + suspended);
        }
    }
}
