//! URLs of exporters, and an HTTP/1.0 client: one `GET` over TCP or a Unix socket, read to its end.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::str::FromStr;
use std::time::{Duration, Instant};

use httparse::Status;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::{Error, quote};
use crate::config::Listen;
use crate::printable::is_invisible;

/// Upper bound on what is kept of a response, in bytes: a thousand sensors send less.
pub(super) const MAX_RESPONSE: usize = 8 << 20;
/// Upper bound on the length of a head, in bytes.
const MAX_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 100;

/// Advice for a scheme that is not supported.
const HTTPS: &str = "https is not supported; forward a local port with `ssh -L \
                     8000:localhost:8000 HOST`, or run a local proxy: see \"Exporters behind a \
                     web server\" in docs/commands.md";

/// URL of an exporter.
#[derive(Clone, Debug, PartialEq, Eq, strum::Display)]
#[expect(missing_docs, reason = "parts of the URL")]
pub enum Url {
    /// The authority is host and port.
    #[strum(to_string = "http://{authority}{path}")]
    Http { authority: String, path: String },
    /// A Unix socket, with the default path of the metrics.
    #[strum(to_string = "unix:{0}")]
    Unix(String),
}

/// The body of a response.
#[derive(Debug, PartialEq, Eq)]
pub struct Body {
    pub(super) text: String,
    /// Whether it was longer: the text ends with the last complete line before the limit.
    pub(super) is_cut: bool,
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self { text, is_cut: false }
    }
}

impl Url {
    /// The exporter's default port, used where only a host is given.
    const PORT: u16 = 8000;
    const PATH: &str = "/metrics";

    /// Returns host and port as in a URL; for a Unix socket its path.
    pub fn authority(&self) -> &str {
        match self {
            Self::Http { authority: text, .. } | Self::Unix(text) => text,
        }
    }

    /// Returns the text that the server responds with, or the beginning of a long one.
    ///
    /// # Errors
    /// [`Error`], within about `timeout` once the name of the host is resolved.
    pub fn get(&self, timeout: Duration) -> Result<Body, Error> {
        let deadline = Instant::now() + timeout;
        let mut stream = self.request(deadline)?;
        let mut body = Vec::new();
        let (head_length, content_length) = loop {
            let at_end = !receive(&mut stream, deadline, &mut body)?;
            if let Some(lengths) = parse_head(&body, at_end)? {
                break lengths;
            }
        };
        body.drain(..head_length);
        // Without a length, the body ends with the connection.
        let length = content_length.unwrap_or(usize::MAX);
        let limit = length.min(MAX_RESPONSE + 1);
        while body.len() < limit && receive(&mut stream, deadline, &mut body)? {}
        let is_cut = body.len() > MAX_RESPONSE && length > MAX_RESPONSE;
        if is_cut {
            body.truncate(MAX_RESPONSE);
            body.truncate(body.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1));
        } else if content_length.is_some() && body.len() < length {
            return Err(Error::TruncatedBody { received: body.len(), length });
        }
        body.truncate(length);
        let text = String::from_utf8(body)
            .map_err(|error| Error::NotText(error.utf8_error().valid_up_to()))?;
        Ok(Body { text, is_cut })
    }

    /// Connects and sends the request. Reads, writes and timeouts are the same system calls for a
    /// Unix socket.
    fn request(&self, deadline: Instant) -> Result<TcpStream, Error> {
        let (mut stream, host, path) = match self {
            Self::Http { authority, path } => {
                (connect(authority, deadline)?, authority.as_str(), path.as_str())
            }
            Self::Unix(path) => (connect_unix(path, deadline)?.into(), "localhost", Self::PATH),
        };
        let request = format!(
            "GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: ina260-exporter/{}\r\n\
             Accept: text/plain\r\n\r\n",
            env!("CARGO_PKG_VERSION"),
        );
        stream.set_write_timeout(Some(remaining(deadline)?))?;
        stream.write_all(request.as_bytes())?;
        Ok(stream)
    }
}

