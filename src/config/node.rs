//! A value as it was written, with its origin.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::printable::escape;

/// Layer that a value comes from, and the place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    File(PathBuf),
    /// Name of an environment variable.
    Environment(String),
    /// A command-line flag, with its dashes.
    Flag(String),
}

impl Origin {
    /// Returns the position of the layer; higher layers override lower ones.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File(_) => 1,
            Self::Environment(_) => 2,
            Self::Flag(_) => 3,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => f.write_str(&one_line(&path.to_string_lossy())),
            Self::Environment(name) => write!(f, "environment {}", one_line(name)),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// Keys and values of a table.
pub(super) type Table = BTreeMap<String, Node>;

/// A value and its origin.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

/// A value before its key's parser has checked it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Text from the environment or a flag. The key's parser decides on its type: `0042` may be
    /// a name.
    Untyped(String),
    /// A TOML string.
    Text(String),
    Integer(i128),
    Float(f64),
    Bool(bool),
    /// A TOML date or time, which no key accepts.
    DateTime,
    List(Vec<Node>),
    Table(Table),
}

impl Node {
    pub(super) fn untyped(text: impl Into<String>, origin: Origin) -> Self {
        Self { origin, value: Value::Untyped(text.into()) }
    }

    pub(super) fn as_table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Untyped(text) => Some(text),
            _ => None,
        }
    }

    /// Returns a whole number; one in quotes in the file is a string.
    pub(super) fn as_integer(&self) -> Option<i128> {
        match &self.value {
            Value::Integer(number) => Some(*number),
            Value::Untyped(text) => integer(text),
            _ => None,
        }
    }
}

/// Parses a decimal number, or a hexadecimal one with `0x`.
pub(super) fn integer(text: &str) -> Option<i128> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(i128::from),
        None => text.parse().ok(),
    }
}

impl fmt::Display for Node {
    /// Writes the value as in the file, shortened and on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Untyped(text) | Value::Text(text) => write!(f, "\"{}\"", one_line(text)),
            Value::Integer(number) => number.fmt(f),
            Value::Float(number) => write!(f, "{number:?}"),
            Value::Bool(yes) => yes.fmt(f),
            Value::DateTime => f.write_str("(a date or time)"),
            Value::List(_) => f.write_str("[...]"),
            Value::Table(_) => f.write_str("{...}"),
        }
    }
}

/// Escapes invisible characters and cuts long text, for a message.
pub(super) fn one_line(text: &str) -> String {
    const MAX_CHARACTERS: usize = 120;
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => escape(&text[..end]) + "...",
        None => escape(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_single_line() {
        let node = Node {
            origin: Origin::File("/tmp/a\nb".into()),
            value: Value::Text("x\r\n\u{1b}[31m".repeat(100)),
        };
        let message = format!("{}: {node}", node.origin);
        assert!(message.starts_with("/tmp/a\\nb: \"x\\r\\n\\u{1b}[31m"));
        assert!(message.ends_with("...\"") && message.len() < 500);
        assert!(!message.contains(char::is_control));
    }

    #[test]
    fn later_layers_rank_higher() {
        let origins = [
            Origin::Default,
            Origin::File("f".into()),
            Origin::Environment("E".into()),
            Origin::Flag("--f".into()),
        ];
        assert!(origins.is_sorted_by(|a, b| a.rank() < b.rank()));
    }
}
