//! Configuration: four layers are merged and checked, and become one [`Plan`].
//!
//! Lowest first: built-in defaults, the file, environment variables (`INA260_EXPORTER_*`),
//! command-line flags. The keys are listed in [`keys`].

use std::path::{Path, PathBuf};

mod check;
mod duration;
mod inline_tables;
pub mod keys;
mod layers;
mod listen;
mod log_level;
mod node;
mod parse;
mod plan;
mod print;
mod problem;
mod quantity;
mod section;
mod sensor_tables;
mod spelling;
mod syntax;
mod toml_text;

pub use check::MAX_BUSES;
pub use duration::parse as parse_duration;
pub use layers::is_lack_of_resources;
pub use listen::Listen;
pub use log_level::LogLevel;
pub use plan::{Loaded, Plan, SensorPlan};
pub use problem::Problems;

use layers::Layers;
use node::Origin;

use crate::simulated::Faults;

/// File that is read unless `--config` names another.
pub const DEFAULT_FILE: &str = "/etc/ina260-exporter.toml";

/// Settings from the command line.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--config`: the configuration file, which must exist.
    pub config: Option<PathBuf>,
    /// `--simulate`: simulated sensors, with faults to inject.
    pub simulate: Option<Faults>,
    /// Keys, and the port of `listen`, with their values as text, see [`Overrides::with`].
    pub values: Vec<(&'static str, String)>,
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

/// Parses a quantity such as `500mA`. Returns its number and its base unit, `A`, `V` or `W`.
pub fn parse_quantity(text: &str) -> Option<(f64, &'static str)> {
    quantity::parse(text).map(|quantity| (quantity.number, quantity.unit))
}

/// Reads and checks all layers.
///
/// # Errors
/// All problems of the configuration.
pub fn load(
    overrides: &Overrides,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Problems> {
    load_with(overrides, environment, "")
}

/// Reads and checks all layers, with `appended` at the end of the file.
///
/// # Errors
/// All problems of the configuration.
pub fn load_with(
    overrides: &Overrides,
    environment: impl IntoIterator<Item = (String, String)>,
    appended: &str,
) -> Result<Loaded, Problems> {
    let mut problems = Problems::default();
    let mut layers = Layers::new();
    match &overrides.config {
        Some(path) => layers.add_file(path, false, appended, &mut problems),
        None => layers.add_file(Path::new(DEFAULT_FILE), true, appended, &mut problems),
    }
    layers.add_environment(environment, &mut problems);
    resolve(layers, overrides, problems)
}

/// Reads and checks the flags alone, without the file and the environment.
///
/// # Errors
/// All problems of the flags.
pub fn load_alone(overrides: &Overrides) -> Result<Loaded, Problems> {
    resolve(Layers::new(), overrides, Problems::default())
}

/// Adds the flags to the lower layers, and checks the result.
fn resolve(
    mut layers: Layers,
    overrides: &Overrides,
    mut problems: Problems,
) -> Result<Loaded, Problems> {
    for (name, value) in &overrides.values {
        match keys::at_top().find(|key| key.name == *name) {
            Some(key) => layers.add_flag(key.flag, name, value),
            None => layers.set_port(value, Origin::Flag("--port".to_owned()), &mut problems),
        }
    }
    let loaded = plan::read(&layers, overrides.simulate.clone(), &mut problems);
    loaded.ok_or(problems)
}
