//! Loads whose energy is known exactly, from the integrals of the current and of its square.
//!
//! Constant levels are multiples of the steps of the chip's registers, so that the error of the
//! integration is measured, not that of rounding.

use std::f64::consts::TAU;

use ina260_exporter::simulated::Load;

/// Source voltage without a load.
const VOLTS: f64 = 5.1;

const BURST_EVERY: f64 = 0.5;
const BURST: f64 = 0.02;
const RIPPLE: f64 = 50.0 * TAU;
const RAMP: f64 = 0.008; // amperes per second
const REVERSAL: f64 = TAU / 20.0;

/// A current over time.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    current: fn(f64) -> f64,
    /// Integral of the current from 0 to a time.
    charge: fn(f64) -> f64,
    /// Integral of its square from 0 to a time.
    square: fn(f64) -> f64,
}

/// 0.5 A, and 3.5 A for 20 ms twice per second; 2 A with 1 A of ripple; 0.2 A to 5 A in ten
/// minutes; ±3 A with a period of 20 s.
pub(crate) const SHAPES: [Shape; 4] = [
    Shape {
        name: "20 ms bursts",
        current: |t| {
            if t.rem_euclid(BURST_EVERY) < BURST { 3.5 } else { 0.5 }
        },
        charge: |t| 0.5 * t + 3.0 * bursting(t),
        square: |t| 0.25 * t + 12.0 * bursting(t),
    },
    Shape {
        name: "50 Hz ripple",
        current: |t| 2.0 + (RIPPLE * t).sin(),
        charge: |t| 2.0 * t + (1.0 - (RIPPLE * t).cos()) / RIPPLE,
        square: |t| {
            4.5 * t + 4.0 * (1.0 - (RIPPLE * t).cos()) / RIPPLE
                - (2.0 * RIPPLE * t).sin() / (4.0 * RIPPLE)
        },
    },
    Shape {
        name: "slow ramp",
        current: |t| 0.2 + RAMP * t,
        charge: |t| 0.2 * t + RAMP * t * t / 2.0,
        square: |t| ((0.2 + RAMP * t).powi(3) - 0.008) / (3.0 * RAMP),
    },
    Shape {
        name: "reversal in 10 s",
        current: |t| 3.0 * (REVERSAL * t).sin(),
        charge: |t| 3.0 * (1.0 - (REVERSAL * t).cos()) / REVERSAL,
        square: |t| 9.0 * (t / 2.0 - (2.0 * REVERSAL * t).sin() / (4.0 * REVERSAL)),
    },
];

/// Returns the total duration of bursts until `t`.
fn bursting(t: f64) -> f64 {
    (t / BURST_EVERY).floor() * BURST + t.rem_euclid(BURST_EVERY).min(BURST)
}

/// A shape, drawn from a source with an internal resistance.
#[derive(Clone, Copy)]
pub(crate) struct Drawn {
    pub(crate) shape: Shape,
    pub(crate) ohms: f64,
}

impl Drawn {
    /// Returns the load of a simulated chip.
    pub(crate) fn load(self) -> Load {
        Load { source: VOLTS, resistance: self.ohms, current: Box::new(self.shape.current) }
    }

    /// Returns the exact energy from 0 to `t`.
    pub(crate) fn energy(self, t: f64) -> f64 {
        VOLTS * (self.shape.charge)(t) - self.ohms * (self.shape.square)(t)
    }

    pub(crate) fn current(self, t: f64) -> f64 {
        (self.shape.current)(t)
    }

    pub(crate) fn voltage(self, t: f64) -> f64 {
        VOLTS - self.ohms * self.current(t)
    }

    /// Returns the gross energy of both directions from 0 to `seconds`, in steps of a millisecond.
    pub(crate) fn gross(self, seconds: u32) -> f64 {
        (0..seconds * 1000)
            .map(|milli| {
                let t = (f64::from(milli) + 0.5) / 1e3;
                (self.voltage(t) * self.current(t)).abs() / 1e3
            })
            .sum()
    }
}
