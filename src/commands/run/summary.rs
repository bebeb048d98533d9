//! The output of `run` as text.

use std::io::{self, Write};

use super::Run;
use super::figures::Figures;
use crate::commands::measuring::{Energy, Sensor};

/// Everything that was measured.
pub(super) struct Summary {
    pub(super) sensors: Vec<Sensor>,
    pub(super) idle: Option<Run>,
    pub(super) runs: Vec<Run>,
    /// Number of runs that were asked for.
    pub(super) requested: u32,
    pub(super) with_sum: bool,
}

/// Maximum gain error of the power at 25 °C, from those of current and voltage (SBOS656C).
const MAX_GAIN_ERROR: f64 = 0.0025;
/// Maximum offset of the current in amperes (SBOS656C).
const MAX_OFFSET: f64 = 0.005;
/// Shortest time that is shown as not measured, in seconds: it is printed in milliseconds.
const SHOWN: f64 = 0.0005;

impl Summary {
    /// Returns the runs that count: the complete ones; if there are none, the partial one.
    pub(super) fn counted(&self) -> Vec<&Run> {
        let complete: Vec<&Run> = self.runs.iter().filter(|run| !run.is_partial).collect();
        if complete.is_empty() { self.runs.iter().collect() } else { complete }
    }

    /// Returns the figures of each sensor, then those of their sum.
    pub(super) fn figures(&self) -> (Vec<Figures>, Option<Figures>) {
        let counted = self.counted();
        let of = |index: usize| {
            let runs: Vec<Energy> = counted.iter().map(|run| run.energies[index]).collect();
            Figures::new(&runs, self.idle.as_ref().map(|idle| &idle.energies[index]))
        };
        let figures: Vec<Figures> = (0..self.sensors.len()).map(of).collect();
        let runs: Vec<_> = counted.iter().map(|run| run.energies.clone()).collect();
        let sum = self.with_sum.then(|| Figures::sum(&runs, &figures));
        (figures, sum)
    }

    /// Returns the figures of a sensor in one run.
    pub(super) fn figures_of_run(&self, run: usize, sensor: usize) -> Figures {
        let idle = self.idle.as_ref().map(|idle| &idle.energies[sensor]);
        Figures::new(&self.runs[run].energies[sensor..=sensor], idle)
    }

    /// Writes a line for each sensor, and notes about them.
    pub(super) fn write(&self, verbose: bool, output: &mut dyn Write) -> io::Result<()> {
        let (figures, sum) = self.figures();
        let names = self.sensors.iter().map(|sensor| sensor.plan.device.as_str());
        let rows: Vec<_> = names.zip(&figures).chain(sum.iter().map(|sum| ("sum", sum))).collect();
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        for (name, figures) in rows {
            writeln!(output, " {name:width$}  {}", line(figures))?;
        }
        for (index, sensor) in self.sensors.iter().enumerate() {
            self.write_notes(index, sensor, &figures[index], verbose, output)?;
        }
        let is_counted = self.runs.len() == self.counted().len();
        if let Some(run) = self.runs.last().filter(|run| run.is_partial) {
            let number = self.runs.len();
            let seconds = run.ended.duration_since(run.begun).as_secs_f64();
            let counted = if is_counted { "" } else { " and is not counted" };
            write!(output, "run {number} of {} ended with exit code {}", self.requested, run.code)?;
            write!(output, " after {seconds:.3} s{counted}")?;
            for (sensor, energy) in self.sensors.iter().zip(&run.energies) {
                write!(output, "; {}: {}", sensor.plan.device, with_bound(energy))?;
            }
            writeln!(output)?;
        }
        Ok(())
    }

