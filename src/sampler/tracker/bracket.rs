//! An edge as it was seen: between two looks.

use std::time::Instant;

use super::seconds;

/// An edge that was seen between two looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bracket {
    pub(super) at: Instant,
    /// Half of the time between the two looks, in seconds.
    pub(super) uncertainty: f64,
    /// Results finished before it since the first, itself included.
    pub(super) index: u64,
}

impl Bracket {
    /// What both the looks and the prediction allow; if they contradict each other, the looks are right.
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
