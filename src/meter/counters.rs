//! The counters that are saved across restarts, by name.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use strum::VariantNames as _;

use super::{Failure, Meter, Reset};
use crate::units::Quantity;

impl Meter {
    /// Returns every counter as of `now`, by name: numbers of events, of 1e-18 of a unit, or of
    /// nanoseconds.
    pub fn export_counters(&self, now: Instant) -> BTreeMap<String, u128> {
        let mut copy = self.snapshot();
        copy.accumulator.totals = self.accumulator.totals(now);
        let mut counters = BTreeMap::new();
        copy.update_counters(|name, value| {
            counters.insert(name, value);
            value
        });
        counters
    }

    /// Adds the counters of an earlier process; unknown names are ignored.
    pub fn restore_counters(&mut self, saved: &BTreeMap<String, u128>) {
        self.update_counters(|name, value| {
            value.saturating_add(saved.get(&name).copied().unwrap_or_default())
        });
    }

    /// Replaces the value of every counter by that which `update` returns for its name, which saved
    /// files contain (never rename one), and its value.
    fn update_counters(&mut self, mut update: impl FnMut(String, u128) -> u128) {
        let to_u64 = |value| u64::try_from(value).unwrap_or(u64::MAX);
        let totals = &mut self.accumulator.totals;
        let quantities: Vec<&str> = Quantity::ALL.iter().map(|quantity| quantity.name()).collect();
        let labelled = |counter: &str, values: &[&str]| {
            values.iter().map(|value| format!("{counter}.{value}")).collect::<Vec<_>>()
        };
        let counts = ["results", "results_missed", "alerts"]
            .map(str::to_owned)
            .into_iter()
            .zip([&mut totals.results, &mut totals.missed, &mut self.alerts])
            .chain(labelled("read_errors", Failure::VARIANTS).into_iter().zip(&mut self.failures))
            .chain(labelled("resets", Reset::VARIANTS).into_iter().zip(&mut self.resets))
            .chain(labelled("overflows", &quantities).into_iter().zip(&mut self.overflows));
        for (name, count) in counts {
            *count = to_u64(update(name, u128::from(*count)));
        }
        for (name, atto) in [
            ("energy_attojoules.forward", &mut totals.energy.forward),
            ("energy_attojoules.reverse", &mut totals.energy.reverse),
            ("charge_attocoulombs.forward", &mut totals.charge.forward),
            ("charge_attocoulombs.reverse", &mut totals.charge.reverse),
        ] {
            *atto = update(name.to_owned(), *atto);
        }
        for (name, time) in [
            ("measured_nanoseconds", &mut totals.measured),
            ("unmeasured_nanoseconds", &mut totals.unmeasured),
        ] {
            *time = Duration::from_nanos(to_u64(update(name.to_owned(), time.as_nanos())));
        }
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
