//! A scrape from the client's side: one GET over TCP or a Unix socket, and in words whatever came instead of text.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::config::Listen;
use crate::exposition::reachable;

/// Far more than ten thousand sensors send.
const LONGEST: usize = 64 << 20;
/// Every head of an answer that makes sense here is shorter.
const LONGEST_HEAD: usize = 64 << 10;
const MOST_HEADERS: usize = 100;
/// Of what somebody else wrote, no more is repeated.
const LONGEST_QUOTE: usize = 60;

/// Where to ask, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    place: Place,
    path: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl Url {
    /// The exporter's own, where only a host is given.
    const PORT: u16 = 8000;
    const PATH: &str = "/metrics";
}

impl From<&Listen> for Url {
    fn from(listen: &Listen) -> Self {
        let place = match listen {
            Listen::Tcp(address) => {
                let address = reachable(*address);
                let host = address.ip().to_string();
                let port = address.port();
                Place::Tcp { host, port }
            }
            Listen::Unix(path) => Place::Unix(path.clone()),
        };
        let path = Self::PATH.to_owned();
        Self { place, path }
    }
}

impl FromStr for Url {
    type Err = String;

    /// `http://HOST[:PORT][/PATH]`, `HOST[:PORT]`, or `unix:/PATH`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            if !path.is_absolute() {
                return Err("the path of a Unix socket begins with a slash: unix:/PATH".to_owned());
            }
            let (place, path) = (Place::Unix(path), Self::PATH.to_owned());
            return Ok(Self { place, path });
        }
        if text.starts_with("https://") {
            return Err(
                "https is not spoken here; `ssh -L 8000:localhost:8000 HOST` brings the port \
                        of a host here, as http://localhost:8000/metrics"
                    .to_owned(),
            );
        }
        let (rest, default_port) = match text.split_once("://") {
            Some(("http", rest)) => (rest, 80),
            Some((scheme, _)) => return Err(format!("{scheme} is not http")),
            None => (text, Self::PORT),
        };
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, Self::PATH),
        };
        // Nothing that would end a line of the request, and no password to send around.
        if let Some(c) = text
            .chars()
            .find(|c| c.is_whitespace() || c.is_control() || *c == '@')
        {
            return Err(format!(
                "{c:?} can't be in a URL here: http://HOST:PORT/metrics"
            ));
        }
        // The last colon, unless it is one of an IPv6 address in brackets.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                let port = port.parse().ok().filter(|port| *port > 0);
                (host, port.ok_or("the port is a number from 1 to 65535")?)
            }
            _ => (authority, default_port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("no host: http://HOST:PORT/metrics".to_owned());
        }
        Ok(Self {
            place: Place::Tcp {
                host: host.to_owned(),
                port,
            },
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp { .. } => write!(f, "http://{}{}", self.authority(), self.path),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Url {
    /// Host and port, in the form of a URL; for a socket its path.
    #[must_use]
    pub fn authority(&self) -> String {
        match &self.place {
            Place::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Place::Tcp { host, port } => format!("{host}:{port}"),
            Place::Unix(path) => path.display().to_string(),
        }
    }

    /// Asks, and returns the text of the answer.
    ///
    /// # Errors
    /// A sentence on what stood in the way or what came instead, within about `patience` once the name is resolved.
    pub fn get(&self, patience: Duration) -> Result<String, String> {
        let deadline = Instant::now() + patience;
        let host = match &self.place {
            Place::Tcp { .. } => self.authority(),
            Place::Unix(_) => "localhost".to_owned(),
        };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ina260-exporter/{}\r\nAccept: text/plain\r\nConnection: close\r\n\r\n",
            self.path,
            env!("CARGO_PKG_VERSION"),
        );
        match &self.place {
            Place::Tcp { host, port } => {
                converse(connect(host, *port, deadline)?, &request, deadline)
            }
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).map_err(|error| in_words(&error))?;
                converse(stream, &request, deadline)
            }
        }
    }
}

