//! A Linux I2C adapter, `/dev/i2c-N`, through the SMBus calls of rppal.
//!
//! SMBus word calls work on plain I2C and on SMBus-only adapters. They do not release the bus
//! between register number and data (repeated start), which a write followed by a read does.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rppal::i2c::{Error as RppalError, I2c};

use super::adapters::numbers;
use super::{Address, BoundDriver, Bus, Error, OpenError};
use crate::printable::escape;

const EPERM: i32 = 1;
const EIO: i32 = 5;
const EACCES: i32 = 13;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;

/// A Linux I2C adapter. Its device node is reopened after the adapter was removed.
pub struct LinuxBus {
    number: u8,
    node: Option<Node>,
}

/// An open device node.
struct Node {
    i2c: I2c,
    /// Address set in the kernel: saves an ioctl per transfer to the same chip.
    address: Option<Address>,
}

impl LinuxBus {
    /// Returns an adapter that is opened at its first transfer.
    pub const fn closed(number: u8) -> Self {
        Self { number, node: None }
    }

    /// Opens `/dev/i2c-<number>`.
    ///
    /// # Errors
    /// [`OpenError`], whose text includes the remedy.
    pub fn open(number: u8) -> Result<Self, OpenError> {
        let node = Some(open_node(number)?);
        Ok(Self { number, node })
    }

    fn transfer<T>(
        &mut self,
        address: Address,
        call: impl FnOnce(&I2c) -> Result<T, RppalError>,
    ) -> Result<T, Error> {
        let node = match &mut self.node {
            Some(node) => node,
            closed => closed.insert(open_node(self.number).map_err(|error| match error {
                OpenError::Io { source, .. } => io_error(&source),
                OpenError::Denied { .. } => Error::from_errno(EACCES),
                OpenError::Absent { .. } | OpenError::Incapable { .. } => Error::from_errno(ENODEV),
            })?),
        };
        if node.address != Some(address) {
            let result = node.i2c.set_slave_address(u16::from(address.0));
            result.map_err(transfer_error)?;
            node.address = Some(address);
        }
        call(&node.i2c).map_err(transfer_error).inspect_err(|error| {
            // The adapter itself may be gone (a USB adapter that was unplugged).
            if error.errno == ENODEV {
                self.node = None;
            }
        })
    }
}

impl Bus for LinuxBus {
    fn bound_driver(&self, address: Address) -> Option<BoundDriver> {
        bound_driver(self.number, address)
    }

    fn read_word(&mut self, address: Address, register: u8) -> Result<u16, Error> {
        self.transfer(address, |i2c| i2c.smbus_read_word_swapped(register))
    }

    fn write_word(&mut self, address: Address, register: u8, word: u16) -> Result<(), Error> {
        self.transfer(address, |i2c| i2c.smbus_write_word_swapped(register, word))
    }

    fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), Error> {
        self.transfer(address, |i2c| i2c.smbus_send_byte(byte))
    }

    fn receive_byte(&mut self, address: Address) -> Result<u8, Error> {
        self.transfer(address, I2c::smbus_receive_byte)
    }
}

fn open_node(bus: u8) -> Result<Node, OpenError> {
    let i2c = I2c::with_bus(bus).map_err(|error| match error {
        RppalError::Io(source) if source.kind() == io::ErrorKind::NotFound => {
            let mut existing: Vec<u8> = numbers(Path::new("/dev")).collect();
            existing.sort_unstable();
            OpenError::Absent { bus, existing }
        }
        // From the mode of the device node, or from a device policy of systemd.
        RppalError::Io(source) if matches!(source.raw_os_error(), Some(EACCES | EPERM)) => {
            let group = owning_group(bus);
            OpenError::Denied { bus, group }
        }
        RppalError::Io(source) => OpenError::Io { bus, source },
        other => OpenError::Io { bus, source: io::Error::other(other) },
    })?;
    let capabilities = i2c.capabilities();
    if capabilities.smbus_read_word() && capabilities.smbus_write_word() {
        Ok(Node { i2c, address: None })
    } else {
        Err(OpenError::Incapable { bus })
    }
}

fn transfer_error(error: RppalError) -> Error {
    match error {
        RppalError::Io(source) => io_error(&source),
        _ => Error::from_errno(EINVAL), // rejected by rppal before it reached the kernel
    }
}

fn io_error(source: &io::Error) -> Error {
    Error::from_errno(source.raw_os_error().unwrap_or(EIO))
}

fn owning_group(bus: u8) -> String {
    fs::metadata(format!("/dev/i2c-{bus}")).map_or_else(
        |_| "unknown".to_owned(),
        |node| {
            let groups = fs::read_to_string("/etc/group").unwrap_or_default();
            group_name(node.gid(), &groups)
        },
    )
}

/// Number shown for all other groups in a user namespace, such as that of the service.
const OVERFLOW_GROUP: u32 = 65_534;

/// Looks a group up in the text of group(5). Returns its number if it has no name.
fn group_name(gid: u32, groups: &str) -> String {
    if gid == OVERFLOW_GROUP {
        return "i2c, usually; see `ls -l`".to_owned();
    }
    let number = gid.to_string();
    groups
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&number.as_str()))
        .map_or(number.clone(), |fields| fields[0].to_owned())
}

/// Reads the bound driver from sysfs: rppal always uses `I2C_SLAVE_FORCE`, which never fails with
/// `EBUSY`.
fn bound_driver(bus: u8, address: Address) -> Option<BoundDriver> {
    let chip = format!("{bus}-{:04x}", address.0);
    let device = Path::new("/sys/bus/i2c/devices").join(&chip);
    let link = fs::read_link(device.join("driver")).ok()?;
    let driver = escape(&link.file_name()?.to_string_lossy());
    let name = fs::read(device.join("name")).unwrap_or_default();
    let unbind = format!("echo {chip} > /sys/bus/i2c/drivers/{driver}/unbind");
    let mut children: Vec<u8> = (0..8)
        .filter_map(|channel| {
            let link = fs::read_link(device.join(format!("channel-{channel}"))).ok()?;
            let name = link.file_name()?.to_str()?;
            name.strip_prefix("i2c-")?.parse().ok()
        })
        .collect();
    children.sort_unstable();
    let device = escape(String::from_utf8_lossy(&name).trim());
    Some(BoundDriver { driver, device, unbind, children })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owning_group_is_named() {
        let groups = "root:x:0:\ni2c:x:994:pi\n";
        assert_eq!(group_name(994, groups), "i2c");
        assert_eq!(group_name(4242, groups), "4242");
        assert!(group_name(65_534, "nogroup:x:65534:\n").starts_with("i2c"));
    }

    #[test]
    fn missing_bus_is_absent() {
        let Err(OpenError::Absent { bus: 251, .. }) = LinuxBus::open(251) else {
            panic!("bus 251 exists")
        };
    }
}
