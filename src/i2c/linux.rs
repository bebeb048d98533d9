//! A Linux I2C adapter, `/dev/i2c-N`, through rppal's SMBus calls.
//!
//! SMBus word calls run on plain I2C adapters and on SMBus-only ones, and keep the bus between the register number and
//! the data (repeated start), which a write followed by a read does not.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rppal::i2c::{Error as RppalError, I2c};

use super::adapters::numbers;
use super::{Address, BoundDriver, Bus, Error, OpenError};

/// `EACCES` and `EPERM`: the device node's mode, and systemd's device policy.
const DENIED: [i32; 2] = [13, 1];

/// `ENODEV`: the adapter itself may be gone (unplugged from USB, say).
const NO_DEVICE: i32 = 19;

/// An adapter. Its device node is opened anew where it was gone.
pub struct LinuxBus {
    number: u8,
    i2c: Option<I2c>,
    /// The address the kernel was told last: one ioctl less for each transfer to the same chip.
    selected: Option<Address>,
}

impl LinuxBus {
    /// An adapter that is opened at its first transfer.
    #[must_use]
    pub const fn closed(number: u8) -> Self {
        Self {
            number,
            i2c: None,
            selected: None,
        }
    }

    /// Opens `/dev/i2c-<number>`.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do about it.
    pub fn open(number: u8) -> Result<Self, OpenError> {
        Ok(Self {
            i2c: Some(open_node(number)?),
            ..Self::closed(number)
        })
    }

    /// One transfer with the chip at `address`.
    fn transfer<T>(
        &mut self,
        address: Address,
        call: impl FnOnce(&I2c) -> Result<T, RppalError>,
    ) -> Result<T, Error> {
        let i2c = match &mut self.i2c {
            Some(i2c) => i2c,
            closed => {
                self.selected = None;
                closed.insert(open_node(self.number).map_err(|error| match error {
                    OpenError::Io { source, .. } => errno(&source),
                    OpenError::Denied { .. } => Error::from_errno(DENIED[0]),
                    OpenError::Absent { .. } | OpenError::Incapable { .. } => {
                        Error::from_errno(NO_DEVICE)
                    }
                })?)
            }
        };
        if self.selected != Some(address) {
            i2c.set_slave_address(u16::from(address.0))
                .map_err(transfer_error)?;
            self.selected = Some(address);
        }
        call(i2c).map_err(transfer_error).inspect_err(|error| {
            if error.errno == NO_DEVICE {
                self.i2c = None;
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

fn open_node(bus: u8) -> Result<I2c, OpenError> {
    let i2c = I2c::with_bus(bus).map_err(|error| match error {
        RppalError::Io(source) if source.kind() == io::ErrorKind::NotFound => OpenError::Absent {
            bus,
            existing: existing_buses(),
        },
        RppalError::Io(source) if source.raw_os_error().is_some_and(|n| DENIED.contains(&n)) => {
            OpenError::Denied {
                bus,
                group: owning_group(bus),
            }
        }
        RppalError::Io(source) => OpenError::Io { bus, source },
        other => OpenError::Io {
            bus,
            source: io::Error::other(other),
        },
    })?;
    let capabilities = i2c.capabilities();
    if capabilities.smbus_read_word() && capabilities.smbus_write_word() {
        Ok(i2c)
    } else {
        Err(OpenError::Incapable { bus })
    }
}

/// rppal hides the number in an `io::Error`; anything else it says is our own wrong call.
fn transfer_error(error: RppalError) -> Error {
    match error {
        RppalError::Io(source) => errno(&source),
        _ => Error::from_errno(22), // EINVAL
    }
}

fn errno(source: &io::Error) -> Error {
    Error::from_errno(source.raw_os_error().unwrap_or(5)) // EIO
}

/// Numbers of the buses that have a device node.
fn existing_buses() -> Vec<u8> {
    let mut buses: Vec<u8> = numbers(Path::new("/dev")).collect();
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

/// What every group but its own looks like to a process in a user namespace of its own, as the service is: `nobody`'s number.
const HIDDEN_GROUP: u32 = 65_534;

/// Looks a group up in the text of `/etc/group` (group(5)); its number where it has no name.
fn group_name(gid: u32, groups: &str) -> String {
    if gid == HIDDEN_GROUP {
        return "i2c, as a rule (see it with `ls -l`)".to_owned();
    }
    let number = gid.to_string();
    groups
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&number.as_str()))
        .map_or(number.clone(), |fields| fields[0].to_owned())
}

/// rppal always forces its way to the chip and never sees `EBUSY`, so the kernel's own list is asked.
fn bound_driver(bus: u8, address: Address) -> Option<BoundDriver> {
    let chip = format!("{bus}-{:04x}", address.0);
    let link = fs::read_link(format!("/sys/bus/i2c/devices/{chip}/driver")).ok()?;
    let driver = link.file_name()?.to_string_lossy().into_owned();
    let unbind = format!("echo {chip} > /sys/bus/i2c/drivers/{driver}/unbind");
    Some(BoundDriver {
        driver,
        unbind,
        children: children(&chip),
    })
}

/// The buses that the kernel makes of a multiplexer's channels.
fn children(chip: &str) -> Vec<u8> {
    let mut children: Vec<u8> = (0..8)
        .filter_map(|channel| {
            let bus =
                fs::read_link(format!("/sys/bus/i2c/devices/{chip}/channel-{channel}")).ok()?;
            bus.file_name()?
                .to_str()?
                .strip_prefix("i2c-")?
                .parse()
                .ok()
        })
        .collect();
    children.sort_unstable();
    children
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_named_where_it_has_a_name() {
        let groups = "root:x:0:\ni2c:x:994:pi\n";
        assert_eq!(group_name(994, groups), "i2c");
        assert_eq!(group_name(4242, groups), "4242");
        assert!(group_name(65_534, "nogroup:x:65534:\n").starts_with("i2c"));
    }

    #[test]
    fn a_bus_that_does_not_exist_is_absent() {
        let Err(OpenError::Absent { bus: 251, .. }) = LinuxBus::open(251) else {
            panic!("bus 251 exists?")
        };
    }
}
