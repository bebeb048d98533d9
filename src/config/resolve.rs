//! Reads the tables of the daemon and of its sensors into a plan, and checks what concerns several
//! keys or sensors. The sensors are `[[sensor]]` tables, or the single one of `device`, `bus`,
//! `address` and `mux` at the top of the file.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::keys::{self, KeyInfo, SINGLE_SENSOR};
use super::layers::{Layers, defaults};
use super::parse::RequestedAlert;
use super::plan::{Listen, Loaded, Plan, SensorPlan, ServerSettings};
use super::section::{Line, Section, print_lines};
use super::value::{Node, Nodes, Origin, Value, one_line, parse_value, quoted};
use super::{Overrides, Problems, quantity};
use crate::i2c::Location;
use crate::i2c::adapters::Adapters;
use crate::ina260::alert::Alert;
use crate::ina260::calibration::Calibration;
use crate::ina260::settings::{PartialSettings, Settings};
use crate::units::Amperes;

/// Maximum number of sensors. More are considered a mistake, and refused before they are checked.
const MAX_SENSORS: usize = 256;

/// Maximum number of buses. Each has a thread, which `TasksMax` of the unit allows for.
pub const MAX_BUSES: usize = 128;

/// The table of a sensor, and the properties in it that must be unique.
#[derive(Default)]
struct SensorTable {
    /// Name in messages; empty for the single sensor, which has no table.
    name: String,
    origin: Origin,
    table: Nodes,
    /// Empty: not read yet, or invalid.
    device: String,
    /// `None`: not read yet, or invalid.
    location: Option<Location>,
}

/// Adds the flags, reads all keys and checks them.
pub(super) fn resolve(mut layers: Layers, overrides: &Overrides) -> Result<Loaded, Problems> {
    layers.add_flags(&overrides.values);
    let mut top = layers.merged();
    let Layers { mut problems, has_file, .. } = layers;
    let mut sensors = take_sensors(&mut top, &mut problems);
    let with_tables = sensors.iter().any(|sensor| !sensor.name.is_empty());
    let mut section = Section::new("", top, &mut problems);
    let listen = section.take(&keys::LISTEN);
    let socket_mode = section.take(&keys::SOCKET_MODE);
    let allow = section.take(&keys::ALLOW);
    let hostname = section.take(&keys::HOSTNAME);
    let interval = section.take_with_origin(&keys::INTERVAL);
    let window = section.take(&keys::WINDOW);
    let buckets = section.take(&keys::BUCKETS);
    let mut plan = Plan {
        server: ServerSettings { listen, socket_mode, allow, buckets },
        hostname,
        window,
        summary: section.take(&keys::SUMMARY),
        log: section.take(&keys::LOG),
        script_metrics: section.take(&keys::SCRIPT_METRICS),
        wait_for_sensor: section.take(&keys::WAIT_FOR_SENSOR),
        simulate: overrides.simulate.clone(),
        has_file,
        sensors: Vec::new(),
    };
    // Access to a Unix socket is controlled by its permissions.
    if let (Listen::Unix(_), Some(line)) = (&plan.server.listen, section.line(&keys::LISTEN.info)) {
        let listen = format!("listen {} ({})", line.value, line.origin);
        let message = format!(" conflicts with {listen}; set socket_mode for a Unix socket");
        section.conflict(&keys::ALLOW.info, &message);
    }
    let mut lines = section.finish();

    let mut effective = String::new();
    for sensor in &mut sensors {
        let (sensor_plan, sensor_lines) = read_sensor(sensor, interval.clone(), &mut problems);
        plan.sensors.extend(sensor_plan);
        if with_tables {
            effective += "\n[[sensor]]\n";
            effective += &print_lines(&sensor_lines);
        } else {
            let is_single = |line: &Line| SINGLE_SENSOR.iter().any(|key| key.name == line.key);
            lines.extend(sensor_lines.into_iter().filter(is_single));
        }
    }
    let is_real = plan.simulate.is_none() && sensors.len() > 1;
    let adapters = if is_real { Adapters::read() } else { Adapters::default() };
    check_sensors(&sensors, &adapters, &mut problems);
    let effective = print_lines(&lines) + &effective;
    if problems.first.is_empty() {
        Ok(Loaded { plan, effective, with_tables })
    } else {
        Err(problems)
    }
}

