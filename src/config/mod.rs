//! Configuration: merges and checks four layers, which become one [`Plan`]. Lowest first: defaults
//! in [`keys`], the file, environment variables (`INA260_EXPORTER_*`), command-line flags.

use std::fmt::Display;
use std::path::PathBuf;

pub mod keys;
mod layers;
mod parse;
mod plan;
mod quantity;
mod resolve;
mod section;
mod spelling;
mod syntax;
mod value;

pub use layers::DEFAULT_FILE;
pub(crate) use layers::is_lack_of_resources;
pub use plan::{Listen, Loaded, LogLevel, Plan, SensorPlan, ServerSettings};
pub(crate) use quantity::{duration as parse_duration, parse as parse_quantity};
pub use resolve::MAX_BUSES;

use layers::Layers;
use value::Origin;

use crate::simulated::Faults;

/// Settings from the command line.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--config`: the configuration file, which must exist.
    pub config: Option<PathBuf>,
    /// `--simulate`: simulated sensors, with faults to inject.
    pub simulate: Option<Faults>,
    /// Keys, and the port of `listen`, with their values as text, see [`Overrides::with`].
    pub values: Vec<(&'static str, String)>,
    /// TOML to append to the file.
    pub appended: String,
}

impl Overrides {
    /// Sets a key to a value that is still text: it is parsed like one from the environment.
    pub fn with(mut self, key: &'static str, value: Option<&str>) -> Self {
        self.values.extend(value.map(|value| (key, value.to_owned())));
        self
    }
}

/// Returns this process's environment. Bytes that are not UTF-8 become replacement characters,
/// which no value may contain.
pub fn environment() -> Vec<(String, String)> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// The problems of a configuration in the order in which they were found: origin, invalid key, and
/// what is expected. Printed one per line.
#[derive(Clone, Debug, Default, PartialEq, thiserror::Error)]
#[error("{}", self.messages().collect::<Vec<_>>().join("\n"))]
pub struct Problems {
    first: Vec<String>,
    /// Number of further problems, whose messages are not kept.
    more: usize,
    /// Whether one is a lack of resources or a disk error: the configuration may be valid.
    pub is_temporary: bool,
}

impl Problems {
    fn add(&mut self, origin: &Origin, message: impl Display) {
        /// A configuration with more problems is wrong as a whole.
        const MAX_MESSAGES: usize = 20;
        if self.first.len() < MAX_MESSAGES {
            self.first.push(format!("{origin}: {message}"));
        } else {
            self.more += 1;
        }
    }

    /// Returns the messages about the first problems and, if there are more, their number.
    pub fn messages(&self) -> impl Iterator<Item = String> {
        let more = (self.more > 0).then(|| format!("and {} more", self.more));
        self.first.iter().cloned().chain(more)
    }
}

/// Reads and checks all layers.
///
/// # Errors
/// All problems of the configuration.
pub fn load(
    overrides: &Overrides,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Problems> {
    let mut layers = Layers::new();
    layers.add_file(overrides.config.as_deref(), &overrides.appended);
    layers.add_variables(environment);
    resolve::resolve(layers, overrides)
}

/// Reads and checks the flags alone, without the file and the environment.
///
/// # Errors
/// All problems of the flags.
pub fn load_alone(overrides: &Overrides) -> Result<Loaded, Problems> {
    resolve::resolve(Layers::new(), overrides)
}
