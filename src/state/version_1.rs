//! Reads state files of version 1: lines that each consist of a key and a value.

use std::collections::BTreeMap;

use super::SavedSensor;

/// First line of a file.
pub(super) const HEADER: &str = "ina260-exporter totals, version 1\n";

/// Parses the lines after the header. Returns the machine ID and the sensors.
pub(super) fn parse(lines: &str) -> Option<(String, Vec<SavedSensor>)> {
    let (machine, lines) = lines.strip_prefix("machine ")?.split_once('\n')?;
    let mut sensors: Vec<SavedSensor> = Vec::new();
    for line in lines.lines() {
        let (key, value) = line.split_once(' ')?;
        match (key, sensors.last_mut()) {
            // `1 0x41`, or `1 0x70:3 0x41` for a chip downstream of a mux.
            ("sensor", _) => {
                let (bus, chip) = value.split_once(' ')?;
                let (mux, address) = chip.split_once(' ').unwrap_or(("", chip));
                let [bus, mux, address] = [bus, mux, address].map(str::to_owned);
                let (device, counters) = (String::new(), BTreeMap::new());
                sensors.push(SavedSensor { bus, mux, address, device, counters });
            }
            ("name", Some(sensor)) => value.clone_into(&mut sensor.device),
            (counter, Some(sensor)) => {
                sensor.counters.insert(counter.to_owned(), value.parse().ok()?);
            }
            (_, None) => return None,
        }
    }
    Some((machine.to_owned(), sensors))
}
