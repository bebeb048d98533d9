//! The daemon that uses a bus, and what its own scrape says of the sensors there.

use std::time::Duration;

use crate::i2c::Location;
use crate::scrape::{self, ScrapedSensor, Url};
use crate::supervisor::bus_lock;

/// A daemon that is well answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// The daemon that uses a bus.
#[derive(Clone, Debug)]
pub(super) struct RunningExporter {
    /// Where it serves.
    pub(super) url: String,
    /// Its sensors, or why they are not known.
    pub(super) sensors: Result<Vec<ScrapedSensor>, String>,
}

impl RunningExporter {
    /// The daemon that uses a bus, if one does; asks for its scrape.
    pub(super) fn of(bus: u8) -> Option<Self> {
        bus_lock::user_of(bus).map(Self::at)
    }

    fn at(url: String) -> Self {
        let sensors = fetch(&url).map_err(|why| format!("{url}: {why}"));
        Self { url, sensors }
    }

    /// Its sensor at a place.
    pub(super) fn sensor(&self, location: Location) -> Result<Option<&ScrapedSensor>, &str> {
        let sensors = self.sensors.as_ref().map_err(String::as_str)?;
        Ok(sensors
            .iter()
            .find(|sensor| sensor.location() == Some(location)))
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

fn fetch(url: &str) -> Result<Vec<ScrapedSensor>, String> {
    let url = url.parse::<Url>().map_err(|_| "serves no metrics")?;
    let text = url.get(PATIENCE);
    text.and_then(|text| scrape::decode(&text))
        .map_err(|error| error.to_string())
}
