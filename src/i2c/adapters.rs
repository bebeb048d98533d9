//! The machine's I2C adapters, as sysfs and the device nodes show them.
//!
//! In a container, the node `/dev/i2c-1` may be that of the host's adapter 7. A node belongs to the
//! adapter whose number is its minor number, whatever its name is.
//!
//! Each channel of a mux that the kernel controls is an adapter, on the wires of its upstream bus.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{major, minor};

use super::mux::Channel;
use super::{BusName, Location, OpenError};
use crate::printable::escape;

pub(super) const DEVICES: &str = "/sys/bus/i2c/devices";

#[derive(Clone, Debug, Default)]
pub(crate) struct Adapter {
    /// The N of `/dev/i2c-N`.
    pub(crate) number: u8,
    /// Number by which the kernel, sysfs and other containers know it.
    pub(crate) kernel_number: u32,
    pub(crate) name: String,
    pub(crate) has_node: bool,
    pub(crate) upstream: Option<Upstream>,
}

/// A channel of a mux, upstream of an adapter or of a chip.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Upstream {
    /// Kernel's number of the adapter that the mux is on.
    parent: u32,
    /// Kernel's number of the channel's own adapter; 0 if the exporter switches the mux.
    adapter: u32,
    /// Device of the kernel's mux, such as `1-0070`, if sysfs shows it. Empty for those that the
    /// exporter switches: they are like one mux, since one channel of all is selected at a time.
    pub(super) mux: String,
    channel: String,
    /// The kernel deselects the channel after each transfer.
    disconnects: bool,
}

impl Upstream {
    /// Reads the mux of an adapter from sysfs and from its name: `i2c-N-mux (chan_id M)`.
    fn read(device: &Path, name: &str, adapter: u32) -> Option<Self> {
        let mux = link_name(&device.join("mux_device"));
        let from_name =
            name.strip_prefix("i2c-").and_then(|name| name.split_once("-mux (chan_id "));
        let parent = from_name
            .or_else(|| mux.as_ref()?.split_once('-'))
            .and_then(|(parent, _)| parent.parse().ok())
            .filter(|parent| *parent != adapter)?;
        let idle_state = fs::read_to_string(device.join("mux_device/idle_state"));
        Some(Self {
            parent,
            adapter,
            mux: mux.unwrap_or_else(|| format!("on bus {parent}")),
            channel: from_name.map_or(adapter.to_string(), |(_, channel)| channel.replace(')', "")),
            // MUX_IDLE_DISCONNECT of the kernel.
            disconnects: idle_state.is_ok_and(|state| state.trim() == "-2"),
        })
    }

    fn name(&self) -> &str {
        if self.mux.is_empty() { &self.channel } else { &self.mux }
    }
}

pub(crate) struct KernelMux {
    /// Its device: `1-0070`.
    pub(crate) name: String,
    pub(crate) bus: BusName,
    pub(crate) channels: Vec<BusName>,
    pub(crate) disconnects: bool,
}

/// The adapters in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Adapters(pub(crate) Vec<Adapter>);

/// Returns the kernel's number of the adapter of a device node; `None`: the file is not one.
type KernelNumber = fn(&Path) -> io::Result<Option<u32>>;

impl Adapters {
    /// Returns all adapters, including those without a device node: the module `i2c-dev` is not
    /// loaded then, or the container has no access.
    pub(crate) fn read() -> Self {
        Self::read_in(Path::new(DEVICES), Path::new("/dev"), kernel_number)
    }

    fn read_in(devices: &Path, nodes: &Path, kernel_number: KernelNumber) -> Self {
        let of_node = |number: u8| {
            let minor = kernel_number(&nodes.join(format!("i2c-{number}"))).ok().flatten();
            (number, minor.unwrap_or(number.into()))
        };
        let in_dev: BTreeMap<u8, u32> = numbers(nodes).map(of_node).collect();
        let is_new = |(number, kernel_number): &(u8, u32)| {
            !in_dev.contains_key(number) && !in_dev.values().any(|known| known == kernel_number)
        };
        let in_sysfs = numbers(devices).map(|number| (number, u32::from(number))).filter(is_new);
        let all: BTreeMap<u8, u32> = in_sysfs.chain(in_dev.clone()).collect();
        let adapters = all.into_iter().map(|(number, kernel_number)| {
            let device = devices.join(format!("i2c-{kernel_number}"));
            let name = fs::read_to_string(device.join("name")).unwrap_or_default();
            Adapter {
                number,
                kernel_number,
                upstream: Upstream::read(&device, name.trim(), kernel_number),
                name: escape(name.trim()),
                has_node: in_dev.contains_key(&number),
            }
        });
        Self(adapters.collect())
    }

