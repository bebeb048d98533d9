//! The chip's clock as its edges show it: their period, and when the next ones come.

use std::time::Instant;

use super::bracket::Bracket;
use super::{seconds, to_f64};

/// What is known of the chip's clock. Periods and uncertainties are in seconds.
#[derive(Clone, Debug)]
pub(super) struct ChipClock {
    nominal: f64,
    period: f64,
    /// By how much of itself the period may be wrong, if the temperature stays as it is.
    tolerance: f64,
    /// What the period is measured from, and what will take its place.
    base: Option<Bracket>,
    middle: Option<Bracket>,
    latest: Option<Bracket>,
}

impl ChipClock {
    /// How far off the nominal period a chip can be, 10 % slow by the datasheet, and then some. Further off, something else was seen.
    pub(super) const UNKNOWN: f64 = 0.12;
    /// What the temperature may change until the next bracket, as a part of the period.
    const DRIFT: f64 = 5e-5;
    /// Brackets that are so many results apart make no period together: the temperature changes.
    const MEMORY: u64 = 1_024;

    /// A clock of which only an edge is known, if that.
    pub(super) fn new(nominal: f64, start: Option<Bracket>) -> Self {
        Self {
            nominal,
            period: nominal,
            tolerance: Self::UNKNOWN,
            base: start,
            middle: None,
            latest: start,
        }
    }

    /// Nominal, until it was measured.
    pub(super) fn period(&self) -> f64 {
        self.period
    }

    /// By how much of itself the period may be wrong until the next bracket.
    pub(super) fn tolerance(&self) -> f64 {
        self.tolerance + Self::DRIFT
    }

    /// The edge that was seen last, while the phase is known.
    pub(super) fn latest(&self) -> Option<Bracket> {
        self.latest
    }

    /// The predicted index at a time, with its fraction.
    pub(super) fn periods_to(&self, at: Instant) -> Option<f64> {
        let latest = self.latest?;
        let since = at.saturating_duration_since(latest.at).as_secs_f64();
        Some(to_f64(latest.index) + since / self.period)
    }

    /// When a result is finished, as predicted.
    pub(super) fn edge(&self, index: u64) -> Option<Instant> {
        let latest = self.latest?;
        let passed = u32::try_from(index.saturating_sub(latest.index)).ok()?;
        Some(latest.at + seconds(f64::from(passed) * self.period))
    }

    /// Of a prediction for `at`.
    pub(super) fn uncertainty(&self, at: Instant) -> f64 {
        self.latest.map_or(f64::INFINITY, |latest| {
            let since = at.saturating_duration_since(latest.at).as_secs_f64();
            latest.uncertainty + since * self.tolerance()
        })
    }

    /// Forgets the phase; the period stays as it is known.
    pub(super) fn lose_phase(&mut self) {
        self.base = None;
        self.middle = None;
        self.latest = None;
    }

    /// Takes an edge that was seen for the measurement of period and phase. Returns what is now thought of it, and whether it goes
    /// together with those before.
    pub(super) fn learn(&mut self, mut bracket: Bracket) -> (Bracket, bool) {
        if let Some(predicted) = self.edge(bracket.index) {
            bracket.narrow(predicted, self.uncertainty(predicted));
        }
        let base = *self.base.get_or_insert(bracket);
        let age = bracket.index.saturating_sub(base.index);
        let possible = age == 0 || self.measure(base, bracket, to_f64(age));
        if !possible {
            *self = Self::new(self.nominal, Some(bracket));
        } else if age >= Self::MEMORY / 2 {
            let middle = *self.middle.get_or_insert(bracket);
            if age >= Self::MEMORY {
                self.base = Some(middle);
                self.middle = Some(bracket);
            }
        }
        self.latest = Some(bracket);
        (bracket, possible)
    }

    /// Measures the period from `base` to `bracket`, `n` periods later. Tells whether a chip can have it.
    fn measure(&mut self, base: Bracket, bracket: Bracket, n: f64) -> bool {
        let period = bracket.at.saturating_duration_since(base.at).as_secs_f64() / n;
        let error = (base.uncertainty + bracket.uncertainty) / n;
        let seen = Range(period - error, period + error);
        let possible = seen.and(Range::around(self.nominal, Self::UNKNOWN));
        // What was known before outlives the loss of a phase, until it contradicts what is seen.
        let known = Range::around(self.period, self.tolerance);
        if let Some(Range(from, to)) = possible.and_then(|seen| seen.and(known).or(Some(seen))) {
            self.period = f64::midpoint(from, to);
            self.tolerance = (to - from) / 2.0 / self.period;
        }
        possible.is_some()
    }
}

/// From one period to another.
#[derive(Clone, Copy)]
struct Range(f64, f64);

impl Range {
    fn around(middle: f64, tolerance: f64) -> Self {
        Self(middle * (1.0 - tolerance), middle * (1.0 + tolerance))
    }

    /// What lies in both.
    fn and(self, other: Self) -> Option<Self> {
        let (from, to) = (self.0.max(other.0), self.1.min(other.1));
        (from <= to).then_some(Self(from, to))
    }
}
