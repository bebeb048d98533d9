//! What outlives the process, by name.

use std::time::{Duration, Instant};

use super::{Failure, Meter, Quantity, Reset, Totals};

impl Meter {
    /// Everything that was counted until `now`, by name.
    #[must_use]
    pub fn export_counters(&self, now: Instant) -> Vec<(String, u128)> {
        let mut copy = self.clone();
        let counts = copy
            .counts()
            .into_iter()
            .map(|(name, count)| (name, u128::from(*count)));
        let mut totals = self.accumulator.totals(now);
        let mut carried: Vec<(String, u128)> = counts.collect();
        carried.extend(flows(&mut totals).map(|(name, atto)| (name.to_owned(), *atto)));
        carried.extend(times(&mut totals).map(|(name, time)| (name.to_owned(), time.as_nanos())));
        carried
    }

    /// Goes on from what an earlier process counted; a name that nobody knows any more is left out.
    pub fn restore_counters(&mut self, carried: &[(String, u128)]) {
        let before = |name: &str| {
            carried
                .iter()
                .find(|(known, _)| known == name)
                .map_or(0, |(_, n)| *n)
        };
        let whole = |count: u128| u64::try_from(count).unwrap_or(u64::MAX);
        for (name, count) in self.counts() {
            *count = count.saturating_add(whole(before(&name)));
        }
        let mut totals = Totals::default();
        for (name, atto) in flows(&mut totals) {
            *atto = before(name);
        }
        for (name, time) in times(&mut totals) {
            *time = Duration::from_nanos(whole(before(name)));
        }
        self.accumulator.restore_counters(&totals);
    }

    fn counts(&mut self) -> Vec<(String, &mut u64)> {
        let failures = Failure::NAMES.iter().zip(&mut self.failures);
        let resets = Reset::NAMES.iter().zip(&mut self.resets);
        let overflows = Quantity::NAMES.iter().zip(&mut self.overflows);
        let (results, missed) = self.accumulator.counts();
        [
            ("results", results),
            ("results_missed", missed),
            ("alerts", &mut self.alerts),
        ]
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .chain(failures.map(|(kind, count)| (format!("read_errors.{kind}"), count)))
        .chain(resets.map(|(cause, count)| (format!("resets.{cause}"), count)))
        .chain(overflows.map(|(quantity, count)| (format!("overflows.{quantity}"), count)))
        .collect()
    }
}

fn flows(totals: &mut Totals) -> impl Iterator<Item = (&'static str, &mut u128)> {
    [
        ("energy_attojoules.forward", &mut totals.energy.forward),
        ("energy_attojoules.reverse", &mut totals.energy.reverse),
        ("charge_attocoulombs.forward", &mut totals.charge.forward),
        ("charge_attocoulombs.reverse", &mut totals.charge.reverse),
    ]
    .into_iter()
}

fn times(totals: &mut Totals) -> impl Iterator<Item = (&'static str, &mut Duration)> {
    [
        ("measured_nanoseconds", &mut totals.measured),
        ("unmeasured_nanoseconds", &mut totals.unmeasured),
    ]
    .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Covered;
    use crate::units::Measured;

    #[test]
    fn what_is_carried_over_goes_on_from_there_to_the_last_digit() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let covered = |n, passed| Covered {
            edge: start + n * second,
            passed: Some(passed),
            missed: passed - 1,
            period: second,
        };
        let mut before = Meter::default();
        before.fail(Failure::Identity);
        before.accumulator.start_over(start);
        before
            .accumulator
            .add(&Measured::new(0.0, -0.3, 0.7), &covered(3, 3));
        let mut carried = before.export_counters(start + 3 * second);
        carried.push(("of.another.version".to_owned(), 7));

        let mut after = Meter::default();
        after.restore_counters(&carried);
        after.accumulator.start_over(start + 3 * second);
        after
            .accumulator
            .add(&Measured::new(0.0, -0.7, 0.7), &covered(4, 1));
        let totals = after.accumulator.totals(start + 4 * second);
        assert_eq!(
            (totals.energy.forward, totals.charge.whole()),
            (1_400_000_000_000_000_000, [0, 1])
        );
        assert_eq!(
            (totals.measured, totals.unmeasured),
            (2 * second, 2 * second)
        );
        assert_eq!(
            (totals.results, totals.missed, after.failures),
            (2, 2, [0, 0, 0, 0, 1, 0, 0])
        );
    }
}
