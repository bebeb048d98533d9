//! I2C buses: transfers, chip locations, muxes and errors.
//!
//! Four SMBus calls suffice: word reads and writes for the INA260, byte reads and writes for a mux.

use std::time::{Duration, Instant};
use std::{error, fmt, io};

use tracing::trace;

pub(crate) mod adapters;
pub(crate) mod linux;
mod location;
pub mod mux;

#[cfg(test)]
pub(crate) use location::tests::is_interned;
pub use location::{BusName, InvalidBusName, Location};

use crate::clock::Clock;

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

/// A kernel driver that has claimed a chip. Its text advises unbinding the driver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("claimed by kernel driver {driver}; unbind it with `{unbind}`{}", self.or_use_children())]
pub struct BoundDriver {
    pub(crate) driver: String,
    /// Name that the kernel gives the chip.
    pub(crate) device: String,
    pub(crate) unbind: String,
    /// Buses that the driver creates for the channels of a mux.
    pub(crate) children: Vec<u8>,
}

impl BoundDriver {
    fn or_use_children(&self) -> String {
        let children: Vec<String> = self.children.iter().map(u8::to_string).collect();
        let list = children.join(", ");
        if list.is_empty() { list } else { format!(", or use the buses it provides: {list}") }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ErrorKind {
    #[error("no acknowledge")]
    Nack,
    /// The adapter gave up, because a chip holds the clock or the data line low.
    #[error("timed out")]
    Timeout,
    #[error("adapter or bus busy, perhaps because a chip holds the clock or the data line low")]
    Busy,
    #[error("bus hung: a chip holds the clock or the data line low")]
    Hung,
    /// Another master won the bus; on some adapters also a bus that hangs.
    #[error("lost arbitration, or bus hung")]
    Arbitration,
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
    pub(crate) errno: i32,
}

impl Error {
    /// Classifies an error number (Linux `Documentation/i2c/fault-codes.rst`).
    pub fn from_errno(errno: i32) -> Self {
        Self::from_adapter(errno, "")
    }

    /// Classifies an error number by what the driver of the adapter with this name means by it.
    pub(crate) fn from_adapter(errno: i32, name: &str) -> Self {
        let kind = match errno {
            // EREMOTEIO on a Raspberry Pi; other adapters return ENXIO or ENODEV.
            121 | 6 | 19 => ErrorKind::Nack,
            110 => ErrorKind::Timeout, // ETIMEDOUT
            16 => ErrorKind::Busy,     // EBUSY
            // EAGAIN of hid-mcp2221: the previous command has not ended.
            11 if name.starts_with("MCP2221") => ErrorKind::Busy,
            // Of i2c-omap (AM335x): the bus was not free, and the driver tried to free it.
            11 if name.starts_with("OMAP I2C") => ErrorKind::Hung,
            11 => ErrorKind::Arbitration,
            _ => ErrorKind::Io,
        };
        Self { kind, errno }
    }

    /// Returns whether the bus is stuck: each further transfer would fail, too, perhaps slowly.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self.kind, ErrorKind::Timeout | ErrorKind::Busy | ErrorKind::Hung)
    }

    /// Returns whether the bus is stuck if further transfers fail in this way, too.
    pub(crate) fn may_be_stuck(&self) -> bool {
        self.is_timeout() || self.kind == ErrorKind::Arbitration
    }
}

/// Returns the failed transfer that an error of a chip or mux results from, if any.
pub(crate) fn transfer(error: &impl error::Error) -> Option<&Error> {
    error.source()?.downcast_ref()
}

/// Returns whether such an error shows that the bus is stuck.
pub(crate) fn is_timeout(error: &impl error::Error) -> bool {
    transfer(error).is_some_and(Error::is_timeout)
}

/// Runs `attempt` and, if it fails, once more, unless `is_final` returns true for the error.
pub(crate) fn retry_once<T, E>(
    mut attempt: impl FnMut() -> Result<T, E>,
    is_final: impl FnOnce(&E) -> bool,
) -> Result<T, E> {
    attempt().or_else(|error| if is_final(&error) { Err(error) } else { attempt() })
}

/// A bus for one poll, read or scan. Retries each failed transfer once, except timeouts: the first
/// has cost a second already, and a stuck bus stays stuck. Nor is a bus opened twice in a row.
pub(crate) struct Retry<'a> {
    bus: &'a mut dyn Bus,
    pub(crate) clock: &'a dyn Clock,
    /// Every failed attempt, including those whose retry succeeded.
    pub(crate) failures: Vec<ErrorKind>,
    /// Time of the fastest word read; the slower ones also waited for the processor.
    pub(crate) fastest_word: Option<Duration>,
    /// When the last read of a word began and ended.
    pub(crate) last_read: (Instant, Instant),
}

impl<'a> Retry<'a> {
    pub(crate) fn new(bus: &'a mut dyn Bus, clock: &'a dyn Clock, now: Instant) -> Self {
        Self { bus, clock, failures: Vec::new(), fastest_word: None, last_read: (now, now) }
    }

    fn attempt<T>(
        &mut self,
        mut transfer: impl FnMut(&mut dyn Bus) -> Result<T, Error>,
    ) -> Result<T, Error> {
        retry_once(
            || transfer(self.bus).inspect_err(|error| self.failures.push(error.kind)),
            |error| matches!(error.kind, ErrorKind::Timeout | ErrorKind::Closed),
        )
    }
}

impl Bus for Retry<'_> {
    fn bound_driver(&self, address: Address) -> Option<BoundDriver> {
        self.bus.bound_driver(address)
    }

    fn read_word(&mut self, address: Address, register: u8) -> Result<u16, Error> {
        let begun = self.clock.now();
        let word = self.attempt(|bus| bus.read_word(address, register));
        if word.is_ok() {
            let ended = self.clock.now();
            self.last_read = (begun, ended);
            let elapsed = ended.duration_since(begun);
            let fastest = self.fastest_word.get_or_insert(elapsed);
            *fastest = elapsed.min(*fastest);
        }
        trace!("{address}: read register {register:#04x}: {word:x?}");
        word
    }

    fn write_word(&mut self, address: Address, register: u8, word: u16) -> Result<(), Error> {
        trace!("{address}: write register {register:#04x}: {word:#06x}");
        self.attempt(|bus| bus.write_word(address, register, word))
    }

    fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), Error> {
        self.attempt(|bus| bus.send_byte(address, byte))
    }

    fn receive_byte(&mut self, address: Address) -> Result<u8, Error> {
        self.attempt(|bus| bus.receive_byte(address))
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(
        "/dev/i2c-{bus} does not exist ({}); enable I2C with `raspi-config` or \
         `dtparam=i2c_arm=on` in config.txt, and load the module with `modprobe i2c-dev`",
        list(.existing)
    )]
    Absent { bus: u8, existing: Vec<u8> },
    #[error(
        "{0} does not exist ({existing}); connect its adapter, or correct the udev rule that \
         creates the link",
        existing = list(.1)
    )]
    NoPath(&'static str, Vec<u8>),
    #[error("{0} is not an I2C adapter; expected a device node /dev/i2c-N, or a link to one")]
    NotAnAdapter(String),
    #[error(
        "{0} is I2C adapter {1}, which has no device node /dev/i2c-N; it can be opened only under \
         such a name"
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
    #[error("bus {0} is in use by another process ({1}); stop it first")]
    InUse(BusName, String),
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
                "adapter or bus busy, perhaps because a chip holds the clock or the data line low \
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
