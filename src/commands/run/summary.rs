//! The output of `run` as text.

use std::io::{self, Write};

use super::Run;
use super::figures::Figures;
use crate::commands::measuring::{Energy, Sensor};

pub(super) struct Summary {
    pub(super) sensors: Vec<Sensor>,
    pub(super) idle: Option<Run>,
    pub(super) runs: Vec<Run>,
    /// Number of runs that were asked for.
    pub(super) requested: usize,
    pub(super) with_sum: bool,
}

/// Maximum gain error of the power at 25 °C, from those of current and voltage (SBOS656C).
const MAX_GAIN_ERROR: f64 = 0.0025;
/// Maximum offset of the current in amperes (SBOS656C).
const MAX_OFFSET: f64 = 0.005;
/// Shortest time that is shown as not measured, in seconds: it is printed to the millisecond.
const SHOWN: f64 = 0.0005;

impl Summary {
    /// Returns the runs that count: the complete ones; if there are none, the partial one.
    pub(super) fn counted(&self) -> Vec<&Run> {
        let complete: Vec<&Run> = self.runs.iter().filter(|run| !run.is_partial).collect();
        if complete.is_empty() { self.runs.iter().collect() } else { complete }
    }

    /// Returns each sensor with its figures over some runs, then their sum if it was asked for.
    pub(super) fn figures(&self, runs: &[&Run]) -> Vec<(&str, Figures)> {
        let rows = self.sensors.iter().enumerate().map(|(index, sensor)| {
            let energies: Vec<Energy> = runs.iter().map(|run| run.energies[index]).collect();
            let idle = self.idle.as_ref().map(|idle| &idle.energies[index]);
            (sensor.plan.device.as_str(), Figures::new(&energies, idle))
        });
        let mut rows: Vec<_> = rows.collect();
        if self.with_sum {
            let runs: Vec<&[Energy]> = runs.iter().map(|run| run.energies.as_slice()).collect();
            rows.push(("sum", Figures::sum(&runs, rows.iter().map(|(_, figures)| figures))));
        }
        rows
    }

    /// Writes a line for each sensor, and notes about them.
    pub(super) fn write(&self, verbose: bool, output: &mut dyn Write) -> io::Result<()> {
        let rows = self.figures(&self.counted());
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        let lines = rows.iter().map(|(name, figures)| format!(" {name:width$}  {}", line(figures)));
        let notes = (0..).zip(&rows).map(|(index, row)| self.notes(index, &row.1, verbose));
        let mut lines = lines.chain(notes.flatten()).chain(self.partial());
        lines.try_for_each(|line| writeln!(output, "{line}"))
    }

    /// Returns how a sensor was measured, and what is missing.
    pub(super) fn notes(&self, index: usize, figures: &Figures, verbose: bool) -> Vec<String> {
        // The sum has none.
        let Some(sensor) = self.sensors.get(index) else { return Vec::new() };
        let (device, millis) = (&sensor.plan.device, sensor.stream.cycle.as_secs_f64() * 1e3);
        let runs = (1..).zip(&self.runs).filter(|_| verbose).map(|(number, run)| {
            let (energy, code) = (&run.energies[index], run.code);
            let (joules, seconds) = (with_bound(energy), energy.duration.as_secs_f64());
            format!("{device}: run {number}: {joules}, {seconds:.3} s, exit code {code}")
        });
        let mut notes: Vec<String> = runs.collect();
        if let Some(service) = sensor.service() {
            notes.push(format!(
                "{device}: measured through {service}, a result every {millis:.2} ms: the \
                 uncertainty follows from this interval; stop the service to measure short runs"
            ));
        } else if verbose {
            notes.push(format!("{device}: measured directly, a result every {millis:.2} ms"));
        }
        if sensor.stream.restarts > 0 {
            notes.push(format!(
                "{device}: counters of the service were reset (restart); the time around the \
                 restart is not measured"
            ));
        }
        let unmeasured = figures.unmeasured_seconds();
        if unmeasured >= SHOWN {
            notes.push(format!(
                "warning: {device}: {unmeasured:.3} s not measured (the sensor did not respond, or \
                 results were missed: try a longer --interval); the energy of that time is missing"
            ));
        }
        if verbose && let Some((_, volts)) = figures.total.extremes {
            let gain = figures.runs.mean.abs() * MAX_GAIN_ERROR;
            let offset = MAX_OFFSET * volts * figures.seconds();
            notes.push(format!(
                "{device}: neither ± nor σ includes the chip's accuracy: without calibration up \
                 to {gain:.3} J for its gain (0.25 %) and {offset:.3} J for its offset (5 mA)"
            ));
        }
        notes
    }

    /// Returns why no run was measured, and the idle power that was.
    pub(super) fn no_run(&self, code: u8) -> Option<String> {
        let idle = self.idle.iter().flat_map(|idle| self.sensors.iter().zip(&idle.energies));
        let idle = idle.filter_map(|(sensor, energy)| {
            Some(format!("; {}: idle power {:.2} W", sensor.plan.device, energy.watts()?))
        });
        self.runs.is_empty().then(|| {
            format!(
                "no run was measured (a warm-up run failed, or a signal arrived: exit code {code})\
                 {}",
                idle.collect::<String>()
            )
        })
    }

