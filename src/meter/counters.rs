//! The counters that are saved across restarts, by name.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Failure, Meter, Reset};
use crate::units::Quantity;

/// A counter. Saved as a whole number: of events, of 1e-18 of its unit, or of nanoseconds.
enum Counter<'a> {
    Count(&'a mut u64),
    Flow(&'a mut u128),
    Time(&'a mut Duration),
}

impl Counter<'_> {
    fn get(&self) -> u128 {
        match self {
            Self::Count(count) => u128::from(**count),
            Self::Flow(atto) => **atto,
            Self::Time(time) => time.as_nanos(),
        }
    }

    fn add(self, saved: u128) {
        let saved_u64 = u64::try_from(saved).unwrap_or(u64::MAX);
        match self {
            Self::Count(count) => *count = count.saturating_add(saved_u64),
            Self::Flow(atto) => *atto = atto.saturating_add(saved),
            Self::Time(time) => *time = time.saturating_add(Duration::from_nanos(saved_u64)),
        }
    }
}

impl Meter {
    /// Returns every counter as of `now`, by name.
    pub fn export_counters(&self, now: Instant) -> BTreeMap<String, u128> {
        let mut copy = self.clone();
        copy.accumulator.totals = self.accumulator.totals(now);
        let counters = copy.counters().into_iter();
        counters.map(|(name, counter)| (name, counter.get())).collect()
    }

    /// Adds the counters of an earlier process; unknown names are ignored.
    pub fn restore_counters(&mut self, saved: &BTreeMap<String, u128>) {
        for (name, counter) in self.counters() {
            if let Some(value) = saved.get(&name) {
                counter.add(*value);
            }
        }
    }

    /// Returns every counter with its name, which saved files contain: never rename one.
    fn counters(&mut self) -> Vec<(String, Counter<'_>)> {
        use Counter::{Count, Flow, Time};

        let totals = &mut self.accumulator.totals;
        let failures = Failure::ALL.iter().map(|kind| format!("read_errors.{}", kind.name()));
        let resets = Reset::ALL.iter().map(|cause| format!("resets.{}", cause.name()));
        let overflows =
            Quantity::ALL.iter().map(|quantity| format!("overflows.{}", quantity.name()));
        let counts = ["results", "results_missed", "alerts"].map(str::to_owned);
        let counts = counts
            .into_iter()
            .zip([&mut totals.results, &mut totals.missed, &mut self.alerts])
            .chain(failures.zip(&mut self.failures))
            .chain(resets.zip(&mut self.resets))
            .chain(overflows.zip(&mut self.overflows))
            .map(|(name, count)| (name, Count(count)));
        let (energy, charge) = (&mut totals.energy, &mut totals.charge);
        let rest = [
            ("energy_attojoules.forward", Flow(&mut energy.forward)),
            ("energy_attojoules.reverse", Flow(&mut energy.reverse)),
            ("charge_attocoulombs.forward", Flow(&mut charge.forward)),
            ("charge_attocoulombs.reverse", Flow(&mut charge.reverse)),
            ("measured_nanoseconds", Time(&mut totals.measured)),
            ("unmeasured_nanoseconds", Time(&mut totals.unmeasured)),
        ];
        counts.chain(rest.map(|(name, counter)| (name.to_owned(), counter))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Cycle;
    use crate::units::Measured;

    #[test]
    fn restored_counters_continue_exactly() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let cycle = |n, elapsed| Cycle {
            end: start + n * second,
            elapsed: Some(elapsed),
            missed: elapsed - 1,
            period: second,
        };
        let mut before = Meter::default();
        before.count_failure(Failure::Identity);
        before.accumulator.restart(start);
        before.accumulator.add(&Measured::new(0.0, -0.3, 0.7), &cycle(3, 3));
        let mut saved = before.export_counters(start + 3 * second);
        saved.insert("of.another.version".to_owned(), 7);

        let mut after = Meter::default();
        after.restore_counters(&saved);
        after.accumulator.restart(start + 3 * second);
        after.accumulator.add(&Measured::new(0.0, -0.7, 0.7), &cycle(4, 1));
        let totals = after.accumulator.totals(start + 4 * second);
        assert_eq!(
            (totals.energy.forward, totals.charge.whole()),
            (1_400_000_000_000_000_000, [0, 1])
        );
        assert_eq!((totals.measured, totals.unmeasured), (2 * second, 2 * second));
        assert_eq!(
            (totals.results, totals.missed, after.failures),
            (2, 2, [0, 0, 0, 0, 1, 0, 0, 0])
        );
    }

    #[test]
    fn saved_counter_names_are_stable() {
        let saved = Meter::default().export_counters(Instant::now());
        let names: Vec<&str> = saved.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "alerts",
                "charge_attocoulombs.forward",
                "charge_attocoulombs.reverse",
                "energy_attojoules.forward",
                "energy_attojoules.reverse",
                "measured_nanoseconds",
                "overflows.current",
                "overflows.power",
                "overflows.voltage",
                "read_errors.arbitration",
                "read_errors.corrupt",
                "read_errors.identity",
                "read_errors.io",
                "read_errors.mux",
                "read_errors.nack",
                "read_errors.settings",
                "read_errors.timeout",
                "resets.brown-out",
                "resets.foreign",
                "results",
                "results_missed",
                "unmeasured_nanoseconds",
            ]
        );
    }
}