    /// Returns the adapter that a bus currently refers to.
    pub(crate) fn resolve(&self, bus: BusName) -> Result<&Adapter, OpenError> {
        self.resolve_with(bus, kernel_number)
    }

    fn resolve_with(
        &self,
        bus: BusName,
        kernel_number: KernelNumber,
    ) -> Result<&Adapter, OpenError> {
        let nodes = || self.0.iter().filter(|it| it.has_node);
        let existing = || nodes().map(|it| it.number).collect();
        match bus {
            BusName::Number(bus) => nodes()
                .find(|it| it.number == bus)
                .ok_or_else(|| OpenError::Absent { bus, existing: existing() }),
            BusName::Path(path) => match kernel_number(Path::new(path)) {
                Ok(Some(number)) => nodes()
                    .find(|it| it.kernel_number == number)
                    .ok_or(OpenError::NoNode(path, number)),
                Ok(None) => Err(OpenError::NotAnAdapter(path.to_owned())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Err(OpenError::NoPath(path, existing()))
                }
                Err(source) => Err(OpenError::Io { node: path.to_owned(), source }),
            },
            BusName::Adapter(name) => {
                let matching = self.0.iter().filter(|it| it.name.starts_with(name));
                let (with_node, without): (Vec<_>, Vec<_>) = matching.partition(|it| it.has_node);
                match (&with_node[..], &without[..]) {
                    ([adapter], _) => Ok(adapter),
                    ([], [absent, ..]) => {
                        Err(OpenError::Absent { bus: absent.number, existing: existing() })
                    }
                    ([], []) => Err(OpenError::NoName(name, describe(&self.0))),
                    _ => Err(OpenError::Ambiguous(name, describe(with_node))),
                }
            }
        }
    }

    /// Replaces the bus of a location by its number, if it has an adapter at present.
    pub(crate) fn numbered(&self, location: Location) -> Location {
        let adapter = self.resolve(location.bus).ok();
        adapter.map_or(location, |it| Location { bus: it.number.into(), ..location })
    }

    fn by_kernel_number(&self, number: u32) -> Option<&Adapter> {
        self.0.iter().find(|adapter| adapter.kernel_number == number)
    }

    pub(crate) fn kernel_muxes(&self) -> Vec<KernelMux> {
        let mut muxes: Vec<KernelMux> = Vec::new();
        for adapter in &self.0 {
            let Some(upstream) = &adapter.upstream else { continue };
            let Some(parent) = self.by_kernel_number(upstream.parent) else { continue };
            let channel = adapter.number.into();
            match muxes.iter_mut().find(|mux| mux.name == upstream.mux) {
                Some(mux) => mux.channels.push(channel),
                None => muxes.push(KernelMux {
                    name: upstream.mux.clone(),
                    bus: parent.number.into(),
                    channels: vec![channel],
                    disconnects: upstream.disconnects,
                }),
            }
        }
        muxes
    }

