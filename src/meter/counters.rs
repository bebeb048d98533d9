//! The counters that are saved across restarts, by name.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use strum::VariantNames as _;

use super::{Failure, Meter, Reset};
use crate::units::Quantity;

impl Meter {
    /// Returns every counter as of `now`, by name: a number of events, 1e-18 units or nanoseconds.
    pub(crate) fn export_counters(&self, now: Instant) -> BTreeMap<String, u128> {
        let mut copy = self.snapshot();
        copy.accumulator.totals = self.accumulator.totals(now);
        let mut counters = BTreeMap::new();
        copy.update_counters(|name, value| {
            counters.insert(name.to_owned(), value);
            value
        });
        counters
    }

    /// Adds the counters of an earlier process; unknown names are ignored.
    pub fn restore_counters(&mut self, saved: &BTreeMap<String, u128>) {
        self.update_counters(|name, value| {
            value.saturating_add(saved.get(name).copied().unwrap_or_default())
        });
    }

    /// Sets every counter to what `update` returns for its name and value. Saved files contain the
    /// names: never rename one.
    fn update_counters(&mut self, mut update: impl FnMut(&str, u128) -> u128) {
        let to_u64 = |value| u64::try_from(value).unwrap_or(u64::MAX);
        let mut count = |name: &str, n: &mut u64| *n = to_u64(update(name, (*n).into()));
        let totals = &mut self.accumulator.totals;
        count("results", &mut totals.results);
        count("results_missed", &mut totals.missed);
        count("alerts", &mut self.alerts);
        for (kind, n) in Failure::VARIANTS.iter().zip(&mut self.failures) {
            count(&format!("read_errors.{kind}"), n);
        }
        for (cause, n) in Reset::VARIANTS.iter().zip(&mut self.resets) {
            count(&format!("resets.{cause}"), n);
        }
        for (quantity, n) in Quantity::ALL.iter().zip(&mut self.overflows) {
            count(&format!("overflows.{}", quantity.name()), n);
        }
        let mut flow = |name, atto: &mut u128| *atto = update(name, *atto);
        flow("energy_attojoules.forward", &mut totals.energy.forward);
        flow("energy_attojoules.reverse", &mut totals.energy.reverse);
        flow("charge_attocoulombs.forward", &mut totals.charge.forward);
        flow("charge_attocoulombs.reverse", &mut totals.charge.reverse);
        let mut time = |name, time: &mut Duration| {
            *time = Duration::from_nanos(to_u64(update(name, time.as_nanos())));
        };
        time("measured_nanoseconds", &mut totals.measured);
        time("unmeasured_nanoseconds", &mut totals.unmeasured);
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
