//! Values as they were written, in TOML or as text, and their origins.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::path::PathBuf;

use toml_edit::{ImDocument, Item, TableLike, TomlError, Value as Toml};

use crate::printable::escape;

/// Layer that a value comes from, and the place in it. The greater of two takes precedence.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    #[default]
    Default,
    File(PathBuf),
    Environment(String),
    /// With its dashes.
    Flag(String),
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => f.write_str(&one_line(&path.to_string_lossy())),
            Self::Environment(name) => write!(f, "environment {}", one_line(name)),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

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
    /// Text from the environment or a flag. The parser decides its type: `0042` may be a name.
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

impl Display for Value {
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

/// Parses a file in TOML syntax; an error is a message that continues after the file's name.
pub(super) fn parse(text: &str, message: fn(&str, &TomlError) -> String) -> Result<Table, String> {
    bound(text)?;
    let document = ImDocument::parse(text).map_err(|error| message(text, &error))?;
    Ok(table(document.as_table(), text))
}

/// Limits the work of the parser. Parsing and everything after it are recursive: the depth is that
/// of the brackets times that of the dotted keys.
fn bound(text: &str) -> Result<(), String> {
    const MAX_DEPTH: usize = 8;
    const MAX_VALUES: usize = 16_384;
    let (mut depth, mut dots, mut values, mut offset) = (0_usize, 0, 0, 0);
    while let Some(c) = text[offset..].chars().next() {
        match c {
            '[' | '{' => (depth, dots, values) = (depth + 1, 0, values + 1),
            ']' | '}' => (depth, dots) = (depth.saturating_sub(1), 0),
            '=' | ',' => (dots, values) = (0, values + 1),
            '\n' => dots = 0,
            // Each key before a dot is a table.
            '.' => (dots, values) = (dots + 1, values + 1),
            _ => {}
        }
        if depth > MAX_DEPTH || dots > MAX_DEPTH || values > MAX_VALUES {
            let at = position(&text[..offset]);
            return Err(if values > MAX_VALUES {
                format!("{at}: more than {MAX_VALUES} values")
            } else {
                format!("{at}: nested more than {MAX_DEPTH} levels deep")
            });
        }
        offset += quoted_length(&text[offset..]).unwrap_or(c.len_utf8());
    }
    Ok(())
}

/// Returns the length of the string or comment that text begins with. An unterminated string ends
/// with its line or, if it has three quotes, with the text.
fn quoted_length(text: &str) -> Option<usize> {
    let open = ["\"\"\"", "'''", "\"", "'", "#"].into_iter().find(|open| text.starts_with(open))?;
    let close = if open == "#" { "\n" } else { open };
    let mut characters = text.char_indices().skip(open.len());
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' if open.starts_with('"') => _ = characters.next(),
            _ if text[at..].starts_with(close) => return Some(at + close.len()),
            '\n' if open.len() == 1 => return Some(at),
            _ => {}
        }
    }
    Some(text.len())
}

/// Returns the line and the column after `before`, for a message.
pub(super) fn position(before: &str) -> String {
    let line = before.rsplit('\n').next().unwrap_or_default().trim_start_matches('\u{feff}');
    format!("line {}, column {}", before.matches('\n').count() + 1, line.chars().count() + 1)
}

fn table(keys: &dyn TableLike, text: &str) -> Table {
    keys.iter().filter_map(|(key, item)| Some((key.to_owned(), value(item, text)?))).collect()
}

fn value(item: &Item, text: &str) -> Option<Value> {
    if let Some(keys) = item.as_table_like() {
        return Some(Value::Table(table(keys, text)));
    }
    // An array of tables becomes an array of inline tables.
    Some(match item.clone().into_value().ok()? {
        Toml::Array(items) => {
            let items = items.into_iter().filter_map(|item| value(&Item::Value(item), text));
            Value::List(items.collect())
        }
        Toml::String(text) => Value::Text(text.into_value()),
        bare => Value::Bare(text.get(bare.span()?)?.to_owned()),
    })
}

pub(super) fn parse_value(text: &str) -> Option<Value> {
    let mut table = parse(&format!("value = {text}"), |_, error| error.to_string()).ok()?;
    table.remove("value").filter(|_| table.is_empty())
}

/// Prints a string. Parsers reject control characters in values.
pub(super) fn quoted(text: &(impl Display + ?Sized)) -> String {
    let text = text.to_string();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Prints a key for a message.
pub(super) fn quoted_key(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let quote = if key.is_empty() || !key.chars().all(is_bare) { "\"" } else { "" };
    format!("{quote}{}{quote}", one_line(key))
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
