//! Measurements of all runs, and their output: text, JSON and CSV.

use std::fmt;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Run, RunArgs};
use crate::commands::measuring::{Energy, Moments, Session, Source};
use crate::commands::read::csv_field;
use crate::printable::{columns, padded};

pub(super) struct Summary {
    pub(super) args: RunArgs,
    pub(super) session: Session,
    /// Energy of each sensor in the idle time.
    pub(super) idle: Option<Vec<Energy>>,
    pub(super) runs: Vec<Run>,
}

/// Maximum gain error of the power at 25 °C, from those of current and voltage (SBOS656C).
const MAX_GAIN_ERROR: f64 = 0.0025;
/// Maximum offset of the current in amperes (SBOS656C).
const MAX_OFFSET: f64 = 0.005;

impl Summary {
    /// Returns the runs that count: the complete ones; if there are none, the partial one.
    pub(super) fn counted(&self) -> Vec<&Run> {
        let complete: Vec<&Run> = self.runs.iter().filter(|run| !run.is_partial).collect();
        if complete.is_empty() { self.runs.iter().collect() } else { complete }
    }

    /// Returns each sensor with its figures over some runs, then their sum if it was asked for.
    pub(super) fn figures(&self, runs: &[&Run]) -> Vec<(&str, Figures)> {
        let devices = self.session.sensors.iter().map(|sensor| sensor.plan.device.as_str());
        let idle = self.idle.as_deref();
        let mut rows: Vec<_> = devices.zip(Figures::of_sensors(runs, idle)).collect();
        if self.args.sum {
            rows.push(("sum", Figures::sum(runs, idle)));
        }
        rows
    }

    pub(super) fn write(&self, output: &mut dyn Write) -> io::Result<()> {
        match &self.args {
            _ if self.runs.is_empty() => Ok(()),
            RunArgs { json: true, .. } => self.write_json(output),
            RunArgs { csv: true, .. } => self.write_csv(output),
            _ => self.write_text(output),
        }?;
        output.flush()
    }

    fn write_text(&self, output: &mut dyn Write) -> io::Result<()> {
        let rows = self.figures(&self.counted());
        let width = rows.iter().map(|(name, _)| columns(name)).max().unwrap_or_default();
        let lines = rows.iter().map(|(name, it)| format!(" {}  {it}", padded(name, width)));
        let notes = (0..).zip(&rows).map(|(index, row)| self.notes(index, &row.1));
        let mut lines = lines.chain(notes.flatten()).chain(self.last_run());
        lines.try_for_each(|line| writeln!(output, "{line}"))
    }

    /// Returns how a sensor was measured, and what is missing.
    fn notes(&self, index: usize, figures: &Figures) -> Vec<String> {
        let Some(sensor) = self.session.sensors.get(index) else {
            let warning = |it| format!("warning: sum: {it} not measured by one or more sensors");
            return figures.gap().map(warning).into_iter().collect();
        };
        let (device, verbose) = (&sensor.plan.device, self.args.verbose);
        let millis = sensor.stream.cycle.as_secs_f64() * 1e3;
        let runs = (1..).zip(&self.runs).filter(|_| verbose).map(|(number, run)| {
            let (energy, code) = (&run.energies[index], run.code);
            let (joules, seconds) = (with_bound(energy), energy.duration.as_secs_f64());
            format!("{device}: run {number}: {joules}, {seconds:.3} s, exit code {code}")
        });
        let how = match &sensor.source {
            Ok(Source::Service(name)) => Some(format!(
                "{device}: measured through {name}, a result every {millis:.2} ms: the \
                 uncertainty follows from this interval, or from the 1 s between two updates \
                 of the metrics if that is longer; stop the service to measure short runs"
            )),
            Ok(Source::Direct(..)) => verbose
                .then(|| format!("{device}: measured directly, a result every {millis:.2} ms")),
            Err(problem) => Some(format!("warning: {problem}")),
        };
        let mut notes: Vec<String> = runs.chain(how).collect();
        if sensor.stream.restarts > 0 {
            notes.push(format!(
                "{device}: counters of the service were reset (restart); the time around the \
                 restart is not measured"
            ));
        }
        if let (Ok(_), Some(seconds)) = (&sensor.source, figures.gap()) {
            notes.push(format!(
                "warning: {device}: {seconds} not measured (the sensor did not respond, or results \
                 were missed: try a longer --interval); the energy of that time is missing"
            ));
        }
        if verbose && let Some((_, volts)) = figures.total.extremes {
            let gain = figures.joules.mean.abs() * MAX_GAIN_ERROR;
            let offset = MAX_OFFSET * volts * figures.seconds;
            notes.push(format!(
                "{device}: neither ± nor σ includes the chip's own error: without calibration up \
                 to {gain:.3} J from its gain (0.25 %) and {offset:.3} J from its offset (5 mA)"
            ));
        }
        notes
    }

