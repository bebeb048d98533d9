//! Sensors decoded from a scrape of this exporter.

use std::collections::BTreeMap;

use super::Error;
use super::text_format::{Sample, parse_ours};
use crate::i2c::Location;
use crate::units::Measured;

/// A sensor in a scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScrapedSensor {
    /// Labels that identify it: `hostname` and `device`, then the others by name.
    pub labels: Vec<(String, String)>,
    /// Whether its last read succeeded and is recent.
    pub up: bool,
    /// `None` while it is down.
    pub readings: Option<Readings>,
    /// Its chip and settings; `None` until the chip was identified.
    pub chip: Option<ScrapedChip>,
    /// The configured alert.
    pub alert: Option<ScrapedAlert>,
    /// Number of alert activations.
    pub alerts: f64,
    /// Energy in joules, forward and reverse.
    pub energy: [f64; 2],
    /// Counts by kind of error, reset or overflow; of missed results under `missed`.
    pub errors: BTreeMap<String, f64>,
    /// Seconds covered by results.
    pub measured: f64,
    /// Seconds not covered by any result.
    pub unmeasured: f64,
    /// Seconds from one result to the next, as measured.
    pub cycle: Option<f64>,
}

/// The last result, and the extremes of the exporter's window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Readings {
    /// The last result.
    pub last: Measured,
    /// The minima; those of the last result where the exporter serves none.
    pub min: Measured,
    /// The maxima.
    pub max: Measured,
}

/// The alert of a sensor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScrapedAlert {
    /// Name of the alert function, e.g. `over-current`.
    pub on: String,
    /// Limit in its base unit.
    pub limit: f64,
    /// Symbol of the unit.
    pub unit: &'static str,
    /// Whether the limit was crossed during the last result.
    pub active: bool,
}

/// A sensor's chip: where it is, and its settings.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapedChip {
    /// The location as text, `simulated` in place of the bus if it is.
    pub location_text: String,
    /// The location on a bus; `None`: simulated.
    pub location: Option<Location>,
    /// The die identity register as text.
    pub die: String,
    /// Number of conversions averaged.
    pub averaging: u32,
    /// Time of a voltage conversion in microseconds.
    pub voltage_micros: u32,
    /// Time of a current conversion in microseconds.
    pub current_micros: u32,
}

impl ScrapedSensor {
    /// Returns the value of a label, empty if there is none.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(label, _)| label == name);
        found.map_or("", |(_, value)| value)
    }

    /// Returns its location, unless its chip was never identified or is simulated.
    #[must_use]
    pub fn location(&self) -> Option<Location> {
        self.chip.as_ref()?.location
    }
}

/// Returns the sensors in the response of an exporter, in the order of their labels.
///
/// # Errors
/// [`Error`] if it is not the response of this program.
pub fn decode(text: &str) -> Result<Vec<ScrapedSensor>, Error> {
    let samples = parse_ours(text)?;
    let mut devices: BTreeMap<_, Vec<&Sample>> = BTreeMap::new();
    for sample in &samples {
        let key = (sample.label("hostname"), sample.label("device"));
        devices.entry(key).or_default().push(sample);
    }
    let mut sensors = Vec::new();
    for device in devices.values() {
        let ups = device.iter().filter(|sample| sample.name == "ina260_up");
        sensors.extend(ups.map(|up| Series::of(up, device).sensor()));
    }
    sensors.sort_by(|a: &ScrapedSensor, b| a.labels.cmp(&b.labels));
    Ok(sensors)
}

/// The series of one sensor.
struct Series<'a> {
    up: &'a Sample<'a>,
    all: Vec<&'a Sample<'a>>,
}

impl<'a> Series<'a> {
    /// Selects the series that have all labels of this `ina260_up`.
    fn of(up: &'a Sample<'a>, device: &[&'a Sample<'a>]) -> Self {
        let mut all = device.to_vec();
        all.retain(|sample| up.labels.iter().all(|label| sample.labels.contains(label)));
        Self { up, all }
    }

    fn find(&self, name: &str) -> Option<&'a Sample<'a>> {
        self.all.iter().copied().find(|sample| sample.name == name)
    }

