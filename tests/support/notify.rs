//! systemd's end of `NOTIFY_SOCKET`.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use super::{Directory, until};

/// A message, and when it came.
#[derive(Clone, Debug)]
pub struct Heard {
    pub at: Instant,
    pub message: String,
}

/// A socket that hears what a service says. It is read all the time, as systemd does: a full one would block the sender.
pub struct Ear {
    path: PathBuf,
    heard: Arc<Mutex<Vec<Heard>>>,
    _directory: Directory,
}

/// Ends the reading thread; no service says this.
const ENOUGH: &str = "ENOUGH";

impl Ear {
    pub fn new() -> Self {
        let directory = Directory::new();
        let path = directory.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        let shared = heard.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                let message = String::from_utf8_lossy(&buffer[..length]);
                let message = message.trim_end().to_owned();
                if message == ENOUGH {
                    return;
                }
                let at = Instant::now();
                shared.lock().unwrap().push(Heard { at, message });
            }
        });
        Self { path, heard, _directory: directory }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Everything so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// What began so.
    pub fn all(&self, with: &str) -> Vec<Heard> {
        let mut heard = self.heard();
        heard.retain(|heard| heard.message.starts_with(with));
        heard
    }

    /// Waits until at least so many messages began so, and returns the last of them.
    pub fn wait_for(&self, count: usize, with: &str) -> Heard {
        until(&format!("{count} × {with}"), || self.all(with).into_iter().nth(count - 1))
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let socket = UnixDatagram::unbound().unwrap();
        let _ = socket.send_to(ENOUGH.as_bytes(), &self.path);
    }
}
