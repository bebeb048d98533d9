//! The machine's I2C adapters, as sysfs and the device nodes show them.
//!
//! In a container, the node `/dev/i2c-1` may be that of the host's adapter 7. A node belongs to the
//! adapter whose number is its minor number, whatever its name is.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{major, minor};

use super::{BusName, Location, OpenError};
use crate::printable::escape;

/// Adapters and chips in sysfs.
pub(super) const DEVICES: &str = "/sys/bus/i2c/devices";

/// An I2C adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adapter {
    /// The N of `/dev/i2c-N`.
    pub number: u8,
    /// Number by which the kernel, sysfs and other containers know it.
    pub kernel_number: u32,
    /// Name given by its driver.
    pub name: String,
    /// Whether it has a device node.
    pub has_node: bool,
    /// The kernel's mux that it is a channel of.
    pub(crate) upstream: Option<Upstream>,
}

/// The kernel's mux upstream of an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upstream {
    /// Kernel's numbers of the adapter, and of the one that the mux is on.
    adapter: u32,
    pub(super) parent: u32,
    /// Device of the mux, such as `1-0070`, if sysfs shows it.
    pub(super) mux: String,
    pub(super) channel: String,
    /// Whether the kernel deselects the channel after each transfer.
    pub(super) disconnects: bool,
}

impl Upstream {
    /// Reads the mux of an adapter from its device in sysfs and its name, which is
    /// `i2c-N-mux (chan_id M)`.
    fn read(device: &Path, name: &str, adapter: u32) -> Option<Self> {
        let mux = link_name(&device.join("mux_device"));
        let from_name =
            name.strip_prefix("i2c-").and_then(|name| name.split_once("-mux (chan_id "));
        let parent = from_name
            .map(|(parent, _)| parent)
            .or_else(|| Some(mux.as_ref()?.split_once('-')?.0))
            .and_then(|parent| parent.parse().ok())
            .filter(|parent| *parent != adapter)?;
        let idle_state = fs::read_to_string(device.join("mux_device/idle_state"));
        Some(Self {
            adapter,
            parent,
            mux: mux.unwrap_or_else(|| format!("on bus {parent}")),
            channel: from_name.map_or(adapter.to_string(), |(_, channel)| channel.replace(')', "")),
            // MUX_IDLE_DISCONNECT of the kernel.
            disconnects: idle_state.is_ok_and(|state| state.trim() == "-2"),
        })
    }
}

/// The adapters in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub struct Adapters(pub(crate) Vec<Adapter>);

/// Returns the kernel's number of the adapter of a device node; `None`: the file is not one.
type KernelNumber = fn(&Path) -> io::Result<Option<u32>>;

impl Adapters {
    /// Returns all adapters, including those without a device node: the module `i2c-dev` is not
    /// loaded then, or the container has no access.
    pub fn read() -> Self {
        Self::read_in(Path::new(DEVICES), Path::new("/dev"), kernel_number)
    }

    pub(super) fn read_in(devices: &Path, nodes: &Path, kernel_number: KernelNumber) -> Self {
        let in_dev: BTreeSet<u8> = numbers(nodes).collect();
        let mut adapters: Vec<Adapter> = Vec::new();
        for number in in_dev.iter().copied().chain(numbers(devices)) {
            let has_node = in_dev.contains(&number);
            let node = nodes.join(format!("i2c-{number}"));
            let of_node = if has_node { kernel_number(&node).ok().flatten() } else { None };
            let kernel_number = of_node.unwrap_or(number.into());
            let device = devices.join(format!("i2c-{kernel_number}"));
            let name = fs::read_to_string(device.join("name")).unwrap_or_default();
            let upstream = Upstream::read(&device, name.trim(), kernel_number);
            let is_known = |known: &Adapter| {
                known.number == number || !has_node && known.kernel_number == kernel_number
            };
            if !adapters.iter().any(is_known) {
                let name = escape(name.trim());
                adapters.push(Adapter { number, kernel_number, name, has_node, upstream });
            }
        }
        adapters.sort_by_key(|adapter| adapter.number);
        Self(adapters)
    }

    /// Returns all adapters.
    pub fn iter(&self) -> impl Iterator<Item = &Adapter> {
        self.0.iter()
    }

    /// Returns the adapter that a bus currently refers to.
    ///
    /// # Errors
    /// [`OpenError`] if there is none, or more than one.
    pub fn resolve(&self, bus: BusName) -> Result<&Adapter, OpenError> {
        self.resolve_with(bus, kernel_number)
    }

