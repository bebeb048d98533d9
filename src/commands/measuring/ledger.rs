//! Energy between two moments, from results whose cycles do not begin and end with them.

use std::time::{Duration, Instant};

use crate::units::Measured;

/// One result, or several in a row of which only the mean power is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::commands) struct Slice {
    pub(in crate::commands) begin: Instant,
    pub(in crate::commands) end: Instant,
    /// Part of that time that is covered by results.
    pub(in crate::commands) measured: Duration,
    /// Mean power in watts.
    pub(in crate::commands) watts: f64,
    /// The last of the results.
    pub(in crate::commands) last: Measured,
    /// Results that were completed and not used.
    pub(in crate::commands) missed: f64,
    /// Maximum error of its start and of its end.
    pub(in crate::commands) edge: Duration,
}

/// Energy of one sensor over a period.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::commands) struct Energy {
    pub(in crate::commands) joules: f64,
    /// Bound on the error from the results at both ends, in joules.
    pub(in crate::commands) uncertainty: f64,
    pub(in crate::commands) duration: Duration,
    /// Part of the duration that is covered by results.
    pub(in crate::commands) measured: Duration,
    pub(in crate::commands) missed: f64,
    /// Maximum power in watts and minimum voltage in volts of the results.
    pub(in crate::commands) extremes: Option<(f64, f64)>,
}

impl Energy {
    pub(in crate::commands) fn add(&mut self, other: &Self) {
        self.joules += other.joules;
        self.uncertainty += other.uncertainty;
        self.duration += other.duration;
        self.measured += other.measured;
        self.missed += other.missed;
        let extremes = self.extremes.into_iter().chain(other.extremes);
        self.extremes = extremes.reduce(|a, b| (a.0.max(b.0), a.1.min(b.1)));
    }

    pub(in crate::commands) fn unmeasured(&self) -> Duration {
        self.duration.saturating_sub(self.measured)
    }

    /// Returns the mean power in watts over the measured time; `None`: nothing was measured.
    pub(in crate::commands) fn watts(&self) -> Option<f64> {
        (!self.measured.is_zero()).then(|| self.joules / self.measured.as_secs_f64())
    }
}

/// Adds up the slices between two moments; the second becomes known only after it has passed.
#[derive(Default)]
pub(in crate::commands) struct Ledger {
    begun: Option<Instant>,
    energy: Energy,
    /// Slices that are not added up yet: they may extend beyond the end.
    pub(in crate::commands) kept: Vec<Slice>,
    /// Energy of the slices that are partly outside: their parts within the time, and beyond it.
    within: f64,
    beyond: f64,
    edge: Duration,
    /// Maximum magnitude of the power in watts.
    peak: f64,
}

impl Ledger {
    pub(super) fn new(begun: Instant) -> Self {
        Self { begun: Some(begun), ..Self::default() }
    }

    pub(super) fn reaches(&self, end: Instant) -> bool {
        self.kept.last().is_some_and(|slice| slice.end >= end)
    }

    /// Adds up the slices that ended by `before`, which must not be after the end of the time.
    pub(super) fn settle(&mut self, before: Instant) {
        let settled = self.kept.iter().take_while(|slice| slice.end <= before).count();
        self.add_up(settled, before);
    }

    pub(super) fn finish(&mut self, end: Instant) -> Energy {
        self.add_up(self.kept.len(), end);
        // The energy of a slice that is partly outside may all be in one of its parts. An error of
        // an edge adds or removes time, at up to the peak power.
        let edges = 2.0 * self.edge.as_secs_f64() * self.peak;
        let duration = self.begun.map_or(Duration::ZERO, |begun| end.duration_since(begun));
        Energy { uncertainty: self.within.max(self.beyond) + edges, duration, ..self.energy }
    }

    /// Adds the parts of the first `slices` slices that are in the time and before `until`.
    fn add_up(&mut self, slices: usize, until: Instant) {
        for slice in self.kept.drain(..slices) {
            let begin = slice.begin.max(self.begun.unwrap_or(slice.begin));
            let inside = slice.end.min(until).saturating_duration_since(begin);
            if inside.is_zero() {
                continue;
            }
            let length = slice.end.duration_since(slice.begin);
            let share = inside.as_secs_f64() / length.as_secs_f64();
            let joules = slice.watts * slice.measured.as_secs_f64();
            if inside < length {
                self.within += joules.abs() * share;
                self.beyond += joules.abs() * (1.0 - share);
            }
            self.edge = self.edge.max(slice.edge);
            self.peak = self.peak.max(slice.watts.abs());
            self.energy.add(&Energy {
                joules: joules * share,
                measured: slice.measured.mul_f64(share),
                missed: slice.missed,
                extremes: Some((slice.last.power.0, slice.last.voltage.0)),
                ..Energy::default()
            });
        }
    }
}

/// Number, mean and sum of squared deviations of the values so far (Welford's method).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::commands) struct Moments {
    pub(in crate::commands) count: u32,
    pub(in crate::commands) mean: f64,
    pub(in crate::commands) squares: f64,
}

