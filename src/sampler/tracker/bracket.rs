//! An edge as it was observed: between two flag reads.

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
