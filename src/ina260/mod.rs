//! INA260 driver: registers, settings, and conversion of results (TI data sheet SBOS656C).

use std::ops::RangeInclusive;

use crate::i2c::{self, Address, Bus};

pub mod alert;
pub mod calibration;
mod measurement;
pub mod registers;
pub mod settings;

use alert::Alert;
pub(crate) use measurement::{Measurement, POWER_LIMIT};
use registers::{DIE, DIE_REVISION, MANUFACTURER, MaskEnable, POWER_ON_CONFIGURATION, Register};
use settings::{Mode, Settings};

/// Addresses that the chip can have: pins A0 and A1.
pub const ADDRESSES: RangeInclusive<u8> = 0x40..=0x4F;

/// A failed operation on a sensor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages describe the rest")]
pub enum Error {
    /// A kernel driver has claimed the chip, which is an INA260.
    #[error("{0}")]
    Bound(i2c::BoundDriver),
    /// A kernel driver has claimed the chip, which has this name.
    #[error("in use by the kernel ({0}), not an INA260")]
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
    pub(crate) fn is_other_chip(&self) -> bool {
        matches!(self, Self::InUse(_) | Self::NotAnIna260 { .. })
    }
}

/// A sensor: its address and intended settings. Holds no state of the chip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ina260 {
    /// Address on its bus.
    pub address: Address,
    /// Settings to be written.
    pub settings: Settings,
    /// Alert to be written.
    pub alert: Option<Alert>,
    /// Whether the chip is written at all. In read-only mode its settings are used as found.
    pub configure: bool,
    /// Whether the power guard may use the comparator while there is no alert.
    pub power_guard: bool,
}

/// Content of the writable registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterDump {
    pub(crate) configuration: u16,
    /// Including the flags.
    pub(crate) mask_enable: MaskEnable,
    pub(crate) alert_limit: u16,
}

impl RegisterDump {
    /// Returns whether the writable bits of mask/enable still match: a cheap check for resets.
    pub(crate) const fn matches_flags(&self, flags: MaskEnable) -> bool {
        flags.kept() == self.mask_enable.kept()
    }

    /// Returns the words to write, without flags; configuration last, as it starts a conversion.
    fn words(&self) -> [(Register, u16); 3] {
        [
            (Register::AlertLimit, self.alert_limit),
            (Register::MaskEnable, self.mask_enable.kept()),
            (Register::Configuration, self.configuration),
        ]
    }

    pub(crate) fn is_power_on(&self) -> bool {
        self.words().map(|(_, word)| word) == [0, 0, POWER_ON_CONFIGURATION]
    }

    /// Decodes averaging and conversion times.
    pub fn settings(&self) -> Settings {
        Settings::from_word(self.configuration)
    }
}

/// Kernel drivers that can hold an INA260, whatever name the kernel gives the chip.
const DRIVERS: [&str; 2] = ["ina2xx", "ina2xx_adc"];

/// Identifies the chip at `address` by its ID registers and returns its die ID. The chip of a
/// kernel driver that cannot hold an INA260 is not accessed.
pub(crate) fn identify(bus: &mut dyn Bus, address: Address) -> Result<u16, Error> {
    let driver = bus.bound_driver(address);
    if let Some(other) = driver.as_ref().filter(|it| !DRIVERS.contains(&it.driver.as_str())) {
        return Err(Error::InUse(other.device.clone()));
    }
    // The die first: 0xFE resets some humidity sensors at 0x40 (SHT2x, Si7021), which do not
    // acknowledge 0xFF.
    let mut ids = || {
        Ok((read(bus, address, Register::DieId)?, read(bus, address, Register::ManufacturerId)?))
    };
    let is_ina260 = |(die, manufacturer): (u16, u16)| {
        manufacturer == MANUFACTURER && die & !DIE_REVISION == DIE
    };
    let first = ids()?;
    // A word can be corrupted.
    let (die, manufacturer) = if is_ina260(first) { first } else { ids()? };
    if is_ina260((die, manufacturer)) {
        return driver.map_or(Ok(die), |driver| Err(Error::Bound(driver)));
    }
    let name = name_of_other_chip(bus, address, manufacturer, die);
    Err(match driver {
        Some(driver) => Error::InUse(name.map_or(driver.device, str::to_owned)),
        None => Error::NotAnIna260 { name, manufacturer, die },
    })
}

