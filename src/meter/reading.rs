//! One result in units, and the means of several.

use std::time::{Instant, SystemTime};

use crate::units::{Amperes, Measured, Volts, Watts};

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
    /// Mean voltage, current and power of the cycle; the power has the sign of the current.
    pub measured: Measured,
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
    sum: Measured,
}

impl Sums {
    pub(super) fn add(&mut self, measured: &Measured) {
        self.results += 1;
        self.sum.voltage.0 += measured.voltage.0;
        self.sum.current.0 += measured.current.0;
        self.sum.power.0 += measured.power.0;
    }

    /// The means, if there was a result at all.
    #[must_use]
    pub fn means(&self) -> Option<Measured> {
        let n = f64::from(self.results);
        (self.results > 0).then(|| {
            Measured::new(
                self.sum.voltage.0 / n,
                self.sum.current.0 / n,
                self.sum.power.0 / n,
            )
        })
    }
}
