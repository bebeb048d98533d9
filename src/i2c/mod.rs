//! I2C buses: transfers, chip locations, muxes and errors.
//!
//! Four SMBus calls suffice: word reads and writes for the INA260, byte reads and writes for a mux.

use std::fmt;
use std::io;

pub mod adapters;
pub mod linux;
mod location;
pub mod mux;
mod retry;

pub use location::Location;
pub(crate) use retry::{Retry, retry_once};

/// A 7-bit I2C address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub u8);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x}", self.0)
    }
}

/// An I2C or SMBus adapter, owned by one thread.
///
/// # Errors
/// Every transfer fails with the [`Error`] that the adapter reported; nothing is retried.
#[expect(clippy::missing_errors_doc, reason = "documented once, for all methods")]
pub trait Bus: Send {
    /// Returns the kernel driver bound to `address`, if any.
    fn bound_driver(&self, _address: Address) -> Option<BoundDriver> {
        None
    }
    /// Reads a 16-bit register, high byte first (SMBus "read word" with the bytes swapped).
    fn read_word(&mut self, address: Address, register: u8) -> Result<u16, Error>;
    /// Writes a 16-bit register, high byte first.
    fn write_word(&mut self, address: Address, register: u8, word: u16) -> Result<(), Error>;
    /// Writes the register of a chip that has only one (SMBus "send byte").
    fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), Error>;
    /// Reads the register of a chip that has only one (SMBus "receive byte").
    fn receive_byte(&mut self, address: Address) -> Result<u8, Error>;
}

/// A kernel driver that has claimed a chip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundDriver {
    /// Name of the driver.
    pub driver: String,
    /// Name that the kernel gives the chip.
    pub device: String,
    /// Shell command that unbinds the driver.
    pub unbind: String,
    /// Buses that the driver creates for the channels of a mux.
    pub children: Vec<u8>,
}

impl BoundDriver {
    /// Describes a chip that is best left to its driver; `name` is that of the chip.
    pub(crate) fn in_use(name: &str) -> String {
        let article = if name.starts_with(['a', 'e', 'i', 'o', 'I']) { "an" } else { "a" };
        format!("{article} {name} in use by the kernel")
    }
}

/// Advises to unbind the driver.
impl fmt::Display for BoundDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { driver, unbind, .. } = self;
        write!(f, "claimed by kernel driver {driver}; unbind it with `{unbind}`")?;
        if !self.children.is_empty() {
            let children: Vec<String> = self.children.iter().map(u8::to_string).collect();
            write!(f, ", or use the buses it provides: {}", children.join(", "))?;
        }
        Ok(())
    }
}

/// Cause of a failed transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ErrorKind {
    /// The address or a byte was not acknowledged.
    #[error("no acknowledge")]
    Nack,
    /// The adapter gave up, because a chip holds the clock or the data line.
    #[error("timed out")]
    Timeout,
    /// Another master won the bus.
    #[error("lost arbitration")]
    Arbitration,
    /// Any other error.
    #[error("transfer failed")]
    Io,
}

/// A failed transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (errno {errno})")]
pub struct Error {
    /// Cause, derived from `errno`.
    pub kind: ErrorKind,
    /// Error number from the adapter driver.
    pub errno: i32,
}

impl Error {
    /// Classifies an error number (Linux `Documentation/i2c/fault-codes.rst`).
    pub const fn from_errno(errno: i32) -> Self {
        let kind = match errno {
            // EREMOTEIO on a Raspberry Pi; other adapters return ENXIO or ENODEV.
            121 | 6 | 19 => ErrorKind::Nack,
            110 => ErrorKind::Timeout,    // ETIMEDOUT
            11 => ErrorKind::Arbitration, // EAGAIN
            _ => ErrorKind::Io,
        };
        Self { kind, errno }
    }

    /// Returns whether the bus is stuck: each further transfer would also time out.
    pub fn is_timeout(&self) -> bool {
        self.kind == ErrorKind::Timeout
    }
}

/// A bus that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The device node does not exist.
    #[error(
        "/dev/i2c-{bus} does not exist ({}); enable I2C with `raspi-config` or \
         `dtparam=i2c_arm=on` in config.txt, and load the module with `modprobe i2c-dev`",
        list(.existing)
    )]
    Absent {
        /// Number of the bus.
        bus: u8,
        /// Numbers of the buses that exist.
        existing: Vec<u8>,
    },
    /// The device node may not be opened.
    #[error("/dev/i2c-{bus}: permission denied {}", remedy(.group))]
    Denied {
        /// Number of the bus.
        bus: u8,
        /// Name or number of the group that owns the device node.
        group: String,
    },
    /// The adapter has no SMBus word transfers.
    #[error("/dev/i2c-{bus}: the adapter does not support SMBus word transfers")]
    Incapable {
        /// Number of the bus.
        bus: u8,
    },
    /// Any other error.
    #[error("/dev/i2c-{bus}: {source}")]
    Io {
        /// Number of the bus.
        bus: u8,
        /// Error from the kernel.
        source: io::Error,
    },
}

fn list(buses: &[u8]) -> String {
    if buses.is_empty() {
        return "no I2C bus exists".to_owned();
    }
    let nodes: Vec<String> = buses.iter().map(|bus| format!("/dev/i2c-{bus}")).collect();
    format!("existing buses: {}", nodes.join(", "))
}

fn remedy(group: &str) -> String {
    // Joining the group root is never the remedy.
    if group == "root" {
        "(owned by root): use sudo, or install the package, whose udev rule grants group i2c access"
            .to_owned()
    } else {
        format!("(owned by group {group}): add your user to it, or run as root")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errno_of_each_adapter_is_classified() {
        for errno in [121, 6, 19] {
            assert_eq!(Error::from_errno(errno).kind, ErrorKind::Nack);
        }
        for (errno, message) in [
            (121, "no acknowledge (errno 121)"),
            (110, "timed out (errno 110)"),
            (11, "lost arbitration (errno 11)"),
            (5, "transfer failed (errno 5)"),
        ] {
            assert_eq!(Error::from_errno(errno).to_string(), message);
        }
    }

    #[test]
    fn absent_bus_lists_existing_buses() {
        let message = |existing| OpenError::Absent { bus: 1, existing }.to_string();
        assert_eq!(
            message(vec![0, 20]),
            "/dev/i2c-1 does not exist (existing buses: /dev/i2c-0, /dev/i2c-20); enable I2C with \
             `raspi-config` or `dtparam=i2c_arm=on` in config.txt, and load the module with \
             `modprobe i2c-dev`"
        );
        assert!(message(vec![]).contains(" (no I2C bus exists); enable "));
    }

    #[test]
    fn denied_bus_names_the_remedy() {
        let message = |group: &str| {
            let group = group.to_owned();
            OpenError::Denied { bus: 1, group }.to_string()
        };
        assert_eq!(
            message("i2c"),
            "/dev/i2c-1: permission denied (owned by group i2c): add your user to it, or run as \
             root"
        );
        assert_eq!(
            message("root"),
            "/dev/i2c-1: permission denied (owned by root): use sudo, or install the package, \
             whose udev rule grants group i2c access"
        );
    }
}
