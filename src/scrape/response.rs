//! The head of an HTTP response.

use super::Error;

/// Upper bound on the length of a head, in bytes.
const MAX_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 100;

/// Status of a response, and how its body is delimited.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    status: u16,
    location: Option<String>,
    /// Index of the first byte of the body.
    pub(super) body_start: usize,
    /// Length of the body; `None`: it ends with the connection.
    pub(super) content_length: Option<usize>,
}

impl Head {
    /// Parses the head at the start of what was received. Returns `None` if more is needed.
    ///
    /// # Errors
    /// Not HTTP, or `at_end` of the connection and incomplete.
    pub(super) fn parse(received: &[u8], at_end: bool) -> Result<Option<Self>, Error> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let body_start = match response.parse(received) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if !at_end && received.len() < MAX_HEAD => {
                return Ok(None);
            }
            _ if received.is_empty() => return Err(Error::NoResponse),
            Ok(httparse::Status::Partial) if received.starts_with(b"HTTP/") => {
                return Err(Error::TruncatedHead);
            }
            _ => {
                let line = received.split(|byte| *byte == b'\n').next();
                let line = String::from_utf8_lossy(line.unwrap_or_default());
                return Err(Error::NotHttp(line.into_owned()));
            }
        };
        let header = |name: &str| {
            let mut headers = response.headers.iter();
            let found = headers.find(|header| header.name.eq_ignore_ascii_case(name))?;
            Some(std::str::from_utf8(found.value).ok()?.trim().to_owned())
        };
        Ok(Some(Self {
            status: response.code.unwrap_or_default(),
            location: header("Location"),
            body_start,
            content_length: header("Content-Length").and_then(|length| length.parse().ok()),
        }))
    }

    /// Returns an error unless the status is 200.
    pub(super) fn check(self) -> Result<Self, Error> {
        match self.status {
            200 => Ok(self),
            code => Err(Error::Status { code, location: self.location }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses a head that arrives at once, and checks that parsing it byte by byte gives the same.
    fn parse(response: &[u8]) -> Result<Head, String> {
        let at_once = Head::parse(response, true).map(Option::unwrap);
        let mut ends = 0..response.len();
        let by_bytes = ends.find_map(|end| match Head::parse(&response[..end], false) {
            Ok(None) => None,
            Ok(Some(head)) => Some(Ok(head)),
            Err(error) => Some(Err(error)),
        });
        if let Some(by_bytes) = by_bytes {
            assert_eq!(by_bytes.is_ok(), at_once.is_ok());
        }
        at_once.and_then(Head::check).map_err(|error| error.to_string())
    }

    #[test]
    fn head_ends_at_empty_line_and_has_length() {
        let text = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\na 1\nb\nMORE";
        let head = parse(text.as_bytes()).unwrap();
        assert_eq!(head.content_length, Some(6));
        assert_eq!(&text[head.body_start..], "a 1\nb\nMORE");
        let head = parse(b"HTTP/1.0 200 OK\r\n\r\na 1\nb\n").unwrap();
        assert_eq!((head.content_length, head.body_start), (None, 19));
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
}
