//! Log levels.

use strum::{IntoStaticStr, VariantArray};

/// Minimum severity of messages that are logged.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, VariantArray, IntoStaticStr,
)]
#[strum(serialize_all = "kebab-case")]
pub enum LogLevel {
    /// Failures that end the program or affect it permanently.
    Error,
    /// Faults that need attention.
    Warn,
    /// Single events: starts, stops, ends of outages, summaries.
    #[default]
    Info,
    /// Every result.
    Debug,
    /// Every transfer.
    Trace,
}

impl LogLevel {
    /// All levels, most severe first.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Returns the level's name in the configuration.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