    fn value(&self, name: &str) -> Option<f64> {
        let value = self.find(name).map(|sample| sample.value);
        value.filter(|value| value.is_finite())
    }

    fn total(&self, name: &str) -> f64 {
        self.value(name).unwrap_or_default()
    }

    fn sensor(&self) -> ScrapedSensor {
        ScrapedSensor {
            labels: self.labels(),
            up: is_set(self.up),
            readings: self.readings(),
            chip: self.find("ina260_sensor_info").and_then(chip),
            alert: self.alert(),
            alerts: self.total("ina260_alerts_total"),
            energy: ["forward", "reverse"].map(|direction| self.energy(direction)),
            errors: self.errors(),
            measured: self.total("ina260_measured_seconds_total"),
            unmeasured: self.total("ina260_unmeasured_seconds_total"),
            cycle: self.value("ina260_cycle_seconds"),
        }
    }

    fn labels(&self) -> Vec<(String, String)> {
        let labels = self.up.labels.iter();
        let mut labels: Vec<_> = labels
            .map(|(name, value)| ((*name).to_owned(), value.to_string()))
            .collect();
        // By name alone, a fleet would be sorted by device.
        labels.sort_by_cached_key(|(name, _)| (name != "hostname", name != "device", name.clone()));
        labels
    }

    fn readings(&self) -> Option<Readings> {
        let last = Measured::new(
            self.value("ina260_bus_voltage_volts")?,
            self.value("ina260_current_amperes")?,
            self.value("ina260_power_watts")?,
        );
        let extreme = |[voltage, current, power]: [&str; 3]| {
            Measured::new(
                self.value(voltage).unwrap_or(last.voltage.0),
                self.value(current).unwrap_or(last.current.0),
                self.value(power).unwrap_or(last.power.0),
            )
        };
        Some(Readings {
            last,
            min: extreme([
                "ina260_bus_voltage_min_volts",
                "ina260_current_min_amperes",
                "ina260_power_min_watts",
            ]),
            max: extreme([
                "ina260_bus_voltage_max_volts",
                "ina260_current_max_amperes",
                "ina260_power_max_watts",
            ]),
        })
    }

    fn energy(&self, direction: &str) -> f64 {
        let mut all = self.all.iter();
        let energy = all.find(|sample| {
            sample.name == "ina260_energy_joules_total" && sample.label("direction") == direction
        });
        energy.map_or(0.0, |sample| sample.value)
    }

    fn alert(&self) -> Option<ScrapedAlert> {
        let units = [("amperes", "A"), ("volts", "V"), ("watts", "W")];
        let (limit, unit) = units.into_iter().find_map(|(name, symbol)| {
            let limit = self.find(&format!("ina260_alert_limit_{name}"))?;
            Some((limit, symbol))
        })?;
        Some(ScrapedAlert {
            on: limit.label("on").to_owned(),
            limit: limit.value,
            unit,
            active: self.find("ina260_alert_active").is_some_and(is_set),
        })
    }

    fn errors(&self) -> BTreeMap<String, f64> {
        let count = |sample: &&Sample| {
            let name = match sample.name {
                "ina260_read_errors_total" => sample.label("kind").to_owned(),
                "ina260_resets_total" => format!("{} reset", sample.label("cause")),
                "ina260_overflows_total" => format!("{} overflow", sample.label("quantity")),
                "ina260_results_missed_total" => "missed".to_owned(),
                _ => return None,
            };
            Some((name, sample.value))
        };
        self.all.iter().filter_map(count).collect()
    }
}

fn chip(info: &Sample) -> Option<ScrapedChip> {
    let [bus, mux, address] = ["bus", "mux", "address"].map(|name| info.label(name));
    let location = Location::from_labels(bus, mux, address);
    let micros = |label| info.label(label).strip_suffix("us")?.parse().ok();
    Some(ScrapedChip {
        location,
        location_text: match (location, mux) {
            (Some(location), _) => location.to_string(),
            (None, "") => format!("{bus}, {address}"),
            (None, mux) => format!("{bus}, mux {mux}, {address}"),
        },
        die: info.label("die").to_owned(),
        averaging: info.label("averaging").parse().ok()?,
        voltage_micros: micros("voltage_conversion_time")?,
        current_micros: micros("current_conversion_time")?,
    })
}

