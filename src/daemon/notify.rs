//! sd_notify(3) client. Outside systemd, nothing is sent.

use std::io;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tracing::{debug, warn};

/// Sends notifications to the service manager. A thread waits for it; what does not fit into the
/// queue to this thread is dropped and counted.
pub(super) struct Notifier {
    thread: Option<NotifyThread>,
    /// Timeout of the service manager's watchdog, if it is enabled.
    watchdog: Option<Duration>,
    last_ping: Option<Instant>,
    /// Prefix of each status line.
    prefix: &'static str,
    status: String,
    status_sent: Option<Instant>,
    dropped: u32,
}

/// The queue of notifications, and a channel that is closed when all of them are sent.
struct NotifyThread {
    queue: SyncSender<String>,
    ended: Receiver<()>,
}

impl Notifier {
    /// Minimum time between two status notifications.
    const STATUS_PERIOD: Duration = Duration::from_secs(1);

    /// Notifications that wait for the service manager.
    const QUEUE: usize = 8;
    /// Longest wait for the service manager at the end.
    const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

    /// Reads the variables that systemd has set. The status says so if sensors are simulated.
    ///
    /// # Errors
    /// The kernel's error if the thread cannot be created.
    pub(super) fn from_environment(is_simulated: bool) -> io::Result<Self> {
        let is_supervised = std::env::var_os("NOTIFY_SOCKET").is_some();
        Ok(Self {
            thread: is_supervised.then(NotifyThread::start).transpose()?,
            watchdog: sd_notify::watchdog_enabled().filter(is_sensible),
            last_ping: None,
            prefix: if is_simulated { "simulated: " } else { "" },
            status: String::new(),
            status_sent: None,
            dropped: 0,
        })
    }

    /// Reports the end of start-up.
    pub(super) fn ready(&mut self) {
        self.send(&NotifyState::Ready);
    }

    /// Reports the beginning of the shutdown. Waits until everything is sent, for at most a second.
    pub(super) fn stopping(mut self) {
        self.send(&NotifyState::Stopping);
        if let Some(NotifyThread { queue, ended }) = self.thread {
            drop(queue);
            let _ = ended.recv_timeout(Self::FLUSH_TIMEOUT);
        }
    }

    /// Pings the watchdog, three times within its timeout.
    pub(super) fn alive(&mut self, now: Instant) {
        let Some(timeout) = self.watchdog else { return };
        let is_recent = |ping| now.duration_since(ping) < timeout / 3;
        if !self.last_ping.is_some_and(is_recent) && self.send(&NotifyState::Watchdog) {
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
        if line != self.status && self.send(&NotifyState::Status(&line)) {
            self.status = line;
            self.status_sent = Some(now);
        }
    }

    /// Queues a notification. Returns whether there was room.
    fn send(&mut self, state: &NotifyState<'_>) -> bool {
        let Some(thread) = &self.thread else { return true };
        if thread.queue.try_send(state.to_string()).is_err() {
            self.dropped += 1;
            return false;
        }
        if self.dropped > 0 {
            warn!("the service manager accepts notifications again; {} were dropped", self.dropped);
            self.dropped = 0;
        }
        true
    }
}

impl NotifyThread {
    fn start() -> io::Result<Self> {
        let (queue, notifications) = mpsc::sync_channel::<String>(Notifier::QUEUE);
        let (end, ended) = mpsc::channel();
        thread::Builder::new().name("notify".to_owned()).spawn(move || {
            for notification in notifications {
                if let Err(error) = sd_notify::notify(&[NotifyState::Custom(&notification)]) {
                    debug!("cannot send {notification:?} to the service manager: {error}");
                }
            }
            drop(end);
        })?;
        Ok(Self { queue, ended })
    }
}

/// Returns whether a watchdog timeout would not keep the main loop busy; 0 is no watchdog.
fn is_sensible(timeout: &Duration) -> bool {
    *timeout >= Duration::from_millis(100)
}
