//! Checks that the HTTP listener responds.
//!
//! metrics-exporter-prometheus has no timeout for requests, so enough idle clients can block it
//! indefinitely. The check is a request like any other.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::scrape::Url;

/// The time of the listener's last response.
#[derive(Clone)]
pub(super) struct HealthCheck(Arc<Mutex<Instant>>);

impl HealthCheck {
    /// Time between two requests.
    const PERIOD: Duration = Duration::from_secs(5);
    /// Upper bound on the time of a response.
    const TIMEOUT: Duration = Duration::from_secs(4);
    /// Time without a response after which the listener is considered dead: three requests.
    pub(super) const MAX_SILENCE: Duration = Duration::from_secs(15);

    /// Starts a thread that sends requests to the listener until the process ends. Any HTTP
    /// response counts: `allow` may reject this machine.
    ///
    /// # Errors
    /// The kernel's error if the thread cannot be created.
    pub(super) fn start(url: Url) -> io::Result<Self> {
        let health = Self(Arc::new(Mutex::new(Instant::now())));
        let shared = health.clone();
        thread::Builder::new().name("health".to_owned()).spawn(move || {
            loop {
                let start = Instant::now();
                if url.responds(Self::TIMEOUT).is_ok() {
                    shared.set_last_response(Instant::now());
                }
                thread::sleep(Self::PERIOD.saturating_sub(start.elapsed()));
            }
        })?;
        Ok(health)
    }

    fn set_last_response(&self, at: Instant) {
        *self.0.lock().expect("no thread panics with this lock") = at;
    }

    /// Returns whether the listener responded within the last 15 s.
    pub(super) fn is_healthy(&self, now: Instant) -> bool {
        let last_response = *self.0.lock().expect("no thread panics with this lock");
        now.saturating_duration_since(last_response) < Self::MAX_SILENCE
    }
}
