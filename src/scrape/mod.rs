//! Prometheus client for this program's own metrics: HTTP, the text format, and the sensors in it.
//!
//! The server may be anything. So the time, the lengths of response and lines, and the numbers of
//! series and sensors are bounded, what is left out is reported, and impossible values are ignored.

use std::io::{self, ErrorKind};

use crate::printable::escape;

mod decode;
mod http;
mod text_format;

pub(crate) use decode::LeftOut;
pub use decode::{MAX_SENSORS, Readings, Scrape, ScrapedAlert, ScrapedChip, ScrapedSensor, decode};
pub use http::{Body, Url};

/// Reason why a scrape failed, as a message for a terminal: text of the other program is quoted.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages describe them")]
pub enum Error {
    #[error("cannot resolve {0}: {1}")]
    Unresolved(String, #[source] io::Error),
    #[error("{}", describe(.0))]
    Io(#[from] io::Error),
    #[error("connection closed without a response")]
    NoResponse,
    #[error("connection closed mid-response")]
    TruncatedHead,
    #[error("connection closed mid-response, after {received} bytes of {length}")]
    TruncatedBody { received: usize, length: usize },
    #[error("line {0} of the response is longer than 64 KiB (not an exporter?)")]
    LongLine(usize),
    #[error("not an HTTP response: {0}")]
    NotHttp(String),
    #[error("HTTP status {code}{}", hint(*code, location.as_deref()))]
    Status { code: u16, location: Option<String> },
    #[error("response is not text (invalid UTF-8 at byte {0})")]
    NotText(usize),
    #[error("not metrics but a web page: {0}")]
    WebPage(String),
    #[error("not metrics but JSON: {0}")]
    Json(String),
    #[error("line {0} of the response is not a metric: {1}")]
    Line(usize, String),
    #[error("response ends in the middle of a line")]
    TruncatedLine,
    #[error("response has no metrics")]
    Empty,
    #[error("metrics of another INA260 exporter: ina260_up is missing")]
    OtherExporter,
    #[error("metrics of another program: most of the {count} series are {prefix}_*")]
    OtherProgram { count: usize, prefix: String },
}

/// Returns a message for an I/O error: the kernel's text, or a clearer one.
fn describe(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "no response in time".to_owned(),
        ErrorKind::ConnectionRefused => {
            "connection refused: no program is listening there".to_owned()
        }
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Error::TruncatedHead.to_string(),
        ErrorKind::NotFound => "no such socket: no program is listening there".to_owned(),
        _ => error.to_string(),
    }
}

/// Returns what to do about an HTTP status, after a colon.
fn hint(code: u16, location: Option<&str>) -> String {
    match (code, location) {
        (300..=399, Some(location)) => format!(": use {location} instead"),
        (401, _) => ": a password is required, which is not supported".to_owned(),
        (403, _) => ": this host is not in any network of the exporter's `allow`".to_owned(),
        (404, _) => ": wrong path, or another program".to_owned(),
        (502..=504, _) => ": the web server cannot reach the exporter".to_owned(),
        _ => String::new(),
    }
}

/// Returns another program's text in quotes, shortened and escaped.
fn quote(text: &str) -> String {
    /// Longest excerpt, in characters.
    const MAX: usize = 60;
    let text = text.trim();
    let shown = escape(&text.chars().take(MAX).collect::<String>());
    let rest = if text.chars().nth(MAX).is_some() { "…" } else { "" };
    format!("\"{shown}{rest}\"")
}
