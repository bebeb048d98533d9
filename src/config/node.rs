//! Values as they were written, and their origins.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use toml_edit::Value as Toml;

use crate::printable::escape;

/// Layer that a value comes from, and the place in it. The greater of two takes precedence.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    #[default]
    Default,
    File(PathBuf),
    /// Name of an environment variable.
    Environment(String),
    /// A command-line flag, with its dashes.
    Flag(String),
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

/// The value of a key.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

pub(super) type Nodes = BTreeMap<String, Node>;
pub(super) type Table = BTreeMap<String, Value>;

/// A value before its key's parser has checked it.
#[derive(Clone, strum::EnumTryAs)]
pub(super) enum Value {
    /// Text from the environment or a flag. The key's parser decides on its type: `0042` may be
    /// a name.
    Untyped(String),
    /// A TOML string.
    Text(String),
    /// A number, boolean or date as it was written in TOML.
    Bare(String),
    List(Vec<Value>),
    Table(Table),
}

impl Value {
    /// Returns the value of text from the environment or a flag, without outer spaces and without
    /// the quotes around it that env files of containers keep.
    pub(super) fn untyped(text: &str) -> Self {
        let text = text.trim();
        Self::Untyped(unquoted(text).unwrap_or(text.to_owned()))
    }

    /// Adds the keys of a lower layer, if both are tables.
    pub(super) fn over(self, lower: Option<Self>) -> Self {
        match (self, lower) {
            (Self::Table(higher), Some(Self::Table(mut all))) => {
                all.extend(higher);
                Self::Table(all)
            }
            (value, _) => value,
        }
    }

    /// Returns the value as it was written, unless it is a list or table.
    pub(super) fn written(&self) -> Option<&str> {
        match self {
            Self::Untyped(text) | Self::Text(text) | Self::Bare(text) => Some(text),
            Self::List(_) | Self::Table(_) => None,
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        self.written().filter(|_| !matches!(self, Self::Bare(_)))
    }

    pub(super) fn as_bool(&self) -> Option<bool> {
        self.written().filter(|_| !matches!(self, Self::Text(_)))?.parse().ok()
    }

    /// Returns a whole number, which may be in quotes; there it is decimal, or begins with `0x`.
    pub(super) fn as_integer<T: TryFrom<i64>>(&self) -> Option<T> {
        let text = self.written()?;
        let number = match (self, text.strip_prefix("0x")) {
            (Self::Bare(_), _) => text.parse::<Toml>().ok()?.as_integer()?,
            (_, Some(digits)) => i64::from_str_radix(digits, 16).ok()?,
            (_, None) => text.parse().ok()?,
        };
        number.try_into().ok()
    }

    /// Returns a finite number, with or without a decimal point.
    pub(super) fn as_number(&self) -> Option<f64> {
        let number = match self {
            #[expect(clippy::cast_precision_loss, reason = "15 digits are enough")]
            Self::Bare(text) => match text.parse().ok()? {
                Toml::Integer(number) => number.into_value() as f64,
                other => other.as_float()?,
            },
            Self::Untyped(text) => text.parse().ok()?,
            _ => return None,
        };
        number.is_finite().then_some(number)
    }
}

/// Returns what is in quotes; `None` if they are not around the whole text, as in `"a", "b"`.
fn unquoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let escaped = format!("\\{quote}");
    let is_toml = inner.starts_with(['[', '{']) && inner.ends_with([']', '}']);
    let is_whole = is_toml || !inner.replace(&escaped, "").contains(quote);
    is_whole.then(|| inner.replace(&escaped, &quote.to_string()))
}

impl fmt::Display for Value {
    /// Writes the value as in the file, shortened and on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untyped(text) | Self::Text(text) => write!(f, "\"{}\"", one_line(text)),
            Self::Bare(text) => f.write_str(&one_line(text)),
            Self::List(_) => f.write_str("[...]"),
            Self::Table(_) => f.write_str("{...}"),
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
        let origin = Origin::File("/tmp/a\nb".into());
        let value = Value::Text("x\r\n\u{1b}[31m".repeat(100));
        let message = format!("{origin}: {value}");
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
        assert!(origins.is_sorted());
    }
}