    fn write_notes(
        &self,
        index: usize,
        sensor: &Sensor,
        figures: &Figures,
        verbose: bool,
        output: &mut dyn Write,
    ) -> io::Result<()> {
        let (device, millis) = (&sensor.plan.device, sensor.cycle().as_secs_f64() * 1e3);
        if verbose {
            for (number, run) in (1..).zip(&self.runs) {
                let (energy, code) = (&run.energies[index], run.code);
                let seconds = energy.duration.as_secs_f64();
                let energy = with_bound(energy);
                writeln!(
                    output,
                    "{device}: run {number}: {energy}, {seconds:.3} s, exit code {code}"
                )?;
            }
        }
        match sensor.service() {
            Some(service) => writeln!(
                output,
                "{device}: measured through {service}, a result every {millis:.2} ms: the \
                 uncertainty follows from this interval; stop the service to measure short runs"
            )?,
            None if verbose => {
                writeln!(output, "{device}: measured directly, a result every {millis:.2} ms")?;
            }
            None => {}
        }
        if sensor.restarts() > 0 {
            writeln!(
                output,
                "{device}: counters of the service were reset (restart); the time around the \
                 restart is not measured"
            )?;
        }
        if figures.unmeasured_seconds >= SHOWN {
            writeln!(
                output,
                "warning: {device}: {:.3} s not measured (the sensor did not respond, or results \
                 were missed: try a longer --interval); their energy is missing",
                figures.unmeasured_seconds
            )?;
        }
        if verbose && let Some((_, volts)) = figures.extremes {
            let gain = figures.joules.abs() * MAX_GAIN_ERROR;
            let offset = MAX_OFFSET * volts * figures.seconds;
            writeln!(
                output,
                "{device}: neither ± nor σ includes the chip's accuracy: without calibration up \
                 to {gain:.3} J for its gain (0.25 %) and {offset:.3} J for its offset (5 mA)"
            )?;
        }
        Ok(())
    }
}

fn line(figures: &Figures) -> String {
    let Some(watts) = figures.watts else {
        return format!("not measured    {:.3} s", figures.seconds);
    };
    let (joules, digits) = bounded(figures.joules, figures.uncertainty);
    let spread = figures.deviation.map_or(String::new(), |deviation| {
        format!(" (σ {deviation:.digits$} of {})", figures.runs)
    });
    let mut columns = vec![joules + &spread, format!("{watts:.2} W mean")];
    if let Some((max, min)) = figures.extremes {
        columns.extend([format!("{max:.2} W max"), format!("{min:.2} V min")]);
    }
    columns.push(format!("{:.3} s", figures.seconds));
    if figures.missed > 0.0 {
        columns.push(format!("{} missed", figures.missed));
    }
    if figures.unmeasured_seconds >= SHOWN {
        columns.push(format!("{:.3} s not measured", figures.unmeasured_seconds));
    }
    if let Some(net) = &figures.net {
        let joules = bounded(net.joules, net.uncertainty).0;
        columns.push(format!("net of idle ({:.2} W): {joules}", net.idle_watts));
    }
    columns.join("    ")
}

fn with_bound(energy: &Energy) -> String {
    let nothing = || "not measured".to_owned();
    energy.watts().map_or_else(nothing, |_| bounded(energy.joules, energy.uncertainty).0)
}

/// Returns an energy with its uncertainty, which is rounded up, and the number of decimals: those
/// that show one digit of the uncertainty, at least two and at most six.
fn bounded(joules: f64, uncertainty: f64) -> (String, usize) {
    let digits = (2..6).find(|&digits| uncertainty >= 10_f64.powi(-digits)).unwrap_or(2);
    let scale = 10_f64.powi(digits);
    // Not for the last bit of a number that has no more decimals.
    let up = (uncertainty * scale - 1e-6).ceil().abs() / scale;
    let digits = usize::try_from(digits).unwrap_or_default();
    (format!("{joules:.digits$} J ± {up:.digits$}"), digits)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut figures = Figures {
            runs: 10,
            joules: 12.34,
            uncertainty: 0.05,
            deviation: Some(0.11),
            watts: Some(8.21),
            extremes: Some((11.9, 4.98)),
            seconds: 1.503,
            net: Some(super::super::figures::Net {
                idle_watts: 3.1,
                joules: 7.6807,
                uncertainty: 0.06,
            }),
            ..Figures::default()
        };
        assert_eq!(
            line(&figures),
            "12.34 J ± 0.05 (σ 0.11 of 10)    8.21 W mean    11.90 W max    4.98 V min    \
             1.503 s    net of idle (3.10 W): 7.68 J ± 0.06"
        );
        figures = Figures {
            deviation: None,
            extremes: None,
            net: None,
            missed: 3.0,
            unmeasured_seconds: 0.5,
            ..figures
        };
        let text = "12.34 J ± 0.05    8.21 W mean    1.503 s    3 missed    0.500 s not measured";
        assert_eq!(line(&figures), text);
        let nothing = Figures { watts: None, ..figures };
        assert_eq!(line(&nothing), "not measured    1.503 s");
    }
}