/// Takes the sensors out of the top-level table.
fn take_sensors(top: &mut Nodes, problems: &mut Problems) -> Vec<SensorTable> {
    let single: Nodes = SINGLE_SENSOR.iter().filter_map(|key| top.remove_entry(key.name)).collect();
    let Some(list) = top.remove(keys::SENSOR_TABLES.info.name) else {
        return vec![SensorTable { table: single, ..SensorTable::default() }];
    };
    let mut tables = sensor_tables(&list, problems);
    for (key, Node { origin, value }) in single {
        match (&origin, tables.as_mut_slice()) {
            // The list overrides the single sensor of lower layers.
            (Origin::Default | Origin::File(_), _) if origin != list.origin => {}
            (Origin::File(_), _) => problems.add(
                &origin,
                format!("{key} {value} conflicts with [[sensor]]; move it into the sensor's table"),
            ),
            // The list is invalid, which is reported.
            (_, []) => {}
            (_, [SensorTable { table, .. }]) => {
                let value = value.over(table.remove(&key).map(|lower| lower.value));
                table.insert(key, Node { origin, value });
            }
            (_, sensors) => {
                let (file, n) = (&list.origin, sensors.len());
                let message = format!("{key} {value} is for a single sensor, but {file} has {n}");
                problems.add(&origin, message);
            }
        }
    }
    tables
}

fn sensor_tables(list: &Node, problems: &mut Problems) -> Vec<SensorTable> {
    let origin = &list.origin;
    let (value, expected) = match &list.value {
        Value::Untyped(text) => (parse_value(text), "[{ device = \"a\" }, { device = \"b\" }]"),
        value => (Some(value.clone()), "a line [[sensor]] above the keys of each sensor"),
    };
    let Some(items) = value.and_then(Value::try_as_list) else {
        problems.add(origin, format!("sensor {} is not a list; expected {expected}", list.value));
        return Vec::new();
    };
    let count = items.len();
    if count == 0 {
        let message = "sensor is an empty list; remove it to use device, bus, address and mux";
        problems.add(origin, message);
    }
    if count > MAX_SENSORS {
        let message = format!("has {count} sensors; at most {MAX_SENSORS} are supported");
        problems.add(origin, message);
        return Vec::new();
    }
    let mut tables = Vec::new();
    for (item, number) in items.into_iter().zip(1..) {
        let Value::Table(table) = item else {
            problems.add(origin, format!("sensor[{number}] {item} is not a table"));
            continue;
        };
        let name = match table.get(keys::DEVICE.info.name).and_then(Value::as_text) {
            Some(device) => format!("sensor[{number}] \"{}\"", one_line(device)),
            None => format!("sensor[{number}]"),
        };
        let node = |(key, value)| (key, Node { origin: origin.clone(), value });
        let table = table.into_iter().map(node).collect();
        tables.push(SensorTable { name, origin: origin.clone(), table, ..SensorTable::default() });
    }
    tables
}

