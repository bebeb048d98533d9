//! Parts shared by several benches.

pub(crate) mod daemon;
pub(crate) mod process;
pub(crate) mod scraper;
pub(crate) mod summary;

use std::path::{Path, PathBuf};

/// Returns the directory of the results: `bench` in cargo's target directory.
pub(crate) fn results_directory() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_ina260-exporter"));
    let target = binary.ancestors().nth(2).unwrap_or(Path::new("target"));
    target.join("bench")
}
