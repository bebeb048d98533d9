//! From what was written to what it means, one reader a kind of value. A refusal says what is allowed.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::duration;
use super::layers::value_of;
use super::node::{Node, Value};
use super::plan::{Listen, LogLevel};
use crate::ina260::settings::{Averaging, ConversionTime};

/// Why a value is not taken: sentences that continue after the key's name.
#[derive(Debug, PartialEq)]
pub(super) struct Invalid(pub(super) Vec<String>);

impl Node {
    pub(super) fn invalid(&self, why: &str) -> Invalid {
        Invalid(vec![format!(" {self} {why}")])
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Untyped(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number; one that stands in quotes in the file is none.
    pub(super) fn as_integer(&self) -> Option<i128> {
        match &self.value {
            Value::Integer(number) => Some(*number),
            Value::Untyped(text) => integer(text),
            _ => None,
        }
    }
}

/// `0x40` and `64` are one number.
pub(super) fn integer(text: &str) -> Option<i128> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(i128::from),
        None => text.parse().ok(),
    }
}

/// A name: of the environment, numbers are names, too.
pub(super) fn text(node: &Node) -> Result<String, Invalid> {
    const LONGEST: usize = 255;
    let text = node
        .as_text()
        .ok_or_else(|| node.invalid("is not text: write it in quotes"))?;
    if text.is_empty() {
        Err(node.invalid("is empty"))
    } else if text.len() > LONGEST {
        Err(node.invalid(&format!("is longer than {LONGEST} bytes")))
    } else if text.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
        // The replacement character stands for what was not UTF-8 in the environment.
        Err(node.invalid("has characters that can't be printed"))
    } else {
        Ok(text.to_owned())
    }
}

pub(super) fn boolean(node: &Node) -> Result<bool, Invalid> {
    match &node.value {
        Value::Bool(yes) => Ok(*yes),
        Value::Untyped(text) if text == "true" => Ok(true),
        Value::Untyped(text) if text == "false" => Ok(false),
        _ => Err(node.invalid("is neither true nor false")),
    }
}

fn a_duration(node: &Node, like: &str) -> Result<Duration, Invalid> {
    node.as_text().and_then(duration::parse).ok_or_else(|| {
        node.invalid(&format!(
            "is not a duration like {like}: a number and one of us, ms, s, m, h, in quotes"
        ))
    })
}

/// At least one conversion of each quantity, at most what is still useful.
pub(super) fn interval(node: &Node) -> Result<Duration, Invalid> {
    let interval = a_duration(node, "\"100ms\" or \"1s\"")?;
    if (Duration::from_micros(280)..=Duration::from_secs(3600)).contains(&interval) {
        Ok(interval)
    } else {
        Err(node.invalid("is outside 280us..=1h"))
    }
}

/// Not shorter than what is shown anew, not longer than what somebody still remembers.
pub(super) fn window(node: &Node) -> Result<Duration, Invalid> {
    let window = a_duration(node, "\"60s\" or \"5m\"")?;
    if (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&window) {
        Ok(window)
    } else {
        Err(node.invalid("is outside 1s..=1h"))
    }
}

pub(super) fn summary(node: &Node) -> Result<Option<Duration>, Invalid> {
    let period = a_duration(node, "\"1m\", or \"0\" for none")?;
    if period.is_zero() {
        Ok(None)
    } else if (Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&period) {
        Ok(Some(period))
    } else {
        Err(node.invalid("is outside 1s..=24h, and not \"0\" for none"))
    }
}

pub(super) fn log(node: &Node) -> Result<LogLevel, Invalid> {
    LogLevel::ALL
        .into_iter()
        .find(|level| node.as_text() == Some(&level.to_string()))
        .ok_or_else(|| {
            node.invalid("is none of \"error\", \"warn\", \"info\", \"debug\", \"trace\"")
        })
}

pub(super) fn socket_mode(node: &Node) -> Result<u32, Invalid> {
    let digits = node.as_text().map(|t| t.strip_prefix("0o").unwrap_or(t));
    digits
        .filter(|digits| digits.chars().all(|c| c.is_digit(8)))
        .and_then(|digits| u32::from_str_radix(digits, 8).ok())
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| node.invalid("is not an octal mode in \"0000\"..=\"0777\", in quotes"))
}

