//! Stalls that were too long to tell how many results were finished in them.
//!
//! The edges at both ends of one were seen. So the number of results between them is known as soon as the period is: on a busy
//! machine often a few results later, and after a very long stall never.

use super::bracket::Bracket;
use super::{count, seconds, to_f64};

/// From the last edge before the phase was lost to the first after it. The difference of their indexes is what looks found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    from: Bracket,
    to: Bracket,
}

/// Stalls that are not resolved yet, and what those were that are.
#[derive(Clone, Debug, Default)]
pub(super) struct Gaps {
    pub(super) open: Vec<Gap>,
    /// CycleTracker that are seen now were counted on from the end of the last gap.
    counted_on: bool,
    missed: u64,
}

impl Gaps {
    /// More than this at a time are a machine that has no time for the chip, and the oldest stays unmeasured time.
    const MOST: usize = 16;
    /// Two edges are a whole number of periods apart; so this part of a period is enough to tell which.
    const TELLS: f64 = 0.45;

    /// Notes a stall between two edges.
    pub(super) fn add(&mut self, from: Bracket, to: Bracket) {
        if self.open.len() == Self::MOST {
            self.open.remove(0);
        }
        self.open.push(Gap { from, to });
        self.counted_on = true;
    }

    /// From here on edges are counted anew.
    pub(super) fn break_off(&mut self) {
        self.counted_on = false;
    }

    /// Counts what was missed in each gap that a `period`, in seconds, of a `tolerance` now resolves. `latest` is the
    /// edge that was seen last.
    pub(super) fn close(&mut self, period: f64, tolerance: f64, latest: Bracket) {
        if self.counted_on
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
            let resolved = uncertainty < Self::TELLS * period;
            if resolved {
                let finished = count((length / period).round());
                let found = to.index.saturating_sub(from.index);
                self.missed += finished.saturating_sub(found);
            }
            !resolved
        });
    }

    /// Results that are now known to have been missed.
    pub(super) fn take_missed(&mut self) -> u64 {
        std::mem::take(&mut self.missed)
    }
}
