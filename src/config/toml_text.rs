//! Parses TOML text. Values other than lists and tables stay as they were written until they are
//! converted into nodes: messages repeat them.

use figment::value::{Dict, Tag, Value as Raw};
use toml_edit::{ImDocument, Item, TableLike, Value as Toml};

use super::node::{Node, Origin, Table, Value};

/// Reason why text cannot be parsed.
pub(super) struct SyntaxError {
    pub(super) offset: usize,
    /// Description by the parser.
    pub(super) words: String,
    /// Whether it exceeds a limit; else it is not TOML.
    pub(super) is_limit: bool,
}

/// Parses a document.
pub(super) fn parse(text: &str) -> Result<Dict, SyntaxError> {
    bound(text)?;
    let document = ImDocument::parse(text).map_err(|error| SyntaxError {
        offset: error.span().unwrap_or_default().start,
        words: error.message().to_owned(),
        is_limit: false,
    })?;
    Ok(dict(document.as_table(), text))
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
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(open.len()) {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' && open.starts_with('"') {
            is_escaped = true;
        } else if text[at..].starts_with(close) {
            return Some(at + close.len());
        } else if c == '\n' && open.len() == 1 {
            return Some(at);
        }
    }
    Some(text.len())
}

fn dict(table: &dyn TableLike, text: &str) -> Dict {
    table.iter().filter_map(|(key, item)| Some((key.to_owned(), raw(item, text)?))).collect()
}

fn raw(item: &Item, text: &str) -> Option<Raw> {
    if let Some(table) = item.as_table_like() {
        return Some(dict(table, text).into());
    }
    // An array of tables is one of inline tables here.
    match item.clone().into_value().ok()? {
        Toml::Array(items) => {
            let items = items.into_iter().filter_map(|item| raw(&Item::Value(item), text));
            Some(items.collect::<Vec<_>>().into())
        }
        value => text.get(value.span()?).map(Raw::from),
    }
}

/// Parses a value in TOML syntax.
pub(super) fn parse_value(text: &str, origin: &Origin) -> Option<Value> {
    let mut dict = parse(&format!("value = {text}")).ok()?;
    let raw = dict.remove("value").filter(|_| dict.is_empty())?;
    Some(node(raw, true, &|_| origin.clone()).value)
}

/// Converts figment's values. `typed`: all of them were written as TOML, so strings are strings.
pub(super) fn table(dict: Dict, typed: bool, origin: &dyn Fn(Tag) -> Origin) -> Table {
    dict.into_iter().map(|(key, value)| (key, node(value, typed, origin))).collect()
}

fn node(raw: Raw, typed: bool, origin_of: &dyn Fn(Tag) -> Origin) -> Node {
    let origin = origin_of(raw.tag());
    let value = match raw {
        Raw::Dict(_, dict) => Value::Table(table(dict, typed, origin_of)),
        Raw::Array(_, items) => {
            let items = items.into_iter().map(|item| node(item, typed, origin_of));
            Value::List(items.collect())
        }
        // The only other variant that `raw` makes is a string.
        scalar => match (scalar.into_string().unwrap_or_default(), &origin) {
            (text, Origin::Environment(_) | Origin::Flag(_)) if !typed => {
                return Node::untyped(&text, origin);
            }
            (written, _) => match written.parse() {
                Ok(Toml::String(text)) => Value::Text(text.into_value()),
                _ => Value::Bare(written),
            },
        },
    };
    Node { origin, value }
}
