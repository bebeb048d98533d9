//! Errors of the driver.

use super::registers::Register;
use crate::i2c;

/// A failed operation on a sensor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages describe the rest")]
pub enum Error {
    /// A kernel driver has claimed the chip, which is an INA260.
    #[error("{0}")]
    Bound(i2c::BoundDriver),
    /// A kernel driver has claimed the chip, which has this name.
    #[error("{}, not an INA260", i2c::BoundDriver::in_use(.0))]
    InUse(String),
    #[error("cannot read register {register}: {source}")]
    Read { register: Register, source: i2c::Error },
    #[error("cannot write register {register}: {source}")]
    Write { register: Register, source: i2c::Error },
    /// Another chip is at the address; its name, if its registers identify it.
    #[error(
        "{}not an INA260 (manufacturer {manufacturer:#06x}, die {die:#06x})",
        .name.map_or(String::new(), |name| format!("an {name}, "))
    )]
    NotAnIna260 { name: Option<&'static str>, manufacturer: u16, die: u16 },
    /// In read-only mode: the configuration found does not convert both quantities continuously.
    #[error("not in continuous current-and-voltage mode (configuration {0:#06x})")]
    NotContinuous(u16),
    #[error("register {register} is {read:#06x}, expected {wrote:#06x}")]
    RegisterMismatch { register: Register, wrote: u16, read: u16 },
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
