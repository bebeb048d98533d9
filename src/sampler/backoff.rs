//! Pauses that grow, and messages that don't pile up.

use std::time::{Duration, Instant};

/// Pauses between attempts: 1 s, doubling to 30 s.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_secs(1);
    pub(super) const LONGEST: Duration = Duration::from_secs(30);

    /// The pause before the next attempt.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (2 * pause).min(Self::LONGEST);
        pause
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self(Self::FIRST)
    }
}

/// Lets ten messages through at once, then one a minute: a loose contact must not wear out an SD card.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogRateLimit {
    left: u32,
    refilled: Instant,
}

impl LogRateLimit {
    const MOST: u32 = 10;
    const REFILL: Duration = Duration::from_secs(60);

    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: Self::MOST,
            refilled: now,
        }
    }

    /// Whether a message may go out now.
    pub(super) fn allow(&mut self, now: Instant) -> bool {
        while self.left < Self::MOST && now >= self.refilled + Self::REFILL {
            self.left += 1;
            self.refilled += Self::REFILL;
        }
        if self.left == Self::MOST {
            self.refilled = now;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_one_second_to_thirty() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..7).map(|_| backoff.pause().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn ten_messages_go_out_at_once_and_then_one_a_minute() {
        let start = Instant::now();
        let mut chatter = LogRateLimit::new(start);
        let spoken = (0..100).filter(|_| chatter.allow(start)).count();
        assert_eq!(spoken, 10);
        let an_hour_of_seconds = (1..=3600).map(|s| start + Duration::from_secs(s));
        assert_eq!(
            an_hour_of_seconds.filter(|now| chatter.allow(*now)).count(),
            60
        );
    }
}