pub(super) fn listen(node: &Node) -> Result<Listen, Invalid> {
    /// `sun_path` of `sockaddr_un` has 108 bytes, one of them for the final 0.
    const LONGEST: usize = 107;
    let text = node.as_text().unwrap_or_default();
    if let Some(path) = text.strip_prefix("unix:") {
        if !path.starts_with('/') || path.ends_with('/') || path.contains(char::is_control) {
            Err(node.invalid("is not an absolute path of a socket, like \"unix:/run/ina260-exporter/metrics.sock\""))
        } else if path.len() > LONGEST {
            Err(node.invalid(&format!(
                "has a path of {} bytes; a socket's is at most {LONGEST}",
                path.len()
            )))
        } else {
            Ok(Listen::Unix(PathBuf::from(path)))
        }
    } else {
        // Port 0 would be one that nobody knows.
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 => Ok(Listen::Tcp(address)),
            _ => Err(node.invalid(
                "is none of \"IP:PORT\", \"[IPV6]:PORT\", \"unix:/PATH\", like \"0.0.0.0:8000\"",
            )),
        }
    }
}

/// In the environment, commas do without brackets.
pub(super) fn list(node: &Node) -> Option<Vec<Node>> {
    match &node.value {
        Value::List(items) => Some(items.clone()),
        Value::Untyped(text) if text.trim_start().starts_with('[') => {
            match value_of(text, &node.origin) {
                Some(Value::List(items)) => Some(items),
                _ => None,
            }
        }
        Value::Untyped(text) => {
            let items = text.split(',').map(|item| Node {
                origin: node.origin.clone(),
                value: Value::Untyped(item.trim().to_owned()),
            });
            Some(items.collect())
        }
        _ => None,
    }
}

pub(super) fn allow(node: &Node) -> Result<Vec<IpNet>, Invalid> {
    let items = list(node).ok_or_else(|| {
        node.invalid("is not a list of networks like [\"192.168.0.0/16\", \"::1\"]")
    })?;
    every(items.iter().enumerate().map(|(index, item)| {
        let text = item.as_text().unwrap_or_default();
        text.parse::<IpNet>()
            .map(|network| network.trunc())
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| {
                Invalid(vec![format!(
                    "[{}] {item} is not a network like \"192.168.0.0/16\" or \"::1\"",
                    index + 1
                )])
            })
    }))
}

/// All values, or all refusals.
pub(super) fn every<T>(
    results: impl Iterator<Item = Result<T, Invalid>>,
) -> Result<Vec<T>, Invalid> {
    let (mut values, mut refused) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(Invalid(more)) => refused.extend(more),
        }
    }
    if refused.is_empty() {
        Ok(values)
    } else {
        Err(Invalid(refused))
    }
}

/// `None`: whatever suits the interval.
pub(super) fn averaging(node: &Node) -> Result<Option<Averaging>, Invalid> {
    if node.as_text() == Some("auto") {
        return Ok(None);
    }
    let count = node
        .as_integer()
        .or_else(|| node.as_text().and_then(integer));
    count
        .and_then(|count| u32::try_from(count).ok())
        .and_then(Averaging::from_count)
        .map(Some)
        .ok_or_else(|| {
            let counts = Averaging::ALL.map(|a| a.count().to_string()).join(", ");
            node.invalid(&format!("is none of \"auto\", {counts}"))
        })
}

/// `None`: whatever suits the interval.
pub(super) fn conversion_time(node: &Node) -> Result<Option<ConversionTime>, Invalid> {
    let text = node.as_text().unwrap_or_default();
    if text == "auto" {
        return Ok(None);
    }
    ConversionTime::ALL
        .into_iter()
        .find(|time| duration::parse(text) == Some(Duration::from_micros(time.micros().into())))
        .map(Some)
        .ok_or_else(|| {
            let times = ConversionTime::ALL.map(|t| format!("\"{}us\"", t.micros()));
            node.invalid(&format!("is none of \"auto\", {}", times.join(", ")))
        })
}
