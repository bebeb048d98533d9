//! Who uses which bus: a lock for each, so that a tool for people takes neither a result nor an alert from the daemon.
//!
//! It is an advisory lock (flock(2)) on a file in a runtime directory, which ends with the process however that ends. The file names
//! where the process that holds it serves its metrics. To test it takes nothing but the right to read.

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, fstat, open as open_fd};
use tracing::{info, warn};

/// Where systemd puts the service's (systemd.exec(5), `RuntimeDirectory=`).
const SERVICE: &str = "/run/ina260-exporter";
/// Below the runtime directory of a person who starts the daemon by hand.
const OWN: &str = "ina260-exporter";
/// Those of all people.
const PEOPLE: &str = "/run/user";
/// Whoever tests a lock holds it for some microseconds.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);
/// An URL is shorter.
const LONGEST: u64 = 4096;

/// A bus that is marked as in use for as long as this lives.
#[derive(Debug)]
pub struct BusLock {
    _file: File,
}

/// Why a bus could not be marked.
#[derive(Debug)]
enum Unmarked {
    /// Another process uses it, and serves there.
    InUse(String),
    Io(io::Error),
}

impl BusLock {
    /// Marks a bus as in use by this process, which serves at `url`. Where that can't be done the bus is used all the same: to
    /// measure matters more than to be seen.
    #[must_use]
    pub fn take(bus: u8, url: &str) -> Option<Self> {
        let unmarked = match Self::take_in(&own_directories(), bus, url) {
            Ok(lock) => return Some(lock),
            Err(unmarked) => unmarked,
        };
        match unmarked {
            Unmarked::InUse(other) => warn!(
                "bus {bus} is in use by another process, which serves at {other}: each takes results from the other"
            ),
            Unmarked::Io(error) => info!(
                "nothing tells `scan` and `read` that bus {bus} is in use: no runtime directory can be written ({error})"
            ),
        }
        None
    }

    /// In the first directory that can be written.
    fn take_in(directories: &[PathBuf], bus: u8, url: &str) -> Result<Self, Unmarked> {
        let mut failure = io::Error::from(io::ErrorKind::NotFound);
        for directory in directories {
            match open(directory, bus) {
                Ok(file) => return Self::hold(file, url),
                Err(error) => failure = error,
            }
        }
        Err(Unmarked::Io(failure))
    }

    fn hold(mut file: File, url: &str) -> Result<Self, Unmarked> {
        for attempt in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(Unmarked::Io(error)),
            }
            if attempt == ATTEMPTS {
                return Err(Unmarked::InUse(url_in(&mut file)));
            }
            thread::sleep(PAUSE);
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{url}"))
            .map_err(Unmarked::Io)?;
        Ok(Self { _file: file })
    }
}

/// Where the process serves its metrics that uses a bus, if one does.
#[must_use]
pub fn user_of(bus: u8) -> Option<String> {
    user_in(&all_directories(), bus)
}

fn user_in(directories: &[PathBuf], bus: u8) -> Option<String> {
    directories.iter().find_map(|directory| {
        let mut file = open_regular(&path(directory, bus)).ok()?;
        // A shared lock succeeds unless the daemon holds its exclusive one; closing the file releases it.
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(url_in(&mut file)),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    })
}

fn path(directory: &Path, bus: u8) -> PathBuf {
    directory.join(format!("bus-{bus}.lock"))
}

/// Readable for everybody, whatever the umask: the service's hides its files.
fn open(directory: &Path, bus: u8) -> io::Result<File> {
    if !directory.exists() {
        DirBuilder::new().mode(0o755).create(directory)?;
    }
    let path = path(directory, bus);
    if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    Ok(file)
}

