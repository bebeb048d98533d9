//! Physical quantities as types, in base units (SI Brochure, 9th edition).

use std::fmt;

/// Electric potential in volts: what the chip calls bus voltage, from VBUS to ground.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Volts(pub f64);

/// Electric current in amperes; positive from IN+ to IN-.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Amperes(pub f64);

/// Power in watts; has the sign of the current.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Watts(pub f64);

impl fmt::Display for Volts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} V", self.0)
    }
}

impl fmt::Display for Amperes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} A", self.0)
    }
}

impl fmt::Display for Watts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} W", self.0)
    }
}
