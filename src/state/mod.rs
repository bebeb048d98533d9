//! Counters that are kept across restarts: written at the end of the process, and removed at the
//! next start before they are used, so that no file exists while the daemon runs.
//!
//! If a counter went back to an old value, Prometheus would count the increase since then twice. So
//! a file is used only after its removal is on the disk; the main loop retries the removal.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::i2c::Location;

/// The counters of one sensor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSensor {
    // The labels of its location, which identifies it.
    bus: String,
    mux: String,
    address: String,
    /// Its device name, for readers of the file.
    device: String,
    pub(crate) counters: BTreeMap<String, u128>,
}

impl SavedSensor {
    pub(crate) fn new(location: Location, device: &str, counters: BTreeMap<String, u128>) -> Self {
        Self {
            bus: location.bus.to_string(),
            mux: location.mux.map_or(String::new(), |channel| channel.to_string()),
            address: location.address.to_string(),
            device: device.to_owned(),
            counters,
        }
    }

    /// Returns the location, which every sensor that the store loads has.
    pub(crate) fn location(&self) -> Option<Location> {
        Location::from_labels(&self.bus, &self.mux, &self.address)
    }
}

/// Content of a file, as JSON; a line with its checksum follows.
#[derive(Serialize, Deserialize)]
struct StateFile {
    version: u32,
    machine: String,
    sensors: Vec<SavedSensor>,
}

impl StateFile {
    const VERSION: u32 = 2;
    const HEADER_1: &str = "ina260-exporter totals, version 1\n";

    /// Returns the sensors of a file that is complete and was written by this machine.
    fn parse(bytes: &[u8], machine: &str) -> Option<Vec<SavedSensor>> {
        let text = std::str::from_utf8(bytes).ok()?;
        let body = &text[..text.rfind("checksum ")?];
        if text != with_checksum(body) {
            return None;
        }
        let file = match body.strip_prefix(Self::HEADER_1) {
            Some(lines) => Self::parse_version_1(lines)?,
            None => serde_json::from_str(body).ok()?,
        };
        let is_valid = file.version == Self::VERSION
            && file.machine == machine
            && file.sensors.iter().all(|it| it.location().is_some());
        is_valid.then_some(file.sensors)
    }

    /// Parses the lines of version 1, each a key and a value.
    fn parse_version_1(lines: &str) -> Option<Self> {
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
        Some(Self { version: Self::VERSION, machine: machine.to_owned(), sensors })
    }
}

fn with_checksum(body: &str) -> String {
    // FNV-1a (draft-eastlake-fnv), 64 bits: detects incomplete files, not manipulated ones.
    let checksum = body.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{body}checksum {checksum:016x}\n")
}

/// Reason why saved counters must not be used.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file cannot be read, or its removal is not certain.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// After a power cut, an overlay may contain an older file again.
    #[error("the state directory is on an overlay file system, which may restore old counters")]
    Overlay,
    /// The file was renamed to this path.
    #[error("incomplete, in an unknown format, or from another machine; kept as {}", .0.display())]
    Foreign(PathBuf),
}

/// Reason why the counters could not be saved.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages describe the rest")]
pub enum SaveError {
    #[error("{0}; the next start counts from 0")]
    Lost(io::Error),
    /// The older file could not be removed at start-up either.
    #[error(
        "{cause}; an older {} may be left ({source}): delete it, or a later start may restore it",
        path.display()
    )]
    Stale { cause: io::Error, path: PathBuf, source: io::Error },
}

#[derive(Debug, thiserror::Error)]
#[error("state directory {} is in use by another instance", .0.display())]
pub(crate) struct InUse(PathBuf);

type BeforeStep = Box<dyn Fn(&Path) -> io::Result<()>>;

/// The state directory.
pub struct Store {
    directory: PathBuf,
    /// Identifies the machine that wrote a file, see machine-id(5).
    machine: String,
    is_overlay: bool,
    /// The locked directory, if this process uses it: of two instances, one would lose its data.
    lock: Option<File>,
    /// Runs before each step that changes the directory, with the path that it changes. Tests use
    /// it to interrupt a sequence of steps as a power cut does.
    before_step: BeforeStep,
}

impl Store {
    const FILE: &str = "totals";
    const NEW: &str = "totals.new";
    const REFUSED: &str = "totals.refused";
    /// Upper bound on the size of a file, in bytes: ten thousand sensors need less.
    const MAX_SIZE: u64 = 16 << 20;

    /// Returns the store in the directory that systemd created (systemd.exec(5),
    /// `StateDirectory=`), if it did, and locks it until it is dropped.
    pub(crate) fn from_environment() -> Result<Option<Self>, InUse> {
        let directories = std::env::var("STATE_DIRECTORY").unwrap_or_default();
        let first = directories.split(':').next().unwrap_or_default();
        if first.is_empty() {
            return Ok(None);
        }
        let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
        Self::new(Path::new(first), machine.trim()).locked().map(Some)
    }

