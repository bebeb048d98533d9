//! Names of chips that are mistaken for INA260s, from the registers of their data sheets.

use super::registers::{DIE_REVISION, MANUFACTURER};
use crate::i2c::{Address, Bus};

/// ID registers of the INA228 and its relatives (SBOSA20).
const MANUFACTURER_ID: u8 = 0x3E;
const DEVICE_ID: u8 = 0x3F;
/// The INA219 (SBOS448) and the identical INA220 have no ID registers, but this power-on value of
/// the configuration register.
const CONFIGURATION: u8 = 0x00;
const INA219_POWER_ON: u16 = 0x399F;

/// Returns the name of the chip at `address`, whose ID registers are not those of an INA260.
pub(super) fn name(
    bus: &mut dyn Bus,
    address: Address,
    manufacturer: u16,
    die: u16,
) -> Option<&'static str> {
    if manufacturer == MANUFACTURER
        && let Some(name) = by_id(die)
    {
        return Some(name);
    }
    let mut read = |register| bus.read_word(address, register).ok();
    if read(MANUFACTURER_ID)? == MANUFACTURER {
        by_id(read(DEVICE_ID)?)
    } else {
        (read(CONFIGURATION)? == INA219_POWER_ON).then_some("INA219")
    }
}

fn by_id(id: u16) -> Option<&'static str> {
    match id & !DIE_REVISION {
        0x2260 => Some("INA226"),
        0x2280 => Some("INA228"),
        0x2370 => Some("INA237"),
        0x2380 => Some("INA238"),
        0x3220 => Some("INA3221"),
        _ => None,
    }
}
