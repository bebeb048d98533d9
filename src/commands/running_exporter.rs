//! The exporter that uses a bus, and its sensors according to its metrics.

use std::time::Duration;

use crate::i2c::adapters::Adapters;
use crate::i2c::{BusName, Location};
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
    pub(super) fn find(bus: BusName, provider: &BusProvider) -> Option<Self> {
        if provider.is_simulated() {
            return None;
        }
        let url = bus_lock::holder_url(bus)?;
        let sensors = sensors(&url);
        Some(Self { url, sensors })
    }

    /// Returns its sensor at a location, or why there is none.
    pub(super) fn sensor(&self, location: Location) -> Result<&ScrapedSensor, String> {
        let Location { bus, .. } = location;
        let sensors = self.sensors.as_ref();
        let sensors =
            sensors.map_err(|error| format!("bus {bus} is in use by another process; {error}"))?;
        let adapters = Adapters::read();
        let location = adapters.numbered(location);
        let is_at =
            |it: &&ScrapedSensor| it.location().map(|it| adapters.numbered(it)) == Some(location);
        sensors.iter().find(is_at).ok_or_else(|| {
            format!("bus {bus} is in use by {}, which does not measure this sensor", self.name())
        })
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
    pub(super) fn refusal(&self, bus: BusName) -> String {
        let or_read = ", or see its sensors with `ina260-exporter read`";
        format!(
            "bus {bus}: muxes are not switched (in use by {}); stop it first{}",
            self.name(),
            if self.sensors.is_ok() { or_read } else { "" }
        )
    }
}

/// Scrapes the sensors of the exporter at a URL.
fn sensors(url: &str) -> Result<Vec<ScrapedSensor>, Unknown> {
    let parsed: Url = url.parse().map_err(|_| Unknown::NotServed(url.to_owned()))?;
    let url = url.to_owned();
    match parsed.get(TIMEOUT).and_then(|body| scrape::decode(&body)) {
        Ok(scrape) if scrape.left_out.is_empty() => Ok(scrape.sensors),
        Ok(Scrape { left_out, .. }) => Err(Unknown::Incomplete { url, left_out }),
        Err(source) => Err(Unknown::Scrape { url, source }),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn exporter_with_too_many_sensors_is_unknown() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/metrics", listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let up = |n| format!("ina260_up{{device=\"{n}\"}} 1\n");
            let text: String = (0..1_007).map(up).collect();
            stream.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{text}").as_bytes()).unwrap();
        });
        let error = sensors(&url).unwrap_err().to_string();
        assert_eq!(error, format!("{url}: too much data; left out: 7 of the sensors"));
    }
}
