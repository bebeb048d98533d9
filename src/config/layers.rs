//! Merges the four layers: defaults, file, environment variables, flags.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use figment::value::{Dict, Map, Tag, Value as Raw};
use figment::{Figment, Metadata, Profile, Provider};

use super::keys::{self, KeyInfo};
use super::node::{Origin, Table};
use super::problem::Problems;
use super::toml_text::{self, parse};

const PREFIX: &str = "INA260_EXPORTER_";
/// Variable of the build, which may still be in the environment of `make run`.
const BUILD_VARIABLE: &str = "INA260_EXPORTER_REVISION";
/// Upper bound on the size of the file: far more than needed; stops the reading of `/dev/zero`.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// One file, environment variable or flag, so that figment knows the origin of each value.
struct Layer {
    /// Index into [`Layers::origins`].
    index: usize,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.index.to_string())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.dict.clone())]))
    }
}

/// The layers, lowest first.
pub(super) struct Layers {
    figment: Figment,
    origins: Vec<Origin>,
}

impl Layers {
    /// Returns the layer of the defaults alone.
    pub(super) fn new() -> Self {
        let mut layers = Self { figment: Figment::new(), origins: Vec::new() };
        let mut defaults = defaults(keys::at_top());
        defaults.insert(keys::HOSTNAME.info.name.to_owned(), host_name().into());
        layers.add(Origin::Default, defaults);
        layers
    }

    fn add(&mut self, origin: Origin, dict: Dict) {
        let index = self.origins.len();
        self.origins.push(origin);
        self.figment = std::mem::take(&mut self.figment).merge(Layer { index, dict });
    }

    /// Adds a file with `appended` at its end. An `optional` file may be missing.
    pub(super) fn add_file(
        &mut self,
        path: &Path,
        optional: bool,
        appended: &str,
        problems: &mut Problems,
    ) {
        let origin = Origin::File(path.to_owned());
        match read(path, optional).and_then(|text| parse(&format!("{text}\n{appended}"))) {
            Ok(dict) => self.add(origin, dict),
            Err(message) => problems.add(&origin, message),
        }
    }

    /// Adds the variables with our prefix; two underscores separate the keys of nested tables.
    pub(super) fn add_environment(
        &mut self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) {
        // Sorted, so that the result does not depend on the order of the variables.
        for (name, value) in BTreeMap::from_iter(environment) {
            let Some(key) = name.strip_prefix(PREFIX) else {
                continue;
            };
            if name == BUILD_VARIABLE {
                continue;
            }
            let key = key.to_ascii_lowercase();
            // No table is nested deeper; the rest of a longer name is one unknown key.
            let path = key.splitn(3, "__").collect::<Vec<_>>().into_iter().rev();
            let nest = |value, key: &str| Raw::from(Dict::from([(key.to_owned(), value)]));
            if let Raw::Dict(_, dict) = path.fold(Raw::from(value), nest) {
                self.add(Origin::Environment(name), dict);
            }
        }
    }

    /// Adds one flag.
    pub(super) fn add_flag(&mut self, flag: &str, key: &str, value: &str) {
        let dict = Dict::from([(key.to_owned(), Raw::from(value))]);
        self.add(Origin::Flag(flag.to_owned()), dict);
    }

    /// Returns the effective value of each key.
    pub(super) fn merged(&self) -> Table {
        // `Layer::data` never fails.
        let mut profiles = self.figment.data().unwrap_or_default();
        let dict = profiles.remove(&Profile::Default).unwrap_or_default();
        toml_text::table(dict, false, &|tag| self.origin(tag))
    }

    fn origin(&self, tag: Tag) -> Origin {
        let metadata = self.figment.get_metadata(tag);
        let index = metadata.and_then(|metadata| metadata.name.parse::<usize>().ok());
        let origin = index.and_then(|index| self.origins.get(index));
        origin.cloned().unwrap_or(Origin::Default)
    }
}

/// Returns the defaults of the keys of a `[[sensor]]` table; `device` is required there.
pub(super) fn sensor_defaults() -> Table {
    let optional = keys::in_sensor().filter(|key| key.name != keys::DEVICE.info.name);
    toml_text::table(defaults(optional), true, &|_| Origin::Default)
}

fn defaults(keys: impl Iterator<Item = &'static KeyInfo>) -> Dict {
    let fixed = keys.filter(|key| key.described_default.is_empty());
    let lines = fixed.map(|key| format!("{} = {}\n", key.name, key.default));
    // Tests parse all defaults.
    toml_text::parse_here(&lines.collect::<String>()).unwrap_or_default()
}

/// Returns the machine's name (uname(2)), or `localhost` if it has none.
// Not from /proc/sys, which the service cannot see.
fn host_name() -> String {
    match rustix::system::uname().nodename().to_string_lossy().trim() {
        "" | "(none)" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

fn read(path: &Path, optional: bool) -> Result<String, String> {
    let mut bytes = Vec::new();
    let result =
        File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    match result {
        Err(error) if optional && error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(_) if bytes.len() as u64 > MAX_FILE_BYTES => {
            Err(format!("is longer than {MAX_FILE_BYTES} bytes"))
        }
        Ok(_) => String::from_utf8(bytes).map_err(|error| {
            let position = error.utf8_error().valid_up_to();
            format!("is not valid UTF-8 at byte {position}")
        }),
    }
}
