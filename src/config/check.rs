//! Checks that concern more than one key, or more than one sensor.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::keys::{
    ALERT, ALLOW, AVERAGING, CONFIGURE, CURRENT_CONVERSION_TIME, CURRENT_GAIN, CURRENT_OFFSET,
    KeyInfo, LISTEN, REVERSE, VOLTAGE_CONVERSION_TIME, VOLTAGE_GAIN,
};
use super::node::{Origin, one_line};
use super::parse::RequestedAlert;
use super::plan::Listen;
use super::section::Section;
use super::toml_text::quoted;
use super::{Problems, quantity};
use crate::i2c::Location;
use crate::i2c::adapters::Adapters;
use crate::ina260::alert::Alert;
use crate::ina260::calibration::Calibration;
use crate::ina260::settings::{PartialSettings, Settings};

/// Reports `allow` for a Unix socket: access to it is controlled by its permissions.
pub(super) fn access(section: &mut Section<'_>, listen: &Listen) {
    if let (Listen::Unix(_), Some(line)) = (listen, section.line(&LISTEN.info)) {
        let listen = format!("listen {} ({})", line.value, line.origin);
        let message = format!(" conflicts with {listen}; set socket_mode for a Unix socket");
        section.conflict(&ALLOW.info, &message);
    }
}

/// Reports settings that would have to be written to a chip in read-only mode.
pub(super) fn read_only(section: &mut Section<'_>) {
    if section.line(&CONFIGURE.info).is_some_and(|line| line.value == "false") {
        for key in CYCLE.into_iter().chain([&ALERT.info]) {
            section.conflict(key, " conflicts with configure = false (read-only mode)");
        }
    }
}

/// Keys of the settings that determine a cycle.
static CYCLE: [&KeyInfo; 3] =
    [&AVERAGING.info, &VOLTAGE_CONVERSION_TIME.info, &CURRENT_CONVERSION_TIME.info];

/// Returns the settings for an interval; `None`: a value is invalid, or no settings fit, which is
/// reported.
pub(super) fn settings(
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

/// Returns the alert as the chip represents it; `None`: a value is invalid, or the limit is out of
/// range, which is reported.
pub(super) fn alert(
    section: &mut Section<'_>,
    (function, limit, polarity): RequestedAlert,
    calibration: &Calibration,
) -> Option<Alert> {
    if !section.has(&[CURRENT_GAIN.info, CURRENT_OFFSET.info, VOLTAGE_GAIN.info, REVERSE.info]) {
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
        section.conflict(&ALERT.info, &message);
    };
    Alert::new(function, limit.number, polarity, calibration).map_err(report).ok()
}

/// A sensor's properties that must be unique.
#[derive(Default)]
pub(super) struct Identity {
    /// Name in messages; empty for the single sensor, which has no table.
    pub(super) name: String,
    pub(super) origin: Origin,
    /// Empty: not read yet, or invalid.
    pub(super) device: String,
    /// `None`: not read yet, or invalid.
    pub(super) location: Option<Location>,
}

/// Maximum number of buses. Each has a thread, which `TasksMax` of the unit allows for.
pub const MAX_BUSES: usize = 128;

/// Reports sensors with the same device name, or with locations that respond at the same time, and
/// too many buses. The `adapters` show which buses share wires; they are empty for simulated buses.
pub(super) fn sensors(sensors: &[Identity], adapters: &Adapters, problems: &mut Problems) {
    for (index, sensor) in sensors.iter().enumerate() {
        let Identity { name, origin, device, location } = sensor;
        let earlier = &sensors[..index];
        let is_same = |other: &&Identity| !device.is_empty() && other.device == *device;
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
        let sensor = |name: &str, bus: &str| Identity {
            name: name.to_owned(),
            origin: Origin::Default,
            device: name.to_owned(),
            location: Location::from_labels(bus, "", "0x40"),
        };
        let found = |buses: [&str; 2]| {
            let mut problems = Problems::default();
            let sensors = [sensor("a", buses[0]), sensor("b", buses[1])];
            super::sensors(&sensors, &machine.adapters(), &mut problems);
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
