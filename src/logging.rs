//! Logs to the journal if standard error is connected to it, else to standard error.
//!
//! Messages are queued, so that only the thread that writes them waits for a full pipe, or for a
//! journal that does not respond. Those that do not fit are dropped and counted.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use tracing::{Dispatch, Level, Metadata, debug, dispatcher, error, info, warn};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use crate::config::LogLevel;

/// Upper bound on the text of all queued messages, in bytes: about 7,000 messages.
const MAX_QUEUED: usize = 1 << 20;
/// Further room in the queue, in bytes, which only warnings and errors may use.
const RESERVE: usize = 64 << 10;
/// Minimum time between two reports of dropped messages.
const REPORT_PERIOD: Duration = Duration::from_secs(10);
/// Upper bound on the text of a message, in bytes.
const MAX_MESSAGE: usize = 32 << 10;
/// Longest wait at the end of the process for messages that are still queued.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Handle of the running log. Dropping it waits for queued messages, for at most a second.
pub struct Logging {
    level: reload::Handle<Targets, Registry>,
    queue: Arc<Queue>,
    /// Whether the thread that writes was started.
    has_thread: bool,
}

impl Logging {
    /// Starts logging. Must be called only once.
    pub fn start(level: LogLevel) -> Self {
        let (filter, level) = reload::Layer::new(targets(level));
        let registry = tracing_subscriber::registry().with(filter);
        let journal = stderr_is_the_journal().then(tracing_journald::layer).and_then(Result::ok);
        let journal = journal.map(|journal| {
            // As in syslog(3); by default INFO would be a notice.
            let journal = journal.with_priority_mappings(PriorityMappings {
                info: Priority::Informational,
                debug: Priority::Debug,
                ..PriorityMappings::new()
            });
            // Only what `Queue::write` passes on: other call sites stay disabled.
            let own = Targets::new().with_target(module_path!(), Level::DEBUG);
            tracing_subscriber::registry().with(own).with(journal).into()
        });
        let queue = Arc::new(Queue { journal, ..Queue::default() });
        let writer = Writer { queue: queue.clone(), level: Level::INFO };
        let layer = fmt::layer().with_target(false).with_writer(writer);
        if queue.journal.is_some() {
            // The journal has fields for these.
            registry.with(layer.without_time().with_level(false)).init();
        } else {
            registry.with(layer).init();
        }
        let thread = thread::Builder::new().name("log".to_owned());
        let shared = queue.clone();
        let has_thread = thread.spawn(move || shared.write_all()).is_ok();
        Self { level, queue, has_thread }
    }

    /// Logs messages of this level and more severe ones from now on.
    pub fn set_level(&self, level: LogLevel) {
        // Fails only if the subscriber was dropped, which happens at the end of the process.
        let _ = self.level.reload(targets(level));
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        if self.has_thread {
            let is_busy = |state: &mut State| state.bytes > 0;
            let state = self.queue.lock();
            let _ = self.queue.changed.wait_timeout_while(state, FLUSH_TIMEOUT, is_busy);
        } else {
            while !self.queue.lock().messages.is_empty() {
                self.queue.write_next();
            }
        }
    }
}

/// The messages that are still to be written.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// Subscriber that only the writing thread uses; `None` for standard error.
    journal: Option<Dispatch>,
}

#[derive(Default)]
struct State {
    messages: VecDeque<(Level, Vec<u8>)>,
    /// Size of their text, including that of the message being written.
    bytes: usize,
    /// Messages that did not fit or could not be written, since the start.
    dropped: u64,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the lock")
    }

    fn add(&self, level: Level, text: Vec<u8>) {
        let mut state = self.lock();
        let reserve = if level <= Level::WARN { RESERVE } else { 0 };
        if state.bytes + text.len() > MAX_QUEUED + reserve {
            state.dropped += 1;
        } else {
            state.bytes += text.len();
            state.messages.push_back((level, text));
            self.changed.notify_all();
        }
    }

    /// Writes messages until the process ends.
    fn write_all(&self) {
        let (mut reported, mut last) = (0, None::<Instant>);
        loop {
            let is_written = self.write_next();
            let dropped = self.lock().dropped;
            let is_due = last.is_none_or(|last| last.elapsed() >= REPORT_PERIOD);
            if is_written && dropped > reported && is_due {
                (reported, last) = (dropped, Some(Instant::now()));
                warn!(
                    "log messages dropped since start-up: {dropped} (the log could not be \
                     written)"
                );
            }
        }
    }

    /// Waits for the next message and writes it. Returns whether that succeeded.
    fn write_next(&self) -> bool {
        let is_empty = |state: &mut State| state.messages.is_empty();
        let state = self.changed.wait_while(self.lock(), is_empty);
        let message = state.expect("no thread panics while it holds the lock").messages.pop_front();
        let Some((level, text)) = message else { return false };
        let is_written = self.write(level, &text).is_ok();
        let mut state = self.lock();
        state.bytes -= text.len();
        state.dropped += u64::from(!is_written);
        self.changed.notify_all();
        is_written
    }

    fn write(&self, level: Level, text: &[u8]) -> io::Result<()> {
        let Some(journal) = &self.journal else { return io::stderr().write_all(text) };
        let text = String::from_utf8_lossy(text.trim_ascii_end());
        dispatcher::with_default(journal, || match level {
            Level::ERROR => error!("{text}"),
            Level::WARN => warn!("{text}"),
            Level::INFO => info!("{text}"),
            Level::DEBUG | Level::TRACE => debug!("{text}"),
        });
        Ok(())
    }
}

