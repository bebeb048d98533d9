//! A lock file per bus in use, so that subcommands do not take results or alerts from the daemon.
//!
//! Each is an advisory lock (flock(2)) on a file in a runtime directory, named after the kernel's
//! number of the adapter, which is the same in every container. The directory or the file may be
//! another user's; see "Bus locks" in `docs/architecture.md`.

use std::env;
use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open as open_fd, openat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::i2c::BusName;
use crate::i2c::adapters::Adapters;
use crate::printable::escape;

/// Runtime directory of the service (systemd.exec(5), `RuntimeDirectory=`).
const SERVICE: &str = "/run/ina260-exporter";
/// Directory below a user's runtime directory, for a daemon that a user starts.
const BELOW_USER: &str = "ina260-exporter";

/// Locks a bus for this process until the returned file, which contains `owner`, is closed. The
/// file is in the first directory that is writable and not another user's. If another process has
/// locked the bus, returns what that process wrote. Fails if no lock file can be created.
pub(super) fn acquire(
    directories: &[PathBuf],
    bus: u32,
    owner: &str,
    attempts: u32,
) -> io::Result<Result<File, String>> {
    let acquire_in = |directory| {
        let (mut file, is_own) = open(directory, bus)?;
        if !lock(&file, attempts)? {
            return Ok(Err(url_in(&mut file)));
        }
        if !is_own {
            return Err(ErrorKind::PermissionDenied.into());
        }
        // Whatever the umask: the service's hides files. A user who can read an unlocked file
        // can lock it for ever.
        file.set_permissions(Permissions::from_mode(0o644))?;
        write_owner(&mut file, owner)?;
        Ok(Ok(file))
    };
    let none = Err(ErrorKind::NotFound.into());
    directories.iter().fold(none, |outcome, it| outcome.or_else(|_: io::Error| acquire_in(it)))
}

pub(super) fn write_owner(file: &mut File, owner: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{owner}")
}

/// Returns the URL of the process that has locked a bus, if there is one; its name if it serves no
/// metrics. Only locks of root, of the same user, and in the service's directory are trusted.
pub(crate) fn holder_url(bus: BusName) -> Option<String> {
    let adapters = Adapters::read();
    let bus = match (adapters.resolve(bus), bus) {
        (Ok(adapter), _) => adapter.kernel_number,
        // An adapter that was unplugged, or that this container lacks.
        (Err(_), BusName::Number(number)) => number.into(),
        (Err(_), BusName::Path(_) | BusName::Adapter(_)) => return None,
    };
    let mut own = runtime_directory().into_iter().chain([PathBuf::from(SERVICE)]);
    own.find_map(|directory| holder_url_in(&directory, bus, |_| true)).or_else(|| {
        // The parent of the users' runtime directories.
        let users = fs::read_dir("/run/user").into_iter().flatten().flatten();
        let mut users = users.map(|user| user.path().join(BELOW_USER));
        users.find_map(|directory| holder_url_in(&directory, bus, is_trusted))
    })
}

/// Returns whether a lock of the user with this ID is trusted outside the service's directory.
fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

fn holder_url_in(directory: &Path, bus: u32, is_trusted: impl Fn(u32) -> bool) -> Option<String> {
    let mut file = open_existing(&open_directory(directory).ok()?, bus, OFlags::RDONLY).ok()?;
    if !is_trusted(file.metadata().ok()?.uid()) {
        return None;
    }
    // Succeeds unless the daemon holds its exclusive lock; released when the file is closed.
    let is_held = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    is_held.then(|| url_in(&mut file))
}

