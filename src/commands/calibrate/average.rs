//! Mean and standard error of a steady quantity.

use std::time::{Duration, Instant};

use crate::commands::measuring::Moments;

/// Step of the registers: 1.25 mA and 1.25 mV.
const STEP: f64 = 0.00125;
/// Number of parts into which the time is divided; their means are compared.
const BLOCKS: usize = 10;
/// Minimum number of results in a block.
const MIN_RESULTS: u32 = 2;

/// Mean of a quantity with its standard error, in amperes or volts, before calibration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mean {
    pub(super) mean: f64,
    pub(super) error: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Average {
    pub(super) results: u32,
    pub(super) current: Mean,
    pub(super) voltage: Mean,
}

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
    /// Current and voltage.
    moments: [[Moments; BLOCKS]; 2],
}

impl Blocks {
    pub(super) fn new(begun: Instant, duration: Duration) -> Self {
        Self { begun, duration, moments: Default::default() }
    }

    /// Adds a result that ended at `end`; ignores results outside the time.
    pub(super) fn add(&mut self, end: Instant, amperes: f64, volts: f64) {
        let Some(at) = end.checked_duration_since(self.begun) else { return };
        let block = BLOCKS as u128 * at.as_nanos() / self.duration.as_nanos().max(1);
        for (blocks, value) in self.moments.iter_mut().zip([amperes, volts]) {
            if let Some(block) = usize::try_from(block).ok().and_then(|it| blocks.get_mut(it)) {
                block.add(value);
            }
        }
    }

    /// Returns the means over the whole time, if both quantities were steady.
    pub(super) fn average(&self) -> Result<Average, Unusable> {
        let [currents, voltages] = &self.moments;
        let current = steady(currents, ("current", "mA"))?;
        let voltage = steady(voltages, ("voltage", "mV"))?;
        Ok(Average { results: currents.iter().map(|block| block.count).sum(), current, voltage })
    }
}

/// Returns the mean of the blocks, unless they differ by more than noise explains: by more than six
/// times the standard error of a block, a step, and a thousandth of the mean.
fn steady(
    blocks: &[Moments; BLOCKS],
    (quantity, unit): (&'static str, &'static str),
) -> Result<Mean, Unusable> {
    /// Noise of single conversions, in steps, beyond which something other than the chip varies.
    const MAX_NOISE: f64 = 8.0;
    /// Maximum ripple of a constant load, relative to the mean: of single results, and of blocks.
    const RIPPLES: [f64; 2] = [0.01, 0.001];
    let fewest = blocks.iter().map(|block| block.count).min().unwrap_or_default();
    if fewest < MIN_RESULTS {
        return Err(Unusable::TooFew);
    }
    let sum = |of: fn(&Moments) -> f64| blocks.iter().map(of).sum::<f64>();
    let count = sum(|block| f64::from(block.count));
    let mean = sum(|block| block.mean * f64::from(block.count)) / count;
    // Deviation of single results from the means of their blocks.
    let deviation = (sum(|block| block.squares) / (count - sum(|_| 1.0))).sqrt();
    let means = blocks.iter().map(|block| block.mean);
    let range = means.clone().fold(f64::MIN, f64::max) - means.fold(f64::MAX, f64::min);
    let [single, of_means] = RIPPLES.map(|ripple| ripple * mean.abs());
    let allowed = (6.0 * deviation / f64::from(fewest).sqrt()).max(STEP).max(of_means);
    if range > allowed || deviation > (MAX_NOISE * STEP).max(single) {
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

    /// Returns the average of 1,000 results of 10 ms; `milliamperes` is their current by index.
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
