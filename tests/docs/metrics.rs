//! The metric table against the code and a real scrape.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use ina260_exporter::exposition::{METRICS, Metric, Source};
use ina260_exporter::ina260::alert::Function;

use crate::documents::{CONFIGURATION_MANUAL, MANUAL, METRICS_PAGE, Set, all, read, rows, spans};
use crate::program::program;

/// Prefix of metrics that metrics-process adds.
const FOREIGN: &str = "process_";

/// Suffixes of a histogram's series.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

/// A sensor for each unit of an alert's limit, one of them downstream of a mux.
const SENSORS: &str = r#"
[[sensor]]
device = "a"
mux    = { address = 0x70, channel = 3 }
alert  = { on = "over-power", limit = "5W" }

[[sensor]]
device  = "b"
address = 0x41
alert   = { on = "over-current", limit = "5A" }

[[sensor]]
device  = "c"
address = 0x42
alert   = { on = "under-voltage", limit = "5V" }
"#;

/// A row of the metric table.
#[derive(Clone)]
struct Row {
    kind: String,
    labels: Vec<String>,
    /// Values of the only label, if they are fixed.
    values: Vec<String>,
}

/// Returns the metric table by name.
fn table() -> BTreeMap<String, Row> {
    let mut table = BTreeMap::new();
    for row in rows(METRICS_PAGE, "## List of metrics") {
        let (labels, values) = row[2].split_once(':').unwrap_or((&row[2], ""));
        let entry = Row {
            kind: row[1].clone(),
            labels: spans(labels),
            values: spans(values),
        };
        for name in spans(&row[0]) {
            table.insert(name, entry.clone());
        }
    }
    table
}

#[test]
fn every_metric_is_documented() {
    let mut table = table();
    for metric in METRICS {
        let name = metric.name;
        let row = table.remove(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(row.kind, metric.source.kind(), "{name}");
        let none: [&str; 0] = [];
        match metric.source {
            Source::Counters { label, values, .. } => {
                assert_eq!(row.labels, [label], "{name}");
                assert_eq!(row.values, values(), "{name}");
            }
            Source::Flow(_) => assert_eq!(row.values, ["forward", "reverse"], "{name}"),
            Source::AlertLimit(unit) => {
                let mut functions = Function::ALL.to_vec();
                functions.retain(|function| function.unit() == unit);
                let names: Vec<_> = functions.into_iter().map(Function::name).collect();
                assert_eq!(row.values, names, "{name}");
            }
            // Only a scrape shows their labels.
            Source::Info | Source::Daemon | Source::Histogram(_) => {}
            _ => assert_eq!(row.labels, none, "{name}"),
        }
    }
    let surplus: Vec<_> = table.keys().collect();
    assert!(surplus.is_empty(), "only in {METRICS_PAGE}: {surplus:?}");
}

/// Returns whether a word is the metric's name or that of one of its series.
fn is_of(word: &str, metric: &Metric) -> bool {
    word.strip_prefix(metric.name).is_some_and(|rest| {
        let is_part = metric.source.kind() == "histogram" && PARTS.contains(&rest);
        rest.is_empty() || is_part
    })
}

#[test]
fn every_named_metric_exists() {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let others = ["config/ina260-exporter.toml", MANUAL, CONFIGURATION_MANUAL];
    let mut unknown = Vec::new();
    for path in all().iter().map(String::as_str).chain(others) {
        // Names of recording rules begin with a metric's name.
        let text = read(path).replace("device:ina260_", "device:");
        for word in text.split(|c| !is_part(c)) {
            let is_metric = word.starts_with("ina260_") && word != "ina260_exporter";
            if is_metric && word != "ina260_" && !METRICS.iter().any(|it| is_of(word, it)) {
                unknown.push(format!("{path}: {word}"));
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn scrape_has_documented_metrics_and_labels() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("metrics.sock");
    let config = directory.path().join("config.toml");
    fs::write(&config, SENSORS).unwrap();
    let program = program();
    let mut daemon = Command::new(&program[0])
        .args(&program[1..])
        .args(["--simulate", "--interval", "100ms", "--config"])
        .arg(&config)
        .arg(format!("--listen=unix:{}", socket.display()))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let scrape = first_complete_scrape(&socket);
    daemon.kill().unwrap();
    daemon.wait().unwrap();

    // On every series, or a part of a histogram.
    let common = ["hostname", "device", "le"];
    let mut labels: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let scrape = scrape.expect("a result of each sensor within 30 s");
    for (name, of_it) in scrape.lines().filter_map(series) {
        let own = of_it.filter(|label| !common.contains(label));
        labels.entry(name.to_owned()).or_default().extend(own);
    }
    labels.retain(|name, _| !name.starts_with(FOREIGN));
    let table = table();
    let names: Set = table.keys().cloned().collect();
    assert_eq!(labels.keys().cloned().collect::<Set>(), names);
    for (name, row) in &table {
        let documented: BTreeSet<&str> = row.labels.iter().map(String::as_str).collect();
        assert_eq!(labels[name], documented, "{name}");
    }
}

/// Scrapes until every sensor has a result, for at most 30 s.
fn first_complete_scrape(socket: &Path) -> Option<String> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        match scrape(socket) {
            Ok(text) if text.matches("\nina260_voltage{").count() == 3 => return Some(text),
            _ => thread::sleep(Duration::from_millis(50)),
        }
    }
    None
}

fn scrape(socket: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Returns the metric of a series and the names of its labels.
fn series(line: &str) -> Option<(&str, impl Iterator<Item = &str>)> {
    let is_series = |word: &str| word.starts_with("ina260_") || word.starts_with(FOREIGN);
    let end = line.find(['{', ' ']).filter(|_| is_series(line))?;
    let (name, rest) = line.split_at(end);
    let whole = PARTS.into_iter().find_map(|part| name.strip_suffix(part));
    let labels = rest.strip_prefix('{').unwrap_or_default();
    let names = labels
        .split("\",")
        .filter_map(|label| label.split_once("=\""));
    Some((whole.unwrap_or(name), names.map(|(name, _)| name)))
}
