//! State of the watched hosts and sensors over time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::history::History;
use crate::scrape::{self, LeftOut, Readings, Scrape, ScrapedSensor};

/// Time for which a sensor that is missing from the scrapes is still listed.
const GONE_AFTER: Duration = Duration::from_secs(60);

/// Upper bound on the points of all histories: enough for 15 minutes of 277 sensors.
const MAX_POINTS: usize = 250_000;

/// All watched hosts.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) hosts: Vec<Host>,
    pub(super) started: Instant,
}

/// A source of scrapes.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// Host and port, or path of the socket.
    pub(super) name: String,
    pub(super) state: HostState,
    pub(super) sensors: Vec<WatchedSensor>,
    /// Data of the last scrape that exceeds what can be shown.
    pub(super) left_out: LeftOut,
    last_scrape: Option<Instant>,
}

/// Outcome of the last scrape of a host.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum HostState {
    /// No scrape yet.
    Connecting,
    Up,
    Failing {
        since: Instant,
        error: String,
    },
}

/// A sensor of a host.
#[derive(Clone, Debug)]
pub(super) struct WatchedSensor {
    pub(super) last: ScrapedSensor,
    pub(super) history: History,
    pub(super) increase: Increase,
    seen: Instant,
}

/// Increase of counters while they were watched.
#[derive(Clone, Debug, Default)]
pub(super) struct Increase {
    /// Joules: forward, reverse.
    pub(super) energy: [f64; 2],
    pub(super) alerts: f64,
    /// By kind, as in [`ScrapedSensor::errors`].
    pub(super) errors: BTreeMap<String, f64>,
}

/// State of a sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Up,
    Alert,
    /// The exporter cannot read it.
    Down,
    /// The last scrape does not contain it.
    Gone,
    /// The last scrape failed.
    Unknown,
}

/// An entry of the table: a sensor, or a host without any.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) host: &'a Host,
    pub(super) sensor: Option<&'a WatchedSensor>,
}

impl Model {
    pub(super) fn new(names: impl IntoIterator<Item = String>, now: Instant) -> Self {
        let host = |name| Host {
            name,
            state: HostState::Connecting,
            sensors: Vec::new(),
            left_out: LeftOut::default(),
            last_scrape: None,
        };
        Self { hosts: names.into_iter().map(host).collect(), started: now }
    }

    /// Adds the outcome of a scrape of the host with index `host`.
    pub(super) fn on_scrape(
        &mut self,
        host: usize,
        scrape: Result<Scrape, scrape::Error>,
        now: Instant,
    ) {
        let sensors: usize = self.hosts.iter().map(|host| host.sensors.len()).sum();
        if let Some(host) = self.hosts.get_mut(host) {
            let room = scrape::MAX_SENSORS.saturating_sub(sensors);
            host.on_scrape(scrape, now, room, MAX_POINTS / sensors.max(1));
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.hosts.iter().flat_map(|host| {
            let sensors = host.sensors.iter().map(Some);
            let without_any = host.sensors.is_empty().then_some(None);
            let entry = move |sensor| Entry { host, sensor };
            without_any.into_iter().chain(sensors).map(entry)
        })
    }

    /// Returns the number of sensors in a condition.
    pub(super) fn count(&self, condition: Condition) -> usize {
        let entries = self.entries();
        entries.filter(|entry| entry.condition() == Some(condition)).count()
    }
}

impl Host {
    /// Adds the outcome of a scrape, with at most `room` new sensors, and histories of at most
    /// `max_points`.
    fn on_scrape(
        &mut self,
        scrape: Result<Scrape, scrape::Error>,
        now: Instant,
        mut room: usize,
        max_points: usize,
    ) {
        let scraped = match scrape {
            Ok(scrape) => {
                self.left_out = scrape.left_out;
                scrape.sensors
            }
            Err(error) => return self.on_failure(error.to_string(), now),
        };
        self.state = HostState::Up;
        self.last_scrape = Some(now);
        for (index, sensor) in scraped.into_iter().enumerate() {
            let is_same = |known: &WatchedSensor| known.last.labels == sensor.labels;
            // The order rarely changes: try the same index first, for hosts with many sensors.
            let at_same_index = self.sensors.get(index).filter(|known| is_same(known));
            match at_same_index.map(|_| index).or_else(|| self.sensors.iter().position(is_same)) {
                Some(index) => self.sensors[index].update(sensor, now, max_points),
                None if room == 0 => self.left_out.sensors += 1,
                None => {
                    self.sensors.push(WatchedSensor::new(sensor, now));
                    room -= 1;
                }
            }
        }
        for sensor in self.sensors.iter_mut().filter(|sensor| sensor.seen != now) {
            sensor.history.add(now, None, max_points);
        }
        self.sensors.retain(|sensor| now.saturating_duration_since(sensor.seen) < GONE_AFTER);
    }

