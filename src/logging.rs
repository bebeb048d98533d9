//! Messages go to the journal when systemd listens, else to standard error: to one of them, or each line would come twice.

use std::fs;
use std::os::unix::fs::MetadataExt;

use tracing::Level;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

use crate::config::LogLevel;

/// Changes the level while the daemon runs.
pub struct Logging(reload::Handle<Targets, Registry>);

impl Logging {
    /// Sends this process's messages on their way. To be called once.
    #[must_use]
    pub fn start(level: LogLevel) -> Self {
        let (filter, handle) = reload::Layer::new(targets(level));
        let registry = tracing_subscriber::registry().with(filter);
        let journal = stderr_is_the_journal()
            .then(tracing_journald::layer)
            .and_then(Result::ok);
        match journal {
            Some(journal) => registry
                .with(journal.with_priority_mappings(priorities()))
                .init(),
            None => registry
                .with(fmt::layer().with_writer(std::io::stderr).with_target(false))
                .init(),
        }
        Self(handle)
    }

    /// From now on, messages of this level and more important ones.
    pub fn set_level(&self, level: LogLevel) {
        // It fails only once the subscriber is gone, with the process.
        let _ = self.0.reload(targets(level));
    }
}

/// Our own messages. Of others only errors: the HTTP listener warns of every connection that it cannot accept, megabytes a second
/// when descriptors run out.
fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    Targets::new()
        .with_default(LevelFilter::ERROR)
        .with_target("ina260_exporter", level)
}

/// syslog(3)'s numbers as a person expects them: an information is 6, not the 5 of a notice.
fn priorities() -> PriorityMappings {
    PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
    }
}

/// systemd tells in `JOURNAL_STREAM` which device and inode it connected to the journal (systemd.exec(5)); a child that inherited the
/// variable may have another standard error.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stderr) = fs::metadata("/proc/self/fd/2") else {
        return false;
    };
    stream == format!("{}:{}", stderr.dev(), stderr.ino())
}
