//! I2C adapters known to the kernel, by number and name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::printable::escape;

/// An I2C adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// The N of `/dev/i2c-N`.
    pub number: u8,
    /// Name given by its driver.
    pub name: String,
}

/// Returns all adapters in the order of their numbers, including those without a device node, for
/// which the module `i2c-dev` is not loaded.
pub fn adapters() -> Vec<Adapter> {
    adapters_in(Path::new("/sys/bus/i2c/devices"), Path::new("/dev"))
}

fn adapters_in(devices: &Path, nodes: &Path) -> Vec<Adapter> {
    let numbers: BTreeSet<u8> = numbers(devices).chain(numbers(nodes)).collect();
    let adapter = |number: u8| {
        let name = fs::read_to_string(devices.join(format!("i2c-{number}/name")));
        let name = escape(name.unwrap_or_default().trim());
        Adapter { number, name }
    };
    numbers.into_iter().map(adapter).collect()
}

/// Returns the N of each `i2c-N` in a directory.
pub(super) fn numbers(directory: &Path) -> impl Iterator<Item = u8> {
    fs::read_dir(directory).into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name();
        name.to_str()?.strip_prefix("i2c-")?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_are_found_by_device_and_by_node() {
        let root = tempfile::tempdir().unwrap();
        let (devices, nodes) = (root.path().join("devices"), root.path().join("dev"));
        for directory in ["devices/i2c-20", "devices/1-0040", "devices/i2c-1", "dev"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        fs::write(devices.join("i2c-1/name"), "bcm2835 (i2c@7e804000)\u{1b}[2J\n").unwrap();
        fs::write(nodes.join("i2c-3"), "").unwrap();
        let found = adapters_in(&devices, &nodes);
        let found: Vec<_> = found.iter().map(|a| (a.number, a.name.as_str())).collect();
        assert_eq!(found, [(1, "bcm2835 (i2c@7e804000)\\u{1b}[2J"), (3, ""), (20, "")]);
    }
}
