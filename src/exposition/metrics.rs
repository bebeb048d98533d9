//! Every metric of this daemon, in one table; what `process_*` means is metrics-process' own.

use std::time::SystemTime;

use crate::meter::{Extremes, Failure, Meter, Quantity, Reading, Reset, Samples, Totals};

/// A metric: what it is called, what it means, and where its value comes from.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name; the unit is its suffix.
    pub name: &'static str,
    /// Its HELP line.
    pub help: &'static str,
    /// Its value.
    pub source: Source,
}

/// Where a metric's value comes from, which tells its type, too.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// A gauge of the script's, of a sensor with a fresh result.
    Script(fn(&Reading) -> Option<f64>),
    /// A gauge of a sensor with a fresh result.
    Reading(fn(&Meter, &Reading) -> f64),
    /// A gauge of a sensor with a fresh result and others in its window.
    Extreme(fn(&Extremes) -> f64),
    /// A gauge of every sensor, by whether its last result is fresh.
    State(fn(fresh: bool) -> f64),
    /// A gauge of every sensor that has an alert.
    Alert(fn(&Meter) -> f64),
    /// The limit of a sensor's alert.
    AlertLimit,
    /// A counter of every sensor that has an alert.
    Alerts(fn(&Meter) -> u64),
    /// A counter of every sensor.
    Counter(fn(&Totals) -> u64),
    /// Two counters of every sensor: forward and reverse.
    Flow(fn(&Totals) -> [u64; 2]),
    /// Counters of every sensor, one for each value of a label.
    Counters {
        /// The label.
        label: &'static str,
        /// Its values.
        values: &'static [&'static str],
        /// The counts, in the order of the values.
        counts: fn(&Meter) -> &[u64],
    },
    /// A histogram of every sensor.
    Histogram(Histogram),
    /// A gauge of every sensor that is always 1; its labels tell.
    Info,
    /// A gauge of the daemon itself.
    Daemon,
}

