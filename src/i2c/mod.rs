//! I2C buses: transfers, chip locations, muxes and errors.
//!
//! Four SMBus calls suffice: word reads and writes for the INA260, byte reads and writes for a mux.

use std::fmt;
use std::io;

pub(crate) mod adapters;
pub(crate) mod linux;
mod location;
pub mod mux;
mod retry;

pub use location::{BusName, InvalidBusName, Location};
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
        // Unless a vowel follows it, the first letter is spelled out: an lm75.
        let is_spelled = !name.get(1..2).is_some_and(|second| "aeiou".contains(second));
        let vowels = if is_spelled { "aefhilmnorsxI" } else { "aeio" };
        let article = if name.starts_with(|first| vowels.contains(first)) { "an" } else { "a" };
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ErrorKind {
    /// The address or a byte was not acknowledged.
    #[error("no acknowledge")]
    Nack,
    /// The adapter gave up, because a chip holds the clock or the data line.
    #[error("timed out")]
    Timeout,
    #[error("adapter or bus busy, perhaps because a chip holds the clock or the data line")]
    Busy,
    #[error("bus hung: a chip holds the clock or the data line")]
    Hung,
    /// Another master won the bus; on some adapters also a bus that hangs.
    #[error("lost arbitration, or bus hung")]
    Arbitration,
    /// The bus is closed, and its adapter cannot be opened.
    #[error("adapter not available")]
    Closed,
    #[error("transfer failed")]
    Io,
}

/// A failed transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (errno {errno})")]
pub struct Error {
    pub(crate) kind: ErrorKind,
    /// Error number from the adapter driver.
    pub(crate) errno: i32,
}

impl Error {
    /// Classifies an error number (Linux `Documentation/i2c/fault-codes.rst`).
    pub const fn from_errno(errno: i32) -> Self {
        let kind = match errno {
            // EREMOTEIO on a Raspberry Pi; other adapters return ENXIO or ENODEV.
            121 | 6 | 19 => ErrorKind::Nack,
            110 => ErrorKind::Timeout,    // ETIMEDOUT
            16 => ErrorKind::Busy,        // EBUSY
            11 => ErrorKind::Arbitration, // EAGAIN
            _ => ErrorKind::Io,
        };
        Self { kind, errno }
    }

    /// Classifies an error number by what the driver of the adapter with this name means by it.
    pub(crate) fn from_adapter(errno: i32, name: &str) -> Self {
        let error = Self::from_errno(errno);
        let kind = match error.kind {
            // hid-mcp2221: the command before has not ended.
            ErrorKind::Arbitration if name.starts_with("MCP2221") => ErrorKind::Busy,
            // i2c-omap (AM335x): the bus was not free, and an attempt to free it was made.
            ErrorKind::Arbitration if name.starts_with("OMAP I2C") => ErrorKind::Hung,
            kind => kind,
        };
        Self { kind, ..error }
    }

    /// Returns whether the bus is stuck: each further transfer would also fail, perhaps after the
    /// adapter's timeout.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self.kind, ErrorKind::Timeout | ErrorKind::Busy | ErrorKind::Hung)
    }

    /// Returns whether the bus is stuck if further transfers fail in this way, too.
    pub(crate) fn may_be_stuck(&self) -> bool {
        self.is_timeout() || self.kind == ErrorKind::Arbitration
    }
}

/// A bus that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(
        "/dev/i2c-{bus} does not exist ({}); enable I2C with `raspi-config` or \
         `dtparam=i2c_arm=on` in config.txt, and load the module with `modprobe i2c-dev`",
        list(.existing)
    )]
    Absent { bus: u8, existing: Vec<u8> },
    #[error(
        "{0} does not exist ({existing}); connect its adapter, or correct the udev rule that makes \
         the link",
        existing = list(.1)
    )]
    NoPath(&'static str, Vec<u8>),
    #[error("{0} is not an I2C adapter; expected a device node /dev/i2c-N, or a link to one")]
    NotAnAdapter(String),
    #[error(
        "{0} is the I2C adapter {1}, which has no device node /dev/i2c-N; it can be opened only \
         under such a name"
    )]
    NoNode(&'static str, u32),
    #[error("bus name:{0}: no adapter name starts with this; existing: {1}")]
    NoName(&'static str, String),
    #[error(
        "bus name:{0}: several adapter names start with this: {1}; give more of the name, or a \
         path"
    )]
    Ambiguous(&'static str, String),
    #[error(
        "bus {0}: the same adapter as bus {1}, which is open; use the same value of `bus` for \
         all its sensors"
    )]
    Taken(BusName, BusName),
    #[error("{0} duplicates the location of {1}: {2}")]
    SameWires(Location, Location, String),
    #[error("{node}: permission denied {}", remedy(.group))]
    Denied {
        node: String,
        /// Name of the group that owns it; text with spaces if the name is not known.
        group: String,
    },
    #[error("{0}: the adapter does not support SMBus word transfers")]
    Incapable(String),
    #[error("{node}: {source}")]
    Io { node: String, source: io::Error },
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
            (11, "lost arbitration, or bus hung (errno 11)"),
            (
                16,
                "adapter or bus busy, perhaps because a chip holds the clock or the data line \
                 (errno 16)",
            ),
            (5, "transfer failed (errno 5)"),
        ] {
            assert_eq!(Error::from_errno(errno).to_string(), message);
        }
    }

    /// EAGAIN: `i2c_transfer` of hid-mcp2221 and i2c-omap; report: circuits_i2c, AM335x.
    #[test]
    fn hung_bus_is_classified_per_adapter() {
        for (errno, name, kind) in [
            (11, "MCP2221 usb-i2c bridge", ErrorKind::Busy),
            (11, "OMAP I2C adapter", ErrorKind::Hung),
            (11, "bcm2835 (i2c@7e804000)", ErrorKind::Arbitration),
            (16, "SMBus I801 adapter at efa0", ErrorKind::Busy),
            (121, "MCP2221 usb-i2c bridge", ErrorKind::Nack),
        ] {
            let error = Error::from_adapter(errno, name);
            assert_eq!((error.kind, error.errno), (kind, errno), "{name}");
            assert_eq!(error.may_be_stuck(), errno != 121, "{name}");
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
            OpenError::Denied { node: "/dev/i2c-1".to_owned(), group }.to_string()
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
