//! Merges the four layers: defaults, file, environment variables, flags.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use figment::Figment;
use figment::providers::Serialized;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::keys::{self, KeyInfo};
use super::plan::Listen;
use super::value::{self, Node, Nodes, Origin, Table, Value, parse_value};
use super::{Problems, parse, syntax};

/// File that is read unless `--config` names another.
pub const DEFAULT_FILE: &str = "/etc/ina260-exporter.toml";

const PREFIX: &str = "INA260_EXPORTER_";
/// Variable of the build, which may still be in the environment of `make run`.
const BUILD_VARIABLE: &str = "INA260_EXPORTER_REVISION";
/// Upper bound on the size of the file: far more than any configuration needs.
const MAX_FILE_BYTES: u64 = 1 << 18;
const MAX_VARIABLES: usize = 100;
/// Device number of `/dev/null`, which is an empty file each time that it is read.
const NULL_DEVICE: u64 = 0x103;

/// The layers so far, and their problems.
#[derive(Default)]
pub(super) struct Layers {
    /// The effective value of each key, as an index into `nodes`.
    figment: Figment,
    nodes: Vec<Node>,
    /// A port for `listen`, unless a higher layer sets either of them.
    port: Option<(String, Origin)>,
    pub(super) has_file: bool,
    pub(super) problems: Problems,
}

impl Layers {
    /// Returns the layer of the defaults alone.
    pub(super) fn new() -> Self {
        let mut layers = Self::default();
        let mut defaults = defaults(keys::at_top());
        defaults.insert(keys::HOSTNAME.info.name.to_owned(), Value::Text(host_name()));
        layers.add(&Origin::Default, defaults);
        layers
    }

    fn add(&mut self, origin: &Origin, table: Table) {
        let indices: BTreeMap<_, _> = table.keys().cloned().zip(self.nodes.len()..).collect();
        self.nodes.extend(table.into_values().map(|value| Node { origin: origin.clone(), value }));
        self.figment = std::mem::take(&mut self.figment).merge(Serialized::defaults(indices));
    }

    pub(super) fn merged(&self) -> Nodes {
        // Only indices were added.
        let indices: BTreeMap<String, usize> = self.figment.extract().unwrap_or_default();
        indices.into_iter().map(|(key, index)| (key, self.nodes[index].clone())).collect()
    }

    /// Adds a file with `appended` at its end; without a path the default one, if it exists.
    pub(super) fn add_file(&mut self, path: Option<&Path>, appended: &str) {
        let file = path.unwrap_or(Path::new(DEFAULT_FILE));
        let origin = Origin::File(file.to_owned());
        let read = read(file);
        self.has_file = read.is_ok();
        // A link to a file that does not exist is an error, not a missing file.
        let is_missing = |it: &Path| {
            fs::symlink_metadata(it).is_err_and(|error| error.kind() == ErrorKind::NotFound)
        };
        let text = match read {
            Err(_) if path.is_none() && is_missing(file) => String::new(),
            Err(error) => return add_read_error(&origin, &error, &mut self.problems),
            Ok(text) => text,
        };
        let text = if appended.is_empty() { text } else { format!("{text}\n{appended}") };
        match value::parse(&text, syntax::message) {
            Ok(table) => self.add(&origin, table),
            Err(message) => self.problems.add(&origin, message),
        }
    }

    /// Adds the variables with our prefix.
    pub(super) fn add_variables(&mut self, all: impl IntoIterator<Item = (String, String)>) {
        let is_ours = |(name, value): &(String, String)| {
            let key = name.strip_prefix(PREFIX).filter(|_| name != BUILD_VARIABLE);
            key.is_some_and(|key| !is_service_link(key, value))
        };
        // Sorted, so that the result does not depend on the order of the variables.
        let variables = BTreeMap::from_iter(all).into_iter().filter(is_ours);
        for ((name, value), number) in variables.zip(1..) {
            let path = name[PREFIX.len()..].to_ascii_lowercase();
            let origin = Origin::Environment(name);
            if number > MAX_VARIABLES {
                self.problems.add(&origin, "too many variables (more than 100)");
            } else {
                self.set(&path, &value, origin);
            }
        }
    }

    /// Adds flags: keys, or `port`, with their values as text. No layer may follow.
    pub(super) fn add_flags(&mut self, flags: &[(&str, String)]) {
        for (name, value) in flags {
            let flag =
                keys::at_top().find(|key| key.name == *name).map_or("--port", |key| key.flag);
            self.set(name, value, Origin::Flag(flag.to_owned()));
        }
        if let Some((port, origin)) = self.port.take() {
            self.set_port(&port, origin);
        }
    }

