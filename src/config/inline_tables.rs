//! Parsers of values that are tables: `mux`, `alert` and `labels`.

use std::collections::BTreeMap;

use super::node::{Node, Table, Value, one_line};
use super::parse::{self, Parsed, all_valid, one_of, valid};
use super::print::{self, quoted};
use super::problem::Invalid;
use super::quantity::{self, Quantity};
use super::toml_text::parse_value;
use crate::i2c::mux::{ADDRESSES, Channel};
use crate::ina260::alert::{Function, Polarity};

struct InlineTable<'a> {
    table: &'a Table,
    messages: Vec<String>,
}

impl<'a> InlineTable<'a> {
    /// Reports missing and unknown keys.
    fn new(table: &'a Table, required: &[&str], optional: &[&str]) -> Self {
        let missing = required.iter().filter(|key| !table.contains_key(**key));
        let missing = missing.map(|key| format!(".{key} is missing"));
        let known = [required, optional].concat();
        let unknown = table.keys().filter(|key| !known.contains(&key.as_str()));
        let unknown = unknown.map(|key| {
            let (key, known) = (print::key(key), known.join(", "));
            format!(".{key} is not a known key; expected one of {known}")
        });
        Self { table, messages: missing.chain(unknown).collect() }
    }

    /// Returns a key's value; `None`: it is missing or invalid.
    fn take<T>(&mut self, key: &str, expected: &str, parse: fn(&Node) -> Parsed<T>) -> Option<T> {
        match parse(self.table.get(key)?) {
            Ok(value) => Some(value),
            Err(invalid) => {
                let messages = invalid.messages(self.table.get(key)?, expected, parse).into_iter();
                self.messages.extend(messages.map(|message| format!(".{key}{message}")));
                None
            }
        }
    }

    /// Returns the table's value, unless a key is invalid.
    fn finish<T>(self, value: Option<T>) -> Parsed<T> {
        value.filter(|_| self.messages.is_empty()).ok_or(Invalid::Parts(self.messages))
    }
}

/// Parses a channel; `none` is `None`.
pub(super) fn mux(node: &Node) -> Parsed<Option<Channel>> {
    if node.as_text() == Some("none") {
        return Ok(None);
    }
    let from_text = match &node.value {
        Value::Untyped(text) => mux_from_text(text, node),
        _ => None,
    };
    let table = from_text.as_ref().or(node.as_table());
    let table = valid(table)?;
    let mut keys = InlineTable::new(table, &["address", "channel"], &[]);
    let address = keys
        .take("address", "an integer from 0x70 to 0x77", |node| parse::address(node, &ADDRESSES));
    let channel =
        keys.take("channel", "an integer from 0 to 7", |node| parse::integer_up_to(node, 7));
    let channel =
        address.zip(channel).map(|(multiplexer, channel)| Channel { multiplexer, channel });
    keys.finish(channel).map(Some)
}

pub(super) fn mux_toml(channel: &Channel) -> String {
    let (address, channel) = (channel.multiplexer, channel.channel);
    format!("{{ address = {address}, channel = {channel} }}")
}

/// Parses a flag or variable: a table in TOML syntax, or `ADDRESS:CHANNEL`.
fn mux_from_text(text: &str, node: &Node) -> Option<Table> {
    if text.trim_start().starts_with('{') {
        return match parse_value(text, &node.origin)? {
            Value::Table(table) => Some(table),
            _ => None,
        };
    }
    let (address, channel) = text.split_once(':')?;
    let entry =
        |(key, text): (&str, &str)| (key.to_owned(), Node::untyped(text, node.origin.clone()));
    Some([("address", address), ("channel", channel)].map(entry).into())
}

/// An alert as configured, before the calibration is applied to its limit.
#[derive(Clone)]
pub(super) struct RequestedAlert {
    pub(super) function: Function,
    /// In the function's unit.
    pub(super) limit: Quantity,
    pub(super) polarity: Polarity,
}