/// Which of the samples of a sensor a histogram is made of.
#[derive(Clone, Copy, Debug)]
pub enum Histogram {
    /// Seconds of the visits on the bus, with these upper bounds.
    Visits(&'static [f64]),
    /// Power by direction; its upper bounds are configured.
    Powers,
}

impl Histogram {
    /// The samples that go one way: each histogram has one series, or one for each direction.
    pub(super) fn samples(self, samples: &Samples, reverse: bool) -> impl Iterator<Item = f64> {
        let (values, directed) = match self {
            Self::Visits(_) => (&samples.visits, false),
            Self::Powers => (&samples.powers, true),
        };
        // A power of -0.0 is no reverse power.
        values
            .iter()
            .filter(move |value| !directed || (**value < 0.0) == reverse)
            .map(|value| value.abs())
    }
}

/// Which way a quantity flows.
pub(super) const DIRECTIONS: [&str; 2] = ["forward", "reverse"];

impl Source {
    /// The metric's type in the exposition format.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Script(_)
            | Self::Reading(_)
            | Self::Extreme(_)
            | Self::State(_)
            | Self::Alert(_)
            | Self::AlertLimit
            | Self::Info
            | Self::Daemon => "gauge",
            Self::Counter(_) | Self::Flow(_) | Self::Counters { .. } | Self::Alerts(_) => "counter",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// How a sensor is wired and set.
pub(super) const SENSOR_INFO: &str = "ina260_sensor_info";
/// The daemon's version and the revision that it was built from.
pub(super) const BUILD_INFO: &str = "ina260_exporter_build_info";
/// 1 or 0.
pub(super) const RELOAD_SUCCESSFUL: &str = "ina260_exporter_config_last_reload_successful";
/// Unix time.
pub(super) const RELOAD_TIMESTAMP: &str =
    "ina260_exporter_config_last_reload_success_timestamp_seconds";

/// The table.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "ina260_voltage",
        help: "Bus voltage in volts, as the Python script gave it.",
        source: Source::Script(|reading| reading.raw.map(|raw| raw.voltage)),
    },
    Metric {
        name: "ina260_current",
        help: "Current in milliamperes, signed, as the Python script gave it.",
        source: Source::Script(|reading| reading.raw.map(|raw| raw.current)),
    },
    Metric {
        name: "ina260_power",
        help: "The power register in milliwatts, unsigned, as the Python script gave it.",
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
        name: "ina260_bus_voltage_volts_min",
        help: "Least bus voltage of the results in the window.",
        source: Source::Extreme(|extremes| extremes.min.voltage.0),
    },
    Metric {
        name: "ina260_bus_voltage_volts_max",
        help: "Greatest bus voltage of the results in the window.",
        source: Source::Extreme(|extremes| extremes.max.voltage.0),
    },
    Metric {
        name: "ina260_current_amperes_min",
        help: "Least current of the results in the window.",
        source: Source::Extreme(|extremes| extremes.min.current.0),
    },
    Metric {
        name: "ina260_current_amperes_max",
        help: "Greatest current of the results in the window.",
        source: Source::Extreme(|extremes| extremes.max.current.0),
    },
    Metric {
        name: "ina260_power_watts_min",
        help: "Least power of the results in the window.",
        source: Source::Extreme(|extremes| extremes.min.power.0),
    },
    Metric {
        name: "ina260_power_watts_max",
        help: "Greatest power of the results in the window.",
        source: Source::Extreme(|extremes| extremes.max.power.0),
    },
    Metric {
        name: "ina260_energy_joules_total",
        help: "Energy, net of each result, by direction; whole joules.",
        source: Source::Flow(|totals| totals.energy.whole()),
    },
    Metric {
        name: "ina260_charge_coulombs_total",
        help: "Charge, net of each result, by direction; whole coulombs.",
        source: Source::Flow(|totals| totals.charge.whole()),
    },
    Metric {
        name: "ina260_power_distribution_watts",
        help: "Magnitude of the power of every result, by direction.",
        source: Source::Histogram(Histogram::Powers),
    },
    Metric {
        name: "ina260_measured_seconds_total",
        help: "Time that results cover.",
        source: Source::Counter(|totals| totals.measured.as_secs()),
    },
    Metric {
        name: "ina260_unmeasured_seconds_total",
        help: "Time of the sensor's life that no result covers.",
        source: Source::Counter(|totals| totals.unmeasured.as_secs()),
    },
    Metric {
        name: "ina260_up",
        help: "Whether the last read of the sensor worked, and not too long ago.",
        source: Source::State(|fresh| f64::from(u8::from(fresh))),
    },
    Metric {
        name: "ina260_last_result_timestamp_seconds",
        help: "Unix time of the last result.",
        source: Source::Reading(|_, reading| unix_seconds(reading.wall)),
    },
    Metric {
        name: "ina260_cycle_seconds",
        help: "Time from one result of the chip to the next, as measured.",
        source: Source::Reading(|meter, _| meter.cycle.as_secs_f64()),
    },
    Metric {
        name: "ina260_results_total",
        help: "Results read.",
        source: Source::Counter(|totals| totals.results),
    },
    Metric {
        name: "ina260_results_missed_total",
        help: "Results that the chip finished and nobody read.",
        source: Source::Counter(|totals| totals.missed),
    },
    Metric {
        name: "ina260_read_errors_total",
        help: "Failed transfers and refused sensors, by kind; a transfer that worked at the second attempt counts once.",
        source: Source::Counters {
            label: "kind",
            values: &Failure::NAMES,
            counts: |meter| &meter.failures,
        },
    },
    Metric {
        name: "ina260_resets_total",
        help: "Times that the sensor lost its settings: to a brown-out, or to another master's write.",
        source: Source::Counters {
            label: "cause",
            values: &Reset::NAMES,
            counts: |meter| &meter.resets,
        },
    },
    Metric {
        name: "ina260_overflows_total",
        help: "Results with a quantity at the end of its register.",
        source: Source::Counters {
            label: "quantity",
            values: &Quantity::NAMES,
            counts: |meter| &meter.overflows,
        },
    },
    Metric {
        name: "ina260_alert_active",
        help: "Whether the chip's comparator saw its limit crossed during the last result.",
        source: Source::Alert(|meter| f64::from(u8::from(meter.alert))),
    },
    Metric {
        name: "ina260_alert_limit",
        help: "Limit of the alert, in amperes, volts or watts.",
        source: Source::AlertLimit,
    },
    Metric {
        name: "ina260_alerts_total",
        help: "Times that an alert began.",
        source: Source::Alerts(|meter| meter.alerts),
    },
    Metric {
        name: "ina260_read_duration_seconds",
        help: "Time of one visit to the sensor on the bus.",
        source: Source::Histogram(Histogram::Visits(&[
            0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0,
        ])),
    },
    Metric {
        name: SENSOR_INFO,
        help: "How the sensor is wired and set; always 1.",
        source: Source::Info,
    },
    Metric {
        name: BUILD_INFO,
        help: "Version and revision of the exporter; always 1.",
        source: Source::Daemon,
    },
    Metric {
        name: RELOAD_SUCCESSFUL,
        help: "Whether the last load of the configuration worked.",
        source: Source::Daemon,
    },
    Metric {
        name: RELOAD_TIMESTAMP,
        help: "Unix time of the last load of the configuration that worked.",
        source: Source::Daemon,
    },
];

/// Seconds since 1970, negative before.
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
    fn names_are_unique_and_have_the_suffix_of_their_type() {
        for (index, metric) in METRICS.iter().enumerate() {
            assert!(
                METRICS[..index]
                    .iter()
                    .all(|other| other.name != metric.name)
            );
            assert_eq!(
                metric.source.kind() == "counter",
                metric.name.ends_with("_total")
            );
            assert!(metric.help.ends_with('.'), "{}", metric.help);
        }
    }
}
