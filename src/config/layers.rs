//! Merges the four layers: defaults, file, environment variables, flags.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use figment::value::{Dict, Map, Tag, Value as Raw};
use figment::{Figment, Metadata, Profile, Provider};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::keys::{self, KeyInfo};
use super::listen::Listen;
use super::node::{Node, Origin, Table};
use super::problem::Problems;
use super::toml_text::{self, parse};
use super::{parse, print, syntax};

const PREFIX: &str = "INA260_EXPORTER_";
/// Variable of the build, which may still be in the environment of `make run`.
const BUILD_VARIABLE: &str = "INA260_EXPORTER_REVISION";
/// Far more than any configuration needs.
const MAX_FILE_BYTES: u64 = 1 << 18;
const MAX_VARIABLES: usize = 100;
/// Device number of `/dev/null`, which is an empty file each time that it is read.
const NULL_DEVICE: u64 = 0x103;

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
    pub(super) has_file: bool,
}

impl Layers {
    /// Returns the layer of the defaults alone.
    pub(super) fn new() -> Self {
        let mut layers = Self { figment: Figment::new(), origins: Vec::new(), has_file: false };
        let mut defaults = defaults(keys::at_top());
        let host_name = print::quoted(&host_name());
        defaults.insert(keys::HOSTNAME.info.name.to_owned(), host_name.into());
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
        let text = match read(path) {
            Ok(text) => {
                self.has_file = true;
                text
            }
            Err(error) if optional && error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return add_read_error(&origin, &error, problems),
        };
        let text = if appended.is_empty() { text } else { format!("{text}\n{appended}") };
        match parse(&text) {
            Ok(dict) => self.add(origin, dict),
            Err(error) => problems.add(&origin, syntax::message(&text, &error)),
        }
    }

    /// Adds the variables with our prefix; two underscores separate the keys of nested tables.
    pub(super) fn add_environment(
        &mut self,
        environment: impl IntoIterator<Item = (String, String)>,
        problems: &mut Problems,
    ) {
        // Sorted, so that the result does not depend on the order of the variables.
        for (name, value) in BTreeMap::from_iter(environment) {
            let Some(key) = name.strip_prefix(PREFIX) else {
                continue;
            };
            if name == BUILD_VARIABLE || is_service_link(key, &value) {
                continue;
            }
            if self.origins.len() > MAX_VARIABLES {
                problems.add(&Origin::Environment(name), "too many variables (more than 100)");
                continue;
            }
            let key = key.to_ascii_lowercase();
            if key == "port" {
                self.set_port(&value, Origin::Environment(name), problems);
                continue;
            }
            // No table is nested deeper; the rest of a longer name is one unknown key.
            let path = key.splitn(3, "__").collect::<Vec<_>>().into_iter().rev();
            let nest = |value, key: &str| Raw::from(Dict::from([(key.to_owned(), value)]));
            if let Raw::Dict(_, dict) = path.fold(Raw::from(value), nest) {
                self.add(Origin::Environment(name), dict);
            }
        }
    }

    pub(super) fn set_port(&mut self, port: &str, origin: Origin, problems: &mut Problems) {
        let key = keys::LISTEN.info.name;
        let Some(listen) = self.merged().remove(key) else {
            return;
        };
        let given = Node::untyped(port, origin.clone());
        let port = given.as_integer().and_then(|port| u16::try_from(port).ok());
        match (parse::listen(&listen), port.filter(|port| *port != 0)) {
            (_, None) => problems.add(
                &origin,
                format!("port {given} is invalid; expected a number from 1 to 65535"),
            ),
            (Ok(Listen::Tcp(address)), Some(port)) => {
                let address = SocketAddr::new(address.ip(), port).to_string();
                self.add(origin, Dict::from([(key.to_owned(), address.into())]));
            }
            (Ok(Listen::Unix(_)), Some(port)) => {
                let from = &listen.origin;
                let message =
                    format!("{port} conflicts with listen {listen} ({from}), which has no port");
                problems.add(&origin, message);
            }
            // The invalid `listen` is reported when it is read.
            (Err(_), Some(_)) => {}
        }
    }

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
    parse(&lines.collect::<String>()).unwrap_or_default()
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
    let refused = |message: String| io::Error::new(ErrorKind::InvalidData, message);
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    // A socket cannot be opened.
    let metadata = opened.as_ref().map_or_else(|_| fs::metadata(path), fs::File::metadata);
    let is_null = |it: &fs::Metadata| it.file_type().is_char_device() && it.rdev() == NULL_DEVICE;
    if metadata.is_ok_and(|it| !it.is_file() && !is_null(&it)) {
        return Err(refused(
            "is not a regular file (it must be readable more than once)".to_owned(),
        ));
    }
    let mut bytes = Vec::new();
    opened?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(refused(format!("is longer than {MAX_FILE_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let position = error.utf8_error().valid_up_to();
        refused(format!("is not valid UTF-8 at byte {position}; save it as UTF-8"))
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

/// Returns whether descriptors or memory were missing.
pub fn is_lack_of_resources(error: &io::Error) -> bool {
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