    fn resolve_with(
        &self,
        bus: BusName,
        kernel_number: KernelNumber,
    ) -> Result<&Adapter, OpenError> {
        match bus {
            BusName::Number(number) => {
                let adapter = self.0.iter().find(|it| it.has_node && it.number == number);
                adapter.ok_or_else(|| OpenError::Absent { bus: number, existing: self.nodes() })
            }
            BusName::Path(path) => {
                let number = kernel_number(Path::new(path)).map_err(|source| {
                    if source.kind() == io::ErrorKind::NotFound {
                        OpenError::NoPath(path, self.nodes())
                    } else {
                        OpenError::Io { node: path.to_owned(), source }
                    }
                })?;
                let number = number.ok_or_else(|| OpenError::NotAnAdapter(path.to_owned()))?;
                let mut nodes = self.0.iter().filter(|it| it.has_node);
                nodes.find(|it| it.kernel_number == number).ok_or(OpenError::NoNode(path, number))
            }
            BusName::Adapter(name) => {
                let matching = self.0.iter().filter(|it| it.name.starts_with(name));
                let (with_node, without): (Vec<_>, Vec<_>) = matching.partition(|it| it.has_node);
                match with_node[..] {
                    [adapter] => Ok(adapter),
                    [] => Err(match without.first() {
                        Some(it) => OpenError::Absent { bus: it.number, existing: self.nodes() },
                        None => OpenError::NoName(name, describe(&self.0)),
                    }),
                    _ => Err(OpenError::Ambiguous(name, describe(with_node))),
                }
            }
        }
    }

    /// Returns a location with the number of its bus, if it has an adapter at present.
    pub fn numbered(&self, location: Location) -> Location {
        let adapter = self.resolve(location.bus).ok();
        adapter.map_or(location, |it| Location { bus: it.number.into(), ..location })
    }

    fn nodes(&self) -> Vec<u8> {
        self.0.iter().filter(|it| it.has_node).map(|it| it.number).collect()
    }

    /// Returns the adapter with the kernel's number.
    pub(super) fn by_kernel_number(&self, number: u32) -> Option<&Adapter> {
        self.0.iter().find(|adapter| adapter.kernel_number == number)
    }
}

fn describe<'a>(adapters: impl IntoIterator<Item = &'a Adapter>) -> String {
    let described = adapters.into_iter().map(|it| format!("{} ({})", it.number, it.name));
    described.collect::<Vec<_>>().join(", ")
}

/// Returns the file name that a link refers to.
pub(super) fn link_name(link: &Path) -> Option<String> {
    Some(fs::read_link(link).ok()?.file_name()?.to_string_lossy().into_owned())
}

/// Returns the N of each `i2c-N` in a directory.
fn numbers(directory: &Path) -> impl Iterator<Item = u8> {
    fs::read_dir(directory).into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name();
        name.to_str()?.strip_prefix("i2c-")?.parse().ok()
    })
}

/// Reads the minor number of an I2C device node; follows links.
fn kernel_number(node: &Path) -> io::Result<Option<u32>> {
    /// `I2C_MAJOR` of the kernel.
    const MAJOR: u32 = 89;
    let metadata = fs::metadata(node)?;
    let device = metadata.rdev();
    let is_i2c = metadata.file_type().is_char_device() && major(device) == MAJOR;
    Ok(is_i2c.then(|| minor(device)))
}

