//! Physical quantities as types, in SI base units (SI Brochure, 9th edition).

use std::fmt;

use strum::{IntoStaticStr, VariantArray};

/// Voltage in volts; the bus voltage is that from VBUS to ground.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Volts(pub f64);

/// Electric current in amperes; positive from IN+ to IN-.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Amperes(pub f64);

/// Power in watts; positive in the direction of positive current.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Watts(pub f64);

/// Bus voltage, current and power of one measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the types describe the fields")]
pub struct Measured {
    pub voltage: Volts,
    pub current: Amperes,
    pub power: Watts,
}

impl Measured {
    /// Returns quantities given in volts, amperes and watts.
    pub const fn new(volts: f64, amperes: f64, watts: f64) -> Self {
        Self { voltage: Volts(volts), current: Amperes(amperes), power: Watts(watts) }
    }
}

/// A quantity that the chip measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, strum::VariantNames, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Quantity {
    Power,
    Current,
    Voltage,
}

impl Quantity {
    pub(crate) const ALL: &'static [Self] = Self::VARIANTS;

    /// Returns the name, as in label values.
    pub(crate) fn name(self) -> &'static str {
        self.into()
    }

    /// Returns the symbol of the unit.
    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::Power => "W",
            Self::Current => "A",
            Self::Voltage => "V",
        }
    }

    /// Returns the value of the quantity, in its unit.
    pub(crate) const fn of(self, measured: &Measured) -> f64 {
        match self {
            Self::Power => measured.power.0,
            Self::Current => measured.current.0,
            Self::Voltage => measured.voltage.0,
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { voltage, current, power } = self;
        write!(f, "{:.3} V, {:.3} A, {:.3} W", voltage.0, current.0, power.0)
    }
}
