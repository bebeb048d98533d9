//! Mean and standard error of a steady quantity.

use std::time::{Duration, Instant};

/// Step of the registers: 1.25 mA and 1.25 mV.
const STEP: f64 = 0.00125;
/// Parts of the time whose means are compared.
const BLOCKS: usize = 10;
/// Fewest results in a block.
const MIN_RESULTS: f64 = 2.0;

/// Number, mean and sum of squared deviations of the values so far (Welford's method).
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let before = value - self.mean;
        self.mean += before / self.count;
        self.squares += before * (value - self.mean);
    }
}

/// Mean of a quantity with its standard error, in amperes or volts of the chip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mean {
    pub(super) mean: f64,
    pub(super) error: f64,
}

/// Means of both quantities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Average {
    pub(super) results: u32,
    pub(super) current: Mean,
    pub(super) voltage: Mean,
}

/// Reason why an average cannot be used.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum Unusable {
    #[error(
        "too few results in a tenth of the time; check that the sensor responds, or use a longer \
         --for"
    )]
    TooFew,
    #[error(
        "the {quantity} is not steady (its means over tenths of the time differ by {range:.2} \
         {unit}, single results by {spread:.2} {unit} rms); switch the load off for --zero, or \
         use a constant one"
    )]
    NotSteady { quantity: &'static str, unit: &'static str, range: f64, spread: f64 },
}

/// Collects results in blocks of equal time.
pub(super) struct Blocks {
    begun: Instant,
    duration: Duration,
    current: [Moments; BLOCKS],
    voltage: [Moments; BLOCKS],
}

impl Blocks {
    pub(super) fn new(begun: Instant, duration: Duration) -> Self {
        let empty = [Moments::default(); BLOCKS];
        Self { begun, duration, current: empty, voltage: empty }
    }

    /// Adds a result that ended at `end`; ignores one before or after the time.
    pub(super) fn add(&mut self, end: Instant, amperes: f64, volts: f64) {
        let Some(at) = end.checked_duration_since(self.begun) else { return };
        let block = BLOCKS as u128 * at.as_nanos() / self.duration.as_nanos().max(1);
        let block = usize::try_from(block).unwrap_or(BLOCKS);
        if let (Some(current), Some(voltage)) =
            (self.current.get_mut(block), self.voltage.get_mut(block))
        {
            current.add(amperes);
            voltage.add(volts);
        }
    }

    /// Returns the means over the whole time, if both quantities were steady.
    pub(super) fn average(&self) -> Result<Average, Unusable> {
        // The current of a load may have a ripple of a hundredth, its means not a tenth of that.
        let current = steady(&self.current, ("current", "mA"), 0.01)?;
        let voltage = steady(&self.voltage, ("voltage", "mV"), 0.01)?;
        let results: f64 = self.current.iter().map(|block| block.count).sum();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        Ok(Average { results: results as u32, current, voltage })
    }
}

/// Returns the mean of the blocks, unless they differ by more than noise explains: six times the
/// standard error of a block, a step, or a tenth of `ripple`.
fn steady(
    blocks: &[Moments],
    (quantity, unit): (&'static str, &'static str),
    ripple: f64,
) -> Result<Mean, Unusable> {
    /// Noise of single conversions, in steps, beyond which something other than the chip varies.
    const MAX_NOISE: f64 = 8.0;
    let count: f64 = blocks.iter().map(|block| block.count).sum();
    if blocks.iter().any(|block| block.count < MIN_RESULTS) {
        return Err(Unusable::TooFew);
    }
    let mean = blocks.iter().map(|block| block.mean * block.count).sum::<f64>() / count;
    // Deviation of single results from the means of their blocks.
    let squares: f64 = blocks.iter().map(|block| block.squares).sum();
    let deviation = (squares / (count - blocks.iter().map(|_| 1.0).sum::<f64>())).sqrt();
    let means = blocks.iter().map(|block| block.mean);
    let range = means.clone().fold(f64::MIN, f64::max) - means.fold(f64::MAX, f64::min);
    let smallest = blocks.iter().map(|block| block.count).fold(f64::MAX, f64::min);
    let allowed = (6.0 * deviation / smallest.sqrt()).max(STEP).max(ripple / 10.0 * mean.abs());
    if range > allowed || deviation > (MAX_NOISE * STEP).max(ripple * mean.abs()) {
        let (range, spread) = (range * 1e3, deviation * 1e3);
        return Err(Unusable::NotSteady { quantity, unit, range, spread });
    }
    // Without noise of about half a step, rounding does not average out.
    let rounding = if deviation < STEP / 2.0 { STEP / 12_f64.sqrt() } else { 0.0 };
    Ok(Mean { mean, error: (deviation.powi(2) / count + rounding.powi(2)).sqrt() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Ten seconds of results of 10 ms, of a current in milliamperes.
    fn average(milliamperes: impl Fn(u32) -> f64) -> Result<Average, Unusable> {
        let begun = Instant::now();
        let mut blocks = Blocks::new(begun, 10 * SECOND);
        for index in 0..1_000 {
            let end = begun + index * SECOND / 100;
            blocks.add(end, milliamperes(index) / 1e3, 5.0);
        }
        blocks.average()
    }

    #[test]
    fn mean_and_standard_error_match_the_textbook() {
        let average = average(|index| if index % 2 == 0 { 0.0 } else { 2.5 }).unwrap();
        assert_eq!(average.results, 1_000);
        assert!((average.current.mean - 0.00125).abs() < 1e-9);
        // 1.25 mA of noise over the root of 1000.
        assert!((average.current.error - 39.5e-6).abs() < 0.5e-6, "{average:?}");
    }

    #[test]
    fn without_noise_the_error_is_that_of_rounding() {
        let average = average(|_| 1.25).unwrap();
        // 1.25 mA over the root of 12.
        assert!((average.current.error - 0.000_360_8).abs() < 1e-6, "{average:?}");
    }

    #[test]
    fn load_that_changes_is_not_steady() {
        let on =
            |from: u32, to: u32| move |index| if (from..to).contains(&index) { 600.0 } else { 0.0 };
        for (what, outcome) in [
            ("a load for a second", average(on(300, 400))),
            ("a load at the end", average(on(900, 1_000))),
            ("a load in pulses", average(|index| if index % 4 == 0 { 600.0 } else { 0.0 })),
            ("a drift", average(|index| f64::from(index) / 100.0)),
        ] {
            assert!(matches!(outcome, Err(Unusable::NotSteady { .. })), "{what}: {outcome:?}");
        }
    }

    #[test]
    fn outage_leaves_too_few_results() {
        let begun = Instant::now();
        let mut blocks = Blocks::new(begun, 10 * SECOND);
        for index in (0..1_000).filter(|index| !(300..400).contains(index)) {
            blocks.add(begun + index * SECOND / 100, 0.0, 5.0);
        }
        assert_eq!(blocks.average(), Err(Unusable::TooFew));
    }
}
