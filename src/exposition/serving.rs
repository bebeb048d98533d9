//! Serves scrapes, with bounds that metrics-exporter-prometheus does not have: on the number of
//! connections, on the time that they can keep others out, and on the work of accepting them.
//!
//! The exporter accepts connections in one runtime and spawns them in another, which can be dropped
//! with all of them, while the socket and the clients that wait in it stay.

use std::convert::Infallible;
use std::future::{self, Future, poll_fn};
use std::io;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use metrics_exporter_prometheus::ExporterFuture;
use rustix::thread::gettid;
use tokio::runtime::{self, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::{coop, yield_now};
use tokio::time::{Instant, sleep, sleep_until};

use super::listener::SocketFile;

/// Maximum number of connections. Each can make the exporter buffer 410 kB of an unfinished header
/// and as much of responses that are not read, and the kernel 2 MB.
const MAX_CONNECTIONS: usize = 32;

/// Minimum time between two rounds of accepting: without free descriptors, each fails at once.
const ROUND: Duration = Duration::from_millis(100);

/// Time that all connections may be in use before they are dropped in favour of waiting clients. A
/// scrape takes milliseconds, on a slow machine a tenth of a second.
const MAX_FULL: Duration = Duration::from_millis(250);

/// Number of operations that tokio lets a task do at a time.
const BUDGET: usize = 128;

/// Maximum wait for the end of a thread: a stuck one must not prevent a stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

const RENDER: &str = "render";

/// A listener that serves scrapes until it is dropped.
pub(super) struct Serving {
    // Removed first: while the socket accepts connections, no other process replaces it.
    socket: Option<SocketFile>,
    accepting: Driven,
    drops: Arc<AtomicU64>,
}

impl Serving {
    /// Serves scrapes in threads.
    ///
    /// # Errors
    /// The kernel's error if a thread or a runtime cannot be created.
    pub(super) fn start(
        runtime: Runtime,
        exporter: ExporterFuture,
        socket: Option<SocketFile>,
    ) -> io::Result<Self> {
        let drops = Arc::<AtomicU64>::default();
        let accepting = accept(connections()?, drops.clone(), exporter);
        Ok(Self { socket, accepting: Driven::spawn("listener", runtime, accepting)?, drops })
    }

    /// Returns whether it ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.accepting.ended.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Returns whether its socket file still exists.
    pub(super) fn has_socket(&self) -> bool {
        self.socket.as_ref().is_none_or(SocketFile::exists)
    }

    /// Returns how many times all connections were dropped.
    pub(super) fn drops(&self) -> u64 {
        self.drops.load(Relaxed)
    }
}

/// Accepts connections, until no runtime can be created for them. The socket is dropped before the
/// connections, whose thread may be stuck.
async fn accept(mut pool: Driven, drops: Arc<AtomicU64>, mut exporter: ExporterFuture) {
    // Number of connections after the last round, if there was no room for more.
    let mut full: Option<usize> = None;
    loop {
        let start = Instant::now();
        // Most scrapes would have ended in the meantime.
        if full.is_some_and(|full| 2 * pool.connections() > full) {
            drop(pool);
            let mut new = connections();
            // The kernel may still count the old threads.
            for _ in 0..10 {
                if new.is_err() {
                    sleep(ROUND).await;
                    new = connections();
                }
            }
            match new {
                Ok(new) => pool = new,
                Err(_) => return,
            }
            drops.fetch_add(1, Relaxed);
        }
        let room = MAX_CONNECTIONS.saturating_sub(pool.connections());
        let is_full = accept_up_to(room, &mut exporter, &pool.handle).await;
        full = is_full.then(|| pool.connections());
        sleep_until(start + if is_full { MAX_FULL } else { ROUND }).await;
    }
}

/// Accepts up to `room` connections, and returns when more may be waiting. Returns whether there
/// was no room for more: all connections are in use, or descriptors have run out.
async fn accept_up_to(room: usize, exporter: &mut ExporterFuture, handle: &Handle) -> bool {
    // The next poll begins with the whole budget.
    yield_now().await;
    let mut is_woken = false;
    poll_fn(|cx| {
        if is_woken {
            return Poll::Ready(false);
        }
        is_woken = true;
        for _ in room..BUDGET {
            if let Poll::Ready(unit) = coop::poll_proceed(cx) {
                unit.made_progress();
            }
        }
        let _guard = handle.enter();
        // The exporter's future never completes.
        let _ = exporter.as_mut().poll(cx);
        if coop::has_budget_remaining() { Poll::Pending } else { Poll::Ready(true) }
    })
    .await
}

/// Creates a runtime for connections, with its thread that renders: no scrape has to start it, and
/// scrapes that come at the same time wait for less than a millisecond.
fn connections() -> io::Result<Driven> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .thread_keep_alive(Duration::from_secs(365 * 86_400))
        .thread_name(RENDER)
        .build()?;
    // tokio panics if it cannot create the thread.
    let probe = thread::Builder::new().name(RENDER.to_owned()).spawn(gettid)?;
    let id = probe.join().map_err(|_| io::ErrorKind::Other)?;
    // The kernel still counts a joined thread until it disappears from /proc.
    let (task, end) = (format!("/proc/self/task/{id}"), Instant::now() + STOP_TIMEOUT);
    while Path::new(&task).exists() && Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
    }
    drop(runtime.spawn_blocking(|| ()));
    Driven::spawn("connections", runtime, future::pending())
}

/// A runtime, driven by a thread until it is dropped.
struct Driven {
    handle: Handle,
    stop: Option<oneshot::Sender<Infallible>>,
    /// Disconnected when the thread has ended.
    ended: Receiver<Infallible>,
}

impl Driven {
    /// Starts the thread, which ends with `task`.
    fn spawn(
        name: &str,
        runtime: Runtime,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<Self> {
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = mpsc::channel::<Infallible>();
        let mut task = runtime.spawn(task);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut stopped = pin!(stopped);
            runtime.block_on(poll_fn(|cx| {
                let is_stopped = stopped.as_mut().poll(cx).is_ready();
                let is_over = is_stopped || Pin::new(&mut task).poll(cx).is_ready();
                if is_over { Poll::Ready(()) } else { Poll::Pending }
            }));
            runtime.shutdown_background();
            drop(end);
        })?;
        Ok(Self { handle, stop: Some(stop), ended })
    }

    /// Returns the number of its connections: its tasks, apart from the pending one.
    fn connections(&self) -> usize {
        self.handle.metrics().num_alive_tasks().saturating_sub(1)
    }
}

impl Drop for Driven {
    /// Drops everything that it drives: sockets are closed, and descriptors are free again.
    fn drop(&mut self) {
        self.stop = None;
        // A thread that is stuck is left behind.
        let _ = self.ended.recv_timeout(STOP_TIMEOUT);
    }
}