/// Returns the name of a chip that is not an INA260, from the registers of its data sheet.
fn name_of_other_chip(
    bus: &mut dyn Bus,
    address: Address,
    manufacturer: u16,
    die: u16,
) -> Option<&'static str> {
    let by_id = |id| match id & !DIE_REVISION {
        0x2260 => Some("INA226"),
        0x2280 => Some("INA228"),
        0x2370 => Some("INA237"),
        0x2380 => Some("INA238"),
        0x3220 => Some("INA3221"),
        _ => None,
    };
    if let Some(name) = by_id(die).filter(|_| manufacturer == MANUFACTURER) {
        return Some(name);
    }
    let mut read = |register| bus.read_word(address, register).ok();
    // The INA228 and its relatives have their ID registers at 0x3E and 0x3F (SBOSA20).
    if read(0x3E)? == MANUFACTURER {
        return by_id(read(0x3F)?);
    }
    // The INA219 (SBOS448) and the identical INA220 have none, but this power-on configuration.
    (read(0x00)? == 0x399F).then_some("INA219")
}

/// Reads the writable registers, which clears the conversion-ready flag and a latched alert.
///
/// # Errors
/// A failed transfer.
pub fn read_settings(bus: &mut dyn Bus, address: Address) -> Result<RegisterDump, Error> {
    Ok(RegisterDump {
        configuration: read(bus, address, Register::Configuration)?,
        mask_enable: MaskEnable(read(bus, address, Register::MaskEnable)?),
        alert_limit: read(bus, address, Register::AlertLimit)?,
    })
}

/// Writes the writable registers of a chip as they were read.
pub(crate) fn write_settings(
    bus: &mut dyn Bus,
    address: Address,
    registers: &RegisterDump,
) -> Result<(), Error> {
    let mut words = registers.words().into_iter();
    words.try_for_each(|(register, word)| write(bus, address, register, word))
}

/// Reads current, voltage and, if `with_power`, power; `overflow` is the OVF flag. Clears no flags.
pub(crate) fn measure(
    bus: &mut dyn Bus,
    address: Address,
    overflow: bool,
    with_power: bool,
) -> Result<Measurement, Error> {
    let mut word = |register| read(bus, address, register);
    Ok(Measurement {
        current_word: word(Register::Current)?,
        voltage_word: word(Register::BusVoltage)?,
        power_word: with_power.then(|| word(Register::Power)).transpose()?,
        overflow,
    })
}

pub(crate) fn read(bus: &mut dyn Bus, address: Address, register: Register) -> Result<u16, Error> {
    bus.read_word(address, register as u8).map_err(|source| Error::Read { register, source })
}

fn write(bus: &mut dyn Bus, address: Address, register: Register, word: u16) -> Result<(), Error> {
    bus.write_word(address, register as u8, word)
        .map_err(|source| Error::Write { register, source })
}

impl Ina260 {
    /// Returns the words to be written. The alert latch is always on: it is off at power-on, so
    /// that each mask/enable read reveals a brown-out.
    fn registers(&self) -> RegisterDump {
        let alert = self.alert.map_or(0, |alert| alert.mask_bits);
        RegisterDump {
            configuration: self.settings.word(),
            mask_enable: MaskEnable(MaskEnable::LATCH | alert),
            alert_limit: self.alert.map_or(0, |alert| alert.limit_word),
        }
    }

