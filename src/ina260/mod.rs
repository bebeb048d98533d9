//! The chip: its registers, its settings, and what its words mean. Source: TI datasheet SBOS656C.

use crate::i2c::{Address, Bus};

pub mod alert;
pub mod calibration;
mod error;
mod measurement;
pub mod registers;
pub mod settings;

use alert::Alert;
pub use error::Error;
pub use measurement::Measurement;
use registers::{DIE, DIE_REVISION, MANUFACTURER, MaskEnable, POWER_ON_CONFIGURATION, Register};
use settings::Settings;

/// One sensor: where it is and what it has to be set to. Remembers nothing of the chip itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ina260 {
    /// On its bus.
    pub address: Address,
    /// What is written to it.
    pub settings: Settings,
    /// What its comparator watches.
    pub alert: Option<Alert>,
    /// Whether anything is written at all. Without, the settings are those that are found.
    pub configure: bool,
}

/// The registers that keep what was written to them, as they are while all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    configuration: u16,
    /// Without its flags.
    mask_enable: u16,
    alert_limit: u16,
}

impl Words {
    /// After power-on, a reset, or a brown-out.
    const POWER_ON: Self = Self {
        configuration: POWER_ON_CONFIGURATION,
        mask_enable: 0,
        alert_limit: 0,
    };

    /// Whether these flags come with these settings. One word on the bus tells, at every look.
    #[must_use]
    pub const fn matches_flags(&self, flags: MaskEnable) -> bool {
        flags.kept() == self.mask_enable
    }
}

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The die identity register.
    pub die: u16,
}

/// What a chip holds besides its results, whoever wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterDump {
    /// The configuration register.
    pub configuration: u16,
    /// The mask/enable register, with the flags.
    pub mask_enable: MaskEnable,
    /// The alert limit register.
    pub alert_limit: u16,
}

/// How a sensor is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configured {
    /// What its registers hold.
    pub words: Words,
    /// The settings in force.
    pub settings: Settings,
    /// They were there already, and with them conversions that began at an unknown time. Else they begin with the last write.
    pub adopted: bool,
}

/// Why a sensor's settings are not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reset {
    /// All of them have their power-on values.
    BrownOut,
    /// Somebody else wrote them.
    Foreign,
}

/// Reads both identity registers of the chip at `address`.
///
/// # Errors
/// A failed transfer, [`Error::Bound`] or [`Error::NotAnIna260`].
pub fn identify(bus: &mut dyn Bus, address: Address) -> Result<Identity, Error> {
    if let Some(owner) = bus.bound_driver(address) {
        return Err(Error::Bound(owner));
    }
    let manufacturer = read(bus, address, Register::ManufacturerId)?;
    let die = read(bus, address, Register::DieId)?;
    if manufacturer == MANUFACTURER && die & !DIE_REVISION == DIE {
        Ok(Identity { die })
    } else {
        Err(Error::NotAnIna260 { manufacturer, die })
    }
}

/// Reads what the chip at `address` is set to, which clears the ready flag and a latched alert.
///
/// # Errors
/// A failed transfer.
pub fn inspect(bus: &mut dyn Bus, address: Address) -> Result<RegisterDump, Error> {
    Ok(RegisterDump {
        configuration: read(bus, address, Register::Configuration)?,
        mask_enable: MaskEnable(read(bus, address, Register::MaskEnable)?),
        alert_limit: read(bus, address, Register::AlertLimit)?,
    })
}

/// Reads voltage, current and, if `with_power`, the power register of the chip at `address`; does not touch its flags.
///
/// # Errors
/// A failed transfer.
pub fn measure(
    bus: &mut dyn Bus,
    address: Address,
    overflow: bool,
    with_power: bool,
) -> Result<Measurement, Error> {
    Ok(Measurement {
        current_word: read(bus, address, Register::Current)?,
        voltage_word: read(bus, address, Register::BusVoltage)?,
        power_word: if with_power {
            Some(read(bus, address, Register::Power)?)
        } else {
            None
        },
        overflow,
    })
}

