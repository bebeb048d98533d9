//! The sensors: `[[sensor]]` tables, or the one sensor that `device`, `bus`, `address` and `mux` make without any.

use super::layers::value_of;
use super::node::{Node, Origin, Table, Value, one_line};
use super::problem::Problems;
use super::sensor::{Found, Sensor};

/// The keys that mean the one sensor where they stand outside of a `[[sensor]]` table.
pub(super) const ONE_SENSOR: [&str; 4] = ["device", "bus", "address", "mux"];

/// Takes everything about sensors out of the top-level table.
pub(super) fn find(top: &mut Table, problems: &mut Problems) -> Vec<Found> {
    let alone: Table = ONE_SENSOR
        .into_iter()
        .filter_map(|key| top.remove_entry(key))
        .collect();
    let Some(node) = top.remove("sensor") else {
        return vec![Found {
            name: String::new(),
            origin: Origin::Default,
            table: alone,
        }];
    };
    let mut tables = tables(&node, problems);
    for (key, value) in alone {
        // What a lower layer says about the one sensor, a higher one has replaced with its list.
        if value.origin.rank() < node.origin.rank() || value.origin == Origin::Default {
            continue;
        }
        match (tables.as_mut_slice(), &value.origin) {
            (_, Origin::File(_)) => problems.add(
                &value.origin,
                format!("{key} {value} contradicts [[sensor]]: write it into the sensor's table"),
            ),
            // The list itself is the problem, and told.
            ([], _) => {}
            ([(_, table)], _) => merge_into(table, key, value),
            (tables, _) => problems.add(
                &value.origin,
                format!(
                    "{key} {value} is for one sensor, but {} has {}",
                    node.origin,
                    tables.len()
                ),
            ),
        }
    }
    let found = tables.into_iter().map(|(number, table)| Found {
        name: name(number, &table),
        origin: node.origin.clone(),
        table,
    });
    found.collect()
}

/// A variable may be about one key of a table only.
fn merge_into(table: &mut Table, key: String, above: Node) {
    match (table.get_mut(&key), above) {
        (
            Some(Node {
                origin,
                value: Value::Table(below),
            }),
            Node {
                origin: later,
                value: Value::Table(above),
            },
        ) => {
            below.extend(above);
            *origin = later;
        }
        (_, above) => {
            table.insert(key, above);
        }
    }
}

/// `sensor[1] "orin": `, counted from 1, or without the device if there is none.
fn name(number: usize, table: &Table) -> String {
    match table.get("device").map(|node| &node.value) {
        Some(Value::Text(device) | Value::Untyped(device)) => {
            format!("sensor[{number}] \"{}\": ", one_line(device))
        }
        _ => format!("sensor[{number}]: "),
    }
}

fn tables(node: &Node, problems: &mut Problems) -> Vec<(usize, Table)> {
    let value = match &node.value {
        Value::Untyped(text) => value_of(text, &node.origin),
        value => Some(value.clone()),
    };
    let Some(Value::List(items)) = value else {
        let why = "is not a list: write [[sensor]], or in the environment [{ device = \"a\" }, { device = \"b\" }]";
        problems.add(&node.origin, format!("sensor {node} {why}"));
        return Vec::new();
    };
    if items.is_empty() {
        problems.add(
            &node.origin,
            "sensor is an empty list: leave it out for the one sensor of device, bus, address, mux",
        );
    }
    let mut tables = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        match item.value {
            Value::Table(table) => tables.push((index + 1, table)),
            _ => problems.add(
                &node.origin,
                format!("sensor[{}] {item} is not a table", index + 1),
            ),
        }
    }
    tables
}

/// No two sensors have one name or one place.
pub(super) fn check(sensors: &[Sensor], problems: &mut Problems) {
    for (index, sensor) in sensors.iter().enumerate() {
        let earlier = |same: &dyn Fn(&Sensor) -> bool| {
            let other = sensors[..index].iter().find(|other| same(other))?;
            Some(other.name.trim_end_matches(": "))
        };
        let Sensor { name, origin, .. } = sensor;
        if let Some(device) = sensor.device.as_ref().map(|device| &device.value) {
            let same = |other: &Sensor| other.device.as_ref().is_some_and(|d| d.value == *device);
            if let Some(other) = earlier(&same) {
                problems.add(
                    origin,
                    format!("{name}device \"{device}\" is the name of {other} already"),
                );
            }
        }
        if let Some(location) = sensor.location() {
            let same = |other: &Sensor| other.location() == Some(location);
            let joined = |other: &Sensor| {
                other
                    .location()
                    .is_some_and(|other| location.is_joined_to(&other))
            };
            if let Some(other) = earlier(&same) {
                problems.add(
                    origin,
                    format!("{name}{location} is the location of {other} already"),
                );
            } else if let Some(other) = earlier(&joined) {
                problems.add(
                    origin,
                    format!(
                        "{name}{location} is one place with {other}: an open channel joins what is behind \
                         a multiplexer to what is not, and both would answer"
                    ),
                );
            }
        }
    }
}
