//! Runs `watch` with a source that panics, so that `tests/terminal/run` can check that the terminal
//! is restored.

use std::sync::mpsc;
use std::{panic, process};

use ina260_exporter::commands::watch::{ScrapeSource, watch};
use ina260_exporter::scrape::{Body, Error};

/// Returns two scrapes, then panics.
struct Panicking(u32);

impl ScrapeSource for Panicking {
    fn name(&self) -> String {
        "panicking".to_owned()
    }

    fn scrape(&mut self) -> Result<Body, Error> {
        self.0 += 1;
        assert!(self.0 < 3, "on purpose");
        Ok("ina260_up{device=\"panicking\"} 1\n".to_owned().into())
    }
}

fn main() {
    // Like a release, which aborts without dropping anything.
    panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        process::abort();
    }));
    let (_events, received) = mpsc::channel();
    let ended = watch(vec![Box::new(Panicking(0))], None, received);
    eprintln!("ended without a panic: {ended:?}");
}
