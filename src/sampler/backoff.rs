//! Growing pauses between attempts.

use std::time::Duration;

/// Pauses between attempts: 1 s, doubling up to 30 s. Holds the last one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) const MIN: Duration = Duration::from_secs(1);
    pub(super) const MAX: Duration = Duration::from_secs(30);

    /// Returns the pause before the next attempt.
    pub(super) fn pause(&mut self) -> Duration {
        self.0 = (2 * self.0).clamp(Self::MIN, Self::MAX);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_1_s_to_30_s() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..7).map(|_| backoff.pause().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    }
}
