//! The table of all configuration keys. How to add one: `CONTRIBUTING.md`.

use std::time::Duration;

use ipnet::IpNet;
use serde_json::json;

use super::parse::{self, HOUR, Parsed, RequestedAlert, SECOND};
use super::plan::{Listen, LogLevel};
use super::quantity::{self, Amount};
use super::value::{Value, quoted};
use crate::i2c::mux::Channel;
use crate::i2c::{Address, BusName};
use crate::ina260::settings::{Averaging, ConversionTime};

pub(super) struct Key<T> {
    pub(super) info: KeyInfo,
    pub(super) parse: fn(&Value) -> Parsed<T>,
    /// Prints a value as TOML.
    pub(super) print: fn(&T) -> String,
}

/// Description of a key.
#[derive(Clone, Copy, Debug)]
pub struct KeyInfo {
    /// Name in the file.
    pub name: &'static str,
    /// Command-line flag that sets it, or empty.
    pub flag: &'static str,
    /// Default as TOML; an example, if `described_default` is set.
    pub default: &'static str,
    /// Description of a default that is not a fixed value, or empty.
    pub described_default: &'static str,
    /// Allowed values, for "expected ...".
    pub expected: &'static str,
    /// Meaning, as one line of Markdown without a final full stop.
    pub help: &'static str,
    /// Returns whether the key's parser accepts a value.
    pub(super) accepts: fn(&Value) -> bool,
}

/// Defines a static for each row (parser, printer, description), and a list of all descriptions.
macro_rules! keys {
    ($(#[$doc:meta])* $list:ident { $($key:ident: $type:ty = ($parse:expr, $print:expr) {
        name: $name:expr,
        $(flag: $flag:literal,)?
        default: $default:expr,
        $(described_default: $described_default:literal,)?
        expected: $expected:expr,
        help: $help:expr,
    })* }) => {
        $(pub(super) static $key: Key<$type> = Key {
            info: KeyInfo {
                name: $name,
                flag: concat!($($flag)?),
                default: $default,
                described_default: concat!($($described_default)?),
                expected: $expected,
                help: $help,
                accepts: |value| ($parse as fn(&Value) -> Parsed<$type>)(value).is_ok(),
            },
            parse: $parse,
            print: $print,
        };)*
        $(#[$doc])*
        pub static $list: &[&KeyInfo] = &[$(&$key.info),*];
    };
}

keys! {
    /// Keys of the daemon, at the top of the file.
    DAEMON {
        LISTEN: Listen = (parse::listen, quoted) {
            name: "listen", flag: "--listen", default: r#""0.0.0.0:8000""#,
            expected: r#""IP:PORT", "[IPV6]:PORT" or "unix:/PATH" with at most 107 bytes"#,
            help: r#"Address to serve metrics on; `"[::]:8000"` serves IPv6 and IPv4"#,
        }
        SOCKET_MODE: u32 = (parse::socket_mode, |mode| format!("\"{mode:04o}\"")) {
            name: "socket_mode", default: r#""0666""#,
            expected: r#"an octal mode from "0000" to "0777""#,
            help: "Permissions of the Unix socket",
        }
        ALLOW: Vec<IpNet> = (parse::allow, |networks| list(networks, quoted)) {
            name: "allow", default: "[]",
            expected: r#"an array of at most 256 networks such as ["192.168.0.0/16", "::1"]"#,
            help: "Networks that may scrape over TCP; empty: no restriction",
        }
        HOSTNAME: String = (parse::text_or_none, quoted) {
            name: "hostname", flag: "--hostname",
            default: r#""pi4""#, described_default: "the machine's name",
            expected: "a string of at most 255 printable bytes, in quotes (empty: no label)",
            help: "Value of the label `hostname`",
        }
        INTERVAL: Duration = (|value| parse::duration(value, SHORTEST_CYCLE..=HOUR), duration) {
            name: "interval", flag: "--interval", default: r#""1s""#,
            expected: INTERVAL_RANGE,
            help: "Maximum nominal time between two results; sets averaging and conversion times",
        }
        WINDOW: Duration = (|value| parse::duration(value, SECOND..=HOUR), duration) {
            name: "window", default: r#""1m""#, expected: r#"a duration from "1s" to "1h""#,
            help: "Length of the min/max window",
        }
        BUCKETS: Vec<f64> = (parse::buckets, |watts| {
            list(watts, |bound| format!("{bound:?}").trim_end_matches(".0").to_owned())
        }) {
            name: "buckets", default: "[0.1, 1, 10, 100]",
            expected: "an array of 1 to 50 ascending numbers above 0",
            help: "Upper bounds of the power distribution, in watts",
        }
        SUMMARY: Option<Duration> = (parse::period, |time| duration(&time.unwrap_or_default())) {
            name: "summary", default: r#""1h""#,
            expected: r#"a duration from "1s" to "24h", or "0" for none"#,
            help: "Time between two log lines with the mean values of all sensors",
        }
        LOG: LogLevel = (parse::one_of, quoted) {
            name: "log", flag: "--log-level", default: r#""info""#,
            expected: r#"one of "error", "warn", "info", "debug", "trace""#,
            help: "Minimum severity of messages to log; `debug` adds each result, `trace` each \
                   transfer",
        }
        SCRIPT_METRICS: bool = (parse::boolean, ToString::to_string) {
            name: "script_metrics", default: "true", expected: BOOLEAN,
            help: "Also serve the three gauges of the Python script that this exporter replaces",
        }
        WAIT_FOR_SENSOR: bool = (parse::boolean, ToString::to_string) {
            name: "wait_for_sensor", flag: "--wait-for-sensor", default: "false", expected: BOOLEAN,
            help: "Start even if no sensor responds, and keep retrying; the service always does",
        }
        SENSOR_TABLES: () = (|_| Ok(()), |()| String::new()) {
            name: "sensor", default: "[]", described_default: "none", expected: "[[sensor]] tables",
            help: "A table for each sensor, instead of the keys of a single sensor",
        }
    }
}

