//! The exporter that uses a bus, and its sensors according to its metrics.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::i2c::adapters::Adapters;
use crate::i2c::{BusName, Location};
use crate::scrape::{self, Scrape, ScrapedSensor, Url};
use crate::supervisor::{BusProvider, bus_lock};

/// A working exporter responds within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct RunningExporter {
    /// Its name for messages.
    pub(super) name: String,
    /// Its sensors, or why they are unknown.
    pub(super) sensors: Result<Vec<ScrapedSensor>, String>,
}

/// Exporters by URL, with the times of their scrapes: one may use many buses and be slow.
#[derive(Default)]
pub(super) struct Exporters(BTreeMap<String, (Instant, Rc<RunningExporter>)>);

impl Exporters {
    /// Finds the exporter that uses a bus, and scrapes it if it is new. Simulated buses have none.
    pub(super) fn find(
        &mut self,
        bus: BusName,
        provider: &BusProvider,
    ) -> Option<Rc<RunningExporter>> {
        let url = if provider.is_simulated() { None } else { bus_lock::holder_url(bus) }?;
        let (_, exporter) = self.0.entry(url).or_insert_with_key(|url| {
            let exporter = RunningExporter::at(url.clone());
            (Instant::now(), Rc::new(exporter))
        });
        Some(exporter.clone())
    }

    /// Discards scrapes older than half a second; metrics are updated once a second.
    pub(super) fn expire(&mut self) {
        self.0.retain(|_, (scraped, _)| scraped.elapsed() < Duration::from_millis(500));
    }
}

impl RunningExporter {
    /// Scrapes the exporter at a URL; a program that serves no metrics has a name in its place.
    fn at(url: String) -> Self {
        let Ok(parsed) = url.parse::<Url>() else {
            return Self { sensors: Err(format!("{url} serves no metrics")), name: url };
        };
        let sensors = match parsed.get(TIMEOUT).and_then(|body| scrape::decode(&body)) {
            Ok(Scrape { sensors, left_out }) if left_out.is_empty() => Ok(sensors),
            Ok(Scrape { left_out, .. }) => Err(format!("{url}: {left_out}")),
            Err(error) => Err(format!("{url}: {error}")),
        };
        Self { name: format!("the service at {url}"), sensors }
    }

    pub(super) fn sensor(&self, location: Location) -> Result<&ScrapedSensor, String> {
        let bus = location.bus;
        let unknown = |error| format!("bus {bus} is in use by another process; {error}");
        let mut sensors = self.sensors.as_ref().map_err(unknown)?.iter();
        let adapters = Adapters::read();
        let location = Some(adapters.numbered(location));
        let found = sensors.find(|it| it.location().map(|it| adapters.numbered(it)) == location);
        found.ok_or_else(|| {
            format!("bus {bus} is in use by {}, which does not measure this sensor", self.name)
        })
    }

    /// Returns why the muxes of its bus are not switched.
    pub(super) fn refusal(&self, bus: BusName) -> String {
        let or_read = ", or see its sensors with `ina260-exporter read`";
        format!(
            "bus {bus}: muxes are not switched (in use by {}); stop it first{}",
            self.name,
            if self.sensors.is_ok() { or_read } else { "" }
        )
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
        let error = RunningExporter::at(url.clone()).sensors.unwrap_err();
        assert_eq!(error, format!("{url}: too much data; left out: 7 of the sensors"));
    }
}