impl Moments {
    pub(in crate::commands) fn add(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / f64::from(self.count);
        self.squares += before * (value - self.mean);
    }

    /// Returns the sample standard deviation; `None`: fewer than two values.
    pub(in crate::commands) fn deviation(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.squares / f64::from(self.count - 1)).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CYCLE: Duration = Duration::from_millis(4);

    fn slice(begin: Instant, watts: f64) -> Slice {
        Slice {
            begin,
            end: begin + CYCLE,
            measured: CYCLE,
            watts,
            last: Measured::new(5.0, watts / 5.0, watts),
            missed: 0.0,
            edge: Duration::ZERO,
        }
    }

    #[test]
    fn ends_count_in_part() {
        let start = Instant::now();
        let mut ledger = Ledger::new(start + Duration::from_millis(1));
        for (index, watts) in (0_u32..).zip([2.0, 10.0, 6.0, 8.0]) {
            ledger.kept.push(slice(start + CYCLE * index, watts));
        }
        ledger.settle(start + CYCLE);
        assert!(ledger.reaches(start + 4 * CYCLE));
        let energy = ledger.finish(start + Duration::from_millis(10));
        // 3 ms of 2 W, 4 ms of 10 W, 2 ms of 6 W; at the ends 6 + 12 mJ within, 2 + 12 mJ beyond.
        assert!((energy.joules - 0.058).abs() < 1e-12, "{energy:?}");
        assert!((energy.uncertainty - 0.018).abs() < 1e-12, "{energy:?}");
        assert_eq!(energy.duration, Duration::from_millis(9));
        assert_eq!((energy.unmeasured(), energy.extremes), (Duration::ZERO, Some((10.0, 5.0))));
    }

    #[test]
    fn run_within_one_result_is_bounded_by_it() {
        let start = Instant::now();
        let mut ledger = Ledger::new(start + Duration::from_millis(1));
        ledger.kept.push(slice(start, 8.0));
        let energy = ledger.finish(start + Duration::from_millis(2));
        assert!((energy.joules - 0.008).abs() < 1e-12, "{energy:?}");
        assert!((energy.uncertainty - 0.024).abs() < 1e-12, "{energy:?}");
    }

    #[test]
    fn uncertain_edges_widen_the_bound() {
        let start = Instant::now();
        let mut ledger = Ledger::new(start);
        ledger.kept.push(Slice { edge: Duration::from_millis(1), ..slice(start, 8.0) });
        let energy = ledger.finish(start + CYCLE);
        assert!((energy.uncertainty - 0.016).abs() < 1e-12, "{energy:?}");
    }

    #[test]
    fn time_without_results_is_unmeasured() {
        let start = Instant::now();
        let mut ledger = Ledger::new(start);
        ledger.kept.push(slice(start, 5.0));
        ledger.kept.push(Slice { missed: 3.0, ..slice(start + 4 * CYCLE, 5.0) });
        let energy = ledger.finish(start + 10 * CYCLE);
        assert_eq!((energy.measured, energy.unmeasured()), (2 * CYCLE, 8 * CYCLE));
        assert_eq!((energy.missed, energy.watts()), (3.0, Some(5.0)));
        assert_eq!(Ledger::new(start).finish(start + CYCLE).watts(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        /// Any load that keeps its direction: each cycle is a mean over parts of different power.
        #[test]
        fn true_energy_is_within_the_uncertainty(
            parts in prop::collection::vec((1..9_000_u64, 0..40_000_u32), 20..200),
            cycle in 500..5_000_u64,
            (from, length) in (0..20_000_u64, 1..60_000_u64),
            reverse: bool,
        ) {
            let start = Instant::now();
            let micros = Duration::from_micros;
            // Energy from the start on, in microjoules.
            let sign = if reverse { -1.0 } else { 1.0 };
            let until = |at: u64| -> f64 {
                let mut rest = at;
                let mut energy = 0.0;
                for &(time, milliwatts) in parts.iter().cycle() {
                    let time = time.min(rest);
                    energy += time as f64 * f64::from(milliwatts) / 1e3;
                    rest -= time;
                    if rest == 0 {
                        break;
                    }
                }
                energy * sign
            };
            let mut ledger = Ledger::new(start + micros(from));
            let mut at = 0;
            while at < from + length {
                let watts = (until(at + cycle) - until(at)) / cycle as f64;
                let begin = start + micros(at);
                let measured = micros(cycle);
                let end = begin + measured;
                ledger.kept.push(Slice { begin, end, measured, ..slice(begin, watts) });
                at += cycle;
                ledger.settle(start + micros(from + length).min(micros(at / 2)));
            }
            let energy = ledger.finish(start + micros(from + length));
            let truth = (until(from + length) - until(from)) / 1e6;
            let error = (energy.joules - truth).abs();
            prop_assert!(error <= energy.uncertainty + 1e-9, "{truth} J, {energy:?}");
            prop_assert!(energy.uncertainty <= 2.0 * 0.04 * cycle as f64 / 1e3 + 1e-9);
            let gap = energy.measured.abs_diff(energy.duration);
            prop_assert!(gap < Duration::from_nanos(10), "{energy:?}");
        }
    }
}
