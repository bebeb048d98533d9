//! What the command line sets: it takes precedence over the environment and the file.

use std::path::PathBuf;

use crate::simulated::Faults;

/// Settings from the command line.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--config`: the configuration file, which must exist then.
    pub config: Option<PathBuf>,
    /// `--port`: the port of `listen`, whatever its address.
    pub port: Option<u16>,
    /// `--simulate`: simulated sensors, with faults to inject.
    pub simulate: Option<Faults>,
    /// Keys with their values as text, see [`Overrides::with`].
    pub values: Vec<(&'static str, String)>,
}

impl Overrides {
    /// Sets a key to a value that is still text: it is parsed like one of the environment.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: Option<&str>) -> Self {
        self.values
            .extend(value.map(|value| (key, value.to_owned())));
        self
    }

    /// Returns key, flag and value of everything that was set.
    pub(super) fn values(&self) -> impl Iterator<Item = (&'static str, &'static str, &str)> {
        self.values
            .iter()
            .map(|(key, value)| (*key, flag(key), value.as_str()))
    }
}

fn flag(key: &str) -> &'static str {
    [
        ("hostname", "--hostname"),
        ("device", "--device"),
        ("listen", "--listen"),
        ("bus", "--bus"),
        ("address", "--address"),
        ("mux", "--mux"),
        ("interval", "--interval"),
        ("wait_for_sensor", "--wait-for-sensor"),
        ("log", "--log-level"),
    ]
    .into_iter()
    .find(|(known, _)| *known == key)
    .map_or("a flag", |(_, flag)| flag)
}
