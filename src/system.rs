//! What the kernel says of this machine.

use std::path::Path;
use std::time::Duration;

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
