//! Sensors decoded from a scrape of this exporter.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use super::http::MAX_RESPONSE;
use super::text_format::{Sample, parse_ours};
use super::{Body, Error};
use crate::i2c::Location;
use crate::ina260::settings::{Averaging, ConversionTime, Settings};
use crate::units::Measured;

/// Upper bound on the number of sensors of a scrape.
pub const MAX_SENSORS: usize = 1_000;
/// Upper bound on the sensors of one device times its series: all are searched for each sensor.
const MAX_COMPARISONS: usize = 2_000_000;
/// Upper bound on [`ScrapedSensor::size`] of all sensors together: one series can count for many.
const MAX_SIZE: usize = 4 << 20;
/// Upper bound on the magnitude of a value, beyond what a century adds up to: sums, times and
/// durations follow from values, and must not overflow.
const MAX_VALUE: f64 = 1e15;
/// Upper bound on the time between two results, in seconds.
const MAX_CYCLE: f64 = 3600.0;

/// The sensors of an exporter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    /// In the order of their labels.
    pub sensors: Vec<ScrapedSensor>,
    pub(crate) left_out: LeftOut,
}

/// Data that was left out of a response, because it exceeded a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) sensors: usize,
    /// Number of series; the sensors may be incomplete without them.
    pub(crate) series: usize,
    /// Whether the end of the response was left out.
    pub(crate) is_cut: bool,
}

impl LeftOut {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.sensors > 0).then(|| format!("{} of the sensors", self.sensors)),
            (self.series > 0).then(|| format!("{} of the series", self.series)),
            self.is_cut.then(|| format!("everything after {} MiB", MAX_RESPONSE >> 20)),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        write!(f, "too much data; left out: {}", parts.join(", "))
    }
}

/// A sensor in a scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScrapedSensor {
    /// Labels that identify it: `hostname` and `device`, then the others by name.
    pub(crate) labels: Vec<(String, String)>,
    /// Whether its last read succeeded and is recent.
    pub(crate) up: bool,
    /// `None` while it is down.
    pub readings: Option<Readings>,
    /// Its chip and settings; `None` until the chip was identified.
    pub chip: Option<ScrapedChip>,
    /// The configured alert.
    pub alert: Option<ScrapedAlert>,
    pub(crate) alerts: f64,
    /// Energy in joules, forward and reverse.
    pub energy: [f64; 2],
    /// Counts by kind of error, reset or overflow; `missed` is that of missed results.
    pub(crate) errors: BTreeMap<String, f64>,
    /// Seconds covered by results.
    pub measured: f64,
    /// Seconds not covered by any result.
    pub(crate) unmeasured: f64,
    /// Seconds from one result to the next, as measured.
    pub(crate) cycle: Option<f64>,
    /// Unix time of the last result; `None` while it is down.
    pub(crate) last_result: Option<f64>,
    /// Sum of the power of all results in watts, and their number.
    pub(crate) power: [f64; 2],
    /// Start of the process and restarts of its listener: unless one changes, no counter was reset.
    pub(crate) epoch: [f64; 2],
}

/// The last result, and the extremes of the exporter's window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Readings {
    /// The last result.
    pub last: Measured,
    /// The minima; the last result if the exporter serves none.
    pub min: Measured,
    /// The maxima.
    pub max: Measured,
}

/// The alert of a sensor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScrapedAlert {
    /// Name of the alert function, e.g. `over-current`.
    pub(crate) on: String,
    /// Limit in its base unit.
    pub(crate) limit: f64,
    pub(crate) unit: &'static str,
    /// Whether the limit was crossed during the last result.
    pub(crate) active: bool,
}

/// A sensor's chip.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapedChip {
    /// The labels `bus`, `mux` (may be empty) and `address`. Not a [`Location`]: the process would
    /// keep the name of each bus that a server sends.
    pub(crate) location: [String; 3],
    /// The die ID register as text.
    pub(crate) die: String,
    pub(crate) settings: Settings,
}

impl ScrapedSensor {
    /// Returns the value of a label, empty if there is none.
    pub(crate) fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(label, _)| label == name);
        found.map_or("", |(_, value)| value)
    }

    /// Returns about how much memory its texts need, in bytes.
    fn size(&self) -> usize {
        let labels = self.labels.iter().flat_map(|(name, value)| [name, value]);
        let chip = self.chip.iter().flat_map(|chip| chip.location.iter().chain([&chip.die]));
        let alert = self.alert.iter().map(|alert| &alert.on);
        let texts = labels.chain(self.errors.keys()).chain(chip).chain(alert);
        texts.map(|text| 64 + text.len()).sum()
    }

    /// Returns its location, unless its chip was never identified or is simulated.
    pub(crate) fn location(&self) -> Option<Location> {
        let [bus, mux, address] = &self.chip.as_ref()?.location;
        Location::from_labels(bus, mux, address)
    }
}

