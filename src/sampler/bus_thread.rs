//! The thread that runs a sampler, and its deadline.

use std::convert::Infallible;
use std::io;
use std::num::NonZeroU64;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::{Sampler, Setup};

/// The time by which a sampler will have finished its next pass.
///
/// Met during backoff and long intervals; not met by a sampler whose transfer hangs.
#[derive(Clone, Debug)]
pub struct Deadline(Arc<Mutex<Instant>>);

impl Deadline {
    /// Upper bound on the time of one poll: an adapter times out after about a second, and a
    /// timeout ends a poll.
    pub const ALLOWANCE: Duration = Duration::from_secs(5);

    pub(super) fn new(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(now + Self::ALLOWANCE)))
    }

    /// Extends the deadline to the end of a poll that is due at `due`.
    pub(super) fn extend(&self, due: Instant) {
        *self.lock() = due + Self::ALLOWANCE;
    }

    /// Returns whether the deadline has not passed.
    pub fn is_met(&self, now: Instant) -> bool {
        now < *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Instant> {
        self.0.lock().expect("no thread panics while it holds the lock")
    }
}

enum Order {
    Replace(Vec<Setup>),
    Stop,
}

/// A sampler in its thread.
pub struct BusThread {
    orders: Sender<Order>,
    deadline: Deadline,
    /// Disconnected when the thread ends: a wait for that can time out, a join cannot.
    ended: Receiver<Infallible>,
}

impl BusThread {
    /// Starts a thread called `name`.
    ///
    /// # Errors
    /// The error of the kernel if the thread cannot be created.
    pub fn spawn(name: &str, sampler: Sampler) -> io::Result<Self> {
        let (orders, received) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let deadline = sampler.deadline();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            set_timer_slack();
            run(sampler, &received);
            drop(end);
        })?;
        Ok(Self { orders, deadline, ended })
    }

    /// Applies the sensors of a new configuration.
    pub fn replace(&self, setups: Vec<Setup>) {
        // A thread that no longer receives was stopped.
        let _ = self.orders.send(Order::Replace(setups));
    }

    /// Returns whether the thread is running and its sampler meets the deadline.
    pub fn is_alive(&self, now: Instant) -> bool {
        self.deadline.is_met(now) && self.ended.try_recv() == Err(TryRecvError::Empty)
    }

    /// Asks the thread to end; does not wait for it.
    pub fn stop(&self) {
        let _ = self.orders.send(Order::Stop);
    }

    /// Waits for the thread to end, at most until `deadline`. Returns whether it has ended.
    #[must_use]
    pub fn join_until(self, deadline: Instant) -> bool {
        let timeout = deadline.saturating_duration_since(Instant::now());
        self.ended.recv_timeout(timeout) == Err(RecvTimeoutError::Disconnected)
    }
}

/// Sets the calling thread's timer slack to 1 µs (default 50 µs), see prctl(2).
pub fn set_timer_slack() {
    // With the default, flags would be read up to 50 µs late; the shortest cycle is 280 µs.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000));
}

fn run(mut sampler: Sampler, orders: &Receiver<Order>) {
    loop {
        let due = sampler.poll_due();
        match orders.recv_timeout(due.saturating_duration_since(sampler.clock.now())) {
            Ok(Order::Replace(setups)) => sampler.replace(setups),
            Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return sampler.release(),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}
