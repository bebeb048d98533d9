//! The thread that ticks.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::{Exposition, View};
use crate::clock::{Clock, SystemClock};

type Change = Box<dyn FnOnce(&mut Exposition) + Send>;

/// Sends changes to the ticking thread, which ends when the last clone is dropped.
#[derive(Clone)]
pub struct Ticker(Sender<Change>);

impl Ticker {
    const PERIOD: Duration = Duration::from_secs(1);

    /// Starts the thread.
    ///
    /// # Errors
    /// The kernel's error if the thread cannot be created.
    pub fn spawn(exposition: Exposition) -> io::Result<Self> {
        let (changes, received) = mpsc::channel();
        thread::Builder::new()
            .name("ticker".to_owned())
            .spawn(move || run(exposition, &received))?;
        Ok(Self(changes))
    }

    /// Ticks now instead of at the next second: a sensor went up or down.
    pub fn tick(&self) {
        self.send(|_| ());
    }

    /// Shows the sensors of a new configuration.
    pub fn show(&self, views: Vec<View>) {
        self.send(|exposition| exposition.show(views, SystemClock.now()));
    }

    /// Records the outcome of a reload.
    pub fn record_reload(&self, successful: bool) {
        self.send(move |exposition| exposition.record_reload(successful));
    }

    fn send(&self, change: impl FnOnce(&mut Exposition) + Send + 'static) {
        // The thread outlives every sender; if it panicked, the process aborted.
        let _ = self.0.send(Box::new(change));
    }
}

/// Ticks every second and after each change. A tick that is late by more than a period starts a new
/// grid of seconds.
fn run(mut exposition: Exposition, changes: &Receiver<Change>) {
    let clock = SystemClock;
    let mut next = clock.now();
    loop {
        let now = clock.now();
        if now >= next {
            next = (next + Ticker::PERIOD).max(now);
        }
        exposition.tick(now);
        match changes.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(change) => {
                change(&mut exposition);
                for change in changes.try_iter() {
                    change(&mut exposition);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
