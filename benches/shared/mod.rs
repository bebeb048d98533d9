//! What several benches need.

pub(crate) mod daemon;
pub(crate) mod process;
pub(crate) mod scraper;
pub(crate) mod summary;

use std::path::{Path, PathBuf};

/// Beside what cargo built, wherever that is.
pub(crate) fn results_directory() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_ina260-exporter"));
    let target = binary.ancestors().nth(2).unwrap_or(Path::new("target"));
    target.join("bench")
}
