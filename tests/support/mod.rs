//! Shared code of the tests of the built binary.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test file is a crate of its own and uses its own part of this"
)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{fs, panic, process, thread};

use tempfile::TempDir;

mod daemon;
mod http;
mod notify;
mod program;

pub use daemon::{Daemon, Ended, Launch, daemon, run};
pub use http::{Response, Scrape, get};
pub use notify::{NotifySocket, Received};
pub(crate) use program::program;

/// Upper bound on the wait for an event that takes a second or two on an idle machine.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Polls until there is a value.
pub fn until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(TIMEOUT, what, probe)
}

/// Polls until there is a value, for at most `timeout`.
pub fn within<T>(timeout: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        // Polls once more after the deadline: this thread may not have run until then.
        let late = begun.elapsed() > timeout;
        if let Some(value) = probe() {
            return value;
        }
        assert!(!late, "not within {timeout:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a signal to a process, or to a group (`-PGID`), with the shell's own command: minimal
/// systems have no other.
pub fn kill(signal: &str, target: &str) {
    let script = format!("kill -s {signal} -- {target}");
    assert!(process::Command::new("sh").args(["-c", &script]).status().unwrap().success());
}

/// Runs scenarios in parallel: they wait for most of their time.
pub fn all_at_once(scenarios: &[fn()]) {
    thread::scope(|scope| {
        let running: Vec<_> = scenarios.iter().map(|scenario| scope.spawn(scenario)).collect();
        // All are joined before the first panic is resumed.
        let ended: Vec<_> = running.into_iter().map(thread::ScopedJoinHandle::join).collect();
        if let Some(panic) = ended.into_iter().find_map(Result::err) {
            panic::resume_unwind(panic);
        }
    });
}

fn unique() -> u16 {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    COUNT.fetch_add(1, Relaxed)
}

/// A temporary directory.
pub struct Directory(TempDir);

impl Directory {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Returns a free port, below the range from which the kernel assigns ports.
pub fn free_port() -> u16 {
    // Test processes that run in parallel have similar process IDs.
    let first = 10_000 + u16::try_from(process::id() % 500).unwrap() * 40;
    loop {
        let port = first + unique() % 2_000;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// Returns whether IPv6 works on the loopback interface; in containers it often does not.
pub fn has_ipv6() -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("not tested: this machine has no IPv6");
    }
    has
}
