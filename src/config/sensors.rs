//! The sensors: `[[sensor]]` tables, or the one sensor that `device`, `bus` and `address` make without any.

use std::time::Duration;

use super::duration;
use super::effective::{Line, Toml};
use super::labels;
use super::layers::{sensor_defaults, value_of};
use super::node::{Node, Origin, Table, Value, one_line};
use super::plan::SensorPlan;
use super::problem::Problems;
use super::read;
use super::section::{Section, Setting};
use crate::bus::Address;
use crate::ina260::settings::{Averaging, ConversionTime, Settings, TooShort, Wanted};

/// The keys that mean the one sensor where they stand outside of a `[[sensor]]` table.
pub(super) const ONE_SENSOR: [&str; 3] = ["device", "bus", "address"];

/// A sensor's table before it is read.
pub(super) struct Found {
    /// What stands in front of its keys in messages; empty for the one sensor without a table.
    name: String,
    origin: Origin,
    table: Table,
}

/// A sensor that was read; `None` is what has a problem.
pub(super) struct Sensor {
    name: String,
    origin: Origin,
    device: Option<Setting<String>>,
    bus: Option<Setting<u8>>,
    address: Option<Setting<Address>>,
    interval: Option<Setting<Duration>>,
    settings: Option<Settings>,
    labels: Option<Setting<Vec<(String, String)>>>,
    /// For the effective configuration.
    pub(super) lines: Vec<Line>,
}

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
            ([(_, table)], _) => {
                table.insert(key, value);
            }
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
            "sensor is an empty list: leave it out for the one sensor of device, bus, address",
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

impl Found {
    /// Whether it stands in a table of its own.
    pub(super) fn has_table(&self) -> bool {
        !self.name.is_empty()
    }

    /// Reads the table; `interval` is the daemon's.
    pub(super) fn read(
        mut self,
        interval: Option<&Setting<Duration>>,
        elsewhere: impl Fn(&str) -> Option<String>,
        problems: &mut Problems,
    ) -> Sensor {
        for (key, value) in sensor_defaults() {
            self.table.entry(key).or_insert(value);
        }
        let device_is_missing = !self.table.contains_key("device");
        let has_interval = self.table.contains_key("interval");
        let mut section = Section::new(self.name.clone(), self.table, problems);
        let device = section.take("device", read::text);
        if device_is_missing {
            section.problem(
                &self.origin,
                "device is missing: every sensor needs its own",
            );
        }
        let bus = section.take("bus", read::bus);
        let address = section.take("address", read::address);
        let own_interval = section.take("interval", read::interval);
        let interval = if has_interval {
            own_interval
        } else {
            interval.cloned()
        };
        let averaging = section.take("averaging", read::averaging);
        let voltage = section.take("voltage_conversion_time", read::conversion_time);
        let current = section.take("current_conversion_time", read::conversion_time);
        let labels = section.take("labels", labels::read);
        let settings = match (&interval, averaging, voltage, current) {
            (Some(interval), Some(averaging), Some(voltage), Some(current)) => {
                fit(&mut section, interval, &averaging, &voltage, &current)
            }
            _ => None,
        };
        Sensor {
            lines: section.finish(elsewhere),
            name: self.name,
            origin: self.origin,
            device,
            bus,
            address,
            interval,
            settings,
            labels,
        }
    }
}

/// The settings for an interval, or a problem where the last of those who decided about it wrote.
fn fit(
    section: &mut Section<'_>,
    interval: &Setting<Duration>,
    averaging: &Setting<Option<Averaging>>,
    voltage: &Setting<Option<ConversionTime>>,
    current: &Setting<Option<ConversionTime>>,
) -> Option<Settings> {
    let wanted = Wanted {
        averaging: averaging.value,
        voltage_conversion_time: voltage.value,
        current_conversion_time: current.value,
    };
    let TooShort(shortest) = match Settings::for_interval(interval.value, wanted) {
        Ok(settings) => return Some(settings),
        Err(too_short) => too_short,
    };
    let origins = [
        &interval.origin,
        &averaging.origin,
        &voltage.origin,
        &current.origin,
    ];
    let last = origins.into_iter().max_by_key(|origin| origin.rank());
    section.problem(
        last.unwrap_or(&interval.origin),
        &format!(
            "interval {} is shorter than {}, the shortest cycle with averaging = {}, \
             voltage_conversion_time = {}, current_conversion_time = {}",
            interval.value.toml(),
            duration::write(shortest),
            averaging.value.toml(),
            voltage.value.toml(),
            current.value.toml(),
        ),
    );
    None
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
        if let Some((bus, address)) = sensor.place() {
            let same = |other: &Sensor| other.place() == Some((bus, address));
            if let Some(other) = earlier(&same) {
                let place = format!("bus {bus}, address {address}");
                problems.add(
                    origin,
                    format!("{name}{place} is the place of {other} already"),
                );
            }
        }
    }
}

impl Sensor {
    fn place(&self) -> Option<(u8, Address)> {
        Some((self.bus.as_ref()?.value, self.address.as_ref()?.value))
    }

    /// Nothing, if there was a problem with any of it.
    pub(super) fn plan(self) -> Option<SensorPlan> {
        Some(SensorPlan {
            device: self.device?.value,
            bus: self.bus?.value,
            address: self.address?.value,
            interval: self.interval?.value,
            settings: self.settings?,
            labels: self.labels?.value,
        })
    }
}