impl ScrapedChip {
    /// Returns the location as text, with `simulated` in place of a simulated bus.
    pub(crate) fn location_text(&self) -> String {
        let [bus, mux, address] = &self.location;
        let bus = if bus == "simulated" { bus.clone() } else { format!("bus {bus}") };
        let mux = if mux.is_empty() { String::new() } else { format!("mux {mux}, ") };
        format!("{bus}, {mux}{address}")
    }
}

/// Returns the sensors in the response of an exporter.
///
/// # Errors
/// [`Error`] if it is not the response of this program.
pub fn decode(body: &Body) -> Result<Scrape, Error> {
    // One at a time: decoding needs memory of up to eight times the response.
    static DECODING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = DECODING.lock();
    if body.is_cut && body.text.is_empty() {
        return Err(Error::LongLine(1));
    }
    let (samples, series) = parse_ours(&body.text)?;
    let mut left_out = LeftOut { sensors: 0, series, is_cut: body.is_cut };
    let mut devices: BTreeMap<_, Vec<&Sample>> = BTreeMap::new();
    for sample in &samples {
        let key = (sample.label("hostname"), sample.label("device"));
        devices.entry(key).or_default().push(sample);
    }
    let total = |name: &str| {
        samples.iter().filter(|sample| sample.name == name).map(|sample| sample.value).sum()
    };
    let epoch = ["process_start_time_seconds", "ina260_exporter_listener_restarts_total"];
    let epoch = epoch.map(total);
    let (mut sensors, mut size) = (Vec::new(), 0);
    for device in devices.values() {
        let ups = device.iter().filter(|sample| sample.name == "ina260_up");
        let max = (MAX_SENSORS - sensors.len()).min(MAX_COMPARISONS / device.len());
        for (index, up) in ups.enumerate() {
            let sensor = (index < max && size <= MAX_SIZE).then(|| sensor(up, device));
            size += sensor.as_ref().map_or(0, ScrapedSensor::size);
            match sensor.filter(|_| size <= MAX_SIZE) {
                Some(sensor) => sensors.push(ScrapedSensor { epoch, ..sensor }),
                None => left_out.sensors += 1,
            }
        }
    }
    sensors.sort_by(|a: &ScrapedSensor, b| a.labels.cmp(&b.labels));
    Ok(Scrape { sensors, left_out })
}

/// Decodes the sensor of an `ina260_up` series from the series that have all of its labels.
fn sensor(up: &Sample, device: &[&Sample]) -> ScrapedSensor {
    let is_own = |sample: &&Sample| up.labels.iter().all(|label| sample.labels.contains(label));
    // NaN is impossible, too.
    let is_possible = |sample: &&Sample| sample.value.abs() <= MAX_VALUE;
    let (own, impossible): (Vec<_>, Vec<_>) =
        device.iter().copied().filter(is_own).partition(is_possible);
    let find = |name: &str| own.iter().copied().find(|sample| sample.name == name);
    let gauge = |name: &str| Some(find(name)?.value);
    let counter = |name: &str| gauge(name).unwrap_or_default();
    let measured = |window: &str| {
        Some(Measured::new(
            gauge(&format!("ina260_bus_voltage{window}_volts"))?,
            gauge(&format!("ina260_current{window}_amperes"))?,
            gauge(&format!("ina260_power{window}_watts"))?,
        ))
    };
    let mut labels: Vec<_> =
        up.labels.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
    // Sorted by name alone, a fleet would be ordered by device.
    labels.sort_by_cached_key(|(name, _)| (name != "hostname", name != "device", name.clone()));
    let mut sensor = ScrapedSensor {
        labels,
        up: up.value > 0.5,
        readings: measured("").map(|last| Readings {
            last,
            min: measured("_min").unwrap_or(last),
            max: measured("_max").unwrap_or(last),
        }),
        chip: find("ina260_sensor_info").and_then(chip),
        alerts: counter("ina260_alerts_total"),
        measured: counter("ina260_measured_seconds_total"),
        unmeasured: counter("ina260_unmeasured_seconds_total"),
        cycle: gauge("ina260_cycle_seconds").filter(|cycle| *cycle <= MAX_CYCLE),
        // The sum or the count of the results may be among the impossible values.
        last_result: gauge("ina260_last_result_timestamp_seconds")
            .filter(|_| impossible.is_empty()),
        ..ScrapedSensor::default()
    };
    let alert = |limit: &Sample, unit| {
        Some(ScrapedAlert {
            on: limit.label("on").to_owned(),
            limit: limit.value,
            unit,
            active: find("ina260_alert_active").is_some_and(|active| active.value > 0.5),
        })
    };
    for sample in &own {
        let mut count = |name: String| _ = sensor.errors.insert(name, sample.value);
        match sample.name {
            "ina260_energy_joules_total" => match sample.label("direction") {
                "reverse" => sensor.energy[1] = sample.value,
                _ => sensor.energy[0] = sample.value,
            },
            "ina260_power_distribution_watts_sum" => match sample.label("direction") {
                "reverse" => sensor.power[0] -= sample.value,
                _ => sensor.power[0] += sample.value,
            },
            "ina260_power_distribution_watts_count" => sensor.power[1] += sample.value,
            "ina260_alert_limit_amperes" => sensor.alert = alert(sample, "A"),
            "ina260_alert_limit_volts" => sensor.alert = alert(sample, "V"),
            "ina260_alert_limit_watts" => sensor.alert = alert(sample, "W"),
            "ina260_read_errors_total" => count(sample.label("kind").to_owned()),
            "ina260_resets_total" => count(format!("{} reset", sample.label("cause"))),
            "ina260_overflows_total" => count(format!("{} overflow", sample.label("quantity"))),
            "ina260_results_missed_total" => count("missed".to_owned()),
            _ => {}
        }
    }
    sensor
}

