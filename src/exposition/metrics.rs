//! The table of all metrics. Only the `process_*` metrics, of metrics-process, are not in it.

use std::time::SystemTime;

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

/// Source of a metric's values, which also determines its type. Readings are those of the last
/// result while it is recent; without one, the series expires.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// Gauge of the Python script, from a reading.
    Script(fn(&Reading) -> Option<f64>),
    /// Gauge from a reading.
    Reading(fn(&Meter, &Reading) -> f64),
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
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Script(_)
            | Self::Reading(_)
            | Self::Extreme(_)
            | Self::State(_)
            | Self::Alert(_)
            | Self::AlertLimit(_)
            | Self::Info
            | Self::Daemon => "gauge",
            Self::Counter(_) | Self::Flow(_) | Self::Counters { .. } | Self::Alerts(_) => "counter",
            Self::Histogram(_) => "histogram",
        }
    }
}

pub(super) const SENSOR_INFO: &str = "ina260_sensor_info";
pub(super) const BUILD_INFO: &str = "ina260_exporter_build_info";
pub(super) const RELOAD_SUCCESSFUL: &str = "ina260_exporter_config_last_reload_successful";
pub(super) const RELOAD_TIMESTAMP: &str =
    "ina260_exporter_config_last_reload_success_timestamp_seconds";