/// Reads the keys of a sensor. `interval` is the default of its interval; `None`: invalid.
fn read_sensor(
    sensor: &mut SensorTable,
    mut interval: Option<(Duration, Origin)>,
    problems: &mut Problems,
) -> (Option<SensorPlan>, Vec<Line>) {
    let optional = keys::in_sensor().filter(|key| key.name != keys::DEVICE.info.name);
    for (key, value) in defaults(optional) {
        sensor.table.entry(key).or_insert(Node { origin: Origin::Default, value });
    }
    let mut section = Section::new(&sensor.name, std::mem::take(&mut sensor.table), problems);
    if !section.contains(&keys::DEVICE) {
        section.problem(&sensor.origin, "device is missing; each sensor needs its own");
    }
    let device = section.take(&keys::DEVICE);
    let location = Location {
        bus: section.take(&keys::BUS),
        address: section.take(&keys::ADDRESS),
        mux: section.take(&keys::MUX),
    };
    if section.contains(&keys::SENSOR_INTERVAL) {
        interval = section.take_with_origin(&keys::SENSOR_INTERVAL);
    }
    let partial = PartialSettings {
        averaging: section.take(&keys::AVERAGING),
        voltage_conversion_time: section.take(&keys::VOLTAGE_CONVERSION_TIME),
        current_conversion_time: section.take(&keys::CURRENT_CONVERSION_TIME),
    };
    let configure = section.take(&keys::CONFIGURE);
    let alert = section.take(&keys::ALERT);
    let power_guard = section.take(&keys::POWER_GUARD);
    let calibration = Calibration {
        current_gain: section.take(&keys::CURRENT_GAIN),
        current_offset: Amperes(section.take(&keys::CURRENT_OFFSET).number),
        voltage_gain: section.take(&keys::VOLTAGE_GAIN),
        reverse: section.take(&keys::REVERSE),
    };
    let labels = section.take(&keys::LABELS);
    // These would have to be written to the chip.
    if section.line(&keys::CONFIGURE.info).is_some_and(|line| line.value == "false") {
        for key in CYCLE.into_iter().chain([&keys::ALERT.info]) {
            section.conflict(key, " conflicts with configure = false (read-only mode)");
        }
    }
    let alert = alert.and_then(|alert| check_alert(&mut section, alert, &calibration));
    sensor.device.clone_from(&device);
    let is_located = section.has(&[keys::BUS.info, keys::MUX.info, keys::ADDRESS.info]);
    sensor.location = is_located.then_some(location);
    let plan = interval.and_then(|(interval, origin)| {
        let settings = choose_settings(&mut section, interval, origin, partial)?;
        Some(SensorPlan {
            device,
            location,
            interval,
            settings,
            configure,
            power_guard,
            alert,
            calibration,
            labels,
        })
    });
    (plan, section.finish())
}

/// Keys of the settings that determine a cycle.
static CYCLE: [&KeyInfo; 3] = [
    &keys::AVERAGING.info,
    &keys::VOLTAGE_CONVERSION_TIME.info,
    &keys::CURRENT_CONVERSION_TIME.info,
];

/// Returns the settings for an interval; `None`: a value is invalid, or none fit (reported).
fn choose_settings(
    section: &mut Section<'_>,
    interval: Duration,
    origin: Origin,
    partial: PartialSettings,
) -> Option<Settings> {
    let mut origins = vec![origin];
    for key in CYCLE {
        origins.push(section.line(key)?.origin.clone());
    }
    let report = |shortest: Duration| {
        let [interval, shortest] = [interval, shortest].map(quantity::write);
        let message = format!(
            "interval \"{interval}\" is too short; the shortest cycle with this averaging and \
             these conversion times is {shortest}"
        );
        // The highest layer made the combination invalid.
        section.problem(&origins.into_iter().max().unwrap_or(Origin::Default), message);
    };
    Settings::for_interval(interval, partial).map_err(report).ok()
}

/// Returns the chip's alert; `None`: a value is invalid, or the limit is out of range (reported).
fn check_alert(
    section: &mut Section<'_>,
    (function, limit, polarity): RequestedAlert,
    calibration: &Calibration,
) -> Option<Alert> {
    if !section.has(&[
        keys::CURRENT_GAIN.info,
        keys::CURRENT_OFFSET.info,
        keys::VOLTAGE_GAIN.info,
        keys::REVERSE.info,
    ]) {
        return None;
    }
    let report = |range: RangeInclusive<f64>| {
        // Seven digits, one more than the register has.
        let rounded = |end: &f64| format!("{end:.6e}").parse().unwrap_or(*end);
        let (min, max) = (rounded(range.start()), rounded(range.end()));
        let (limit, unit) = (one_line(&quoted(&limit.as_written)), function.unit());
        let expected = format!("{min}{unit} to {max}{unit}, the range of the chip's register");
        let calibrated =
            if *calibration == Calibration::default() { "" } else { " with this calibration" };
        let message = format!(".limit {limit} is invalid; expected {expected}{calibrated}");
        section.conflict(&keys::ALERT.info, &message);
    };
    Alert::new(function, limit.number, polarity, calibration).map_err(report).ok()
}

