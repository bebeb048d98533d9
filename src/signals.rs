//! Delivers signals as events in a channel, which can be waited for with a timeout.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;
use std::{fs, io, process, thread};

pub(crate) use signal_hook::consts::SIGCONT;
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::iterator::exfiltrator::WithRawSiginfo;
use signal_hook::{flag, iterator};

/// Signals that keys of a terminal send to every process in the foreground.
const KEYS: [i32; 2] = [SIGINT, SIGQUIT];
/// Origin of a signal that no process has sent, see sigaction(2).
const SI_KERNEL: i32 = 0x80;

/// Time for the process to end by itself after a signal that arrives when signals are no longer
/// received: it may have been sent before.
const GRACE: Duration = Duration::from_millis(100);

/// A signal, or a change in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// SIGTERM, SIGINT or SIGQUIT.
    Stop,
    /// SIGHUP.
    Reload,
    /// A sensor went up or down; sent by the daemon's own threads.
    SensorChanged,
}

/// A signal that has arrived.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    /// Its number.
    pub number: i32,
    /// Whether a key of the terminal has sent it, and not a process.
    pub is_from_key: bool,
}

/// Catches SIGHUP, and sends it and the signals that are added to the handle as events.
pub(crate) fn catch_reload(events: Sender<Event>) -> io::Result<iterator::Handle> {
    on_signals([SIGHUP], move |signal| {
        events.send(if signal.number == SIGHUP { Event::Reload } else { Event::Stop }).is_ok()
    })
}

/// Catches SIGTERM, SIGINT and SIGQUIT, too. Until then, they end the process.
pub(crate) fn catch_stop(handle: &iterator::Handle) -> io::Result<()> {
    [SIGINT, SIGQUIT, SIGTERM].into_iter().try_for_each(|signal| handle.add_signal(signal))
}

/// Catches SIGXFSZ: at the file size limit (`ulimit -f`), writes fail and the process goes on.
pub fn catch_file_size_limit() {
    if !is_ignored(SIGXFSZ) {
        // If this fails, only a file at the limit is a problem.
        let _ = flag::register(SIGXFSZ, Arc::default());
    }
}

/// Returns whether this process ignores a signal, as it ignores SIGHUP after nohup(1).
pub(crate) fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Returns the signals that end a command, except those that are ignored: all those that other
/// processes usually send, since a command may have registers to restore.
pub fn ending() -> impl Iterator<Item = i32> {
    [SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2]
        .into_iter()
        .filter(|signal| !is_ignored(*signal))
}

/// Calls `on_signal` in a thread of its own for each of these signals. If it returns false, signals
/// are no longer received, and this one ends the process, even if another thread is blocked.
///
/// # Errors
/// The kernel's error if a handler cannot be installed or a thread cannot be created.
pub fn on_signals(
    signals: impl IntoIterator<Item = i32>,
    mut on_signal: impl FnMut(Signal) -> bool + Send + 'static,
) -> io::Result<iterator::Handle> {
    let mut signals = iterator::SignalsInfo::<WithRawSiginfo>::new(signals)?;
    let handle = signals.handle();
    let thread = thread::Builder::new().name("signals".to_owned());
    thread.spawn(move || {
        for origin in &mut signals {
            let number = origin.si_signo;
            let is_from_key = KEYS.contains(&number) && origin.si_code == SI_KERNEL;
            if !on_signal(Signal { number, is_from_key }) {
                thread::sleep(GRACE);
                process::exit(128 + number);
            }
        }
    })?;
    Ok(handle)
}
