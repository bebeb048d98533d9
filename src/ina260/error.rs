//! Errors of the driver.

use super::registers::Register;
use crate::i2c;

/// A failed operation on a sensor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A kernel driver has claimed the chip, which is an INA260.
    #[error("{0}")]
    Bound(i2c::BoundDriver),
    /// Another chip is at the address, and a kernel driver has claimed it.
    #[error("{}, not an INA260", i2c::BoundDriver::in_use(.0))]
    InUse(String),
    /// A register could not be read.
    #[error("cannot read register {register}: {source}")]
    Read {
        /// Register that was read.
        register: Register,
        /// Cause.
        source: i2c::Error,
    },
    /// A register could not be written.
    #[error("cannot write register {register}: {source}")]
    Write {
        /// Register that was written.
        register: Register,
        /// Cause.
        source: i2c::Error,
    },
    /// Another chip is at the address.
    #[error(
        "{}not an INA260 (manufacturer {manufacturer:#06x}, die {die:#06x})",
        .name.map_or(String::new(), |name| format!("an {name}, "))
    )]
    NotAnIna260 {
        /// Name of the chip, if its registers identify it.
        name: Option<&'static str>,
        /// Content of its manufacturer ID register.
        manufacturer: u16,
        /// Content of its die ID register.
        die: u16,
    },
    /// In read-only mode: the configuration found does not convert both quantities continuously.
    #[error("not in continuous current-and-voltage mode (configuration {0:#06x})")]
    NotContinuous(u16),
    /// A register does not read back as written.
    #[error("register {register} is {read:#06x}, expected {wrote:#06x}")]
    RegisterMismatch {
        /// Register that was written.
        register: Register,
        /// Word that was written.
        wrote: u16,
        /// Word that was read back.
        read: u16,
    },
}

impl Error {
    /// Returns whether another chip is at the address.
    pub fn is_other_chip(&self) -> bool {
        matches!(self, Self::InUse(_) | Self::NotAnIna260 { .. })
    }

    /// Returns whether the bus is stuck: each further transfer would also time out.
    pub fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::Read { source, .. } | Self::Write { source, .. } if source.is_timeout()
        )
    }
}