impl RequestedAlert {
    pub(super) fn toml(&self) -> String {
        let [on, polarity] = [self.function.name(), self.polarity.name()].map(quoted);
        let limit = quoted(&self.limit.as_written);
        format!("{{ on = {on}, limit = {limit}, polarity = {polarity} }}")
    }
}

/// Parses an alert; `none` is `None`.
pub(super) fn alert(node: &Node) -> Parsed<Option<RequestedAlert>> {
    if node.as_text() == Some("none") {
        return Ok(None);
    }
    let table = valid(node.as_table())?;
    let mut keys = InlineTable::new(table, &["on", "limit"], &["polarity"]);
    let functions = Function::ALL.iter().map(|function| quoted(function.name()));
    let functions = functions.collect::<Vec<_>>().join(", ");
    let function = keys.take("on", &format!("one of {functions}"), |node| {
        one_of(node, Function::ALL, Function::name)
    });
    let expected = "a number with unit A, mA, V, mV, W or mW, in quotes, such as \"5A\"";
    let limit =
        keys.take("limit", expected, |node| valid(node.as_text().and_then(quantity::parse)));
    let expected = "\"active-low\" or \"active-high\"";
    let polarity =
        keys.take("polarity", expected, |node| one_of(node, Polarity::ALL, Polarity::name));
    let alert = function.zip(limit).map(|(function, limit)| {
        let (on, unit) = (function.name(), function.unit());
        if limit.unit != unit {
            let limit = one_line(&quoted(&limit.as_written));
            keys.messages.push(format!(
                ".limit {limit} is invalid; expected unit {unit} or m{unit} for {on}"
            ));
        }
        RequestedAlert { function, limit, polarity: polarity.unwrap_or_default() }
    });
    keys.finish(alert).map(Some)
}

/// Parses labels, sorted by name.
pub(super) fn labels(node: &Node) -> Parsed<Vec<(String, String)>> {
    let table = valid(node.as_table())?;
    let labels = all_valid(table.iter().map(|(name, value)| {
        let name = name.trim();
        let shown = one_line(name);
        if !is_label_name(name) {
            Err(format!(
                ".{shown} is not a label name; expected letters, digits and underscores, \
                 no digit first"
            ))
        } else if name.starts_with("__")
            || RESERVED_LABELS.split(' ').any(|reserved| reserved == name)
        {
            Err(format!(".{shown} is reserved by Prometheus or this exporter; choose another name"))
        } else {
            parse::text(value).map(|value| (name.to_owned(), value)).map_err(|invalid| {
                format!(".{shown}{}", invalid.messages(value, LABEL_VALUE, parse::text).concat())
            })
        }
    }))?;
    let by_name: BTreeMap<_, _> = labels.iter().cloned().collect();
    if by_name.len() < labels.len() {
        let message = " contains the same name twice; remove one of the two";
        return Err(Invalid::Parts(vec![message.to_owned()]));
    }
    Ok(by_name.into_iter().collect())
}

pub(super) fn labels_toml(labels: &[(String, String)]) -> String {
    if labels.is_empty() {
        return "{}".to_owned();
    }
    let labels = labels.iter().map(|(name, value)| format!("{name} = {}", quoted(value)));
    format!("{{ {} }}", labels.collect::<Vec<_>>().join(", "))
}

/// Returns whether the Prometheus data model allows a label name; only metrics may have colons.
fn is_label_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Allowed label values and device names, for "expected ...".
pub(super) const LABEL_VALUE: &str = "a string of 1 to 255 printable bytes, in quotes";

/// Labels of this exporter, of histograms and summaries, and those that Prometheus adds.
const RESERVED_LABELS: &str = "address averaging bus cause current_conversion_time device die \
    direction hostname instance interval job kind le mux on quantile quantity revision version \
    voltage_conversion_time";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_names_follow_the_prometheus_data_model() {
        for name in ["a", "_a", "A1", "rail_12V", "_"] {
            assert!(is_label_name(name), "{name}");
        }
        for name in ["", "1a", "a-b", "a:b", "a b", "é", "a\n"] {
            assert!(!is_label_name(name), "{name}");
        }
    }
}
