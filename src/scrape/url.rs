//! URLs of exporters, including short forms.

use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::str::FromStr;

use crate::config::Listen;
use crate::printable::is_invisible;

/// URL of an exporter.
#[derive(Clone, Debug, PartialEq, Eq, strum::Display)]
#[expect(missing_docs, reason = "parts of the URL")]
pub enum Url {
    /// The authority is host and port.
    #[strum(to_string = "http://{authority}{path}")]
    Http { authority: String, path: String },
    /// A Unix socket, with the default path of the metrics.
    #[strum(to_string = "unix:{0}")]
    Unix(String),
}

/// Reason why a text is not a usable URL.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages describe them")]
pub enum InvalidUrl {
    #[error(
        "https is not supported; forward a local port with `ssh -L 8000:localhost:8000 HOST`, or \
         run a local proxy: see \"Exporters behind a web server\" in docs/commands.md"
    )]
    Https,
    #[error("{0} is not supported, only http and unix")]
    Scheme(String),
    #[error("{0:?} is not allowed in a URL; use http://HOST:PORT/metrics")]
    Character(char),
    #[error("the port must be a number from 1 to 65535")]
    Port,
    #[error("an IPv6 address must be in brackets: http://[{0}]:PORT/metrics")]
    Brackets(String),
    #[error("the host is missing; use http://HOST:PORT/metrics")]
    NoHost,
    #[error("the path of a Unix socket must be absolute: unix:/PATH")]
    RelativeSocket,
}

impl Url {
    /// The exporter's default port, used where only a host is given.
    const PORT: u16 = 8000;
    pub(super) const PATH: &str = "/metrics";

    /// Returns host and port as in a URL; for a Unix socket its path.
    pub fn authority(&self) -> &str {
        match self {
            Self::Http { authority: text, .. } | Self::Unix(text) => text,
        }
    }
}

impl From<&Listen> for Url {
    /// Returns the URL of a listener; its host is loopback if it listens on all IPv4 addresses.
    fn from(listen: &Listen) -> Self {
        let mut address = match listen {
            Listen::Tcp(address) => *address,
            Listen::Unix(path) => return Self::Unix(path.display().to_string()),
        };
        if address.ip() == Ipv4Addr::UNSPECIFIED {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        Self::Http { authority: address.to_string(), path: Self::PATH.to_owned() }
    }
}

impl FromStr for Url {
    type Err = InvalidUrl;

    /// Parses `http://HOST[:PORT][/PATH]`, `HOST[:PORT][/PATH]` or `unix:/PATH`.
    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        // A backslash is part of escaped text.
        if let Some(c) = text.chars().find(|c| is_invisible(*c) || *c == '\\') {
            return Err(InvalidUrl::Character(c));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let is_absolute = path.starts_with('/');
            return is_absolute.then(|| Self::Unix(path.into())).ok_or(InvalidUrl::RelativeSocket);
        }
        let (rest, default_port) = match text.split_once("://") {
            None => (text, Self::PORT),
            Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
                "http" => (rest, 80),
                "https" => return Err(InvalidUrl::Https),
                other => return Err(InvalidUrl::Scheme(other.to_owned())),
            },
        };
        // A space would end the path in the request, and @ would send a password in the clear.
        if let Some(c) = text.chars().find(|c| [' ', '@'].contains(c)) {
            return Err(InvalidUrl::Character(c));
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = if path.is_empty() { Self::PATH } else { path };
        // A colon before a closing bracket is part of an IPv6 address.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse::<NonZeroU16>().map_err(|_| InvalidUrl::Port)?.get())
            }
            _ => (authority, default_port),
        };
        if host.contains(':') && !host.starts_with('[') {
            return Err(InvalidUrl::Brackets(authority.to_owned()));
        }
        if host.trim_matches(['[', ']']).is_empty() {
            return Err(InvalidUrl::NoHost);
        }
        Ok(Self::Http { authority: format!("{host}:{port}"), path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<String, String> {
        let url = text.parse::<Url>();
        url.map(|url| url.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_exporter() {
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
    fn invalid_urls_are_explained() {
        for (given, wrong) in [
            ("https://pi", "local proxy: see \"Exporters behind a web server\""),
            ("HTTPS://pi", "ssh -L"),
            ("::1", "in brackets: http://[::1]:PORT"),
            ("http://fe80::1/x", "in brackets: http://[fe80::1]:PORT"),
            ("ftp://pi", "ftp is not supported, only http"),
            ("pi:0", "from 1 to 65535"),
            ("pi:65536", "from 1 to 65535"),
            ("pi:", "from 1 to 65535"),
            ("", "host is missing"),
            ("http://:8000", "host is missing"),
            ("http:///metrics", "host is missing"),
            ("pi/a\r\nX: y", "'\\r' is not allowed in a URL"),
            ("pi /x", "' ' is not allowed in a URL"),
            ("user:word@pi", "'@' is not allowed in a URL"),
            ("unix:a.sock", "must be absolute"),
            ("unix:/run/\u{1b}[2J", "'\\u{1b}' is not allowed in a URL"),
            ("http://a\\u{1b}/", "'\\\\' is not allowed in a URL"),
            ("pi\u{202e}4", "'\\u{202e}' is not allowed in a URL"),
        ] {
            let error = url(given).unwrap_err();
            assert!(error.contains(wrong), "{given}: {error}");
        }
    }

    #[test]
    fn url_of_a_listener_reaches_it() {
        for (listen, url) in [
            ("0.0.0.0:9000", "http://127.0.0.1:9000/metrics"),
            ("[::]:8000", "http://[::]:8000/metrics"),
            ("[fe80::1%2]:8000", "http://[fe80::1%2]:8000/metrics"),
            ("192.0.2.1:8000", "http://192.0.2.1:8000/metrics"),
        ] {
            let listen = Listen::Tcp(listen.parse().unwrap());
            assert_eq!(Url::from(&listen).to_string(), url);
        }
        let listen = Listen::Unix("/run/a.sock".into());
        assert_eq!(Url::from(&listen).to_string(), "unix:/run/a.sock");
    }
}
