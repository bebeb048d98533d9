//! The HTTP listener (TCP or Unix socket) of metrics-exporter-prometheus, with what it lacks: a
//! check of what is at the address, and bounds on the number of connections, on the time that they
//! can keep others out, and on the work of accepting them.
//!
//! The exporter accepts connections in one runtime and spawns them in another, which can be dropped
//! with all of them, while the socket and the clients that wait in it stay.

use std::convert::Infallible;
use std::fs::{self, File};
use std::future::{self, Future, poll_fn};
use std::io::{self, ErrorKind};
use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{ExporterFuture, PrometheusHandle, PrometheusRecorder};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;
use rustix::net::addr::SocketAddrArg;
use rustix::process::umask;
use rustix::thread::gettid;
use tokio::runtime::{self, Handle, Runtime};
use tokio::task::{AbortHandle, coop, yield_now};
use tokio::time::{sleep, timeout};

use super::health::{self, HealthCheck};
use super::metrics::RestartCause;
use super::series::builder;
use crate::config::{Listen, ServerSettings};

/// Maximum number of connections. For each, the exporter can buffer 410 kB of an unfinished header,
/// as much of unread responses, and the one that is being rendered; the kernel can buffer 2 MB.
const MAX_CONNECTIONS: usize = 32;

/// Maximum number of connections for responses that are large or of unknown size.
const MIN_CONNECTIONS: usize = 4;

/// Maximum total size of rendered responses. With 256 sensors, a response is 1.3 MB long.
const MAX_RENDERED: usize = 8 << 20;

/// Minimum time between two rounds of accepting: without free descriptors, each fails at once.
const ROUND: Duration = Duration::from_millis(100);

/// Time between two checks of connections that are all in use: many clients, each of which is
/// answered at once, must not fill the queue of those that wait.
const STEP: Duration = Duration::from_millis(20);

/// Time in which half of all connections must end once their responses are rendered, or all are
/// dropped in favour of waiting clients.
const MAX_FULL: Duration = Duration::from_millis(250);

/// Time without a connection after which the next one is not waited for. Waiting would cost several
/// wake-ups, and health checks and most scrapes are further apart.
const RARE: Duration = Duration::from_secs(8);

/// Number of operations that tokio lets a task do at a time.
const BUDGET: usize = 128;

/// Maximum wait for the end of a thread: a stuck one must not prevent a stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Failure to bind the listener.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {listen}: {source}")]
pub struct BindError {
    pub(super) listen: Listen,
    pub(super) source: io::Error,
}

/// A bound listener that does not respond yet, with the recorder that it will serve.
pub(super) struct Listener {
    pub(super) runtime: Runtime,
    pub(super) exporter: ExporterFuture,
    pub(super) socket: Option<SocketFile>,
    pub(super) recorder: PrometheusRecorder,
}

impl Listener {
    pub(super) fn bind(settings: &ServerSettings) -> Result<Self, BindError> {
        Self::build(settings)
            .map_err(|source| BindError { listen: settings.listen.clone(), source })
    }

    fn build(settings: &ServerSettings) -> io::Result<Self> {
        let runtime = runtime().build()?;
        let mut builder = builder(&settings.buckets);
        for network in settings.allowed_peers() {
            builder = builder.add_allowed_address(network).map_err(io::Error::other)?;
        }
        let guard = runtime.enter();
        let built = match &settings.listen {
            Listen::Tcp(address) => {
                check_address(*address)?;
                builder.with_http_listener(*address).build()
            }
            Listen::Unix(path) => {
                check_path(path)?;
                // The socket is created with its mode: changing it later could follow a link that
                // another user has put there. No other thread creates files.
                let before = umask(Mode::from_raw_mode(!settings.socket_mode & 0o777));
                let built = builder.with_http_uds_listener(path).build();
                umask(before);
                built
            }
        };
        drop(guard);
        let (recorder, exporter) = built.map_err(io::Error::other)?;
        let socket = match &settings.listen {
            Listen::Unix(path) => Some(SocketFile { id: id(path)?, path: path.clone() }),
            Listen::Tcp(_) => None,
        };
        Ok(Self { runtime, exporter, socket, recorder })
    }
}

/// The file of a Unix socket that this process has bound; removed when this is dropped.
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode, which nothing else can have while the socket is open.
    id: (u64, u64),
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

