//! What went wrong, in words that a terminal can show.

use std::io::{self, ErrorKind};

/// Of what somebody else wrote, no more is repeated.
const LONGEST_QUOTE: usize = 60;

/// The kernel's words, shortened to those that tell something.
pub(super) fn describe(error: &io::Error) -> String {
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
pub fn quote(words: &str) -> String {
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
