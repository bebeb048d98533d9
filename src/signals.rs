//! Delivers signals as events in a channel, which can be waited for with a timeout.

use std::io;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Request from a user or the service manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

/// Installs the signal handlers and returns the channel of events.
///
/// # Errors
/// The kernel's error if a handler cannot be installed or a thread cannot be created.
pub fn events() -> io::Result<Receiver<Event>> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let (events, receiver) = mpsc::channel();
    let forward = move || {
        for signal in signals.forever() {
            let event = if signal == SIGHUP { Event::Reload } else { Event::Stop };
            if events.send(event).is_err() {
                return;
            }
        }
    };
    let thread = thread::Builder::new().name("signals".to_owned());
    thread.spawn(forward)?;
    Ok(receiver)
}
