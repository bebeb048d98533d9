//! sd_notify(3) client. Outside systemd, nothing is sent.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tracing::debug;

/// Sends notifications to the service manager.
pub(super) struct Notifier {
    /// Timeout of the service manager's watchdog, if it is enabled.
    watchdog: Option<Duration>,
    last_ping: Option<Instant>,
    /// Prefix of each status line.
    prefix: &'static str,
    status: String,
    status_sent: Option<Instant>,
}

impl Notifier {
    /// Minimum time between two status notifications.
    const STATUS_PERIOD: Duration = Duration::from_secs(1);

    /// Reads the variables that systemd has set. The status says so if sensors are simulated.
    pub(super) fn from_environment(is_simulated: bool) -> Self {
        Self {
            watchdog: sd_notify::watchdog_enabled(),
            last_ping: None,
            prefix: if is_simulated { "simulated: " } else { "" },
            status: String::new(),
            status_sent: None,
        }
    }

    /// Reports the end of start-up.
    pub(super) fn ready() {
        send(&[NotifyState::Ready]);
    }

    /// Reports the beginning of the shutdown.
    pub(super) fn stopping() {
        send(&[NotifyState::Stopping]);
    }

    /// Pings the watchdog, three times within its timeout.
    pub(super) fn alive(&mut self, now: Instant) {
        let Some(timeout) = self.watchdog else { return };
        let is_recent = |ping| now.duration_since(ping) < timeout / 3;
        if !self.last_ping.is_some_and(is_recent) {
            send(&[NotifyState::Watchdog]);
            self.last_ping = Some(now);
        }
    }

    /// Returns the maximum time between two calls of [`Notifier::alive`].
    pub(super) fn max_interval(&self) -> Duration {
        self.watchdog.map_or(Duration::MAX, |timeout| timeout / 6)
    }

    /// Sends a line for `systemctl status` if it differs from the last one, at most once a second.
    pub(super) fn status(&mut self, line: &str, now: Instant) {
        let too_soon = |sent| now.duration_since(sent) < Self::STATUS_PERIOD;
        if self.status_sent.is_some_and(too_soon) {
            return;
        }
        // A newline would begin another assignment.
        let line = format!("{}{line}", self.prefix).replace(char::is_control, " ");
        if line != self.status {
            send(&[NotifyState::Status(&line)]);
            self.status = line;
            self.status_sent = Some(now);
        }
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!("cannot notify the service manager of {states:?}: {error}");
    }
}
