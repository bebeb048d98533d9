//! CPU time and memory of a process, from /proc.

use std::fs;
use std::io;
use std::process::Child;
use std::time::Duration;

/// A child process that is killed when this is dropped.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// Returns the CPU time of all running threads, to the nanosecond (the first number of
    /// `schedstat`). Threads that have ended are not included.
    pub(crate) fn cpu_time(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            // Empty if the thread has ended meanwhile.
            let schedstat = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            let running = schedstat.split(' ').next().unwrap_or_default();
            nanos += running.parse().unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Returns the resident memory (`VmRSS`).
    pub(crate) fn resident_kib(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok())
            .ok_or_else(|| io::Error::other("no VmRSS in /proc/PID/status"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