impl SocketFile {
    pub(super) fn exists(&self) -> bool {
        id(&self.path).is_ok_and(|id| id == self.id)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.exists() {
            // If it cannot be removed, the next start finds that no process listens on it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Checks that this machine has the address: if it does not, metrics-exporter-prometheus reports
/// that only as text.
pub(super) fn check_address(mut address: SocketAddr) -> io::Result<()> {
    address.set_port(0);
    match UdpSocket::bind(address) {
        Err(error) if is_absent(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Returns whether an error means that the machine does not have the address or interface (yet).
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ADDRNOTAVAIL | Errno::NODEV))
}

/// Checks that nothing of value is at the path of the Unix socket: metrics-exporter-prometheus
/// deletes what is there, a file or the socket of a running instance.
fn check_path(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::other("the file at this path is not a socket"));
    }
    match health::connect(&SocketAddrUnix::new(path)?.as_any()) {
        // A process that was killed left the socket behind.
        Err(Errno::CONNREFUSED) => Ok(()),
        // AGAIN: its queue is full.
        Ok(_) | Err(Errno::AGAIN) => {
            Err(io::Error::other("another process is listening on this socket"))
        }
        Err(error) => {
            Err(io::Error::other(format!("the socket at this path may be in use ({error})")))
        }
    }
}

/// A listener that serves scrapes until it is dropped.
pub(super) struct Serving {
    // Removed first: while the socket accepts connections, no other process replaces it.
    socket: Option<SocketFile>,
    accepting: Driven,
    ends: Arc<FullEnds>,
    pub(super) health: HealthCheck,
}

/// How connections ended while others had to wait, since the last call of [`Serving::silence`].
#[derive(Default)]
struct FullEnds {
    answered: AtomicBool,
    dropped: AtomicBool,
}

impl Serving {
    /// Serves scrapes in threads. Fails if a thread or a runtime cannot be created.
    pub(super) fn start(
        runtime: Runtime,
        exporter: ExporterFuture,
        socket: Option<SocketFile>,
        metrics: PrometheusHandle,
    ) -> io::Result<Self> {
        let ends = Arc::<FullEnds>::default();
        let accepting = accept(connections()?, ends.clone(), exporter, metrics);
        let accepting = Driven::spawn("listener", runtime, accepting)?;
        Ok(Self { socket, accepting, ends, health: HealthCheck::new() })
    }

    /// Returns the cause if it ended by itself, or its socket file no longer exists.
    pub(super) fn failure(&self) -> Option<RestartCause> {
        if self.accepting.ended.try_recv() == Err(TryRecvError::Disconnected) {
            return Some(RestartCause::Ended);
        }
        self.socket.as_ref().is_some_and(|it| !it.exists()).then_some(RestartCause::Address)
    }

    /// Returns whether the file at this path is its socket.
    pub(super) fn has_socket(&self, path: &Path) -> bool {
        self.socket.as_ref().is_some_and(|socket| id(path).is_ok_and(|id| id == socket.id))
    }

