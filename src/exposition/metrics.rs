//! The table of all metrics.

use std::time::{Duration, SystemTime};

use strum::{EnumMessage, VariantNames};

use super::View;
use super::process::Process;
use crate::meter::{Extremes, Failure, Meter, Observations, Raw, Reading, Reset, Totals};
use crate::units::Quantity;

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, which ends with the unit.
    pub name: &'static str,
    /// Its HELP text.
    pub help: &'static str,
    /// Label of its series, with every value, in the order of the counts.
    pub label: Option<(&'static str, &'static [&'static str])>,
    pub(super) source: Source,
}

/// Source of a metric's values, which also determines its type.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// Gauge of a sensor. Without a value it is not shown, and expires.
    Gauge(fn(&Snapshot<'_>) -> Option<f64>),
    /// Limit of an alert whose limit has this unit; its label is the comparator's function.
    AlertLimit(&'static str),
    /// Counter of a sensor, for the label value with this index. It is shown from its first count
    /// on, until the recorder is replaced.
    Counter(fn(&Snapshot<'_>, usize) -> Option<u64>),
    /// Histogram of observations with these upper bounds, or with the configured ones.
    Histogram(fn(&Observations) -> &[f64], Option<&'static [f64]>),
    /// Gauge of a sensor that is always 1; its labels carry the information.
    Info,
    /// Gauge of the daemon. Without a value it is not shown.
    Daemon(fn(&Daemon) -> Option<f64>),
    /// Gauge of the daemon that is always 1; its labels carry the information.
    BuildInfo,
    /// Counter of the listener's restarts, by cause.
    Restarts,
}

/// The state of a sensor at a tick.
pub(super) struct Snapshot<'a> {
    pub(super) view: &'a View,
    pub(super) meter: &'a Meter,
    pub(super) totals: Totals,
    /// The last result, while it is recent.
    pub(super) reading: Option<&'a Reading>,
    /// The extremes in the window, while there is a reading.
    pub(super) extremes: Option<Extremes>,
    /// Wall-clock time of the boot.
    pub(super) boot: SystemTime,
}

/// The state of the daemon.
pub(super) struct Daemon {
    /// Wall-clock time of the boot. All times are kept as time since boot, so that those from
    /// before the clock was set are right afterwards.
    pub(super) boot: SystemTime,
    pub(super) started: Duration,
    pub(super) reload_successful: bool,
    pub(super) reload_succeeded: Duration,
    pub(super) restarts: [u64; RestartCause::VARIANTS.len()],
    pub(super) process: Process,
}

impl Snapshot<'_> {
    /// Returns the values of the Python script's metrics, if they are shown.
    fn script(&self) -> Option<Raw> {
        self.reading?.raw.filter(|_| self.view.script)
    }
}

impl Metric {
    const fn new(name: &'static str, source: Source) -> Self {
        Self { name, help: "", label: None, source }
    }

    const fn help(self, help: &'static str) -> Self {
        Self { help, ..self }
    }

    const fn by(self, label: &'static str, values: &'static [&'static str]) -> Self {
        Self { label: Some((label, values)), ..self }
    }

    /// Returns its type in the exposition format.
    pub const fn kind(&self) -> &'static str {
        match self.source {
            Source::Counter(_) | Source::Restarts => "counter",
            Source::Histogram(..) => "histogram",
            Source::Gauge(_)
            | Source::AlertLimit(_)
            | Source::Info
            | Source::Daemon(_)
            | Source::BuildInfo => "gauge",
        }
    }
}

const fn gauge(name: &'static str, value: fn(&Snapshot<'_>) -> Option<f64>) -> Metric {
    Metric::new(name, Source::Gauge(value))
}

const fn counter(name: &'static str, count: fn(&Snapshot<'_>, usize) -> Option<u64>) -> Metric {
    Metric::new(name, Source::Counter(count))
}

const fn daemon(name: &'static str, value: fn(&Daemon) -> Option<f64>) -> Metric {
    Metric::new(name, Source::Daemon(value))
}

const DIRECTIONS: &[&str] = &["forward", "reverse"];

#[derive(Clone, Copy, Debug, EnumMessage, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub(super) enum RestartCause {
    /// Its address, or the file of its socket, is gone.
    #[strum(message = "lost its address")]
    Address,
    /// All connections were in use, and were dropped.
    #[strum(message = "has no free connections")]
    Connections,
    #[strum(message = "ended unexpectedly")]
    Ended,
    #[strum(message = "does not respond")]
    Unresponsive,
}

/// All metrics.
pub const METRICS: &[Metric] = &[
    gauge("ina260_voltage", |sensor| Some(sensor.script()?.voltage))
        .help("Bus voltage in volts (metric of the Python script that this exporter replaces)."),
    gauge("ina260_current", |sensor| Some(sensor.script()?.current)).help(
        "Current in milliamperes, signed (metric of the Python script that this exporter \
         replaces).",
    ),
    gauge("ina260_power", |sensor| Some(sensor.script()?.power)).help(
        "Power register in milliwatts, unsigned (metric of the Python script that this exporter \
         replaces).",
    ),
    gauge("ina260_bus_voltage_volts", |sensor| Some(sensor.reading?.measured.voltage.0))
        .help("Mean bus voltage of the last result."),
    gauge("ina260_current_amperes", |sensor| Some(sensor.reading?.measured.current.0))
        .help("Mean current of the last result, positive from IN+ to IN-."),
    gauge("ina260_power_watts", |sensor| Some(sensor.reading?.measured.power.0))
        .help("Mean power of the last result, with the sign of the current."),
    gauge("ina260_bus_voltage_min_volts", |sensor| Some(sensor.extremes?.min.voltage.0))
        .help("Minimum bus voltage over the window."),
    gauge("ina260_bus_voltage_max_volts", |sensor| Some(sensor.extremes?.max.voltage.0))
        .help("Maximum bus voltage over the window."),
    gauge("ina260_current_min_amperes", |sensor| Some(sensor.extremes?.min.current.0))
        .help("Minimum current over the window."),
    gauge("ina260_current_max_amperes", |sensor| Some(sensor.extremes?.max.current.0))
        .help("Maximum current over the window."),
    gauge("ina260_power_min_watts", |sensor| Some(sensor.extremes?.min.power.0))
        .help("Minimum power over the window."),
    gauge("ina260_power_max_watts", |sensor| Some(sensor.extremes?.max.power.0))
        .help("Maximum power over the window."),
    counter("ina260_energy_joules_total", |sensor, i| Some(sensor.totals.energy.whole()[i]))
        .by("direction", DIRECTIONS)
        .help("Energy by direction, in whole joules (net per result)."),
    counter("ina260_charge_coulombs_total", |sensor, i| Some(sensor.totals.charge.whole()[i]))
        .by("direction", DIRECTIONS)
        .help("Charge by direction, in whole coulombs (net per result)."),
    Metric::new("ina260_power_distribution_watts", Source::Histogram(|it| &it.powers, None))
        .by("direction", DIRECTIONS)
        .help("Absolute power of each result, by direction."),
    counter("ina260_measured_seconds_total", |sensor, _| Some(sensor.totals.measured.as_secs()))
        .help("Time covered by results."),
    counter("ina260_unmeasured_seconds_total", |sensor, _| {
        Some(sensor.totals.unmeasured.as_secs())
    })
    .help("Time not covered by any result."),
    gauge("ina260_up", |sensor| Some(sensor.reading.is_some().into()))
        .help("1 if the last read succeeded and is recent, else 0."),
    gauge("ina260_last_result_timestamp_seconds", |sensor| {
        Some(unix_seconds(sensor.boot + sensor.reading?.booted))
    })
    .help("Unix time of the last result."),
    gauge("ina260_cycle_seconds", |sensor| {
        sensor.reading.map(|_| sensor.meter.cycle.as_secs_f64())
    })
    .help("Measured time between two results of the chip."),
    counter("ina260_results_total", |sensor, _| Some(sensor.totals.results))
        .help("Number of results read."),
    counter("ina260_results_missed_total", |sensor, _| Some(sensor.totals.missed))
        .help("Completed results not used: overwritten before they were read, or rejected."),
    counter("ina260_read_errors_total", |sensor, kind| Some(sensor.meter.failures[kind]))
        .by("kind", Failure::VARIANTS)
        .help("I2C and sensor errors by kind, including transfers that succeeded on retry."),
    counter("ina260_resets_total", |sensor, cause| Some(sensor.meter.resets[cause]))
        .by("cause", Reset::VARIANTS)
        .help(
            "Times the chip lost its configuration, by cause (brown-out, or overwritten by another \
               master).",
        ),
    counter("ina260_overflows_total", |sensor, quantity| Some(sensor.meter.overflows[quantity]))
        .by("quantity", Quantity::VARIANTS)
        .help("Results with a quantity at full scale, by quantity."),
    gauge("ina260_alert_active", |sensor| {
        sensor.reading.and(sensor.view.alert).map(|_| sensor.meter.alert.into())
    })
    .help("1 if a conversion of the last result was beyond the alert limit, else 0."),
    Metric::new("ina260_alert_limit_amperes", Source::AlertLimit("A"))
        .help("Limit of a current alert."),
    Metric::new("ina260_alert_limit_volts", Source::AlertLimit("V"))
        .help("Limit of a voltage alert."),
    Metric::new("ina260_alert_limit_watts", Source::AlertLimit("W"))
        .help("Limit of a power alert."),
    counter("ina260_alerts_total", |sensor, _| sensor.view.alert.map(|_| sensor.meter.alerts))
        .help("Number of alert activations."),
    Metric::new(
        "ina260_read_duration_seconds",
        Source::Histogram(
            |it| &it.polls,
            Some(&[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0]),
        ),
    )
    .help("Duration of one I2C poll of the sensor."),
    Metric::new("ina260_sensor_info", Source::Info)
        .help("Wiring and settings of the sensor; always 1."),
    Metric::new("ina260_exporter_build_info", Source::BuildInfo)
        .help("Version and revision of the exporter; always 1."),
    daemon("ina260_exporter_config_last_reload_successful", |it| Some(it.reload_successful.into()))
        .help("1 if the last load of the configuration succeeded, else 0."),
    daemon("ina260_exporter_config_last_reload_success_timestamp_seconds", |it| {
        Some(unix_seconds(it.boot + it.reload_succeeded))
    })
    .help("Unix time of the last successful load of the configuration."),
    Metric::new("ina260_exporter_listener_restarts_total", Source::Restarts)
        .by("cause", RestartCause::VARIANTS)
        .help("Times the HTTP listener was restarted, or dropped all connections, by cause."),
    daemon("process_start_time_seconds", |it| Some(unix_seconds(it.boot + it.started)))
        .help("Unix time of the start of the process."),
    daemon("process_cpu_seconds_total", |it| Some(it.process.cpu.as_secs_f64()))
        .help("User and system processor time of the process."),
    daemon("process_resident_memory_bytes", |it| number(it.process.resident_memory))
        .help("Resident memory of the process."),
    daemon("process_virtual_memory_bytes", |it| number(it.process.virtual_memory))
        .help("Virtual memory of the process."),
    daemon("process_open_fds", |it| number(it.process.open_files))
        .help("Number of open file descriptors of the process."),
    daemon("process_max_fds", |it| number(it.process.max_files))
        .help("Maximum number of open file descriptors of the process."),
    daemon("process_threads", |it| number(it.process.threads))
        .help("Number of threads of the process."),
];

#[expect(clippy::cast_precision_loss, reason = "15 digits are enough")]
fn number(count: Option<u64>) -> Option<f64> {
    count.map(|count| count as f64)
}

/// Returns the Unix time in seconds, negative before 1970.
pub(super) fn unix_seconds(time: SystemTime) -> f64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_counters_end_with_total() {
        for (index, metric) in METRICS.iter().enumerate() {
            assert!(METRICS[..index].iter().all(|other| other.name != metric.name));
            // Counters of the recorder are integers; this one has fractions.
            let is_counter =
                metric.kind() == "counter" || metric.name == "process_cpu_seconds_total";
            assert_eq!(is_counter, metric.name.ends_with("_total"));
            assert!(metric.help.ends_with('.'), "{}", metric.help);
        }
    }
}
