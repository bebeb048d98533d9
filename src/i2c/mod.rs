//! How a word reaches a chip.
//!
//! Four calls are enough for every chip this daemon knows: words for the INA260, single bytes for a multiplexer.

use std::fmt;
use std::io;

pub mod adapters;
pub mod linux;
mod location;
pub mod mux;
mod retry;

pub use location::Location;
pub use retry::{Retry, retry_once};

/// A 7-bit I2C address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub u8);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x}", self.0)
    }
}

/// One I2C or SMBus adapter, owned by one thread.
///
/// # Errors
/// Every transfer fails with the [`Error`] that the adapter reported; nothing is retried here.
#[expect(clippy::missing_errors_doc, reason = "said once, for all of them")]
pub trait Bus: Send {
    /// Who else has the chip at `address`, if somebody has.
    fn bound_driver(&self, _address: Address) -> Option<BoundDriver> {
        None
    }
    /// Reads a register of 16 bits, high byte first (SMBus "read word", bytes swapped).
    fn read_word(&mut self, address: Address, register: u8) -> Result<u16, Error>;
    /// Writes a register of 16 bits, high byte first.
    fn write_word(&mut self, address: Address, register: u8, word: u16) -> Result<(), Error>;
    /// Writes the only register of a chip that has just one (SMBus "send byte").
    fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), Error>;
    /// Reads the only register of a chip that has just one (SMBus "receive byte").
    fn receive_byte(&mut self, address: Address) -> Result<u8, Error>;
}

/// A kernel driver that has a chip to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundDriver {
    /// Name of the driver.
    pub driver: String,
    /// The command that makes it let go.
    pub unbind: String,
    /// The buses that it makes of a multiplexer's channels.
    pub children: Vec<u8>,
}

impl fmt::Display for BoundDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the kernel driver {} has this chip; release it with `{}`",
            self.driver, self.unbind
        )?;
        if self.children.is_empty() {
            return Ok(());
        }
        let children: Vec<String> = self.children.iter().map(u8::to_string).collect();
        write!(
            f,
            ", or use the buses that it makes of it: {}",
            children.join(", ")
        )
    }
}

/// What went wrong on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Nobody acknowledged the address.
    Nack,
    /// The adapter gave up: the clock or the data line is held.
    Timeout,
    /// Another master won the bus.
    Arbitration,
    /// Everything else.
    Io,
}

impl ErrorKind {
    /// Adapters say "no answer" in three ways: `EREMOTEIO` (the Pi's), `ENXIO` and `ENODEV`
    /// (Linux `Documentation/i2c/fault-codes.rst`).
    fn from_errno(errno: i32) -> Self {
        match errno {
            121 | 6 | 19 => Self::Nack,
            110 => Self::Timeout,
            11 => Self::Arbitration,
            _ => Self::Io,
        }
    }
}

/// A transfer that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// What the number means.
    pub kind: ErrorKind,
    /// The adapter driver's `errno`.
    pub errno: i32,
}

impl Error {
    /// Classifies an adapter driver's `errno`.
    #[must_use]
    pub fn from_errno(errno: i32) -> Self {
        Self {
            kind: ErrorKind::from_errno(errno),
            errno,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ErrorKind::Nack => "no answer",
            ErrorKind::Timeout => "timed out",
            ErrorKind::Arbitration => "lost arbitration",
            ErrorKind::Io => "transfer failed",
        };
        write!(f, "{what} (errno {})", self.errno)
    }
}

impl std::error::Error for Error {}

/// Why a bus cannot be used at all.
#[derive(Debug)]
pub enum OpenError {
    /// There is no such device node.
    Absent {
        /// Bus number.
        bus: u8,
        /// The bus numbers that do exist.
        existing: Vec<u8>,
    },
    /// The device node is there, but not for us.
    Denied {
        /// Bus number.
        bus: u8,
        /// Name or number of the group that owns the node.
        group: String,
    },
    /// The adapter can't transfer words.
    Incapable {
        /// Bus number.
        bus: u8,
    },
    /// Everything else.
    Io {
        /// Bus number.
        bus: u8,
        /// What the kernel said.
        source: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent { bus, existing } => {
                write!(f, "/dev/i2c-{bus} does not exist; ")?;
                if existing.is_empty() {
                    write!(f, "no I2C bus does")?;
                } else {
                    let names: Vec<String> =
                        existing.iter().map(|n| format!("/dev/i2c-{n}")).collect();
                    write!(f, "these do: {}", names.join(", "))?;
                }
                write!(
                    f,
                    "; enable I2C with `raspi-config` or `dtparam=i2c_arm=on` in config.txt, and load its driver with `modprobe i2c-dev`"
                )
            }
            // What is root's is opened by a rule, and not by making somebody root.
            Self::Denied { bus, group } if group == "root" => write!(
                f,
                "/dev/i2c-{bus}: permission denied; it is root's alone: run as root (`sudo`), or install the package, \
                 whose udev rule gives it to the group i2c"
            ),
            Self::Denied { bus, group } => write!(
                f,
                "/dev/i2c-{bus}: permission denied; it belongs to the group {group}: be in that group, or run as root"
            ),
            Self::Incapable { bus } => {
                write!(f, "/dev/i2c-{bus}: this adapter can't transfer SMBus words")
            }
            Self::Io { bus, source } => write!(f, "/dev/i2c-{bus}: {source}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_chip_is_the_same_error_on_every_adapter() {
        for errno in [121, 6, 19] {
            assert_eq!(Error::from_errno(errno).kind, ErrorKind::Nack);
        }
        assert_eq!(Error::from_errno(110).to_string(), "timed out (errno 110)");
        assert_eq!(Error::from_errno(11).kind, ErrorKind::Arbitration);
        assert_eq!(Error::from_errno(5).kind, ErrorKind::Io);
    }

    #[test]
    fn an_absent_bus_tells_how_to_enable_i2c_and_which_exist() {
        let message = OpenError::Absent {
            bus: 1,
            existing: vec![0, 20],
        }
        .to_string();
        assert_eq!(
            message,
            "/dev/i2c-1 does not exist; these do: /dev/i2c-0, /dev/i2c-20; enable I2C with `raspi-config` or \
             `dtparam=i2c_arm=on` in config.txt, and load its driver with `modprobe i2c-dev`"
        );
    }
}
