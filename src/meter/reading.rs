//! One result in units, and the means of several.

use std::time::{Instant, SystemTime};

use crate::units::{Amperes, Volts, Watts};

/// What the Python script showed: the chip's own words in its units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Raw {
    /// In volts.
    pub voltage: f64,
    /// In milliamperes, signed.
    pub current: f64,
    /// In milliwatts, unsigned: the power register.
    pub power: f64,
}

/// One result of a sensor, in units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// When it was read.
    pub at: Instant,
    /// The same for people.
    pub wall: SystemTime,
    /// Mean bus voltage of the cycle.
    pub voltage: Volts,
    /// Mean current of the cycle.
    pub current: Amperes,
    /// Mean power of the cycle, with the sign of the current.
    pub power: Watts,
    /// The script's view of it, where the power register was read.
    pub raw: Option<Raw>,
    /// Which quantities left their range, in the order of [`Quantity::NAMES`](super::Quantity::NAMES).
    pub overflows: [bool; 3],
}

/// Sums over some results, for their means.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// How many.
    pub results: u32,
    voltage: f64,
    current: f64,
    power: f64,
}

impl Sums {
    pub(super) fn add(&mut self, reading: &Reading) {
        self.results += 1;
        self.voltage += reading.voltage.0;
        self.current += reading.current.0;
        self.power += reading.power.0;
    }

    /// The means, if there was a result at all.
    #[must_use]
    pub fn means(&self) -> Option<(Volts, Amperes, Watts)> {
        let n = f64::from(self.results);
        (self.results > 0).then(|| {
            (
                Volts(self.voltage / n),
                Amperes(self.current / n),
                Watts(self.power / n),
            )
        })
    }
}
