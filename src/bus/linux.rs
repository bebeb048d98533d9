//! A Linux I2C adapter, `/dev/i2c-N`, through rppal's SMBus calls.
//!
//! SMBus word calls run on plain I2C adapters and on SMBus-only ones, and keep the bus between the register number and
//! the data (repeated start), which a write followed by a read does not.

use std::fs;
use std::os::unix::fs::MetadataExt;

use rppal::i2c::{Error as RppalError, I2c};

use super::{Address, Bus, Error, OpenError};

/// `EACCES` and `EPERM`: the device node's mode, and systemd's device policy.
const DENIED: [i32; 2] = [13, 1];

/// An open adapter.
pub struct LinuxBus {
    i2c: I2c,
    /// The address the kernel was told last: one ioctl less for each transfer to the same chip.
    selected: Option<Address>,
}

impl LinuxBus {
    /// Opens `/dev/i2c-<bus>`.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do about it.
    pub fn open(bus: u8) -> Result<Self, OpenError> {
        let i2c = I2c::with_bus(bus).map_err(|error| match error {
            RppalError::Io(source) if source.kind() == std::io::ErrorKind::NotFound => {
                OpenError::Absent {
                    bus,
                    existing: existing_buses(),
                }
            }
            RppalError::Io(source)
                if source
                    .raw_os_error()
                    .is_some_and(|errno| DENIED.contains(&errno)) =>
            {
                OpenError::Denied {
                    bus,
                    group: owning_group(bus),
                }
            }
            RppalError::Io(source) => OpenError::Io { bus, source },
            other => OpenError::Io {
                bus,
                source: std::io::Error::other(other),
            },
        })?;
        let capabilities = i2c.capabilities();
        if !(capabilities.smbus_read_word() && capabilities.smbus_write_word()) {
            return Err(OpenError::Incapable { bus });
        }
        Ok(Self {
            i2c,
            selected: None,
        })
    }

    fn select(&mut self, address: Address) -> Result<(), Error> {
        if self.selected != Some(address) {
            self.i2c
                .set_slave_address(u16::from(address.0))
                .map_err(error)?;
            self.selected = Some(address);
        }
        Ok(())
    }
}

impl Bus for LinuxBus {
    fn read_word(&mut self, address: Address, register: u8) -> Result<u16, Error> {
        self.select(address)?;
        self.i2c.smbus_read_word_swapped(register).map_err(error)
    }

    fn write_word(&mut self, address: Address, register: u8, word: u16) -> Result<(), Error> {
        self.select(address)?;
        self.i2c
            .smbus_write_word_swapped(register, word)
            .map_err(error)
    }

    fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), Error> {
        self.select(address)?;
        self.i2c.smbus_send_byte(byte).map_err(error)
    }

    fn receive_byte(&mut self, address: Address) -> Result<u8, Error> {
        self.select(address)?;
        self.i2c.smbus_receive_byte().map_err(error)
    }
}

/// rppal hides the number in an `io::Error`; anything else it says is our own wrong call.
#[expect(clippy::needless_pass_by_value, reason = "the signature of map_err")]
fn error(error: RppalError) -> Error {
    match error {
        RppalError::Io(source) => Error::from_errno(source.raw_os_error().unwrap_or(5)),
        _ => Error::from_errno(22),
    }
}

/// Numbers of the buses that have a device node.
fn existing_buses() -> Vec<u8> {
    let mut buses: Vec<u8> = fs::read_dir("/dev")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            entry
                .file_name()
                .to_str()?
                .strip_prefix("i2c-")?
                .parse()
                .ok()
        })
        .collect();
    buses.sort_unstable();
    buses
}

fn owning_group(bus: u8) -> String {
    let Ok(node) = fs::metadata(format!("/dev/i2c-{bus}")) else {
        return "unknown".to_owned();
    };
    group_name(
        node.gid(),
        &fs::read_to_string("/etc/group").unwrap_or_default(),
    )
}

/// Looks a group up in the text of `/etc/group` (group(5)); its number where it has no name.
fn group_name(gid: u32, groups: &str) -> String {
    let number = gid.to_string();
    groups
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&number.as_str()))
        .map_or(number.clone(), |fields| fields[0].to_owned())
}

/// The kernel driver that owns the chip at `address`, if one does.
///
/// rppal always forces its way to the chip and never sees `EBUSY`, so the kernel's own list is asked.
#[must_use]
pub fn bound_driver(bus: u8, address: Address) -> Option<String> {
    let link = fs::read_link(format!(
        "/sys/bus/i2c/devices/{bus}-{:04x}/driver",
        address.0
    ))
    .ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

/// The bus clock in hertz, where a device tree states it.
#[must_use]
pub fn clock_frequency(bus: u8) -> Option<u32> {
    let cells = fs::read(format!(
        "/sys/class/i2c-adapter/i2c-{bus}/of_node/clock-frequency"
    ))
    .ok()?;
    Some(u32::from_be_bytes(cells.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_named_where_it_has_a_name() {
        let groups = "root:x:0:\ni2c:x:994:pi\n";
        assert_eq!(group_name(994, groups), "i2c");
        assert_eq!(group_name(4242, groups), "4242");
    }

    #[test]
    fn a_bus_that_does_not_exist_is_absent() {
        let Err(OpenError::Absent { bus: 251, .. }) = LinuxBus::open(251) else {
            panic!("bus 251 exists?")
        };
    }
}
