//! sd_notify(3) client. Outside systemd, nothing is sent.

use std::env;
use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

/// Sends notifications to the service manager. None of them waits for it: what it does not accept
/// is dropped and counted.
pub(super) struct Notifier {
    service_manager: Option<(UnixDatagram, SocketAddr)>,
    /// Timeout of the service manager's watchdog, if it is enabled.
    watchdog: Option<Duration>,
    last_ping: Option<Instant>,
    /// Prefix of each status line.
    prefix: &'static str,
    status: String,
    status_sent: Option<Instant>,
    /// Whether the end of start-up is still to be reported.
    is_ready_unsent: bool,
    dropped: u32,
}

impl Notifier {
    /// Minimum time between two status notifications.
    const STATUS_PERIOD: Duration = Duration::from_secs(1);

    /// Reads the variables that systemd has set. The status says so if sensors are simulated.
    pub(super) fn from_environment(is_simulated: bool) -> Self {
        let [timeout, pid] = ["WATCHDOG_USEC", "WATCHDOG_PID"].map(|name| env::var(name).ok());
        Self {
            service_manager: env::var_os("NOTIFY_SOCKET").and_then(connect),
            watchdog: watchdog_timeout(timeout.as_deref(), pid.as_deref()),
            last_ping: None,
            prefix: if is_simulated { "simulated: " } else { "" },
            status: String::new(),
            status_sent: None,
            is_ready_unsent: false,
            dropped: 0,
        }
    }

    /// Reports the end of start-up. If it is not accepted, it is sent again with the next
    /// notification.
    pub(super) fn ready(&mut self) {
        self.is_ready_unsent = true;
        self.send("");
    }

    /// Reports the beginning of the shutdown.
    pub(super) fn stopping(&mut self) {
        self.send("STOPPING=1");
    }

    /// Pings the watchdog, three times within its timeout.
    pub(super) fn alive(&mut self, now: Instant) {
        let Some(timeout) = self.watchdog else { return };
        let is_recent = |ping| now.duration_since(ping) < timeout / 3;
        if !self.last_ping.is_some_and(is_recent) && self.send("WATCHDOG=1") {
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
        if line != self.status && self.send(&format!("STATUS={line}")) {
            self.status = line;
            self.status_sent = Some(now);
        }
    }

    /// Sends an assignment. Returns whether it was accepted.
    fn send(&mut self, assignment: &str) -> bool {
        let Some((socket, address)) = &self.service_manager else { return true };
        let ready = if self.is_ready_unsent { "READY=1\n" } else { "" };
        let message = format!("{ready}{assignment}");
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            debug!("cannot notify the service manager of {message:?}: {error}");
            self.dropped += 1;
            return false;
        }
        self.is_ready_unsent = false;
        if self.dropped > 0 {
            warn!("the service manager accepts notifications again; {} dropped", self.dropped);
            self.dropped = 0;
        }
        true
    }
}

/// Returns a socket whose sends do not block, and the address of the service manager: a path, or
/// with a leading `@` an abstract name.
fn connect(name: OsString) -> Option<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    Some((socket, address.ok()?))
}

/// Returns the watchdog's timeout from the values of `WATCHDOG_USEC` and `WATCHDOG_PID`, see
/// sd_watchdog_enabled(3). Without a number, or with one that would keep the main loop busy, there
/// is no watchdog.
fn watchdog_timeout(microseconds: Option<&str>, pid: Option<&str>) -> Option<Duration> {
    const MIN: Duration = Duration::from_millis(100);
    let is_for_this_process = pid.is_none_or(|pid| pid == std::process::id().to_string());
    let timeout = Duration::from_micros(microseconds?.parse().ok()?);
    (is_for_this_process && timeout >= MIN).then_some(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_watchdog_timeouts_are_ignored() {
        let absurd = ["0", "1", "99999", "", "-1", "1e6", "30s", "18446744073709551616"];
        for microseconds in absurd {
            assert_eq!(watchdog_timeout(Some(microseconds), None), None, "{microseconds:?}");
        }
        assert_eq!(watchdog_timeout(None, None), None);
        let timeout = Some(Duration::from_secs(30));
        assert_eq!(watchdog_timeout(Some("30000000"), None), timeout);
        let own = std::process::id().to_string();
        assert_eq!(watchdog_timeout(Some("30000000"), Some(&own)), timeout);
        assert_eq!(watchdog_timeout(Some("30000000"), Some("1")), None);
        let longest = watchdog_timeout(Some("18446744073709551615"), None);
        assert_eq!(longest, Some(Duration::from_micros(u64::MAX)));
    }

    fn notifier(socket: &std::path::Path) -> Notifier {
        let service_manager = connect(socket.as_os_str().to_owned());
        Notifier { service_manager, ..Notifier::from_environment(false) }
    }

    #[test]
    fn ready_is_sent_once_an_unread_socket_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut notifier = notifier(&path);
        while notifier.send("STATUS=fills the socket") {}
        notifier.ready();
        assert_eq!((notifier.is_ready_unsent, notifier.dropped), (true, 2));
        let mut buffer = [0; 100];
        while socket.recv(&mut buffer).is_ok() {}
        notifier.status("a: 12 V", Instant::now());
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1\nSTATUS=a: 12 V");
        assert_eq!((notifier.is_ready_unsent, notifier.dropped), (false, 0));
    }
}
