//! State of the watched hosts and sensors over time.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::scrape::{self, LeftOut, Readings, Scrape, ScrapedSensor};
use crate::units::Quantity;

/// Time for which a sensor that is missing from the scrapes is still listed.
const GONE_AFTER: Duration = Duration::from_secs(60);

/// Upper bound on the points of all histories: enough for 15 minutes of 277 sensors.
const MAX_POINTS: usize = 250_000;

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) hosts: Vec<Host>,
}

/// A source of scrapes.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// Host and port, or path of the socket.
    pub(super) name: String,
    pub(super) state: HostState,
    pub(super) sensors: Vec<WatchedSensor>,
    /// Data of the last scrape that exceeds what can be shown.
    pub(super) left_out: LeftOut,
}

/// Outcome of the last scrape of a host.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum HostState {
    #[default]
    Connecting,
    /// Scraped at that time.
    Up(Instant),
    Failing {
        since: Instant,
        error: String,
    },
}

#[derive(Clone, Debug)]
pub(super) struct WatchedSensor {
    pub(super) last: ScrapedSensor,
    pub(super) history: History,
    /// Since the time in `since`.
    pub(super) increase: Increase,
    /// Time of the first scrape with this sensor.
    pub(super) since: Instant,
    seen: Instant,
}

/// Increase of counters while they were watched.
#[derive(Clone, Debug, Default)]
pub(super) struct Increase {
    /// Forward energy in joules.
    pub(super) energy: f64,
    pub(super) alerts: f64,
    /// By kind, as in [`ScrapedSensor::errors`].
    pub(super) errors: BTreeMap<String, f64>,
}

/// Times and readings of the scrapes of a sensor, oldest first; `None` is a gap.
#[derive(Clone, Debug, Default)]
pub(super) struct History(VecDeque<(Instant, Option<Readings>)>);

/// An entry of the table: a sensor, or a host without any.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) host: &'a Host,
    pub(super) sensor: Option<&'a WatchedSensor>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Up,
    Alert,
    /// The exporter cannot read the sensor.
    Down,
    /// The last scrape does not contain the sensor.
    Gone,
    NoSensors,
    /// The last scrape failed.
    Unreachable,
    Connecting,
}

impl Model {
    pub(super) fn new(names: impl IntoIterator<Item = String>) -> Self {
        let host = |name| Host { name, ..Host::default() };
        Self { hosts: names.into_iter().map(host).collect() }
    }

    pub(super) fn on_scrape(
        &mut self,
        host: usize,
        scrape: Result<Scrape, scrape::Error>,
        now: Instant,
    ) {
        let sensors: usize = self.hosts.iter().map(|host| host.sensors.len()).sum();
        let mut room = scrape::MAX_SENSORS.saturating_sub(sensors);
        let max_points = MAX_POINTS / sensors.max(1);
        let Some(host) = self.hosts.get_mut(host) else { return };
        match scrape {
            Ok(scrape) => {
                host.state = HostState::Up(now);
                host.left_out = scrape.left_out;
                for (index, sensor) in scrape.sensors.into_iter().enumerate() {
                    let is_same = |known: &WatchedSensor| known.last.labels == sensor.labels;
                    // The order rarely changes, and a host may have many sensors.
                    let at_same = host.sensors.get(index).is_some_and(is_same).then_some(index);
                    match at_same.or_else(|| host.sensors.iter().position(is_same)) {
                        Some(index) => host.sensors[index].update(sensor, now, max_points),
                        None if room == 0 => host.left_out.sensors += 1,
                        None => {
                            host.sensors.push(WatchedSensor::new(sensor, now));
                            room -= 1;
                        }
                    }
                }
                host.sensors.retain(|it| now.saturating_duration_since(it.seen) < GONE_AFTER);
            }
            Err(error) => {
                let since = match host.state {
                    HostState::Failing { since, .. } => since,
                    HostState::Connecting | HostState::Up(_) => now,
                };
                host.state = HostState::Failing { since, error: error.to_string() };
            }
        }
        for sensor in host.sensors.iter_mut().filter(|sensor| sensor.seen != now) {
            sensor.history.add(now, None, max_points);
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.hosts.iter().flat_map(|host| {
            let sensors = host.sensors.iter().map(Some);
            let without_any = host.sensors.is_empty().then_some(None);
            without_any.into_iter().chain(sensors).map(move |sensor| Entry { host, sensor })
        })
    }
}

impl WatchedSensor {
    fn new(sensor: ScrapedSensor, now: Instant) -> Self {
        let mut history = History::default();
        history.add(now, sensor.readings, 1);
        Self { last: sensor, history, increase: Increase::default(), since: now, seen: now }
    }