keys! {
    /// Keys of a `[[sensor]]` table that may also be at the top of the file, for a single sensor.
    SINGLE_SENSOR {
        DEVICE: String = (parse::text, quoted) {
            name: "device", flag: "--device", default: r#""deepx""#, expected: parse::LABEL_VALUE,
            help: "Name of the sensor (label `device`); must be unique",
        }
        BUS: BusName = (parse::bus, |bus| json!(bus).to_string()) {
            name: "bus", flag: "--bus", default: "1", expected: BusName::EXPECTED,
            help: "I2C bus of the sensor: the N in `/dev/i2c-N`, a path, or an adapter's name",
        }
        ADDRESS: Address = (|value| parse::address(value, &(0x40..=0x4f)), ToString::to_string) {
            name: "address", flag: "--address", default: "0x40",
            expected: "an integer from 0x40 to 0x4f",
            help: "Address of the sensor, as selected by its pins A0 and A1",
        }
        MUX: Option<Channel> = (parse::mux, |it| value_or("none", it.as_ref(), mux_toml)) {
            name: "mux", flag: "--mux", default: r#""none""#,
            expected: "\"none\" or a table such as { address = 0x70, channel = 7 } \
                       (as a flag or variable, 0x70:7)",
            help: "Mux (a TCA9548A at 0x70 to 0x77) and channel (0 to 7) upstream of the sensor",
        }
    }
}

keys! {
    /// Keys that only a `[[sensor]]` table has.
    SENSOR {
        SENSOR_INTERVAL: Duration = (INTERVAL.parse, duration) {
            name: "interval", default: r#""1s""#, described_default: "that of the daemon",
            expected: INTERVAL_RANGE,
            help: "Maximum nominal time between two results of this sensor",
        }
        AVERAGING: Option<Averaging> = (parse::averaging, |averaging| {
            value_or("auto", averaging.as_ref(), |value| value.count().to_string())
        }) {
            name: "averaging", default: r#""auto""#,
            expected: r#"one of "auto", 1, 4, 16, 64, 128, 256, 512, 1024"#,
            help: r#"Conversions averaged per result; `"auto"`: chosen to suit the interval"#,
        }
        VOLTAGE_CONVERSION_TIME: Option<ConversionTime> = (parse::conversion_time, |time| {
            value_or("auto", time.as_ref(), |time| format!("\"{}us\"", time.micros()))
        }) {
            name: "voltage_conversion_time", default: r#""auto""#, expected: CONVERSION_TIMES,
            help: "Duration of one voltage conversion",
        }
        CURRENT_CONVERSION_TIME: Option<ConversionTime> = (
            VOLTAGE_CONVERSION_TIME.parse, VOLTAGE_CONVERSION_TIME.print
        ) {
            name: "current_conversion_time", default: r#""auto""#, expected: CONVERSION_TIMES,
            help: "Duration of one current conversion",
        }
        CONFIGURE: bool = (parse::boolean, ToString::to_string) {
            name: "configure", default: "true", expected: BOOLEAN,
            help: "Whether the exporter configures the chip; `false`: read-only mode, for a chip \
                   that another I2C master configures",
        }
        ALERT: Option<RequestedAlert> = (parse::alert, |it| {
            value_or("none", it.as_ref(), alert_toml)
        }) {
            name: "alert", default: r#""none""#,
            expected: r#""none" or a table such as { on = "over-current", limit = "5A" }"#,
            help: "Limit that the chip's comparator checks: `on` is one of `over-current`, \
                   `under-current`, `over-voltage`, `under-voltage` and `over-power`; `limit` is \
                   in A, mA, V, mV, W or mW; `polarity` is `active-low` (default) or `active-high`",
        }
        POWER_GUARD: bool = (parse::boolean, ToString::to_string) {
            name: "power_guard", default: "true", expected: BOOLEAN,
            help: "Whether the chip's comparator, which drives the ALERT pin, may be used to \
                   verify the power register; `false`: the power of pulsed loads can read too low",
        }
        CURRENT_GAIN: f64 = (parse::gain, |gain| format!("{gain:?}")) {
            name: "current_gain", default: "1.0", expected: GAIN_RANGE,
            help: "Calibration: factor for the current",
        }
        CURRENT_OFFSET: Amount = (parse::current, |offset| quoted(&offset.as_written)) {
            name: "current_offset", default: r#""0mA""#,
            expected: r#"a current from "-1000A" to "1000A", in A or mA"#,
            help: "Calibration: added to the current, after the gain",
        }
        VOLTAGE_GAIN: f64 = (CURRENT_GAIN.parse, CURRENT_GAIN.print) {
            name: "voltage_gain", default: "1.0", expected: GAIN_RANGE,
            help: "Calibration: factor for the voltage",
        }
        REVERSE: bool = (parse::boolean, ToString::to_string) {
            name: "reverse", default: "false", expected: BOOLEAN,
            help: "Whether IN+ and IN- are swapped; `true`: current and power change sign",
        }
        LABELS: Vec<(String, String)> = (parse::labels, |labels| labels_toml(labels)) {
            name: "labels", default: "{}",
            expected: r#"a table of strings such as { rail = "12V" }"#,
            help: "Additional labels for all series of the sensor",
        }
    }
}

