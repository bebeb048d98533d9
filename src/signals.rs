//! Delivers signals as events in a channel, which can be waited for with a timeout.

use std::io;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator;

/// Request from a user or the service manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

/// Signals that are caught already, while the others still end the process.
pub struct Signals {
    handle: iterator::Handle,
    events: Receiver<Event>,
}

impl Signals {
    /// Catches SIGHUP.
    ///
    /// # Errors
    /// The kernel's error if the handler cannot be installed or a thread cannot be created.
    pub fn catch_reload() -> io::Result<Self> {
        let mut signals = iterator::Signals::new([SIGHUP])?;
        let handle = signals.handle();
        let (sender, events) = mpsc::channel();
        let forward = move || {
            for signal in signals.forever() {
                let event = if signal == SIGHUP { Event::Reload } else { Event::Stop };
                if sender.send(event).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("signals".to_owned());
        thread.spawn(forward)?;
        Ok(Self { handle, events })
    }

    /// Catches SIGTERM and SIGINT, too, and returns the channel of events.
    ///
    /// # Errors
    /// The kernel's error if a handler cannot be installed.
    pub fn catch_stop(self) -> io::Result<Receiver<Event>> {
        self.handle.add_signal(SIGINT)?;
        self.handle.add_signal(SIGTERM)?;
        Ok(self.events)
    }
}

/// Catches all of these signals and returns the channel of events.
///
/// # Errors
/// As for [`Signals`].
pub fn events() -> io::Result<Receiver<Event>> {
    Signals::catch_reload()?.catch_stop()
}
