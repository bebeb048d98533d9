//! The thread that runs a sampler, and its deadline.

use std::convert::Infallible;
use std::io;
use std::num::NonZeroU64;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{Sampler, Setup};

/// The time by which a sampler will have finished its next pass. Met during backoff and long
/// intervals; not met by a sampler whose transfer hangs.
#[derive(Clone, Debug)]
pub(super) struct Deadline(Arc<Mutex<Instant>>);

impl Deadline {
    /// Upper bound on the time of one poll: a stuck one ends at the adapter's timeout, about 1 s.
    pub(super) const ALLOWANCE: Duration = Duration::from_secs(5);

    pub(super) fn new(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(now + Self::ALLOWANCE)))
    }

    /// Extends the deadline to the end of a poll that is due at `due`.
    pub(super) fn extend(&self, due: Instant) {
        *self.0.lock().expect("no thread panics while it holds the lock") = due + Self::ALLOWANCE;
    }

    pub(super) fn is_met(&self, now: Instant) -> bool {
        now < *self.0.lock().expect("no thread panics while it holds the lock")
    }
}

pub(crate) struct BusThread {
    /// `None`: the thread was asked to end.
    setups: Option<Sender<Vec<Setup>>>,
    deadline: Deadline,
    /// Disconnected when the thread ends: a wait for that can time out, a join cannot.
    ended: Receiver<Infallible>,
}

impl BusThread {
    pub(crate) fn spawn(name: &str, mut sampler: Sampler) -> io::Result<Self> {
        let (setups, received) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let deadline = sampler.deadline.clone();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            set_timer_slack();
            loop {
                let due = sampler.poll_due();
                match received.recv_timeout(due.saturating_duration_since(sampler.clock.now())) {
                    Ok(setups) => sampler.replace(setups),
                    Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => {}
                }
            }
            sampler.replace(Vec::new());
            drop(end);
        })?;
        Ok(Self { setups: Some(setups), deadline, ended })
    }

    pub(crate) fn replace(&self, setups: Vec<Setup>) {
        // A thread that was stopped no longer receives.
        let _ = self.setups.as_ref().map(|sender| sender.send(setups));
    }

    /// Returns whether the thread is running and its sampler meets the deadline.
    pub(crate) fn is_alive(&self, now: Instant) -> bool {
        self.deadline.is_met(now) && self.ended.try_recv() == Err(TryRecvError::Empty)
    }

    /// Asks the thread to end; does not wait for it.
    pub(crate) fn stop(&mut self) {
        self.setups = None;
    }

    /// Waits for the thread to end, at most until `deadline`. Returns whether it has ended.
    #[must_use]
    pub(crate) fn join_until(self, deadline: Instant) -> bool {
        let timeout = deadline.saturating_duration_since(Instant::now());
        self.ended.recv_timeout(timeout) == Err(RecvTimeoutError::Disconnected)
    }
}

/// Sets the calling thread's timer slack to 1 µs (default 50 µs), see prctl(2).
pub fn set_timer_slack() {
    // With the default, flags would be read up to 50 µs late; the shortest cycle is 280 µs.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000));
}
