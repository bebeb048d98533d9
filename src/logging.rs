//! Logs to the journal if standard error is connected to it, else to standard error as lines of
//! time, level and message.

use std::fs;
use std::os::unix::fs::MetadataExt;

use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

use crate::config::LogLevel;

/// Handle of the running log, which can change its level.
pub struct Logging(reload::Handle<Targets, Registry>);

impl Logging {
    /// Starts logging. Must be called only once.
    pub fn start(level: LogLevel) -> Self {
        let (filter, handle) = reload::Layer::new(targets(level));
        let registry = tracing_subscriber::registry().with(filter);
        let journal = stderr_is_the_journal().then(tracing_journald::layer).and_then(Result::ok);
        match journal {
            Some(journal) => registry.with(journal.with_priority_mappings(priorities())).init(),
            None => {
                registry.with(fmt::layer().with_writer(std::io::stderr).with_target(false)).init();
            }
        }
        Self(handle)
    }

    /// Logs messages of this level and more severe ones from now on.
    pub fn set_level(&self, level: LogLevel) {
        // Fails only if the subscriber was dropped, which happens at the end of the process.
        let _ = self.0.reload(targets(level));
    }
}

/// Returns the filter: messages of this program at `level`, those of its libraries only if they are
/// errors. The HTTP library logs a warning for every connection that it cannot accept: megabytes
/// per second when descriptors run out.
fn targets(level: LogLevel) -> Targets {
    Targets::new()
        .with_default(LevelFilter::ERROR)
        .with_target("ina260_exporter", level.name().parse().unwrap_or(LevelFilter::INFO))
}

/// Maps levels to the priorities of syslog(3); by default INFO would be a notice.
fn priorities() -> PriorityMappings {
    PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
    }
}

/// Returns whether standard error is connected to the journal: `JOURNAL_STREAM` has its device and
/// inode (systemd.exec(5)). A child may inherit the variable, but have another standard error.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stderr) = fs::metadata("/proc/self/fd/2") else {
        return false;
    };
    stream == format!("{}:{}", stderr.dev(), stderr.ino())
}
