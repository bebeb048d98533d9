//! Memory of the daemon with four sensors at a high rate of results.

use std::error::Error;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::shared::daemon::Daemon;
use crate::shared::scraper::Scraper;
use crate::shared::summary::{Figure, Summary};

const SENSORS: u8 = 4;
/// Interval of each sensor; 2,000 results/s in total.
const MICROS: u32 = 2_000;
const SCRAPE_EVERY: Duration = Duration::from_secs(5);
/// Time after which all buffers have reached their final size.
const SETTLED: Duration = Duration::from_secs(300);
/// Allowed growth in MiB: the C library returns single pages late.
const MAX_GROWTH: f64 = 0.1;

/// Measures the memory after `time`, at most five minutes, and after six times `time`.
pub(crate) fn add(
    summary: &mut Summary,
    scratch: &Path,
    time: Duration,
) -> Result<(), Box<dyn Error>> {
    let (daemon, _) = Daemon::start(scratch, &configuration())?;
    let mut scraper = Scraper::connect(daemon.address)?;
    let begun = Instant::now();
    let mut scrape_until = |until: Duration| -> Result<f64, Box<dyn Error>> {
        while begun.elapsed() < until {
            scraper.scrape()?;
            thread::sleep(SCRAPE_EVERY.min(until.saturating_sub(begun.elapsed())));
        }
        Ok(mib(daemon.process.resident_kib()?))
    };
    let settled = time.min(SETTLED);
    let early = scrape_until(settled)?;
    let late = scrape_until(6 * time)?;
    let cpu = daemon.process.cpu_time()?.as_secs_f64() / begun.elapsed().as_secs_f64();
    let read = sum(&scraper.scrape()?, "ina260_results_total{") / begun.elapsed().as_secs_f64();
    let name = format!("{SENSORS} sensors at {MICROS} µs");
    let figure = |what: &str, value, unit| Figure::new(&format!("{name}, {what}"), value, unit);
    summary.add(
        figure("resident at the end", late, "MiB")
            .target(8.0)
            .reference("seconds", begun.elapsed().as_secs_f64())
            .reference("results per second", read),
    );
    let growth = figure("memory growth", late - early, "MiB")
        .reference("from second", settled.as_secs_f64());
    summary.add(if time >= SETTLED { growth.target(MAX_GROWTH) } else { growth });
    summary.add(figure("CPU, transfers included", 100.0 * cpu, "%"));
    Ok(())
}

/// Returns a configuration with one sensor per bus. The window of the extremes is full before the
/// memory is measured for the first time.
fn configuration() -> String {
    let table = |n| format!("[[sensor]]\ndevice = \"sensor{n}\"\nbus = {n}\n");
    let tables: Vec<String> = (1..=SENSORS).map(table).collect();
    format!(
        "interval = \"{MICROS}us\"\nwindow = \"10s\"\nscript_metrics = false\n{}",
        tables.concat()
    )
}

/// Returns the sum of all series with this prefix.
fn sum(exposition: &str, series: &str) -> f64 {
    let lines = exposition.lines().filter(|line| line.starts_with(series));
    let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    values.sum()
}

#[expect(clippy::cast_precision_loss, reason = "less than 2^53 KiB")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
