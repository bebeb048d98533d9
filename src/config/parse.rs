//! Parsers of values: one function per kind of value. The table of keys says what they accept.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use super::duration;
use super::listen::Listen;
use super::node::{Node, Value, integer};
use super::problem::Invalid;
use super::quantity::{self, Quantity};
use super::spelling;
use crate::i2c::{Address, BusName};
use crate::ina260::settings::{Averaging, ConversionTime};
use crate::printable::is_invisible;

pub(super) type Parsed<T> = Result<T, Invalid>;

/// Returns a value; if there is none, the node is invalid.
pub(super) fn valid<T>(value: Option<T>) -> Parsed<T> {
    value.ok_or(Invalid::Value)
}

/// Parses a name of 1 to 255 bytes, without outer spaces. In the environment, a number is a name,
/// too.
pub(super) fn text(node: &Node) -> Parsed<String> {
    let text = node.as_text().unwrap_or_default().trim();
    if let Some(c) = text.chars().find(|c| is_invisible(*c)) {
        let message = format!(" {node} contains U+{:04X}, which is invisible", u32::from(c));
        return Err(Invalid::Parts(vec![message + "; remove it"]));
    }
    valid((1..=255).contains(&text.len()).then(|| text.to_owned()))
}

/// Parses a name; an empty one stands for none.
pub(super) fn text_or_none(node: &Node) -> Parsed<String> {
    match node.as_text().map(str::trim) {
        Some("") => Ok(String::new()),
        _ => text(node),
    }
}

pub(super) fn boolean(node: &Node) -> Parsed<bool> {
    valid(node.as_bool())
}

/// Parses the name of one of the values of an enum.
pub(super) fn one_of<T: Copy>(node: &Node, all: &[T], name: fn(T) -> &'static str) -> Parsed<T> {
    let is_named = |value: &T| node.as_text() == Some(name(*value));
    valid(all.iter().copied().find(is_named))
}

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn duration(node: &Node, range: &RangeInclusive<Duration>) -> Parsed<Duration> {
    let duration = node.as_text().and_then(duration::parse);
    valid(duration.filter(|duration| range.contains(duration)))
}

/// Parses a period; 0 is `None`.
pub(super) fn period(node: &Node, range: &RangeInclusive<Duration>) -> Parsed<Option<Duration>> {
    match node.as_text().and_then(duration::parse) {
        Some(Duration::ZERO) => Ok(None),
        _ => duration(node, range).map(Some),
    }
}

pub(super) fn socket_mode(node: &Node) -> Parsed<u32> {
    let digits = node.as_text().map(|t| t.strip_prefix("0o").unwrap_or(t));
    let digits = digits.filter(|digits| digits.chars().all(|c| c.is_digit(8)));
    let mode = digits.and_then(|digits| u32::from_str_radix(digits, 8).ok());
    valid(mode.filter(|mode| *mode <= 0o777))
}

