//! Checks that the listener responds: sends it requests like any other client, but never waits for
//! a response, so that it needs no thread.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::{self, Errno};
use rustix::net::addr::SocketAddrArg;
use rustix::net::{self, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType};

use crate::config::Listen;

/// Requests to the listener, and the time since it last responded.
pub(super) struct HealthCheck {
    /// The connection of the request that has not been answered, unless it failed.
    request: Option<OwnedFd>,
    /// Whether the last request could not be sent for a reason that is not the listener's.
    is_unreachable: bool,
    is_sent: bool,
    is_silent: bool,
    /// Time since the last request, or since the first one that was not answered.
    elapsed: Duration,
    checked: Instant,
}

impl HealthCheck {
    /// Time between two requests.
    const PERIOD: Duration = Duration::from_secs(9);
    /// Time without a response after which the listener is considered dead: with `PERIOD`, and up
    /// to a second until each is noticed, at most 15 s after it stopped responding.
    pub(super) const MAX_SILENCE: Duration = Duration::from_secs(4);
    /// Maximum time that counts between two checks: they are a second apart, unless this process or
    /// the machine was stopped.
    const MAX_STEP: Duration = Duration::from_millis(1_500);

    /// Begins with a request, to a listener that has not responded yet.
    pub(super) fn new() -> Self {
        Self {
            request: None,
            is_unreachable: false,
            is_sent: false,
            is_silent: true,
            elapsed: Duration::ZERO,
            checked: Instant::now(),
        }
    }

    /// Returns the time since a request that has not led to a response or other activity, else
    /// zero. Any HTTP response counts: `allow` may refuse this machine.
    pub(super) fn silence(&mut self, listen: &Listen, is_alive: bool, now: Instant) -> Duration {
        self.elapsed += now.duration_since(self.checked).min(Self::MAX_STEP);
        self.checked = now;
        if is_alive || self.is_answered() {
            self.request = None;
            self.is_silent = false;
        }
        if !self.is_silent && self.elapsed >= Self::PERIOD {
            self.is_silent = true;
            self.elapsed = Duration::ZERO;
        }
        if self.is_silent && self.request.is_none() {
            self.is_unreachable = true;
            self.is_sent = false;
            self.request = addresses(listen).iter().find_map(|address| {
                let error = |error: &Errno| self.is_unreachable &= is_of_this_machine(*error);
                connect(address).inspect_err(error).ok()
            });
        }
        if !self.is_sent {
            self.send();
        }
        if self.is_silent { self.elapsed } else { Duration::ZERO }
    }

    /// Returns whether this process cannot connect to the listener, although other clients may: it
    /// has no loopback interface, or no permission.
    pub(super) fn is_unreachable(&self) -> bool {
        self.request.is_none() && self.is_unreachable
    }

    /// Requests `/health`, which costs the exporter less than `/metrics`.
    fn send(&mut self) {
        const REQUEST: &[u8] = b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n";
        match self.request.as_ref().map(|request| io::write(request, REQUEST)) {
            Some(Ok(_)) => self.is_sent = true,
            // Even to this machine, a connection can take time.
            None | Some(Err(Errno::AGAIN | Errno::INTR)) => {}
            Some(Err(error)) => {
                self.is_unreachable = is_of_this_machine(error);
                self.request = None;
            }
        }
    }

    fn is_answered(&mut self) -> bool {
        let mut response = [0; 1024];
        let Some(request) = self.request.as_ref().filter(|_| self.is_sent) else { return false };
        match io::read(request, &mut response) {
            Ok(length) if response[..length].starts_with(b"HTTP/") => return true,
            Err(Errno::AGAIN | Errno::INTR) => {}
            // The request is sent again.
            Ok(_) | Err(_) => self.request = None,
        }
        false
    }
}

/// Returns whether an error of connecting says nothing about the listener.
fn is_of_this_machine(error: Errno) -> bool {
    matches!(
        error,
        Errno::NETUNREACH
            | Errno::NETDOWN
            | Errno::HOSTUNREACH
            | Errno::ADDRNOTAVAIL
            | Errno::ACCESS
            | Errno::PERM
    )
}

/// Connects without waiting. Fails with [`Errno::AGAIN`] if the queue of a Unix socket is full.
pub(super) fn connect(address: &SocketAddrAny) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(address.address_family(), SocketType::STREAM, flags, None)?;
    match net::connect(&socket, address) {
        Err(error) if error != Errno::INPROGRESS => Err(error),
        _ => Ok(socket),
    }
}

/// Returns the addresses of a listener for local clients: two for `[::]`, as IPv6 may be disabled.
fn addresses(listen: &Listen) -> Vec<SocketAddrAny> {
    match listen {
        Listen::Unix(path) => {
            SocketAddrUnix::new(path).map(|path| path.as_any()).into_iter().collect()
        }
        Listen::Tcp(address) if address.ip().is_unspecified() => {
            let loopback = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()].into_iter();
            let reaching = loopback.filter(|ip: &IpAddr| ip.is_ipv4() || address.is_ipv6());
            reaching.map(|ip| SocketAddr::new(ip, address.port()).as_any()).collect()
        }
        Listen::Tcp(address) => vec![address.as_any()],
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use super::*;

    #[test]
    fn request_waits_for_a_connection_that_takes_time() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        // One connection fills the queue; the kernel resends the next one's packets after a second.
        net::listen(&listener, 0).unwrap();
        let address = listener.local_addr().unwrap();
        let _first = TcpStream::connect(address).unwrap();

        let (mut health, now) = (HealthCheck::new(), Instant::now());
        let mut silence = || {
            health.silence(&Listen::Tcp(address), false, now);
            (health.request.is_some(), health.is_sent, health.is_silent)
        };
        assert_eq!(silence(), (true, false, true));
        assert_eq!(silence(), (true, false, true));
        listener.accept().unwrap();
        let (mut connection, _) = listener.accept().unwrap();
        while silence() != (true, true, true) {
            thread::sleep(Duration::from_millis(5));
        }
        let mut request = [0; 12];
        connection.read_exact(&mut request).unwrap();
        assert_eq!(&request, b"GET /health ");
        connection.write_all(b"HTTP/1.0 200 OK\r\n").unwrap();
        while silence() != (false, true, false) {
            thread::sleep(Duration::from_millis(5));
        }
    }
}
