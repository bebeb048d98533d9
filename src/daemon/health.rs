//! Whether our own listener still answers.
//!
//! The exporter's listener has no time limit for a request: enough idle clients hold it for ever. So it is asked from outside.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// The time of the listener's last answer.
#[derive(Clone)]
pub struct HealthCheck {
    origin: Instant,
    answered_millis: Arc<AtomicU64>,
}

impl HealthCheck {
    /// From one question to the next.
    const PERIOD: Duration = Duration::from_secs(5);
    /// How long an answer may take.
    pub const TIMEOUT: Duration = Duration::from_secs(4);
    /// Three questions without an answer: it will not come.
    pub const SILENCE: Duration = Duration::from_secs(15);

    /// Asks in a thread of its own for as long as the process lives.
    ///
    /// # Errors
    /// What the kernel says if there can't be another thread.
    pub fn start(ask: impl Fn() -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        let health = Self {
            origin: Instant::now(),
            answered_millis: Arc::default(),
        };
        let shared = health.clone();
        thread::Builder::new()
            .name("health".to_owned())
            .spawn(move || {
                loop {
                    let asked = Instant::now();
                    if ask().is_ok() {
                        shared.answered(Instant::now());
                    }
                    // Nobody ends this wait but the end of the process.
                    thread::park_timeout(Self::PERIOD.saturating_sub(asked.elapsed()));
                }
            })?;
        Ok(health)
    }

    fn answered(&self, at: Instant) {
        let millis = at.duration_since(self.origin).as_millis();
        self.answered_millis
            .store(u64::try_from(millis).unwrap_or(u64::MAX), Relaxed);
    }

    /// Whether it answered within the last 15 s.
    #[must_use]
    pub fn is_healthy(&self, now: Instant) -> bool {
        let answered = self.origin + Duration::from_millis(self.answered_millis.load(Relaxed));
        now.saturating_duration_since(answered) < Self::SILENCE
    }
}
