//! The daemon that uses a bus, and what its own scrape says of the sensors there.

use std::time::Duration;

use super::http::Url;
use super::metrics::{Sample, parse_ours};
use super::place::Place;
use crate::lock;

/// A daemon that is well answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// The daemon that uses a bus.
#[derive(Clone, Debug)]
pub(super) struct Service {
    /// Where it serves.
    pub(super) url: String,
    /// Its sensors, or why they are not known.
    pub(super) sensors: Result<Vec<Served>, String>,
}

/// A sensor as its daemon shows it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Served {
    pub(super) device: String,
    pub(super) place: Place,
    /// Whether its last read worked.
    pub(super) up: bool,
    /// Volts, amperes and watts of its last result, while it is up.
    pub(super) readings: Option<[f64; 3]>,
    /// The die identity register, as text.
    pub(super) die: String,
    pub(super) averaging: u32,
    pub(super) voltage_micros: u32,
    pub(super) current_micros: u32,
    /// What its comparator watches, and the limit.
    pub(super) alert: Option<(String, f64)>,
    /// Whether the comparator saw its limit crossed during the last result.
    pub(super) alert_active: Option<bool>,
}

impl Service {
    /// The daemon that uses a bus, if one does; asks for its scrape.
    pub(super) fn of(bus: u8) -> Option<Self> {
        lock::user_of(bus).map(Self::at)
    }

    fn at(url: String) -> Self {
        let sensors = scrape(&url).map_err(|why| format!("{url} {why}"));
        Self { url, sensors }
    }

    /// Its sensor at a place.
    pub(super) fn sensor(&self, place: Place) -> Result<Option<&Served>, &str> {
        let sensors = self.sensors.as_ref().map_err(String::as_str)?;
        Ok(sensors.iter().find(|sensor| sensor.place == place))
    }

    /// What it is called in a message: `watch` measures, too, and serves nobody.
    pub(super) fn name(&self) -> String {
        if self.url.parse::<Url>().is_ok() {
            format!("the service at {}", self.url)
        } else {
            self.url.clone()
        }
    }

    /// Why its multiplexers are left alone.
    pub(super) fn refusal(&self, bus: u8) -> String {
        format!(
            "bus {bus} is in use by {}: to switch a multiplexer would give it the wrong sensor; \
             stop it for that, or see what it measures with `ina260-exporter read`",
            self.name()
        )
    }
}

fn scrape(url: &str) -> Result<Vec<Served>, String> {
    let url = url.parse::<Url>().map_err(|_| "has no metrics")?;
    let text = url.get(PATIENCE)?;
    Ok(sensors(&parse_ours(&text)?))
}

/// A sensor for each info series; one that was never found has none.
fn sensors(samples: &[Sample]) -> Vec<Served> {
    let infos = samples
        .iter()
        .filter(|sample| sample.name == "ina260_sensor_info");
    infos.filter_map(|info| sensor(info, samples)).collect()
}

fn sensor(info: &Sample, samples: &[Sample]) -> Option<Served> {
    let same = |sample: &&Sample, label| sample.label(label) == info.label(label);
    let own = |name: &'static str| {
        samples.iter().find(move |sample| {
            sample.name == name && same(sample, "hostname") && same(sample, "device")
        })
    };
    let value = |name| own(name).map(|sample| sample.value);
    let readings = || {
        Some([
            value("ina260_bus_voltage_volts")?,
            value("ina260_current_amperes")?,
            value("ina260_power_watts")?,
        ])
    };
    let micros = |label| info.label(label).strip_suffix("us")?.parse().ok();
    let is_set = |value: f64| value > 0.5;
    Some(Served {
        device: info.label("device").to_owned(),
        place: Place::from_labels(info.label("bus"), info.label("mux"), info.label("address"))?,
        up: value("ina260_up").is_some_and(is_set),
        readings: readings(),
        die: info.label("die").to_owned(),
        averaging: info.label("averaging").parse().ok()?,
        voltage_micros: micros("voltage_conversion_time")?,
        current_micros: micros("current_conversion_time")?,
        alert: own("ina260_alert_limit").map(|limit| (limit.label("on").to_owned(), limit.value)),
        alert_active: value("ina260_alert_active").map(is_set),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::metrics::parse;

    #[test]
    fn a_sensor_of_a_scrape_is_found_by_its_place_with_its_settings_and_its_alert() {
        let text = include_str!("../../tests/exposition/alert-and-multiplexer.prom");
        let sensors = sensors(&parse(text).unwrap());
        let [sensor] = sensors.as_slice() else {
            panic!("{sensors:?}")
        };
        assert_eq!(sensor.place.to_string(), "bus 1, mux 0x70:3, 0x41");
        assert_eq!(
            (sensor.device.as_str(), sensor.up, sensor.readings),
            ("gpu", true, Some([12.0, 1.8725, 22.47]))
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
        sensors.sort_by_key(|sensor| sensor.place);
        let up = sensors.iter();
        let up: Vec<_> = up
            .map(|sensor| (sensor.up, sensor.readings.is_some()))
            .collect();
        assert_eq!(up, [(true, true), (false, false)], "{sensors:?}");
    }
}
