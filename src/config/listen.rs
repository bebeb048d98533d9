//! Address of the HTTP listener.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Address that metrics are served on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// Absolute path of a Unix socket.
    Unix(PathBuf),
}

impl Listen {
    /// Returns the URL to scrape; for a Unix socket, `unix:` and its path.
    pub fn url(&self) -> String {
        match self {
            Self::Tcp(address) => format!("http://{address}/metrics"),
            Self::Unix(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Default for Listen {
    /// Returns a placeholder.
    fn default() -> Self {
        Self::Unix(PathBuf::new())
    }
}