    /// Returns how the runs ended, if the last one failed or there should have been more.
    fn partial(&self) -> Option<String> {
        let run = self.runs.last()?;
        let (number, requested, code) = (self.runs.len(), self.requested, run.code);
        if !run.is_partial {
            return (number < requested).then(|| {
                format!(
                    "measured only {number} of {requested} runs (a signal arrived, or COMMAND can \
                     no longer be run)"
                )
            });
        }
        let seconds = run.ended.duration_since(run.begun).as_secs_f64();
        let counted = if number == self.counted().len() { "" } else { " and is not counted" };
        let sensors = self.sensors.iter().zip(&run.energies);
        let energies =
            sensors.map(|(it, energy)| format!("; {}: {}", it.plan.device, with_bound(energy)));
        let energies: String = energies.collect();
        Some(format!(
            "run {number} of {requested} ended with exit code {code} after \
             {seconds:.3} s{counted}{energies}"
        ))
    }
}

fn line(figures: &Figures) -> String {
    let (seconds, unmeasured) = (figures.seconds(), figures.unmeasured_seconds());
    let Some(watts) = figures.watts else {
        return format!("not measured    {seconds:.3} s");
    };
    let (joules, digits) = bounded(figures.runs.mean, figures.uncertainty());
    let spread = figures.runs.deviation().map_or(String::new(), |deviation| {
        format!(" (σ {deviation:.digits$} of {})", figures.runs.count)
    });
    let (missed, extremes) = (figures.total.missed, figures.total.extremes);
    let columns = [
        Some(joules + &spread),
        Some(format!("{watts:.2} W mean")),
        extremes.map(|(max, _)| format!("{max:.2} W max")),
        extremes.map(|(_, min)| format!("{min:.2} V min")),
        Some(format!("{seconds:.3} s")),
        (missed > 0.0).then(|| format!("{missed} missed")),
        (unmeasured >= SHOWN).then(|| format!("{unmeasured:.3} s not measured")),
        figures.net.map(|net| {
            let joules = bounded(net.joules, net.uncertainty).0;
            format!("net of idle ({:.2} W): {joules}", net.idle_watts)
        }),
    ];
    columns.into_iter().flatten().collect::<Vec<_>>().join("    ")
}

fn with_bound(energy: &Energy) -> String {
    let nothing = || "not measured".to_owned();
    energy.watts().map_or_else(nothing, |_| bounded(energy.joules, energy.uncertainty).0)
}

/// Returns an energy with its uncertainty, which is rounded up, and the number of decimals: as many
/// as show one digit of the uncertainty, from two to five; two for a smaller uncertainty.
fn bounded(joules: f64, uncertainty: f64) -> (String, usize) {
    let digits = (2..6).find(|&digits| uncertainty >= 10_f64.powi(-digits)).unwrap_or(2);
    let scale = 10_f64.powi(digits);
    // Floating-point error alone must not round it up.
    let up = (uncertainty * scale - 1e-6).ceil().abs() / scale;
    let digits = usize::try_from(digits).unwrap_or_default();
    (format!("{joules:.digits$} J ± {up:.digits$}"), digits)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::commands::measuring::Moments;

    #[test]
    fn uncertainty_is_rounded_up_to_one_digit() {
        for (joules, uncertainty, text) in [
            (12.344, 0.05, "12.34 J ± 0.05"),
            (12.344, 0.0501, "12.34 J ± 0.06"),
            (0.81234, 0.0012, "0.812 J ± 0.002"),
            (45.6, 12.301, "45.60 J ± 12.31"),
            (0.0, 0.0, "0.00 J ± 0.00"),
            (-3.0, 0.000_05, "-3.00000 J ± 0.00005"),
        ] {
            assert_eq!(bounded(joules, uncertainty).0, text);
        }
    }

    #[test]
    fn line_has_the_columns_that_apply() {
        let millis = Duration::from_millis;
        let total = Energy {
            joules: 123.4,
            uncertainty: 0.5,
            duration: millis(15_030),
            measured: millis(15_030),
            missed: 0.0,
            extremes: Some((11.9, 4.98)),
        };
        let mut figures = Figures {
            // Ten runs with a deviation of 0.11 J.
            runs: Moments { count: 10, mean: 12.34, squares: 9.0 * 0.11 * 0.11 },
            total,
            watts: Some(8.21),
            net: Some(super::super::figures::Net {
                idle_watts: 3.1,
                joules: 7.6807,
                uncertainty: 0.06,
            }),
        };
        assert_eq!(
            line(&figures),
            "12.34 J ± 0.05 (σ 0.11 of 10)    8.21 W mean    11.90 W max    4.98 V min    \
             1.503 s    net of idle (3.10 W): 7.68 J ± 0.06"
        );
        let measured = millis(14_530);
        figures = Figures {
            net: None,
            total: Energy { extremes: None, missed: 3.0, measured, ..total },
            ..figures
        };
        let text = "12.34 J ± 0.05 (σ 0.11 of 10)    8.21 W mean    1.503 s    3 missed    0.500 s \
                    not measured";
        assert_eq!(line(&figures), text);
        let nothing = Figures { watts: None, ..figures };
        assert_eq!(line(&nothing), "not measured    1.503 s");
    }
}