fn read(bus: &mut dyn Bus, address: Address, register: Register) -> Result<u16, Error> {
    bus.read_word(address, register as u8)
        .map_err(|source| Error::Read { register, source })
}

impl Ina260 {
    /// What is written. The latch is always on: it is off at power-on, so that each look at the mask/enable register shows a
    /// brown-out.
    fn words(&self) -> Words {
        Words {
            configuration: self.settings.word(),
            mask_enable: MaskEnable::LATCH | self.alert.map_or(0, |alert| alert.mask_bits()),
            alert_limit: self.alert.map_or(0, |alert| alert.limit_word()),
        }
    }

    /// Writes limit, mask/enable and configuration, in this order since the last starts a conversion, and reads them back.
    /// The configuration is left alone where it is right already: a write loses the running average. A chip that is not ours to
    /// configure is only read. `around_start` is called before and after the write that starts the conversions over.
    ///
    /// # Errors
    /// A failed transfer, [`Error::NotKept`] or [`Error::NotContinuous`].
    pub fn configure(
        &self,
        bus: &mut dyn Bus,
        mut around_start: impl FnMut(),
    ) -> Result<Configured, Error> {
        if !self.configure {
            return self.adopt(bus);
        }
        let words = self.words();
        let adopted = self.read(bus, Register::Configuration)? == words.configuration;
        self.write(bus, Register::AlertLimit, words.alert_limit)?;
        self.write(bus, Register::MaskEnable, words.mask_enable)?;
        if !adopted {
            around_start();
            self.write(bus, Register::Configuration, words.configuration)?;
            around_start();
        }
        self.verify(bus, Register::AlertLimit, words.alert_limit, u16::MAX)?;
        self.verify(
            bus,
            Register::MaskEnable,
            words.mask_enable,
            MaskEnable::KEPT,
        )?;
        self.verify(bus, Register::Configuration, words.configuration, u16::MAX)?;
        Ok(Configured {
            words,
            settings: self.settings,
            adopted,
        })
    }

    /// Takes the settings as somebody else made them.
    fn adopt(&self, bus: &mut dyn Bus) -> Result<Configured, Error> {
        let held = inspect(bus, self.address)?;
        let words = Words {
            configuration: held.configuration,
            mask_enable: held.mask_enable.kept(),
            alert_limit: held.alert_limit,
        };
        let settings = Settings::from_word(words.configuration)
            .ok_or(Error::NotContinuous(words.configuration))?;
        Ok(Configured {
            words,
            settings,
            adopted: true,
        })
    }

    /// Reads the flags, which clears the ready flag and a latched alert.
    ///
    /// # Errors
    /// A failed transfer.
    pub fn look(&self, bus: &mut dyn Bus) -> Result<MaskEnable, Error> {
        self.read(bus, Register::MaskEnable).map(MaskEnable)
    }

    /// Reads configuration and limit, to find what the flags alone do not show: whether the settings still are as they were.
    ///
    /// # Errors
    /// A failed transfer.
    pub fn check(
        &self,
        bus: &mut dyn Bus,
        expected: &Words,
        flags: MaskEnable,
    ) -> Result<Option<Reset>, Error> {
        let found = Words {
            configuration: self.read(bus, Register::Configuration)?,
            mask_enable: flags.kept(),
            alert_limit: self.read(bus, Register::AlertLimit)?,
        };
        Ok(match found {
            found if found == *expected => None,
            Words::POWER_ON => Some(Reset::BrownOut),
            _ => Some(Reset::Foreign),
        })
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
        measure(bus, self.address, flags.overflow(), with_power)
    }

    /// Switches the alerts off; the settings stay, for whoever comes next.
    ///
    /// # Errors
    /// A failed transfer.
    pub fn release(&self, bus: &mut dyn Bus) -> Result<(), Error> {
        if self.configure {
            self.write(bus, Register::MaskEnable, 0x0000)
        } else {
            Ok(())
        }
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
