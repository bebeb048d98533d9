//! The daemon, started as systemd starts it.

use std::error::Error;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::process::Process;

/// Timeout of the start; it takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The environment of the systemd unit, for malloc.
const UNIT: &[(&str, &str)] = &[
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_TRIM_THRESHOLD_", "32768"),
    ("MALLOC_TOP_PAD_", "4096"),
    ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0"),
];

/// A daemon on simulated sensors.
pub(crate) struct Daemon {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Daemon {
    /// Starts the daemon with a configuration. Also returns the time until it sent `READY=1`.
    pub(crate) fn start(scratch: &Path, toml: &str) -> Result<(Self, Duration), Box<dyn Error>> {
        Self::start_in(UNIT, scratch, toml)
    }

    /// Starts the daemon in an environment other than the unit's.
    pub(crate) fn start_in(
        environment: &[(&str, &str)],
        scratch: &Path,
        toml: &str,
    ) -> Result<(Self, Duration), Box<dyn Error>> {
        let (configuration, notify) = (scratch.join("bench.toml"), scratch.join("notify"));
        fs::write(&configuration, toml)?;
        if notify.exists() {
            fs::remove_file(&notify)?;
        }
        let socket = UnixDatagram::bind(&notify)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        let address = free_address()?;
        let begun = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_ina260-exporter"))
            .args(["--simulate", "--listen", &address.to_string(), "--config"])
            .arg(&configuration)
            .envs(environment.iter().copied())
            .env("NOTIFY_SOCKET", &notify)
            .stderr(Stdio::null())
            .spawn()?;
        let process = Process(child);
        let mut message = [0; 4096];
        loop {
            let length = socket.recv(&mut message)?;
            if message[..length].starts_with(b"READY=1") {
                return Ok((Self { process, address }, begun.elapsed()));
            }
        }
    }
}

/// Returns a free port on loopback. Another process may take it first; then binding it fails.
pub(crate) fn free_address() -> Result<SocketAddr, Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}