    /// Returns why two chips respond to the same transfer, if they do.
    pub(crate) fn conflict(&self, a: Location, b: Location) -> Option<String> {
        let ((root_a, steps_a), (root_b, steps_b)) = (self.way(a)?, self.way(b)?);
        if (a.address, root_a) != (b.address, root_b) {
            return None;
        }
        let common = steps_a.iter().zip(&steps_b).take_while(|(a, b)| a == b).count();
        let (a, b) = (&steps_a[common..], &steps_b[common..]);
        let (first_a, first_b) = match (a, b) {
            ([], []) => return Some("both buses are the same adapter".to_owned()),
            ([step, ..], []) | ([], [step, ..]) => {
                return Some(format!(
                    "one is upstream, the other downstream of mux {}, on the same wires; keep the \
                     one downstream",
                    step.name()
                ));
            }
            ([first_a, ..], [first_b, ..]) => (first_a, first_b),
        };
        let both_disconnect = [a, b].iter().all(|steps| steps.iter().any(|it| it.disconnects));
        // One channel of a mux is selected at a time. Muxes that sysfs does not show share a name.
        let excludes = first_a.mux == first_b.mux && first_a.channel != first_b.channel;
        if excludes || both_disconnect {
            return None;
        }
        let kernel = if first_a.mux.is_empty() { first_b } else { first_a };
        Some(format!(
            "they are downstream of two muxes on one bus, {} and {}, whose channels stay selected, \
             so that both respond; let the kernel deselect them (write -2 to idle_state of each, \
             e.g. `echo -2 | sudo tee {DEVICES}/{}/idle_state`), or unbind the kernel's driver and \
             set `mux` for both",
            first_a.name(),
            first_b.name(),
            kernel.mux
        ))
    }

    /// Returns the adapter at the root and the mux channels on the way to a chip.
    fn way(&self, location: Location) -> Option<(u32, Vec<Upstream>)> {
        /// Upper bound on nested muxes, more than any bus can drive. sysfs has no loops, but a
        /// container may provide a fake one.
        const MAX_DEPTH: usize = 16;
        // A module that is not loaded yet does not hide a conflict.
        let by_number = || self.0.iter().find(|it| location.bus == it.number.into());
        let mut root = self.resolve(location.bus).ok().or_else(by_number)?.kernel_number;
        let own = |channel: Channel| Upstream {
            parent: root,
            adapter: 0,
            mux: String::new(),
            channel: channel.to_string(),
            disconnects: false,
        };
        let mut steps: Vec<Upstream> = location.mux.map(own).into_iter().collect();
        while let Some(upstream) = self.by_kernel_number(root).and_then(|it| it.upstream.clone())
            && steps.len() < MAX_DEPTH
        {
            root = upstream.parent;
            steps.push(upstream);
        }
        steps.reverse();
        Some((root, steps))
    }
}

