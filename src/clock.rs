//! Time as the daemon sees it, so that tests can set it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// Monotonic time, for pacing.
    fn now(&self) -> Instant;
    /// Wall clock time, for what people and Prometheus read; it may jump.
    fn wall(&self) -> SystemTime;
    /// How long the machine has suspended since it was booted, which monotonic time leaves out.
    fn suspended(&self) -> Duration;
    /// Lets time pass that a simulated transfer takes on the wire.
    fn wait(&self, time: Duration);
}

/// A sleep ends so much later than it should.
const OVERSLEEP: Duration = Duration::from_micros(100);

/// `CLOCK_MONOTONIC` and `CLOCK_REALTIME`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn suspended(&self) -> Duration {
        let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
        let monotonic = read(ClockId::Monotonic);
        read(ClockId::Boottime).saturating_sub(monotonic)
    }

    fn wait(&self, time: Duration) {
        // As a real adapter's driver does, while its hardware shifts the bits; but a sleep ends late.
        let begun = Instant::now();
        if let Some(most) = time.checked_sub(OVERSLEEP) {
            thread::sleep(most);
        }
        while begun.elapsed() < time {
            std::hint::spin_loop();
        }
    }
}

/// A clock that stands still until it is told to move.
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
    /// Since the clock was made.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.elapsed_nanos.load(Relaxed))
    }

    /// Suspends the machine.
    pub fn sleep(&self, time: Duration) {
        self.suspended_nanos.fetch_add(nanos(time), Relaxed);
    }

    /// Sets the wall clock so far ahead of where it would be.
    pub fn set_wall_ahead(&self, seconds: u64) {
        self.wall_ahead_seconds.store(seconds, Relaxed);
    }

    /// Moves on to `instant`; never back.
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
        SystemTime::UNIX_EPOCH + start + self.elapsed() + self.suspended()
    }

    fn suspended(&self) -> Duration {
        Duration::from_nanos(self.suspended_nanos.load(Relaxed))
    }

    fn wait(&self, time: Duration) {
        self.elapsed_nanos.fetch_add(nanos(time), Relaxed);
    }
}

/// Enough for 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
