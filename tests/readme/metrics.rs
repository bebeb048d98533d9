//! The metric table against the code's, and against a real scrape.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, process, thread};

use ina260_exporter::exposition::{METRICS, Metric, Source};
use ina260_exporter::ina260::alert::Function;

use crate::documents::{Set, read, rows, spans};
use crate::program::program;

/// What is served but not ours.
const FOREIGN: &str = "process_";

/// What a histogram's series have at the end of its name.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

/// A row of the README's table.
#[derive(Clone)]
struct Told {
    kind: String,
    labels: Vec<String>,
    /// Those of the only label, where it has fixed ones.
    values: Vec<String>,
}

/// The table by name.
fn told() -> BTreeMap<String, Told> {
    let mut table = BTreeMap::new();
    for row in rows("## Metrics") {
        let (labels, values) = row[2].split_once(':').unwrap_or((&row[2], ""));
        let told = Told {
            kind: row[1].clone(),
            labels: spans(labels),
            values: spans(values),
        };
        for name in spans(&row[0]) {
            table.insert(name, told.clone());
        }
    }
    table.retain(|name, _| !name.starts_with(FOREIGN));
    table
}

#[test]
fn every_metric_is_in_the_readme_with_its_type_and_its_labels() {
    let mut told = told();
    for metric in METRICS {
        let name = metric.name;
        let told = told.remove(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(told.kind, metric.source.kind(), "{name}");
        let none: [&str; 0] = [];
        match metric.source {
            Source::Counters { label, values, .. } => {
                assert_eq!(told.labels, [label], "{name}");
                assert_eq!(told.values, values(), "{name}");
            }
            Source::Flow(_) => assert_eq!(told.values, ["forward", "reverse"], "{name}"),
            Source::AlertLimit(unit) => {
                let mut functions = Function::ALL.to_vec();
                functions.retain(|function| function.unit() == unit);
                let names: Vec<_> = functions.into_iter().map(Function::name).collect();
                assert_eq!(told.values, names, "{name}");
            }
            // Known to a scrape only.
            Source::Info | Source::Daemon | Source::Histogram(_) => {}
            _ => assert_eq!(told.labels, none, "{name}"),
        }
    }
    let surplus: Vec<_> = told.keys().collect();
    assert!(surplus.is_empty(), "in README.md only: {surplus:?}");
}

/// Whether a word is the metric's name or that of a part of it.
fn is_of(word: &str, metric: &Metric) -> bool {
    word.strip_prefix(metric.name).is_some_and(|rest| {
        let is_part = metric.source.kind() == "histogram" && PARTS.contains(&rest);
        rest.is_empty() || is_part
    })
}

#[test]
fn no_document_names_a_metric_that_does_not_exist() {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for path in [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "config/ina260-exporter.toml",
        "docs/man/ina260-exporter.8",
        "docs/man/ina260-exporter.toml.5",
        "docs/settings.md",
    ] {
        let text = read(path);
        for word in text.split(|c| !is_part(c)) {
            let known = METRICS.iter().any(|metric| is_of(word, metric));
            let is_metric = word.starts_with("ina260_") && word != "ina260_exporter";
            assert!(known || !is_metric, "{path} names {word}");
        }
    }
}

#[test]
fn a_real_scrape_has_the_readmes_metrics_and_labels() {
    let directory = env::temp_dir().join(format!("ina260-exporter-readme-{}", process::id()));
    fs::create_dir_all(&directory).unwrap();
    let socket = directory.join("metrics.sock");
    let config = directory.join("config.toml");
    fs::write(
        &config,
        "[[sensor]]\ndevice = \"a\"\nmux = { address = 0x70, channel = 3 }\n\
         alert = { on = \"over-power\", limit = \"5W\" }\n",
    )
    .unwrap();
    let program = program();
    let mut daemon = Command::new(&program[0])
        .args(&program[1..])
        .args(["--simulate", "--interval", "100ms", "--config"])
        .arg(&config)
        .arg(format!("--listen=unix:{}", socket.display()))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let seen = first_scrape_with(&socket, "\nina260_voltage{");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    fs::remove_dir_all(&directory).unwrap();

    // Each of these stands for all of them, or is told once for all sensors.
    let everywhere = ["hostname", "device", "le"];
    let mut labels: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let seen = seen.expect("a result within 30 s");
    for (name, of_it) in seen.lines().filter_map(series) {
        let own = of_it.filter(|label| !everywhere.contains(label));
        labels.entry(name.to_owned()).or_default().extend(own);
    }
    labels.retain(|name, _| !name.starts_with(FOREIGN));
    let told = told();
    let names: Set = told.keys().cloned().collect();
    assert_eq!(labels.keys().cloned().collect::<Set>(), names);
    for (name, told) in &told {
        let told: BTreeSet<&str> = told.labels.iter().map(String::as_str).collect();
        assert_eq!(labels[name], told, "{name}");
    }
}

/// Asks until `wanted` is there, but not for ever.
fn first_scrape_with(socket: &Path, wanted: &str) -> Option<String> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        match scrape(socket) {
            Ok(seen) if seen.contains(wanted) => return Some(seen),
            _ => thread::sleep(Duration::from_millis(50)),
        }
    }
    None
}

fn scrape(socket: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut seen = String::new();
    stream.read_to_string(&mut seen)?;
    Ok(seen)
}

/// The metric and the names of the labels of a line with a value; a histogram's parts are the histogram.
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
