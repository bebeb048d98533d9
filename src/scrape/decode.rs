//! Sensors decoded from a scrape of this exporter.

use super::Sample;
use crate::i2c::Location;
use crate::units::{Amperes, Measured, Volts, Watts};

/// A sensor as its daemon shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapedSensor {
    pub device: String,
    pub location: Location,
    /// Whether its last read worked.
    pub up: bool,
    /// Its last result, while it is up.
    pub measured: Option<Measured>,
    /// The die identity register, as text.
    pub die: String,
    pub averaging: u32,
    pub voltage_micros: u32,
    pub current_micros: u32,
    /// What its comparator watches, and the limit.
    pub alert: Option<(String, f64)>,
    /// Whether the comparator saw its limit crossed during the last result.
    pub alert_active: Option<bool>,
}

/// A sensor for each info series; one that was never found has none.
pub fn sensors(samples: &[Sample]) -> Vec<ScrapedSensor> {
    let infos = samples
        .iter()
        .filter(|sample| sample.name == "ina260_sensor_info");
    infos.filter_map(|info| sensor(info, samples)).collect()
}

fn sensor(info: &Sample, samples: &[Sample]) -> Option<ScrapedSensor> {
    let same = |sample: &&Sample, label| sample.label(label) == info.label(label);
    let own = |name: &str| {
        samples.iter().find(|sample| {
            sample.name == name && same(sample, "hostname") && same(sample, "device")
        })
    };
    let value = |name| own(name).map(|sample| sample.value);
    let measured = || {
        Some(Measured::new(
            value("ina260_bus_voltage_volts")?,
            value("ina260_current_amperes")?,
            value("ina260_power_watts")?,
        ))
    };
    let micros = |label| info.label(label).strip_suffix("us")?.parse().ok();
    let is_set = |value: f64| value > 0.5;
    Some(ScrapedSensor {
        device: info.label("device").to_owned(),
        location: Location::from_labels(
            info.label("bus"),
            info.label("mux"),
            info.label("address"),
        )?,
        up: value("ina260_up").is_some_and(is_set),
        measured: measured(),
        die: info.label("die").to_owned(),
        averaging: info.label("averaging").parse().ok()?,
        voltage_micros: micros("voltage_conversion_time")?,
        current_micros: micros("current_conversion_time")?,
        alert: ["amperes", "volts", "watts"]
            .into_iter()
            .find_map(|unit| own(&format!("ina260_alert_limit_{unit}")))
            .map(|limit| (limit.label("on").to_owned(), limit.value)),
        alert_active: value("ina260_alert_active").map(is_set),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::parse;

    #[test]
    fn a_sensor_of_a_scrape_is_found_by_its_place_with_its_settings_and_its_alert() {
        let text = include_str!("../../tests/exposition/alert-and-multiplexer.prom");
        let sensors = sensors(&parse(text).unwrap());
        let [sensor] = sensors.as_slice() else {
            panic!("{sensors:?}")
        };
        assert_eq!(sensor.location.to_string(), "bus 1, mux 0x70:3, 0x41");
        assert_eq!(
            (
                sensor.device.as_str(),
                sensor.up,
                sensor.measured.map(|measured| measured.to_string())
            ),
            ("gpu", true, Some("12.000 V, 1.873 A, 22.470 W".to_owned()))
        );
        let settings = (
            sensor.averaging,
            sensor.voltage_micros,
            sensor.current_micros,
        );
        assert_eq!(settings, (1024, 332, 588));
        assert_eq!(sensor.alert, Some(("over-current".to_owned(), 3.5)));
        assert_eq!(sensor.alert_active, Some(true));
    }

    #[test]
    fn a_dead_sensor_is_down_and_has_no_readings() {
        let text = include_str!("../../tests/exposition/one-dead-sensor.prom");
        let mut sensors = sensors(&parse(text).unwrap());
        sensors.sort_by_key(|sensor| sensor.location);
        let up = sensors.iter();
        let up: Vec<_> = up
            .map(|sensor| (sensor.up, sensor.measured.is_some()))
            .collect();
        assert_eq!(up, [(true, true), (false, false)], "{sensors:?}");
    }
}
