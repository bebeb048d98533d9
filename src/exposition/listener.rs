//! The exporter's own HTTP listener, on TCP or a Unix socket, with what it leaves open closed.

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::net::TcpStream;
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
use super::{IDLE, METRICS, Source};
use crate::config::Listen;
use crate::scrape::reachable;

/// Scrapes rendered at the same time; others wait for less than a millisecond. Each costs a thread with memory of its own.
const RENDERING: usize = 1;

/// A bound listener that answers nobody yet.
pub struct Listener {
    runtime: Runtime,
    exporter: ExporterFuture,
}

impl Listener {
    /// Binds, and makes the recorder whose metrics will be served to peers in the networks of `allow`; without any, to
    /// everyone. The distribution of power has these upper bounds, in watts.
    ///
    /// # Errors
    /// A sentence with the address and what stands in the way.
    pub fn bind(
        listen: &Listen,
        socket_mode: u32,
        allow: &[String],
        power_buckets: &[f64],
    ) -> Result<(Self, PrometheusRecorder), String> {
        let failed = |why: &dyn std::fmt::Display| format!("cannot listen on {listen}: {why}");
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(RENDERING)
            .thread_name("render")
            .build()
            .map_err(|error| failed(&error))?;
        let builder = builder(power_buckets).map_err(|error| failed(&error))?;
        let mut builder = match listen {
            Listen::Tcp(address) => builder.with_http_listener(*address),
            Listen::Unix(path) => {
                refuse_what_is_there(path).map_err(|why| failed(&why))?;
                builder.with_http_uds_listener(path)
            }
        };
        for network in allow {
            builder = builder
                .add_allowed_address(network)
                .map_err(|error| failed(&error))?;
        }
        let guard = runtime.enter();
        let (recorder, exporter) = builder.build().map_err(|error| failed(&error))?;
        drop(guard);
        if let Listen::Unix(path) = listen {
            fs::set_permissions(path, Permissions::from_mode(socket_mode))
                .map_err(|error| failed(&error))?;
        }
        Ok((Self { runtime, exporter }, recorder))
    }

    /// Answers, in a thread of its own.
    ///
    /// # Errors
    /// What the kernel says if there can't be another thread.
    pub fn serve(self) -> io::Result<Serving> {
        let Self { runtime, exporter } = self;
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let (end, ended) = mpsc::channel();
        thread::Builder::new()
            .name("listener".to_owned())
            .spawn(move || {
                // Should it end before it is told to, the service finds it silent and ends, too.
                runtime.spawn(exporter);
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
                drop(end);
            })?;
        Ok(Serving { stop, ended })
    }
}

/// A listener that answers, until this is dropped.
#[must_use]
pub struct Serving {
    stop: oneshot::Sender<Infallible>,
    ended: mpsc::Receiver<Infallible>,
}

impl Serving {
    /// Clients that hold every descriptor take each one that is freed, until their connections are closed.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// Closes the socket and every connection: nobody sees what is counted from now on, and descriptors are free again.
    pub fn stop(self) {
        drop(self.stop);
        // Neither does the thread send anything, nor does a listener that won't end change what happens next.
        let _ = self.ended.recv_timeout(Self::PATIENCE);
    }
}

/// A recorder that nobody is served from; the distribution of power has these upper bounds, in watts.
///
/// # Errors
/// A sentence on what is wrong with the bounds.
pub fn recorder(power_buckets: &[f64]) -> Result<PrometheusRecorder, String> {
    let builder = builder(power_buckets).map_err(|error| error.to_string())?;
    Ok(builder.build_recorder())
}

fn builder(power_buckets: &[f64]) -> Result<PrometheusBuilder, BuildError> {
    let mut builder = PrometheusBuilder::new()
        .idle_timeout(MetricKindMask::GAUGE | MetricKindMask::COUNTER, Some(IDLE));
    for metric in METRICS {
        let buckets = match metric.source {
            Source::Histogram(Histogram::Visits(bounds)) => bounds,
            Source::Histogram(Histogram::Powers) => power_buckets,
            _ => continue,
        };
        let matcher = Matcher::Full(metric.name.to_owned());
        builder = builder.set_buckets_for_metric(matcher, buckets)?;
    }
    Ok(builder)
}

/// The exporter deletes whatever is at its path, be it a file or the socket of a living instance.
fn refuse_what_is_there(path: &Path) -> Result<(), String> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.to_string()),
        Ok(found) if !found.file_type().is_socket() => {
            Err("there is something else at this path, not a socket".to_owned())
        }
        Ok(_) => match connect(path) {
            // Nobody holds the other end: what a process left behind that was killed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Ok(()) => Err("another process answers at this socket".to_owned()),
            Err(error) => Err(format!("another process holds this socket: {error}")),
        },
    }
}

/// Connects to a Unix socket and hangs up. One whose owner accepts nobody would hold a plain connect for ever.
fn connect(path: &Path) -> io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let (answer, answered) = mpsc::channel();
    let path = path.to_owned();
    thread::Builder::new()
        .name("connect".to_owned())
        .spawn(move || {
            // Who asked may have gone on.
            let _ = answer.send(UnixStream::connect(path).map(drop));
        })?;
    answered
        .recv_timeout(PATIENCE)
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Takes the socket away that the listener leaves behind.
pub fn remove_socket(listen: &Listen) {
    if let Listen::Unix(path) = listen {
        // Where it can't be removed the next start finds that nobody answers there.
        let _ = fs::remove_file(path);
    }
}

/// Asks a listener for a sign of life, as a scrape would: any HTTP answer is one.
///
/// # Errors
/// What stood in the way, within about `patience`.
pub fn ask(listen: &Listen, patience: Duration) -> io::Result<()> {
    match listen {
        Listen::Tcp(address) => {
            let stream = TcpStream::connect_timeout(&reachable(*address), patience)?;
            stream.set_read_timeout(Some(patience))?;
            stream.set_write_timeout(Some(patience))?;
            converse(stream)
        }
        Listen::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(patience))?;
            stream.set_write_timeout(Some(patience))?;
            converse(stream)
        }
    }
}

fn converse(mut stream: impl Read + Write) -> io::Result<()> {
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut status = [0; 5];
    stream.read_exact(&mut status)?;
    if status == *b"HTTP/" {
        Ok(())
    } else {
        Err(io::Error::other("not an HTTP answer"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_asked_at_loopback() {
        let at = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:8000"), "127.0.0.1:8000");
        assert_eq!(at("[::]:8000"), "[::1]:8000");
        assert_eq!(at("192.0.2.1:8000"), "192.0.2.1:8000");
    }
}
