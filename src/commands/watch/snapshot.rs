//! What one scrape tells of its sensors.

use std::collections::BTreeMap;

use crate::scrape::{Sample, parse_ours};

/// A quantity that has a curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    Voltage,
    Current,
    Power,
}

impl Quantity {
    pub(super) const ALL: [Self; 3] = [Self::Voltage, Self::Current, Self::Power];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Voltage => "Voltage",
            Self::Current => "Current",
            Self::Power => "Power",
        }
    }

    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::Voltage => "V",
            Self::Current => "A",
            Self::Power => "W",
        }
    }

    /// Its gauge, and after it in the same way its extremes.
    const fn metrics(self) -> [&'static str; 3] {
        match self {
            Self::Voltage => [
                "ina260_bus_voltage_volts",
                "ina260_bus_voltage_min_volts",
                "ina260_bus_voltage_max_volts",
            ],
            Self::Current => [
                "ina260_current_amperes",
                "ina260_current_min_amperes",
                "ina260_current_max_amperes",
            ],
            Self::Power => [
                "ina260_power_watts",
                "ina260_power_min_watts",
                "ina260_power_max_watts",
            ],
        }
    }
}

/// The last result of a quantity, and the extremes of all in the exporter's window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    pub(super) now: f32,
    pub(super) min: f32,
    pub(super) max: f32,
}

impl Range {
    /// Of a result alone.
    const fn of(now: f32) -> Self {
        let (min, max) = (now, now);
        Self { now, min, max }
    }
}

/// By [`Quantity`].
pub(super) type Ranges = [Range; 3];

/// What the chip's comparator watches.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Alert {
    pub(super) on: String,
    pub(super) limit: f64,
    pub(super) active: bool,
}

/// A counter by what it counts, as people say it.
pub(super) type Counts = BTreeMap<String, f64>;

/// A sensor in one scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sensor {
    /// What tells it from others; the host's name and the device's first.
    pub(super) labels: Vec<(String, String)>,
    pub(super) up: bool,
    /// There while it answers.
    pub(super) ranges: Option<Ranges>,
    pub(super) alert: Option<Alert>,
    /// Joules: forward, reverse.
    pub(super) energy: [f64; 2],
    pub(super) alerts: f64,
    /// What went wrong.
    pub(super) troubles: Counts,
    /// Seconds that results cover, and that none does.
    pub(super) measured: f64,
    pub(super) unmeasured: f64,
    /// Seconds from one result to the next.
    pub(super) cycle: Option<f64>,
    /// Where it is, in words.
    pub(super) place: String,
}

/// Labels that a metric has for itself.
const OWN: [&str; 13] = [
    "direction",
    "kind",
    "cause",
    "quantity",
    "on",
    "le",
    "bus",
    "address",
    "mux",
    "die",
    "averaging",
    "voltage_conversion_time",
    "current_conversion_time",
];

/// Reads a scrape; its sensors in the order of their labels.
///
/// # Errors
/// A sentence on what it is instead.
pub(super) fn read(text: &str) -> Result<Vec<Sensor>, String> {
    let samples = parse_ours(text).map_err(|error| error.to_string())?;
    let mut sensors: BTreeMap<Vec<(&str, &str)>, Collected> = BTreeMap::new();
    for sample in &samples {
        let Some(set) = setter(sample.name) else {
            continue;
        };
        let labels = sample.labels.iter();
        let mut key: Vec<_> = labels
            .filter(|(name, _)| !OWN.contains(name))
            .map(|(name, value)| (*name, value.as_ref()))
            .collect();
        // "device" before "hostname" would sort a fleet by device.
        key.sort_by_key(|(name, _)| match *name {
            "hostname" => (0, *name),
            "device" => (1, *name),
            other => (2, other),
        });
        set(sensors.entry(key).or_default(), sample);
    }
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let done = |(key, collected): (Vec<(&str, &str)>, Collected)| {
        let mut sensor = collected.done();
        sensor.labels = key.into_iter().map(owned).collect();
        sensor
    };
    Ok(sensors.into_iter().map(done).collect())
}

/// A sensor while its series come in whatever order.
#[derive(Default)]
struct Collected {
    sensor: Sensor,
    seen: [[Option<f32>; 3]; 3],
    active: bool,
}

impl Collected {
    fn done(mut self) -> Sensor {
        let range = |[now, min, max]: [Option<f32>; 3]| {
            let now = now?;
            let alone = Range::of(now);
            Some(Range {
                now,
                min: min.unwrap_or(alone.min),
                max: max.unwrap_or(alone.max),
            })
        };
        if let [Some(voltage), Some(current), Some(power)] = self.seen.map(range) {
            self.sensor.ranges = Some([voltage, current, power]);
        }
        if let Some(alert) = &mut self.sensor.alert {
            alert.active = self.active;
        }
        self.sensor
    }
}