    fn on_failure(&mut self, error: String, now: Instant) {
        for sensor in &mut self.sensors {
            // A gap is one point.
            sensor.history.add(now, None, usize::MAX);
        }
        let since = match self.state {
            HostState::Failing { since, .. } => since,
            HostState::Connecting | HostState::Up => now,
        };
        self.state = HostState::Failing { since, error };
    }
}

impl WatchedSensor {
    fn new(sensor: ScrapedSensor, now: Instant) -> Self {
        let mut history = History::default();
        history.add(now, sensor.readings, usize::MAX);
        Self { last: sensor, history, increase: Increase::default(), seen: now }
    }

    fn update(&mut self, mut sensor: ScrapedSensor, now: Instant, max_points: usize) {
        let before = &self.last;
        for (index, sum) in self.increase.energy.iter_mut().enumerate() {
            *sum += increase(before.energy[index], sensor.energy[index]);
        }
        self.increase.alerts += increase(before.alerts, sensor.alerts);
        for (name, after) in &sensor.errors {
            let before = before.errors.get(name).copied().unwrap_or_default();
            *self.increase.errors.entry(name.clone()).or_default() += increase(before, *after);
        }
        // A server could have other kinds in each scrape.
        self.increase.errors.retain(|name, _| sensor.errors.contains_key(name));
        self.history.add(now, sensor.readings, max_points);
        self.seen = now;
        // After a restart, the exporter serves no info series until the chip responds.
        sensor.chip = sensor.chip.or_else(|| self.last.chip.take());
        self.last = sensor;
    }
}

impl Entry<'_> {
    /// Returns the state of the sensor; `None` for a host without sensors.
    pub(super) fn condition(&self) -> Option<Condition> {
        let sensor = self.sensor?;
        Some(match &self.host.state {
            HostState::Failing { .. } | HostState::Connecting => Condition::Unknown,
            HostState::Up if self.host.last_scrape != Some(sensor.seen) => Condition::Gone,
            HostState::Up if !sensor.last.up => Condition::Down,
            HostState::Up => match &sensor.last.alert {
                Some(alert) if alert.active => Condition::Alert,
                _ => Condition::Up,
            },
        })
    }

    /// Returns the readings of the last scrape, if it contained any.
    pub(super) fn readings(&self) -> Option<Readings> {
        let is_current = matches!(self.condition()?, Condition::Up | Condition::Alert);
        self.sensor?.last.readings.filter(|_| is_current)
    }
}

