//! TOML: parsed into nodes, and printed so that parsing it again gives the same value.

use std::fmt::Display;

use toml_edit::{ImDocument, Item, TableLike, Value as Toml};

use super::node::{Table, Value, one_line};

/// Reason why text cannot be parsed.
pub(super) struct SyntaxError {
    pub(super) offset: usize,
    /// Description by the parser.
    pub(super) words: String,
    /// Whether it exceeds a limit; else it is not TOML.
    pub(super) is_limit: bool,
}

pub(super) fn parse(text: &str) -> Result<Table, SyntaxError> {
    bound(text)?;
    let document = ImDocument::parse(text).map_err(|error| SyntaxError {
        offset: error.span().unwrap_or_default().start,
        words: error.message().to_owned(),
        is_limit: false,
    })?;
    Ok(table(document.as_table(), text))
}

/// Limits the work of the parser. Parsing and everything after it is recursive: the depth is that
/// of the brackets times that of the dotted keys.
fn bound(text: &str) -> Result<(), SyntaxError> {
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
            let words = if values > MAX_VALUES {
                format!("more than {MAX_VALUES} values")
            } else {
                format!("nested more than {MAX_DEPTH} levels deep")
            };
            return Err(SyntaxError { offset, words, is_limit: true });
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

fn table(keys: &dyn TableLike, text: &str) -> Table {
    keys.iter().filter_map(|(key, item)| Some((key.to_owned(), value(item, text)?))).collect()
}

fn value(item: &Item, text: &str) -> Option<Value> {
    if let Some(keys) = item.as_table_like() {
        return Some(Value::Table(table(keys, text)));
    }
    // An array of tables is one of inline tables here.
    Some(match item.clone().into_value().ok()? {
        Toml::Array(items) => {
            let items = items.into_iter().filter_map(|item| value(&Item::Value(item), text));
            Value::List(items.collect())
        }
        Toml::String(text) => Value::Text(text.into_value()),
        bare => Value::Bare(text.get(bare.span()?)?.to_owned()),
    })
}

/// Parses a value in TOML syntax.
pub(super) fn parse_value(text: &str) -> Option<Value> {
    let mut table = parse(&format!("value = {text}")).ok()?;
    table.remove("value").filter(|_| table.is_empty())
}

/// Prints a string. Parsers reject control characters in values.
pub(super) fn quoted(text: &(impl Display + ?Sized)) -> String {
    let text = text.to_string();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Prints a key for a message.
pub(super) fn key(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let quote = if key.is_empty() || !key.chars().all(is_bare) { "\"" } else { "" };
    format!("{quote}{}{quote}", one_line(key))
}
