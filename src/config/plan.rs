//! The plan that the daemon runs on, in types that hold only valid values where possible.

use std::time::Duration;

use ipnet::{IpNet, Ipv6Net};

use super::check::{self, Identity};
use super::keys::{self, SINGLE_SENSOR};
use super::layers::{Layers, sensor_defaults};
use super::listen::Listen;
use super::log_level::LogLevel;
use super::node::Origin;
use super::print::{self, Line};
use super::problem::Problems;
use super::section::Section;
use super::sensor_tables::{self, SensorTable};
use crate::i2c::Location;
use crate::i2c::adapters::Adapters;
use crate::ina260::alert::Alert;
use crate::ina260::calibration::Calibration;
use crate::ina260::settings::{PartialSettings, Settings};
use crate::simulated::Faults;
use crate::units::Amperes;

/// The checked configuration: the sensors to measure, and how to serve their values.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Address that metrics are served on.
    pub listen: Listen,
    /// Permissions of the Unix socket.
    pub socket_mode: u32,
    /// Networks that may scrape over TCP; empty: no restriction.
    pub allow: Vec<IpNet>,
    /// Value of the label `hostname`.
    pub hostname: String,
    /// Length of the min/max window.
    pub window: Duration,
    /// Upper bounds of the power distribution in watts: finite, above 0, ascending.
    pub buckets: Vec<f64>,
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
    /// Whether there is a configuration file. If so, a reload needs it: without it, the defaults
    /// would silently take its place.
    pub has_file: bool,
    /// At least one sensor.
    pub sensors: Vec<SensorPlan>,
}

/// One sensor: its location, settings and labels.
#[derive(Clone, Debug, PartialEq)]
pub struct SensorPlan {
    /// Value of the label `device`; unique.
    pub device: String,
    /// Its location, with an address from 0x40 to 0x4f; unique.
    pub location: Location,
    /// Maximum time between two results.
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

impl Plan {
    /// Returns the networks of `allow` in the form that a listener needs: a dual-stack one sees
    /// IPv4 peers as `::ffff:a.b.c.d` (RFC 4291, section 2.5.5.2), so each IPv4 network is returned
    /// in both forms.
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

/// Reads all keys; `None`: there are problems, which are reported.
pub(super) fn read(
    layers: &Layers,
    simulate: Option<Faults>,
    problems: &mut Problems,
) -> Option<Loaded> {
    let mut top = layers.merged();
    let tables = sensor_tables::take(&mut top, problems);
    let mut section = Section::new("", top, problems);
    let listen = section.take(&keys::LISTEN);
    let socket_mode = section.take(&keys::SOCKET_MODE);
    let allow = section.take(&keys::ALLOW);
    let hostname = section.take(&keys::HOSTNAME);
    let interval = (section.take(&keys::INTERVAL), section.origin(&keys::INTERVAL.info));
    let mut plan = Plan {
        listen,
        socket_mode,
        allow,
        hostname,
        window: section.take(&keys::WINDOW),
        buckets: section.take(&keys::BUCKETS),
        summary: section.take(&keys::SUMMARY),
        log: section.take(&keys::LOG),
        script_metrics: section.take(&keys::SCRIPT_METRICS),
        wait_for_sensor: section.take(&keys::WAIT_FOR_SENSOR),
        simulate,
        has_file: layers.has_file,
        sensors: Vec::new(),
    };
    check::access(&mut section, &plan.listen);
    let mut lines = section.finish();

    let with_tables = tables.iter().any(|table| !table.name.is_empty());
    let (mut identities, mut effective) = (Vec::new(), String::new());
    for table in tables {
        let (identity, sensor, sensor_lines) = read_sensor(table, &interval, problems);
        plan.sensors.extend(sensor);
        identities.push(identity);
        if with_tables {
            effective += "\n[[sensor]]\n";
            effective += &print::lines(&sensor_lines);
        } else {
            let is_single = |line: &Line| SINGLE_SENSOR.iter().any(|key| key.name == line.key);
            lines.extend(sensor_lines.into_iter().filter(is_single));
        }
    }
    let is_real = plan.simulate.is_none() && identities.len() > 1;
    let adapters = if is_real { Adapters::read() } else { Adapters::default() };
    check::unique(&identities, &adapters, problems);
    check::bus_count(&identities, problems);
    problems.is_empty().then(|| Loaded {
        plan,
        effective: print::lines(&lines) + &effective,
        with_tables,
    })
}

/// Reads the keys of a sensor. `daemon_interval` is the default of its interval.
fn read_sensor(
    sensor: SensorTable,
    daemon_interval: &(Duration, Option<Origin>),
    problems: &mut Problems,
) -> (Identity, Option<SensorPlan>, Vec<Line>) {
    let SensorTable { name, origin, mut table } = sensor;
    for (key, value) in sensor_defaults() {
        table.entry(key).or_insert(value);
    }
    let mut section = Section::new(&name, table, problems);
    if !section.contains(&keys::DEVICE) {
        section.problem(&origin, "device is missing; each sensor needs its own");
    }
    let device = section.take(&keys::DEVICE);
    let location = Location {
        bus: section.take(&keys::BUS),
        address: section.take(&keys::ADDRESS),
        mux: section.take(&keys::MUX),
    };
    let interval = if section.contains(&keys::SENSOR_INTERVAL) {
        (section.take(&keys::SENSOR_INTERVAL), section.origin(&keys::SENSOR_INTERVAL.info))
    } else {
        daemon_interval.clone()
    };
    let partial = PartialSettings {
        averaging: section.take(&keys::AVERAGING),
        voltage_conversion_time: section.take(&keys::VOLTAGE_CONVERSION_TIME),
        current_conversion_time: section.take(&keys::CURRENT_CONVERSION_TIME),
    };
    let configure = section.take(&keys::CONFIGURE);
    let requested_alert = section.take(&keys::ALERT);
    let power_guard = section.take(&keys::POWER_GUARD);
    let calibration = Calibration {
        current_gain: section.take(&keys::CURRENT_GAIN),
        current_offset: Amperes(section.take(&keys::CURRENT_OFFSET).number),
        voltage_gain: section.take(&keys::VOLTAGE_GAIN),
        reverse: section.take(&keys::REVERSE),
    };
    let labels = section.take(&keys::LABELS);
    check::read_only(&mut section);
    let alert =
        requested_alert.and_then(|requested| check::alert(&mut section, &requested, &calibration));
    let identity = Identity {
        name,
        origin,
        device: section.has(&[keys::DEVICE.info]).then(|| device.clone()),
        location: section
            .has(&[keys::BUS.info, keys::MUX.info, keys::ADDRESS.info])
            .then_some(location),
    };
    let settings = check::settings(&mut section, &interval, partial);
    let plan = settings.map(|settings| SensorPlan {
        device,
        location,
        interval: interval.0,
        settings,
        configure,
        power_guard,
        alert,
        calibration,
        labels,
    });
    (identity, plan, section.finish())
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