    /// Returns the time without a response, and whether connections were dropped in favour of
    /// waiting clients since the last call.
    pub(super) fn silence(&mut self, listen: &Listen, now: Instant) -> (Duration, bool) {
        let has_dropped = self.ends.dropped.swap(false, Relaxed);
        let has_answered = self.ends.answered.swap(false, Relaxed);
        (self.health.silence(listen, has_dropped || has_answered, now), has_dropped)
    }
}

/// Accepts connections, until no runtime can be created for them. The socket is dropped before the
/// connections, whose thread may be stuck.
async fn accept(
    mut pool: Driven,
    ends: Arc<FullEnds>,
    mut exporter: ExporterFuture,
    metrics: PrometheusHandle,
) {
    let mut max = MIN_CONNECTIONS;
    loop {
        let start = Instant::now();
        let room = max.saturating_sub(pool.connections());
        let is_full = accept_up_to(room, &mut exporter, &pool.handle).await;
        if !is_full && start.elapsed() >= RARE {
            continue;
        }
        let count = pool.connections();
        let is_blocked = |pool: &Driven| is_full && 2 * pool.connections() > count;
        // Clients that were answered make room for others, unless descriptors have run out.
        let makes_room = is_full && File::open("/dev/null").is_ok();
        let round = if makes_room { STEP } else { ROUND };
        sleep(round.saturating_sub(start.elapsed())).await;
        // On a slow machine, requests are received later.
        while is_blocked(&pool) && start.elapsed() < ROUND {
            sleep(STEP).await;
        }
        // This is rendered after all that these connections have requested. Until then, no others
        // are accepted, so that clients which do not wait cannot fill the queue of the thread.
        let metrics = metrics.clone();
        let size = move || if is_full { metrics.render().len() } else { 0 };
        let mut rendering = pool.handle.spawn_blocking(size);
        let size = loop {
            let before = pool.connections();
            match timeout(STEP, &mut rendering).await {
                Ok(size) => break size.unwrap_or(0),
                Err(_) if pool.connections() < before => ends.answered.store(true, Relaxed),
                Err(_) => {}
            }
        };
        if is_full {
            let fit = MAX_RENDERED / size.max(1);
            let before = mem::replace(&mut max, fit.clamp(MIN_CONNECTIONS, MAX_CONNECTIONS));
            if max > before {
                continue;
            }
        }
        let rendered = Instant::now();
        while is_blocked(&pool) && rendered.elapsed() < MAX_FULL {
            sleep(STEP).await;
        }
        if is_blocked(&pool) {
            pool.end().await;
            let mut new = connections();
            // The kernel may still count the old threads.
            for _ in 0..10 {
                if new.is_err() {
                    sleep(ROUND).await;
                    new = connections();
                }
            }
            let Ok(new) = new else { return };
            pool = new;
            ends.dropped.store(true, Relaxed);
        } else if makes_room {
            ends.answered.store(true, Relaxed);
        }
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
    // tokio panics if it cannot create the thread.
    let probe = thread::Builder::new().spawn(gettid)?;
    let id = probe.join().map_err(|_| io::ErrorKind::Other)?;
    // The kernel still counts a joined thread until it disappears from /proc.
    let (task, end) = (format!("/proc/self/task/{id}"), Instant::now() + STOP_TIMEOUT);
    while Path::new(&task).exists() && Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
    }
    let runtime = runtime()
        .max_blocking_threads(1)
        .thread_keep_alive(Duration::from_secs(365 * 86_400))
        .thread_name("render")
        .build()?;
    drop(runtime.spawn_blocking(|| ()));
    Driven::spawn("connections", runtime, future::pending())
}

fn runtime() -> runtime::Builder {
    let mut builder = runtime::Builder::new_current_thread();
    // By default, there is memory for 1,024 events.
    builder.enable_all().max_io_events_per_tick(MAX_CONNECTIONS);
    builder
}

/// A runtime, driven by a thread until its task ends or it is dropped.
struct Driven {
    handle: Handle,
    task: AbortHandle,
    /// Disconnected when the thread has ended.
    ended: Receiver<Infallible>,
}

impl Driven {
    fn spawn(
        name: &str,
        runtime: Runtime,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<Self> {
        let handle = runtime.handle().clone();
        let running = runtime.spawn(task);
        let task = running.abort_handle();
        let (end, ended) = mpsc::channel::<Infallible>();
        let (give, given) = mpsc::channel::<Runtime>();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let Ok(runtime) = given.recv() else { return };
            // An error means that the task was aborted.
            let _ = runtime.block_on(running);
            // Drops the connections, then waits until all that they requested is rendered.
            drop(runtime);
            drop(end);
        });
        if let Err(error) = thread {
            // tokio panics if a runtime is merely dropped by a task of another one.
            runtime.shutdown_background();
            return Err(error);
        }
        // The thread waits for it.
        let _ = give.send(runtime);
        Ok(Self { handle, task, ended })
    }

    /// Returns the number of its connections: its tasks, apart from the pending one.
    fn connections(&self) -> usize {
        self.handle.metrics().num_alive_tasks().saturating_sub(1)
    }

    /// Drops everything that it drives, and waits for the end of its threads.
    async fn end(self) {
        self.task.abort();
        while self.ended.try_recv() == Err(TryRecvError::Empty) {
            sleep(STEP).await;
        }
    }
}

impl Drop for Driven {
    /// Drops everything that it drives: sockets are closed, and descriptors are free again.
    fn drop(&mut self) {
        self.task.abort();
        // A thread that is stuck is left behind.
        let _ = self.ended.recv_timeout(STOP_TIMEOUT);
    }
}
