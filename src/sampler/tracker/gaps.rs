//! Stalls that are too long to determine how many cycles ended in them.
//!
//! The edges at both ends of a stall are known. The number of cycles between them follows as soon
//! as the period is known well enough: often a few results later on a busy machine, and never after
//! a very long stall.

use super::chip_clock::Bracket;
use super::{count, seconds, to_f64};

/// A stall, from the last edge before the loss of the phase to the first after it. The difference
/// of their indexes is the number of results that were found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    from: Bracket,
    to: Bracket,
}

/// Unresolved stalls, and what was missed in resolved ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Gaps {
    pub(super) open: Vec<Gap>,
    /// Whether edges have been counted without interruption since the end of the last gap.
    is_continuous: bool,
    missed: u64,
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
        self.open.push(Gap { from, to });
        self.is_continuous = true;
    }

    /// Marks that the count of edges was interrupted.
    pub(super) fn interrupt(&mut self) {
        self.is_continuous = false;
    }

    /// Resolves the gaps for which the `period`, in seconds, with its relative `tolerance` is known
    /// well enough. `latest` is the last edge.
    pub(super) fn resolve(&mut self, period: f64, tolerance: f64, latest: Bracket) {
        if self.is_continuous
            && let Some(Gap { to, .. }) = self.open.last_mut()
        {
            let since = to_f64(latest.index.saturating_sub(to.index)) * period;
            if let Some(predicted) = latest.at.checked_sub(seconds(since)) {
                to.narrow(predicted, latest.uncertainty + since * tolerance);
            }
        }
        self.open.retain(|Gap { from, to }| {
            let length = to.at.saturating_duration_since(from.at).as_secs_f64();
            let uncertainty = from.uncertainty + to.uncertainty + length * tolerance;
            let is_resolved = uncertainty < Self::RESOLVE_LIMIT * period;
            if is_resolved {
                let completed = count((length / period).round());
                let found = to.index.saturating_sub(from.index);
                self.missed += completed.saturating_sub(found);
            }
            !is_resolved
        });
    }

    /// Removes and returns the number of results that were missed in resolved gaps.
    pub(super) fn take_missed(&mut self) -> u64 {
        std::mem::take(&mut self.missed)
    }
}
