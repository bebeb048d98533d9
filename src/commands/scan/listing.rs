//! Output of a scan: text, JSON, or tables to append to the configuration.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::ScanArgs;
use super::bus_scan::{BusReport, Device, DeviceKind};
use crate::commands::Failure;
use crate::config::{self, Loaded, Overrides, SensorPlan};
use crate::i2c::adapters::Adapters;
use crate::i2c::{BoundDriver, Location};
use crate::ina260::Error;

pub(super) fn write_text(reports: &[BusReport], output: &mut dyn Write) -> io::Result<()> {
    for BusReport { bus, name, in_use, devices, problems } in reports {
        let separator = if name.is_empty() { "" } else { "  " };
        writeln!(output, "bus {bus}{separator}{name}")?;
        if let Some(user) = in_use {
            writeln!(output, "  in use by {user}")?;
        }
        let on_bus = |Location { mux, address, .. }: Location| match mux {
            Some(channel) => format!("mux {channel}, {address}"),
            None => address.to_string(),
        };
        let locations: Vec<String> = devices.iter().map(|it| on_bus(it.location)).collect();
        let width = locations.iter().map(String::len).max().unwrap_or_default();
        for (location, Device { kind, name, .. }) in locations.iter().zip(devices) {
            let name = name.as_ref().map_or(String::new(), |name| format!(": {name}"));
            writeln!(output, "  {location:width$}  {kind}{name}")?;
        }
        for problem in problems {
            writeln!(output, "  {problem}")?;
        }
        if devices.is_empty() && problems.is_empty() {
            writeln!(output, "  no device found at 0x40-0x4f")?;
        }
    }
    Ok(())
}

pub(super) fn write_json(reports: &[BusReport], output: &mut dyn Write) -> io::Result<()> {
    let buses = reports.iter().map(|BusReport { bus, name, in_use, devices, problems }| {
        let chips: Vec<Value> = devices.iter().map(chip).collect();
        json!({
            "bus": bus, "name": name, "in_use_by": in_use, "chips": chips, "problems": problems
        })
    });
    writeln!(output, "{:#}", json!({ "buses": buses.collect::<Vec<_>>() }))
}

fn chip(Device { location, kind, name }: &Device) -> Value {
    let word = |word: u16| format!("{word:#06x}");
    let mut chip = match kind {
        DeviceKind::Ina260 { die } => json!({ "kind": "ina260", "die": word(*die) }),
        DeviceKind::Served => json!({ "kind": "ina260", "up": true }),
        DeviceKind::ServedDown => json!({ "kind": "ina260", "up": false }),
        DeviceKind::Unusable(Error::NotAnIna260 { name, manufacturer, die }) => {
            let (manufacturer, die) = (word(*manufacturer), word(*die));
            json!({ "kind": "other", "name": name, "manufacturer": manufacturer, "die": die })
        }
        DeviceKind::Unusable(Error::InUse(name)) => {
            json!({ "kind": "kernel-driver", "name": name })
        }
        DeviceKind::Unusable(Error::Bound(BoundDriver { driver, unbind, .. })) => {
            let kind = "kernel-driver";
            json!({ "kind": kind, "name": "INA260", "driver": driver, "release": unbind })
        }
        DeviceKind::Unusable(error) => json!({ "kind": "error", "error": error.to_string() }),
    };
    chip["address"] = json!(location.address.to_string());
    chip["mux"] = json!(location.mux.map(|channel| channel.to_string()));
    chip["device"] = json!(name);
    chip
}

/// Writes a table for each INA260 that is not in the configuration; a comment if there is neither
/// such an INA260 nor a problem. Fails without output if the appended tables would be invalid.
pub(super) fn write_tables(
    reports: &[BusReport],
    args: &ScanArgs,
    loaded: &Loaded,
    adapters: &Adapters,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    // A configuration without tables has the one default sensor, which an appended table replaces.
    let known = if loaded.with_tables { loaded.plan.sensors.as_slice() } else { &[] };
    let is_new = |Device { location, kind, .. }: &&Device| {
        let mut known = known.iter().map(|sensor| sensor.location);
        matches!(kind, DeviceKind::Ina260 { .. })
            && known.all(|it| it != *location && adapters.conflict(it, *location).is_none())
    };
    let mut tables = String::new();
    for BusReport { name, devices, .. } in reports {
        for device in devices.iter().filter(is_new) {
            tables += &new_table(device.location, name, known);
        }
    }
    let appended = Overrides { appended: tables.clone(), ..args.config.overrides() };
    config::load(&appended, config::environment())?;
    if tables.is_empty() && reports.iter().all(|report| report.problems.is_empty()) {
        tables += "# No INA260 to add: those found, if any, are already in the configuration.\n";
    }
    Ok(output.write_all(tables.as_bytes())?)
}

/// Returns the table of a sensor with a name that none of the known sensors has.
fn new_table(location: Location, adapter: &str, known: &[SensorPlan]) -> String {
    let mut device = location.device_name();
    while known.iter().any(|sensor| sensor.device == device) {
        device.push('_');
    }
    table(&device, location, adapter)
}

/// Returns the table of a sensor, with the adapter of its bus as a comment.
pub(in crate::commands) fn table(device: &str, location: Location, adapter: &str) -> String {
    let Location { bus, mux, address } = location;
    // A JSON string without control characters is also a TOML string.
    let comment = if adapter.is_empty() { String::new() } else { format!(" # {adapter}") };
    let mux = mux.map_or(String::new(), |mux| {
        format!("mux = {{ address = {}, channel = {} }}\n", mux.multiplexer, mux.channel)
    });
    format!(
        "\n[[sensor]]\ndevice = {}\nbus = {}{comment}\naddress = {address}\n{mux}",
        json!(device),
        json!(bus)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let load = |appended: &str| {
            let (config, appended) = (Some("/dev/null".into()), appended.to_owned());
            config::load(&Overrides { config, appended, ..Overrides::default() }, []).unwrap()
        };
        let loaded = load(taken);
        let table = new_table(location, "i2c-1-mux (chan_id 0)", &loaded.plan.sensors);
        assert_eq!(
            table,
            "\n[[sensor]]\ndevice = \"i2c-11-0x70-3-0x41_\"\nbus = 11 # i2c-1-mux (chan_id 0)\n\
             address = 0x41\n\
             mux = { address = 0x70, channel = 3 }\n"
        );
        let sensors = load(&format!("{taken}{table}")).plan.sensors;
        assert_eq!(sensors[1].location, location);
    }

    #[test]
    fn name_in_a_table_is_quoted() {
        let location = config::load_alone(&Overrides::default()).unwrap().plan.sensors[0].location;
        let name = r#"12" rail \ "GPU""#;
        let (config, appended) = (Some("/dev/null".into()), table(name, location, ""));
        let overrides = Overrides { config, appended, ..Overrides::default() };
        assert_eq!(config::load(&overrides, []).unwrap().plan.sensors[0].device, name);
    }
}
