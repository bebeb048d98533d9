//! The text of a state file: JSON, or the lines of version 1, and a line with a checksum of it.

use std::io;

use serde::{Deserialize, Serialize};

use super::SavedSensor;

const VERSION: u32 = 2;
/// First line of a file of version 1.
const HEADER_1: &str = "ina260-exporter totals, version 1\n";

#[derive(Serialize, Deserialize)]
struct StateFile {
    version: u32,
    machine: String,
    sensors: Vec<SavedSensor>,
}

/// Returns the text of a file that this machine writes.
pub(super) fn text(sensors: Vec<SavedSensor>, machine: &str) -> io::Result<String> {
    let file = StateFile { version: VERSION, machine: machine.to_owned(), sensors };
    Ok(with_checksum(&(serde_json::to_string_pretty(&file)? + "\n")))
}

/// Returns the sensors of a file, if it is complete and was written by this machine, in this
/// version or version 1.
pub(super) fn parse(bytes: &[u8], machine: &str) -> Option<Vec<SavedSensor>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let body = &text[..text.rfind("checksum ")?];
    if text != with_checksum(body) {
        return None;
    }
    let (writer, sensors) = if let Some(lines) = body.strip_prefix(HEADER_1) {
        parse_version_1(lines)?
    } else {
        let file: StateFile = serde_json::from_str(body).ok()?;
        (file.version == VERSION).then_some((file.machine, file.sensors))?
    };
    let is_valid = writer == machine && sensors.iter().all(|it| it.location().is_some());
    is_valid.then_some(sensors)
}

/// Parses the lines of version 1, each a key and a value. Returns the machine ID and the sensors.
fn parse_version_1(lines: &str) -> Option<(String, Vec<SavedSensor>)> {
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
                sensors.push(SavedSensor { bus, mux, address, ..SavedSensor::default() });
            }
            ("name", Some(sensor)) => value.clone_into(&mut sensor.device),
            (counter, sensor) => {
                sensor?.counters.insert(counter.to_owned(), value.parse().ok()?);
            }
        }
    }
    Some((machine.to_owned(), sensors))
}

pub(super) fn with_checksum(body: &str) -> String {
    // FNV-1a (draft-eastlake-fnv), 64 bits: detects incomplete files, not manipulated ones.
    let checksum = body.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{body}checksum {checksum:016x}\n")
}
