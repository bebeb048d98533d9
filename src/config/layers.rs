//! Four layers become one table: defaults, file, environment, flags. The only file that knows figment.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map, Num, Tag, Value as Raw};
use figment::{Figment, Metadata, Profile, Provider, Source};

use super::defaults::{Defaults, SensorDefaults};
use super::node::{Node, Origin, Table, Value, one_line};
use super::problem::Problems;

const PREFIX: &str = "INA260_EXPORTER_";
/// Read by the build; it may still be in the environment of `make run`.
const OF_THE_BUILD: &str = "INA260_EXPORTER_REVISION";
/// Far more than any configuration; `/dev/zero` is longer.
const LONGEST_FILE: u64 = 1 << 20;

/// One file, one environment variable or one flag: figment then knows for each value where it came from.
struct Layer {
    origin: Origin,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        match &self.origin {
            Origin::Default => Metadata::named("default"),
            Origin::File(path) => Metadata::from("file", path.as_path()),
            Origin::Environment(name) => {
                Metadata::from("environment", Source::Custom(name.clone()))
            }
            Origin::Flag(name) => Metadata::from("flag", Source::Custom(name.clone())),
        }
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.dict.clone())]))
    }
}

/// The layers, lowest first.
pub(super) struct Layers(Figment);

impl Layers {
    pub(super) fn new() -> Self {
        Self(Figment::from(Serialized::defaults(Defaults::new())))
    }

    fn add(&mut self, origin: Origin, dict: Dict) {
        let below = std::mem::take(&mut self.0);
        self.0 = below.merge(Layer { origin, dict });
    }

    /// Adds a file, which need not exist if it is `optional`, as if `appended` stood at its end.
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
            Err(sentence) => problems.add(&origin, sentence),
        }
    }

    /// Adds the variables that are ours; two underscores lead into a table.
    pub(super) fn add_environment(
        &mut self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) {
        // Sorted, so that the same variables always make the same table.
        for (name, value) in BTreeMap::from_iter(environment) {
            let Some(key) = name.strip_prefix(PREFIX) else {
                continue;
            };
            if name == OF_THE_BUILD {
                continue;
            }
            let key = key.to_ascii_lowercase();
            // No table lies deeper; a name of endless tables is one unknown key.
            let path: Vec<&str> = key.splitn(3, "__").collect();
            let (first, inner) = path.split_first().unwrap_or((&"", &[]));
            let value = inner.iter().rev().fold(Raw::from(value), |value, key| {
                Raw::from(Dict::from([((*key).to_owned(), value)]))
            });
            let dict = Dict::from([((*first).to_owned(), value)]);
            self.add(Origin::Environment(name), dict);
        }
    }

    /// Adds one flag.
    pub(super) fn add_flag(&mut self, flag: &str, key: &str, value: String) {
        let dict = Dict::from([(key.to_owned(), Raw::from(value))]);
        self.add(Origin::Flag(flag.to_owned()), dict);
    }

    /// What the layers amount to.
    pub(super) fn merged(&self) -> Table {
        // No provider here fails: what could not be read never became a layer.
        let mut profiles = self.0.data().unwrap_or_default();
        let dict = profiles.remove(&Profile::Default).unwrap_or_default();
        table(dict, false, &|tag| origin_of(&self.0, tag))
    }
}

fn origin_of(figment: &Figment, tag: Tag) -> Origin {
    let Some(metadata) = figment.get_metadata(tag) else {
        return Origin::Default;
    };
    match (metadata.name.as_ref(), &metadata.source) {
        ("file", Some(Source::File(path))) => Origin::File(path.clone()),
        ("environment", Some(Source::Custom(name))) => Origin::Environment(name.clone()),
        ("flag", Some(Source::Custom(name))) => Origin::Flag(name.clone()),
        _ => Origin::Default,
    }
}

fn table(dict: Dict, typed: bool, origin_of: &dyn Fn(Tag) -> Origin) -> Table {
    dict.into_iter()
        .map(|(key, value)| (key, node(value, typed, origin_of)))
        .collect()
}