    fn of_sensors(&self, energies: &[Energy], text: fn(&Energy) -> Option<String>) -> String {
        let sensors = self.session.sensors.iter().zip(energies);
        let texts = sensors
            .filter_map(|(it, energy)| Some(format!("; {}: {}", it.plan.device, text(energy)?)));
        texts.collect()
    }

    /// Returns why no run was measured, and the idle power that was.
    pub(super) fn no_run(&self, code: u8) -> Option<String> {
        let watts = |energy: &Energy| Some(format!("idle power {} W", power(energy.watts()?)));
        let idle = self.of_sensors(self.idle.as_deref().unwrap_or_default(), watts);
        self.runs.is_empty().then(|| {
            format!(
                "no run was measured (a warm-up run failed, or a signal arrived: exit code \
                 {code}){idle}"
            )
        })
    }

    /// Returns how the runs ended, if the last one failed or there should have been more.
    fn last_run(&self) -> Option<String> {
        let Run { is_partial, code, begun, ended, energies } = self.runs.last()?;
        let (number, requested) = (self.runs.len(), self.args.repeat as usize);
        if *is_partial {
            let seconds = ended.duration_since(*begun).as_secs_f64();
            let counted = if number == self.counted().len() { "" } else { " and is not counted" };
            let energies = self.of_sensors(energies, |energy| Some(with_bound(energy)));
            return Some(format!(
                "run {number} of {requested} ended with exit code {code} after \
                 {seconds:.3} s{counted}{energies}"
            ));
        }
        (number < requested).then(|| {
            format!(
                "measured only {number} of {requested} runs (a signal arrived, or COMMAND can no \
                 longer be run)"
            )
        })
    }

    fn write_json(&self, output: &mut dyn Write) -> io::Result<()> {
        let count = self.session.sensors.len();
        let (mut sensors, mut runs) = (Vec::new(), Vec::new());
        for (index, (device, figures)) in self.figures(&self.counted()).iter().enumerate() {
            let mut row = figures.object();
            row["runs"] = json!(figures.joules.count);
            row["standard_deviation_joules"] = json!(figures.joules.deviation());
            row["notes"] = json!(self.notes(index, figures));
            if let Some(sensor) = self.session.sensors.get(index) {
                row["device"] = json!(device);
                let cycle = sensor.source.is_ok().then_some(sensor.stream.cycle.as_secs_f64());
                row["cycle_seconds"] = json!(cycle);
                row["service"] = json!(sensor.service());
            }
            sensors.push(row);
        }
        let sum = sensors.split_off(count).pop();
        for run in &self.runs {
            let mut sensors = Vec::new();
            for (device, figures) in self.figures(&[run]) {
                let mut row = figures.object();
                row["device"] = json!(device);
                sensors.push(row);
            }
            let sum = sensors.split_off(count).pop();
            let Run { code, is_partial, .. } = run;
            runs.push(
                json!({ "exit_code": code, "partial": is_partial, "sensors": sensors, "sum": sum }),
            );
        }
        writeln!(output, "{:#}", json!({ "sensors": sensors, "sum": sum, "runs": runs }))
    }