fn describe<'a>(adapters: impl IntoIterator<Item = &'a Adapter>) -> String {
    let described = adapters.into_iter().map(|it| format!("{} ({})", it.number, it.name));
    described.collect::<Vec<_>>().join(", ")
}

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
             connect its adapter, or correct the udev rule that creates the link"
        );
        assert_eq!(
            error("/dev/null"),
            "/dev/null is not an I2C adapter; expected a device node /dev/i2c-N, or a link to one"
        );
        assert_eq!(
            error("/dev/i2c-none"),
            "/dev/i2c-none is I2C adapter 9, which has no device node /dev/i2c-N; it can be opened \
             only under such a name"
        );
    }

    #[test]
    fn real_device_nodes_are_judged_by_major_number() {
        assert!(matches!(kernel_number(Path::new("/dev/null")), Ok(None)));
        assert!(matches!(kernel_number(Path::new("/")), Ok(None)));
        assert!(kernel_number(Path::new("/dev/no such node")).is_err());
    }

    /// Two muxes on bus 1: 1-0070 with buses 11 and 12, 1-0071 with bus 19; on bus 11 another one,
    /// 11-0072, with bus 30.
    fn machine(idle_states: [&str; 3]) -> Adapters {
        let machine = Machine::new(&[
            (1, "bcm2835 (i2c@7e804000)"),
            (11, "i2c-1-mux (chan_id 0)"),
            (12, "i2c-1-mux (chan_id 1)"),
            (19, "i2c-1-mux (chan_id 0)"),
            (30, "i2c-11-mux (chan_id 0)"),
        ]);
        for (adapter, mux, state) in
            [(11, "1-0070", 0), (19, "1-0071", 1), (30, "11-0072", 2), (12, "1-0070", 0)]
        {
            machine.add_channel(adapter, mux, idle_states[state]);
        }
        machine.adapters()
    }

    fn conflict(adapters: &Adapters, [a, b]: [(&str, &str); 2]) -> Option<String> {
        let location = |(bus, mux)| Location::from_labels(bus, mux, "0x40").unwrap();
        let found = adapters.conflict(location(a), location(b));
        assert_eq!(adapters.conflict(location(b), location(a)).is_some(), found.is_some());
        found
    }

    const AS_IS: [&str; 3] = ["-1", "-1", "-1"];

    #[test]
    fn two_kernel_muxes_conflict_unless_both_disconnect() {
        let at_both = [("11", ""), ("19", "")];
        for (idle_states, is_conflict) in [
            (AS_IS, true),
            (["-2", "-1", "-1"], true),
            (["-1", "-2", "-1"], true),
            (["0", "3", "-1"], true),
            (["-2", "-2", "-1"], false),
        ] {
            let found = conflict(&machine(idle_states), at_both);
            assert_eq!(found.is_some(), is_conflict, "{idle_states:?}");
        }
        let message = conflict(&machine(AS_IS), at_both).unwrap();
        for part in ["1-0070 and 1-0071", "-2 to idle_state", "set `mux` for both"] {
            assert!(message.contains(part), "{message}");
        }
        let elsewhere = Location::from_labels("19", "", "0x41").unwrap();
        let found = machine(AS_IS).conflict(elsewhere, Location { bus: 11.into(), ..elsewhere });
        assert!(found.is_some(), "the same address");
        let other_address = Location::from_labels("11", "", "0x40").unwrap();
        assert_eq!(machine(AS_IS).conflict(elsewhere, other_address), None);
    }

    #[test]
    fn channels_of_one_mux_exclude_each_other() {
        let adapters = machine(AS_IS);
        assert_eq!(conflict(&adapters, [("11", ""), ("12", "")]), None);
        assert_eq!(conflict(&adapters, [("30", ""), ("12", "")]), None);
        assert_eq!(conflict(&adapters, [("1", "0x74:0"), ("1", "0x75:1")]), None);
    }

    #[test]
    fn kernel_mux_and_its_parent_are_one_set_of_wires() {
        for idle_states in [AS_IS, ["-2", "-2", "-2"]] {
            let adapters = machine(idle_states);
            for buses in [["1", "11"], ["1", "30"], ["11", "30"]] {
                let found = conflict(&adapters, buses.map(|bus| (bus, "")));
                let is_upstream = |reason: String| reason.starts_with("one is upstream, ");
                assert!(found.is_some_and(is_upstream), "{buses:?}");
            }
        }
    }

    #[test]
    fn nested_mux_that_disconnects_ends_the_path() {
        let nested = [("30", ""), ("19", "")];
        assert!(conflict(&machine(AS_IS), nested).is_some());
        assert_eq!(conflict(&machine(["-2", "-2", "-1"]), nested), None);
        assert_eq!(conflict(&machine(["-1", "-2", "-2"]), nested), None);
    }

    #[test]
    fn own_mux_next_to_a_kernel_mux_conflicts() {
        let both = [("1", "0x72:0"), ("11", "")];
        assert!(conflict(&machine(["-2", "-2", "-2"]), both).is_some(), "ours stays selected");
    }

    #[test]
    fn mux_is_known_by_the_name_of_its_adapter_alone() {
        let adapters = Machine::new(&[
            (2, "gpio"),
            (3, "i2c-2-mux (chan_id 0)"),
            (4, "i2c-2-mux (chan_id 1)"),
            // Of another mux.
            (5, "i2c-2-mux (chan_id 0)"),
        ])
        .adapters();
        let message = conflict(&adapters, [("3", ""), ("5", "")]).unwrap();
        assert!(message.starts_with("they are downstream of two muxes on one bus"), "{message}");
        assert!(conflict(&adapters, [("2", ""), ("3", "")]).is_some());
        assert_eq!(conflict(&adapters, [("3", ""), ("4", "")]), None);
        let muxes = adapters.kernel_muxes();
        assert_eq!((muxes.len(), muxes[0].bus), (1, 2.into()));
        assert_eq!(muxes[0].channels, [3.into(), 4.into(), 5.into()]);
    }
}
