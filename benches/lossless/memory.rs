//! What the daemon keeps in memory while four sensors run as fast as this machine can simulate their buses.

use std::error::Error;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::shared::daemon::Daemon;
use crate::shared::scraper::Scraper;
use crate::shared::summary::{Figure, Summary};

const SENSORS: u8 = 4;
/// Each makes 500 results a second, which makes 2,000.
const MICROS: u32 = 2_000;
const SCRAPE_EVERY: Duration = Duration::from_secs(5);
/// Buffers have been as full by then as they ever are; growth before it means nothing.
const SETTLED: Duration = Duration::from_secs(300);
/// The C library gives single pages back late.
const PAGES: f64 = 0.1;

/// Looks after `time`, five minutes at most, and after six times that.
pub(crate) fn add(
    summary: &mut Summary,
    scratch: &Path,
    time: Duration,
) -> Result<(), Box<dyn Error>> {
    let (daemon, _) = Daemon::start(scratch, &configuration())?;
    let mut scraper = Scraper::connect(daemon.address)?;
    let begun = Instant::now();
    let mut watch = |until: Duration| -> Result<f64, Box<dyn Error>> {
        while begun.elapsed() < until {
            scraper.scrape()?;
            thread::sleep(SCRAPE_EVERY.min(until.saturating_sub(begun.elapsed())));
        }
        Ok(mib(daemon.process.resident_kib()?))
    };
    let settled = time.min(SETTLED);
    let early = watch(settled)?;
    let late = watch(6 * time)?;
    let cpu = daemon.process.cpu_time()?.as_secs_f64() / begun.elapsed().as_secs_f64();
    let read = sum(&scraper.scrape()?, "ina260_results_total{") / begun.elapsed().as_secs_f64();
    let name = format!("{SENSORS} sensors at {MICROS} µs");
    let figure = |what: &str, value, unit| Figure::new(&format!("{name}, {what}"), value, unit);
    summary.add(
        figure("resident at the end", late, "MiB")
            .target(8.0)
            .reference("seconds", begun.elapsed().as_secs_f64())
            .reference("results a second", read),
    );
    let growth = figure("growth of memory", late - early, "MiB")
        .reference("from second", settled.as_secs_f64());
    summary.add(if time >= SETTLED {
        growth.target(PAGES)
    } else {
        growth
    });
    summary.add(figure("CPU with transfers", 100.0 * cpu, "%"));
    Ok(())
}

/// A sensor a bus. The window of extremes is full before memory is looked at for the first time.
fn configuration() -> String {
    let table = |n| format!("[[sensor]]\ndevice = \"sensor{n}\"\nbus = {n}\n");
    let tables: Vec<String> = (1..=SENSORS).map(table).collect();
    format!(
        "interval = \"{MICROS}us\"\nwindow = \"10s\"\nscript_metrics = false\n{}",
        tables.concat()
    )
}

/// Of the values of all series that begin so.
fn sum(exposition: &str, series: &str) -> f64 {
    let lines = exposition.lines().filter(|line| line.starts_with(series));
    let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    values.sum()
}

#[expect(clippy::cast_precision_loss, reason = "less than 2^53 KiB")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
