//! A scrape from the client's side: one GET over TCP or a Unix socket, and in words whatever came instead of text.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::describe::describe;
use super::response::body;
use super::url::{Endpoint, Url};

/// Far more than ten thousand sensors send.
const LONGEST: usize = 64 << 20;

impl Url {
    /// Asks, and returns the text of the answer.
    ///
    /// # Errors
    /// A sentence on what stood in the way or what came instead, within about `patience` once the name is resolved.
    pub fn get(&self, patience: Duration) -> Result<String, String> {
        let deadline = Instant::now() + patience;
        let host = match &self.endpoint {
            Endpoint::Tcp { .. } => self.authority(),
            Endpoint::Unix(_) => "localhost".to_owned(),
        };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ina260-exporter/{}\r\nAccept: text/plain\r\nConnection: close\r\n\r\n",
            self.path,
            env!("CARGO_PKG_VERSION"),
        );
        match &self.endpoint {
            Endpoint::Tcp { host, port } => {
                converse(connect(host, *port, deadline)?, &request, deadline)
            }
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path).map_err(|error| describe(&error))?;
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
            Err(error) => failure = describe(&error),
        }
    }
    Err(failure)
}

/// What is left of the time, which is never none: that would be no timeout at all.
fn left(deadline: Instant) -> Result<Duration, String> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(describe(&ErrorKind::TimedOut.into()));
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
    ask(&mut stream, left(deadline)?).map_err(|error| describe(&error))?;
    let mut answer = Vec::new();
    let mut part = vec![0; 16 << 10];
    loop {
        let left = left(deadline)?;
        let read = stream.wait_for(left).and_then(|()| stream.read(&mut part));
        let count = match read {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(describe(&error)),
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

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
