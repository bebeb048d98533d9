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
    /// Timeout of the service manager's watchdog, if it is enabled.
    watchdog: Option<Duration>,
    last_ping: Option<Instant>,
    /// Prefix of each status line.
    prefix: &'static str,
    status: String,
    status_sent: Option<Instant>,
    dropped: u32,
}

impl Notifier {
    /// Minimum time between two status notifications: each wakes the service manager.
    const STATUS_PERIOD: Duration = Duration::from_secs(5);

    /// Maximum number of notifications that wait for the service manager.
    const QUEUE: usize = 8;
    /// Timeout of each attempt to send the queue during the shutdown.
    const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

    /// Reads the variables that systemd has set. The status says so if sensors are simulated.
    ///
    /// # Errors
    /// The kernel's error if no socket can be created.
    pub(super) fn from_environment(is_simulated: bool) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            address: address(),
            socket,
            queue: VecDeque::new(),
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
        let is_recent = |ping| now.duration_since(ping) < timeout / 3;
        if !self.last_ping.is_some_and(is_recent) && self.send(&NotifyState::Watchdog) {
            self.last_ping = Some(now);
        }
    }

    /// Returns the maximum time between two calls of [`Notifier::alive`].
    pub(super) fn max_interval(&self) -> Duration {
        self.watchdog.map_or(Duration::MAX, |timeout| timeout / 6)
    }

    /// Sends a line for `systemctl status` if it differs from the last one, at most every 5 s.
    pub(super) fn status(&mut self, line: impl FnOnce() -> String, now: Instant) {
        self.flush();
        let too_soon = |sent| now.duration_since(sent) < Self::STATUS_PERIOD;
        if self.status_sent.is_some_and(too_soon) {
            return;
        }
        // A newline would begin another assignment.
        let line = format!("{}{}", self.prefix, line()).replace(char::is_control, " ");
        if line != self.status && self.send(&NotifyState::Status(&line)) {
            self.status = line;
            self.status_sent = Some(now);
        }
    }

    /// Sends a notification, or queues it. Returns whether there was room.
    fn send(&mut self, state: &NotifyState<'_>) -> bool {
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

/// Returns the address of the service manager's socket. One that begins with `@` is in the abstract
/// name space (sd_notify(3)).
fn address() -> Option<SocketAddr> {
    let address = env::var_os("NOTIFY_SOCKET")?;
    match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(address),
    }
    .ok()
}

/// Returns whether a watchdog timeout is long enough: a shorter one would keep the main loop busy,
/// and 0 means no watchdog.
fn is_sensible(timeout: &Duration) -> bool {
    *timeout >= Duration::from_millis(100)
}
