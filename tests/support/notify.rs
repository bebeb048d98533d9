//! The service manager's end of `NOTIFY_SOCKET`.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use super::{Directory, until};

/// A message, and when it was received.
#[derive(Clone, Debug)]
pub struct Received {
    pub at: Instant,
    pub message: String,
}

/// A socket that receives notifications. It is read continuously, since a full socket would block
/// the sender.
pub struct NotifySocket {
    path: PathBuf,
    received: Arc<Mutex<Vec<Received>>>,
    _directory: Directory,
}

/// Ends the reading thread; no service sends this.
const ENOUGH: &str = "ENOUGH";

impl NotifySocket {
    pub fn new() -> Self {
        let directory = Directory::new();
        let path = directory.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let received = Arc::<Mutex<Vec<Received>>>::default();
        let shared = received.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                let message = String::from_utf8_lossy(&buffer[..length]);
                let message = message.trim_end().to_owned();
                if message == ENOUGH {
                    return;
                }
                let at = Instant::now();
                shared.lock().unwrap().push(Received { at, message });
            }
        });
        Self { path, received, _directory: directory }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns all messages so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Returns the messages that begin with `with`.
    pub fn all(&self, with: &str) -> Vec<Received> {
        let mut received = self.received();
        received.retain(|received| received.message.starts_with(with));
        received
    }

    /// Waits for the `count`-th message that begins with `with`, and returns it.
    pub fn wait_for(&self, count: usize, with: &str) -> Received {
        until(&format!("{count} × {with}"), || self.all(with).into_iter().nth(count - 1))
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        let socket = UnixDatagram::unbound().unwrap();
        let _ = socket.send_to(ENOUGH.as_bytes(), &self.path);
    }
}
