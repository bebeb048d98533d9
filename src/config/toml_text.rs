//! Parses TOML text into nodes.

use figment::providers::{Format, Toml};
use figment::value::{Dict, Num, Tag, Value as Raw};

use super::node::{Node, Origin, Table, Value, one_line};

/// The only key of the table that figment makes of a date or time.
const DATE_OR_TIME: &str = "$__toml_private_datetime";

/// Parses text of any origin. The error is a message without its origin.
///
/// Runs on a stack of its own: the parser limits the depth of keys and of brackets, but not the
/// product of both, and a few kilobytes of text can need thousands of levels.
pub(super) fn parse(text: &str) -> Result<Dict, String> {
    const STACK: usize = 128 << 20; // reserved, not committed
    const MAX_DEPTH: usize = 8;
    let parse = || match parse_here(text)? {
        dict if depth(&dict) > MAX_DEPTH => {
            Err(format!("has tables nested more than {MAX_DEPTH} levels deep"))
        }
        dict => Ok(dict),
    };
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, parse)
            .map_err(|error| format!("cannot be parsed: {error}"))?
            .join()
            .unwrap_or_else(|_| Err("cannot be parsed".to_owned()))
    })
}

/// Parses text on the current stack.
pub(super) fn parse_here(text: &str) -> Result<Dict, String> {
    Toml::from_str(text).map_err(|error| {
        let start = error.span().unwrap_or_default().start;
        let before = text.get(..start).unwrap_or_default();
        let line_before = before.rsplit('\n').next().unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = line_before.chars().count() + 1;
        let message = error.message().replace('\n', "; ");
        format!("line {line}, column {column}: {}", one_line(&message))
    })
}

fn depth(dict: &Dict) -> usize {
    fn value_depth(value: &Raw) -> usize {
        match value {
            Raw::Dict(_, dict) => depth(dict),
            Raw::Array(_, items) => 1 + items.iter().map(value_depth).max().unwrap_or_default(),
            _ => 0,
        }
    }
    1 + dict.values().map(value_depth).max().unwrap_or_default()
}

/// Parses a list or table in TOML syntax from the environment or a flag.
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
        Raw::String(_, text) => match origin {
            Origin::Environment(_) | Origin::Flag(_) if !typed => Value::Untyped(text),
            _ => Value::Text(text),
        },
        Raw::Bool(_, yes) => Value::Bool(yes),
        Raw::Num(_, Num::F64(number)) => Value::Float(number),
        // TOML's integers have 64 bits.
        Raw::Num(_, number) => Value::Integer(number.to_i128().unwrap_or(i128::MAX)),
        // TOML produces neither of them.
        Raw::Char(..) | Raw::Empty(..) => Value::Text(String::new()),
        Raw::Dict(_, dict) if dict.contains_key(DATE_OR_TIME) => Value::DateTime,
        Raw::Dict(_, dict) => Value::Table(table(dict, typed, origin_of)),
        Raw::Array(_, items) => {
            let items = items.into_iter().map(|item| node(item, typed, origin_of));
            Value::List(items.collect())
        }
    };
    Node { origin, value }
}
