//! The register map, in the order of the datasheet (SBOS656C, section 8.6).

/// A register of 16 bits, high byte first on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Register {
    /// Averaging, conversion times, mode. Power-on value `0x6127`.
    Configuration = 0x00,
    /// Two's complement, 1.25 mA per bit.
    Current = 0x01,
    /// 1.25 mV per bit; `0x7FFF` and above: saturated.
    BusVoltage = 0x02,
    /// Unsigned, 10 mW per bit.
    Power = 0x03,
    /// Alert functions and the flags; reading it clears the ready flag and a latched alert.
    MaskEnable = 0x06,
    /// In the unit of the register that the alert function watches.
    AlertLimit = 0x07,
    /// Always [`MANUFACTURER`].
    ManufacturerId = 0xFE,
    /// [`DIE`] and, in the low four bits, the revision.
    DieId = 0xFF,
}

/// Content of the manufacturer identity register: "TI".
pub const MANUFACTURER: u16 = 0x5449;
/// Content of the die identity register without its revision, bits 15-4.
pub const DIE: u16 = 0x2270;
/// The revision in the die identity register.
pub const DIE_REVISION: u16 = 0x000F;

/// Power-on value of the configuration register.
pub const POWER_ON_CONFIGURATION: u16 = 0x6127;
/// Bits 14-12 of the configuration register, which read 110.
pub const CONFIGURATION_FIXED: u16 = 0x6000;
/// RST: writing it sets every register to its power-on value.
pub const RESET: u16 = 0x8000;

/// The content of the mask/enable register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskEnable(pub u16);

impl MaskEnable {
    /// CVRF: every conversion and the averaging are done.
    pub const READY: u16 = 1 << 3;
    /// OVF: the power does not fit its register, over 419.43 W.
    pub const OVERFLOW: u16 = 1 << 2;
    /// AFF: the alert function tripped.
    pub const ALERT: u16 = 1 << 4;
    /// LEN: the alert stays until this register is read.
    pub const LATCH: u16 = 1 << 0;
    /// Bits 15-10, 1 and 0: what the chip keeps as it was written. The others are flags.
    pub const KEPT: u16 = 0xFC03;

    /// A result is there that nobody has seen.
    #[must_use]
    pub const fn ready(self) -> bool {
        self.0 & Self::READY != 0
    }

    /// The power register is invalid.
    #[must_use]
    pub const fn overflow(self) -> bool {
        self.0 & Self::OVERFLOW != 0
    }

    /// The comparator saw its limit crossed.
    #[must_use]
    pub const fn alert(self) -> bool {
        self.0 & Self::ALERT != 0
    }

    /// The settings, without the flags.
    #[must_use]
    pub const fn kept(self) -> u16 {
        self.0 & Self::KEPT
    }
}
