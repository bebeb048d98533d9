//! The I2C adapters that the kernel has, by number and name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// An I2C adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// The N of `/dev/i2c-N`.
    pub number: u8,
    /// What its driver calls it.
    pub name: String,
}

/// Every adapter, by number; those without a device node as well, so that the missing module `i2c-dev` can be told from a bus that is off.
#[must_use]
pub fn adapters() -> Vec<Adapter> {
    adapters_in(Path::new("/sys/bus/i2c/devices"), Path::new("/dev"))
}

fn adapters_in(devices: &Path, nodes: &Path) -> Vec<Adapter> {
    let numbers = numbers(devices).chain(numbers(nodes));
    let name = |number: u8| {
        let name = fs::read_to_string(devices.join(format!("i2c-{number}/name")));
        name.unwrap_or_default().trim().to_owned()
    };
    let named: BTreeMap<u8, String> = numbers.map(|number| (number, name(number))).collect();
    named
        .into_iter()
        .map(|(number, name)| Adapter { number, name })
        .collect()
}

/// The N of each `i2c-N` in a directory.
pub(super) fn numbers(directory: &Path) -> impl Iterator<Item = u8> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            name.to_str()?.strip_prefix("i2c-")?.parse().ok()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_is_found_by_its_device_or_its_node_and_a_chip_is_none() {
        let root = std::env::temp_dir().join(format!("ina260-adapters-{}", std::process::id()));
        let (devices, nodes) = (root.join("devices"), root.join("dev"));
        for directory in ["devices/i2c-20", "devices/1-0040", "devices/i2c-1", "dev"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::write(devices.join("i2c-1/name"), "bcm2835 (i2c@7e804000)\n").unwrap();
        fs::write(nodes.join("i2c-3"), "").unwrap();
        let found = adapters_in(&devices, &nodes);
        fs::remove_dir_all(&root).unwrap();
        let found: Vec<_> = found.iter().map(|a| (a.number, a.name.as_str())).collect();
        assert_eq!(found, [(1, "bcm2835 (i2c@7e804000)"), (3, ""), (20, "")]);
    }
}