/// One conversion of the current and one of the voltage, 140 µs each.
const SHORTEST_CYCLE: Duration = Duration::from_micros(280);
const BOOLEAN: &str = "true or false";
const INTERVAL_RANGE: &str = r#"a duration from "280us" to "1h""#;
const CONVERSION_TIMES: &str = "one of \"auto\", \"140us\", \"204us\", \"332us\", \"588us\", \
    \"1100us\", \"2116us\", \"4156us\", \"8244us\"";
const GAIN_RANGE: &str = "a number above 0, at most 1000";

/// Returns the keys at the top of the file, in the order of the documentation.
pub fn at_top() -> impl Iterator<Item = &'static KeyInfo> {
    DAEMON.iter().chain(SINGLE_SENSOR).copied()
}

/// Returns the keys of a `[[sensor]]` table, in the order of the documentation.
pub fn in_sensor() -> impl Iterator<Item = &'static KeyInfo> {
    SINGLE_SENSOR.iter().chain(SENSOR).copied()
}

fn list<T>(items: &[T], print: fn(&T) -> String) -> String {
    let items: Vec<String> = items.iter().map(print).collect();
    format!("[{}]", items.join(", "))
}

/// Prints a value, or a word if there is none.
fn value_or<T>(word: &str, value: Option<&T>, print: fn(&T) -> String) -> String {
    value.map_or_else(|| quoted(word), print)
}

fn duration(duration: &Duration) -> String {
    quoted(&quantity::write(*duration))
}

fn mux_toml(channel: &Channel) -> String {
    let (address, channel) = (channel.multiplexer, channel.channel);
    format!("{{ address = {address}, channel = {channel} }}")
}

fn alert_toml((function, limit, polarity): &RequestedAlert) -> String {
    let [on, limit, polarity] = [function.name(), &limit.as_written, polarity.into()].map(quoted);
    format!("{{ on = {on}, limit = {limit}, polarity = {polarity} }}")
}

fn labels_toml(labels: &[(String, String)]) -> String {
    if labels.is_empty() {
        return "{}".to_owned();
    }
    let labels = labels.iter().map(|(name, value)| format!("{name} = {}", quoted(value)));
    format!("{{ {} }}", labels.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;

    #[test]
    fn expected_values_are_those_of_the_enums() {
        let is_listed = |key: &KeyInfo, value: &str| {
            assert!(key.expected.contains(value), "{}: {value}", key.name);
        };
        for level in LogLevel::VARIANTS {
            is_listed(&LOG.info, &quoted(level));
        }
        for averaging in Averaging::ALL {
            is_listed(&AVERAGING.info, &format!(", {}", averaging.count()));
        }
        for time in ConversionTime::ALL {
            is_listed(&VOLTAGE_CONVERSION_TIME.info, &format!("\"{}us\"", time.micros()));
        }
    }

    #[test]
    fn expected_values_need_no_quotes() {
        // Messages about variables and flags leave the quotes out.
        for key in at_top().chain(in_sensor()) {
            assert!(!key.expected.contains("\"\""), "{}: {}", key.name, key.expected);
        }
    }
}
