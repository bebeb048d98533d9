//! Prints values as TOML, so that parsing them again gives the same value.

use std::fmt::Display;
use std::time::Duration;

use super::duration;
use super::node::{Origin, one_line};

/// One line of the effective configuration.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) key: &'static str,
    pub(super) value: String,
    pub(super) origin: Origin,
}

/// Prints lines, with the origins as comments in a column of their own.
pub(super) fn lines(lines: &[Line]) -> String {
    let setting = |line: &Line| format!("{} = {}", line.key, line.value);
    // A long list of networks does not shift the column.
    let widths = lines.iter().map(|line| setting(line).len());
    let width = widths.filter(|width| *width <= 60).max().unwrap_or_default();
    let commented = |line: &Line| format!("{:width$}  # {}\n", setting(line), line.origin);
    lines.iter().map(commented).collect::<Vec<_>>().concat()
}

/// Prints a string. Parsers reject control characters in values.
pub(super) fn quoted(text: &(impl Display + ?Sized)) -> String {
    let text = text.to_string();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

pub(super) fn list<T>(items: &[T], print: fn(&T) -> String) -> String {
    let items: Vec<String> = items.iter().map(print).collect();
    format!("[{}]", items.join(", "))
}

/// Prints a value, or a word if there is none.
pub(super) fn value_or<T>(word: &str, value: Option<&T>, print: fn(&T) -> String) -> String {
    value.map_or_else(|| quoted(word), print)
}

/// Prints a number with a point or an exponent, as a float.
pub(super) fn number(number: &f64) -> String {
    format!("{number:?}")
}

pub(super) fn bound(watts: &f64) -> String {
    number(watts).trim_end_matches(".0").to_owned()
}

pub(super) fn duration(duration: &Duration) -> String {
    quoted(&duration::write(*duration))
}

/// Prints a key for a message.
pub(super) fn key(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(is_bare) {
        one_line(key)
    } else {
        format!("\"{}\"", one_line(key))
    }
}