    /// Sets a key to text. Two underscores separate the keys of nested tables.
    fn set(&mut self, path: &str, text: &str, origin: Origin) {
        match path {
            "port" => return self.port = Some((text.to_owned(), origin)),
            "listen" => self.port = None,
            _ => {}
        }
        // No table is nested deeper; the rest of a longer name is one unknown key.
        let mut keys: Vec<&str> = path.splitn(3, "__").collect();
        let key = keys.remove(0);
        let nest = |value, key: &str| Value::Table([(key.to_owned(), value)].into());
        let value = keys.into_iter().rfold(Value::untyped(text), nest);
        let value = value.over(self.merged().remove(key).map(|lower| lower.value));
        self.add(&origin, [(key.to_owned(), value)].into());
    }

    fn set_port(&mut self, port: &str, origin: Origin) {
        let key = keys::LISTEN.info.name;
        let Some(listen) = self.merged().remove(key) else { return };
        let given = Value::untyped(port);
        let Some(port) = given.as_integer().filter(|port: &u16| *port != 0) else {
            let message = format!("port {given} is invalid; expected a number from 1 to 65535");
            return self.problems.add(&origin, message);
        };
        match parse::listen(&listen.value) {
            Ok(Listen::Tcp(mut address)) => {
                address.set_port(port);
                self.set(key, &address.to_string(), origin);
            }
            Ok(Listen::Unix(_)) => {
                let (value, source) = (&listen.value, &listen.origin);
                let message =
                    format!("{port} conflicts with listen {value} ({source}), which has no port");
                self.problems.add(&origin, message);
            }
            // An invalid `listen` is reported when it is read.
            Err(_) => {}
        }
    }
}

/// Returns the defaults of keys, without those that depend on something else.
pub(super) fn defaults(keys: impl Iterator<Item = &'static KeyInfo>) -> Table {
    let fixed = keys.filter(|key| key.described_default.is_empty());
    // Tests parse all defaults.
    fixed.filter_map(|key| Some((key.name.to_owned(), parse_value(key.default)?))).collect()
}

/// Returns whether Kubernetes sets this variable for a Service whose name begins with ours.
fn is_service_link(key: &str, value: &str) -> bool {
    let words: Vec<&str> = key.split('_').collect();
    (0..words.len()).any(|index| match &words[index..] {
        ["SERVICE", "HOST"] | ["SERVICE", "PORT", ..] => true,
        ["PORT"] => value.contains("://"),
        ["PORT", number, "TCP" | "UDP" | "SCTP", rest @ ..] => {
            number.parse::<u16>().is_ok() && matches!(rest, [] | ["PROTO" | "PORT" | "ADDR"])
        }
        _ => false,
    })
}

/// Returns the machine's name (uname(2)), or `localhost` if it has none.
// Not from /proc/sys, which the service cannot see.
fn host_name() -> String {
    match rustix::system::uname().nodename().to_string_lossy().trim() {
        "" | "(none)" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// Reads a regular file. Other files may block, be readable only once, or have no end.
fn read(path: &Path) -> io::Result<String> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    // A socket cannot be opened.
    let metadata = opened.as_ref().map_or_else(|_| fs::metadata(path), fs::File::metadata);
    let is_null = |it: &fs::Metadata| it.file_type().is_char_device() && it.rdev() == NULL_DEVICE;
    if metadata.is_ok_and(|it| !it.is_file() && !is_null(&it)) {
        let message = "is not a regular file (it must be readable more than once)";
        return Err(io::Error::other(message));
    }
    let mut bytes = Vec::new();
    opened?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("is longer than {MAX_FILE_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let position = error.utf8_error().valid_up_to();
        io::Error::other(format!("is not valid UTF-8 at byte {position}; save it as UTF-8"))
    })
}

fn add_read_error(origin: &Origin, error: &io::Error, problems: &mut Problems) {
    let errno = Errno::from_io_error(error);
    let what = if errno.is_some() { "cannot be read: " } else { "" };
    problems.add(origin, format!("{what}{error}"));
    // Lack of resources or a disk error: the configuration may be valid.
    problems.is_temporary |= is_lack_of_resources(error)
        || matches!(errno, Some(Errno::AGAIN | Errno::INTR | Errno::IO));
}

/// Returns whether an error means that descriptors or memory have run out.
pub(crate) fn is_lack_of_resources(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_of_resources_is_temporary() {
        let is_temporary = |errno: Errno| {
            let mut problems = Problems::default();
            add_read_error(&Origin::File("/f".into()), &errno.into(), &mut problems);
            assert!(problems.to_string().starts_with("/f: cannot be read: "), "{problems}");
            problems.is_temporary
        };
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN, Errno::IO] {
            assert!(is_temporary(errno), "{errno}");
        }
        for errno in [Errno::NOENT, Errno::ACCESS, Errno::NOTDIR, Errno::LOOP, Errno::PERM] {
            assert!(!is_temporary(errno), "{errno}");
        }
    }
}
