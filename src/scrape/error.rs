//! Reasons why a scrape failed, as sentences that a terminal can show.

use std::io::{self, ErrorKind};

/// Longest excerpt of another program's text in a message, in characters.
const MAX_QUOTE: usize = 60;

/// Reason why a scrape failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name of the host has no address.
    #[error("cannot resolve {host}: {source}")]
    Unresolved {
        /// The host of the URL.
        host: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// The connection could not be opened, or a transfer failed or timed out.
    #[error("{}", describe(.0))]
    Io(#[from] io::Error),
    /// The server closed the connection before it sent anything.
    #[error("connection closed without a response")]
    NoResponse,
    /// The server closed the connection within the head of the response.
    #[error("connection closed mid-response")]
    TruncatedHead,
    /// The server closed the connection within the body.
    #[error("connection closed mid-response, after {received} bytes of {length}")]
    TruncatedBody {
        /// Bytes of the body that were received.
        received: usize,
        /// The `Content-Length`.
        length: usize,
    },
    /// The response is longer than any exporter's.
    #[error("response is longer than {0} MiB, which no exporter sends")]
    TooLong(usize),
    /// The server does not speak HTTP; holds the first line.
    #[error("not an HTTP response: {}", quote(.0))]
    NotHttp(String),
    /// The body is encoded, which HTTP/1.0 does not allow; holds the `Transfer-Encoding`.
    #[error("response to HTTP/1.0 has the transfer encoding {}", quote(.0))]
    Encoded(String),
    /// The HTTP status is not 200.
    #[error("{}", describe_status(*code, location.as_deref()))]
    Status {
        /// The status code.
        code: u16,
        /// The `Location` header.
        location: Option<String>,
    },
    /// The body is not UTF-8; holds the number of valid bytes.
    #[error("response is not text, from byte {0} on")]
    NotText(usize),
    /// The body is a web page; holds its title or its beginning.
    #[error("not metrics but a web page: {}", quote(.0))]
    WebPage(String),
    /// The body is JSON; holds its beginning.
    #[error("not metrics but JSON: {}", quote(.0))]
    Json(String),
    /// A line of the body is not in the text format.
    #[error("line {number} of the response is not a metric: {}", quote(text))]
    Line {
        /// The number of the line, from 1.
        number: usize,
        /// The line.
        text: String,
    },
    /// The last line of the body has no end.
    #[error("response ends in the middle of a line")]
    TruncatedLine,
    /// The body has no series.
    #[error("response has no metrics")]
    Empty,
    /// The metrics are those of another INA260 exporter.
    #[error("metrics of the Python script or of another INA260 exporter: ina260_up is missing")]
    OtherExporter,
    /// The metrics are those of another program.
    #[error("metrics of another program: most of the {count} series are {prefix}_*")]
    OtherProgram {
        /// The number of series.
        count: usize,
        /// The most frequent first word of their names.
        prefix: String,
    },
}

/// Returns a message for an I/O error, with its meaning where the kernel's text has none.
fn describe(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "no response in time".to_owned(),
        ErrorKind::ConnectionRefused => "connection refused: no program listens there".to_owned(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Error::TruncatedHead.to_string(),
        ErrorKind::NotFound => "no such socket: no program listens there".to_owned(),
        _ => error.to_string(),
    }
}

fn describe_status(code: u16, location: Option<&str>) -> String {
    let hint = match (code, location) {
        (300..=399, Some(location)) => format!(": use {} instead", quote(location)),
        (401, _) => ": a password is required, which is not supported".to_owned(),
        (403, _) => ": this host is in no network of the exporter's `allow`".to_owned(),
        (404, _) => ": wrong path, or another program".to_owned(),
        (502..=504, _) => ": the web server cannot reach the exporter".to_owned(),
        _ => String::new(),
    };
    format!("HTTP status {code}{hint}")
}

/// Returns another program's text in quotes, shortened and without control characters.
#[must_use]
pub fn quote(text: &str) -> String {
    let text = text.trim();
    let shown: String = text
        .chars()
        .take(MAX_QUOTE)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    let rest = if text.chars().nth(MAX_QUOTE).is_some() {
        "…"
    } else {
        ""
    };
    format!("\"{shown}{rest}\"")
}
