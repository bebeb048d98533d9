//! The chip: its registers, its settings, and what its words mean. Source: TI datasheet SBOS656C.

use std::fmt;

use crate::bus::{self, Address, Bus};

mod measurement;
pub mod registers;
pub mod settings;

pub use measurement::Measurement;
use registers::{DIE, DIE_REVISION, MANUFACTURER, MaskEnable, POWER_ON_CONFIGURATION, Register};
use settings::Settings;

/// One sensor: where it is and what it has to be set to. Remembers nothing of the chip itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ina260 {
    /// On its bus.
    pub address: Address,
    /// What is written to it.
    pub settings: Settings,
}

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The die identity register.
    pub die: u16,
}

/// How a sensor came to its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// They were written, and the first conversion started with that.
    Written,
    /// They were there already; the result that is being made is of unknown age.
    Adopted,
}

/// Why a sensor's settings are not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reset {
    /// All of them have their power-on values.
    BrownOut,
    /// Somebody else wrote them.
    Foreign,
}

/// What a sensor failed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A kernel driver has the chip to itself.
    Owned(bus::Owner),
    /// A register could not be read.
    Read {
        /// Which.
        register: Register,
        /// Why.
        source: bus::Error,
    },
    /// A register could not be written.
    Write {
        /// Which.
        register: Register,
        /// Why.
        source: bus::Error,
    },
    /// Something else is at the address.
    NotAnIna260 {
        /// Its manufacturer identity register.
        manufacturer: u16,
        /// Its die identity register.
        die: u16,
    },
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
            Self::Owned(owner) => write!(f, "{owner}"),
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
    /// Whether the bus is stuck, which every further transfer would suffer from, too.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::Read { source, .. } | Self::Write { source, .. }
                if source.kind == bus::ErrorKind::Timeout
        )
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => Some(source),
            Self::Owned(_) | Self::NotAnIna260 { .. } | Self::NotKept { .. } => None,
        }
    }
}

/// Reads both identity registers of the chip at `address`.
///
/// # Errors
/// A failed transfer, [`Error::Owned`] or [`Error::NotAnIna260`].
pub fn identify(bus: &mut dyn Bus, address: Address) -> Result<Identity, Error> {
    if let Some(owner) = bus.owner(address) {
        return Err(Error::Owned(owner));
    }
    let manufacturer = read(bus, address, Register::ManufacturerId)?;
    let die = read(bus, address, Register::DieId)?;
    if manufacturer == MANUFACTURER && die & !DIE_REVISION == DIE {
        Ok(Identity { die })
    } else {
        Err(Error::NotAnIna260 { manufacturer, die })
    }
}

fn read(bus: &mut dyn Bus, address: Address, register: Register) -> Result<u16, Error> {
    bus.read_word(address, register as u8)
        .map_err(|source| Error::Read { register, source })
}

impl Ina260 {
    /// The alert limit while no alert is wanted.
    const ALERT_LIMIT: u16 = 0x0000;
    /// No alert function, but the latch, always: it is 0 at power-on, so that each look at this register shows a brown-out.
    const MASK_ENABLE: u16 = MaskEnable::LATCH;

    /// Writes limit, mask/enable and configuration, in this order since the last starts a conversion, and reads them back.
    /// The configuration is left alone where it is right already: a write loses the running average.
    ///
    /// # Errors
    /// A failed transfer, or [`Error::NotKept`].
    pub fn prepare(&self, bus: &mut dyn Bus) -> Result<Prepared, Error> {
        let adopted = self.read(bus, Register::Configuration)? == self.settings.word();
        self.write(bus, Register::AlertLimit, Self::ALERT_LIMIT)?;
        self.write(bus, Register::MaskEnable, Self::MASK_ENABLE)?;
        if !adopted {
            self.write(bus, Register::Configuration, self.settings.word())?;
        }
        self.verify(bus, Register::AlertLimit, Self::ALERT_LIMIT, u16::MAX)?;
        self.verify(
            bus,
            Register::MaskEnable,
            Self::MASK_ENABLE,
            MaskEnable::KEPT,
        )?;
        self.verify(bus, Register::Configuration, self.settings.word(), u16::MAX)?;
        Ok(if adopted {
            Prepared::Adopted
        } else {
            Prepared::Written
        })
    }

    /// Reads the flags, which clears the ready flag and a latched alert.
    ///
    /// # Errors
    /// A failed transfer.
    pub fn look(&self, bus: &mut dyn Bus) -> Result<MaskEnable, Error> {
        self.read(bus, Register::MaskEnable).map(MaskEnable)
    }

    /// Whether these flags come with the settings that were written. One word on the bus tells, at every look.
    #[must_use]
    pub const fn is_ours(&self, flags: MaskEnable) -> bool {
        flags.kept() == Self::MASK_ENABLE
    }

    /// Reads configuration and limit, to find what the flags alone do not show.
    ///
    /// # Errors
    /// A failed transfer.
    pub fn check(&self, bus: &mut dyn Bus, flags: MaskEnable) -> Result<Option<Reset>, Error> {
        let configuration = self.read(bus, Register::Configuration)?;
        let limit = self.read(bus, Register::AlertLimit)?;
        Ok(
            if self.is_ours(flags)
                && configuration == self.settings.word()
                && limit == Self::ALERT_LIMIT
            {
                None
            } else if configuration == POWER_ON_CONFIGURATION && limit == 0 && flags.kept() == 0 {
                Some(Reset::BrownOut)
            } else {
                Some(Reset::Foreign)
            },
        )
    }

    /// Reads voltage and current and, if `with_power`, the power register; does not touch the flags.
    ///
    /// # Errors
    /// A failed transfer.
    pub fn measure(
        &self,
        bus: &mut dyn Bus,
        flags: MaskEnable,
        with_power: bool,
    ) -> Result<Measurement, Error> {
        Ok(Measurement {
            current_word: self.read(bus, Register::Current)?,
            voltage_word: self.read(bus, Register::BusVoltage)?,
            power_word: if with_power {
                Some(self.read(bus, Register::Power)?)
            } else {
                None
            },
            overflow: flags.overflow(),
        })
    }

    /// Switches the alerts off; the settings stay, for whoever comes next.
    ///
    /// # Errors
    /// A failed transfer.
    pub fn release(&self, bus: &mut dyn Bus) -> Result<(), Error> {
        self.write(bus, Register::MaskEnable, 0x0000)
    }

    fn verify(
        &self,
        bus: &mut dyn Bus,
        register: Register,
        wrote: u16,
        bits: u16,
    ) -> Result<(), Error> {
        let read = self.read(bus, register)? & bits;
        if read == wrote {
            Ok(())
        } else {
            Err(Error::NotKept {
                register,
                wrote,
                read,
            })
        }
    }

    fn read(&self, bus: &mut dyn Bus, register: Register) -> Result<u16, Error> {
        read(bus, self.address, register)
    }

    fn write(&self, bus: &mut dyn Bus, register: Register, word: u16) -> Result<(), Error> {
        bus.write_word(self.address, register as u8, word)
            .map_err(|source| Error::Write { register, source })
    }
}

#[cfg(test)]
mod tests;
