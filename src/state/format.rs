//! The text of a state file: JSON, and a line with a checksum of it.

use std::io;

use serde::{Deserialize, Serialize};

use super::{SavedSensor, version_1};

const VERSION: u32 = 2;

#[derive(Serialize, Deserialize)]
struct StateFile {
    version: u32,
    machine: String,
    sensors: Vec<SavedSensor>,
}

/// Returns the text of a file that this machine writes.
pub(super) fn text(sensors: Vec<SavedSensor>, machine: &str) -> io::Result<String> {
    let file = StateFile { version: VERSION, machine: machine.to_owned(), sensors };
    let body = serde_json::to_string_pretty(&file)? + "\n";
    Ok(with_checksum(&body))
}

/// Returns the sensors of a file, if it is complete and was written by this machine, in this
/// version or version 1.
pub(super) fn parse(bytes: &[u8], machine: &str) -> Option<Vec<SavedSensor>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let body = &text[..text.rfind("checksum ")?];
    if text != with_checksum(body) {
        return None;
    }
    let (writer, sensors) = if let Some(lines) = body.strip_prefix(version_1::HEADER) {
        version_1::parse(lines)?
    } else {
        let file: StateFile = serde_json::from_str(body).ok()?;
        (file.version == VERSION).then_some((file.machine, file.sensors))?
    };
    let is_valid = writer == machine && sensors.iter().all(|it| it.location().is_some());
    is_valid.then_some(sensors)
}

pub(super) fn with_checksum(body: &str) -> String {
    format!("{body}checksum {:016x}\n", checksum(body.as_bytes()))
}

/// FNV-1a (draft-eastlake-fnv), 64 bits: detects incomplete files, not manipulated ones.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
