//! The `process_*` metrics.

use std::time::{Duration, Instant};

use metrics_process::collector;

/// The values of this process, from `/proc`.
#[derive(Default)]
pub(super) struct Process {
    values: Vec<(&'static str, f64)>,
    collected: Option<Instant>,
}

impl Process {
    /// Reading `/proc` costs more than the rest of a tick.
    const PERIOD: Duration = Duration::from_secs(10);

    /// Returns the name and value of each metric but the start time, which metrics-process can only
    /// determine if all of `/proc` is visible.
    pub(super) fn values(&mut self, now: Instant) -> &[(&'static str, f64)] {
        let is_recent = |at| now.saturating_duration_since(at) < Self::PERIOD;
        if !self.collected.is_some_and(is_recent) {
            self.values = collect();
            self.collected = Some(now);
        }
        &self.values
    }
}

fn collect() -> Vec<(&'static str, f64)> {
    #[expect(clippy::cast_precision_loss, reason = "15 digits are enough")]
    let number = |count: Option<u64>| count.map(|count| count as f64);
    let process = collector::collect();
    let values = [
        ("process_cpu_seconds_total", process.cpu_seconds_total),
        ("process_open_fds", number(process.open_fds)),
        ("process_max_fds", number(process.max_fds)),
        ("process_virtual_memory_bytes", number(process.virtual_memory_bytes)),
        ("process_virtual_memory_max_bytes", number(process.virtual_memory_max_bytes)),
        ("process_resident_memory_bytes", number(process.resident_memory_bytes)),
        ("process_threads", number(process.threads)),
    ];
    values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
