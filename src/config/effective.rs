//! Values as TOML, for the configuration that `--check-config` prints.

use std::time::Duration;

use ipnet::IpNet;

use super::alert::Wanted;
use super::duration;
use super::node::Origin;
use super::plan::{Listen, LogLevel};
use super::quantity::Quantity;
use crate::i2c::Address;
use crate::i2c::mux::Channel;
use crate::ina260::settings::{Averaging, ConversionTime};

/// One line of the effective configuration.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) key: &'static str,
    pub(super) value: String,
    pub(super) origin: Origin,
}

/// Lines in columns, each with where its value came from.
pub(super) fn write(lines: &[Line]) -> String {
    let settings: Vec<String> = lines
        .iter()
        .map(|line| format!("{} = {}", line.key, line.value))
        .collect();
    // One long list of networks must not push every comment off the screen.
    let width = settings.iter().map(String::len).filter(|w| *w <= 60).max();
    let width = width.unwrap_or_default();
    let commented = settings.iter().zip(lines);
    let commented: Vec<String> = commented
        .map(|(setting, line)| format!("{setting:width$}  # {}\n", line.origin))
        .collect();
    commented.concat()
}

/// A value that is written as TOML, so that reading it gives the same value.
pub(super) trait Toml {
    fn toml(&self) -> String;
}

/// A basic string of TOML. Control characters never got into a value.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl Toml for String {
    fn toml(&self) -> String {
        quoted(self)
    }
}

impl Toml for bool {
    fn toml(&self) -> String {
        self.to_string()
    }
}

impl Toml for u8 {
    fn toml(&self) -> String {
        self.to_string()
    }
}

/// With a point or an exponent, so that TOML takes the largest for a float, too.
impl Toml for f64 {
    fn toml(&self) -> String {
        format!("{self:?}")
    }
}

impl Toml for Vec<f64> {
    fn toml(&self) -> String {
        let numbers: Vec<String> = self
            .iter()
            .map(|number| number.toml().trim_end_matches(".0").to_owned())
            .collect();
        format!("[{}]", numbers.join(", "))
    }
}

impl Toml for Quantity {
    fn toml(&self) -> String {
        quoted(&self.as_written)
    }
}

/// The mode of a socket.
impl Toml for u32 {
    fn toml(&self) -> String {
        format!("\"{self:04o}\"")
    }
}

impl Toml for Address {
    fn toml(&self) -> String {
        self.to_string()
    }
}

impl Toml for Duration {
    fn toml(&self) -> String {
        quoted(&duration::write(*self))
    }
}

impl Toml for Option<Channel> {
    fn toml(&self) -> String {
        self.map_or_else(
            || quoted("none"),
            |Channel {
                 multiplexer,
                 channel,
             }| { format!("{{ address = {multiplexer}, channel = {channel} }}") },
        )
    }
}

impl Toml for Option<Wanted> {
    fn toml(&self) -> String {
        self.as_ref().map_or_else(
            || quoted("none"),
            |wanted| {
                let polarity = wanted.polarity.name();
                format!(
                    "{{ on = \"{}\", limit = {}, polarity = \"{polarity}\" }}",
                    wanted.function.name(),
                    wanted.limit.toml()
                )
            },
        )
    }
}

/// A period that can be off.
impl Toml for Option<Duration> {
    fn toml(&self) -> String {
        self.unwrap_or_default().toml()
    }
}

impl Toml for Listen {
    fn toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Toml for LogLevel {
    fn toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Toml for Vec<IpNet> {
    fn toml(&self) -> String {
        let networks: Vec<String> = self.iter().map(|n| quoted(&n.to_string())).collect();
        format!("[{}]", networks.join(", "))
    }
}

impl Toml for Option<Averaging> {
    fn toml(&self) -> String {
        self.map_or_else(|| quoted("auto"), |averaging| averaging.count().to_string())
    }
}

impl Toml for Option<ConversionTime> {
    fn toml(&self) -> String {
        self.map_or_else(
            || quoted("auto"),
            |time| quoted(&format!("{}us", time.micros())),
        )
    }
}

/// Labels; their names need no quotes.
impl Toml for Vec<(String, String)> {
    fn toml(&self) -> String {
        if self.is_empty() {
            return "{}".to_owned();
        }
        let labels: Vec<String> = self
            .iter()
            .map(|(name, value)| format!("{name} = {}", quoted(value)))
            .collect();
        format!("{{ {} }}", labels.join(", "))
    }
}
