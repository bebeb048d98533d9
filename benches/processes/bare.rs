//! The listener of metrics-exporter-prometheus alone: the lower bound on the time of a scrape.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use metrics::Label;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

use crate::shared::daemon::free_address;
use crate::shared::process::Process;

/// Argument that makes this executable the bare listener; a port follows.
pub(crate) const ARGUMENT: &str = "bare-listener";

/// Timeout of the start.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A bare listener in a process of its own.
pub(crate) struct Bare {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

/// Starts a bare listener that serves the series of `exposition`.
pub(crate) fn start(exposition: &str) -> Result<Bare, Box<dyn Error>> {
    let address = free_address()?;
    let mut child = Command::new(std::env::current_exe()?)
        .args([ARGUMENT, &address.port().to_string()])
        .stdin(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().ok_or("the child has no standard input")?;
    let process = Process(child);
    input.write_all(exposition.as_bytes())?;
    drop(input);
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        if begun.elapsed() > TIMEOUT {
            return Err("the bare listener does not respond".into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(Bare { process, address })
}

/// Serves the series read from standard input, with their values, until killed.
pub(crate) fn serve(port: u16) -> Result<(), Box<dyn Error>> {
    let mut exposition = String::new();
    io::stdin().read_to_string(&mut exposition)?;
    let samples = parse(&exposition);
    let mut builder = PrometheusBuilder::new().with_http_listener((Ipv4Addr::LOCALHOST, port));
    for (name, bounds) in bounds(&samples) {
        builder = builder.set_buckets_for_metric(Matcher::Full(name), &bounds)?;
    }
    builder.install()?;
    for line in exposition.lines() {
        let mut fields = line.splitn(4, ' ');
        if let (Some("#"), Some("HELP"), Some(name), Some(help)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        {
            metrics::with_recorder(|recorder| {
                recorder.describe_gauge(name.to_owned().into(), None, help.to_owned().into());
            });
        }
    }
    samples.into_iter().for_each(Sample::record);
    loop {
        thread::park();
    }
}

/// One sample of an exposition.
struct Sample<'a> {
    kind: &'a str,
    name: &'a str,
    labels: Vec<Label>,
    value: f64,
}

impl Sample<'_> {
    fn record(self) {
        let Self { kind, name, labels, value } = self;
        match kind {
            "counter" => metrics::counter!(name.to_owned(), labels).absolute(whole(value)),
            "histogram" => {
                // The count represents the whole histogram; the observed values do not matter.
                if let Some(name) = name.strip_suffix("_count") {
                    let histogram = metrics::histogram!(name.to_owned(), labels);
                    histogram.record_many(0.001, usize::try_from(whole(value)).unwrap_or(1));
                }
            }
            _ => metrics::gauge!(name.to_owned(), labels).set(value),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counters are whole and not negative"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

/// Parses the format of the exporter crate, with label values without escapes.
fn parse(exposition: &str) -> Vec<Sample<'_>> {
    let mut kind = "";
    let mut samples = Vec::new();
    for line in exposition.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            kind = described.rsplit(' ').next().unwrap_or_default();
        } else if let Some((series, value)) = line.rsplit_once(' ')
            && !line.starts_with('#')
        {
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            samples.push(Sample {
                kind,
                name,
                labels: labels
                    .trim_end_matches('}')
                    .split("\",")
                    .filter_map(|label| label.split_once("=\""))
                    .map(|(name, value)| {
                        Label::new(name.to_owned(), value.trim_end_matches('"').to_owned())
                    })
                    .collect(),
                value: value.parse().unwrap_or(0.0),
            });
        }
    }
    samples
}

/// Returns the upper bounds of each histogram.
fn bounds(samples: &[Sample<'_>]) -> BTreeMap<String, Vec<f64>> {
    let mut bounds: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.kind == "histogram") {
        let bound = sample.labels.iter().find(|label| label.key() == "le");
        if let Some(name) = sample.name.strip_suffix("_bucket")
            && let Some(Ok(bound)) = bound.map(|label| label.value().parse::<f64>())
            && bound.is_finite()
        {
            let bounds = bounds.entry(name.to_owned()).or_default();
            if !bounds.contains(&bound) {
                bounds.push(bound);
            }
        }
    }
    bounds
}
