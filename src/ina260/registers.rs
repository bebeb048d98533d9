//! Register map, in the order of the data sheet (SBOS656C, section 8.6).

use strum::Display;

/// A 16-bit register, high byte first on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display)]
#[strum(serialize_all = "title_case")]
#[repr(u8)]
pub enum Register {
    /// Averaging, conversion times, mode. Power-on value `0x6127`.
    Configuration = 0x00,
    /// Two's complement, 1.25 mA per bit.
    Current = 0x01,
    /// 1.25 mV per bit; saturated from `0x7FFF` on.
    BusVoltage = 0x02,
    /// Unsigned, 10 mW per bit.
    Power = 0x03,
    /// Alert function and flags; a read clears the conversion-ready flag and a latched alert.
    #[strum(serialize = "Mask/Enable")]
    MaskEnable = 0x06,
    /// In the unit of the register that the alert function compares.
    AlertLimit = 0x07,
    /// Always [`MANUFACTURER`].
    #[strum(serialize = "Manufacturer ID")]
    ManufacturerId = 0xFE,
    /// [`DIE`] and, in the low four bits, the revision.
    #[strum(serialize = "Die ID")]
    DieId = 0xFF,
}

/// Content of the manufacturer ID register: "TI".
pub const MANUFACTURER: u16 = 0x5449;
/// Content of the die ID register without the revision, bits 15-4.
pub const DIE: u16 = 0x2270;
/// Bits of the revision in the die ID register.
pub const DIE_REVISION: u16 = 0x000F;

/// Power-on value of the configuration register.
pub const POWER_ON_CONFIGURATION: u16 = 0x6127;
/// Bits 14-12 of the configuration register, which read 110.
pub const CONFIGURATION_FIXED: u16 = 0x6000;
/// RST: writing it restores the power-on value of every register.
pub const RESET: u16 = 0x8000;

/// Content of the mask/enable register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskEnable(pub u16);

impl MaskEnable {
    /// AFF: the alert function has tripped.
    pub const ALERT: u16 = 1 << 4;
    /// CVRF: all conversions of a cycle, with their averaging, are complete.
    pub const READY: u16 = 1 << 3;
    /// OVF: the power exceeds its register, 419.43 W.
    pub const OVERFLOW: u16 = 1 << 2;
    /// APOL: the ALERT pin is active high.
    pub const ACTIVE_HIGH: u16 = 1 << 1;
    /// LEN: an alert is latched until this register is read.
    pub const LATCH: u16 = 1 << 0;
    /// Bits 15-10, 1 and 0, which read as they were written. The other bits are flags.
    pub const KEPT: u16 = 0xFC03;

    pub(crate) const fn ready(self) -> bool {
        self.0 & Self::READY != 0
    }

    pub(crate) const fn overflow(self) -> bool {
        self.0 & Self::OVERFLOW != 0
    }

    pub(crate) const fn alert(self) -> bool {
        self.0 & Self::ALERT != 0
    }

    /// Returns the writable bits, without the flags.
    pub const fn kept(self) -> u16 {
        self.0 & Self::KEPT
    }
}

/// Rounds to the steps of a register and clamps to its range.
#[expect(clippy::cast_possible_truncation, reason = "clamped to 16 bits")]
#[expect(clippy::cast_sign_loss, reason = "two's complement")]
pub(crate) fn word(steps: f64, range: [f64; 2]) -> u16 {
    steps.round().clamp(range[0], range[1]) as i32 as u16
}
