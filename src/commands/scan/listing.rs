//! Output of a scan, as text and as JSON.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::bus_scan::BusReport;
use super::probe::{Device, DeviceKind};
use crate::ina260::Error;

/// Writes a paragraph for each bus, with a line for each device.
pub(super) fn write_text(reports: &[BusReport], output: &mut dyn Write) -> io::Result<()> {
    for report in reports {
        let name = &report.name;
        let separator = if name.is_empty() { "" } else { "  " };
        writeln!(output, "bus {}{separator}{name}", report.bus)?;
        if let Some(user) = &report.in_use {
            writeln!(output, "  in use by {user}")?;
        }
        let locations: Vec<String> = report.devices.iter().map(on_bus).collect();
        let width = locations.iter().map(String::len).max().unwrap_or_default();
        for (location, device) in locations.iter().zip(&report.devices) {
            let name = device.name.as_ref().map(|name| format!(": {name}"));
            let (kind, name) = (&device.kind, name.unwrap_or_default());
            writeln!(output, "  {location:width$}  {kind}{name}")?;
        }
        for problem in &report.problems {
            writeln!(output, "  {problem}")?;
        }
        if report.devices.is_empty() && report.problems.is_empty() {
            writeln!(output, "  no device found at 0x40-0x4f")?;
        }
    }
    output.flush()
}

/// Returns the location of a device without its bus.
fn on_bus(device: &Device) -> String {
    let address = device.location.address;
    match device.location.mux {
        Some(channel) => format!("mux {channel}, {address}"),
        None => address.to_string(),
    }
}

/// Writes one object with the key `buses`.
pub(super) fn write_json(reports: &[BusReport], output: &mut dyn Write) -> io::Result<()> {
    let bus = |report: &BusReport| {
        json!({
            "bus": report.bus,
            "name": report.name,
            "in_use_by": report.in_use,
            "chips": report.devices.iter().map(chip).collect::<Vec<_>>(),
            "problems": report.problems,
        })
    };
    let buses: Vec<Value> = reports.iter().map(bus).collect();
    writeln!(output, "{:#}", json!({ "buses": buses }))?;
    output.flush()
}

fn chip(device: &Device) -> Value {
    let word = |word: u16| format!("{word:#06x}");
    let (kind, more) = match &device.kind {
        DeviceKind::Ina260 { die } => ("ina260", json!({ "die": word(*die) })),
        DeviceKind::Served { up } => ("ina260", json!({ "up": up })),
        DeviceKind::Unusable(Error::NotAnIna260 { name, manufacturer, die }) => (
            "other",
            json!({ "name": name, "manufacturer": word(*manufacturer), "die": word(*die) }),
        ),
        DeviceKind::Unusable(Error::InUse(name)) => ("kernel-driver", json!({ "name": name })),
        DeviceKind::Unusable(Error::Bound(bound)) => (
            "kernel-driver",
            json!({ "name": "INA260", "driver": bound.driver, "release": bound.unbind }),
        ),
        DeviceKind::Unusable(error) => ("error", json!({ "error": error.to_string() })),
    };
    let mut chip = json!({
        "address": device.location.address.to_string(),
        "mux": device.location.mux.map(|channel| channel.to_string()),
        "kind": kind,
        "device": device.name,
    });
    if let (Value::Object(chip), Value::Object(more)) = (&mut chip, more) {
        chip.extend(more);
    }
    chip
}
