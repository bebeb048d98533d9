//! `watch` with a source that panics, for the test of what it leaves of a terminal then: `tests/terminal/run`.

use std::sync::mpsc;
use std::{panic, process};

use ina260_exporter::commands::watch::{Scrape, watch};

/// Shows a sensor twice, then panics in its thread.
struct Panicking(u32);

impl Scrape for Panicking {
    fn name(&self) -> String {
        "panicking".to_owned()
    }

    fn scrape(&mut self) -> Result<String, String> {
        self.0 += 1;
        assert!(self.0 < 3, "on purpose");
        Ok("ina260_up{device=\"panicking\"} 1\n".to_owned())
    }
}

fn main() {
    // As in a release, where a panic ends the process and nothing is dropped.
    panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        process::abort();
    }));
    let (_events, received) = mpsc::channel();
    let ended = watch(vec![Box::new(Panicking(0))], None, received);
    eprintln!("not by a panic: {ended:?}");
}
