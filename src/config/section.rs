//! Reads the keys of one table.

use std::fmt::Display;

use super::keys::{self, Key, KeyInfo};
use super::node::{Origin, Table};
use super::print::{self, Line};
use super::problem::Problems;

/// Takes values out of a table; collects problems and the lines of the effective configuration.
pub(super) struct Section<'a> {
    /// Name of the sensor, before each message; empty for the top of the file.
    prefix: String,
    table: Table,
    problems: &'a mut Problems,
    lines: Vec<Line>,
}

impl<'a> Section<'a> {
    /// Starts reading the table of a sensor or, without a name, the top of the file.
    pub(super) fn new(name: &str, table: Table, problems: &'a mut Problems) -> Self {
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
        let Some(node) = self.table.remove(name) else {
            return T::default();
        };
        match (key.parse)(&node) {
            Ok(value) => {
                self.lines.push(Line {
                    key: name,
                    value: (key.print)(&value),
                    origin: node.origin,
                });
                value
            }
            Err(invalid) => {
                for message in invalid.messages(&node, expected, key.parse) {
                    self.problem(&node.origin, format_args!("{name}{message}"));
                }
                T::default()
            }
        }
    }

    /// Returns the line of a key whose value was taken and is valid.
    pub(super) fn line(&self, key: &KeyInfo) -> Option<&Line> {
        self.lines.iter().find(|line| line.key == key.name)
    }

    /// Returns the origin of a key whose value was taken and is valid.
    pub(super) fn origin(&self, key: &KeyInfo) -> Option<Origin> {
        Some(self.line(key)?.origin.clone())
    }

    /// Returns whether a key has its default, or is invalid.
    pub(super) fn is_default(&self, key: &KeyInfo) -> bool {
        self.line(key).is_none_or(|line| line.value == key.default)
    }

    /// Returns whether keys were taken and are valid.
    pub(super) fn has(&self, keys: &[KeyInfo]) -> bool {
        keys.iter().all(|key| self.line(key).is_some())
    }

    /// Reports a value that is valid only by itself; `message` continues after the key's name.
    pub(super) fn conflict(&mut self, key: &KeyInfo, message: &str) {
        if let Some(origin) = self.origin(key) {
            self.problem(&origin, format_args!("{}{message}", key.name));
        }
    }

    /// Reports a problem with the table.
    pub(super) fn problem(&mut self, origin: &Origin, message: impl Display) {
        let message = format!("{}{message}", self.prefix);
        self.problems.add(origin, message);
    }

    /// Reports the keys that were not taken, and returns the lines of those that were.
    pub(super) fn finish(mut self) -> Vec<Line> {
        for (key, node) in std::mem::take(&mut self.table) {
            let message = format!("{} {}", print::key(&key), self.unknown(&key));
            self.problem(&node.origin, message);
        }
        self.lines
    }

    fn unknown(&self, key: &str) -> String {
        let is_top = self.prefix.is_empty();
        let [top, sensor]: [Vec<_>; 2] = [
            keys::at_top().map(|key| key.name).collect(),
            keys::in_sensor().map(|key| key.name).collect(),
        ];
        let (known, others, advice) = if is_top {
            (top, sensor, "belongs in a [[sensor]] table")
        } else {
            (sensor, top, "is a key of the daemon; move it above the first [[sensor]]")
        };
        let meant = key.trim().to_ascii_lowercase().replace('-', "_");
        let is_meant = |name: &&&str| meant == ***name || meant == format!("{name}s");
        match (key, known.iter().find(is_meant)) {
            ("config" | "simulate" | "check_config" | "quiet", _) if is_top => {
                "is a flag, not a key".to_owned()
            }
            ("port", _) if is_top => "is a flag, not a key; set listen".to_owned(),
            ("log_level", _) if is_top => "is not a known key; set log".to_owned(),
            _ if others.contains(&key) => advice.to_owned(),
            (_, Some(&"sensor")) => "is not a known key; write [[sensor]]".to_owned(),
            (_, Some(name)) => format!("is not a known key; write {name}"),
            (_, None) => format!("is not a known key; expected one of {}", known.join(", ")),
        }
    }
}
