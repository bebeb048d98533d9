//! What the daemon runs on: only what is legal can be written with these types, as far as types can say it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv6Net};

use crate::i2c::Location;
use crate::ina260::alert::Alert;
use crate::ina260::calibration::Calibration;
use crate::ina260::settings::Settings;
use crate::simulated::Faults;

/// What to measure, and how to serve it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Where metrics are served.
    pub listen: Listen,
    /// Permissions of the Unix socket.
    pub socket_mode: u32,
    /// Networks that may scrape over TCP; empty: everyone.
    pub allow: Vec<IpNet>,
    /// Value of the label `hostname`.
    pub hostname: String,
    /// The time that minimum and maximum look back over.
    pub window: Duration,
    /// Upper bounds of the distribution of power, in watts, rising; a finite number above 0 each.
    pub buckets: Vec<f64>,
    /// How often a line of means goes to the log; `None`: never.
    pub summary: Option<Duration>,
    /// What goes to the log.
    pub log: LogLevel,
    /// Whether the Python script's three gauges are served, too.
    pub script_metrics: bool,
    /// Whether to start without any sensor that answers.
    pub wait_for_sensor: bool,
    /// Run on simulated sensors, with these faults.
    pub simulate: Option<Faults>,
    /// At least one.
    pub sensors: Vec<SensorPlan>,
}

impl Plan {
    /// The networks of `allow` as a listener has to know them: a dual-stack one sees IPv4 peers as `::ffff:a.b.c.d`
    /// (RFC 4291, section 2.5.5.2), so that each IPv4 network has a twin.
    #[must_use]
    pub fn allowed_peers(&self) -> Vec<String> {
        let with_twin = |network: &IpNet| [Some(*network), mapped_twin(*network)];
        self.allow
            .iter()
            .flat_map(with_twin)
            .flatten()
            .map(|network| network.to_string())
            .collect()
    }

    /// Keys that differ from those of `next` and that a running daemon can't change.
    #[must_use]
    pub fn fixed_changes(&self, next: &Self) -> Vec<&'static str> {
        [
            ("listen", self.listen != next.listen),
            ("socket_mode", self.socket_mode != next.socket_mode),
            ("allow", self.allow != next.allow),
            ("buckets", self.buckets != next.buckets),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }

    /// Takes over from `running` what a running daemon cannot change.
    pub fn keep_fixed(&mut self, running: &Self) {
        self.listen.clone_from(&running.listen);
        self.socket_mode = running.socket_mode;
        self.allow.clone_from(&running.allow);
        self.buckets.clone_from(&running.buckets);
    }
}

/// One sensor: where it is, how it is set, and what its series are labelled with.
#[derive(Clone, Debug, PartialEq)]
pub struct SensorPlan {
    /// Value of the label `device`; no two sensors have the same.
    pub device: String,
    /// Its location, at an address from 0x40 to 0x4f.
    pub location: Location,
    /// The longest cycle wanted.
    pub interval: Duration,
    /// The settings that fit into the interval.
    pub settings: Settings,
    /// Whether anything is written to the chip; if not, somebody else sets it, and it has no alert.
    pub configure: bool,
    /// What the chip's comparator watches.
    pub alert: Option<Alert>,
    /// What its results are corrected by.
    pub calibration: Calibration,
    /// Further labels of its series, by name.
    pub labels: Vec<(String, String)>,
}

/// Where metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port.
    Tcp(SocketAddr),
    /// The absolute path of a Unix socket.
    Unix(PathBuf),
}

impl Listen {
    /// What a scraper is told.
    #[must_use]
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

/// The least important messages that still go to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What made the daemon or a sensor unusable.
    Error,
    /// What somebody should look at.
    Warn,
    /// What happens once: starts, stops, outages, summaries.
    Info,
    /// Every result.
    Debug,
    /// Every transfer.
    Trace,
}

impl LogLevel {
    /// Every level, most important first.
    pub const ALL: [Self; 5] = [
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        })
    }
}

fn mapped_twin(network: IpNet) -> Option<IpNet> {
    let IpNet::V4(v4) = network else { return None };
    let twin = Ipv6Net::new(v4.addr().to_ipv6_mapped(), 96 + v4.prefix_len());
    twin.ok().map(IpNet::V6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_network_has_a_mapped_twin() {
        let twin = |text: &str| mapped_twin(text.parse().unwrap()).map(|net| net.to_string());
        assert_eq!(twin("192.168.0.0/16").unwrap(), "::ffff:192.168.0.0/112");
        assert_eq!(twin("10.0.0.1/32").unwrap(), "::ffff:10.0.0.1/128");
        assert_eq!(twin("fd00::/8"), None);
    }
}
