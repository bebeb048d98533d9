//! Measures what is lost between the chip's results and the totals: on the simulated clock where
//! possible, in real time where the scheduling of the machine matters. Adds its figures to
//! `target/bench/summary.json`.
//!
//! `LOSSLESS_SECONDS` is the duration of each part that runs in real time; the part on memory takes
//! six times as long. The default is short: 600 seconds are needed to show whether the targets are
//! met, and the part on memory then takes an hour.

use std::error::Error;
use std::time::Duration;

mod integration;
mod load;
mod many;
mod memory;
mod real_time;
#[path = "../shared/mod.rs"]
mod shared;
mod stage;

use shared::results_directory;
use shared::summary::Summary;

const SECONDS: &str = "LOSSLESS_SECONDS";

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = match std::env::var(SECONDS) {
        Ok(text) => text.parse().map_err(|error| format!("{SECONDS}: {error}"))?,
        Err(_) => 20,
    };
    let time = Duration::from_secs(seconds);
    let scratch = tempfile::tempdir()?;
    let mut summary = Summary::default();
    integration::add(&mut summary);
    many::add(&mut summary)?;
    real_time::add(&mut summary, time)?;
    memory::add(&mut summary, scratch.path(), time)?;
    summary.print();
    summary.write(&results_directory().join("summary.json"))?;
    Ok(())
}
