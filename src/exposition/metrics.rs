//! The table of all metrics. Only the `process_*` metrics are not in it.

use std::time::{Duration, SystemTime};

use strum::{IntoStaticStr, VariantArray, VariantNames as _};

use crate::meter::{Extremes, Failure, Meter, Observations, Reading, Reset, Totals};
use crate::units::Quantity;

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, which ends with the unit.
    pub name: &'static str,
    /// Its HELP text.
    pub help: &'static str,
    /// Source of its values.
    pub source: Source,
}

/// Returns a row of the table.
const fn metric(name: &'static str, help: &'static str, source: Source) -> Metric {
    Metric { name, help, source }
}

/// Source of a metric's values, which also determines its type. Readings are those of the last
/// result while it is recent; without one, the series expires.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// Gauge of the Python script, from a reading.
    Script(fn(&Reading) -> Option<f64>),
    /// Gauge from a reading.
    Reading(fn(&Meter, &Reading) -> f64),
    /// Gauge from a reading: a time since boot, shown as Unix time.
    Time(fn(&Reading) -> Duration),
    /// Gauge from the extremes in the window, while there is a reading.
    Extreme(fn(&Extremes) -> f64),
    /// Gauge of every sensor, from whether there is a reading.
    State(fn(is_recent: bool) -> f64),
    /// Gauge of a sensor with an alert, while there is a reading.
    Alert(fn(&Meter) -> f64),
    /// Limit of an alert whose limit has this unit.
    AlertLimit(&'static str),
    /// Counter of a sensor with an alert.
    Alerts(fn(&Meter) -> u64),
    /// Counter of every sensor.
    Counter(fn(&Totals) -> u64),
    /// Counters of every sensor by direction: forward, reverse.
    Flow(fn(&Totals) -> [u64; 2]),
    /// Counters of every sensor, one for each value of a label.
    Counters {
        /// Name of the label.
        label: &'static str,
        /// Values of the label.
        values: fn() -> Vec<&'static str>,
        /// Counts in the order of the values.
        counts: fn(&Meter) -> &[u64],
    },
    /// Histogram of every sensor.
    Histogram(Histogram),
    /// Gauge of every sensor that is always 1; its labels carry the information.
    Info,
    /// Gauge of the daemon.
    Daemon,
    /// Counters of the listener's restarts, by cause.
    Restarts,
}

/// Observations that a histogram consists of.
#[derive(Clone, Copy, Debug)]
pub enum Histogram {
    /// Durations of the polls in seconds, with these upper bounds.
    PollDuration(&'static [f64]),
    /// Power by direction; the upper bounds are configured.
    Power,
}

impl Histogram {
    /// Returns the observations of a direction; those without a direction count as forward.
    pub(super) fn observations(
        self,
        observations: &Observations,
        reverse: bool,
    ) -> impl Iterator<Item = f64> {
        let (values, is_directed) = match self {
            Self::PollDuration(_) => (&observations.polls, false),
            Self::Power => (&observations.powers, true),
        };
        // A power of -0.0 is not reverse.
        values
            .iter()
            .filter(move |value| !is_directed || (**value < 0.0) == reverse)
            .map(|value| value.abs())
    }
}

/// Values of the label `direction`.
pub(super) const DIRECTIONS: [&str; 2] = ["forward", "reverse"];

impl Source {
    /// Returns the metric's type in the exposition format.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Script(_)
            | Self::Reading(_)
            | Self::Time(_)
            | Self::Extreme(_)
            | Self::State(_)
            | Self::Alert(_)
            | Self::AlertLimit(_)
            | Self::Info
            | Self::Daemon => "gauge",
            Self::Counter(_)
            | Self::Flow(_)
            | Self::Counters { .. }
            | Self::Alerts(_)
            | Self::Restarts => "counter",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// Cause of a restart of the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum RestartCause {
    /// Its address, or the file of its socket, is gone.
    Address,
    /// All connections were in use, and were dropped.
    Connections,
    /// It ended by itself.
    Ended,
    /// It does not respond.
    Unresponsive,
}

impl RestartCause {
    /// Every cause.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Returns the label value.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Returns what happened to the listener, for a message.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Address => "lost its address",
            Self::Connections => "has no free connections",
            Self::Ended => "ended unexpectedly",
            Self::Unresponsive => "does not respond",
        }
    }
}

pub(super) const SENSOR_INFO: &str = "ina260_sensor_info";
pub(super) const BUILD_INFO: &str = "ina260_exporter_build_info";
pub(super) const LISTENER_RESTARTS: &str = "ina260_exporter_listener_restarts_total";
pub(super) const RELOAD_SUCCESSFUL: &str = "ina260_exporter_config_last_reload_successful";
pub(super) const START_TIME: &str = "process_start_time_seconds";
pub(super) const RELOAD_TIMESTAMP: &str =
    "ina260_exporter_config_last_reload_success_timestamp_seconds";

