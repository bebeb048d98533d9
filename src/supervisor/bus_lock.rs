//! A lock file for each bus in use, so that subcommands do not take results or alerts from the
//! daemon.
//!
//! Each is an advisory lock (flock(2)) on a file in a runtime directory. It is released when the
//! process ends, for any reason. The file contains the URL where its holder serves metrics. Probing
//! a lock needs read permission only.

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, fstat, open as open_fd};
use tracing::{info, warn};

/// Runtime directory of the service (systemd.exec(5), `RuntimeDirectory=`).
const SERVICE: &str = "/run/ina260-exporter";
/// Parent of the users' runtime directories.
const USERS: &str = "/run/user";
/// Directory below a user's runtime directory, for a daemon that a user starts.
const BELOW_USER: &str = "ina260-exporter";
/// Attempts to acquire a lock: a process that probes it holds it for some microseconds.
const ATTEMPTS: u32 = 10;
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(20);
/// Upper bound on the URL in a lock file, in bytes.
const MAX_URL: u64 = 4096;

/// The lock of a bus, held until it is dropped.
#[derive(Debug)]
pub struct BusLock {
    _file: File,
}

/// A lock could not be acquired.
#[derive(Debug, thiserror::Error)]
enum LockError {
    #[error(
        "bus {bus}: also in use by another process, which serves at {url}; results will be split \
         between the two"
    )]
    InUse { bus: u8, url: String },
    #[error(
        "cannot create a lock file for bus {bus} ({source}); `scan` and `read` will not see it as \
         in use"
    )]
    Io { bus: u8, source: io::Error },
}

impl BusLock {
    /// Locks a bus for this process, which serves at `url`. If that fails, logs why; the bus is
    /// measured nevertheless.
    #[must_use]
    pub fn acquire(bus: u8, url: &str) -> Option<Self> {
        match Self::acquire_in(&own_directories(), bus, url) {
            Ok(lock) => return Some(lock),
            Err(error @ LockError::InUse { .. }) => warn!("{error}"),
            Err(error @ LockError::Io { .. }) => info!("{error}"),
        }
        None
    }