/// Tries each address of a name, as long as there is time.
fn connect(host: &str, port: u16, deadline: Instant) -> Result<TcpStream, String> {
    let addresses: Vec<_> = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("{host} has no address: {error}"))?
        .collect();
    let mut failure = format!("{host} has no address");
    for (address, untried) in addresses.iter().zip((1..=addresses.len()).rev()) {
        // The first may be one that nobody can reach from here, and the next the right one.
        let share = left(deadline)? / u32::try_from(untried).unwrap_or(u32::MAX);
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = in_words(&error),
        }
    }
    Err(failure)
}

/// What is left of the time, which is never none: that would be no timeout at all.
fn left(deadline: Instant) -> Result<Duration, String> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(in_words(&ErrorKind::TimedOut.into()));
    }
    Ok(left)
}

/// A connection that can be told how long to wait.
trait Stream: Read + Write {
    fn wait_for(&self, time: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn wait_for(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }
}

impl Stream for UnixStream {
    fn wait_for(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }
}

fn converse(mut stream: impl Stream, request: &str, deadline: Instant) -> Result<String, String> {
    let ask = |stream: &mut dyn Stream, left| {
        stream.wait_for(left)?;
        stream.write_all(request.as_bytes())
    };
    ask(&mut stream, left(deadline)?).map_err(|error| in_words(&error))?;
    let mut answer = Vec::new();
    let mut part = vec![0; 16 << 10];
    loop {
        let left = left(deadline)?;
        let read = stream.wait_for(left).and_then(|()| stream.read(&mut part));
        let count = match read {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(in_words(&error)),
        };
        answer.extend_from_slice(&part[..count]);
        if let Some(body) = body(&answer, count == 0)? {
            return String::from_utf8(body).map_err(|error| {
                let at = error.utf8_error().valid_up_to();
                format!("answers with something that is not text, from byte {at} on")
            });
        }
        if answer.len() > LONGEST {
            let mebibytes = LONGEST >> 20;
            return Err(format!("sends more than {mebibytes} MiB: no exporter does"));
        }
    }
}

/// The body of an answer, as soon as it is whole.
fn body(answer: &[u8], at_the_end: bool) -> Result<Option<Vec<u8>>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let length = match head.parse(answer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if !at_the_end && answer.len() < LONGEST_HEAD => {
            return Ok(None);
        }
        _ if answer.is_empty() => return Err("hangs up without an answer".to_owned()),
        Ok(httparse::Status::Partial) if answer.starts_with(b"HTTP/") => {
            return Err("hangs up in the middle of its answer".to_owned());
        }
        _ => {
            let line = answer.split(|byte| *byte == b'\n').next();
            let line = String::from_utf8_lossy(line.unwrap_or_default());
            return Err(format!("answers, but not in HTTP: {}", quote(&line)));
        }
    };
    let header = |name: &str| {
        let mut headers = head.headers.iter();
        let found = headers.find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    let code = head.code.unwrap_or_default();
    if code != 200 {
        let reason = head.reason.unwrap_or_default();
        return Err(refusal(code, reason, header("Location")));
    }
    let body = &answer[length..];
    let cut = |body: &[u8]| {
        format!(
            "hangs up in the middle of its answer, after {} bytes",
            body.len()
        )
    };
    let is_chunked =
        header("Transfer-Encoding").is_some_and(|how| how.eq_ignore_ascii_case("chunked"));
    if is_chunked {
        // Put together once, when its end may have come.
        if !at_the_end && !body.ends_with(b"\r\n\r\n") {
            return Ok(None);
        }
        return match joined(body) {
            None if at_the_end => Err(cut(body)),
            joined => Ok(joined),
        };
    }
    match header("Content-Length").and_then(|length| length.trim().parse::<usize>().ok()) {
        Some(length) if body.len() >= length => Ok(Some(body[..length].to_vec())),
        Some(length) if at_the_end => Err(format!("{} of {length}", cut(body))),
        None if at_the_end => Ok(Some(body.to_vec())),
        _ => Ok(None),
    }
}

/// The chunks of a body (RFC 9112, section 7.1), if the last is there.
fn joined(mut chunked: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(chunked)
        else {
            return None;
        };
        if size == 0 {
            return Some(body);
        }
        let end = start.checked_add(usize::try_from(size).ok()?)?;
        body.extend_from_slice(chunked.get(start..end)?);
        chunked = chunked.get(end..)?.strip_prefix(b"\r\n")?;
    }
}

