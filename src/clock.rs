//! Clocks: the system clock, and a simulated one for tests. The rate limit of log messages.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// A source of time.
pub trait Clock: Send + Sync {
    /// Returns monotonic time, for pacing.
    fn now(&self) -> Instant;
    /// Returns wall-clock time, for timestamps; it may jump.
    fn wall(&self) -> SystemTime;
    /// Returns the time since boot, which, unlike monotonic time, includes time suspended.
    fn booted(&self) -> Duration;
    /// Waits for the duration of a simulated transfer.
    fn wait(&self, time: Duration);
}

/// Margin for the late wake-up from a sleep.
const OVERSLEEP: Duration = Duration::from_micros(100);

/// `CLOCK_MONOTONIC`, `CLOCK_REALTIME` and `CLOCK_BOOTTIME`, see clock_gettime(2).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn booted(&self) -> Duration {
        Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
    }

    fn wait(&self, time: Duration) {
        // Sleeps, as the driver of a real adapter does; then spins, because a sleep ends late.
        let start = Instant::now();
        if let Some(sleep) = time.checked_sub(OVERSLEEP) {
            thread::sleep(sleep);
        }
        while start.elapsed() < time {
            std::hint::spin_loop();
        }
    }
}

/// A clock that only moves on request.
#[derive(Debug)]
pub struct SimulatedClock {
    start: Instant,
    elapsed_nanos: AtomicU64,
    suspended_nanos: AtomicU64,
    wall_ahead_seconds: AtomicU64,
}

impl Default for SimulatedClock {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            elapsed_nanos: AtomicU64::new(0),
            suspended_nanos: AtomicU64::new(0),
            wall_ahead_seconds: AtomicU64::new(0),
        }
    }
}

impl SimulatedClock {
    /// Returns the time since the clock was created.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.elapsed_nanos.load(Relaxed))
    }

    /// Simulates a suspend of the machine.
    pub fn suspend(&self, time: Duration) {
        self.suspended_nanos.fetch_add(nanos(time), Relaxed);
    }

    /// Sets the wall clock ahead by that many seconds.
    pub fn set_wall_ahead(&self, seconds: u64) {
        self.wall_ahead_seconds.store(seconds, Relaxed);
    }

    /// Advances to `instant`; never goes back.
    pub fn advance_to(&self, instant: Instant) {
        let elapsed = instant.saturating_duration_since(self.start);
        self.elapsed_nanos.fetch_max(nanos(elapsed), Relaxed);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Instant {
        self.start + self.elapsed()
    }

    /// Starts at 2026-01-01 00:00:00 UTC.
    fn wall(&self) -> SystemTime {
        let ahead = self.wall_ahead_seconds.load(Relaxed);
        let start = Duration::from_secs(1_767_225_600 + ahead);
        SystemTime::UNIX_EPOCH + start + self.booted()
    }

    fn booted(&self) -> Duration {
        self.elapsed() + Duration::from_nanos(self.suspended_nanos.load(Relaxed))
    }

    fn wait(&self, time: Duration) {
        self.elapsed_nanos.fetch_add(nanos(time), Relaxed);
    }
}

/// Returns nanoseconds, up to 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Limits log messages, so that a loose contact does not wear out an SD card.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogRateLimit {
    /// Time at which a whole burst is allowed again; each message delays it by a minute.
    full_at: Option<Instant>,
}

impl LogRateLimit {
    const BURST: u32 = 10;
    const REFILL: Duration = Duration::from_secs(60);

    pub(crate) fn allow(&mut self, now: Instant) -> bool {
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
    fn ten_messages_pass_then_one_per_minute() {
        let start = Instant::now();
        let mut limit = LogRateLimit::default();
        let burst = (0..100).filter(|_| limit.allow(start)).count();
        assert_eq!(burst, 10);
        let seconds = (1..=3600).map(|second| start + Duration::from_secs(second));
        assert_eq!(seconds.filter(|now| limit.allow(*now)).count(), 60);
    }
}