impl From<&Listen> for Url {
    /// Returns the URL of a listener; its host is loopback if it listens on all IPv4 addresses.
    fn from(listen: &Listen) -> Self {
        let mut address = match listen {
            Listen::Tcp(address) => *address,
            Listen::Unix(path) => return Self::Unix(path.display().to_string()),
        };
        if address.ip() == Ipv4Addr::UNSPECIFIED {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        Self::Http { authority: address.to_string(), path: Self::PATH.to_owned() }
    }
}

impl FromStr for Url {
    type Err = String;

    /// Parses `http://HOST[:PORT][/PATH]`, `HOST[:PORT][/PATH]` or `unix:/PATH`.
    fn from_str(text: &str) -> Result<Self, String> {
        let reject =
            |c| Err(format!("{c:?} is not allowed in a URL; use http://HOST:PORT/metrics"));
        // A backslash is part of escaped text.
        if let Some(c) = text.chars().find(|c| is_invisible(*c) || *c == '\\') {
            return reject(c);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let relative = "the path of a Unix socket must be absolute: unix:/PATH";
            let is_absolute = path.starts_with('/');
            return is_absolute.then(|| Self::Unix(path.into())).ok_or(relative.to_owned());
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let default_port = match scheme.to_ascii_lowercase().as_str() {
            "" if rest == text => Self::PORT,
            "http" => 80,
            "https" => return Err(HTTPS.to_owned()),
            other => return Err(format!("{other} is not supported, only http and unix")),
        };
        // A space would end the path in the request, and @ would send a password in the clear.
        if let Some(c) = text.chars().find(|c| [' ', '@'].contains(c)) {
            return reject(c);
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = if path.is_empty() { Self::PATH } else { path };
        // A colon before a closing bracket is part of an IPv6 address.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                let port = port.parse::<NonZeroU16>();
                (host, port.map_err(|_| "the port must be a number from 1 to 65535")?.get())
            }
            _ => (authority, default_port),
        };
        if host.contains(':') && !host.starts_with('[') {
            return Err(format!(
                "an IPv6 address must be in brackets: http://[{authority}]:PORT/metrics"
            ));
        }
        if host.trim_matches(['[', ']']).is_empty() {
            return Err("the host is missing; use http://HOST:PORT/metrics".to_owned());
        }
        Ok(Self::Http { authority: format!("{host}:{port}"), path: path.to_owned() })
    }
}

/// Appends the next part of a response. Returns false at its end.
fn receive(stream: &mut TcpStream, deadline: Instant, received: &mut Vec<u8>) -> io::Result<bool> {
    let mut part = [0; 8 << 10];
    let count = loop {
        stream.set_read_timeout(Some(remaining(deadline)?))?;
        match stream.read(&mut part) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    received.extend_from_slice(&part[..count]);
    Ok(count > 0)
}

/// Connects to the first address that accepts. Each gets its share of the time that is left.
fn connect(authority: &str, deadline: Instant) -> Result<TcpStream, Error> {
    // Without its brackets, an IPv6 address may have a zone (`%eth0`).
    let address = authority.replace(['[', ']'], "");
    let host = address.rsplit_once(':').map_or("", |(host, _)| host);
    let unresolved = |error| Error::Unresolved(host.to_owned(), error);
    let resolved = address.to_socket_addrs().map_err(unresolved)?;
    // Connecting to `[::]` reaches the loopback address, unless IPv6 is disabled.
    let addresses: Vec<SocketAddr> = resolved
        .flat_map(|it| {
            let is_any = it.ip() == Ipv6Addr::UNSPECIFIED;
            [it].into_iter().chain(is_any.then(|| (Ipv4Addr::LOCALHOST, it.port()).into()))
        })
        .collect();
    let mut failure = unresolved(io::Error::other("no addresses"));
    for (address, untried) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let share = remaining(deadline)? / u32::try_from(untried).unwrap_or(u32::MAX);
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}

/// Connects to a Unix socket. `UnixStream` would wait for ever while its queue is full.
fn connect_unix(path: &str, deadline: Instant) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(remaining(deadline)?))?;
    net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Returns the time until the deadline, or an error after it: a timeout cannot be zero.
fn remaining(deadline: Instant) -> io::Result<Duration> {
    let remaining = deadline.saturating_duration_since(Instant::now());
    if remaining.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(remaining) }
}

