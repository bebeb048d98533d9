//! Reads the keys of one table.

use std::fmt::Display;

use super::Problems;
use super::keys::{self, Key, KeyInfo};
use super::parse::Messages;
use super::value::{Node, Nodes, Origin, quoted_key};
use crate::printable::{columns, padded};

/// One line of the effective configuration.
pub(super) struct Line {
    pub(super) key: &'static str,
    pub(super) value: String,
    pub(super) origin: Origin,
}

/// Prints lines, with the origins as comments in a column of their own.
pub(super) fn print_lines(lines: &[Line]) -> String {
    let setting = |line: &Line| format!("{} = {}", line.key, line.value);
    // A long list of networks does not shift the column.
    let widths = lines.iter().map(|line| columns(&setting(line)));
    let width = widths.filter(|width| *width <= 60).max().unwrap_or_default();
    let commented = |line: &Line| format!("{}  # {}\n", padded(&setting(line), width), line.origin);
    lines.iter().map(commented).collect()
}

/// Takes values out of a table; collects problems and the lines of the effective configuration.
pub(super) struct Section<'a> {
    /// Name of the sensor, before each message; empty for the top of the file.
    prefix: String,
    table: Nodes,
    problems: &'a mut Problems,
    lines: Vec<Line>,
}

impl<'a> Section<'a> {
    /// Starts reading the table of a sensor or, without a name, the top of the file.
    pub(super) fn new(name: &str, table: Nodes, problems: &'a mut Problems) -> Self {
        let prefix = if name.is_empty() { String::new() } else { format!("{name}: ") };
        Self { prefix, table, problems, lines: Vec::new() }
    }

    pub(super) fn contains<T>(&self, key: &Key<T>) -> bool {
        self.table.contains_key(key.info.name)
    }

    /// Returns the value of a key. A missing or invalid value has no line, and a placeholder is
    /// returned; an invalid one is reported.
    pub(super) fn take<T: Default>(&mut self, key: &Key<T>) -> T {
        let KeyInfo { name, expected, .. } = key.info;
        let Some(Node { origin, value }) = self.table.remove(name) else { return T::default() };
        let mut messages = Messages::default();
        let parsed = messages.parse(name, Some(&value), expected, key.parse);
        for message in messages.0 {
            self.problem(&origin, message);
        }
        if let Some(parsed) = &parsed {
            self.lines.push(Line { key: name, value: (key.print)(parsed), origin });
        }
        parsed.unwrap_or_default()
    }

    /// Returns the value of a key with its origin; `None`: it is missing or invalid.
    pub(super) fn take_with_origin<T: Default>(&mut self, key: &Key<T>) -> Option<(T, Origin)> {
        let value = self.take(key);
        Some((value, self.line(&key.info)?.origin.clone()))
    }

    /// Returns the line of a key whose value was taken and is valid.
    pub(super) fn line(&self, key: &KeyInfo) -> Option<&Line> {
        self.lines.iter().find(|line| line.key == key.name)
    }

    /// Returns whether keys were taken and are valid.
    pub(super) fn has(&self, keys: &[KeyInfo]) -> bool {
        keys.iter().all(|key| self.line(key).is_some())
    }

    /// Reports a value that is valid only by itself, unless it is the default; `message` continues
    /// after the key's name.
    pub(super) fn conflict(&mut self, key: &KeyInfo, message: &str) {
        if let Some(line) = self.line(key).filter(|line| line.value != key.default) {
            self.problem(&line.origin.clone(), format_args!("{}{message}", key.name));
        }
    }

    pub(super) fn problem(&mut self, origin: &Origin, message: impl Display) {
        self.problems.add(origin, format_args!("{}{message}", self.prefix));
    }

    /// Reports the keys that were not taken, and returns the lines of those that were.
    pub(super) fn finish(mut self) -> Vec<Line> {
        for (key, node) in std::mem::take(&mut self.table) {
            self.problem(&node.origin, self.unknown(&key));
        }
        self.lines
    }

    fn unknown(&self, key: &str) -> String {
        let is_top = self.prefix.is_empty();
        let top: Vec<_> = keys::at_top().map(|key| key.name).collect();
        let sensor: Vec<_> = keys::in_sensor().map(|key| key.name).collect();
        let (known, others, advice) = if is_top {
            (top, sensor, "belongs in a [[sensor]] table")
        } else {
            (sensor, top, "is a key of the daemon; move it above the first [[sensor]]")
        };
        let meant = key.trim().to_ascii_lowercase().replace('-', "_");
        let is_meant = |name: &&&str| meant == ***name || meant == format!("{name}s");
        let message = match (meant.as_str(), known.iter().find(is_meant)) {
            ("config" | "simulate" | "check_config" | "quiet", _) if is_top => {
                "is a flag, not a key"
            }
            ("port", _) if is_top => "is a flag, not a key; set listen",
            ("log_level", _) if is_top => "is not a known key; set log",
            _ if others.contains(&key) => advice,
            (_, Some(&"sensor")) => "is not a known key; write [[sensor]]",
            (_, Some(name)) => &format!("is not a known key; write {name}"),
            (_, None) => &format!("is not a known key; expected one of {}", known.join(", ")),
        };
        format!("{} {message}", quoted_key(key))
    }
}
