//! What systemd is told (sd_notify(3)). Outside systemd all of it is silent.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tracing::debug;

/// The service manager's ear.
pub struct Notifier {
    /// How often it wants to hear of us, if at all.
    watchdog: Option<Duration>,
    pinged: Option<Instant>,
    /// What every status begins with.
    preface: &'static str,
    status: String,
    status_sent: Option<Instant>,
}

impl Notifier {
    const STATUS_PERIOD: Duration = Duration::from_secs(1);

    /// Reads what systemd put into the environment. The status says so if sensors are `simulated`.
    #[must_use]
    pub fn from_environment(simulated: bool) -> Self {
        Self {
            watchdog: sd_notify::watchdog_enabled(),
            pinged: None,
            preface: if simulated { "simulated: " } else { "" },
            status: String::new(),
            status_sent: None,
        }
    }

    /// The service is up.
    pub fn ready(&self) {
        send(&[NotifyState::Ready]);
    }

    /// The service is about to go.
    pub fn stopping(&self) {
        send(&[NotifyState::Stopping]);
    }

    /// All is well. Passed on three times in the period after which systemd would lose its patience.
    pub fn alive(&mut self, now: Instant) {
        let Some(period) = self.watchdog else { return };
        if self
            .pinged
            .is_none_or(|pinged| now.duration_since(pinged) >= period / 3)
        {
            send(&[NotifyState::Watchdog]);
            self.pinged = Some(now);
        }
    }

    /// The longest time that may pass between two calls of [`Notifier::alive`].
    #[must_use]
    pub fn max_interval(&self) -> Duration {
        self.watchdog.map_or(Duration::MAX, |period| period / 6)
    }

    /// A line for `systemctl status`, at most once a second, and only if it says something new.
    pub fn status(&mut self, line: &str, now: Instant) {
        let too_soon = |sent| now.duration_since(sent) < Self::STATUS_PERIOD;
        if self.status_sent.is_some_and(too_soon) {
            return;
        }
        // A newline would begin another assignment.
        let line = format!("{}{line}", self.preface).replace(char::is_control, " ");
        if line != self.status {
            send(&[NotifyState::Status(&line)]);
            self.status = line;
            self.status_sent = Some(now);
        }
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!("systemd cannot be told {states:?}: {error}");
    }
}
