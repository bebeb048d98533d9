//! Finds the sensors: `[[sensor]]` tables, or the single sensor of `device`, `bus`, `address` and
//! `mux` at the top of the file.

use super::keys;
use super::node::{Node, Origin, Table, Value, one_line};
use super::problem::Problems;
use super::toml_text::parse_value;

/// The table of a sensor before its keys are read.
pub(super) struct SensorTable {
    /// Name in messages; empty for the single sensor, which has no table.
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) table: Table,
}

/// Maximum number of sensors. More are considered a mistake, and refused before they are checked.
const MAX_SENSORS: usize = 256;

/// Takes the sensors out of the top-level table.
pub(super) fn take(top: &mut Table, problems: &mut Problems) -> Vec<SensorTable> {
    let single = keys::SINGLE_SENSOR.iter();
    let single: Table = single.filter_map(|key| top.remove_entry(key.name)).collect();
    let Some(node) = top.remove(keys::SENSOR_TABLES.info.name) else {
        return vec![SensorTable { name: String::new(), origin: Origin::Default, table: single }];
    };
    let mut tables = tables(&node, problems);
    for (key, value) in single {
        let origin = value.origin.clone();
        // The list overrides the single sensor of lower layers.
        if origin == Origin::Default || origin.rank() < node.origin.rank() {
            continue;
        }
        match tables.as_mut_slice() {
            _ if matches!(origin, Origin::File(_)) => problems.add(
                &origin,
                format!("{key} {value} conflicts with [[sensor]]; move it into the sensor's table"),
            ),
            // The list is invalid, which is reported.
            [] => {}
            [sensor] => merge_into(&mut sensor.table, key, value),
            sensors => {
                let (file, count) = (&node.origin, sensors.len());
                let message = format!("is for a single sensor, but {file} has {count}");
                problems.add(&origin, format!("{key} {value} {message}"));
            }
        }
    }
    tables
}

/// Sets a key. A variable may set one key of an inline table, e.g. `..._MUX__CHANNEL`.
fn merge_into(table: &mut Table, key: String, higher: Node) {
    if let Some(Node { origin, value: Value::Table(lower) }) = table.get_mut(&key)
        && let Value::Table(higher_keys) = &higher.value
    {
        lower.extend(higher_keys.clone());
        *origin = higher.origin;
    } else {
        table.insert(key, higher);
    }
}

/// Returns the tables of the list.
fn tables(node: &Node, problems: &mut Problems) -> Vec<SensorTable> {
    let origin = &node.origin;
    let value = match &node.value {
        Value::Untyped(text) => parse_value(text, origin),
        value => Some(value.clone()),
    };
    let Some(Value::List(items)) = value else {
        let expected = match node.value {
            Value::Untyped(_) => "[{ device = \"a\" }, { device = \"b\" }]",
            _ => "a line [[sensor]] above the keys of each sensor",
        };
        problems.add(origin, format!("sensor {node} is not a list; expected {expected}"));
        return Vec::new();
    };
    if items.is_empty() {
        let message = "sensor is an empty list; remove it to use device, bus, address and mux";
        problems.add(origin, message);
    }
    if items.len() > MAX_SENSORS {
        let count = items.len();
        let words = format!("has {count} sensors; at most {MAX_SENSORS} are supported");
        problems.add(origin, words);
        return Vec::new();
    }
    let mut tables = Vec::new();
    for (item, number) in items.into_iter().zip(1..) {
        let Value::Table(table) = item.value else {
            problems.add(origin, format!("sensor[{number}] {item} is not a table"));
            continue;
        };
        let name = match table.get(keys::DEVICE.info.name).and_then(Node::as_text) {
            Some(device) => format!("sensor[{number}] \"{}\"", one_line(device)),
            None => format!("sensor[{number}]"),
        };
        tables.push(SensorTable { name, origin: origin.clone(), table });
    }
    tables
}
