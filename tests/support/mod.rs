//! What the tests of the built binary have in common.

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
use std::{env, fs, panic, process, thread};

mod daemon;
mod http;
mod notify;
mod program;

pub use daemon::{Daemon, Ended, Launch, daemon, run};
pub use http::{Answer, Scrape, get};
pub use notify::{Ear, Heard};

/// For what happens within a second or two on an idle machine. Failing late costs nothing, failing on a busy machine does.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer.
pub fn until<T>(what: &str, answer: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, answer)
}

/// Asks again and again until there is an answer, for no longer than `patience`.
pub fn within<T>(patience: Duration, what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        // Asked once more after the deadline: this thread may have been asleep for all of it.
        let late = begun.elapsed() > patience;
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(!late, "not within {patience:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Runs scenarios that wait most of their time, and so can all be played at once on however few cores.
pub fn all_at_once(scenarios: &[fn()]) {
    thread::scope(|scope| {
        let running: Vec<_> = scenarios.iter().map(|scenario| scope.spawn(scenario)).collect();
        // Every one to its end, then the first panic goes on.
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

/// A directory of its own for each caller, gone at the end.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Self {
        let name = format!("ina260-exporter-test-{}-{}", process::id(), unique());
        let path = env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A port that nobody listens on, at whatever address. It lies below those that the kernel hands out, so that nobody else gets
/// it meanwhile.
pub fn free_port() -> u16 {
    // Test processes that run at the same time have their ids close together.
    let first = 10_000 + u16::try_from(process::id() % 500).unwrap() * 40;
    loop {
        let port = first + unique() % 2_000;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// Whether this machine speaks IPv6 to itself; containers often don't.
pub fn has_ipv6() -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("not tested: this machine has no IPv6");
    }
    has
}
