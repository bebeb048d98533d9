//! The clock of the chip: the period of its cycles, and predictions of their edges.

use std::time::Instant;

use super::{seconds, to_f64};

/// An edge that lies between two flag reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bracket {
    pub(super) at: Instant,
    /// Half of the time between the two reads, in seconds.
    pub(super) uncertainty: f64,
    /// Number of edges since the first, this one included.
    pub(super) index: u64,
}

impl Bracket {
    /// Returns an edge between two times.
    pub(super) fn between(begin: Instant, end: Instant, index: u64) -> Self {
        let gap = end.duration_since(begin);
        Self { at: begin + gap / 2, uncertainty: gap.as_secs_f64() / 2.0, index }
    }

    /// Reduces the bracket to its overlap with a prediction; does nothing if there is none.
    pub(super) fn narrow(&mut self, predicted: Instant, uncertainty: f64) {
        let late = predicted.saturating_duration_since(self.at).as_secs_f64();
        let early = self.at.saturating_duration_since(predicted).as_secs_f64();
        let offset = late - early;
        let from = (offset - uncertainty).max(-self.uncertainty);
        let to = (offset + uncertainty).min(self.uncertainty);
        if from < to {
            let middle = f64::midpoint(from, to);
            self.at += seconds(middle);
            self.at = self.at.checked_sub(seconds(-middle)).unwrap_or(self.at);
            self.uncertainty = (to - from) / 2.0;
        }
    }
}

/// Period and phase of the chip's cycles, as measured. Periods and uncertainties are in seconds.
#[derive(Clone, Debug)]
pub(super) struct ChipClock {
    nominal: f64,
    /// Nominal until it was measured.
    pub(super) period: f64,
    /// Relative uncertainty of the period at a constant temperature.
    tolerance: f64,
    /// Start of the measurement of the period, and the bracket that will replace it.
    base: Option<Bracket>,
    middle: Option<Bracket>,
    /// The last bracket, while the phase is known.
    pub(super) latest: Option<Bracket>,
}

impl ChipClock {
    /// Upper bound on the deviation of a chip from its nominal period: 10 % by the data sheet, and
    /// a margin. Larger deviations have another cause.
    pub(super) const INITIAL_TOLERANCE: f64 = 0.12;
    /// Relative change of the period with temperature until the next bracket.
    const DRIFT: f64 = 5e-5;
    /// Maximum distance in cycles between two brackets that measure the period, since the
    /// temperature changes.
    const MEMORY: u64 = 1_024;

    /// Returns a clock of which at most one edge is known.
    pub(super) fn new(nominal: f64, start: Option<Bracket>) -> Self {
        Self {
            nominal,
            period: nominal,
            tolerance: Self::INITIAL_TOLERANCE,
            base: start,
            middle: None,
            latest: start,
        }
    }

    /// Returns the relative uncertainty of the period until the next bracket.
    pub(super) fn tolerance(&self) -> f64 {
        self.tolerance + Self::DRIFT
    }

    /// Returns the predicted index at a time, with its fraction.
    pub(super) fn periods_to(&self, at: Instant) -> Option<f64> {
        let latest = self.latest?;
        let since = at.saturating_duration_since(latest.at).as_secs_f64();
        Some(to_f64(latest.index) + since / self.period)
    }

    /// Returns the predicted time of an edge.
    pub(super) fn edge(&self, index: u64) -> Option<Instant> {
        let latest = self.latest?;
        let elapsed = u32::try_from(index.saturating_sub(latest.index)).ok()?;
        Some(latest.at + seconds(f64::from(elapsed) * self.period))
    }

    /// Returns the uncertainty of a prediction for `at`.
    pub(super) fn uncertainty(&self, at: Instant) -> f64 {
        self.latest.map_or(f64::INFINITY, |latest| {
            let since = at.saturating_duration_since(latest.at).as_secs_f64();
            latest.uncertainty + since * self.tolerance()
        })
    }

    /// Discards the phase and keeps the period.
    pub(super) fn lose_phase(&mut self) {
        (self.base, self.middle, self.latest) = (None, None, None);
    }

    /// Measures period and phase with a new bracket, which it narrows by the prediction. Returns
    /// whether the bracket is consistent with the earlier ones.
    pub(super) fn learn(&mut self, bracket: &mut Bracket) -> bool {
        if let Some(predicted) = self.edge(bracket.index) {
            bracket.narrow(predicted, self.uncertainty(predicted));
        }
        let base = *self.base.get_or_insert(*bracket);
        let age = bracket.index.saturating_sub(base.index);
        let is_consistent = age == 0 || self.measure(base, *bracket, to_f64(age));
        if !is_consistent {
            *self = Self::new(self.nominal, Some(*bracket));
        } else if age >= Self::MEMORY / 2 {
            let middle = *self.middle.get_or_insert(*bracket);
            if age >= Self::MEMORY {
                (self.base, self.middle) = (Some(middle), Some(*bracket));
            }
        }
        self.latest = Some(*bracket);
        is_consistent
    }

    /// Measures the period from two brackets that are `n` periods apart. Returns whether the period
    /// is within the initial tolerance.
    fn measure(&mut self, base: Bracket, bracket: Bracket, n: f64) -> bool {
        let period = bracket.at.saturating_duration_since(base.at).as_secs_f64() / n;
        let error = (base.uncertainty + bracket.uncertainty) / n;
        let measured = (period - error, period + error);
        let Some(possible) = overlap(measured, self.nominal, Self::INITIAL_TOLERANCE) else {
            return false;
        };
        // The earlier period is still used after a loss of the phase, unless it is contradicted.
        let (from, to) = overlap(possible, self.period, self.tolerance).unwrap_or(possible);
        self.period = f64::midpoint(from, to);
        self.tolerance = (to - from) / 2.0 / self.period;
        true
    }
}

/// Returns the part of a range of periods that deviates by at most `tolerance` from `middle`.
fn overlap((from, to): (f64, f64), middle: f64, tolerance: f64) -> Option<(f64, f64)> {
    let from = from.max(middle * (1.0 - tolerance));
    let to = to.min(middle * (1.0 + tolerance));
    (from <= to).then_some((from, to))
}