    fn locked(mut self) -> Result<Self, InUse> {
        // Opening a FIFO would block.
        let flags = OFlags::DIRECTORY.bits().cast_signed();
        self.lock = OpenOptions::new().read(true).custom_flags(flags).open(&self.directory).ok();
        // A file system without locks lacks this protection.
        match self.lock.as_ref().map(File::try_lock) {
            Some(Err(TryLockError::WouldBlock)) => Err(InUse(self.directory)),
            _ => Ok(self),
        }
    }

    /// Returns the store in a directory, on the machine with this ID.
    pub fn new(directory: &Path, machine: &str) -> Self {
        // OVERLAYFS_SUPER_MAGIC of statfs(2).
        let is_overlay =
            rustix::fs::statfs(directory).is_ok_and(|statfs| statfs.f_type == 0x794c_7630);
        Self {
            directory: directory.to_owned(),
            machine: machine.to_owned(),
            is_overlay,
            lock: None,
            before_step: Box::new(|_| Ok(())),
        }
    }

    /// Returns the counters that the last clean stop saved, if any, and removes the file.
    ///
    /// # Errors
    /// [`RestoreError`]: there is a file, but it must not be used.
    pub fn load_and_remove(&self) -> Result<Vec<SavedSensor>, RestoreError> {
        let bytes = match self.read() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A removal by an earlier attempt may not be on the disk yet.
                self.sync()?;
                return Ok(Vec::new());
            }
            Err(error) => return Err(error.into()),
        };
        if self.is_overlay {
            return Err(RestoreError::Overlay);
        }
        let Some(sensors) = StateFile::parse(&bytes, &self.machine) else {
            self.rename(Self::FILE, Self::REFUSED)?;
            return Err(RestoreError::Foreign(self.directory.join(Self::REFUSED)));
        };
        self.remove(Self::FILE)?;
        self.sync()?;
        Ok(sensors)
    }

    /// Saves the counters for the next start.
    ///
    /// # Errors
    /// [`SaveError`], with the consequence for the next start.
    pub fn save(&self, sensors: Vec<SavedSensor>) -> Result<(), SaveError> {
        let (version, machine) = (StateFile::VERSION, self.machine.clone());
        let saved = serde_json::to_string_pretty(&StateFile { version, machine, sensors })
            .map_err(io::Error::from)
            .and_then(|json| self.write(Self::NEW, &with_checksum(&(json + "\n"))))
            .and_then(|()| self.rename(Self::NEW, Self::FILE))
            .and_then(|()| self.sync());
        let Err(cause) = saved else { return Ok(()) };
        // If it cannot be removed, the next attempt overwrites it.
        let _ = self.remove(Self::NEW);
        let path = self.directory.join(Self::FILE);
        let is_none = |error: io::Error| {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        };
        if fs::symlink_metadata(&path).is_err_and(is_none) {
            return Err(SaveError::Lost(cause));
        }
        // A file that could not be removed at start-up has older values than those served since.
        Err(match self.load_and_remove() {
            Err(RestoreError::Io(source)) => SaveError::Stale { cause, path, source },
            _ => SaveError::Lost(cause),
        })
    }

    /// Returns the content of the file, up to `MAX_SIZE`; nothing if it is not a regular file.
    fn read(&self) -> io::Result<Vec<u8>> {
        let path = self.directory.join(Self::FILE);
        let mut bytes = Vec::new();
        // Without a writer, opening a FIFO would block. The file may be replaced before the open.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        if fs::symlink_metadata(&path)?.is_file() {
            let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
            if file.metadata()?.is_file() {
                file.take(Self::MAX_SIZE).read_to_end(&mut bytes)?;
            }
        }
        Ok(bytes)
    }
}

/// Steps that change the directory. What a power cut leaves depends on their order: each is done
/// when it returns, and on the disk after the next `sync`.
impl Store {
    /// Returns the path of a file that a step is about to change.
    fn step(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.directory.join(name);
        (self.before_step)(&path)?;
        Ok(path)
    }

    /// Writes a file, whose content is on the disk at the end of this step.
    fn write(&self, name: &str, content: &str) -> io::Result<()> {
        let path = self.step(name)?;
        // What is left there may be a FIFO or a link: it is replaced, not opened.
        let _ = fs::remove_file(&path);
        let mut file = File::create_new(path)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let to = self.step(to)?;
        fs::rename(self.directory.join(from), to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.step(name)?)
    }

    fn sync(&self) -> io::Result<()> {
        (self.before_step)(&self.directory)?;
        // After a removal, a lack of descriptors must not prevent this.
        match &self.lock {
            Some(directory) => directory.sync_all(),
            None => File::open(&self.directory)?.sync_all(),
        }
    }
}

#[cfg(test)]
mod tests;
