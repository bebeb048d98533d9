//! Binds the HTTP listener (TCP or Unix socket) of metrics-exporter-prometheus, and adds the checks
//! that it leaves to the caller.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use metrics_exporter_prometheus::{ExporterFuture, Matcher, PrometheusBuilder, PrometheusRecorder};
use metrics_util::MetricKindMask;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;
use rustix::net::addr::SocketAddrArg;
use rustix::process::umask;
use tokio::runtime::{self, Runtime};

use super::metrics::Source;
use super::{IDLE_TIMEOUT, METRICS, health};
use crate::config::Listen;

/// Everything that is fixed when a listener and its recorder are built.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerSettings {
    /// Address that metrics are served on.
    pub listen: Listen,
    /// Permissions of the Unix socket.
    pub socket_mode: u32,
    /// Networks that may scrape; peers outside them are refused with status 403. Empty: all may.
    pub allow: Vec<String>,
    /// Upper bounds of the distribution of power, in watts.
    pub power_buckets: Vec<f64>,
}

/// The listener could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {listen}: {source}")]
pub struct BindError {
    pub(super) listen: Listen,
    pub(super) source: io::Error,
}

impl BindError {
    /// Returns whether the machine does not have the address (yet).
    pub(super) fn is_absent(&self) -> bool {
        is_absent(&self.source)
    }
}

/// A bound listener that does not respond yet, with the recorder that it will serve.
pub(super) struct Listener {
    pub(super) runtime: Runtime,
    pub(super) exporter: ExporterFuture,
    pub(super) socket: Option<SocketFile>,
    pub(super) recorder: PrometheusRecorder,
}

impl Listener {
    /// Binds the listener and creates its recorder.
    pub(super) fn bind(settings: &ServerSettings) -> Result<Self, BindError> {
        Self::build(settings)
            .map_err(|source| BindError { listen: settings.listen.clone(), source })
    }

    fn build(settings: &ServerSettings) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let mut builder = builder(&settings.power_buckets);
        for network in &settings.allow {
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
    /// Returns whether the file is still there.
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

/// Creates a recorder that is not served. `power_buckets` are the upper bounds of the distribution
/// of power, in watts.
///
/// # Panics
/// If there are no bounds.
pub fn recorder(power_buckets: &[f64]) -> PrometheusRecorder {
    builder(power_buckets).build_recorder()
}

fn builder(power_buckets: &[f64]) -> PrometheusBuilder {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    let mut builder = PrometheusBuilder::new()
        .idle_timeout(MetricKindMask::GAUGE | MetricKindMask::COUNTER, Some(IDLE_TIMEOUT))
        // Ticks do the upkeep.
        .upkeep_timeout(YEAR);
    for metric in METRICS {
        if let Source::Histogram(_, bounds) = metric.source {
            let matcher = Matcher::Full(metric.name.to_owned());
            builder = builder
                .set_buckets_for_metric(matcher, bounds.unwrap_or(power_buckets))
                .expect("the configuration has at least one bound");
        }
    }
    builder
}

/// Checks that this machine has the address: metrics-exporter-prometheus reports that as text.
pub(super) fn check_address(mut address: SocketAddr) -> io::Result<()> {
    address.set_port(0);
    match UdpSocket::bind(address) {
        Err(error) if is_absent(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Returns whether an error means that there is no such address, or no such interface.
fn is_absent(error: &io::Error) -> bool {
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
        // Its queue is full.
        Ok(_) | Err(Errno::AGAIN) => {
            Err(io::Error::other("another process is listening on this socket"))
        }
        Err(error) => Err(io::Error::other(format!("another process holds this socket ({error})"))),
    }
}
