//! Output of a scan as tables to append to the configuration.

use std::fmt::Write as _;
use std::io::Write;

use serde_json::json;

use super::ScanArgs;
use super::bus_scan::BusReport;
use super::probe::DeviceKind;
use crate::commands::Failure;
use crate::config::{self, Loaded};
use crate::i2c::Location;
use crate::i2c::adapters::Adapters;

/// Writes a table for each INA260 that is not in the configuration.
///
/// # Errors
/// [`Failure::Configuration`], with no output, if the configuration is invalid with the tables
/// appended.
pub(super) fn write(
    reports: &[BusReport],
    args: &ScanArgs,
    loaded: &Loaded,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    // A configuration without tables has the one default sensor, which an appended table replaces.
    let sensors = loaded.plan.sensors.iter().filter(|_| loaded.with_tables);
    let adapters = Adapters::read();
    let known: Vec<Location> = sensors.map(|sensor| sensor.location).collect();
    let is_known = |found: Location| {
        let is_found = |it: &Location| *it == found || adapters.conflict(*it, found).is_some();
        known.iter().any(is_found)
    };
    let mut tables = String::new();
    for report in reports {
        for device in &report.devices {
            if matches!(device.kind, DeviceKind::Ina260 { .. }) && !is_known(device.location) {
                tables.push_str(&new_table(device.location, &report.name, loaded));
            }
        }
    }
    config::load_with(&args.config.overrides(), config::environment(), &tables)?;
    if tables.is_empty() {
        tables.push_str("# No INA260 found that is not yet in the configuration.\n");
    }
    output.write_all(tables.as_bytes())?;
    Ok(output.flush()?)
}

fn new_table(location: Location, adapter: &str, loaded: &Loaded) -> String {
    let is_taken = |name: &str| {
        let mut sensors = loaded.plan.sensors.iter();
        loaded.with_tables && sensors.any(|sensor| sensor.device == name)
    };
    let mut device = location.device_name();
    while is_taken(&device) {
        device.push('_');
    }
    table(&device, location, adapter)
}

/// Returns the table of a sensor, with the adapter of its bus as a comment.
pub(in crate::commands) fn table(device: &str, location: Location, adapter: &str) -> String {
    let comment = if adapter.is_empty() { String::new() } else { format!(" # {adapter}") };
    let mut table = format!(
        "\n[[sensor]]\ndevice = \"{device}\"\nbus = {}{comment}\naddress = {}\n",
        json!(location.bus),
        location.address
    );
    if let Some(channel) = location.mux {
        let (address, channel) = (channel.multiplexer, channel.channel);
        // Writing to a String never fails.
        let _ = writeln!(table, "mux = {{ address = {address}, channel = {channel} }}");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;
    use crate::i2c::Address;
    use crate::i2c::mux::Channel;

    #[test]
    fn generated_device_names_avoid_collisions() {
        let location = Location {
            bus: 11.into(),
            mux: Some(Channel { multiplexer: Address(0x70), channel: 3 }),
            address: Address(0x41),
        };
        let taken = "[[sensor]]\ndevice = \"i2c-11-0x70-3-0x41\"\n";
        let flags = Overrides { config: Some("/dev/null".into()), ..Overrides::default() };
        let loaded = config::load_with(&flags, [], taken).unwrap();
        let table = new_table(location, "i2c-1-mux (chan_id 0)", &loaded);
        assert_eq!(
            table,
            "\n[[sensor]]\ndevice = \"i2c-11-0x70-3-0x41_\"\nbus = 11 # i2c-1-mux (chan_id 0)\n\
             address = 0x41\n\
             mux = { address = 0x70, channel = 3 }\n"
        );
        let both = format!("{taken}{table}");
        let sensors = config::load_with(&flags, [], &both).unwrap().plan.sensors;
        assert_eq!(sensors[1].location, location);
    }
}