/// Reports sensors with the same device name or conflicting locations, and too many buses. The
/// `adapters` show which buses share wires; they are empty for simulated buses.
fn check_sensors(sensors: &[SensorTable], adapters: &Adapters, problems: &mut Problems) {
    for (index, sensor) in sensors.iter().enumerate() {
        let SensorTable { name, origin, device, location, .. } = sensor;
        let earlier = &sensors[..index];
        let is_same = |other: &&SensorTable| !device.is_empty() && other.device == *device;
        let same_name = earlier.iter().find(is_same).map(|other| {
            format!("device \"{device}\" duplicates the device name of {}", other.name)
        });
        let conflict = earlier.iter().find_map(|other| {
            let (location, other_location, other) = ((*location)?, other.location?, &other.name);
            if location == other_location {
                Some(format!("{location} duplicates the location of {other}"))
            } else if location.is_joined_to(&other_location) {
                Some(format!(
                    "{location} conflicts with {other}: the same address exists upstream and \
                     downstream of the mux"
                ))
            } else {
                let conflict = adapters.conflict(location, other_location)?;
                Some(format!(
                    "{location} duplicates the location of {other}, {other_location}: {conflict}"
                ))
            }
        });
        for message in same_name.into_iter().chain(conflict) {
            problems.add(origin, format!("{name}: {message}"));
        }
    }
    let buses: BTreeSet<_> = sensors.iter().filter_map(|it| Some(it.location?.bus)).collect();
    let count = buses.len();
    if count > MAX_BUSES {
        let message =
            format!("has {count} buses; at most {MAX_BUSES} are supported (each needs a thread)");
        problems.add(&sensors[0].origin, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i2c::adapters::tests::Machine;

    #[test]
    fn sensors_downstream_of_two_kernel_muxes_are_refused() {
        let machine = Machine::new(&[
            (1, "bcm2835 (i2c@7e804000)"),
            (11, "i2c-1-mux (chan_id 0)"),
            (19, "i2c-1-mux (chan_id 0)"),
        ]);
        machine.add_channel(11, "1-0070", "-1");
        machine.add_channel(19, "1-0071", "-1");
        let sensor = |name: &str, bus: &str| SensorTable {
            name: name.to_owned(),
            device: name.to_owned(),
            location: Location::from_labels(bus, "", "0x40"),
            ..SensorTable::default()
        };
        let found = |buses: [&str; 2]| {
            let mut problems = Problems::default();
            let sensors = [sensor("a", buses[0]), sensor("b", buses[1])];
            check_sensors(&sensors, &machine.adapters(), &mut problems);
            problems.to_string()
        };
        assert_eq!(
            found(["11", "19"]),
            "default: b: bus 19, 0x40 duplicates the location of a, bus 11, 0x40: they are \
             downstream of two muxes on one bus, 1-0071 and 1-0070, whose channels stay selected, \
             so that both respond; let the kernel deselect them (write -2 to idle_state of each, \
             e.g. `echo -2 | sudo tee /sys/bus/i2c/devices/1-0071/idle_state`), or unbind the \
             kernel's driver and set `mux` for both"
        );
        assert_eq!(
            found(["1", "19"]),
            "default: b: bus 19, 0x40 duplicates the location of a, bus 1, 0x40: one is \
             upstream, the other downstream of mux 1-0071, on the same wires; keep the one \
             downstream"
        );
    }
}
