//! Resources that this process uses. Reading them here takes a small part of the instructions that
//! the crates for it take, which was a sixth of all that the daemon takes between scrapes.

use std::fs;
use std::time::Duration;

use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What the metrics `process_*` show; `None` is unlimited, or cannot be read.
#[derive(Default)]
pub(super) struct Process {
    pub(super) cpu: Duration,
    pub(super) threads: Option<u64>,
    /// In bytes.
    pub(super) virtual_memory: Option<u64>,
    /// In bytes.
    pub(super) resident_memory: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) max_files: Option<u64>,
}

impl Process {
    /// Reads them: clock_gettime(2), getrlimit(2), proc(5).
    pub(super) fn read() -> Self {
        let stat = fs::read("/proc/self/stat").unwrap_or_default();
        // The second field is the program's name in parentheses, which may contain any byte.
        let end = stat.iter().rposition(|byte| *byte == b')').unwrap_or(0);
        let field = |number: usize| {
            let mut fields = stat[end..].split(|byte| *byte == b' ');
            str::from_utf8(fields.nth(number - 2)?).ok()?.parse::<u64>().ok()
        };
        Self {
            cpu: Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default(),
            threads: field(20),
            virtual_memory: field(23),
            resident_memory: field(24).map(|pages| pages * page_size() as u64),
            // Without the one that lists them.
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64 - 1),
            max_files: getrlimit(Resource::Nofile).current,
        }
    }
}