/// All metrics.
pub const METRICS: &[Metric] = &[
    metric(
        "ina260_voltage",
        "Bus voltage in volts (metric of the Python script that this exporter replaces).",
        Source::Script(|reading| reading.raw.map(|raw| raw.voltage)),
    ),
    metric(
        "ina260_current",
        "Current in milliamperes, signed (metric of the Python script that this exporter \
         replaces).",
        Source::Script(|reading| reading.raw.map(|raw| raw.current)),
    ),
    metric(
        "ina260_power",
        "Power register in milliwatts, unsigned (metric of the Python script that this exporter \
         replaces).",
        Source::Script(|reading| reading.raw.map(|raw| raw.power)),
    ),
    metric(
        "ina260_bus_voltage_volts",
        "Mean bus voltage of the last result.",
        Source::Reading(|_, reading| reading.measured.voltage.0),
    ),
    metric(
        "ina260_current_amperes",
        "Mean current of the last result, positive from IN+ to IN-.",
        Source::Reading(|_, reading| reading.measured.current.0),
    ),
    metric(
        "ina260_power_watts",
        "Mean power of the last result, with the sign of the current.",
        Source::Reading(|_, reading| reading.measured.power.0),
    ),
    metric(
        "ina260_bus_voltage_min_volts",
        "Minimum bus voltage over the window.",
        Source::Extreme(|extremes| extremes.min.voltage.0),
    ),
    metric(
        "ina260_bus_voltage_max_volts",
        "Maximum bus voltage over the window.",
        Source::Extreme(|extremes| extremes.max.voltage.0),
    ),
    metric(
        "ina260_current_min_amperes",
        "Minimum current over the window.",
        Source::Extreme(|extremes| extremes.min.current.0),
    ),
    metric(
        "ina260_current_max_amperes",
        "Maximum current over the window.",
        Source::Extreme(|extremes| extremes.max.current.0),
    ),
    metric(
        "ina260_power_min_watts",
        "Minimum power over the window.",
        Source::Extreme(|extremes| extremes.min.power.0),
    ),
    metric(
        "ina260_power_max_watts",
        "Maximum power over the window.",
        Source::Extreme(|extremes| extremes.max.power.0),
    ),
    metric(
        "ina260_energy_joules_total",
        "Energy by direction, in whole joules (net per result).",
        Source::Flow(|totals| totals.energy.whole()),
    ),
    metric(
        "ina260_charge_coulombs_total",
        "Charge by direction, in whole coulombs (net per result).",
        Source::Flow(|totals| totals.charge.whole()),
    ),
    metric(
        "ina260_power_distribution_watts",
        "Absolute power of each result, by direction.",
        Source::Histogram(Histogram::Power),
    ),
    metric(
        "ina260_measured_seconds_total",
        "Time covered by results.",
        Source::Counter(|totals| totals.measured.as_secs()),
    ),
    metric(
        "ina260_unmeasured_seconds_total",
        "Time not covered by any result.",
        Source::Counter(|totals| totals.unmeasured.as_secs()),
    ),
    metric(
        "ina260_up",
        "1 if the last read succeeded and is recent, else 0.",
        Source::State(|is_recent| f64::from(u8::from(is_recent))),
    ),
    metric(
        "ina260_last_result_timestamp_seconds",
        "Unix time of the last result.",
        Source::Time(|reading| reading.booted),
    ),
    metric(
        "ina260_cycle_seconds",
        "Measured time between two results of the chip.",
        Source::Reading(|meter, _| meter.cycle.as_secs_f64()),
    ),
    metric(
        "ina260_results_total",
        "Number of results read.",
        Source::Counter(|totals| totals.results),
    ),
    metric(
        "ina260_results_missed_total",
        "Completed results not used: overwritten before they were read, or rejected.",
        Source::Counter(|totals| totals.missed),
    ),
    metric(
        "ina260_read_errors_total",
        "I2C and sensor errors by kind, including transfers that succeeded on retry.",
        Source::Counters {
            label: "kind",
            values: || Failure::VARIANTS.to_vec(),
            counts: |meter| &meter.failures,
        },
    ),
    metric(
        "ina260_resets_total",
        "Times the chip lost its configuration, by cause (brown-out, or overwritten by another \
               master).",
        Source::Counters {
            label: "cause",
            values: || Reset::VARIANTS.to_vec(),
            counts: |meter| &meter.resets,
        },
    ),
    metric(
        "ina260_overflows_total",
        "Results with a quantity at full scale, by quantity.",
        Source::Counters {
            label: "quantity",
            values: || Quantity::ALL.iter().map(|quantity| quantity.name()).collect(),
            counts: |meter| &meter.overflows,
        },
    ),
    metric(
        "ina260_alert_active",
        "1 if a conversion of the last result was beyond the alert limit, else 0.",
        Source::Alert(|meter| f64::from(u8::from(meter.alert))),
    ),
    metric("ina260_alert_limit_amperes", "Limit of a current alert.", Source::AlertLimit("A")),
    metric("ina260_alert_limit_volts", "Limit of a voltage alert.", Source::AlertLimit("V")),
    metric("ina260_alert_limit_watts", "Limit of a power alert.", Source::AlertLimit("W")),
    metric(
        "ina260_alerts_total",
        "Number of alert activations.",
        Source::Alerts(|meter| meter.alerts),
    ),
    metric(
        "ina260_read_duration_seconds",
        "Duration of one I2C poll of the sensor.",
        Source::Histogram(Histogram::PollDuration(&[
            0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0,
        ])),
    ),
    metric(SENSOR_INFO, "Wiring and settings of the sensor; always 1.", Source::Info),
    metric(BUILD_INFO, "Version and revision of the exporter; always 1.", Source::Daemon),
    metric(
        RELOAD_SUCCESSFUL,
        "1 if the last load of the configuration succeeded, else 0.",
        Source::Daemon,
    ),
    metric(
        RELOAD_TIMESTAMP,
        "Unix time of the last successful load of the configuration.",
        Source::Daemon,
    ),
    metric(
        LISTENER_RESTARTS,
        "Times the HTTP listener was restarted, or dropped all connections, by cause.",
        Source::Restarts,
    ),
];

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
            assert_eq!(metric.source.kind() == "counter", metric.name.ends_with("_total"));
            assert!(metric.help.ends_with('.'), "{}", metric.help);
        }
    }
}