    fn update(&mut self, mut sensor: ScrapedSensor, now: Instant, max_points: usize) {
        let before = &self.last;
        self.increase.energy += increase(before.energy[0], sensor.energy[0]);
        self.increase.alerts += increase(before.alerts, sensor.alerts);
        for (kind, after) in &sensor.errors {
            let before = before.errors.get(kind).copied().unwrap_or_default();
            *self.increase.errors.entry(kind.clone()).or_default() += increase(before, *after);
        }
        // A server could have other kinds in each scrape.
        self.increase.errors.retain(|kind, _| sensor.errors.contains_key(kind));
        self.history.add(now, sensor.readings, max_points);
        self.seen = now;
        // After a restart, the exporter serves no info series until the chip responds.
        sensor.chip = sensor.chip.or_else(|| self.last.chip.take());
        self.last = sensor;
    }
}

/// Returns the increase of a counter; a decrease is a reset to 0, as in Prometheus.
fn increase(before: f64, after: f64) -> f64 {
    if after >= before { after - before } else { after }
}

impl History {
    pub(super) const MAX_AGE: Duration = Duration::from_secs(15 * 60);

    /// Adds a point, and removes those that are too old or more than `max_points`.
    fn add(&mut self, at: Instant, readings: Option<Readings>, max_points: usize) {
        // One point is enough for a gap of any length.
        if readings.is_none() && self.0.back().is_none_or(|(_, last)| last.is_none()) {
            return;
        }
        self.0.push_back((at, readings));
        let is_old = |(then, _): &(Instant, _)| at.saturating_duration_since(*then) > Self::MAX_AGE;
        while self.0.front().is_some_and(is_old) || self.0.len() > max_points {
            self.0.pop_front();
        }
    }

    /// Returns age and readings (`None`: a gap) of the points of the last `span`, oldest first.
    pub(super) fn points(
        &self,
        span: Duration,
        now: Instant,
    ) -> impl Iterator<Item = (Duration, Option<Readings>)> {
        let points = self.0.iter().map(move |(at, it)| (now.saturating_duration_since(*at), *it));
        points.skip_while(move |(age, _)| *age > span)
    }

    fn readings(&self, span: Duration, now: Instant) -> impl Iterator<Item = Readings> {
        self.points(span, now).filter_map(|(_, readings)| readings)
    }

    /// Returns the min and max over `span`, including results between two scrapes.
    pub(super) fn extremes(
        &self,
        quantity: Quantity,
        span: Duration,
        now: Instant,
    ) -> Option<(f64, f64)> {
        let readings = self.readings(span, now);
        let extremes = readings.map(|it| (quantity.of(&it.min), quantity.of(&it.max)));
        extremes.reduce(|(min, max), (low, high)| (min.min(low), max.max(high)))
    }