/// Opens a regular file to read it: follows no link, and never waits for a FIFO's writer.
fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open_fd(path, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::RegularFile {
        Ok(File::from(file))
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// What the file names, without what a terminal would obey.
fn url_in(file: &mut File) -> String {
    let mut text = String::new();
    // An empty one is that of a process that has just begun.
    let _ = file.take(LONGEST).read_to_string(&mut text);
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .collect()
}

/// That of the service manager; without one, whichever this process may write.
fn own_directories() -> Vec<PathBuf> {
    if let Some(directory) = of_the_service_manager() {
        return vec![directory];
    }
    let own = env::var_os("XDG_RUNTIME_DIR").map(|directory| Path::new(&directory).join(OWN));
    [Some(PathBuf::from(SERVICE)), own]
        .into_iter()
        .flatten()
        .collect()
}

/// Everywhere that a daemon could have marked a bus; only root sees into all of them.
fn all_directories() -> Vec<PathBuf> {
    let people = fs::read_dir(PEOPLE).into_iter().flatten().flatten();
    of_the_service_manager()
        .into_iter()
        .chain([PathBuf::from(SERVICE)])
        .chain(people.map(|person| person.path().join(OWN)))
        .collect()
}

fn of_the_service_manager() -> Option<PathBuf> {
    let directories = env::var("RUNTIME_DIRECTORY").ok()?;
    let first = directories.split(':').next()?;
    (!first.is_empty()).then(|| first.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(Vec<PathBuf>);

    impl Scratch {
        fn new(name: &str) -> Self {
            let name = format!("ina260-lock-{name}-{}", std::process::id());
            Self(vec![env::temp_dir().join(name)])
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0[0]);
        }
    }

    #[test]
    fn a_bus_is_in_use_as_long_as_its_lock_lives_and_its_user_is_told() {
        let Scratch(at) = &Scratch::new("lives");
        assert_eq!(user_in(at, 1), None, "no directory");
        let lock = BusLock::take_in(at, 1, "http://0.0.0.0:8000/metrics").unwrap();
        let in_use = Some("http://0.0.0.0:8000/metrics".to_owned());
        assert_eq!((user_in(at, 1), user_in(at, 2)), (in_use, None));
        drop(lock);
        assert_eq!(user_in(at, 1), None);
        // The file of an earlier run is no obstacle, and what it says is forgotten.
        let _lock = BusLock::take_in(at, 1, "unix:/a").unwrap();
        assert_eq!(user_in(at, 1).as_deref(), Some("unix:/a"));
    }

    #[test]
    fn everybody_can_read_it_and_two_daemons_on_one_bus_see_each_other() {
        let Scratch(at) = &Scratch::new("two");
        let _lock = BusLock::take_in(at, 7, "http://a:1/metrics").unwrap();
        let mode = fs::metadata(path(&at[0], 7)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        match BusLock::take_in(at, 7, "http://b:2/metrics") {
            Err(Unmarked::InUse(url)) => assert_eq!(url, "http://a:1/metrics"),
            other => panic!("{other:?}"),
        }
        assert_eq!(user_in(at, 7).as_deref(), Some("http://a:1/metrics"));
    }

    #[test]
    fn who_only_tests_a_lock_does_not_keep_a_daemon_from_it() {
        let Scratch(at) = &Scratch::new("test");
        drop(BusLock::take_in(at, 1, "unix:/a").unwrap());
        thread::scope(|scope| {
            let tester = scope.spawn(|| (0..2_000).filter_map(|_| user_in(at, 1)).count());
            for _ in 0..20 {
                drop(BusLock::take_in(at, 1, "unix:/a").unwrap());
            }
            tester.join().unwrap();
        });
    }

    #[test]
    fn what_is_no_plain_file_is_neither_written_nor_waited_for() {
        let Scratch(at) = &Scratch::new("link");
        fs::create_dir(&at[0]).unwrap();
        let target = at[0].join("target");
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, path(&at[0], 1)).unwrap();
        assert!(matches!(
            BusLock::take_in(at, 1, "unix:/a"),
            Err(Unmarked::Io(_))
        ));
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert_eq!(user_in(at, 1), None);
    }
}
