//! What the kernel says of this machine.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, flock, fstat, open};
use rustix::time::{ClockId, clock_gettime};

/// The machine's name as gethostname(2) has it; not from below `/proc/sys`, which the service does not see. One without a name is
/// no reason to refuse to start.
#[must_use]
pub fn host_name() -> String {
    match rustix::system::uname().nodename().to_string_lossy().trim() {
        "" | "(none)" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// Whether a directory is on an overlay file system (`OVERLAYFS_SUPER_MAGIC` of statfs(2)).
#[must_use]
pub fn is_overlay(directory: &Path) -> bool {
    rustix::fs::statfs(directory).is_ok_and(|fs| fs.f_type == 0x794c_7630)
}

/// How long the machine has slept since it was booted: `CLOCK_BOOTTIME` goes on in a suspend, `CLOCK_MONOTONIC` does not
/// (clock_gettime(2)).
#[must_use]
pub fn slept() -> Duration {
    let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
    let monotonic = read(ClockId::Monotonic);
    read(ClockId::Boottime).saturating_sub(monotonic)
}

/// Has this thread woken within a microsecond of the time it asked for, where the kernel otherwise lets 50 µs pass to wake several
/// threads at once (`PR_SET_TIMERSLACK` of prctl(2)): a tenth of the shortest cycle.
pub fn wake_on_time() {
    // Where it is not to be had, results are looked at later.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000));
}

/// Opens a file to read it, if it is a plain one: neither does a link lead elsewhere, nor can a pipe keep the caller waiting.
///
/// # Errors
/// What the kernel says.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::RegularFile {
        Ok(File::from(file))
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// Locks a file for this process alone, until it is closed, without waiting (flock(2)). Tells whether nobody else holds it.
///
/// # Errors
/// What the kernel says, on a file system without locks, say.
pub fn lock(file: &File) -> io::Result<bool> {
    try_lock(file, FlockOperation::NonBlockingLockExclusive)
}

/// Whether somebody holds a file for himself alone.
///
/// # Errors
/// As for [`lock`].
pub fn is_locked(file: &File) -> io::Result<bool> {
    if try_lock(file, FlockOperation::NonBlockingLockShared)? {
        flock(file, FlockOperation::Unlock)?;
        return Ok(false);
    }
    Ok(true)
}

fn try_lock(file: &File, operation: FlockOperation) -> io::Result<bool> {
    match flock(file, operation) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
