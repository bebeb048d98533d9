//! Mean and spread of a quantity.

/// Number, mean and sum of squared deviations of the values so far (Welford's method).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::commands) struct Moments {
    pub(in crate::commands) count: u32,
    pub(in crate::commands) mean: f64,
    pub(in crate::commands) squares: f64,
}

impl Moments {
    pub(in crate::commands) fn add(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / f64::from(self.count);
        self.squares += before * (value - self.mean);
    }

    /// Returns the sample standard deviation; `None`: fewer than two values.
    pub(in crate::commands) fn deviation(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.squares / f64::from(self.count - 1)).sqrt())
    }
}
