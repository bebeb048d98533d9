//! CPU time, wake-ups and memory of a process, from /proc.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

/// A child process that is killed when this is dropped.
pub(crate) struct Process(pub(crate) Child);

/// CPU time and wake-ups of some threads.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    /// Voluntary context switches.
    pub(crate) wake_ups: u64,
}

impl Process {
    /// Returns the usage of all running threads whose name passes `filter`. Threads that have ended
    /// are not included.
    pub(crate) fn usage(&self, filter: impl Fn(&str) -> bool) -> io::Result<Usage> {
        let mut usage = Usage::default();
        for task in fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            let task = task?.path();
            // The files are empty if the thread has ended meanwhile.
            let read = |file| fs::read_to_string(task.join(file)).unwrap_or_default();
            if !filter(read("comm").trim_end()) {
                continue;
            }
            // CPU time to the nanosecond is the first number.
            let schedstat = read("schedstat");
            let nanos = schedstat.split(' ').next().unwrap_or_default().parse().unwrap_or(0);
            usage.cpu += Duration::from_nanos(nanos);
            usage.wake_ups +=
                field(&task.join("status"), "voluntary_ctxt_switches:").unwrap_or_default();
        }
        Ok(usage)
    }

    /// Returns the CPU time of all running threads.
    pub(crate) fn cpu_time(&self) -> io::Result<Duration> {
        self.usage(|_| true).map(|usage| usage.cpu)
    }

    /// Returns the resident memory (`VmRSS`).
    pub(crate) fn resident_kib(&self) -> io::Result<u64> {
        self.status("VmRSS:")
    }

    /// Returns the resident memory that does not come from files (`RssAnon`).
    #[allow(dead_code, reason = "not every bench measures it")]
    pub(crate) fn anonymous_kib(&self) -> io::Result<u64> {
        self.status("RssAnon:")
    }

    fn status(&self, name: &str) -> io::Result<u64> {
        field(Path::new(&format!("/proc/{}/status", self.0.id())), name)
    }
}

/// Returns a number from a `status` file of /proc.
fn field(path: &Path, name: &str) -> io::Result<u64> {
    fs::read_to_string(path)?
        .lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("no {name} in {}", path.display())))
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
