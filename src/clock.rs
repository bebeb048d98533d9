//! Clocks: the system clock, and a simulated one for tests.

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
    /// Returns the time since boot, which unlike monotonic time includes time suspended.
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