    /// Creates the lock file in the first directory that is writable.
    fn acquire_in(directories: &[PathBuf], bus: u8, url: &str) -> Result<Self, LockError> {
        let mut outcome = Err(ErrorKind::NotFound.into());
        for directory in directories {
            outcome = open(directory, bus);
            if outcome.is_ok() {
                break;
            }
        }
        let failed = |source| LockError::Io { bus, source };
        let mut file = outcome.map_err(failed)?;
        if !lock(&file).map_err(failed)? {
            let url = url_in(&mut file);
            return Err(LockError::InUse { bus, url });
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{url}").map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Returns the URL served by the process that has locked a bus, if there is one.
pub fn holder_url(bus: u8) -> Option<String> {
    holder_url_in(&all_directories(), bus)
}

fn holder_url_in(directories: &[PathBuf], bus: u8) -> Option<String> {
    directories.iter().find_map(|directory| {
        let mut file = open_regular(&path(directory, bus)).ok()?;
        // A shared lock succeeds unless the daemon holds its exclusive one; closing the file
        // releases it.
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(url_in(&mut file)),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    })
}

/// Locks a file exclusively. Returns whether that succeeded.
fn lock(file: &File) -> io::Result<bool> {
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            thread::sleep(PAUSE);
        }
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

fn path(directory: &Path, bus: u8) -> PathBuf {
    directory.join(format!("bus-{bus}.lock"))
}

/// Opens a lock file for writing, readable for all users whatever the umask (the service's hides
/// its files).
fn open(directory: &Path, bus: u8) -> io::Result<File> {
    if !directory.exists() {
        DirBuilder::new().mode(0o755).create(directory)?;
    }
    let path = path(directory, bus);
    if fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(ErrorKind::AlreadyExists.into());
    }
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    Ok(file)
}

/// Opens a regular file for reading; follows no link and does not block on a FIFO.
fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open_fd(path, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::RegularFile {
        Ok(File::from(file))
    } else {
        Err(ErrorKind::InvalidInput.into())
    }
}

/// Reads the URL in a lock file, without control characters.
fn url_in(file: &mut File) -> String {
    let mut text = String::new();
    // The file is empty until its holder has written to it.
    let _ = file.take(MAX_URL).read_to_string(&mut text);
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).collect()
}

/// Returns the directories for the locks of this process: the service manager's, or those that a
/// user may be able to write.
fn own_directories() -> Vec<PathBuf> {
    if let Some(directory) = runtime_directory() {
        return vec![directory];
    }
    let user = env::var_os("XDG_RUNTIME_DIR");
    [PathBuf::from(SERVICE)]
        .into_iter()
        .chain(user.map(|directory| Path::new(&directory).join(BELOW_USER)))
        .collect()
}

/// Returns every directory in which a daemon may have created its locks; those of other users are
/// readable for root only.
fn all_directories() -> Vec<PathBuf> {
    let users = fs::read_dir(USERS).into_iter().flatten().flatten();
    runtime_directory()
        .into_iter()
        .chain([PathBuf::from(SERVICE)])
        .chain(users.map(|user| user.path().join(BELOW_USER)))
        .collect()
}

/// Returns the directory that the service manager created for this process.
fn runtime_directory() -> Option<PathBuf> {
    let directories = env::var("RUNTIME_DIRECTORY").ok()?;
    let first = directories.split(':').next()?;
    (!first.is_empty()).then(|| first.into())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A runtime directory that does not exist yet.
    fn runtime() -> (TempDir, Vec<PathBuf>) {
        let parent = tempfile::tempdir().unwrap();
        let directories = vec![parent.path().join("ina260-exporter")];
        (parent, directories)
    }

    #[test]
    fn bus_is_in_use_while_its_lock_is_held() {
        let (_parent, at) = &runtime();
        assert_eq!(holder_url_in(at, 1), None, "no directory");
        let lock = BusLock::acquire_in(at, 1, "http://0.0.0.0:8000/metrics").unwrap();
        let url = Some("http://0.0.0.0:8000/metrics".to_owned());
        assert_eq!((holder_url_in(at, 1), holder_url_in(at, 2)), (url, None));
        drop(lock);
        assert_eq!(holder_url_in(at, 1), None);
        // The file of an earlier process is overwritten.
        let _lock = BusLock::acquire_in(at, 1, "unix:/a").unwrap();
        assert_eq!(holder_url_in(at, 1).as_deref(), Some("unix:/a"));
    }

    #[test]
    fn second_daemon_on_a_bus_sees_the_first() {
        let (_parent, at) = &runtime();
        let _lock = BusLock::acquire_in(at, 7, "http://a:1/metrics").unwrap();
        let mode = fs::metadata(path(&at[0], 7)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "readable for all users");
        match BusLock::acquire_in(at, 7, "http://b:2/metrics") {
            Err(LockError::InUse { bus: 7, url }) => assert_eq!(url, "http://a:1/metrics"),
            other => panic!("{other:?}"),
        }
        assert_eq!(holder_url_in(at, 7).as_deref(), Some("http://a:1/metrics"));
    }

    #[test]
    fn probing_the_lock_does_not_block_the_daemon() {
        let (_parent, at) = &runtime();
        drop(BusLock::acquire_in(at, 1, "unix:/a").unwrap());
        thread::scope(|scope| {
            let probe = scope.spawn(|| (0..2_000).filter_map(|_| holder_url_in(at, 1)).count());
            for _ in 0..20 {
                drop(BusLock::acquire_in(at, 1, "unix:/a").unwrap());
            }
            probe.join().unwrap();
        });
    }

    #[test]
    fn symlink_is_neither_written_nor_read() {
        let (_parent, at) = &runtime();
        fs::create_dir(&at[0]).unwrap();
        let target = at[0].join("target");
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, path(&at[0], 1)).unwrap();
        assert!(matches!(BusLock::acquire_in(at, 1, "unix:/a"), Err(LockError::Io { .. })));
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert_eq!(holder_url_in(at, 1), None);
    }
}
