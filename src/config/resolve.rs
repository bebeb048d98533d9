//! Reads the tables of the daemon and of its sensors into a plan. The sensors are `[[sensor]]`
//! tables, or the single one of `device`, `bus`, `address` and `mux` at the top of the file.

use std::time::Duration;

use super::check::{self, Identity};
use super::keys::{self, SINGLE_SENSOR};
use super::layers::{Layers, defaults};
use super::node::{Node, Nodes, Origin, Value, one_line};
use super::plan::{Loaded, Plan, SensorPlan, ServerSettings};
use super::section::{Line, Section, print_lines};
use super::toml_text::parse_value;
use super::{Overrides, Problems};
use crate::i2c::Location;
use crate::i2c::adapters::Adapters;
use crate::ina260::calibration::Calibration;
use crate::ina260::settings::PartialSettings;
use crate::units::Amperes;

/// Maximum number of sensors. More are considered a mistake, and refused before they are checked.
const MAX_SENSORS: usize = 256;

/// Adds the flags, reads all keys and checks them.
pub(super) fn resolve(mut layers: Layers, overrides: &Overrides) -> Result<Loaded, Problems> {
    layers.add_flags(&overrides.values);
    let mut top = layers.merged();
    let Layers { mut problems, has_file, .. } = layers;
    let (mut identities, tables): (Vec<_>, Vec<_>) =
        take_sensors(&mut top, &mut problems).into_iter().unzip();
    let with_tables = identities.iter().any(|sensor| !sensor.name.is_empty());
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
    check::access(&mut section, &plan.server.listen);
    let mut lines = section.finish();

    let mut effective = String::new();
    for (identity, table) in identities.iter_mut().zip(tables) {
        let (sensor, sensor_lines) = read_sensor(identity, table, interval.clone(), &mut problems);
        plan.sensors.extend(sensor);
        if with_tables {
            effective += "\n[[sensor]]\n";
            effective += &print_lines(&sensor_lines);
        } else {
            let is_single = |line: &Line| SINGLE_SENSOR.iter().any(|key| key.name == line.key);
            lines.extend(sensor_lines.into_iter().filter(is_single));
        }
    }
    let is_real = plan.simulate.is_none() && identities.len() > 1;
    let adapters = if is_real { Adapters::read() } else { Adapters::default() };
    check::sensors(&identities, &adapters, &mut problems);
    let effective = print_lines(&lines) + &effective;
    if problems.first.is_empty() {
        Ok(Loaded { plan, effective, with_tables })
    } else {
        Err(problems)
    }
}

/// Takes the sensors out of the top-level table.
fn take_sensors(top: &mut Nodes, problems: &mut Problems) -> Vec<(Identity, Nodes)> {
    let single: Nodes = SINGLE_SENSOR.iter().filter_map(|key| top.remove_entry(key.name)).collect();
    let Some(list) = top.remove(keys::SENSOR_TABLES.info.name) else {
        return vec![(Identity::default(), single)];
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
            (_, [(_, table)]) => {
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

fn sensor_tables(list: &Node, problems: &mut Problems) -> Vec<(Identity, Nodes)> {
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
        let identity = Identity { name, origin: origin.clone(), ..Identity::default() };
        tables.push((identity, table.into_iter().map(node).collect()));
    }
    tables
}

/// Reads the keys of a sensor. `interval` is the default of its interval; `None`: invalid.
fn read_sensor(
    identity: &mut Identity,
    mut table: Nodes,
    mut interval: Option<(Duration, Origin)>,
    problems: &mut Problems,
) -> (Option<SensorPlan>, Vec<Line>) {
    let optional = keys::in_sensor().filter(|key| key.name != keys::DEVICE.info.name);
    for (key, value) in defaults(optional) {
        table.entry(key).or_insert(Node { origin: Origin::Default, value });
    }
    let mut section = Section::new(&identity.name, table, problems);
    if !section.contains(&keys::DEVICE) {
        section.problem(&identity.origin, "device is missing; each sensor needs its own");
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
    check::read_only(&mut section);
    let alert = alert.and_then(|alert| check::alert(&mut section, alert, &calibration));
    identity.device.clone_from(&device);
    let is_located = section.has(&[keys::BUS.info, keys::MUX.info, keys::ADDRESS.info]);
    identity.location = is_located.then_some(location);
    let plan = interval.and_then(|(interval, origin)| {
        let settings = check::settings(&mut section, interval, origin, partial)?;
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
