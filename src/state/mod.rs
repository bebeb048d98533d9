//! Counts that outlive the process: written at its end, taken at its next start, and never there in between.
//!
//! A counter that goes back to an old value would make Prometheus count everything since then twice; one that goes back to 0 it
//! understands. So a file that was read is unlinked, for good, before anything of it is used: after an unclean end there is none.
//! One that can't be is not used either; a later start would take it, so its removal is tried again.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::i2c::Location;

mod file_ops;

use file_ops::{FileOps, FileSystem};

/// The counters of one sensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedSensor {
    /// Its location, which identifies it.
    pub location: Location,
    /// Its device name, for people who read the file.
    pub device: String,
    /// Counters by name.
    pub counters: Vec<(String, u128)>,
}

/// Why there is nothing to go on from, though there should be.
#[derive(Debug)]
pub enum RestoreError {
    /// The file could not be read, or not be removed for good.
    Io(io::Error),
    /// What a start after a power cut finds may not be what was there before.
    Overlay,
    /// It was written by another machine or another version, or not to its end; it was moved to this path.
    Foreign(PathBuf),
}

impl std::fmt::Display for RestoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Overlay => write!(
                f,
                "the state directory is on an overlay, which may bring old totals back"
            ),
            Self::Foreign(aside) => write!(
                f,
                "not a whole file of this version from this machine; kept as {}",
                aside.display()
            ),
        }
    }
}

impl std::error::Error for RestoreError {}

/// The state directory.
pub struct Store {
    directory: PathBuf,
    machine: String,
    disk: Box<dyn FileOps>,
}

impl Store {
    const FILE: &str = "totals";
    const NEW: &str = "totals.new";
    const ASIDE: &str = "totals.refused";
    const HEADER: &str = "ina260-exporter totals, version 1";

    /// The directory that systemd made (systemd.exec(5), `StateDirectory=`). Without one nothing is kept.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let directories = std::env::var("STATE_DIRECTORY").ok()?;
        let directory = directories
            .split(':')
            .next()
            .filter(|first| !first.is_empty())?;
        let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
        Some(Self::new(Path::new(directory), machine.trim()))
    }

    /// A directory on a machine with this machine-id(5).
    #[must_use]
    pub fn new(directory: &Path, machine: &str) -> Self {
        Self::on(directory, machine, Box::new(FileSystem))
    }

    fn on(directory: &Path, machine: &str, disk: Box<dyn FileOps>) -> Self {
        Self {
            directory: directory.to_owned(),
            machine: machine.to_owned(),
            disk,
        }
    }

    /// Takes what the last clean end left, so that no later start can take it again. No file is no entry.
    ///
    /// # Errors
    /// [`RestoreError`]: nothing may be used.
    pub fn load_and_remove(&self) -> Result<Vec<SavedSensor>, RestoreError> {
        let bytes = match self.disk.read(&self.path(Self::FILE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // It may have been removed, but not for good.
                let synced = self.disk.sync(&self.directory);
                return synced.map(|()| Vec::new()).map_err(RestoreError::Io);
            }
            Err(error) => return Err(RestoreError::Io(error)),
        };
        if self.disk.is_overlay(&self.directory) {
            return Err(RestoreError::Overlay);
        }
        let Some(entries) = String::from_utf8(bytes)
            .ok()
            .and_then(|text| self.parse(&text))
        else {
            let aside = self.path(Self::ASIDE);
            self.disk
                .rename(&self.path(Self::FILE), &aside)
                .map_err(RestoreError::Io)?;
            return Err(RestoreError::Foreign(aside));
        };
        self.disk
            .remove(&self.path(Self::FILE))
            .map_err(RestoreError::Io)?;
        self.disk.sync(&self.directory).map_err(RestoreError::Io)?;
        Ok(entries)
    }

    /// Leaves the totals for the next start.
    ///
    /// # Errors
    /// What the file system says, and what that means for the next start.
    pub fn save(&self, entries: &[SavedSensor]) -> Result<(), String> {
        let new = self.path(Self::NEW);
        let written = self
            .disk
            .write(&new, self.text(entries).as_bytes())
            .and_then(|()| self.disk.rename(&new, &self.path(Self::FILE)))
            .and_then(|()| self.disk.sync(&self.directory));
        written.map_err(|error| {
            // Of no use to anybody; where it can't be removed the next attempt writes over it.
            let _ = self.disk.remove(&new);
            // What the start could not remove is older than what was shown since.
            match self.load_and_remove() {
                Err(RestoreError::Io(left)) => format!(
                    "{error}; an old {} may be left ({left}): delete it, or a later start may go back to it",
                    self.path(Self::FILE).display()
                ),
                _ => format!("{error}; the next start counts from 0"),
            }
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn text(&self, entries: &[SavedSensor]) -> String {
        let mut text = format!("{}\nmachine {}\n", Self::HEADER, self.machine);
        for entry in entries {
            let name = entry.device.replace(char::is_control, " ");
            // Writing to a string does not fail.
            let _ = writeln!(text, "sensor {}\nname {name}", key(&entry.location));
            for (count, value) in &entry.counters {
                let _ = writeln!(text, "{count} {value}");
            }
        }
        let checksum = checksum(text.as_bytes());
        text + &format!("checksum {checksum:016x}\n")
    }

    fn parse(&self, text: &str) -> Option<Vec<SavedSensor>> {
        let body = &text[..text.rfind("checksum ")?];
        let mut lines = body.lines();
        let ours = text == format!("{body}checksum {:016x}\n", checksum(body.as_bytes()))
            && lines.next() == Some(Self::HEADER)
            && lines.next() == Some(&format!("machine {}", self.machine));
        let mut entries: Vec<SavedSensor> = Vec::new();
        for line in lines {
            let (key, value) = line.split_once(' ')?;
            match (key, entries.last_mut()) {
                ("sensor", _) => {
                    entries.push(SavedSensor {
                        location: location(value)?,
                        device: String::new(),
                        counters: Vec::new(),
                    });
                }
                ("name", Some(entry)) => value.clone_into(&mut entry.device),
                (count, Some(entry)) => {
                    entry.counters.push((count.to_owned(), value.parse().ok()?))
                }
                (_, None) => return None,
            }
        }
        ours.then_some(entries)
    }
}

fn key(location: &Location) -> String {
    let Location { bus, mux, address } = location;
    let mux = mux.map_or(String::new(), |channel| format!("{channel} "));
    format!("{bus} {mux}{address}")
}

fn location(key: &str) -> Option<Location> {
    let (bus, rest) = key.split_once(' ')?;
    let (mux, address) = rest.split_once(' ').unwrap_or(("", rest));
    Location::from_labels(bus, mux, address)
}

/// FNV-1a (draft-eastlake-fnv), 64 bits: against files that are not whole, not against people.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
