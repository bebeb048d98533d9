//! Growing pauses between attempts, and the rate limit of log messages.

use std::time::{Duration, Instant};

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

/// Log rate limiter (a loose contact must not wear out an SD card): burst of 10, then one message
/// per minute.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LogRateLimit {
    /// When a whole burst is allowed again: a minute later with each message.
    full_at: Option<Instant>,
}

impl LogRateLimit {
    const BURST: u32 = 10;
    const REFILL: Duration = Duration::from_secs(60);

    /// Returns whether a message may be logged now.
    pub(super) fn allow(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        let is_allowed = full_at <= now + (Self::BURST - 1) * Self::REFILL;
        if is_allowed {
            self.full_at = Some(full_at + Self::REFILL);
        }
        is_allowed
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

    #[test]
    fn ten_messages_pass_then_one_per_minute() {
        let start = Instant::now();
        let mut limit = LogRateLimit::default();
        let burst = (0..100).filter(|_| limit.allow(start)).count();
        assert_eq!(burst, 10);
        let seconds = (1..=3600).map(|second| start + Duration::from_secs(second));
        assert_eq!(seconds.filter(|now| limit.allow(*now)).count(), 60);
    }
}