fn chip(info: &Sample) -> Option<ScrapedChip> {
    let conversion_time =
        |label| ConversionTime::from_repr(info.label(label).strip_suffix("us")?.parse().ok()?);
    Some(ScrapedChip {
        location: ["bus", "mux", "address"].map(|name| info.label(name).to_owned()),
        die: info.label("die").to_owned(),
        settings: Settings {
            averaging: Averaging::from_repr(info.label("averaging").parse().ok()?)?,
            voltage_conversion_time: conversion_time("voltage_conversion_time")?,
            current_conversion_time: conversion_time("current_conversion_time")?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i2c::is_interned;

    fn sensors(text: &str) -> Vec<ScrapedSensor> {
        let scrape = decode(&text.to_owned().into()).unwrap();
        assert!(scrape.left_out.is_empty(), "{}", scrape.left_out);
        scrape.sensors
    }

    #[test]
    fn left_out_data_is_counted() {
        let up = |n| format!("ina260_up{{device=\"{n}\"}} 1\n");
        let text = (0..50_000).map(up).collect::<String>();
        let scrape = decode(&Body { text, is_cut: true }).unwrap();
        assert_eq!(scrape.sensors.len(), 1_000);
        assert_eq!(
            scrape.left_out.to_string(),
            "too much data; left out: 49000 of the sensors, everything after 8 MiB"
        );
        // Sensors of one device, which would take time quadratic in their number.
        let up = |n| format!("ina260_up{{device=\"a\",label=\"{n}\"}} 1\n");
        let text = (0..60_000).map(up).collect::<String>();
        let scrape = decode(&text.into()).unwrap();
        assert_eq!(scrape.sensors.len(), 33);
        assert_eq!(scrape.left_out.sensors, 59_967);
        // Sensors that share series: each has 24 errors of 64 KB and 64 bytes, and 4 MiB are kept.
        let kind =
            |n| format!("ina260_read_errors_total{{kind=\"{n}{}\"}} 1\n", "x".repeat(64_000));
        let text = "ina260_up 1\n".repeat(500) + &(0..24).map(kind).collect::<String>();
        let scrape = decode(&text.into()).unwrap();
        assert_eq!((scrape.sensors.len(), scrape.left_out.sensors), (2, 498));
    }

    #[test]
    fn golden_scrape_is_decoded_completely() {
        let text = include_str!("../../tests/exposition/alert-and-multiplexer.prom");
        let sensors = sensors(text);
        let [sensor] = sensors.as_slice() else { panic!("{sensors:?}") };
        let labels = sensor.labels.iter();
        let labels: Vec<_> = labels.map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(labels, ["hostname=pi4", "device=gpu", "rail=12V"]);
        assert!(sensor.up);
        let readings = Readings {
            last: Measured::new(12.0, 1.8725, 22.47),
            min: Measured::new(12.0, 1.5, 18.0),
            max: Measured::new(12.0, 1.8725, 22.47),
        };
        assert_eq!(sensor.readings, Some(readings));
        let chip = sensor.chip.as_ref().unwrap();
        assert_eq!(chip.location_text(), "bus 1, mux 0x70:3, 0x41");
        assert_eq!(sensor.location().unwrap().to_string(), chip.location_text());
        assert_eq!(chip.die, "0x2270");
        // 1024 averages of 332 us for the voltage, 588 us for the current.
        assert_eq!(chip.settings, Settings::from_word(0x6E9F));
        let alert =
            ScrapedAlert { on: "over-current".to_owned(), limit: 3.5, unit: "A", active: true };
        assert_eq!(sensor.alert, Some(alert));
        assert_eq!((sensor.alerts, sensor.energy), (6.0, [1026.0, 0.0]));
        assert_eq!((sensor.measured, sensor.unmeasured), (55.0, 0.0));
        assert!((sensor.cycle.unwrap() - 0.942).abs() < 0.001);
        assert_eq!(sensor.power, [1088.775, 59.0]);
        assert_eq!(sensor.errors.len(), 8 + 2 + 3 + 1);
        for name in ["nack", "brown-out reset", "power overflow", "missed"] {
            assert!(sensor.errors.contains_key(name), "{:?}", sensor.errors);
        }
    }

    #[test]
    fn impossible_numbers_are_left_out() {
        let up = "ina260_up 1\n";
        let names = [
            "ina260_alert_limit_watts",
            "ina260_alerts_total",
            "ina260_cycle_seconds",
            "ina260_energy_joules_total",
            "ina260_last_result_timestamp_seconds",
            "ina260_measured_seconds_total",
            "ina260_power_distribution_watts_count",
            "ina260_power_distribution_watts_sum",
            "ina260_read_errors_total",
        ];
        for value in ["NaN", "+Inf", "-Inf", "1e300", "1e19"] {
            let lines = names.map(|name| format!("{name} {value}\n"));
            assert_eq!(sensors(&(up.to_owned() + &lines.concat())), sensors(up), "{value}");
        }
        assert_eq!(sensors("ina260_up 1\nina260_cycle_seconds 4000\n"), sensors(up));
        let text = "ina260_up 1\nina260_last_result_timestamp_seconds 2\nina260_alerts_total NaN\n";
        assert_eq!(sensors(text), sensors(up));
    }

    #[test]
    fn dead_sensor_is_down_without_readings() {
        let text = include_str!("../../tests/exposition/one-dead-sensor.prom");
        let sensors = sensors(text);
        let state = |sensor: &ScrapedSensor| {
            let device = sensor.label("device").to_owned();
            (device, sensor.up, sensor.readings.is_some())
        };
        let states: Vec<_> = sensors.iter().map(state).collect();
        let expected = [("nvme", false, false), ("orin", true, true)];
        assert_eq!(states, expected.map(|(device, up, read)| (device.to_owned(), up, read)));
    }

    #[test]
    fn simulated_sensor_has_no_location() {
        let text = "ina260_up{device=\"a\"} 1\nina260_sensor_info{device=\"a\",\
                    bus=\"simulated\",address=\"0x40\",die=\"0x2270\",averaging=\"4\",\
                    voltage_conversion_time=\"140us\",current_conversion_time=\"204us\"} 1\n";
        let sensors = sensors(text);
        assert_eq!(sensors[0].location(), None);
        let chip = sensors[0].chip.as_ref().unwrap();
        assert_eq!(chip.location_text(), "simulated, 0x40");
    }

    #[test]
    fn location_is_not_kept_for_the_life_of_the_process() {
        let bus = "/dev/of-another-machine";
        let text = format!(
            "ina260_up{{device=\"a\"}} 1\nina260_sensor_info{{device=\"a\",bus=\"{bus}\",\
             address=\"0x40\",die=\"0x2270\",averaging=\"4\",voltage_conversion_time=\"140us\",\
             current_conversion_time=\"204us\"}} 1\n"
        );
        let sensors = sensors(&text);
        assert!(!is_interned(bus));
        assert_eq!(sensors[0].location().unwrap().bus.to_string(), bus);
        assert!(is_interned(bus));
    }

    #[test]
    fn order_of_labels_does_not_matter() {
        let text = "ina260_up{device=\"a\",hostname=\"b\"} 1\n\
                    ina260_alerts_total{hostname=\"b\",device=\"a\"} 2\n";
        let sensors = sensors(text);
        assert_eq!((sensors.len(), sensors[0].alerts), (1, 2.0));
        assert_eq!(sensors[0].labels[0].0, "hostname");
    }

    #[test]
    fn non_finite_readings_are_left_out() {
        let text = "ina260_up{device=\"a\"} 1\nina260_bus_voltage_volts{device=\"a\"} NaN\n\
                    ina260_current_amperes{device=\"a\"} 1\nina260_power_watts{device=\"a\"} 1\n";
        assert_eq!(sensors(text)[0].readings, None);
    }
}
