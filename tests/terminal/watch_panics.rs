//! Runs `watch` with a source that panics, so that `tests/terminal/run` can check that the terminal
//! is restored.

use std::{panic, process};

use ina260_exporter::commands::watch::{ScrapeSource, watch};

fn main() {
    // Like a release, which aborts without dropping anything.
    panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        process::abort();
    }));
    // Returns two scrapes, then panics.
    let mut scrapes = 0;
    let scrape = move || {
        scrapes += 1;
        assert!(scrapes < 3, "on purpose");
        Ok("ina260_up{device=\"panicking\"} 1\n".to_owned().into())
    };
    let source = ScrapeSource { name: "panicking".to_owned(), scrape: Box::new(scrape) };
    let ended = watch(vec![source], None);
    eprintln!("ended without a panic: {ended:?}");
}
