//! The exporter that uses a bus, and its sensors by its own metrics.

use std::time::Duration;

use crate::i2c::Location;
use crate::scrape::{self, LeftOut, Scrape, ScrapedSensor, Url};
use crate::supervisor::{BusProvider, bus_lock};

/// A working exporter responds within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The exporter that uses a bus.
#[derive(Debug)]
pub(super) struct RunningExporter {
    /// Its URL; for a program that serves no metrics, its name.
    pub(super) url: String,
    pub(super) sensors: Result<Vec<ScrapedSensor>, Unknown>,
}

/// Reason why the sensors of an exporter are unknown.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unknown {
    #[error("{url}: {source}")]
    Scrape { url: String, source: scrape::Error },
    #[error("{0} serves no metrics")]
    NotServed(String),
    #[error("{url}: {left_out}")]
    Incomplete { url: String, left_out: LeftOut },
}

impl RunningExporter {
    /// Finds the exporter that uses a bus, and scrapes it. Simulated buses have none.
    pub(super) fn find(bus: u8, provider: &BusProvider) -> Option<Self> {
        if provider.is_simulated() {
            return None;
        }
        let url = bus_lock::holder_url(bus)?;
        let sensors = match url.parse::<Url>() {
            Err(_) => Err(Unknown::NotServed(url.clone())),
            Ok(parsed) => match parsed.get(TIMEOUT).and_then(|body| scrape::decode(&body)) {
                Ok(scrape) if scrape.left_out.is_empty() => Ok(scrape.sensors),
                Ok(Scrape { left_out, .. }) => {
                    Err(Unknown::Incomplete { url: url.clone(), left_out })
                }
                Err(source) => Err(Unknown::Scrape { url: url.clone(), source }),
            },
        };
        Some(Self { url, sensors })
    }

    /// Returns its sensor at a location.
    pub(super) fn sensor(&self, location: Location) -> Result<Option<&ScrapedSensor>, &Unknown> {
        let mut sensors = self.sensors.as_ref()?.iter();
        Ok(sensors.find(|sensor| sensor.location() == Some(location)))
    }

    /// Returns its name for messages.
    pub(super) fn name(&self) -> String {
        if matches!(self.sensors, Err(Unknown::NotServed(_))) {
            self.url.clone()
        } else {
            format!("the service at {}", self.url)
        }
    }

    /// Returns why the muxes of its bus are not switched.
    pub(super) fn refusal(&self, bus: u8) -> String {
        format!(
            "bus {bus}: muxes are not switched (in use by {}); stop it first, or see its sensors \
             with `ina260-exporter read`",
            self.name()
        )
    }
}