#[cfg(test)]
pub(crate) mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A machine with fake directories: a node is a file that contains its minor number.
    pub(crate) struct Machine(TempDir);

    impl Machine {
        /// Returns a machine with these adapters of the kernel.
        pub(crate) fn new(adapters: &[(u32, &str)]) -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            fs::create_dir(machine.0.path().join("dev")).unwrap();
            for (number, name) in adapters {
                let device = machine.device(&format!("i2c-{number}"));
                fs::create_dir_all(&device).unwrap();
                fs::write(device.join("name"), format!("{name}\n")).unwrap();
            }
            machine
        }

        pub(crate) fn device(&self, name: &str) -> std::path::PathBuf {
            self.0.path().join("devices").join(name)
        }

        /// Makes an adapter a channel of a mux with this idle state.
        pub(crate) fn add_channel(&self, adapter: u32, mux: &str, idle_state: &str) {
            fs::create_dir_all(self.device(mux)).unwrap();
            fs::write(self.device(mux).join("idle_state"), format!("{idle_state}\n")).unwrap();
            let link = self.device(&format!("i2c-{adapter}/mux_device"));
            std::os::unix::fs::symlink(format!("../{mux}"), link).unwrap();
        }

        /// Adds a device node with a minor number.
        pub(crate) fn add_node(&self, name: &str, minor: u32) {
            fs::write(self.0.path().join("dev").join(name), minor.to_string()).unwrap();
        }

        pub(crate) fn adapters(&self) -> Adapters {
            let nodes = self.0.path().join("dev");
            Adapters::read_in(&self.0.path().join("devices"), &nodes, minor_in_file)
        }

        fn resolve(&self, bus: &str) -> Result<Adapter, String> {
            let bus = bus.replace("/dev", self.0.path().join("dev").to_str().unwrap());
            let adapters = self.adapters();
            let adapter = adapters.resolve_with(bus.parse().unwrap(), minor_in_file);
            adapter
                .cloned()
                .map_err(|error| error.to_string().replace(self.0.path().to_str().unwrap(), ""))
        }
    }

    fn minor_in_file(node: &Path) -> io::Result<Option<u32>> {
        Ok(fs::read_to_string(node)?.parse().ok())
    }

    #[test]
    fn adapters_are_found_by_device_and_by_node() {
        let machine = Machine::new(&[(20, ""), (1, "bcm2835 (i2c@7e804000)")]);
        fs::create_dir(machine.device("1-0040")).unwrap();
        machine.add_node("i2c-3", 3);
        let found: Vec<_> =
            machine.adapters().0.into_iter().map(|it| (it.number, it.name, it.has_node)).collect();
        let expected = [(1, "bcm2835 (i2c@7e804000)", false), (3, "", true), (20, "", false)];
        assert_eq!(found, expected.map(|(number, name, node)| (number, name.to_owned(), node)));
    }

    #[test]
    fn node_in_a_container_is_identified_by_minor_number() {
        let machine = Machine::new(&[(1, "bcm2835 (i2c@7e804000)"), (7, "MCP2221 usb-i2c bridge")]);
        machine.add_node("i2c-1", 7);
        let adapters = machine.adapters();
        assert_eq!(adapters.0.len(), 1, "{adapters:?}");
        for bus in ["1", "name:MCP2221", "/dev/i2c-1"] {
            let adapter = machine.resolve(bus).unwrap();
            assert_eq!((adapter.number, adapter.kernel_number), (1, 7), "{bus}");
            assert_eq!(adapter.name, "MCP2221 usb-i2c bridge");
        }
        assert!(machine.resolve("7").is_err(), "has no node");
    }

    #[test]
    fn bus_is_found_by_path_and_by_name() {
        let machine = Machine::new(&[(1, "bcm2835"), (5, "MCP2221 a"), (6, "MCP2221 b")]);
        for number in [1, 5, 6] {
            machine.add_node(&format!("i2c-{number}"), number);
        }
        let dev = machine.0.path().join("dev");
        std::os::unix::fs::symlink("i2c-5", dev.join("i2c-power")).unwrap();
        machine.add_node("i2c-old", 6);
        machine.add_node("i2c-none", 9);
        fs::write(dev.join("null"), "not a number").unwrap();
        let number = |bus: &str| machine.resolve(bus).map(|adapter| adapter.number);
        assert_eq!(number("/dev/i2c-power"), Ok(5));
        assert_eq!(number("/dev/i2c-old"), Ok(6), "another node of the same adapter");
        assert_eq!(number("name:MCP2221 b"), Ok(6));
        let error = |bus: &str| machine.resolve(bus).unwrap_err();
        assert_eq!(
            error("name:MCP2221"),
            "bus name:MCP2221: several adapter names start with this: 5 (MCP2221 a), \
             6 (MCP2221 b); give more of the name, or a path"
        );
        assert_eq!(
            error("name:CP2112"),
            "bus name:CP2112: no adapter name starts with this; existing: \
             1 (bcm2835), 5 (MCP2221 a), 6 (MCP2221 b)"
        );
        assert_eq!(
            error("/dev/i2c-usb"),
            "/dev/i2c-usb does not exist (existing buses: /dev/i2c-1, /dev/i2c-5, /dev/i2c-6); \
             connect its adapter, or correct the udev rule that makes the link"
        );
        assert_eq!(
            error("/dev/null"),
            "/dev/null is not an I2C adapter; expected a device node /dev/i2c-N, or a link to one"
        );
        assert_eq!(
            error("/dev/i2c-none"),
            "/dev/i2c-none is the I2C adapter 9, which has no device node /dev/i2c-N; it can be \
             opened only under such a name"
        );
    }

    #[test]
    fn real_device_nodes_are_judged_by_major_number() {
        assert!(matches!(kernel_number(Path::new("/dev/null")), Ok(None)));
        assert!(matches!(kernel_number(Path::new("/")), Ok(None)));
        assert!(kernel_number(Path::new("/dev/no such node")).is_err());
    }
}
