//! Resources that this process uses, for the metrics `process_*`.

use std::fs;
use std::time::Duration;

use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Resources of this process; `None` if unlimited or unreadable.
#[derive(Default)]
pub(super) struct Process {
    /// User and system time.
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
    /// Reads the resources, see clock_gettime(2), getrlimit(2) and proc(5).
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
            // The descriptor of this listing is not counted.
            open_files: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|files| (files.count() as u64).saturating_sub(1)),
            max_files: getrlimit(Resource::Nofile).current,
        }
    }
}