/// Puts the formatted messages of one level into the queue.
#[derive(Clone)]
struct Writer {
    queue: Arc<Queue>,
    level: Level,
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Self {
        Self { level: *metadata.level(), ..self.clone() }
    }
}

impl Write for Writer {
    /// Queues a whole message.
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let mut message = text.to_vec();
        if text.len() > MAX_MESSAGE {
            message.truncate(MAX_MESSAGE);
            message.extend_from_slice("…\n".as_bytes());
        }
        self.queue.add(self.level, message);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the filter: messages of this program at `level`, those of its libraries only if they are
/// errors. The HTTP library logs a warning for every connection that it cannot accept: megabytes
/// per second when descriptors run out.
fn targets(level: LogLevel) -> Targets {
    Targets::new()
        .with_default(LevelFilter::ERROR)
        .with_target("ina260_exporter", level.to_string().parse().unwrap_or(LevelFilter::INFO))
}

/// Returns whether standard error is connected to the journal: `JOURNAL_STREAM` has its device and
/// inode (systemd.exec(5)). A child may inherit the variable, but have a different standard error.
fn stderr_is_the_journal() -> bool {
    let (stream, stderr) = (env::var("JOURNAL_STREAM"), fs::metadata("/proc/self/fd/2"));
    let stderr = stderr.map(|stderr| format!("{}:{}", stderr.dev(), stderr.ino()));
    stderr.is_ok_and(|stderr| stream.as_ref() == Ok(&stderr))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{Read as _, Seek as _};

    use tracing::Dispatch;
    use tracing::subscriber::{DefaultGuard, NoSubscriber, set_default};

    use super::*;

    /// The messages of a test's thread.
    pub(crate) struct CapturedLog {
        file: Arc<fs::File>,
        _default: DefaultGuard,
        /// With a single subscriber, a message whose first use is in the thread of another test
        /// would be disabled for this one, too.
        _second: Dispatch,
    }

    impl CapturedLog {
        pub(crate) fn start() -> Self {
            let second = Dispatch::new(NoSubscriber::new());
            let file = Arc::new(tempfile::tempfile().unwrap());
            let subscriber = tracing_subscriber::fmt().with_writer(file.clone()).finish();
            Self { file, _default: set_default(subscriber), _second: second }
        }

        pub(crate) fn text(&self) -> String {
            let (mut file, mut text) = (&*self.file, String::new());
            file.rewind().unwrap();
            file.read_to_string(&mut text).unwrap();
            text
        }
    }

    #[test]
    fn full_queue_drops_and_counts() {
        let queue = Queue::default();
        let text = vec![b'x'; MAX_MESSAGE];
        for _ in 0..40 {
            queue.add(Level::INFO, text.clone());
        }
        queue.add(Level::WARN, b"warning".to_vec());
        let state = queue.lock();
        assert_eq!((state.messages.len(), state.bytes, state.dropped), (33, (1 << 20) + 7, 8));
    }

    #[test]
    fn long_message_is_truncated() {
        let queue = Arc::new(Queue::default());
        let mut writer = Writer { queue: queue.clone(), level: Level::INFO };
        writer.write_all(&vec![b'x'; MAX_QUEUED]).unwrap();
        let state = queue.lock();
        assert_eq!(state.messages[0].1.len(), MAX_MESSAGE + "…\n".len());
    }
}