/// `typed`: written as TOML, wherever it stands, so that its strings are meant to be strings.
fn node(raw: Raw, typed: bool, origin_of: &dyn Fn(Tag) -> Origin) -> Node {
    let origin = origin_of(raw.tag());
    let value = match raw {
        Raw::String(_, text) => match origin {
            Origin::Environment(_) | Origin::Flag(_) if !typed => Value::Untyped(text),
            _ => Value::Text(text),
        },
        Raw::Char(_, character) => Value::Text(character.to_string()),
        Raw::Bool(_, yes) => Value::Bool(yes),
        Raw::Num(_, Num::F32(number)) => Value::Float(number.into()),
        Raw::Num(_, Num::F64(number)) => Value::Float(number),
        Raw::Num(_, number) => {
            let unsigned = number.to_u128().and_then(|n| i128::try_from(n).ok());
            Value::Integer(number.to_i128().or(unsigned).unwrap_or(i128::MAX))
        }
        Raw::Empty(..) => Value::Text(String::new()),
        Raw::Dict(_, dict) => Value::Table(table(dict, typed, origin_of)),
        Raw::Array(_, items) => Value::List(
            items
                .into_iter()
                .map(|item| node(item, typed, origin_of))
                .collect(),
        ),
    };
    Node { origin, value }
}

/// What a sensor's table does not say.
pub(super) fn sensor_defaults() -> Table {
    match Raw::serialize(SensorDefaults::new()) {
        Ok(Raw::Dict(_, dict)) => table(dict, true, &|_| Origin::Default),
        _ => Table::new(),
    }
}

/// The value that a list or a table in the environment stands for; it is written as in the file.
pub(super) fn value_of(text: &str, origin: &Origin) -> Option<Value> {
    let mut dict = parse(&format!("value = {text}")).ok()?;
    let raw = dict.remove("value").filter(|_| dict.is_empty())?;
    Some(node(raw, true, &|_| origin.clone()).value)
}

fn read(path: &Path, optional: bool) -> Result<String, String> {
    let mut bytes = Vec::new();
    let outcome =
        File::open(path).and_then(|file| file.take(LONGEST_FILE + 1).read_to_end(&mut bytes));
    match outcome {
        Err(error) if optional && error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(_) if bytes.len() as u64 > LONGEST_FILE => {
            Err(format!("is longer than {LONGEST_FILE} bytes"))
        }
        Ok(_) => String::from_utf8(bytes).map_err(|error| {
            format!(
                "is not UTF-8 from byte {} on",
                error.utf8_error().valid_up_to()
            )
        }),
    }
}

/// Parses TOML, on a stack of its own: the parser bounds how deep keys and brackets go, but not the product of both, and
/// some kilobytes of text can ask for thousands of levels. Nothing deeper than any configuration comes back.
fn parse(text: &str) -> Result<Dict, String> {
    const STACK: usize = 128 << 20; // reserved, not used
    const DEEPEST: usize = 8;
    let parse = || match parse_here(text)? {
        dict if depth(&dict) > DEEPEST => Err("has tables in tables without end".to_owned()),
        dict => Ok(dict),
    };
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, parse)
            .map_err(|error| format!("cannot be parsed: {error}"))?
            .join()
            .unwrap_or_else(|_| Err("cannot be parsed".to_owned()))
    })
}

fn depth(dict: &Dict) -> usize {
    fn of(value: &Raw) -> usize {
        match value {
            Raw::Dict(_, dict) => depth(dict),
            Raw::Array(_, items) => 1 + items.iter().map(of).max().unwrap_or_default(),
            _ => 0,
        }
    }
    1 + dict.values().map(of).max().unwrap_or_default()
}

fn parse_here(text: &str) -> Result<Dict, String> {
    Toml::from_str(text).map_err(|error| {
        let start = error.span().unwrap_or_default().start;
        let before = text.get(..start).unwrap_or_default();
        let line_before = before.rsplit('\n').next().unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = line_before.chars().count() + 1;
        let message = error.message().replace('\n', "; ");
        format!("line {line}, column {column}: {}", one_line(&message))
    })
}