    /// Returns the mean power of the readings over `span`, in watts.
    pub(super) fn mean_power(&self, span: Duration, now: Instant) -> Option<f64> {
        let powers = self.readings(span, now).map(|readings| readings.last.power.0);
        let (sum, count) =
            powers.fold((0.0, 0.0), |(sum, count), power| (sum + power, count + 1.0));
        (count > 0.0).then(|| sum / count)
    }
}

impl Entry<'_> {
    pub(super) fn condition(&self) -> Condition {
        match (&self.host.state, self.sensor) {
            (HostState::Connecting, _) => Condition::Connecting,
            (HostState::Failing { .. }, _) => Condition::Unreachable,
            (HostState::Up(_), None) => Condition::NoSensors,
            (HostState::Up(at), Some(sensor)) if *at != sensor.seen => Condition::Gone,
            (HostState::Up(_), Some(sensor)) => match &sensor.last {
                ScrapedSensor { up: false, .. } => Condition::Down,
                ScrapedSensor { alert: Some(alert), .. } if alert.active => Condition::Alert,
                _ => Condition::Up,
            },
        }
    }

    /// Returns the readings of the last scrape, if it contained any.
    pub(super) fn readings(&self) -> Option<Readings> {
        let is_current = matches!(self.condition(), Condition::Up | Condition::Alert);
        self.sensor?.last.readings.filter(|_| is_current)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ina260::settings::Settings;
    use crate::scrape::{ScrapedAlert, ScrapedChip};
    use crate::units::Measured;

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
                location: ["1", "", "0x40"].map(str::to_owned),
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
        let mut model = Model::new(["a".to_owned(), "b".to_owned()]);
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
        let mut model = Model::new(["a".to_owned()]);
        for second in 0..100 {
            let mut sensor = sensor("x", 1.0, 0.0);
            sensor.errors = BTreeMap::from([(format!("kind {second}"), 1.0)]);
            model.on_scrape(0, Ok(scrape(vec![sensor])), after(start, second));
        }
        assert_eq!(model.hosts[0].sensors[0].increase.errors.len(), 1);
    }