    /// Writes the registers and reads them back. Returns their content.
    ///
    /// A configuration that is already right is not written, since a write discards the running
    /// average. In read-only mode, nothing is written. `around_start` is called before and after
    /// the write that restarts the conversions, if there is one.
    pub(crate) fn configure(
        &self,
        bus: &mut dyn Bus,
        mut around_start: impl FnMut(),
    ) -> Result<RegisterDump, Error> {
        if !self.configure {
            let found = read_settings(bus, self.address)?;
            return match Mode::from_word(found.configuration) {
                Mode::BothContinuous => Ok(found),
                _ => Err(Error::NotContinuous(found.configuration)),
            };
        }
        let registers = self.registers();
        let configuration = registers.configuration;
        let is_configured = read(bus, self.address, Register::Configuration)? == configuration;
        self.set_comparator(bus, None, &registers)?;
        if !is_configured {
            around_start();
            write(bus, self.address, Register::Configuration, configuration)?;
            around_start();
        }
        for (register, wrote) in registers.words() {
            let flags = if register == Register::MaskEnable { !MaskEnable::KEPT } else { 0 };
            let read = read(bus, self.address, register)? & !flags;
            if read != wrote {
                return Err(Error::RegisterMismatch { register, wrote, read });
            }
        }
        Ok(registers)
    }

    /// Reads the flags, which clears the conversion-ready flag and a latched alert.
    pub(crate) fn read_flags(&self, bus: &mut dyn Bus) -> Result<MaskEnable, Error> {
        read(bus, self.address, Register::MaskEnable).map(MaskEnable)
    }

    /// Reads the flags of a chip whose settings may be lost. Returns whether its alert is latched.
    pub(crate) fn has_alert(&self, bus: &mut dyn Bus) -> Result<bool, Error> {
        let flags = self.read_flags(bus)?;
        Ok(flags.alert() && self.registers().matches_flags(flags))
    }

    /// Reads configuration and alert limit, which the flags do not show. Returns all registers if
    /// they are not the `expected` ones.
    pub(crate) fn check(
        &self,
        bus: &mut dyn Bus,
        expected: &RegisterDump,
        flags: MaskEnable,
    ) -> Result<Option<RegisterDump>, Error> {
        let found = RegisterDump {
            configuration: read(bus, self.address, Register::Configuration)?,
            mask_enable: flags,
            alert_limit: read(bus, self.address, Register::AlertLimit)?,
        };
        Ok((found.words() != expected.words()).then_some(found))
    }

    /// Returns whether the power guard may use the comparator.
    pub(crate) const fn can_guard(&self) -> bool {
        self.power_guard && self.configure && self.alert.is_none()
    }

    /// Sets alert function and limit; `from` is the mask/enable register before, if known. One
    /// function is never combined with the limit of another: the comparator would trip on a load
    /// that is within both.
    pub(crate) fn set_comparator(
        &self,
        bus: &mut dyn Bus,
        from: Option<MaskEnable>,
        to: &RegisterDump,
    ) -> Result<(), Error> {
        let off = to.mask_enable.0 & (MaskEnable::LATCH | MaskEnable::ACTIVE_HIGH);
        if from.is_none_or(|from| from.kept() != off) {
            write(bus, self.address, Register::MaskEnable, off)?;
        }
        write(bus, self.address, Register::AlertLimit, to.alert_limit)?;
        if to.mask_enable.kept() != off {
            write(bus, self.address, Register::MaskEnable, to.mask_enable.kept())?;
        }
        Ok(())
    }

    /// Disables the alert and its latch. Keeps the polarity: the pin must not signal an alert from
    /// now on.
    pub(crate) fn release(&self, bus: &mut dyn Bus) -> Result<(), Error> {
        let polarity = self.registers().mask_enable.0 & MaskEnable::ACTIVE_HIGH;
        write(bus, self.address, Register::MaskEnable, polarity)
    }
}

#[cfg(test)]
mod tests;
