//! What a simulated sensor measures: a source with a resistance, and a current drawn from it.

use std::f64::consts::TAU;

/// A load at one sensor.
pub struct Load {
    /// Voltage of the source without a load, in volts.
    pub source: f64,
    /// Resistance between the source and the sensor, in ohms.
    pub resistance: f64,
    /// Current in amperes at a time in seconds.
    pub current: Box<dyn Fn(f64) -> f64 + Send>,
}

impl Load {
    /// The same current for ever, from a source without resistance.
    #[must_use]
    pub fn steady(volts: f64, amperes: f64) -> Self {
        Self {
            source: volts,
            resistance: 0.0,
            current: Box::new(move |_| amperes),
        }
    }

    /// A single-board computer on a 5.1 V supply with 50 mΩ of cable: idles at 0.6 A, breathes by 0.1 A within half a minute,
    /// and works with 1.2 A more for 4 s of every 10 s. Boards that start later than others are out of step.
    #[must_use]
    pub fn board(number: u32) -> Self {
        let shift = f64::from(number) * 1.7;
        let current = move |seconds: f64| {
            let t = seconds + shift;
            let work = if t.rem_euclid(10.0) < 4.0 { 1.2 } else { 0.0 };
            0.6 + 0.1 * (TAU * t / 30.0).sin() + work
        };
        Self {
            source: 5.1,
            resistance: 0.05,
            current: Box::new(current),
        }
    }

    /// Current and voltage at a time.
    pub(super) fn at(&self, seconds: f64) -> (f64, f64) {
        let current = (self.current)(seconds);
        (current, self.source - self.resistance * current)
    }
}
