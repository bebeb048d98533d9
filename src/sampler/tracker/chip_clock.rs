//! The clock of the chip: the period of its cycles, predictions of their edges, and gaps.

use std::time::Instant;

use super::seconds;

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
    /// Maximum relative change of the period with temperature over any time.
    const MAX_DRIFT: f64 = 0.01;
    /// Maximum distance in cycles between brackets that measure the period: temperature changes.
    const MEMORY: u64 = 1_024;

    pub(super) fn new(nominal: f64, start: Option<Bracket>) -> Self {
        let tolerance = Self::INITIAL_TOLERANCE;
        Self { nominal, period: nominal, tolerance, base: start, middle: None, latest: start }
    }

    /// Returns the relative uncertainty of the period until the next bracket.
    pub(super) fn tolerance(&self) -> f64 {
        self.tolerance + Self::DRIFT
    }

    /// Returns the predicted index at a time, with its fraction.
    pub(super) fn periods_to(&self, at: Instant) -> Option<f64> {
        let latest = self.latest?;
        let since = at.saturating_duration_since(latest.at).as_secs_f64();
        Some(latest.index as f64 + since / self.period)
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

    /// Returns the minimum number of edges from `edge` until `at`.
    pub(super) fn min_edges(&self, edge: Bracket, at: Instant) -> u64 {
        let since = at.saturating_duration_since(edge.at).as_secs_f64() - edge.uncertainty;
        (since / self.period / (1.0 + self.tolerance + Self::MAX_DRIFT)) as u64
    }

    /// Discards the phase and keeps the period.
    pub(super) fn lose_phase(&mut self) {
        (self.base, self.middle, self.latest) = (None, None, None);
    }

    /// Measures period and phase again, from the bracket of an edge that was not predicted.
    pub(super) fn restart(&mut self, bracket: Bracket) {
        self.lose_phase();
        (self.tolerance, self.latest) = (Self::INITIAL_TOLERANCE, Some(bracket));
    }

    /// Measures period and phase with a new bracket, which it narrows by the prediction. Returns
    /// whether the bracket is consistent with the earlier ones.
    pub(super) fn learn(&mut self, bracket: &mut Bracket) -> bool {
        if let Some(predicted) = self.edge(bracket.index) {
            bracket.narrow(predicted, self.uncertainty(predicted));
        }
        let base = *self.base.get_or_insert(*bracket);
        let age = bracket.index.saturating_sub(base.index);
        let is_consistent = age == 0 || self.measure(base, *bracket, age as f64);
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

    /// Measures the period from brackets `n` periods apart. Returns whether it is plausible.
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

/// Stalls too long to determine how many cycles ended in them. The number is known as soon as the
/// period is known well enough: often a few results later, but never after a very long stall.
#[derive(Clone, Debug, Default)]
pub(super) struct Gaps {
    /// Last edge before the loss of the phase, first edge after it (the difference of their indexes
    /// is the number of results found), and number of missed results that have been counted.
    pub(super) open: Vec<(Bracket, Bracket, u64)>,
    /// Whether edges have been counted without interruption since the end of the last gap.
    pub(super) is_continuous: bool,
}

impl Gaps {
    /// Upper bound on unresolved gaps: beyond it the oldest is dropped and stays unmeasured time.
    const MAX_OPEN: usize = 16;
    /// Fraction of a period to which a gap's length must be known to round it to whole periods.
    const RESOLVE_LIMIT: f64 = 0.45;

    pub(super) fn add(&mut self, from: Bracket, to: Bracket, counted: u64) {
        if self.open.len() == Self::MAX_OPEN {
            self.open.remove(0);
        }
        self.open.push((from, to, counted));
        self.is_continuous = true;
    }

    /// Resolves gaps if the period is known well enough. Returns the results missed in them.
    pub(super) fn resolve(&mut self, clock: &ChipClock) -> u64 {
        let (period, tolerance) = (clock.period, clock.tolerance());
        if self.is_continuous
            && let (Some((_, to, _)), Some(latest)) = (self.open.last_mut(), clock.latest)
        {
            let since = latest.index.saturating_sub(to.index) as f64 * period;
            if let Some(predicted) = latest.at.checked_sub(seconds(since)) {
                to.narrow(predicted, latest.uncertainty + since * tolerance);
            }
        }
        let mut missed = 0;
        self.open.retain(|(from, to, counted)| {
            let length = to.at.saturating_duration_since(from.at).as_secs_f64();
            let uncertainty = from.uncertainty + to.uncertainty + length * tolerance;
            let is_resolved = uncertainty < Self::RESOLVE_LIMIT * period;
            if is_resolved {
                let found = to.index.saturating_sub(from.index);
                missed += ((length / period).round() as u64).saturating_sub(found + counted);
            }
            !is_resolved
        });
        missed
    }
}
