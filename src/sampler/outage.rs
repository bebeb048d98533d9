//! The time in which a sensor is not there: when it is tried again, and what is said of it.

use std::time::{Duration, Instant};

use super::backoff::Backoff;

/// A sensor that is lost for the time being.
pub(super) struct Outage {
    /// When it is tried next.
    pub(super) at: Instant,
    backoff: Backoff,
    /// Attempts that failed.
    pub(super) rounds: u32,
    /// Its beginning was logged, so its end will be.
    pub(super) told: bool,
}

impl Outage {
    /// A sensor that failed `now`.
    pub(super) fn failed(now: Instant) -> Self {
        let mut backoff = Backoff::default();
        Self {
            at: now + backoff.pause(),
            backoff,
            rounds: 1,
            told: false,
        }
    }

    /// A sensor that is left to another master until `at`.
    pub(super) fn left_alone(at: Instant) -> Self {
        Self {
            at,
            backoff: Backoff::default(),
            rounds: 0,
            told: false,
        }
    }

    /// It failed again.
    pub(super) fn failed_again(&mut self, now: Instant) {
        self.rounds += 1;
        self.at = now + self.backoff.pause();
    }

    /// What is said when it is over, if its beginning was told.
    pub(super) fn end(&self) -> Option<String> {
        let s = if self.rounds == 1 { "" } else { "s" };
        self.told.then(|| match self.rounds {
            0 => "has our settings again".to_owned(),
            rounds => format!("answers again after {rounds} failed round{s}"),
        })
    }
}

/// Pauses before another master's settings are written over: they grow while it keeps writing.
#[derive(Debug, Default)]
pub(super) struct ForeignWriteBackoff {
    backoff: Backoff,
    last: Option<Instant>,
}

impl ForeignWriteBackoff {
    /// After so long without another master's write, the next is the first again.
    const CALM: Duration = Duration::from_secs(60);

    pub(super) fn pause(&mut self, now: Instant) -> Duration {
        if self
            .last
            .is_none_or(|last| now.duration_since(last) > Self::CALM)
        {
            self.backoff = Backoff::default();
        }
        self.last = Some(now);
        self.backoff.pause()
    }
}