/// All metrics.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "ina260_voltage",
        help: "Bus voltage in volts (metric of the Python script).",
        source: Source::Script(|reading| reading.raw.map(|raw| raw.voltage)),
    },
    Metric {
        name: "ina260_current",
        help: "Current in milliamperes, signed (metric of the Python script).",
        source: Source::Script(|reading| reading.raw.map(|raw| raw.current)),
    },
    Metric {
        name: "ina260_power",
        help: "Power register in milliwatts, unsigned (metric of the Python script).",
        source: Source::Script(|reading| reading.raw.map(|raw| raw.power)),
    },
    Metric {
        name: "ina260_bus_voltage_volts",
        help: "Mean bus voltage of the last result.",
        source: Source::Reading(|_, reading| reading.measured.voltage.0),
    },
    Metric {
        name: "ina260_current_amperes",
        help: "Mean current of the last result, positive from IN+ to IN-.",
        source: Source::Reading(|_, reading| reading.measured.current.0),
    },
    Metric {
        name: "ina260_power_watts",
        help: "Mean power of the last result, with the sign of the current.",
        source: Source::Reading(|_, reading| reading.measured.power.0),
    },
    Metric {
        name: "ina260_bus_voltage_min_volts",
        help: "Minimum bus voltage over the window.",
        source: Source::Extreme(|extremes| extremes.min.voltage.0),
    },
    Metric {
        name: "ina260_bus_voltage_max_volts",
        help: "Maximum bus voltage over the window.",
        source: Source::Extreme(|extremes| extremes.max.voltage.0),
    },
    Metric {
        name: "ina260_current_min_amperes",
        help: "Minimum current over the window.",
        source: Source::Extreme(|extremes| extremes.min.current.0),
    },
    Metric {
        name: "ina260_current_max_amperes",
        help: "Maximum current over the window.",
        source: Source::Extreme(|extremes| extremes.max.current.0),
    },
    Metric {
        name: "ina260_power_min_watts",
        help: "Minimum power over the window.",
        source: Source::Extreme(|extremes| extremes.min.power.0),
    },
    Metric {
        name: "ina260_power_max_watts",
        help: "Maximum power over the window.",
        source: Source::Extreme(|extremes| extremes.max.power.0),
    },
    Metric {
        name: "ina260_energy_joules_total",
        help: "Energy by direction, in whole joules (net per result).",
        source: Source::Flow(|totals| totals.energy.whole()),
    },
    Metric {
        name: "ina260_charge_coulombs_total",
        help: "Charge by direction, in whole coulombs (net per result).",
        source: Source::Flow(|totals| totals.charge.whole()),
    },
    Metric {
        name: "ina260_power_distribution_watts",
        help: "Absolute power of each result, by direction.",
        source: Source::Histogram(Histogram::Power),
    },
    Metric {
        name: "ina260_measured_seconds_total",
        help: "Time covered by results.",
        source: Source::Counter(|totals| totals.measured.as_secs()),
    },
    Metric {
        name: "ina260_unmeasured_seconds_total",
        help: "Time not covered by any result.",
        source: Source::Counter(|totals| totals.unmeasured.as_secs()),
    },
    Metric {
        name: "ina260_up",
        help: "1 if the last read succeeded and is recent, else 0.",
        source: Source::State(|is_recent| f64::from(u8::from(is_recent))),
    },
    Metric {
        name: "ina260_last_result_timestamp_seconds",
        help: "Unix time of the last result.",
        source: Source::Reading(|_, reading| unix_seconds(reading.wall)),
    },
    Metric {
        name: "ina260_cycle_seconds",
        help: "Measured time between two results of the chip.",
        source: Source::Reading(|meter, _| meter.cycle.as_secs_f64()),
    },
    Metric {
        name: "ina260_results_total",
        help: "Number of results read.",
        source: Source::Counter(|totals| totals.results),
    },
    Metric {
        name: "ina260_results_missed_total",
        help: "Completed results not used: overwritten before they were read, or rejected.",
        source: Source::Counter(|totals| totals.missed),
    },
    Metric {
        name: "ina260_read_errors_total",
        help: "I2C and sensor errors by kind, including transfers that succeeded on retry.",
        source: Source::Counters {
            label: "kind",
            values: || Failure::ALL.iter().map(|kind| kind.name()).collect(),
            counts: |meter| &meter.failures,
        },
    },
    Metric {
        name: "ina260_resets_total",
        help: "Times the chip lost its configuration, by cause (brown-out, or overwritten by another \
               master).",
        source: Source::Counters {
            label: "cause",
            values: || Reset::ALL.iter().map(|cause| cause.name()).collect(),
            counts: |meter| &meter.resets,
        },
    },
    Metric {
        name: "ina260_overflows_total",
        help: "Results with a quantity at the end of its register's range, by quantity.",
        source: Source::Counters {
            label: "quantity",
            values: || Quantity::ALL.iter().map(|quantity| quantity.name()).collect(),
            counts: |meter| &meter.overflows,
        },
    },
    Metric {
        name: "ina260_alert_active",
        help: "1 if a conversion of the last result was beyond the alert limit, else 0.",
        source: Source::Alert(|meter| f64::from(u8::from(meter.alert))),
    },
    Metric {
        name: "ina260_alert_limit_amperes",
        help: "Limit of a current alert.",
        source: Source::AlertLimit("A"),
    },
    Metric {
        name: "ina260_alert_limit_volts",
        help: "Limit of a voltage alert.",
        source: Source::AlertLimit("V"),
    },
    Metric {
        name: "ina260_alert_limit_watts",
        help: "Limit of a power alert.",
        source: Source::AlertLimit("W"),
    },
    Metric {
        name: "ina260_alerts_total",
        help: "Number of alert activations.",
        source: Source::Alerts(|meter| meter.alerts),
    },
    Metric {
        name: "ina260_read_duration_seconds",
        help: "Duration of one I2C poll of the sensor.",
        source: Source::Histogram(Histogram::PollDuration(&[
            0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0,
        ])),
    },
    Metric {
        name: SENSOR_INFO,
        help: "Wiring and settings of the sensor; always 1.",
        source: Source::Info,
    },
    Metric {
        name: BUILD_INFO,
        help: "Version and revision of the exporter; always 1.",
        source: Source::Daemon,
    },
    Metric {
        name: RELOAD_SUCCESSFUL,
        help: "1 if the last load of the configuration succeeded, else 0.",
        source: Source::Daemon,
    },
    Metric {
        name: RELOAD_TIMESTAMP,
        help: "Unix time of the last successful load of the configuration.",
        source: Source::Daemon,
    },
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
