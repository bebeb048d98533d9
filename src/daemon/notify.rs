//! sd_notify(3) client. Outside systemd, nothing is sent.

use std::collections::VecDeque;
use std::env;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tracing::{debug, warn};

/// Sends notifications to the service manager, and does not wait for it before the shutdown: what
/// it does not accept yet is queued, what does not fit into the queue is dropped and counted.
pub(super) struct Notifier {
    /// Address of the service manager's socket.
    address: Option<SocketAddr>,
    socket: UnixDatagram,
    queue: VecDeque<String>,
    dropped: u32,
    /// Timeout of the service manager's watchdog, if it is enabled.
    watchdog: Option<Duration>,
    next_ping: Instant,
    status: String,
    next_status: Instant,
}

impl Notifier {
    /// Minimum time between two status notifications: each wakes the service manager.
    const STATUS_PERIOD: Duration = Duration::from_secs(5);

    /// Maximum number of notifications that wait for the service manager.
    const QUEUE: usize = 8;
    /// Timeout of each attempt to send the queue during the shutdown.
    const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

    /// Minimum timeout of the watchdog: a shorter one would keep the main loop busy, and 0 means no
    /// watchdog.
    const MIN_WATCHDOG: Duration = Duration::from_millis(100);

    /// Reads the variables that systemd has set. Fails if no socket can be created.
    pub(super) fn from_environment() -> io::Result<Self> {
        let is_sensible = |timeout: &Duration| *timeout >= Self::MIN_WATCHDOG;
        // A name that begins with `@` is in the abstract namespace (sd_notify(3)).
        let address = env::var_os("NOTIFY_SOCKET").map(|name| match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(name),
        });
        let now = Instant::now();
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            address: address.and_then(Result::ok),
            socket,
            queue: VecDeque::new(),
            dropped: 0,
            watchdog: sd_notify::watchdog_enabled().filter(is_sensible),
            next_ping: now,
            status: String::new(),
            next_status: now,
        })
    }

    /// Reports the beginning of the shutdown. Waits until everything is sent, at most 3 s.
    pub(super) fn stopping(mut self) {
        let timeout = self.socket.set_write_timeout(Some(Self::FLUSH_TIMEOUT));
        if timeout.and_then(|()| self.socket.set_nonblocking(false)).is_ok() {
            self.flush();
        }
        self.send(&NotifyState::Stopping);
    }

    /// Pings the watchdog, three times within its timeout.
    pub(super) fn alive(&mut self, now: Instant) {
        let Some(timeout) = self.watchdog else { return };
        if now >= self.next_ping && self.send(&NotifyState::Watchdog) {
            self.next_ping = now + timeout / 3;
        }
    }

    /// Returns the maximum time between two calls of [`Notifier::alive`].
    pub(super) fn max_interval(&self) -> Duration {
        self.watchdog.map_or(Duration::MAX, |timeout| timeout / 6)
    }

    /// Sends a line for `systemctl status` every 5 s if it differs from the last one.
    pub(super) fn status(&mut self, line: impl FnOnce() -> String, now: Instant) {
        self.flush();
        if now < self.next_status {
            return;
        }
        // A newline would begin another assignment.
        let line = line().replace(char::is_control, " ");
        if line == self.status || self.send(&NotifyState::Status(&line)) {
            self.status = line;
            self.next_status = now + Self::STATUS_PERIOD;
        }
    }

    /// Sends a notification, or queues it. Returns whether there was room.
    pub(super) fn send(&mut self, state: &NotifyState<'_>) -> bool {
        self.flush();
        if self.queue.len() == Self::QUEUE {
            self.dropped += 1;
            return false;
        }
        if self.dropped > 0 {
            warn!("the service manager accepts notifications again; dropped: {}", self.dropped);
            self.dropped = 0;
        }
        self.queue.push_back(format!("{state}\n"));
        self.flush();
        true
    }

    /// Sends what is queued, as far as the service manager accepts it.
    fn flush(&mut self) {
        while let Some(notification) = self.queue.pop_front() {
            let Some(address) = &self.address else { continue };
            match self.socket.send_to_addr(notification.as_bytes(), address) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.queue.push_front(notification);
                    return;
                }
                Err(error) => {
                    debug!("cannot send {notification:?} to the service manager: {error}");
                }
            }
        }
    }
}