pub(super) fn listen(node: &Node) -> Parsed<Listen> {
    /// Size of `sun_path` (unix(7)) without the terminating 0.
    const MAX_PATH_BYTES: usize = 107;
    let text = node.as_text().unwrap_or_default();
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

pub(super) fn allow(node: &Node) -> Parsed<Vec<IpNet>> {
    let expected = "a network such as \"192.168.0.0/16\" or \"::1\"";
    list(node, 0..=256, expected, |item, _| {
        let text = item.as_text()?;
        let network = text.parse::<IpNet>().map(|network| network.trunc());
        network.or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()
    })
}

pub(super) fn buckets(node: &Node) -> Parsed<Vec<f64>> {
    let expected = "a number above 0 and above the previous one";
    list(node, 1..=50, expected, |item, previous| {
        let min = previous.and_then(Node::as_number).unwrap_or_default().max(0.0);
        item.as_number().filter(|bound| *bound > min)
    })
}

/// Parses a list whose length is in `count`; `parse` gets each item and the one before it.
fn list<T>(
    node: &Node,
    count: RangeInclusive<usize>,
    expected: &str,
    parse: impl Fn(&Node, Option<&Node>) -> Option<T>,
) -> Parsed<Vec<T>> {
    let items = as_list(node).filter(|items| count.contains(&items.len()));
    let items = valid(items)?;
    all_valid(items.iter().enumerate().map(|(index, item)| {
        let previous = index.checked_sub(1).map(|previous| &items[previous]);
        parse(item, previous).ok_or_else(|| {
            let message =
                spelling::message(item, expected, &|item| parse(item, previous).is_some());
            format!("[{}]{message}", index + 1)
        })
    }))
}

/// Returns the items of a list. In the environment, brackets are optional.
fn as_list(node: &Node) -> Option<Vec<Node>> {
    match &node.value {
        Value::List(items) => Some(items.clone()),
        Value::Untyped(text) if text == "[]" => Some(Vec::new()),
        Value::Untyped(text) => {
            let items = match text.strip_prefix('[') {
                Some(items) => items.strip_suffix(']')?,
                None => text,
            };
            let item = |item| Node::untyped(item, node.origin.clone());
            Some(items.split(',').map(item).collect())
        }
        _ => None,
    }
}

/// Returns all values, or the messages about all that are invalid.
pub(super) fn all_valid<T>(results: impl Iterator<Item = Result<T, String>>) -> Parsed<Vec<T>> {
    let (mut values, mut messages) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(message) => messages.push(message),
        }
    }
    if messages.is_empty() { Ok(values) } else { Err(Invalid::Parts(messages)) }
}

pub(super) fn integer_up_to(node: &Node, max: u8) -> Parsed<u8> {
    valid(byte(node.as_integer()).filter(|number| *number <= max))
}

/// Parses a bus. In the file, a number has no quotes.
pub(super) fn bus(node: &Node) -> Parsed<BusName> {
    let number = byte(node.as_integer()).map(BusName::Number);
    let is_no_number = |bus: &BusName| !matches!(bus, BusName::Number(_));
    let named = || node.as_text()?.parse().ok().filter(is_no_number);
    valid(number.or_else(named))
}

pub(super) fn address(node: &Node, range: &RangeInclusive<u8>) -> Parsed<Address> {
    let byte = byte(integer_or_text(node)).filter(|byte| range.contains(byte));
    valid(byte.map(Address))
}

fn byte(number: Option<i64>) -> Option<u8> {
    u8::try_from(number?).ok()
}

/// Returns an integer, which may be in quotes.
fn integer_or_text(node: &Node) -> Option<i64> {
    node.as_integer().or_else(|| node.as_text().and_then(integer))
}

pub(super) fn positive(node: &Node, max: f64) -> Parsed<f64> {
    valid(node.as_number().filter(|number| *number > 0.0 && *number <= max))
}

pub(super) fn current(node: &Node, max_amperes: f64) -> Parsed<Quantity> {
    let current = node.as_text().and_then(quantity::parse);
    let in_range = |it: &Quantity| it.unit == "A" && it.number.abs() <= max_amperes;
    valid(current.filter(in_range))
}

/// Parses a count; `auto` is `None`.
pub(super) fn averaging(node: &Node) -> Parsed<Option<Averaging>> {
    let count = integer_or_text(node).and_then(|count| u32::try_from(count).ok());
    value_or_auto(node, count.and_then(Averaging::from_repr))
}

/// Parses a conversion time of the chip; `auto` is `None`.
pub(super) fn conversion_time(node: &Node) -> Parsed<Option<ConversionTime>> {
    let duration = node.as_text().and_then(duration::parse);
    let has_duration =
        |time: &ConversionTime| duration == Some(Duration::from_micros(time.micros().into()));
    value_or_auto(node, ConversionTime::ALL.iter().copied().find(has_duration))
}

fn value_or_auto<T>(node: &Node, value: Option<T>) -> Parsed<Option<T>> {
    let auto = (node.as_text() == Some("auto")).then_some(None);
    valid(value.map(Some).or(auto))
}
