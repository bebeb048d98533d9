//! What goes wrong between a sensor and us: which operation on which register, and why.

use std::fmt;

use super::registers::Register;
use crate::i2c;

/// What a sensor failed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A kernel driver has the chip to itself.
    Bound(i2c::BoundDriver),
    /// A register could not be read.
    Read {
        /// Which.
        register: Register,
        /// Why.
        source: i2c::Error,
    },
    /// A register could not be written.
    Write {
        /// Which.
        register: Register,
        /// Why.
        source: i2c::Error,
    },
    /// Something else is at the address.
    NotAnIna260 {
        /// Its manufacturer identity register.
        manufacturer: u16,
        /// Its die identity register.
        die: u16,
    },
    /// Whoever sets the chip lets it convert not both quantities, or not continuously; holds the configuration register.
    NotContinuous(u16),
    /// A register does not hold what was written to it.
    NotKept {
        /// Which.
        register: Register,
        /// What was written.
        wrote: u16,
        /// What was read back.
        read: u16,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bound(owner) => write!(f, "{owner}"),
            Self::Read { register, source } => {
                write!(f, "cannot read register {register:?}: {source}")
            }
            Self::Write { register, source } => {
                write!(f, "cannot write register {register:?}: {source}")
            }
            Self::NotAnIna260 { manufacturer, die } => {
                write!(
                    f,
                    "not an INA260: manufacturer {manufacturer:#06x}, die {die:#06x}"
                )
            }
            Self::NotContinuous(word) => {
                write!(
                    f,
                    "does not convert voltage and current continuously: configuration {word:#06x}"
                )
            }
            Self::NotKept {
                register,
                wrote,
                read,
            } => {
                write!(
                    f,
                    "register {register:?} holds {read:#06x}, not {wrote:#06x}"
                )
            }
        }
    }
}

impl Error {
    /// Whether somebody is there, if not whom we look for.
    #[must_use]
    pub fn is_an_answer(&self) -> bool {
        matches!(self, Self::Bound(_) | Self::NotAnIna260 { .. })
    }

    /// Whether the bus is stuck, which every further transfer would suffer from, too.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::Read { source, .. } | Self::Write { source, .. }
                if source.kind == i2c::ErrorKind::Timeout
        )
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => Some(source),
            Self::Bound(_)
            | Self::NotAnIna260 { .. }
            | Self::NotContinuous(_)
            | Self::NotKept { .. } => None,
        }
    }
}
