//! Parsers and printers of values that are tables: `mux`, `alert` and `labels`.

use std::collections::BTreeMap;

use super::node::{Table, Value, one_line};
use super::parse::{Parsed, Parts, address, one_of, text, valid};
use super::quantity::{self, Quantity};
use super::toml_text::{self, parse_value, quoted};
use crate::i2c::mux::{ADDRESSES, Channel};
use crate::ina260::alert::{Function, Polarity};

/// Returns messages about missing and unknown keys.
fn check_keys(table: &Table, required: &[&str], optional: &[&str]) -> Parts {
    let missing = required.iter().filter(|key| !table.contains_key(**key));
    let missing = missing.map(|key| format!(".{key} is missing"));
    let known = [required, optional].concat();
    let unknown = table.keys().filter(|key| !known.contains(&key.as_str()));
    let unknown = unknown.map(|key| {
        let (key, known) = (toml_text::key(key), known.join(", "));
        format!(".{key} is not a known key; expected one of {known}")
    });
    Parts(missing.chain(unknown).collect())
}

/// Parses a channel; `none` is `None`.
pub(super) fn mux(value: &Value) -> Parsed<Option<Channel>> {
    if value.as_text() == Some("none") {
        return Ok(None);
    }
    let table = valid(mux_table(value))?;
    let mut parts = check_keys(&table, &["address", "channel"], &[]);
    let multiplexer =
        parts.parse(".address", table.get("address"), "an integer from 0x70 to 0x77", |value| {
            address(value, &ADDRESSES)
        });
    let channel =
        parts.parse(".channel", table.get("channel"), "an integer from 0 to 7", |value| {
            valid(value.as_integer().filter(|channel: &u8| *channel <= 7))
        });
    let channel = multiplexer.zip(channel);
    parts.finish(channel.map(|(multiplexer, channel)| Channel { multiplexer, channel }))
}

/// Returns the table of a mux. A flag or variable is a table in TOML syntax, or `ADDRESS:CHANNEL`.
fn mux_table(value: &Value) -> Option<Table> {
    match value {
        Value::Untyped(text) if text.trim_start().starts_with('{') => {
            parse_value(text)?.try_as_table()
        }
        Value::Untyped(text) => {
            let (address, channel) = text.split_once(':')?;
            Some(
                [
                    ("address".to_owned(), Value::untyped(address)),
                    ("channel".to_owned(), Value::untyped(channel)),
                ]
                .into(),
            )
        }
        value => value.try_as_table_ref().cloned(),
    }
}

pub(super) fn mux_toml(channel: &Channel) -> String {
    let (address, channel) = (channel.multiplexer, channel.channel);
    format!("{{ address = {address}, channel = {channel} }}")
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
pub(super) fn alert(value: &Value) -> Parsed<Option<RequestedAlert>> {
    if value.as_text() == Some("none") {
        return Ok(None);
    }
    let table = valid(value.try_as_table_ref())?;
    let mut parts = check_keys(table, &["on", "limit"], &["polarity"]);
    let functions: Vec<_> = Function::ALL.iter().map(|function| quoted(function.name())).collect();
    let expected = format!("one of {}", functions.join(", "));
    let function = parts.parse(".on", table.get("on"), &expected, one_of::<Function>);
    let expected = "a number with unit A, mA, V, mV, W or mW, in quotes, such as \"5A\"";
    let limit = parts.parse(".limit", table.get("limit"), expected, |value| {
        valid(value.as_text().and_then(quantity::parse))
    });
    let expected = "\"active-low\" or \"active-high\"";
    let polarity = parts.parse(".polarity", table.get("polarity"), expected, one_of);
    let alert = function.zip(limit).map(|(function, limit)| {
        let (on, unit) = (function.name(), function.unit());
        if limit.unit != unit {
            let limit = one_line(&quoted(&limit.as_written));
            parts.0.push(format!(
                ".limit {limit} is invalid; expected unit {unit} or m{unit} for {on}"
            ));
        }
        RequestedAlert { function, limit, polarity: polarity.unwrap_or_default() }
    });
    parts.finish(alert)
}

/// Parses labels, sorted by name.
pub(super) fn labels(value: &Value) -> Parsed<Vec<(String, String)>> {
    let table = valid(value.try_as_table_ref())?;
    let (mut parts, mut labels) = (Parts::default(), BTreeMap::new());
    for (name, value) in table {
        let name = name.trim();
        let shown = one_line(name);
        if !is_label_name(name) {
            parts.0.push(format!(
                ".{shown} is not a label name; expected letters, digits and underscores, \
                 no digit first"
            ));
        } else if name.starts_with("__") || RESERVED_LABELS.split(' ').any(|label| label == name) {
            parts.0.push(format!(
                ".{shown} is reserved by Prometheus or this exporter; choose another name"
            ));
        } else if let Some(value) = parts.parse(format!(".{shown}"), Some(value), LABEL_VALUE, text)
        {
            labels.insert(name.to_owned(), value);
        }
    }
    if parts.0.is_empty() && labels.len() < table.len() {
        parts.0.push(" contains the same name twice; remove one of the two".to_owned());
    }
    parts.finish(labels.into_iter().collect())
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
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(is_word) && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())
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
