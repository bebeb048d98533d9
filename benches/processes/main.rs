//! Cost of the daemon as a process: start, memory, CPU, scrapes. It runs on simulated sensors; CPU
//! time is compared with the Python script, scrapes with the bare listener of the exporter crate,
//! which serves the same series.
//! Adds its figures, and those of the bench `parts`, to `target/bench/summary.json`.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

mod bare;
mod parts;
mod peers;
#[path = "../shared/mod.rs"]
mod shared;

use shared::daemon::Daemon;
use shared::process::Process;
use shared::results_directory;
use shared::scraper::Scraper;
use shared::summary::{Figure, Summary};

const SENSORS: u8 = 16;
const STARTS: usize = 20;
/// Connections before memory is measured, and scrapes over each; the daemon accepts connections
/// every 100 ms.
const CONNECTIONS: u32 = 100;
const SCRAPES_EACH: u32 = 100;
/// Timed scrapes of the daemon and of the bare listener, alternating, over persistent connections
/// like those of Prometheus.
const PAIRS: usize = 5_000;
/// Duration of the measurement without scrapes.
const IDLE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(bare::ARGUMENT) {
        let port = arguments.next().ok_or("a port is missing")?;
        return bare::serve(port.parse()?);
    }
    let results = results_directory();
    let scratch = tempfile::tempdir()?;
    let mut summary = Summary::default();
    let parts = parts::add(&mut summary, &results)?;
    peers::add(&mut summary, scratch.path(), &parts)?;
    measure(&mut summary, scratch.path())?;
    summary.print();
    summary.write(&results.join("summary.json"))?;
    Ok(())
}

fn measure(summary: &mut Summary, scratch: &Path) -> Result<(), Box<dyn Error>> {
    starts(summary, scratch)?;
    let (daemon, _) = Daemon::start(scratch, &configuration(SENSORS))?;
    // Until every sensor has had its first result.
    std::thread::sleep(Duration::from_millis(1_500));
    idle(summary, &daemon.process)?;
    let cpu = many_scrapes(&daemon)?.as_secs_f64() * 1e6;
    let scrapes = f64::from(CONNECTIONS * SCRAPES_EACH);
    summary.add(Figure::new("CPU of one scrape", cpu / scrapes, "µs"));
    memory(summary, "environment of the unit", &daemon.process)?;
    let (other, _) = Daemon::start_in(&[], scratch, &configuration(SENSORS))?;
    many_scrapes(&other)?;
    memory(summary, "other environment", &other.process)?;
    drop(other);
    pairs(summary, &daemon)?;
    let size = fs::metadata(env!("CARGO_BIN_EXE_ina260-exporter"))?.len();
    summary.add(Figure::new("size of the binary", mib(size / 1024), "MiB"));
    Ok(())
}

/// Returns the tables of sensors on one bus.
fn configuration(sensors: u8) -> String {
    let table = |n| format!("[[sensor]]\ndevice = \"sensor{n}\"\naddress = {:#04x}\n", 0x40 + n);
    let tables: Vec<String> = (0..sensors).map(table).collect();
    tables.join("\n")
}

fn starts(summary: &mut Summary, scratch: &Path) -> Result<(), Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let (_daemon, ready) = Daemon::start(scratch, &configuration(SENSORS))?;
        times.push(ready.as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let median = percentile(&times, 50);
    summary.add(Figure::new("start to READY, median", median, "ms").target(50.0));
    summary.add(Figure::new("start to READY, slowest", percentile(&times, 100), "ms"));
    Ok(())
}

fn idle(summary: &mut Summary, process: &Process) -> Result<(), Box<dyn Error>> {
    let (cpu, begun) = (process.cpu_time()?, Instant::now());
    std::thread::sleep(IDLE);
    let used = process.cpu_time()?.saturating_sub(cpu);
    summary.add(Figure::new(
        "CPU with 16 sensors at 1 Hz, no scrapes",
        100.0 * used.as_secs_f64() / begun.elapsed().as_secs_f64(),
        "%",
    ));
    summary.add(Figure::new(
        "resident before the first scrape",
        mib(process.resident_kib()?),
        "MiB",
    ));
    Ok(())
}

/// Scrapes 10,000 times; returns the CPU time of the daemon meanwhile.
fn many_scrapes(daemon: &Daemon) -> Result<Duration, Box<dyn Error>> {
    let cpu = daemon.process.cpu_time()?;
    for _ in 0..CONNECTIONS {
        let mut scraper = Scraper::connect(daemon.address)?;
        for _ in 0..SCRAPES_EACH {
            scraper.scrape()?;
        }
    }
    Ok(daemon.process.cpu_time()?.saturating_sub(cpu))
}

/// Adds the memory after many scrapes.
fn memory(
    summary: &mut Summary,
    environment: &str,
    process: &Process,
) -> Result<(), Box<dyn Error>> {
    let name = |what| format!("{what} after 10,000 scrapes, {environment}");
    summary.add(Figure::new(&name("resident"), mib(process.resident_kib()?), "MiB").target(6.0));
    let anonymous = mib(process.anonymous_kib()?);
    summary.add(Figure::new(&name("RssAnon"), anonymous, "MiB").target(1.2));
    Ok(())
}

fn pairs(summary: &mut Summary, daemon: &Daemon) -> Result<(), Box<dyn Error>> {
    let mut ours = Scraper::connect(daemon.address)?;
    let exposition = ours.scrape()?;
    let bare = bare::start(&exposition)?;
    let mut theirs = Scraper::connect(bare.address)?;
    let (our_series, their_series) = (series(&exposition), series(&theirs.scrape()?));
    if our_series != their_series {
        return Err(format!(
            "the daemon serves {our_series} series, the bare listener {their_series}"
        )
        .into());
    }
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        our_times.push(timed(&mut ours)?);
        their_times.push(timed(&mut theirs)?);
    }
    our_times.sort_by(f64::total_cmp);
    their_times.sort_by(f64::total_cmp);
    for (name, percent) in [("median", 50), ("99th percentile", 99)] {
        let (our, their) = (percentile(&our_times, percent), percentile(&their_times, percent));
        summary.add(
            Figure::new(&format!("scrape of {our_series} series, {name}"), our, "ms")
                .reference("bare listener", their),
        );
        let ratio =
            Figure::new(&format!("scrape relative to the bare listener, {name}"), our / their, "×");
        summary.add(if percent == 99 { ratio.target(2.0) } else { ratio });
    }
    summary.add(
        Figure::new("resident at the end", mib(daemon.process.resident_kib()?), "MiB")
            .reference("bare listener", mib(bare.process.resident_kib()?)),
    );
    Ok(())
}

/// Returns the time of one scrape in milliseconds.
fn timed(scraper: &mut Scraper) -> Result<f64, Box<dyn Error>> {
    let begun = Instant::now();
    scraper.scrape()?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

fn series(exposition: &str) -> usize {
    let is_sample = |line: &&str| !line.is_empty() && !line.starts_with('#');
    exposition.lines().filter(is_sample).count()
}

/// Returns a percentile of sorted values.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100]
}

/// Converts KiB to MiB.
#[expect(clippy::cast_precision_loss, reason = "less than 2^53 KiB")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
