//! Parsers of values: one function per kind of value. The table of keys says what they accept.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use super::node::{Value, integer};
use super::plan::Listen;
use super::quantity::{self, Quantity};
use super::spelling;
use crate::i2c::{Address, BusName};
use crate::ina260::settings::{Averaging, ConversionTime};
use crate::printable::is_invisible;

/// A value, or messages about the parts of it that are invalid; none: all of it is.
pub(super) type Parsed<T> = Result<T, Vec<String>>;

pub(super) fn valid<T>(value: Option<T>) -> Parsed<T> {
    value.ok_or_else(Vec::new)
}

/// Parses a value. The messages about an invalid one continue after the key's name.
pub(super) fn checked<T>(
    value: &Value,
    expected: &str,
    parse: impl Fn(&Value) -> Parsed<T>,
) -> Result<T, Vec<String>> {
    let about_all = || vec![spelling::message(value, expected, &|value| parse(value).is_ok())];
    parse(value).map_err(|parts| if parts.is_empty() { about_all() } else { parts })
}

/// The messages about the parts of a list or table.
#[derive(Default)]
pub(super) struct Parts(pub(super) Vec<String>);

impl Parts {
    /// Parses a part; `None`: it is missing, or invalid, which is reported after its name.
    pub(super) fn parse<T>(
        &mut self,
        name: impl Display,
        value: Option<&Value>,
        expected: &str,
        parse: impl Fn(&Value) -> Parsed<T>,
    ) -> Option<T> {
        let report = |messages: Vec<String>| {
            self.0.extend(messages.iter().map(|message| format!("{name}{message}")));
        };
        checked(value?, expected, parse).map_err(report).ok()
    }

    /// Returns the value of the whole, unless a part is invalid.
    pub(super) fn finish<T>(self, value: T) -> Parsed<T> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

/// Parses a name of 1 to 255 bytes, without outer spaces. In the environment, a number is a name,
/// too.
pub(super) fn text(value: &Value) -> Parsed<String> {
    let text = value.as_text().unwrap_or_default().trim();
    if let Some(c) = text.chars().find(|c| is_invisible(*c)) {
        let message = format!(" {value} contains U+{:04X}, which is invisible", u32::from(c));
        return Err(vec![message + "; remove it"]);
    }
    valid((1..=255).contains(&text.len()).then(|| text.to_owned()))
}

/// Parses a name; an empty one stands for none.
pub(super) fn text_or_none(value: &Value) -> Parsed<String> {
    match value.as_text().map(str::trim) {
        Some("") => Ok(String::new()),
        _ => text(value),
    }
}

/// Parses the name of one of the values of an enum.
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

/// Parses a period from a second to a day; 0 is `None`.
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
    let text = value.as_text().unwrap_or_default();
    let is_socket = |path: &&str| {
        let is_absolute = path.starts_with('/') && !path.ends_with('/');
        is_absolute && !path.contains(is_invisible) && path.len() <= MAX_PATH_BYTES
    };
    valid(if let Some(path) = text.strip_prefix("unix:") {
        Some(path).filter(is_socket).map(|path| Listen::Unix(path.into()))
    } else {
        // With port 0, the kernel would choose one.
        let address = text.parse::<SocketAddr>().ok();
        address.filter(|address| address.port() != 0).map(Listen::Tcp)
    })
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
    let (mut parts, mut values) = (Parts::default(), Vec::new());
    for (index, item) in items.iter().enumerate() {
        let previous = items[..index].last();
        let name = format!("[{}]", index + 1);
        values.extend(parts.parse(name, Some(item), expected, |item| valid(parse(item, previous))));
    }
    parts.finish(values)
}

/// Returns the items of a list. In the environment, brackets are optional.
fn as_list(value: &Value) -> Option<Vec<Value>> {
    match value {
        Value::List(items) => Some(items.clone()),
        Value::Untyped(text) if text == "[]" => Some(Vec::new()),
        Value::Untyped(text) => {
            let items = match text.strip_prefix('[') {
                Some(items) => items.strip_suffix(']')?,
                None => text,
            };
            Some(items.split(',').map(Value::untyped).collect())
        }
        _ => None,
    }
}

/// Parses a bus. In the file, a number has no quotes.
pub(super) fn bus(value: &Value) -> Parsed<BusName> {
    let is_no_number = |bus: &BusName| !matches!(bus, BusName::Number(_));
    let named = || value.as_text()?.parse().ok().filter(is_no_number);
    valid(value.as_integer().map(BusName::Number).or_else(named))
}

pub(super) fn address(value: &Value, range: &RangeInclusive<u8>) -> Parsed<Address> {
    valid(integer_or_text(value).filter(|address| range.contains(address)).map(Address))
}

/// Returns an integer, which may be in quotes.
fn integer_or_text<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    value.as_integer().or_else(|| value.as_text().and_then(integer))
}

pub(super) fn gain(value: &Value) -> Parsed<f64> {
    valid(value.as_number().filter(|gain| *gain > 0.0 && *gain <= 1000.0))
}

pub(super) fn current(value: &Value) -> Parsed<Quantity> {
    let in_range = |current: &Quantity| current.unit == "A" && current.number.abs() <= 1000.0;
    valid(value.as_text().and_then(quantity::parse).filter(in_range))
}

/// Parses a count; `auto` is `None`.
pub(super) fn averaging(value: &Value) -> Parsed<Option<Averaging>> {
    value_or_auto(value, integer_or_text(value).and_then(Averaging::from_repr))
}

/// Parses a conversion time of the chip; `auto` is `None`.
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
