//! One result in physical units, and the means of several.

use std::time::{Duration, Instant};

use crate::units::Measured;

/// The registers of a result in the units of the Python script's metrics, not calibrated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Raw {
    /// In volts.
    pub voltage: f64,
    /// In milliamperes, signed.
    pub current: f64,
    /// In milliwatts, unsigned: the power register.
    pub power: f64,
}

/// One result of a sensor, in physical units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Monotonic time at which it was read.
    pub at: Instant,
    /// Time since boot at which it was read. It becomes a wall-clock time when it is shown: the
    /// clock may be set in between.
    pub booted: Duration,
    /// Means over the cycle, calibrated.
    pub measured: Measured,
    /// Values of the script's metrics, if the power register was read.
    pub raw: Option<Raw>,
}

/// Sums over several results, for their means.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Number of results.
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

    /// Returns the means, if there was at least one result.
    pub fn means(&self) -> Option<Measured> {
        let n = f64::from(self.results);
        let Measured { voltage, current, power } = self.sum;
        (self.results > 0).then(|| Measured::new(voltage.0 / n, current.0 / n, power.0 / n))
    }
}