fn refusal(code: u16, reason: &str, location: Option<&str>) -> String {
    let status = format!("answers {code} {reason}").trim_end().to_owned();
    match (code, location) {
        (300..=399, Some(location)) => format!("{status}: ask {} instead", quote(location)),
        (401, _) => format!("{status}: it wants a password, which can't be given here"),
        (403, _) => format!("{status}: this machine is in no network of its `allow`"),
        (404, _) => format!("{status}: another path, or another program"),
        (502..=504, _) => format!("{status}: a web server is there, the exporter behind it is not"),
        _ => status,
    }
}

/// The kernel's words, shortened to those that tell something.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "does not answer in time".to_owned(),
        ErrorKind::ConnectionRefused => "connection refused: nobody listens there".to_owned(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            "hangs up in the middle of its answer".to_owned()
        }
        ErrorKind::NotFound => "no such socket: nobody listens there".to_owned(),
        _ => error.to_string(),
    }
}

/// Somebody else's words in quotes, without what a terminal would obey, and not too many of them.
pub(super) fn quote(words: &str) -> String {
    let words = words.trim();
    let shown: String = words
        .chars()
        .take(LONGEST_QUOTE)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    let rest = if words.chars().nth(LONGEST_QUOTE).is_some() {
        "…"
    } else {
        ""
    };
    format!("\"{shown}{rest}\"")
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn url(text: &str) -> Result<String, String> {
        text.parse::<Url>().map(|url| url.to_string())
    }

    #[test]
    fn a_host_alone_is_that_of_an_exporter() {
        for (given, meant) in [
            ("pi", "http://pi:8000/metrics"),
            ("pi:9000", "http://pi:9000/metrics"),
            ("pi/x", "http://pi:8000/x"),
            ("[fe80::1]", "http://[fe80::1]:8000/metrics"),
            ("[::1]:9", "http://[::1]:9/metrics"),
            ("http://pi", "http://pi:80/metrics"),
            ("http://pi:8000/", "http://pi:8000/"),
            ("http://pi/a?b=c:d", "http://pi:80/a?b=c:d"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
        ] {
            assert_eq!(url(given).as_deref(), Ok(meant), "{given}");
        }
    }

    #[test]
    fn what_is_no_url_is_told_what_is_wrong_with_it() {
        for (given, wrong) in [
            ("https://pi", "ssh -L"),
            ("ftp://pi", "ftp is not http"),
            ("pi:0", "from 1 to 65535"),
            ("pi:65536", "from 1 to 65535"),
            ("pi:", "from 1 to 65535"),
            ("", "no host"),
            ("http://:8000", "no host"),
            ("http:///metrics", "no host"),
            ("pi/a\r\nX: y", "'\\r' can't be in a URL"),
            ("pi /x", "' ' can't be in a URL"),
            ("user:word@pi", "'@' can't be in a URL"),
            ("unix:a.sock", "begins with a slash"),
        ] {
            let said = url(given).unwrap_err();
            assert!(said.contains(wrong), "{given}: {said}");
        }
    }

    #[test]
    fn the_configured_listener_is_asked_at_loopback() {
        let listen = Listen::Tcp("0.0.0.0:9000".parse().unwrap());
        assert_eq!(
            Url::from(&listen).to_string(),
            "http://127.0.0.1:9000/metrics"
        );
        let listen = Listen::Unix("/run/a.sock".into());
        assert_eq!(Url::from(&listen).to_string(), "unix:/run/a.sock");
    }

    /// What becomes of an answer that comes byte by byte, and of one that comes at once.
    fn answered(answer: &[u8]) -> Result<String, String> {
        let whole = |answer| body(answer, true).map(|body| body.unwrap());
        let at_once = whole(answer);
        let mut by_bytes = None;
        for end in 0..answer.len() {
            match body(&answer[..end], false) {
                Ok(None) => {}
                done => {
                    by_bytes = Some(done.map(Option::unwrap));
                    break;
                }
            }
        }
        if let Some(by_bytes) = by_bytes {
            assert_eq!(by_bytes.is_ok(), at_once.is_ok());
        }
        at_once.map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn an_answer_is_whole_by_its_length_its_last_chunk_or_its_end() {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\na 1\nb\nMORE",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n2;x=y\r\nb\n\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\na 1\nb\n",
        ] {
            assert_eq!(
                answered(answer.as_bytes()).as_deref(),
                Ok("a 1\nb\n"),
                "{answer}"
            );
        }
    }

    #[test]
    fn what_is_no_whole_answer_is_said() {
        for (answer, said) in [
            ("", "hangs up without an answer"),
            ("HTTP/1.1 20", "hangs up in the middle of its answer"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na 1\n",
                "hangs up in the middle of its answer, after 4 bytes of 9",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n",
                "hangs up in the middle of its answer, after 9 bytes",
            ),
            (
                "SSH-2.0-OpenSSH_9.2\r\n",
                "answers, but not in HTTP: \"SSH-2.0-OpenSSH_9.2\"",
            ),
            ("\x1b[2J", "answers, but not in HTTP: \"\u{fffd}[2J\""),
            (
                "HTTP/1.1 404 Not Found\r\n\r\n",
                "answers 404 Not Found: another path, or another program",
            ),
            (
                "HTTP/1.1 403 Forbidden\r\n\r\n",
                "answers 403 Forbidden: this machine is in no network of its `allow`",
            ),
            (
                "HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n",
                "answers 302 Found: ask \"/login\" instead",
            ),
            ("HTTP/1.1 500\r\n\r\n", "answers 500"),
        ] {
            assert_eq!(
                answered(answer.as_bytes()),
                Err(said.to_owned()),
                "{answer:?}"
            );
        }
    }

    /// A server for one client, which gets `answer` to whatever it asks, and is held until the test is over.
    fn server(answer: &'static [u8]) -> (Url, thread::JoinHandle<String>) {
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
            stream.write_all(answer).unwrap();
            // Until the client hangs up.
            let _ = stream.read(&mut byte);
            String::from_utf8(request).unwrap()
        });
        (url.parse().unwrap(), serving)
    }

    #[test]
    fn an_answer_of_a_server_that_does_not_hang_up_is_read_to_its_length() {
        let (url, serving) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\n");
        assert_eq!(url.get(PATIENCE).as_deref(), Ok("a 1\n"));
        let request = serving.join().unwrap();
        assert!(
            request.starts_with("GET /x HTTP/1.1\r\nHost: 127.0.0.1:"),
            "{request}"
        );
    }

    #[test]
    fn a_server_that_says_nothing_is_not_waited_for_long() {
        let (url, _serving) = server(b"");
        let said = url.get(Duration::from_millis(50));
        assert_eq!(said, Err("does not answer in time".to_owned()));
    }

    #[test]
    fn bytes_that_are_no_text_are_said_to_be_none() {
        let (url, _serving) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na\x1f\x8b");
        let said = url.get(PATIENCE).unwrap_err();
        assert_eq!(
            said,
            "answers with something that is not text, from byte 2 on"
        );
    }

    #[test]
    fn nobody_at_a_port_or_a_socket_is_said_so() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url: Url = listener.local_addr().unwrap().to_string().parse().unwrap();
        drop(listener);
        let said = url.get(PATIENCE).unwrap_err();
        assert_eq!(said, "connection refused: nobody listens there");
        let url: Url = "unix:/nonexistent/metrics.sock".parse().unwrap();
        assert_eq!(
            url.get(PATIENCE).unwrap_err(),
            "no such socket: nobody listens there"
        );
    }
}