    /// Writes a line for each run and sensor (RFC 4180).
    fn write_csv(&self, output: &mut dyn Write) -> io::Result<()> {
        let names = Figures::default().columns().map(|(name, _)| name);
        writeln!(output, "run,device,exit_code,partial,{},notes", names.join(","))?;
        for (number, run) in (1..).zip(&self.runs) {
            for (index, (device, figures)) in self.figures(&[run]).iter().enumerate() {
                let values = figures.columns().map(|(_, value)| value.map(|it| it.to_string()));
                let values = values.map(Option::unwrap_or_default).join(",");
                let notes = self.notes(index, figures).join("; ");
                let (device, notes) = (csv_field(device), csv_field(&notes));
                let Run { code, is_partial, .. } = run;
                writeln!(output, "{number},{device},{code},{is_partial},{values},{notes}")?;
            }
        }
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    /// Energies in joules of the runs that were measured, at least in part.
    pub(super) joules: Moments,
    /// Mean of their bounds, since the errors of all runs may have the same direction.
    pub(super) uncertainty: f64,
    /// Mean power in watts; `None`: nothing was measured.
    pub(super) watts: Option<f64>,
    pub(super) seconds: f64,
    /// All runs together.
    pub(super) total: Energy,
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
    fn new(runs: impl Iterator<Item = Energy>, idle: Option<&Energy>) -> Self {
        let (mut joules, mut total, mut count) = (Moments::default(), Energy::default(), 0.0);
        for run in runs {
            if run.watts().is_some() {
                joules.add(run.joules);
            }
            total.add(&run);
            count += 1.0;
        }
        let mean = |sum: f64| sum / f64::from(joules.count);
        let [uncertainty, measured] = [total.uncertainty, total.measured.as_secs_f64()].map(mean);
        let seconds = total.duration.as_secs_f64() / count;
        let watts = total.watts();
        let net = idle.filter(|_| watts.is_some()).and_then(|idle| {
            let idle_watts = idle.watts()?;
            let share = measured / idle.measured.as_secs_f64();
            Some(Net {
                idle_watts,
                joules: joules.mean - idle_watts * measured,
                uncertainty: uncertainty + idle.uncertainty * share,
            })
        });
        Self { joules, uncertainty, watts, seconds, total, net }
    }

    /// Returns the figures of each sensor over some runs; nothing if there are none.
    fn of_sensors(runs: &[&Run], idle: Option<&[Energy]>) -> Vec<Self> {
        let sensors = 0..runs.first().map_or(0, |run| run.energies.len());
        let of = |index: usize| {
            let energies = runs.iter().map(|run| run.energies[index]);
            Self::new(energies, idle.map(|idle| &idle[index]))
        };
        sensors.map(of).collect()
    }

    fn sum(runs: &[&Run], idle: Option<&[Energy]>) -> Self {
        // Runs that a sensor did not measure have no sum.
        let is_complete = |run: &&&Run| run.energies.iter().all(|it| it.watts().is_some());
        let complete: Vec<&Run> = runs.iter().filter(is_complete).copied().collect();
        let sensors = Self::of_sensors(&complete, idle);
        let runs = runs.iter().map(|run| {
            let mut sum = Energy::default();
            run.energies.iter().for_each(|energy| sum.add(energy));
            let duration = run.ended.duration_since(run.begun);
            let measured = run.energies.iter().map(|it| it.measured).min().unwrap_or_default();
            Energy { duration, measured, extremes: None, ..sum }
        });
        let nets: Option<Vec<Net>> = sensors.iter().map(|it| it.net).collect();
        let net = nets.map(|nets| Net {
            idle_watts: nets.iter().map(|net| net.idle_watts).sum(),
            joules: nets.iter().map(|net| net.joules).sum(),
            uncertainty: nets.iter().map(|net| net.uncertainty).sum(),
        });
        let all = Self::new(runs, None);
        let watts = sensors.iter().map(|it| it.watts).sum::<Option<f64>>();
        let watts = watts.filter(|_| all.watts.is_some());
        let uncertainty = sensors.iter().map(|it| it.uncertainty).sum();
        Self { watts, uncertainty, net: net.filter(|_| watts.is_some()), ..all }
    }

    /// Returns the time of all runs that no result covers, if it is not 0 in milliseconds.
    fn gap(&self) -> Option<String> {
        let seconds = self.total.unmeasured().as_secs_f64();
        (seconds >= 0.0005).then(|| format!("{seconds:.3} s"))
    }

    /// Returns the columns of JSON and CSV.
    fn columns(&self) -> [(&'static str, Option<f64>); 11] {
        let Self { total, net, .. } = self;
        let measured = |value| self.watts.map(|_| value);
        [
            ("energy_joules", measured(self.joules.mean)),
            ("uncertainty_joules", measured(self.uncertainty)),
            ("mean_watts", self.watts),
            ("max_watts", total.extremes.map(|(max, _)| max)),
            ("min_volts", total.extremes.map(|(_, min)| min)),
            ("duration_seconds", Some(self.seconds)),
            ("unmeasured_seconds", Some(total.unmeasured().as_secs_f64())),
            ("missed_results", Some(total.missed)),
            ("idle_watts", net.map(|net| net.idle_watts)),
            ("net_joules", net.map(|net| net.joules)),
            ("net_uncertainty_joules", net.map(|net| net.uncertainty)),
        ]
    }

    fn object(&self) -> Value {
        self.columns().into_iter().map(|(name, value)| (name, json!(value))).collect()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { joules, watts, seconds, total, net, .. } = self;
        let Some(watts) = watts else {
            return write!(f, "not measured    {seconds:.3} s");
        };
        let (energy, digits) = bounded(joules.mean, self.uncertainty);
        let spread = joules.deviation().map(|it| format!(" (σ {it:.digits$} of {})", joules.count));
        let columns = [
            Some(energy + &spread.unwrap_or_default()),
            Some(format!("{} W mean", power(*watts))),
            total.extremes.map(|(max, _)| format!("{} W max", power(max))),
            total.extremes.map(|(_, min)| format!("{min:.2} V min")),
            Some(format!("{seconds:.3} s")),
            (total.missed > 0.0).then(|| format!("{} missed", total.missed)),
            self.gap().map(|gap| format!("{gap} not measured")),
            net.map(|net| {
                let energy = bounded(net.joules, net.uncertainty).0;
                format!("net of idle ({} W): {energy}", power(net.idle_watts))
            }),
        ];
        f.write_str(&columns.into_iter().flatten().collect::<Vec<_>>().join("    "))
    }
}

fn with_bound(energy: &Energy) -> String {
    let text = energy.watts().map(|_| bounded(energy.joules, energy.uncertainty).0);
    text.unwrap_or_else(|| "not measured".to_owned())
}

/// Returns a power with two decimals; with up to five, if it needs them for three digits.
fn power(watts: f64) -> String {
    // Floating-point error alone must not change a digit: a mean would exceed the maximum.
    let watts = (watts * 1e9).round() / 1e9;
    let digits = [1.0, 0.1, 0.01].iter().position(|limit| watts.abs() >= *limit).unwrap_or(3) + 2;
    format!("{watts:.digits$}")
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
    use std::time::{Duration, Instant};

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
        let figures = Figures::new(runs.into_iter(), Some(&idle));
        let Figures { joules: Moments { count, mean, .. }, total, watts, net, .. } =
            figures.clone();
        let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(near(mean, 5.0) && near(watts.unwrap(), 2.5) && count == 8, "{figures:?}");
        assert!(near(figures.joules.deviation().unwrap(), (32.0_f64 / 7.0).sqrt()));
        assert_eq!((total.extremes, total.missed), (Some((9.0, 1.0)), 8.0));
        assert_eq!((figures.uncertainty, figures.seconds), (0.5, 2.0));
        // 5 J - 0.5 W × 2 s; a third of the 0.3 J of the idle time.
        let net = net.unwrap();
        assert!(near(net.joules, 4.0) && near(net.uncertainty, 0.6) && near(net.idle_watts, 0.5));
        assert_eq!(Figures::new([energy(2.0)].into_iter(), None).joules.deviation(), None);
        let lost = Energy { measured: Duration::ZERO, ..energy(0.0) };
        assert_eq!(Figures::new([lost].into_iter(), Some(&idle)).net, None);
    }

    /// Energy of a run of which nothing was measured.
    fn lost() -> Energy {
        Energy { duration: 2 * SECOND, ..Energy::default() }
    }

    fn deviation_in_json(figures: &Figures) -> [Option<f64>; 2] {
        [figures.columns()[0].1, figures.joules.deviation()]
    }

    #[test]
    fn unmeasured_run_is_not_in_mean_and_spread() {
        let figures = Figures::new([energy(2.82), energy(0.241), lost()].into_iter(), None);
        let text = figures.to_string();
        // (2.82 + 0.241) / 2, and (2.82 - 0.241) / √2.
        assert!(text.starts_with("1.53 J ± 0.50 (σ 1.82 of 2)    0.765 W mean"), "{text}");
        assert!(text.ends_with("    2.000 s    2 missed    2.000 s not measured"), "{text}");
        let figures = Figures::new([energy(2.82), lost()].into_iter(), None);
        assert_eq!(deviation_in_json(&figures), [Some(2.82), None]);
        let figures = Figures::new([lost(), lost()].into_iter(), None);
        assert_eq!(deviation_in_json(&figures), [None, None]);
    }

    fn run(energies: [Energy; 2]) -> Run {
        let begun = Instant::now();
        let (ended, energies) = (begun + 2 * SECOND, energies.to_vec());
        Run { code: 0, is_partial: false, begun, ended, energies }
    }

    #[test]
    fn sum_without_a_sensor_is_not_shown() {
        let idle = energy(1.0);
        let runs = [run([energy(1.0), lost()]), run([lost(), energy(5.0)])];
        let sum = |runs: &[&Run]| Figures::sum(runs, Some(&[idle, idle]));
        let [first, second] = runs.each_ref();
        for sum in [sum(&[first]), sum(&[second]), sum(&[first, second])] {
            assert_eq!((deviation_in_json(&sum), sum.net), ([None, None], None));
            assert!(sum.to_string().starts_with("not measured    "), "{sum}");
        }
        // Only the run with both sensors counts.
        let (half, both) = (run([energy(100.0), lost()]), run([energy(1.0), energy(5.0)]));
        let (alone, sum) = (sum(&[&both]), sum(&[&half, &both]));
        assert_eq!((deviation_in_json(&sum), sum.uncertainty), ([Some(6.0), None], 1.0));
        assert_eq!((sum.watts, sum.net), (alone.watts, alone.net));
        assert_eq!((sum.watts, sum.net.map(|net| net.joules)), (Some(3.0), Some(4.0)));
    }

    #[test]
    fn sum_has_the_spread_of_the_sums() {
        let (first, second) = (run([1.0, 5.0].map(energy)), run([5.0, 1.0].map(energy)));
        let sum = Figures::sum(&[&first, &second], None);
        let Figures { joules, uncertainty, watts, seconds, total, .. } = sum;
        assert_eq!((joules.mean, uncertainty, joules.deviation()), (6.0, 1.0, Some(0.0)));
        assert_eq!((total.extremes, watts, seconds), (None, Some(3.0), 2.0));
    }

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
    fn mean_of_equal_powers_is_printed_as_their_maximum() {
        for (watts, text) in [
            (0.015, "0.0150"),
            (-0.015, "-0.0150"),
            (0.14, "0.140"),
            (0.004, "0.00400"),
            (8.184, "8.18"),
            (0.0, "0.00000"),
            // A tie; the sum of three of them, divided by three, is the next number above.
            (1.005, "1.00"),
            (1.005 + f64::EPSILON, "1.00"),
        ] {
            assert_eq!(power(watts), text);
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
            joules: Moments { count: 10, mean: 12.34, squares: 9.0 * 0.11 * 0.11 },
            uncertainty: 0.05,
            seconds: 1.503,
            total,
            watts: Some(8.21),
            net: Some(Net { idle_watts: 3.1, joules: 7.6807, uncertainty: 0.06 }),
        };
        assert_eq!(
            figures.to_string(),
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
        assert_eq!(figures.to_string(), text);
        let nothing = Figures { watts: None, ..figures };
        assert_eq!(nothing.to_string(), "not measured    1.503 s");
    }
}