/// Parses the head of a response. Returns its length and the `Content-Length`; `None` if more is
/// needed. Fails if it is not HTTP, has a status other than 200, or is incomplete and `at_end`.
fn parse_head(received: &[u8], at_end: bool) -> Result<Option<(usize, Option<usize>)>, Error> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(received) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if !at_end && received.len() < MAX_HEAD => return Ok(None),
        _ if received.is_empty() => return Err(Error::NoResponse),
        Ok(Status::Partial) if received.starts_with(b"HTTP/") => return Err(Error::TruncatedHead),
        _ => {
            let line = received.split(|byte| *byte == b'\n').next().unwrap_or_default();
            return Err(Error::NotHttp(quote(&String::from_utf8_lossy(line))));
        }
    };
    let header = |name: &str| {
        let mut headers = response.headers.iter();
        let found = headers.find(|header| header.name.eq_ignore_ascii_case(name))?;
        Some(std::str::from_utf8(found.value).ok()?.trim())
    };
    match response.code.unwrap_or_default() {
        200 => Ok(Some((length, header("Content-Length").and_then(|it| it.parse().ok())))),
        code => Err(Error::Status { code, location: header("Location").map(quote) }),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::thread;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    /// Serves one client: sends `response` whatever it requests; unless `closes`, holds the
    /// connection until the client closes it.
    fn server(response: &'static [u8], closes: bool) -> (Url, thread::JoinHandle<String>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        let serving = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(response).unwrap();
            if !closes {
                let _ = stream.read(&mut byte);
            }
            String::from_utf8(request).unwrap()
        });
        (url.parse().unwrap(), serving)
    }

    fn get(response: &'static [u8], closes: bool) -> Result<String, String> {
        let (url, _serving) = server(response, closes);
        url.get(TIMEOUT).map(|body| body.text).map_err(|error| error.to_string())
    }

    /// Serves one client: sends the head and then `part` until the client closes the connection.
    fn endless(head: &'static [u8], part: Vec<u8>) -> Url {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(head).unwrap();
            while stream.write_all(&part).is_ok() {}
        });
        url
    }

    #[test]
    fn endless_response_is_cut_after_a_line() {
        let line = b"ina260_up{device=\"a\"} 1\n".repeat(1_000);
        for head in [
            &b"HTTP/1.0 200 OK\r\n\r\n"[..],
            b"HTTP/1.0 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n",
        ] {
            let body = endless(head, line.clone()).get(TIMEOUT).unwrap();
            assert!(body.is_cut && body.text.ends_with(" 1\n"));
            assert!((MAX_RESPONSE - 30..=MAX_RESPONSE).contains(&body.text.len()));
            assert!(body.text.capacity() <= 2 * MAX_RESPONSE);
        }
    }

    #[test]
    fn endless_line_is_left_out() {
        let body = endless(b"HTTP/1.0 200 OK\r\n\r\n", vec![b'a'; 1 << 16]).get(TIMEOUT);
        assert_eq!(body.unwrap(), Body { text: String::new(), is_cut: true });
    }

    #[test]
    fn endless_head_is_not_http() {
        let error = endless(b"HTTP/1.0 200 OK\r\n", b"a: b\r\n".repeat(10)).get(TIMEOUT);
        assert_eq!(error.unwrap_err().to_string(), "not an HTTP response: \"HTTP/1.0 200 OK\"");
    }

    #[test]
    fn body_ends_at_its_length_or_with_the_connection() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\nMORE";
        assert_eq!(get(head, false).as_deref(), Ok("a 1\n"));
        let head = b"HTTP/1.0 200 OK\r\n\r\na 1\nb 2\n";
        assert_eq!(get(head, true).as_deref(), Ok("a 1\nb 2\n"));
    }

    #[test]
    fn truncated_body_is_an_error() {
        assert_eq!(
            get(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na 1\n", true).unwrap_err(),
            "connection closed mid-response, after 4 bytes of 9"
        );
    }

    #[test]
    fn requests_are_http_1_0() {
        let (url, serving) = server(b"HTTP/1.0 200 OK\r\n\r\n", true);
        assert_eq!(url.get(TIMEOUT).unwrap(), Body::from(String::new()));
        let request = serving.join().unwrap();
        let start = "GET /x HTTP/1.0\r\nHost: 127.0.0.1:";
        assert!(request.starts_with(start), "{request}");
    }

    #[test]
    fn refusal_and_other_protocols_are_errors() {
        let (url, _serving) = server(b"HTTP/1.1 403 Forbidden\r\n\r\n", false);
        assert!(matches!(url.get(TIMEOUT), Err(Error::Status { code: 403, .. })));
        let (url, _serving) = server(b"SSH-2.0-OpenSSH_9.2\r\n", false);
        assert!(matches!(url.get(TIMEOUT), Err(Error::NotHttp(_))));
    }

    #[test]
    fn silent_server_times_out() {
        let timeout = Duration::from_millis(50);
        let (url, _serving) = server(b"", false);
        let error = url.get(timeout).unwrap_err();
        assert_eq!(error.to_string(), "no response in time");
    }

    #[test]
    fn full_queue_of_a_unix_socket_times_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let _queued = UnixStream::connect(&path).unwrap();
        let url: Url = format!("unix:{}", path.display()).parse().unwrap();
        let error = url.get(Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.to_string(), "no response in time");
    }

    #[test]
    fn body_that_is_not_utf8_is_an_error() {
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na\x1f\x8b";
        let error = get(response, false).unwrap_err();
        assert_eq!(error, "response is not text (invalid UTF-8 at byte 2)");
    }

    #[test]
    fn missing_listener_is_explained() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url: Url = listener.local_addr().unwrap().to_string().parse().unwrap();
        drop(listener);
        let error = url.get(TIMEOUT).unwrap_err();
        assert_eq!(error.to_string(), "connection refused: no program is listening there");
        let url: Url = "unix:/nonexistent/metrics.sock".parse().unwrap();
        let error = url.get(TIMEOUT).unwrap_err();
        assert_eq!(error.to_string(), "no such socket: no program is listening there");
    }

    /// Parses a head that arrives at once, and checks that parsing it byte by byte gives the same.
    fn parse(response: &[u8]) -> Result<(usize, Option<usize>), String> {
        let at_once = parse_head(response, true).map(Option::unwrap);
        let mut ends = 0..response.len();
        let by_bytes = ends.find_map(|end| match parse_head(&response[..end], false) {
            Ok(None) => None,
            Ok(Some(head)) => Some(Ok(head)),
            Err(error) => Some(Err(error)),
        });
        if let Some(by_bytes) = by_bytes {
            assert_eq!(by_bytes.is_ok(), at_once.is_ok());
        }
        at_once.map_err(|error| error.to_string())
    }

    #[test]
    fn head_ends_at_empty_line_and_has_length() {
        let text = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\na 1\nb\nMORE";
        let (head, body) = parse(text.as_bytes()).unwrap();
        assert_eq!(body, Some(6));
        assert_eq!(&text[head..], "a 1\nb\nMORE");
        assert_eq!(parse(b"HTTP/1.0 200 OK\r\n\r\na 1\nb\n"), Ok((19, None)));
    }

    #[test]
    fn unusable_heads_are_described() {
        for (response, message) in [
            ("", "connection closed without a response"),
            ("HTTP/1.1 20", "connection closed mid-response"),
            ("SSH-2.0-OpenSSH_9.2\r\n", "not an HTTP response: \"SSH-2.0-OpenSSH_9.2\""),
            ("\x1b[2J", "not an HTTP response: \"\\u{1b}[2J\""),
            ("HTTP/1.1 404 Not Found\r\n\r\n", "HTTP status 404: wrong path, or another program"),
            (
                "HTTP/1.1 403 Forbidden\r\n\r\n",
                "HTTP status 403: this host is not in any network of the exporter's `allow`",
            ),
            (
                "HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n",
                "HTTP status 302: use \"/login\" instead",
            ),
            (
                "HTTP/1.1 502 Bad Gateway\r\n\r\n",
                "HTTP status 502: the web server cannot reach the exporter",
            ),
            ("HTTP/1.1 500\r\n\r\n", "HTTP status 500"),
        ] {
            let error = parse(response.as_bytes()).unwrap_err();
            assert_eq!(error, message, "{response:?}");
        }
    }

    fn url(text: &str) -> Result<String, String> {
        text.parse::<Url>().map(|url| url.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_exporter() {
        for (given, meant) in [
            ("pi", "http://pi:8000/metrics"),
            ("pi:9000", "http://pi:9000/metrics"),
            ("pi/x", "http://pi:8000/x"),
            ("[fe80::1]", "http://[fe80::1]:8000/metrics"),
            ("[::1]:9", "http://[::1]:9/metrics"),
            ("http://pi", "http://pi:80/metrics"),
            ("HTTP://pi", "http://pi:80/metrics"),
            ("http://pi:8000/", "http://pi:8000/"),
            ("http://pi/a?b=c:d", "http://pi:80/a?b=c:d"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
        ] {
            assert_eq!(url(given).as_deref(), Ok(meant), "{given}");
        }
    }

    #[test]
    fn invalid_urls_are_explained() {
        for (given, wrong) in [
            ("https://pi", "local proxy: see \"Exporters behind a web server\""),
            ("HTTPS://pi", "ssh -L"),
            ("::1", "in brackets: http://[::1]:PORT"),
            ("http://fe80::1/x", "in brackets: http://[fe80::1]:PORT"),
            ("ftp://pi", "ftp is not supported, only http"),
            ("pi:0", "from 1 to 65535"),
            ("pi:65536", "from 1 to 65535"),
            ("pi:", "from 1 to 65535"),
            ("", "host is missing"),
            ("http://:8000", "host is missing"),
            ("http:///metrics", "host is missing"),
            ("pi/a\r\nX: y", "'\\r' is not allowed in a URL"),
            ("pi /x", "' ' is not allowed in a URL"),
            ("user:word@pi", "'@' is not allowed in a URL"),
            ("unix:a.sock", "must be absolute"),
            ("unix:/run/\u{1b}[2J", "'\\u{1b}' is not allowed in a URL"),
            ("http://a\\u{1b}/", "'\\\\' is not allowed in a URL"),
            ("pi\u{202e}4", "'\\u{202e}' is not allowed in a URL"),
        ] {
            let error = url(given).unwrap_err();
            assert!(error.contains(wrong), "{given}: {error}");
        }
    }

    #[test]
    fn url_of_a_listener_reaches_it() {
        for (listen, url) in [
            ("0.0.0.0:9000", "http://127.0.0.1:9000/metrics"),
            ("[::]:8000", "http://[::]:8000/metrics"),
            ("[fe80::1%2]:8000", "http://[fe80::1%2]:8000/metrics"),
            ("192.0.2.1:8000", "http://192.0.2.1:8000/metrics"),
        ] {
            let listen = Listen::Tcp(listen.parse().unwrap());
            assert_eq!(Url::from(&listen).to_string(), url);
        }
        let listen = Listen::Unix("/run/a.sock".into());
        assert_eq!(Url::from(&listen).to_string(), "unix:/run/a.sock");
    }
}