    fn conditions(model: &Model) -> Vec<Condition> {
        model.entries().map(|entry| entry.condition()).collect()
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn host_without_sensors_is_an_entry() {
        let start = Instant::now();
        let mut model = Model::new(["a".to_owned(), "b".to_owned()]);
        assert_eq!(conditions(&model), [Condition::Connecting; 2]);
        model.on_scrape(0, Ok(scrape(vec![sensor("x", 1.0, 0.0), sensor("y", 1.0, 0.0)])), start);
        assert_eq!(conditions(&model), [Condition::Up, Condition::Up, Condition::Connecting]);
        // An unknown index is ignored.
        model.on_scrape(7, Ok(scrape(Vec::new())), start);
    }

    #[test]
    fn failed_scrape_leaves_a_gap_and_no_reading() {
        let start = Instant::now();
        let mut model = Model::new(["a".to_owned()]);
        model.on_scrape(0, Ok(scrape(vec![sensor("x", 1.0, 5.0)])), start);
        for (second, error) in (1..).zip([
            scrape::Error::NoResponse,
            scrape::Error::TruncatedHead,
            scrape::Error::Empty,
        ]) {
            model.on_scrape(0, Err(error), after(start, second));
        }
        assert_eq!(conditions(&model), [Condition::Unreachable]);
        assert_eq!(model.entries().next().unwrap().readings(), None);
        let failing =
            HostState::Failing { since: after(start, 1), error: scrape::Error::Empty.to_string() };
        assert_eq!(model.hosts[0].state, failing);
        model.on_scrape(0, Ok(scrape(vec![sensor("x", 2.0, 6.0)])), after(start, 4));
        let sensor = &model.hosts[0].sensors[0];
        let points = sensor.history.points(History::MAX_AGE, after(start, 4));
        let points: Vec<_> = points.map(|(_, it)| it.map(|it| it.last.power.0)).collect();
        assert_eq!(points, [Some(1.0), None, Some(2.0)]);
        assert_eq!(conditions(&model), [Condition::Up]);
    }

    #[test]
    fn counter_reset_still_increases() {
        let start = Instant::now();
        let mut model = Model::new(["a".to_owned()]);
        for (second, joules) in (0..).zip([100.0, 110.0, 3.0, 5.0]) {
            model.on_scrape(0, Ok(scrape(vec![sensor("x", 1.0, joules)])), after(start, second));
        }
        let increase = &model.hosts[0].sensors[0].increase;
        assert_eq!((increase.energy, increase.errors["nack"]), (15.0, 15.0));
    }

    #[test]
    fn missing_sensor_is_gone_for_a_minute() {
        let start = Instant::now();
        let mut model = Model::new(["a".to_owned()]);
        model.on_scrape(0, Ok(scrape(vec![sensor("x", 1.0, 0.0), sensor("y", 1.0, 0.0)])), start);
        model.on_scrape(0, Ok(scrape(vec![sensor("y", 1.0, 0.0)])), after(start, 59));
        assert_eq!(conditions(&model), [Condition::Gone, Condition::Up]);
        model.on_scrape(0, Ok(scrape(vec![sensor("y", 1.0, 0.0)])), after(start, 60));
        assert_eq!(conditions(&model), [Condition::Up]);
    }

    #[test]
    fn down_and_alert_are_conditions() {
        let start = Instant::now();
        let mut model = Model::new(["a".to_owned()]);
        let mut alerting = sensor("x", 1.0, 0.0);
        alerting.alert = Some(ScrapedAlert { active: true, ..ScrapedAlert::default() });
        let down = ScrapedSensor { up: false, readings: None, chip: None, ..sensor("x", 1.0, 0.0) };
        model.on_scrape(0, Ok(scrape(vec![alerting])), start);
        assert_eq!(conditions(&model), [Condition::Alert]);
        model.on_scrape(0, Ok(scrape(vec![down])), after(start, 1));
        assert_eq!(conditions(&model), [Condition::Down]);
        let last = &model.hosts[0].sensors[0].last;
        let chip = last.chip.as_ref().unwrap();
        assert_eq!(chip.location_text(), "bus 1, 0x40");
        assert_eq!(last.label("device"), "x");
    }

    /// Returns readings of 5 V, with min and max 1 below and above.
    fn readings(power: f64) -> Readings {
        let measured =
            |offset: f64| Measured::new(5.0 + offset, power / 5.0 + offset, power + offset);
        Readings { last: measured(0.0), min: measured(-1.0), max: measured(1.0) }
    }

    #[test]
    fn history_is_limited_to_its_max_age() {
        let start = Instant::now();
        let mut history = History::default();
        for second in 0..=2_000 {
            history.add(after(start, second), Some(readings(1.0)), 1_000);
        }
        assert_eq!(history.0.len(), 901);
        history.add(after(start, 2_000), Some(readings(1.0)), 3);
        assert_eq!(history.0.len(), 3);
        let points = history.points(Duration::from_secs(2), after(start, 2_000));
        let ages: Vec<_> = points.map(|(age, _)| age.as_secs()).collect();
        assert_eq!(ages, [1, 0, 0]);
    }

    #[test]
    fn outage_is_one_gap_and_not_in_the_mean() {
        let start = Instant::now();
        let mut history = History::default();
        let powers = [None, Some(2.0), None, None, Some(4.0), Some(6.0)];
        for (second, power) in (0..).zip(powers) {
            history.add(after(start, second), power.map(readings), 1_000);
        }
        let now = after(start, 5);
        let points = history.points(History::MAX_AGE, now);
        let points: Vec<_> = points.map(|(_, it)| it.map(|it| it.last.power.0)).collect();
        assert_eq!(points, [Some(2.0), None, Some(4.0), Some(6.0)]);
        assert_eq!(history.mean_power(History::MAX_AGE, now), Some(4.0));
        let extremes = |span| history.extremes(Quantity::Power, span, now);
        assert_eq!(extremes(History::MAX_AGE), Some((1.0, 7.0)));
        assert_eq!(extremes(Duration::from_secs(1)), Some((3.0, 7.0)));
        assert_eq!(History::default().mean_power(Duration::from_secs(1), now), None);
    }
}