/// Returns the increase of a counter; a decrease is a reset to 0, as in Prometheus.
fn increase(before: f64, after: f64) -> f64 {
    if after >= before { after - before } else { after }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::history::tests::readings;
    use super::*;
    use crate::ina260::settings::Settings;
    use crate::scrape::{ScrapedAlert, ScrapedChip};

    /// Returns a sensor whose energy and count of nack errors are `total`.
    pub(in super::super) fn sensor(device: &str, power: f64, total: f64) -> ScrapedSensor {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        ScrapedSensor {
            labels: vec![label("hostname", "pi4"), label("device", device)],
            up: true,
            readings: Some(readings(power)),
            energy: [total, 0.0],
            errors: BTreeMap::from([("nack".to_owned(), total)]),
            chip: Some(ScrapedChip {
                location_text: "bus 1, 0x40".to_owned(),
                location: None,
                die: "0x2270".to_owned(),
                settings: Settings::from_word(0x6E9F),
            }),
            ..ScrapedSensor::default()
        }
    }

    /// Returns a scrape from which nothing was left out.
    pub(in super::super) fn scrape(sensors: Vec<ScrapedSensor>) -> Scrape {
        Scrape { sensors, left_out: LeftOut::default() }
    }

    #[test]
    fn sensors_of_all_hosts_are_bounded() {
        let start = Instant::now();
        let mut model = Model::new(["a".to_owned(), "b".to_owned()], start);
        let sensors = |count| (0..count).map(|n| sensor(&format!("{n:03}"), 1.0, 0.0)).collect();
        model.on_scrape(0, Ok(scrape(sensors(600))), start);
        model.on_scrape(1, Ok(scrape(sensors(600))), start);
        let host = |model: &Model, host: usize| {
            let host = &model.hosts[host];
            (host.sensors.len(), host.left_out.sensors)
        };
        assert_eq!([host(&model, 0), host(&model, 1)], [(600, 0), (400, 200)]);
        for second in 1..300 {
            model.on_scrape(0, Ok(scrape(sensors(600))), after(start, second));
        }
        let points = |sensor: &WatchedSensor| {
            sensor.history.points(History::MAX_AGE, after(start, 300)).count()
        };
        let total: usize = model.hosts[0].sensors.iter().map(points).sum();
        assert_eq!(total, 600 * 250);
    }

    #[test]
    fn kinds_of_errors_do_not_accumulate() {
        let start = Instant::now();
        let mut model = Model::new(["a".to_owned()], start);
        for second in 0..100 {
            let mut sensor = sensor("x", 1.0, 0.0);
            sensor.errors = BTreeMap::from([(format!("kind {second}"), 1.0)]);
            model.on_scrape(0, Ok(scrape(vec![sensor])), after(start, second));
        }
        assert_eq!(model.hosts[0].sensors[0].increase.errors.len(), 1);
    }

    fn conditions(model: &Model) -> Vec<Option<Condition>> {
        model.entries().map(|entry| entry.condition()).collect()
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn host_without_sensors_is_an_entry() {
        let start = Instant::now();
        let mut model = Model::new(["a".to_owned(), "b".to_owned()], start);
        assert_eq!(conditions(&model), [None, None]);
        model.on_scrape(0, Ok(scrape(vec![sensor("x", 1.0, 0.0), sensor("y", 1.0, 0.0)])), start);
        assert_eq!(conditions(&model), [Some(Condition::Up), Some(Condition::Up), None]);
        // An unknown index is ignored.
        model.on_scrape(7, Ok(scrape(Vec::new())), start);
    }

    #[test]
    fn failed_scrape_leaves_a_gap_and_no_reading() {
        let start = Instant::now();
        let mut model = Model::new(["a".to_owned()], start);
        model.on_scrape(0, Ok(scrape(vec![sensor("x", 1.0, 5.0)])), start);
        for (second, error) in (1..).zip([
            scrape::Error::NoResponse,
            scrape::Error::TruncatedHead,
            scrape::Error::Empty,
        ]) {
            model.on_scrape(0, Err(error), after(start, second));
        }
        assert_eq!(conditions(&model), [Some(Condition::Unknown)]);
        assert_eq!(model.entries().next().unwrap().readings(), None);
        let failing =
            HostState::Failing { since: after(start, 1), error: scrape::Error::Empty.to_string() };
        assert_eq!(model.hosts[0].state, failing);
        model.on_scrape(0, Ok(scrape(vec![sensor("x", 2.0, 6.0)])), after(start, 4));
        let sensor = &model.hosts[0].sensors[0];
        let points = sensor.history.points(History::MAX_AGE, after(start, 4));
        let points: Vec<_> = points.map(|(_, it)| it.map(|it| it.last.power.0)).collect();
        assert_eq!(points, [Some(1.0), None, Some(2.0)]);
        assert_eq!(model.count(Condition::Up), 1);
    }

    #[test]
    fn counter_reset_still_increases() {
        let start = Instant::now();
        let mut model = Model::new(["a".to_owned()], start);
        for (second, joules) in (0..).zip([100.0, 110.0, 3.0, 5.0]) {
            model.on_scrape(0, Ok(scrape(vec![sensor("x", 1.0, joules)])), after(start, second));
        }
        let increase = &model.hosts[0].sensors[0].increase;
        assert_eq!((increase.energy, increase.errors["nack"]), ([15.0, 0.0], 15.0));
    }

    #[test]
    fn missing_sensor_is_gone_for_a_minute() {
        let start = Instant::now();
        let mut model = Model::new(["a".to_owned()], start);
        model.on_scrape(0, Ok(scrape(vec![sensor("x", 1.0, 0.0), sensor("y", 1.0, 0.0)])), start);
        model.on_scrape(0, Ok(scrape(vec![sensor("y", 1.0, 0.0)])), after(start, 59));
        assert_eq!(conditions(&model), [Some(Condition::Gone), Some(Condition::Up)]);
        model.on_scrape(0, Ok(scrape(vec![sensor("y", 1.0, 0.0)])), after(start, 60));
        assert_eq!(conditions(&model), [Some(Condition::Up)]);
    }

    #[test]
    fn down_and_alert_are_conditions() {
        let start = Instant::now();
        let mut model = Model::new(["a".to_owned()], start);
        let mut alerting = sensor("x", 1.0, 0.0);
        alerting.alert = Some(ScrapedAlert { active: true, ..ScrapedAlert::default() });
        let down = ScrapedSensor { up: false, readings: None, chip: None, ..sensor("x", 1.0, 0.0) };
        model.on_scrape(0, Ok(scrape(vec![alerting])), start);
        assert_eq!(conditions(&model), [Some(Condition::Alert)]);
        model.on_scrape(0, Ok(scrape(vec![down])), after(start, 1));
        assert_eq!(conditions(&model), [Some(Condition::Down)]);
        let last = &model.hosts[0].sensors[0].last;
        let chip = last.chip.as_ref().unwrap();
        assert_eq!(chip.location_text, "bus 1, 0x40");
        assert_eq!(last.label("device"), "x");
    }
}
