//! The metric table against the code and a real scrape.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use ina260_exporter::exposition::{METRICS, Metric};

use crate::documents::{CONFIGURATION_MANUAL, MANUAL, METRICS_PAGE, all, read, rows, spans};
use crate::program::program;

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

/// Returns the metrics of the table, each with its own labels.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let rows = rows(METRICS_PAGE, "## List of metrics").into_iter();
    rows.map(|row| {
        let (labels, _) = row[2].split_once(':').unwrap_or((&row[2], ""));
        (spans(&row[0]).remove(0), spans(labels).into_iter().collect())
    })
    .collect()
}

/// Returns whether a word is the metric's name or that of one of its series.
fn is_of(word: &str, metric: &Metric) -> bool {
    word.strip_prefix(metric.name).is_some_and(|rest| {
        let is_part = metric.kind() == "histogram" && PARTS.contains(&rest);
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
    let mut scraped: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let scrape = scrape.expect("a result of each sensor within 30 s");
    for (name, labels) in scrape.lines().filter_map(series) {
        let own = labels.filter(|label| !common.contains(label));
        let entry = scraped.entry(name.to_owned()).or_default();
        entry.extend(own.map(str::to_owned));
    }
    assert_eq!(scraped, table());

    // docs/fleet.md states how many series this is. An alert adds three.
    let (sensors, own): (Vec<_>, Vec<_>) = scrape
        .lines()
        .filter(|line| series(line).is_some())
        .partition(|line| line.contains("device=\""));
    assert_eq!(sensors.len() % 3, 0);
    let fleet = read("docs/fleet.md");
    for (who, count) in [("a sensor", sensors.len() / 3 - 3), ("the exporter itself", own.len())] {
        let row = format!("\n| {who} | {count} | ");
        assert!(fleet.contains(&row), "docs/fleet.md: not in the table: {row}");
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
    let is_series = |word: &str| word.starts_with("ina260_") || word.starts_with("process_");
    let end = line.find(['{', ' ']).filter(|_| is_series(line))?;
    let (name, rest) = line.split_at(end);
    let whole = PARTS.into_iter().find_map(|part| name.strip_suffix(part));
    let labels = rest.strip_prefix('{').unwrap_or_default();
    let names = labels.split("\",").filter_map(|label| label.split_once("=\""));
    Some((whole.unwrap_or(name), names.map(|(name, _)| name)))
}
