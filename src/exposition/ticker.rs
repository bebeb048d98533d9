//! The thread that ticks.

use std::convert::Infallible;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusRecorder;

use super::{Exposition, RestartCause, View};
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

    /// Shows these sensors, in a new recorder if one is given. Returns when every series is set.
    pub(super) fn show(&self, views: Vec<View>, recorder: Option<PrometheusRecorder>) {
        let (done, is_done) = mpsc::channel::<Infallible>();
        self.send(|exposition| {
            match recorder {
                Some(recorder) => exposition.replace(recorder, views),
                None => exposition.show(views),
            }
            exposition.tick(SystemClock.now());
            drop(done);
        });
        let _ = is_done.recv();
    }

    /// Records the outcome of a reload.
    pub fn record_reload(&self, successful: bool) {
        self.send(move |exposition| exposition.record_reload(successful));
    }

    /// Counts a restart of the listener.
    pub(super) fn count_restart(&self, cause: RestartCause) {
        self.send(move |exposition| exposition.count_restart(cause));
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
