//! Where to ask: a URL in the short forms that people type.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use crate::config::Listen;

/// Where to ask, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub(super) endpoint: Endpoint,
    pub(super) path: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl Url {
    /// The exporter's own, where only a host is given.
    const PORT: u16 = 8000;
    const PATH: &str = "/metrics";
}

impl From<&Listen> for Url {
    fn from(listen: &Listen) -> Self {
        let endpoint = match listen {
            Listen::Tcp(address) => {
                let address = reachable(*address);
                let host = address.ip().to_string();
                let port = address.port();
                Endpoint::Tcp { host, port }
            }
            Listen::Unix(path) => Endpoint::Unix(path.clone()),
        };
        let path = Self::PATH.to_owned();
        Self { endpoint, path }
    }
}

impl FromStr for Url {
    type Err = String;

    /// `http://HOST[:PORT][/PATH]`, `HOST[:PORT]`, or `unix:/PATH`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            if !path.is_absolute() {
                return Err("the path of a Unix socket begins with a slash: unix:/PATH".to_owned());
            }
            let (endpoint, path) = (Endpoint::Unix(path), Self::PATH.to_owned());
            return Ok(Self { endpoint, path });
        }
        // Whatever the case: a URL that was pasted.
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let scheme = scheme.unwrap_or_default().to_ascii_lowercase();
        if scheme == "https" {
            return Err(
                "https is not spoken here; `ssh -L 8000:localhost:8000 HOST` brings the port \
                        of a host here, as http://localhost:8000/metrics"
                    .to_owned(),
            );
        }
        let (rest, default_port) = match text.split_once("://") {
            Some((_, rest)) if scheme == "http" => (rest, 80),
            Some(_) => return Err(format!("{scheme} is not http")),
            None => (text, Self::PORT),
        };
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, Self::PATH),
        };
        // Nothing that would end a line of the request, and no password to send around.
        if let Some(c) = text
            .chars()
            .find(|c| c.is_whitespace() || c.is_control() || *c == '@')
        {
            return Err(format!(
                "{c:?} can't be in a URL here: http://HOST:PORT/metrics"
            ));
        }
        // The last colon, unless it is one of an IPv6 address in brackets.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                let port = port.parse().ok().filter(|port| *port > 0);
                (host, port.ok_or("the port is a number from 1 to 65535")?)
            }
            _ => (authority, default_port),
        };
        if host.contains(':') && !host.starts_with('[') {
            return Err(format!(
                "an IPv6 address stands in brackets: http://[{authority}]:PORT/metrics"
            ));
        }
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("no host: http://HOST:PORT/metrics".to_owned());
        }
        Ok(Self {
            endpoint: Endpoint::Tcp {
                host: host.to_owned(),
                port,
            },
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Endpoint::Tcp { .. } => write!(f, "http://{}{}", self.authority(), self.path),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Url {
    /// Host and port, in the form of a URL; for a socket its path.
    #[must_use]
    pub fn authority(&self) -> String {
        match &self.endpoint {
            Endpoint::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Endpoint::Tcp { host, port } => format!("{host}:{port}"),
            Endpoint::Unix(path) => path.display().to_string(),
        }
    }
}

/// Returns an address to connect to for one to listen on: the loopback address for an unspecified one.
#[must_use]
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<String, String> {
        text.parse::<Url>().map(|url| url.to_string())
    }

    #[test]
    fn a_host_alone_is_that_of_an_exporter() {
        for (given, meant) in [
            ("pi", "http://pi:8000/metrics"),
            ("pi:9000", "http://pi:9000/metrics"),
            ("pi/x", "http://pi:8000/x"),
            ("[fe80::1]", "http://[fe80::1]:8000/metrics"),
            ("[::1]:9", "http://[::1]:9/metrics"),
            ("http://pi", "http://pi:80/metrics"),
            ("HTTP://pi", "http://pi:80/metrics"),
            ("http://pi:8000/", "http://pi:8000/"),
            ("http://pi/a?b=c:d", "http://pi:80/a?b=c:d"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
        ] {
            assert_eq!(url(given).as_deref(), Ok(meant), "{given}");
        }
    }

    #[test]
    fn what_is_no_url_is_told_what_is_wrong_with_it() {
        for (given, wrong) in [
            ("https://pi", "ssh -L"),
            ("HTTPS://pi", "ssh -L"),
            ("::1", "in brackets: http://[::1]:PORT"),
            ("http://fe80::1/x", "in brackets: http://[fe80::1]:PORT"),
            ("ftp://pi", "ftp is not http"),
            ("pi:0", "from 1 to 65535"),
            ("pi:65536", "from 1 to 65535"),
            ("pi:", "from 1 to 65535"),
            ("", "no host"),
            ("http://:8000", "no host"),
            ("http:///metrics", "no host"),
            ("pi/a\r\nX: y", "'\\r' can't be in a URL"),
            ("pi /x", "' ' can't be in a URL"),
            ("user:word@pi", "'@' can't be in a URL"),
            ("unix:a.sock", "begins with a slash"),
        ] {
            let said = url(given).unwrap_err();
            assert!(said.contains(wrong), "{given}: {said}");
        }
    }

    #[test]
    fn the_configured_listener_is_asked_at_loopback() {
        let listen = Listen::Tcp("0.0.0.0:9000".parse().unwrap());
        assert_eq!(
            Url::from(&listen).to_string(),
            "http://127.0.0.1:9000/metrics"
        );
        let listen = Listen::Unix("/run/a.sock".into());
        assert_eq!(Url::from(&listen).to_string(), "unix:/run/a.sock");
    }
}
