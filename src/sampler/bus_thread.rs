//! The thread that runs a sampler, and what others see of it.

use std::convert::Infallible;
use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Sampler, Setup};

/// The instant by which a sampler will have reported again.
///
/// A sensor that is waited for and an interval of a minute keep it; a transfer that does not come back breaks it.
#[derive(Clone, Debug)]
pub struct Deadline {
    origin: Instant,
    by_nanos: Arc<AtomicU64>,
}

impl Deadline {
    /// For one visit with its transfers: an adapter that gives up takes about a second for each, and a timeout ends a visit.
    pub const ALLOWANCE: Duration = Duration::from_secs(5);

    pub(super) fn new(origin: Instant) -> Self {
        let deadline = Self {
            origin,
            by_nanos: Arc::default(),
        };
        deadline.extend(origin);
        deadline
    }

    /// Something happens at `due`, and is done after the allowance.
    pub(super) fn extend(&self, due: Instant) {
        let by = due.saturating_duration_since(self.origin) + Self::ALLOWANCE;
        self.by_nanos
            .store(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Whether the promise is still good.
    #[must_use]
    pub fn is_met(&self, now: Instant) -> bool {
        now < self.origin + Duration::from_nanos(self.by_nanos.load(Relaxed))
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
    /// The thread drops the other end last: a wait for its end that can time out, which a join can't.
    ended: Receiver<Infallible>,
}

impl BusThread {
    /// Starts a thread called `name`, which keeps `lock` until it ends.
    ///
    /// # Errors
    /// What the kernel says if there can't be another thread.
    pub fn spawn(name: &str, sampler: Sampler, lock: impl Send + 'static) -> io::Result<Self> {
        let (orders, received) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let deadline = sampler.deadline();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                set_timer_slack();
                run(sampler, &received);
                drop(lock);
                drop(end);
            })?;
        Ok(Self {
            orders,
            deadline,
            ended,
        })
    }

    /// Hands the sensors of a new configuration over.
    pub fn replace(&self, setups: Vec<Setup>) {
        // A worker only ends by order; nobody to hear it means that it has its order already.
        let _ = self.orders.send(Order::Replace(setups));
    }

    /// Whether the sampler did what it promised.
    #[must_use]
    pub fn is_alive(&self, now: Instant) -> bool {
        self.deadline.is_met(now) && self.ended.try_recv() == Err(TryRecvError::Empty)
    }

    /// Asks the thread to end; does not wait for it.
    pub fn stop(&self) {
        let _ = self.orders.send(Order::Stop);
    }

    /// Waits for the thread's end until `deadline`. Tells whether it came.
    #[must_use]
    pub fn join_until(self, deadline: Instant) -> bool {
        let patience = deadline.saturating_duration_since(Instant::now());
        self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected)
    }
}

/// Sets the calling thread's timer slack to 1 µs (default 50 µs), see prctl(2).
pub fn set_timer_slack() {
    // The shortest cycle is 280 µs. Where it cannot be set, flags are read up to 50 µs later.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000));
}

fn run(mut sampler: Sampler, orders: &Receiver<Order>) {
    loop {
        let due = sampler.round();
        match orders.recv_timeout(due.saturating_duration_since(sampler.clock.now())) {
            Ok(Order::Replace(setups)) => sampler.replace(setups),
            Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return sampler.release(),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}
