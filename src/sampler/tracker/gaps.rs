//! Stalls that are too long to determine how many cycles ended in them.
//!
//! The edges at both ends of a stall are known. The number of cycles between them follows as soon
//! as the period is known well enough: often a few results later on a busy machine, and never after
//! a very long stall.

use super::chip_clock::{Bracket, ChipClock};
use super::{count, seconds, to_f64};

/// Unresolved stalls.
#[derive(Clone, Debug, Default)]
pub(super) struct Gaps {
    /// Each from the last edge before the loss of the phase to the first after it. The difference
    /// of their indexes is the number of results that were found.
    pub(super) open: Vec<(Bracket, Bracket)>,
    /// Whether edges have been counted without interruption since the end of the last gap.
    pub(super) is_continuous: bool,
}

impl Gaps {
    /// Upper bound on unresolved gaps: beyond it the oldest is dropped and stays unmeasured time.
    const MAX_OPEN: usize = 16;
    /// A gap is resolved if its length is known to this fraction of a period: it is a whole number
    /// of periods.
    const RESOLVE_LIMIT: f64 = 0.45;

    /// Adds a stall between two edges.
    pub(super) fn add(&mut self, from: Bracket, to: Bracket) {
        if self.open.len() == Self::MAX_OPEN {
            self.open.remove(0);
        }
        self.open.push((from, to));
        self.is_continuous = true;
    }

    /// Resolves the gaps for which the period is known well enough. Returns the number of results
    /// that were missed in them.
    pub(super) fn resolve(&mut self, clock: &ChipClock) -> u64 {
        let (period, tolerance) = (clock.period, clock.tolerance());
        if self.is_continuous
            && let (Some((_, to)), Some(latest)) = (self.open.last_mut(), clock.latest)
        {
            let since = to_f64(latest.index.saturating_sub(to.index)) * period;
            if let Some(predicted) = latest.at.checked_sub(seconds(since)) {
                to.narrow(predicted, latest.uncertainty + since * tolerance);
            }
        }
        let mut missed = 0;
        self.open.retain(|(from, to)| {
            let length = to.at.saturating_duration_since(from.at).as_secs_f64();
            let uncertainty = from.uncertainty + to.uncertainty + length * tolerance;
            let is_resolved = uncertainty < Self::RESOLVE_LIMIT * period;
            if is_resolved {
                let found = to.index.saturating_sub(from.index);
                missed += count((length / period).round()).saturating_sub(found);
            }
            !is_resolved
        });
        missed
    }
}