/// Returns whether a gauge that is 0 or 1 is 1.
fn is_set(sample: &Sample) -> bool {
    sample.value > 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_scrape_is_decoded_completely() {
        let text = include_str!("../../tests/exposition/alert-and-multiplexer.prom");
        let sensors = decode(text).unwrap();
        let [sensor] = sensors.as_slice() else {
            panic!("{sensors:?}")
        };
        let labels = sensor.labels.iter();
        let labels: Vec<_> = labels
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(labels, ["hostname=pi4", "device=gpu", "rail=12V"]);
        assert!(sensor.up);
        let readings = Readings {
            last: Measured::new(12.0, 1.8725, 22.47),
            min: Measured::new(12.0, 1.5, 18.0),
            max: Measured::new(12.0, 1.8725, 22.47),
        };
        assert_eq!(sensor.readings, Some(readings));
        let chip = sensor.chip.as_ref().unwrap();
        assert_eq!(chip.location_text, "bus 1, mux 0x70:3, 0x41");
        assert_eq!(chip.location.unwrap().to_string(), chip.location_text);
        assert_eq!(chip.die, "0x2270");
        let settings = (chip.averaging, chip.voltage_micros, chip.current_micros);
        assert_eq!(settings, (1024, 332, 588));
        let alert = ScrapedAlert {
            on: "over-current".to_owned(),
            limit: 3.5,
            unit: "A",
            active: true,
        };
        assert_eq!(sensor.alert, Some(alert));
        assert_eq!((sensor.alerts, sensor.energy), (6.0, [1025.0, 0.0]));
        assert_eq!((sensor.measured, sensor.unmeasured), (55.0, 0.0));
        assert!((sensor.cycle.unwrap() - 0.942).abs() < 0.001);
        assert_eq!(sensor.errors.len(), 7 + 2 + 3 + 1);
        for name in ["nack", "brown-out reset", "power overflow", "missed"] {
            assert!(sensor.errors.contains_key(name), "{:?}", sensor.errors);
        }
    }

    #[test]
    fn dead_sensor_is_down_without_readings() {
        let text = include_str!("../../tests/exposition/one-dead-sensor.prom");
        let sensors = decode(text).unwrap();
        let state = |sensor: &ScrapedSensor| {
            let device = sensor.label("device").to_owned();
            (device, sensor.up, sensor.readings.is_some())
        };
        let states: Vec<_> = sensors.iter().map(state).collect();
        let expected = [("nvme", false, false), ("orin", true, true)];
        assert_eq!(
            states,
            expected.map(|(device, up, read)| (device.to_owned(), up, read))
        );
    }

    #[test]
    fn simulated_sensor_has_no_location() {
        let text = "ina260_up{device=\"a\"} 1\nina260_sensor_info{device=\"a\",\
                    bus=\"simulated\",address=\"0x40\",die=\"0x2270\",averaging=\"4\",\
                    voltage_conversion_time=\"140us\",current_conversion_time=\"204us\"} 1\n";
        let sensors = decode(text).unwrap();
        assert_eq!(sensors[0].location(), None);
        let chip = sensors[0].chip.as_ref().unwrap();
        assert_eq!(chip.location_text, "simulated, 0x40");
    }

    #[test]
    fn order_of_labels_does_not_matter() {
        let text = "ina260_up{device=\"a\",hostname=\"b\"} 1\n\
                    ina260_alerts_total{hostname=\"b\",device=\"a\"} 2\n";
        let sensors = decode(text).unwrap();
        assert_eq!((sensors.len(), sensors[0].alerts), (1, 2.0));
        assert_eq!(sensors[0].labels[0].0, "hostname");
    }

    #[test]
    fn reading_that_is_not_finite_is_no_reading() {
        let text = "ina260_up{device=\"a\"} 1\nina260_bus_voltage_volts{device=\"a\"} NaN\n\
                    ina260_current_amperes{device=\"a\"} 1\nina260_power_watts{device=\"a\"} 1\n";
        assert_eq!(decode(text).unwrap()[0].readings, None);
    }
}
