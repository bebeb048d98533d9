//! Parsers of values: one function per kind of value. The table of keys says what they accept.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use super::plan::Listen;
use super::quantity::{self, Amount};
use super::spelling;
use super::value::{Table, Value, one_line, parse_value, quoted, quoted_key};
use crate::i2c::mux::{ADDRESSES, Channel};
use crate::i2c::{Address, BusName};
use crate::ina260::alert::{Function, Polarity};
use crate::ina260::settings::{Averaging, ConversionTime};
use crate::printable::is_invisible;

/// A value, or messages about its invalid parts; without messages, all of it is invalid.
pub(super) type Parsed<T> = Result<T, Vec<String>>;

fn valid<T>(value: Option<T>) -> Parsed<T> {
    value.ok_or_else(Vec::new)
}

/// Collects messages about named values: those of keys, or the parts of one.
#[derive(Default)]
pub(super) struct Messages(pub(super) Vec<String>);

impl Messages {
    /// Parses a value; `None`: it is missing, or invalid, which is reported.
    pub(super) fn parse<T>(
        &mut self,
        name: &str,
        value: Option<&Value>,
        expected: &str,
        parse: impl Fn(&Value) -> Parsed<T>,
    ) -> Option<T> {
        let value = value?;
        let report = |mut messages: Vec<String>| {
            if messages.is_empty() {
                let accepts = |value: &Value| parse(value).is_ok();
                messages.push(spelling::message(value, expected, &accepts));
            }
            self.0.extend(messages.iter().map(|message| format!("{name}{message}")));
        };
        parse(value).map_err(report).ok()
    }

