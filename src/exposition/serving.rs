//! Serves scrapes, with bounds that metrics-exporter-prometheus does not have: on the number of
//! connections, on the time that they can keep others out, and on the work of accepting them.
//!
//! The exporter accepts connections in one runtime and spawns them in another, which can be dropped
//! with all of them, while the socket and the clients that wait in it stay.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use metrics_exporter_prometheus::ExporterFuture;
use rustix::thread::gettid;
use tokio::runtime::{self, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::{coop, yield_now};
use tokio::time::{Instant, sleep_until};

use super::Listener;
use super::listener::SocketFile;

/// Maximum number of connections. Each can make the exporter buffer 410 kB of an unfinished header
/// and as much of responses that are not read, and the kernel 2 MB.
const MAX_CONNECTIONS: usize = 32;

/// Time that all connections may be in use before they are dropped in favour of those that wait. A
/// scrape takes milliseconds.
const MAX_FULL: Duration = Duration::from_millis(250);

/// Minimum time between two rounds of accepting: without descriptors each fails at once.
const ACCEPT_PERIOD: Duration = Duration::from_millis(100);

/// Number of operations that tokio lets a task do at a time.
const BUDGET: usize = 128;

/// Upper bound on the wait for a thread: one that does not end does not affect a stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

const LISTENER: &str = "listener";
const CONNECTIONS: &str = "connections";
const RENDER: &str = "render";

/// A listener that serves scrapes until it is dropped.
pub(super) struct Serving {
    // Removed first: while the socket accepts connections, no other process replaces it.
    socket: Option<SocketFile>,
    stop: Option<oneshot::Sender<Infallible>>,
    ended: Receiver<Infallible>,
    drops: Arc<AtomicU64>,
}

impl Listener {
    /// Serves scrapes in threads.
    ///
    /// # Errors
    /// The kernel's error if a thread or a runtime cannot be created.
    pub(super) fn serve(self) -> io::Result<Serving> {
        let Self { runtime, exporter, socket } = self;
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let (end, ended) = mpsc::channel::<Infallible>();
        let (started, is_started) = mpsc::channel();
        let drops = Arc::<AtomicU64>::default();
        let counted = drops.clone();
        let listen = move || {
            let pool = match Pool::new(runtime.handle().clone(), end.clone()) {
                Ok(pool) => pool,
                Err(error) => return drop(started.send(Err(error))),
            };
            let _ = started.send(Ok(()));
            let mut accepting = runtime.spawn(accept(exporter, pool, counted));
            let mut stopped = stopped;
            runtime.block_on(poll_fn(|cx| {
                let is_stopped = Pin::new(&mut stopped).poll(cx).is_ready();
                let is_over = is_stopped || Pin::new(&mut accepting).poll(cx).is_ready();
                if is_over { Poll::Ready(()) } else { Poll::Pending }
            }));
            drop(runtime);
            drop(end);
        };
        thread::Builder::new().name(LISTENER.to_owned()).spawn(listen)?;
        is_started.recv().unwrap_or_else(|_| Err(io::Error::other("the listener panicked")))?;
        Ok(Serving { socket, stop: Some(stop), ended, drops })
    }
}

impl Serving {
    /// Returns whether it ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.try_recv() == Err(TryRecvError::Disconnected)
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

impl Drop for Serving {
    /// Closes the socket and every connection: what is counted from now on is not served, and
    /// descriptors are free again.
    fn drop(&mut self) {
        self.socket = None;
        self.stop = None;
        let _ = self.ended.recv_timeout(STOP_TIMEOUT);
    }
}

/// Accepts connections, until no runtime can be created for them.
async fn accept(mut exporter: ExporterFuture, mut pool: Pool, drops: Arc<AtomicU64>) {
    let mut full_since: Option<Instant> = None;
    loop {
        let next = Instant::now() + ACCEPT_PERIOD;
        let room = MAX_CONNECTIONS.saturating_sub(pool.connections());
        // If a round uses its whole budget, all connections are in use or descriptors have run out.
        if room == 0 || accept_up_to(room, &mut exporter, &mut pool).await {
            let since = *full_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= MAX_FULL {
                if pool.renew().is_err() {
                    return;
                }
                // If this fails, the next scrape tries it.
                let _ = pool.start_rendering();
                drops.fetch_add(1, Relaxed);
                full_since = None;
            }
        } else {
            full_since = None;
        }
        sleep_until(next).await;
    }
}

/// Accepts up to `room` connections, and returns when more may be waiting. Returns whether there
/// was no room for more.
async fn accept_up_to(room: usize, exporter: &mut ExporterFuture, pool: &mut Pool) -> bool {
    // Begins with the whole budget.
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
        let _guard = pool.handle.enter();
        // It does not end.
        let _ = exporter.as_mut().poll(cx);
        if coop::has_budget_remaining() { Poll::Pending } else { Poll::Ready(true) }
    })
    .await
}

/// The runtime of the connections, driven by a thread.
struct Pool {
    handle: Handle,
    /// Dropped to drop the runtime.
    keep: Option<oneshot::Sender<Infallible>>,
    runtimes: Sender<(Runtime, oneshot::Receiver<Infallible>)>,
    dropped: Receiver<()>,
}

impl Pool {
    /// Starts the thread, which holds `end` while it runs. `handle` is that of any runtime.
    fn new(handle: Handle, end: Sender<Infallible>) -> io::Result<Self> {
        let (runtimes, received) = mpsc::channel::<(Runtime, oneshot::Receiver<_>)>();
        let (drops, dropped) = mpsc::channel();
        thread::Builder::new().name(CONNECTIONS.to_owned()).spawn(move || {
            for (runtime, until) in received {
                let _ = runtime.block_on(until);
                runtime.shutdown_background();
                // The receiver is gone at a stop.
                let _ = drops.send(());
            }
            drop(end);
        })?;
        let mut pool = Self { handle, keep: None, runtimes, dropped };
        pool.renew()?;
        pool.start_rendering()?;
        Ok(pool)
    }

    /// Drops all connections.
    fn renew(&mut self) -> io::Result<()> {
        if self.keep.take().is_some() {
            // A thread that has ended is noticed below, one that is stuck is left behind.
            let _ = self.dropped.recv_timeout(STOP_TIMEOUT);
        }
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .thread_keep_alive(Duration::from_secs(365 * 86_400))
            .thread_name(RENDER)
            .build()?;
        let (keep, until) = oneshot::channel();
        self.handle = runtime.handle().clone();
        self.keep = Some(keep);
        self.runtimes.send((runtime, until)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Starts the thread that renders, so that no scrape has to; scrapes that come at the same time
    /// wait for less than a millisecond.
    fn start_rendering(&self) -> io::Result<()> {
        // tokio panics if it cannot create the thread.
        let probe = thread::Builder::new().name(RENDER.to_owned()).spawn(gettid)?;
        let id = probe.join().map_err(|_| io::ErrorKind::Other)?;
        // The kernel counts a thread until after it can be joined, when it leaves /proc.
        let (task, end) = (format!("/proc/self/task/{id}"), Instant::now() + STOP_TIMEOUT);
        while Path::new(&task).exists() && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
        drop(self.handle.spawn_blocking(|| ()));
        Ok(())
    }

    fn connections(&self) -> usize {
        self.handle.metrics().num_alive_tasks()
    }
}
