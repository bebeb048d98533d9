//! The plan that the daemon runs on, in types that hold only valid values where possible.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv6Net};
use strum::{Display, EnumString, VariantArray};

use crate::i2c::Location;
use crate::ina260::alert::Alert;
use crate::ina260::calibration::Calibration;
use crate::ina260::settings::Settings;
use crate::simulated::Faults;

/// The checked configuration: the sensors to measure, and how to serve their values.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How metrics are served.
    pub server: ServerSettings,
    /// Value of the label `hostname`.
    pub hostname: String,
    /// Length of the min/max window.
    pub window: Duration,
    /// Time between two log lines with mean values; `None`: never.
    pub summary: Option<Duration>,
    /// Minimum severity of messages to log.
    pub log: LogLevel,
    /// Whether the Python script's three gauges are served.
    pub script_metrics: bool,
    /// Whether to start even if no sensor responds.
    pub wait_for_sensor: bool,
    /// Faults of simulated sensors; `None`: real sensors.
    pub simulate: Option<Faults>,
    /// Whether there is a configuration file, which a reload then requires instead of the defaults.
    pub has_file: bool,
    /// At least one sensor.
    pub sensors: Vec<SensorPlan>,
}

/// Everything that is fixed when a listener and its recorder are built.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerSettings {
    /// Address that metrics are served on.
    pub listen: Listen,
    /// Permissions of the Unix socket.
    pub socket_mode: u32,
    /// Networks that may scrape over TCP; other peers get status 403. Empty: no restriction.
    pub allow: Vec<IpNet>,
    /// Upper bounds of the power distribution in watts: finite, above 0, ascending.
    pub buckets: Vec<f64>,
}

/// One sensor: its location, settings and labels.
#[derive(Clone, Debug, PartialEq)]
pub struct SensorPlan {
    /// Value of the label `device`; unique.
    pub device: String,
    /// Its location, with an address from 0x40 to 0x4f; unique.
    pub location: Location,
    /// Maximum nominal time between two results.
    pub interval: Duration,
    /// Settings that fit the interval.
    pub settings: Settings,
    /// Whether settings are written to the chip; if not (read-only mode), there is no alert.
    pub configure: bool,
    /// Whether the power guard may use the chip's comparator while there is no alert.
    pub power_guard: bool,
    /// Alert of the chip's comparator.
    pub alert: Option<Alert>,
    /// Correction of its results.
    pub calibration: Calibration,
    /// Additional labels of its series, sorted by name.
    pub labels: Vec<(String, String)>,
}

impl fmt::Display for SensorPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sensor {} ({})", self.device, self.location)
    }
}

/// A configuration without problems.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The plan.
    pub plan: Plan,
    /// The effective configuration as TOML, with the origin of each value.
    pub effective: String,
    /// Whether the sensors are `[[sensor]]` tables, to which more can be added.
    pub with_tables: bool,
}

impl ServerSettings {
    /// Returns the networks of `allow`, the IPv4 ones also in the form in which a dual-stack
    /// listener sees its peers: `::ffff:a.b.c.d` (RFC 4291, section 2.5.5.2).
    pub fn allowed_peers(&self) -> Vec<String> {
        let mapped = self.allow.iter().copied().filter_map(ipv4_mapped);
        let all = self.allow.iter().copied().chain(mapped);
        all.map(|network| network.to_string()).collect()
    }
}

fn ipv4_mapped(network: IpNet) -> Option<IpNet> {
    let IpNet::V4(v4) = network else { return None };
    let mapped = Ipv6Net::new(v4.addr().to_ipv6_mapped(), 96 + v4.prefix_len());
    mapped.ok().map(IpNet::V6)
}

/// Address that metrics are served on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// Absolute path of a Unix socket.
    Unix(PathBuf),
}

impl Listen {
    /// Returns the URL to scrape; for a Unix socket, `unix:` and its path.
    pub fn url(&self) -> String {
        match self {
            Self::Tcp(address) => format!("http://{address}/metrics"),
            Self::Unix(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Default for Listen {
    /// Returns a placeholder.
    fn default() -> Self {
        Self::Unix(PathBuf::new())
    }
}

/// Minimum severity of messages that are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Display, EnumString, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum LogLevel {
    /// Failures that end the program or affect it permanently.
    Error,
    /// Faults that need attention.
    Warn,
    /// Single events: starts, stops, ends of outages, summaries.
    #[default]
    Info,
    /// Every result.
    Debug,
    /// Every transfer.
    Trace,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_networks_have_a_mapped_form() {
        let mapped = |text: &str| ipv4_mapped(text.parse().unwrap()).map(|net| net.to_string());
        assert_eq!(mapped("192.168.0.0/16").unwrap(), "::ffff:192.168.0.0/112");
        assert_eq!(mapped("10.0.0.1/32").unwrap(), "::ffff:10.0.0.1/128");
        assert_eq!(mapped("fd00::/8"), None);
    }
}