    /// Returns the value of the whole, unless there are messages about its parts.
    fn finish<T>(self, value: T) -> Parsed<T> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

/// Parses a name without outer spaces. In the environment, a number is a name, too.
pub(super) fn text(value: &Value) -> Parsed<String> {
    valid(Some(text_or_none(value)?).filter(|text| !text.is_empty()))
}

/// Parses a name of at most 255 bytes; an empty one stands for none.
pub(super) fn text_or_none(value: &Value) -> Parsed<String> {
    let text = valid(value.as_text())?.trim();
    if let Some(c) = text.chars().find(|c| is_invisible(*c)) {
        let reason = match c {
            '\u{fffd}' => {
                "which stands for bytes that are not valid UTF-8; write the name in UTF-8"
            }
            _ => "which is invisible; remove it",
        };
        return Err(vec![format!(" {value} contains U+{:04X}, {reason}", u32::from(c))]);
    }
    valid((text.len() <= 255).then(|| text.to_owned()))
}

pub(super) fn one_of<T: FromStr>(value: &Value) -> Parsed<T> {
    valid(value.as_text().and_then(|text| text.parse().ok()))
}

pub(super) fn boolean(value: &Value) -> Parsed<bool> {
    valid(value.as_bool())
}

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn duration(value: &Value, range: RangeInclusive<Duration>) -> Parsed<Duration> {
    let duration = value.as_text().and_then(quantity::duration);
    valid(duration.filter(|duration| range.contains(duration)))
}

pub(super) fn period(value: &Value) -> Parsed<Option<Duration>> {
    match value.as_text().and_then(quantity::duration) {
        Some(Duration::ZERO) => Ok(None),
        _ => duration(value, SECOND..=24 * HOUR).map(Some),
    }
}

pub(super) fn socket_mode(value: &Value) -> Parsed<u32> {
    let digits = value.as_text().map(|text| text.strip_prefix("0o").unwrap_or(text));
    let digits = digits.filter(|digits| digits.chars().all(|c| c.is_digit(8)));
    let mode = digits.and_then(|digits| u32::from_str_radix(digits, 8).ok());
    valid(mode.filter(|mode| *mode <= 0o777))
}

pub(super) fn listen(value: &Value) -> Parsed<Listen> {
    /// Size of `sun_path` (unix(7)) without the terminating 0.
    const MAX_PATH_BYTES: usize = 107;
    let text = valid(value.as_text())?;
    if let Some(path) = text.strip_prefix("unix:") {
        let is_absolute = path.starts_with('/') && !path.ends_with('/');
        let is_valid = !path.contains(is_invisible) && path.len() <= MAX_PATH_BYTES;
        return valid((is_absolute && is_valid).then(|| Listen::Unix(path.into())));
    }
    // With port 0, the kernel would choose one.
    let address = text.parse().ok().filter(|address: &SocketAddr| address.port() != 0);
    valid(address.map(Listen::Tcp))
}

pub(super) fn allow(value: &Value) -> Parsed<Vec<IpNet>> {
    let expected = "a network such as \"192.168.0.0/16\" or \"::1\"";
    list(value, 0..=256, expected, |item, _| {
        let text = item.as_text()?;
        let network = text.parse::<IpNet>().map(|network| network.trunc());
        network.or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()
    })
}

pub(super) fn buckets(value: &Value) -> Parsed<Vec<f64>> {
    let expected = "a number above 0 and above the previous one";
    list(value, 1..=50, expected, |item, previous| {
        let min = previous.and_then(Value::as_number).unwrap_or_default().max(0.0);
        item.as_number().filter(|bound| *bound > min)
    })
}

/// Parses a list whose length is in `count`; `parse` gets each item and the one before it.
fn list<T>(
    value: &Value,
    count: RangeInclusive<usize>,
    expected: &str,
    parse: impl Fn(&Value, Option<&Value>) -> Option<T>,
) -> Parsed<Vec<T>> {
    let items = valid(as_list(value).filter(|items| count.contains(&items.len())))?;
    let (mut messages, mut values) = (Messages::default(), Vec::new());
    for (index, item) in items.iter().enumerate() {
        let previous = items[..index].last();
        let name = &format!("[{}]", index + 1);
        values.extend(
            messages.parse(name, Some(item), expected, |item| valid(parse(item, previous))),
        );
    }
    messages.finish(values)
}

/// Returns the items of a list. In the environment, brackets are optional.
fn as_list(value: &Value) -> Option<Vec<Value>> {
    match value {
        Value::List(items) => Some(items.clone()),
        Value::Untyped(text) if text == "[]" => Some(Vec::new()),
        Value::Untyped(text) => {
            let bracketed = text.strip_prefix('[').map(|items| items.strip_suffix(']'));
            let items = bracketed.unwrap_or(Some(text))?;
            Some(items.split(',').map(Value::untyped).collect())
        }
        _ => None,
    }
}

/// Returns a whole number; one in quotes in the file is a string.
fn unquoted_byte(value: &Value) -> Option<u8> {
    value.as_integer().filter(|_| !matches!(value, Value::Text(_)))
}

pub(super) fn bus(value: &Value) -> Parsed<BusName> {
    let is_no_number = |bus: &BusName| !matches!(bus, BusName::Number(_));
    let named = || value.as_text()?.parse().ok().filter(is_no_number);
    valid(unquoted_byte(value).map(BusName::Number).or_else(named))
}

pub(super) fn address(value: &Value, range: &RangeInclusive<u8>) -> Parsed<Address> {
    valid(value.as_integer().filter(|address| range.contains(address)).map(Address))
}

pub(super) fn gain(value: &Value) -> Parsed<f64> {
    valid(value.as_number().filter(|gain| *gain > 0.0 && *gain <= 1000.0))
}

fn quantity(value: &Value) -> Parsed<Amount> {
    valid(value.as_text().and_then(quantity::parse))
}

pub(super) fn current(value: &Value) -> Parsed<Amount> {
    let in_range = |current: &Amount| current.unit == "A" && current.number.abs() <= 1000.0;
    valid(Some(quantity(value)?).filter(in_range))
}

pub(super) fn averaging(value: &Value) -> Parsed<Option<Averaging>> {
    value_or_auto(value, value.as_integer().and_then(Averaging::from_repr))
}

pub(super) fn conversion_time(value: &Value) -> Parsed<Option<ConversionTime>> {
    let duration = value.as_text().and_then(quantity::duration);
    let has_duration =
        |time: &ConversionTime| duration == Some(Duration::from_micros(time.micros().into()));
    value_or_auto(value, ConversionTime::ALL.iter().copied().find(has_duration))
}

fn value_or_auto<T>(value: &Value, parsed: Option<T>) -> Parsed<Option<T>> {
    let auto = (value.as_text() == Some("auto")).then_some(None);
    valid(parsed.map(Some).or(auto))
}

fn check_keys(table: &Table, required: &[&str], optional: &[&str]) -> Messages {
    let missing = required.iter().filter(|key| !table.contains_key(**key));
    let missing = missing.map(|key| format!(".{key} is missing"));
    let known = [required, optional].concat();
    let unknown = table.keys().filter(|key| !known.contains(&key.as_str()));
    let unknown = unknown.map(|key| {
        let (key, known) = (quoted_key(key), known.join(", "));
        format!(".{key} is not a known key; expected one of {known}")
    });
    Messages(missing.chain(unknown).collect())
}

pub(super) fn mux(value: &Value) -> Parsed<Option<Channel>> {
    if value.as_text() == Some("none") {
        return Ok(None);
    }
    let table = valid(mux_table(value))?;
    let mut messages = check_keys(&table, &["address", "channel"], &[]);
    let (name, value) = (".address", table.get("address"));
    let address = messages
        .parse(name, value, "an integer from 0x70 to 0x77", |value| address(value, &ADDRESSES));
    let (name, value) = (".channel", table.get("channel"));
    let channel = messages.parse(name, value, "an integer from 0 to 7", |value| {
        valid(unquoted_byte(value).filter(|channel| *channel <= 7))
    });
    let both = address.zip(channel);
    messages.finish(both.map(|(multiplexer, channel)| Channel { multiplexer, channel }))
}

/// Returns the table of a mux. A flag or variable is a table in TOML syntax, or `ADDRESS:CHANNEL`.
fn mux_table(value: &Value) -> Option<Table> {
    match value {
        Value::Untyped(text) if text.trim_start().starts_with('{') => {
            parse_value(text)?.try_as_table()
        }
        Value::Untyped(text) => {
            let (address, channel) = text.split_once(':')?;
            let part = |(key, text): (&str, &str)| (key.to_owned(), Value::untyped(text));
            Some([("address", address), ("channel", channel)].map(part).into())
        }
        value => value.try_as_table_ref().cloned(),
    }
}

/// An alert, to whose limit the calibration is not yet applied.
pub(super) type RequestedAlert = (Function, Amount, Polarity);

pub(super) fn alert(value: &Value) -> Parsed<Option<RequestedAlert>> {
    if value.as_text() == Some("none") {
        return Ok(None);
    }
    let table = valid(value.try_as_table_ref())?;
    let mut messages = check_keys(table, &["on", "limit"], &["polarity"]);
    let functions: Vec<_> = Function::ALL.iter().map(|function| quoted(function.name())).collect();
    let expected = format!("one of {}", functions.join(", "));
    let function = messages.parse(".on", table.get("on"), &expected, one_of::<Function>);
    let expected = "a number with unit A, mA, V, mV, W or mW, in quotes, such as \"5A\"";
    let limit = messages.parse(".limit", table.get("limit"), expected, quantity);
    let expected = "\"active-low\" or \"active-high\"";
    let polarity = messages.parse(".polarity", table.get("polarity"), expected, one_of);
    let alert = function.zip(limit).map(|(function, limit)| {
        let (on, unit) = (function.name(), function.unit());
        if limit.unit != unit {
            let limit = one_line(&quoted(&limit.as_written));
            messages.0.push(format!(
                ".limit {limit} is invalid; expected unit {unit} or m{unit} for {on}"
            ));
        }
        (function, limit, polarity.unwrap_or_default())
    });
    messages.finish(alert)
}

pub(super) fn labels(value: &Value) -> Parsed<Vec<(String, String)>> {
    let table = valid(value.try_as_table_ref())?;
    let (mut messages, mut labels) = (Messages::default(), BTreeMap::new());
    for (name, value) in table {
        let name = name.trim();
        let shown = one_line(name);
        if !is_label_name(name) {
            messages.0.push(format!(
                ".{shown} is not a label name; expected letters, digits and underscores, \
                 not starting with a digit"
            ));
        } else if name.starts_with("__") || RESERVED_LABELS.split(' ').any(|label| label == name) {
            messages.0.push(format!(
                ".{shown} is reserved by Prometheus or this exporter; choose another name"
            ));
        } else if let Some(value) =
            messages.parse(&format!(".{shown}"), Some(value), LABEL_VALUE, text)
        {
            labels.insert(name.to_owned(), value);
        }
    }
    if messages.0.is_empty() && labels.len() < table.len() {
        messages.0.push(" contains the same name twice; remove one of the two".to_owned());
    }
    messages.finish(labels.into_iter().collect())
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
