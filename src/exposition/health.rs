//! Checks that the listener responds: sends it requests like any other client.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::scrape::Url;

/// Requests to the listener, and the time since it last responded.
pub(super) struct HealthCheck {
    shared: Arc<Shared>,
    /// Number of responses at the last check.
    responses: u64,
    silence: Duration,
    checked: Instant,
}

struct Shared {
    /// URL of the listener; `None`: there is none.
    url: Mutex<Option<Url>>,
    responses: AtomicU64,
}

impl HealthCheck {
    /// Time between two requests.
    const PERIOD: Duration = Duration::from_secs(5);
    /// Upper bound on the time of a response.
    const TIMEOUT: Duration = Duration::from_secs(4);
    /// Time without a response after which the listener is considered dead: two requests.
    pub(super) const MAX_SILENCE: Duration = Duration::from_secs(13);
    /// Upper bound on what counts as silence between two checks, which are a second apart unless
    /// this process or the machine was stopped.
    const MAX_STEP: Duration = Duration::from_millis(1_500);

    /// Starts a thread that sends requests until the process ends. Any HTTP response counts:
    /// `allow` may refuse this machine.
    ///
    /// # Errors
    /// The kernel's error if the thread cannot be created.
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared { url: Mutex::new(None), responses: AtomicU64::new(0) });
        let health = Self {
            shared: shared.clone(),
            responses: 0,
            silence: Duration::ZERO,
            checked: Instant::now(),
        };
        thread::Builder::new().name("health".to_owned()).spawn(move || {
            loop {
                let start = Instant::now();
                let url = shared.url.lock().expect("no thread panics with this lock").clone();
                if url.is_some_and(|url| url.responds(Self::TIMEOUT).is_ok()) {
                    shared.responses.fetch_add(1, Relaxed);
                }
                thread::sleep(Self::PERIOD.saturating_sub(start.elapsed()));
            }
        })?;
        Ok(health)
    }

    /// Checks this listener from now on.
    pub(super) fn watch(&mut self, url: Option<Url>) {
        *self.shared.url.lock().expect("no thread panics with this lock") = url;
        self.responses = self.shared.responses.load(Relaxed);
        self.silence = Duration::ZERO;
    }

    /// Returns the time without a response or another sign of life, zero if there was one since the
    /// last call. Time that this process did not run does not count.
    pub(super) fn silence(&mut self, now: Instant, is_alive: bool) -> Duration {
        let step = now.duration_since(self.checked).min(Self::MAX_STEP);
        self.checked = now;
        let responses = self.shared.responses.load(Relaxed);
        let is_silent = responses == self.responses && !is_alive;
        self.silence = if is_silent { self.silence + step } else { Duration::ZERO };
        self.responses = responses;
        self.silence
    }
}
