//! Load of a simulated sensor: a source with an internal resistance, and a current drawn from it.

use std::f64::consts::TAU;

/// Load at a sensor.
pub struct Load {
    /// Open-circuit voltage of the source in volts.
    pub source: f64,
    /// Resistance between the source and the sensor, in ohms.
    pub resistance: f64,
    /// Returns the current in amperes at a time in seconds.
    pub current: Box<dyn Fn(f64) -> f64 + Send>,
}

impl Load {
    /// Returns a constant load on a source without resistance.
    pub fn steady(volts: f64, amperes: f64) -> Self {
        Self { source: volts, resistance: 0.0, current: Box::new(move |_| amperes) }
    }

    /// Returns the load of a single-board computer on a 5.1 V supply with 50 mΩ of cable: idles at
    /// 0.6 A, varies by 0.1 A with a period of 30 s, and draws 1.2 A more for 4 s of every 10 s.
    /// Boards of different numbers are out of phase.
    pub fn board(number: u32) -> Self {
        let shift = f64::from(number) * 1.7;
        let current = move |seconds: f64| {
            let t = seconds + shift;
            let work = if t.rem_euclid(10.0) < 4.0 { 1.2 } else { 0.0 };
            0.6 + 0.1 * (TAU * t / 30.0).sin() + work
        };
        Self { source: 5.1, resistance: 0.05, current: Box::new(current) }
    }

    /// Returns current and voltage at a time, in amperes and volts.
    pub(super) fn at(&self, seconds: f64) -> (f64, f64) {
        let current = (self.current)(seconds);
        (current, self.source - self.resistance * current)
    }
}
