//! The daemon, as systemd would start it.

use std::error::Error;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::process::Process;

/// It would have been killed long before.
const PATIENCE: Duration = Duration::from_secs(10);

/// A daemon on simulated sensors.
pub(crate) struct Daemon {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Daemon {
    /// Starts it with a configuration; tells how long after that it said `READY=1`.
    pub(crate) fn start(scratch: &Path, toml: &str) -> Result<(Self, Duration), Box<dyn Error>> {
        let (configuration, ear) = (scratch.join("bench.toml"), scratch.join("notify"));
        fs::write(&configuration, toml)?;
        if ear.exists() {
            fs::remove_file(&ear)?;
        }
        let socket = UnixDatagram::bind(&ear)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let address = free_address()?;
        let begun = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_ina260-exporter"))
            .args(["--simulate", "--listen", &address.to_string(), "--config"])
            .arg(&configuration)
            // As the unit starts it.
            .env("MALLOC_ARENA_MAX", "1")
            .env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0")
            .env("NOTIFY_SOCKET", &ear)
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

/// On loopback. Somebody else may take it before its user does: then that one fails, and says so.
pub(crate) fn free_address() -> Result<SocketAddr, Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}
