//! What is lost between the chip's results and the totals: on the simulated clock where the scene allows it, in real time where
//! the machine's own scheduling counts. Adds its table to `target/bench/summary.json`.
//!
//! `LOSSLESS_SECONDS` is how long each part in real time lasts, the one on memory six times that. The default is short; 600 seconds
//! tell whether a target is met, and make an hour of the one on memory.

use std::error::Error;
use std::fs;
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
        Ok(text) => text
            .parse()
            .map_err(|error| format!("{SECONDS}: {error}"))?,
        Err(_) => 20,
    };
    let time = Duration::from_secs(seconds);
    let results = results_directory();
    let scratch = results.join(format!("scratch-{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    let mut summary = Summary::default();
    integration::add(&mut summary);
    let measured = many::add(&mut summary)
        .and_then(|()| real_time::add(&mut summary, time))
        .and_then(|()| memory::add(&mut summary, &scratch, time));
    fs::remove_dir_all(&scratch)?;
    measured?;
    summary.print();
    summary.write(&results.join("summary.json"))?;
    Ok(())
}
