//! An HTTP client for scrapes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use super::TIMEOUT;

/// The response of a server.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub body: String,
}

/// Sends a request to a server at `IP:PORT` or `unix:/PATH`.
pub fn get(listen: &str, path: &str) -> Response {
    let response = if let Some(socket) = listen.strip_prefix("unix:") {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        converse(stream, path)
    } else {
        let stream = TcpStream::connect(listen).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        converse(stream, path)
    };
    let (head, body) = response.split_once("\r\n\r\n").expect("an HTTP response");
    assert!(!head.to_lowercase().contains("chunked"), "{head}");
    Response { status: head.split(' ').nth(1).unwrap().parse().unwrap(), body: body.to_owned() }
}

fn converse(mut stream: impl Read + Write, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

impl Response {
    pub fn scrape(&self) -> Scrape {
        assert_eq!(self.status, 200, "{}", self.body);
        Scrape::parse(&self.body)
    }
}

/// The series of a scrape.
#[derive(Clone, Debug)]
pub struct Scrape {
    series: Vec<Series>,
    counters: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Scrape {
    /// Parses the exposition format; no label value in these tests contains a quote or a comma.
    pub fn parse(text: &str) -> Self {
        let counters = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
            .map(str::to_owned)
            .collect();
        let series = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(Series::parse)
            .collect();
        Self { series, counters }
    }

    /// Returns the series of this name with (at least) these labels.
    pub fn all(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Series> {
        self.series.iter().filter(|series| series.name == name && series.has(labels)).collect()
    }

    /// Returns the value of the only such series, if there is one.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let all = self.all(name, labels);
        assert!(all.len() < 2, "{name} is ambiguous: {all:?}");
        all.first().map(|series| series.value)
    }

    /// Returns the value of the only series of this name, which must exist.
    pub fn the(&self, name: &str) -> f64 {
        self.value(name, &[]).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// Returns whether the only series of this name has exactly this value.
    pub fn is(&self, name: &str, value: f64) -> bool {
        self.value(name, &[]) == Some(value)
    }

    /// Returns the names of all series with these labels.
    pub fn names(&self, labels: &[(&str, &str)]) -> BTreeSet<&str> {
        self.series
            .iter()
            .filter(|series| series.has(labels))
            .map(|series| series.name.as_str())
            .collect()
    }

    /// Returns the counters of `before` that have decreased or disappeared.
    pub fn fallen(&self, before: &Self) -> Vec<String> {
        before
            .series
            .iter()
            .filter(|old| before.counters.contains(&old.name))
            .filter(|old| {
                !self.series.iter().any(|new| {
                    new.name == old.name && new.labels == old.labels && new.value >= old.value
                })
            })
            .map(|old| format!("{} {:?} was {}", old.name, old.labels, old.value))
            .collect()
    }
}

impl Series {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.trim_end_matches('}').split(',');
        let label = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            Some((name.to_owned(), value.trim_matches('"').to_owned()))
        };
        Self {
            name: name.to_owned(),
            labels: labels.filter_map(label).collect(),
            value: value.parse().unwrap(),
        }
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.labels.get(*name).is_some_and(|v| v == value))
    }
}
