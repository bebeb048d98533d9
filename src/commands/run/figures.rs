//! Means and spread of the runs of one sensor, or of the sum of several.

use crate::commands::measuring::{Energy, Moments};

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    /// Energies of the runs in joules.
    pub(super) runs: Moments,
    /// All runs together.
    pub(super) total: Energy,
    /// Mean power in watts.
    pub(super) watts: Option<f64>,
    pub(super) net: Option<Net>,
}

/// Energy of a run beyond that of the idle power.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Net {
    pub(super) idle_watts: f64,
    pub(super) joules: f64,
    pub(super) uncertainty: f64,
}

impl Figures {
    /// Returns the figures of some runs, net of an idle time if there was one.
    pub(super) fn new(runs: &[Energy], idle: Option<&Energy>) -> Self {
        let mut figures = Self::default();
        for run in runs {
            figures.runs.add(run.joules);
            figures.total.add(run);
        }
        figures.watts = figures.total.watts();
        figures.net = idle.filter(|_| figures.watts.is_some()).and_then(|idle| {
            let idle_watts = idle.watts()?;
            let measured = figures.mean(figures.total.measured.as_secs_f64());
            let share = measured / idle.measured.as_secs_f64();
            Some(Net {
                idle_watts,
                joules: figures.runs.mean - idle_watts * measured,
                uncertainty: figures.uncertainty() + idle.uncertainty * share,
            })
        });
        figures
    }

    /// Returns the figures of sensors that feed one load, from the energies of each run and the
    /// figures of each sensor.
    pub(super) fn sum<'a>(
        runs: &[&[Energy]],
        sensors: impl Iterator<Item = &'a Self> + Clone,
    ) -> Self {
        let sum = |run: &&[Energy]| {
            let mut sum = Energy::default();
            run.iter().for_each(|energy| sum.add(energy));
            Energy {
                duration: run.iter().map(|it| it.duration).max().unwrap_or_default(),
                measured: run.iter().map(|it| it.measured).min().unwrap_or_default(),
                extremes: None,
                ..sum
            }
        };
        let runs: Vec<Energy> = runs.iter().map(sum).collect();
        let nets: Option<Vec<Net>> = sensors.clone().map(|it| it.net).collect();
        let net = nets.map(|nets| Net {
            idle_watts: nets.iter().map(|net| net.idle_watts).sum(),
            joules: nets.iter().map(|net| net.joules).sum(),
            uncertainty: nets.iter().map(|net| net.uncertainty).sum(),
        });
        Self { watts: sensors.map(|it| it.watts).sum(), net, ..Self::new(&runs, None) }
    }

    /// Returns the mean per run of a quantity, from its sum over the runs.
    fn mean(&self, sum: f64) -> f64 {
        sum / f64::from(self.runs.count)
    }

    /// Returns a bound on the error of the mean energy, in joules. It is the mean of the bounds of
    /// all runs, because their errors may have the same direction.
    pub(super) fn uncertainty(&self) -> f64 {
        self.mean(self.total.uncertainty)
    }

    /// Returns the mean duration of a run in seconds.
    pub(super) fn seconds(&self) -> f64 {
        self.mean(self.total.duration.as_secs_f64())
    }

    /// Returns the time of all runs that no result covers, in seconds.
    pub(super) fn unmeasured_seconds(&self) -> f64 {
        self.total.unmeasured().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn energy(joules: f64) -> Energy {
        Energy {
            joules,
            uncertainty: 0.5,
            duration: 2 * SECOND,
            measured: 2 * SECOND,
            missed: 1.0,
            extremes: Some((joules, 10.0 - joules)),
        }
    }

    #[test]
    fn mean_deviation_and_net_match_the_textbook() {
        let runs = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].map(energy);
        let idle = Energy { joules: 3.0, uncertainty: 0.3, measured: 6 * SECOND, ..energy(0.0) };
        let figures = Figures::new(&runs, Some(&idle));
        let Figures { runs: Moments { count, mean, .. }, total, watts, net } = figures.clone();
        let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(near(mean, 5.0) && near(watts.unwrap(), 2.5) && count == 8, "{figures:?}");
        assert!(near(figures.runs.deviation().unwrap(), (32.0_f64 / 7.0).sqrt()));
        assert_eq!((total.extremes, total.missed), (Some((9.0, 1.0)), 8.0));
        assert_eq!((figures.uncertainty(), figures.seconds()), (0.5, 2.0));
        // 5 J - 0.5 W × 2 s; a third of the 0.3 J of the idle time.
        let net = net.unwrap();
        assert!(near(net.joules, 4.0) && near(net.uncertainty, 0.6) && near(net.idle_watts, 0.5));
        assert_eq!(Figures::new(&[energy(2.0)], None).runs.deviation(), None);
        let lost = Energy { measured: Duration::ZERO, ..energy(0.0) };
        assert_eq!(Figures::new(&[lost], Some(&idle)).net, None);
    }

    #[test]
    fn sum_has_the_spread_of_the_sums() {
        let runs = [&[energy(1.0), energy(5.0)][..], &[energy(5.0), energy(1.0)]];
        let own = [Figures::new(&[energy(1.0), energy(5.0)], None), Figures::new(&[], None)];
        let sum = Figures::sum(&runs, own[..1].iter());
        assert_eq!((sum.runs.mean, sum.uncertainty(), sum.runs.deviation()), (6.0, 1.0, Some(0.0)));
        assert_eq!((sum.total.extremes, sum.watts, sum.seconds()), (None, Some(1.5), 2.0));
    }
}