/// Locks a file exclusively. Returns whether that succeeded.
fn lock(file: &File, attempts: u32) -> io::Result<bool> {
    const PAUSE: Duration = Duration::from_millis(20);
    for attempt in 1..=attempts {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if attempt < attempts => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

fn name(bus: u32) -> String {
    format!("bus-{bus}.lock")
}

fn open_directory(directory: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(open_fd(directory, flags, Mode::empty())?.into())
}

/// Opens a lock file, or creates it without access for other users. Also returns whether it may be
/// written: it is new, or no other user can have put it there.
fn open(directory: &Path, bus: u32) -> io::Result<(File, bool)> {
    if !directory.exists() {
        DirBuilder::new().mode(0o755).create(directory)?;
    }
    let directory = open_directory(directory)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    match openat(&directory, name(bus), flags, Mode::from_raw_mode(0o600)) {
        Ok(file) => Ok((file.into(), true)),
        Err(Errno::EXIST) => {
            let file = open_existing(&directory, bus, OFlags::RDWR)
                .or_else(|_| open_existing(&directory, bus, OFlags::RDONLY))?;
            let (owner, directory) = (file.metadata()?.uid(), directory.metadata()?);
            let is_private = directory.mode() & 0o022 == 0;
            let user = geteuid().as_raw();
            Ok((file, is_private && [owner, directory.uid()] == [user, user]))
        }
        Err(error) => Err(error.into()),
    }
}

/// Opens a regular file without further hard links; neither follows links nor blocks on a FIFO.
fn open_existing(directory: &File, bus: u32, access: OFlags) -> io::Result<File> {
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(directory, name(bus), flags, Mode::empty())?);
    let metadata = file.metadata()?;
    let is_safe = metadata.is_file() && metadata.nlink() == 1;
    if is_safe { Ok(file) } else { Err(ErrorKind::InvalidInput.into()) }
}

fn url_in(file: &mut File) -> String {
    const MAX_BYTES: u64 = 4096;
    let mut text = String::new();
    // The file is empty until its holder has written to it.
    let _ = file.take(MAX_BYTES).read_to_string(&mut text);
    escape(text.lines().next().unwrap_or_default())
}

/// Returns the directories to try for the locks of this process: the service manager's; without
/// one, the service's and the user's.
pub(super) fn own_directories() -> Vec<PathBuf> {
    if let Some(directory) = runtime_directory() {
        return vec![directory];
    }
    let user = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    // With sudo, the directory may belong to another user.
    let user = user.filter(|it| fs::metadata(it).is_ok_and(|it| it.uid() == geteuid().as_raw()));
    let user = user.map(|directory| directory.join(BELOW_USER));
    [PathBuf::from(SERVICE)].into_iter().chain(user).collect()
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

    fn holder(directories: &[PathBuf], bus: u32) -> Option<String> {
        holder_url_in(&directories[0], bus, is_trusted)
    }

    #[test]
    fn bus_is_in_use_while_its_lock_is_held() {
        let (_parent, at) = &runtime();
        assert_eq!(holder(at, 1), None, "no directory");
        let hostile = acquire(at, 1, "http://a\u{1b}[2J", 10).unwrap().unwrap();
        assert_eq!(holder(at, 1).as_deref(), Some("http://a\\u{1b}[2J"));
        drop(hostile);
        let lock = acquire(at, 1, "http://0.0.0.0:8000/metrics", 10).unwrap().unwrap();
        let url = Some("http://0.0.0.0:8000/metrics".to_owned());
        assert_eq!((holder(at, 1), holder(at, 2)), (url, None));
        drop(lock);
        assert_eq!(holder(at, 1), None);
        // The file of an earlier process is overwritten.
        let _lock = acquire(at, 1, "unix:/a", 10).unwrap().unwrap();
        assert_eq!(holder(at, 1).as_deref(), Some("unix:/a"));
    }

    #[test]
    fn second_daemon_on_a_bus_sees_the_first() {
        let (_parent, at) = &runtime();
        let _lock = acquire(at, 7, "http://a:1/metrics", 10).unwrap().unwrap();
        let mode = fs::metadata(at[0].join("bus-7.lock")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "readable for all users");
        let refused = acquire(at, 7, "http://b:2/metrics", 10).unwrap().unwrap_err();
        assert_eq!(refused, "http://a:1/metrics");
        assert_eq!(holder(at, 7).as_deref(), Some("http://a:1/metrics"));
    }

    #[test]
    fn probing_the_lock_does_not_block_the_daemon() {
        let (_parent, at) = &runtime();
        drop(acquire(at, 1, "unix:/a", 10).unwrap().unwrap());
        thread::scope(|scope| {
            let probe = scope.spawn(|| (0..2_000).filter_map(|_| holder(at, 1)).count());
            for _ in 0..20 {
                drop(acquire(at, 1, "unix:/a", 10).unwrap().unwrap());
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
        std::os::unix::fs::symlink(&target, at[0].join("bus-1.lock")).unwrap();
        assert!(acquire(at, 1, "unix:/a", 10).is_err());
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert_eq!(holder(at, 1), None);
    }

    #[test]
    fn other_users_cannot_lock_a_new_file_first() {
        let (_parent, at) = &runtime();
        let (file, _) = open(&at[0], 1).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o077, 0);
    }

    #[test]
    fn link_in_place_of_the_directory_is_not_followed() {
        let (parent, at) = &runtime();
        let target = parent.path().join("target");
        fs::create_dir(&target).unwrap();
        std::os::unix::fs::symlink(&target, &at[0]).unwrap();
        assert!(acquire(at, 1, "unix:/a", 10).is_err());
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    }

    #[test]
    fn hard_link_is_not_written() {
        let (_parent, at) = &runtime();
        fs::create_dir(&at[0]).unwrap();
        let target = at[0].join("target");
        fs::write(&target, "precious").unwrap();
        fs::set_permissions(&target, Permissions::from_mode(0o600)).unwrap();
        fs::hard_link(&target, at[0].join("bus-1.lock")).unwrap();
        assert!(acquire(at, 1, "unix:/a", 10).is_err());
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn file_in_a_shared_directory_is_not_overwritten() {
        let (_parent, at) = &runtime();
        drop(acquire(at, 1, "unix:/precious", 10).unwrap().unwrap());
        let file = at[0].join("bus-1.lock");
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        // Any user may have put it there.
        fs::set_permissions(&at[0], Permissions::from_mode(0o777)).unwrap();
        assert!(acquire(at, 1, "unix:/a", 10).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"unix:/precious\n");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        // The lock is in the next directory then.
        let both = [at[0].clone(), at[0].join("private")];
        let _lock = acquire(&both, 1, "unix:/a", 10).unwrap().unwrap();
        assert_eq!(holder(&both[1..], 1).as_deref(), Some("unix:/a"));
        // A new file is safe there.
        drop(acquire(at, 2, "unix:/a", 10).unwrap().unwrap());
        // A lock that is held there is seen.
        let held = File::open(&file).unwrap();
        held.lock().unwrap();
        let refused = acquire(at, 1, "unix:/a", 10);
        assert!(matches!(refused, Ok(Err(_))), "{refused:?}");
    }

    #[test]
    fn lock_of_another_user_is_not_trusted() {
        let (_parent, at) = &runtime();
        let _lock = acquire(at, 1, "http://192.0.2.1/metrics", 10).unwrap().unwrap();
        let of_user = |user| holder_url_in(&at[0], 1, |uid| uid == user);
        assert!(of_user(geteuid().as_raw()).is_some());
        assert_eq!(of_user(geteuid().as_raw() + 1), None);
        assert!(is_trusted(0) && is_trusted(geteuid().as_raw()));
        assert!(!is_trusted(geteuid().as_raw() + 1));
    }
}
