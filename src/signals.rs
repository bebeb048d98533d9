//! Signals become events in a channel, where they can be waited for together with the time.

use std::io;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What somebody wants of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

/// Catches the signals from now on.
///
/// # Errors
/// What the kernel says if there can't be a handler or a thread.
pub fn events() -> io::Result<Receiver<Event>> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let (events, received) = mpsc::channel();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                let event = if signal == SIGHUP {
                    Event::Reload
                } else {
                    Event::Stop
                };
                if events.send(event).is_err() {
                    return;
                }
            }
        })?;
    Ok(received)
}
