//! A scraper with little cost of its own: one connection, one request at a time.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A persistent connection, like that of Prometheus.
pub(crate) struct Scraper(BufReader<TcpStream>);

impl Scraper {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a request and returns the body of the response.
    pub(crate) fn scrape(&mut self) -> Result<String, Box<dyn Error>> {
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        self.0.get_mut().write_all(request)?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        if !line.starts_with("HTTP/1.1 200 ") {
            return Err(format!("unexpected response: {line:?}").into());
        }
        let mut length = None;
        while !line.trim_end().is_empty() {
            line.clear();
            self.0.read_line(&mut line)?;
            let header = line.to_ascii_lowercase();
            if let Some(value) = header.strip_prefix("content-length:") {
                length = Some(value.trim().parse()?);
            }
        }
        let mut body = vec![0; length.ok_or("response without Content-Length")?];
        self.0.read_exact(&mut body)?;
        Ok(String::from_utf8(body)?)
    }
}
