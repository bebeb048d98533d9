//! Binds the HTTP listener (TCP or Unix socket) and hardens what metrics-exporter-prometheus leaves
//! to the caller.

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use metrics_exporter_prometheus::{
    BuildError, ExporterFuture, Matcher, PrometheusBuilder, PrometheusRecorder,
};
use metrics_util::MetricKindMask;
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;

use super::metrics::Histogram;
use super::{IDLE_TIMEOUT, METRICS, Source};
use crate::config::Listen;

/// Number of scrapes that are rendered at the same time; others wait for less than a millisecond.
/// Each costs a thread with memory of its own.
const RENDER_THREADS: usize = 1;

/// The listener could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {listen}: {source}")]
pub struct BindError {
    listen: Listen,
    source: Cause,
}

/// The cause of a [`BindError`].
#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Exporter(#[from] BuildError),
    #[error("the file at this path is not a socket")]
    NotASocket,
    #[error("another process is listening on this socket")]
    InUse,
    #[error("another process holds this socket ({0})")]
    Held(io::Error),
}

/// A bound listener that does not respond yet.
pub struct Listener {
    runtime: Runtime,
    exporter: ExporterFuture,
}

impl Listener {
    /// Binds the listener and creates the recorder that it serves. Peers outside the networks of
    /// `allow` are rejected with status 403; an empty list allows all. `power_buckets` are the
    /// upper bounds of the distribution of power, in watts.
    ///
    /// # Errors
    /// [`BindError`], with the address.
    pub fn bind(
        listen: &Listen,
        socket_mode: u32,
        allow: &[String],
        power_buckets: &[f64],
    ) -> Result<(Self, PrometheusRecorder), BindError> {
        let bind = || -> Result<_, Cause> {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(RENDER_THREADS)
                .thread_name("render")
                .build()?;
            let mut builder = builder(power_buckets)?;
            builder = match listen {
                Listen::Tcp(address) => builder.with_http_listener(*address),
                Listen::Unix(path) => {
                    check_path(path)?;
                    builder.with_http_uds_listener(path)
                }
            };
            for network in allow {
                builder = builder.add_allowed_address(network)?;
            }
            let guard = runtime.enter();
            let (recorder, exporter) = builder.build()?;
            drop(guard);
            if let Listen::Unix(path) = listen {
                fs::set_permissions(path, Permissions::from_mode(socket_mode))?;
            }
            Ok((Self { runtime, exporter }, recorder))
        };
        bind().map_err(|source| BindError { listen: listen.clone(), source })
    }

    /// Serves scrapes in a thread.
    ///
    /// # Errors
    /// The kernel's error if the thread cannot be created.
    pub fn serve(self) -> io::Result<Serving> {
        let Self { runtime, exporter } = self;
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let (end, ended) = mpsc::channel();
        thread::Builder::new().name("listener".to_owned()).spawn(move || {
            // If the exporter ends early, the health check fails and ends the daemon.
            runtime.spawn(exporter);
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
            drop(end);
        })?;
        Ok(Serving { stop, ended })
    }
}

/// A listener that serves scrapes until it is stopped.
#[must_use]
pub struct Serving {
    stop: oneshot::Sender<Infallible>,
    ended: mpsc::Receiver<Infallible>,
}

impl Serving {
    /// Upper bound on the wait for the thread. Clients that hold every descriptor also take each
    /// one that is freed, until their connections are closed.
    const STOP_TIMEOUT: Duration = Duration::from_secs(1);

    /// Closes the socket and every connection: later counts are not served, and descriptors are
    /// free again.
    pub fn stop(self) {
        drop(self.stop);
        // The thread sends nothing, and a listener that does not end does not delay the shutdown
        // further.
        let _ = self.ended.recv_timeout(Self::STOP_TIMEOUT);
    }
}

/// Creates a recorder that is not served. `power_buckets` are the upper bounds of the distribution
/// of power, in watts.
///
/// # Errors
/// [`BuildError`] if there are no bounds.
pub fn recorder(power_buckets: &[f64]) -> Result<PrometheusRecorder, BuildError> {
    Ok(builder(power_buckets)?.build_recorder())
}

fn builder(power_buckets: &[f64]) -> Result<PrometheusBuilder, BuildError> {
    let mut builder = PrometheusBuilder::new()
        .idle_timeout(MetricKindMask::GAUGE | MetricKindMask::COUNTER, Some(IDLE_TIMEOUT));
    for metric in METRICS {
        let buckets = match metric.source {
            Source::Histogram(Histogram::PollDuration(bounds)) => bounds,
            Source::Histogram(Histogram::Power) => power_buckets,
            _ => continue,
        };
        let matcher = Matcher::Full(metric.name.to_owned());
        builder = builder.set_buckets_for_metric(matcher, buckets)?;
    }
    Ok(builder)
}

/// Checks that the path of the Unix socket may be reused: metrics-exporter-prometheus
/// deletes whatever exists there, a file or the socket of a running instance.
fn check_path(path: &Path) -> Result<(), Cause> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.file_type().is_socket() {
        return Err(Cause::NotASocket);
    }
    match connect(path) {
        // A process that was killed left the socket behind.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(Cause::Held(error)),
        Ok(()) => Err(Cause::InUse),
    }
}

/// Connects to a Unix socket and closes the connection. In a thread, since connect(2) has no
/// timeout and blocks while the owner of the socket accepts no connections.
fn connect(path: &Path) -> io::Result<()> {
    const TIMEOUT: Duration = Duration::from_secs(2);
    let (outcome, received) = mpsc::channel();
    let path = path.to_owned();
    thread::Builder::new().name("connect".to_owned()).spawn(move || {
        // The receiver is gone after the timeout.
        let _ = outcome.send(UnixStream::connect(path).map(drop));
    })?;
    received.recv_timeout(TIMEOUT).unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

/// Removes the Unix socket, which the listener leaves behind.
pub fn remove_socket(listen: &Listen) {
    if let Listen::Unix(path) = listen {
        // If it cannot be removed, the next start finds that no process listens on it.
        let _ = fs::remove_file(path);
    }
}