type Setter = fn(&mut Collected, &Sample<'_>);

/// What a metric means for a sensor, if anything.
fn setter(name: &str) -> Option<Setter> {
    Some(match name {
        "ina260_up" => |to, of| to.sensor.up = is_one(of),
        "ina260_energy_joules_total" => |to, of| {
            to.sensor.energy[usize::from(of.label("direction") == "reverse")] = of.value;
        },
        "ina260_alert_active" => |to, of| to.active = is_one(of),
        "ina260_alert_limit_amperes" | "ina260_alert_limit_volts" | "ina260_alert_limit_watts" => {
            |to, of| {
                to.sensor.alert = Some(Alert {
                    on: of.label("on").to_owned(),
                    limit: of.value,
                    active: false,
                });
            }
        }
        "ina260_alerts_total" => |to, of| to.sensor.alerts = of.value,
        "ina260_read_errors_total" => |to, of| trouble(to, of.label("kind"), of),
        "ina260_resets_total" => |to, of| trouble(to, &format!("{} reset", of.label("cause")), of),
        "ina260_overflows_total" => |to, of| {
            trouble(to, &format!("{} overflow", of.label("quantity")), of);
        },
        "ina260_results_missed_total" => |to, of| trouble(to, "missed", of),
        "ina260_measured_seconds_total" => |to, of| to.sensor.measured = of.value,
        "ina260_unmeasured_seconds_total" => |to, of| to.sensor.unmeasured = of.value,
        "ina260_cycle_seconds" => |to, of| to.sensor.cycle = Some(of.value),
        "ina260_sensor_info" => |to, of| {
            let bus = match of.label("bus") {
                "simulated" => "simulated".to_owned(),
                number => format!("bus {number}"),
            };
            let mux = match of.label("mux") {
                "" => String::new(),
                channel => format!(", mux {channel}"),
            };
            to.sensor.place = format!("{bus}{mux}, {}", of.label("address"));
        },
        other => {
            let mut metrics = Quantity::ALL.into_iter().flat_map(Quantity::metrics);
            metrics.find(|metric| *metric == other)?;
            |to, of| {
                for (quantity, seen) in Quantity::ALL.into_iter().zip(&mut to.seen) {
                    for (metric, seen) in quantity.metrics().into_iter().zip(seen) {
                        if metric == of.name {
                            #[expect(
                                clippy::cast_possible_truncation,
                                reason = "seven digits are more than the chip's"
                            )]
                            let value = of.value as f32;
                            *seen = Some(value).filter(|value| value.is_finite());
                        }
                    }
                }
            }
        }
    })
}

/// Whether a gauge that is 0 or 1 says yes.
fn is_one(of: &Sample<'_>) -> bool {
    of.value > 0.5
}

fn trouble(to: &mut Collected, name: &str, of: &Sample<'_>) {
    to.sensor.troubles.insert(name.to_owned(), of.value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_tells_all_that_is_watched() {
        let text = include_str!("../../../tests/exposition/alert-and-multiplexer.prom");
        let sensors = read(text).unwrap();
        assert_eq!(sensors.len(), 1);
        let sensor = &sensors[0];
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let labels = [
            label("hostname", "pi4"),
            label("device", "gpu"),
            label("rail", "12V"),
        ];
        assert_eq!(sensor.labels, labels);
        assert!(sensor.up);
        let range = |now, min, max| Range { now, min, max };
        let ranges = [
            range(12.0, 12.0, 12.0),
            range(1.8725, 1.5, 1.8725),
            range(22.47, 18.0, 22.47),
        ];
        assert_eq!(sensor.ranges, Some(ranges));
        let alert = sensor.alert.as_ref().unwrap();
        assert_eq!(
            (alert.on.as_str(), alert.limit, alert.active),
            ("over-current", 3.5, true)
        );
        assert_eq!((sensor.alerts, sensor.energy), (6.0, [1025.0, 0.0]));
        assert_eq!((sensor.measured, sensor.unmeasured), (55.0, 0.0));
        assert!((sensor.cycle.unwrap() - 0.942).abs() < 0.001);
        assert_eq!(sensor.place, "bus 1, mux 0x70:3, 0x41");
        let troubles: Vec<_> = sensor.troubles.keys().map(String::as_str).collect();
        assert_eq!(troubles.len(), 7 + 2 + 3 + 1);
        for name in ["nack", "brown-out reset", "power overflow", "missed"] {
            assert!(troubles.contains(&name), "{troubles:?}");
        }
    }

    #[test]
    fn a_dead_sensor_has_no_reading() {
        let text = include_str!("../../../tests/exposition/one-dead-sensor.prom");
        let sensors = read(text).unwrap();
        let states: Vec<_> = sensors.iter().map(|s| (s.up, s.ranges.is_some())).collect();
        assert!(
            states.contains(&(true, true)) && states.contains(&(false, false)),
            "{states:?}"
        );
    }

    #[test]
    fn a_label_of_another_order_is_no_other_sensor() {
        let text = "ina260_up{device=\"a\",hostname=\"b\"} 1\nina260_alerts_total{hostname=\"b\",device=\"a\"} 2\n";
        let sensors = read(text).unwrap();
        assert_eq!((sensors.len(), sensors[0].alerts), (1, 2.0));
        assert_eq!(sensors[0].labels[0].0, "hostname");
    }

    #[test]
    fn a_reading_that_is_no_number_is_none() {
        let text = "ina260_up{device=\"a\"} 1\nina260_bus_voltage_volts{device=\"a\"} NaN\nina260_current_amperes{device=\"a\"} 1\nina260_power_watts{device=\"a\"} 1\n";
        assert_eq!(read(text).unwrap()[0].ranges, None);
    }
}
