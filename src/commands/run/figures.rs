//! Means and spread of the runs of one sensor, or of the sum of several.

use crate::commands::measuring::Energy;

/// Figures of one sensor over its runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) runs: usize,
    /// Mean energy of a run in joules.
    pub(super) joules: f64,
    /// Bound on what the ends of a run leave open, in joules; a mean, because the ends of all runs
    /// may be wrong in the same direction.
    pub(super) uncertainty: f64,
    /// Sample standard deviation in joules; `None`: fewer than two runs.
    pub(super) deviation: Option<f64>,
    /// Mean power in watts.
    pub(super) watts: Option<f64>,
    /// Maximum power in watts and minimum voltage in volts of all runs.
    pub(super) extremes: Option<(f64, f64)>,
    /// Mean duration of a run.
    pub(super) seconds: f64,
    /// Time of all runs that is not measured.
    pub(super) unmeasured_seconds: f64,
    pub(super) missed: f64,
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
    #[expect(clippy::cast_precision_loss, reason = "the runs are counted in 32 bits")]
    pub(super) fn new(runs: &[Energy], idle: Option<&Energy>) -> Self {
        let n = runs.len() as f64;
        let mean = |of: fn(&Energy) -> f64| runs.iter().map(of).sum::<f64>() / n;
        let joules = mean(|run| run.joules);
        let uncertainty = mean(|run| run.uncertainty);
        let squares: f64 = runs.iter().map(|run| (run.joules - joules).powi(2)).sum();
        let measured = mean(|run| run.measured.as_secs_f64());
        let net = idle.and_then(|idle| {
            let idle_watts = idle.watts()?;
            let share = measured / idle.measured.as_secs_f64();
            Some(Net {
                idle_watts,
                joules: joules - idle_watts * measured,
                uncertainty: uncertainty + idle.uncertainty * share,
            })
        });
        let extremes = runs.iter().filter_map(|run| run.extremes);
        Self {
            runs: runs.len(),
            joules,
            uncertainty,
            deviation: (runs.len() > 1).then(|| (squares / (n - 1.0)).sqrt()),
            watts: (measured > 0.0).then(|| joules / measured),
            extremes: extremes.reduce(|a, b| (a.0.max(b.0), a.1.min(b.1))),
            seconds: mean(|run| run.duration.as_secs_f64()),
            unmeasured_seconds: mean(|run| run.unmeasured().as_secs_f64()) * n,
            missed: runs.iter().map(|run| run.missed).sum(),
            net,
        }
    }

    /// Returns the figures of sensors that feed one load, from the sums of each run and their own.
    pub(super) fn sum(runs: &[Vec<Energy>], sensors: &[Self]) -> Self {
        let sum = |run: &Vec<Energy>| Energy {
            joules: run.iter().map(|it| it.joules).sum(),
            uncertainty: run.iter().map(|it| it.uncertainty).sum(),
            duration: run.iter().map(|it| it.duration).max().unwrap_or_default(),
            measured: run.iter().map(|it| it.measured).min().unwrap_or_default(),
            missed: run.iter().map(|it| it.missed).sum(),
            extremes: None,
        };
        let runs: Vec<Energy> = runs.iter().map(sum).collect();
        let nets: Option<Vec<Net>> = sensors.iter().map(|it| it.net).collect();
        let net = nets.map(|nets| Net {
            idle_watts: nets.iter().map(|net| net.idle_watts).sum(),
            joules: nets.iter().map(|net| net.joules).sum(),
            uncertainty: nets.iter().map(|net| net.uncertainty).sum(),
        });
        let watts = sensors.iter().map(|it| it.watts).sum();
        Self { watts, net, ..Self::new(&runs, None) }
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
        assert_eq!((figures.runs, figures.joules, figures.watts), (8, 5.0, Some(2.5)));
        assert_eq!(figures.deviation, Some((32.0_f64 / 7.0).sqrt()));
        assert_eq!((figures.extremes, figures.missed), (Some((9.0, 1.0)), 8.0));
        // 5 J - 0.5 W × 2 s; a third of the 0.3 J of the idle time.
        assert_eq!(figures.net, Some(Net { idle_watts: 0.5, joules: 4.0, uncertainty: 0.6 }));
        assert_eq!(Figures::new(&runs[..1], None).deviation, None);
    }

    #[test]
    fn sum_has_the_spread_of_the_sums() {
        let runs = [vec![energy(1.0), energy(5.0)], vec![energy(5.0), energy(1.0)]];
        let own = [Figures::new(&[energy(1.0), energy(5.0)], None), Figures::new(&[], None)];
        let sum = Figures::sum(&runs, &own[..1]);
        assert_eq!((sum.joules, sum.uncertainty, sum.deviation), (6.0, 1.0, Some(0.0)));
        assert_eq!((sum.extremes, sum.watts, sum.seconds), (None, Some(1.5), 2.0));
    }
}
