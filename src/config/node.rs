//! A value as somebody wrote it, with the place where it was written.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Which layer, and where in it, a value came from. A later layer wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// Built in.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

impl Origin {
    /// Of two values with an equal rank none wins: they stand in one layer.
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

/// The only key of what the TOML reader makes of a date or time.
const DATE_OR_TIME: &str = "$__toml_private_datetime";

/// The keys of a table.
pub(super) type Table = BTreeMap<String, Node>;

/// A value and its origin.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

/// What a value is before anybody knows what it should be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// From the environment or a flag: the key that reads it decides what it is, so that `0042` can be a name.
    Untyped(String),
    /// A string of the file.
    Text(String),
    Integer(i128),
    Float(f64),
    Bool(bool),
    List(Vec<Node>),
    Table(Table),
}

impl Node {
    /// A table that somebody wrote; the TOML reader hands out what has no type of its own here as one, too.
    pub(super) fn as_table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) if !table.contains_key(DATE_OR_TIME) => Some(table),
            _ => None,
        }
    }
}

impl fmt::Display for Node {
    /// As it was written, short and on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Untyped(text) | Value::Text(text) => write!(f, "\"{}\"", one_line(text)),
            Value::Integer(number) => number.fmt(f),
            Value::Float(number) => write!(f, "{number:?}"),
            Value::Bool(yes) => yes.fmt(f),
            Value::List(_) => f.write_str("[...]"),
            Value::Table(_) if self.as_table().is_none() => f.write_str("(a date or time)"),
            Value::Table(_) => f.write_str("{...}"),
        }
    }
}

/// Text for a message, which is one line and has an end: control characters are escaped, the rest of it is cut.
pub(super) fn one_line(text: &str) -> String {
    const LONGEST: usize = 120;
    let mut line = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == LONGEST {
            line.push_str("...");
            break;
        }
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_stays_on_its_line_whatever_was_written() {
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
