//! What is known of every host and its sensors, over the time that they are watched.

use std::time::{Duration, Instant};

use super::history::History;
use super::snapshot::{self, Counts, Ranges};

/// How long a sensor that the scrapes have no more is still shown.
const GONE_AFTER: Duration = Duration::from_secs(60);

/// All that is watched.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) hosts: Vec<Host>,
    pub(super) begun: Instant,
}

/// Somewhere that sensors are seen at.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// Where it is asked.
    pub(super) name: String,
    pub(super) state: State,
    pub(super) sensors: Vec<Sensor>,
    /// When it last answered.
    answered: Option<Instant>,
}

/// How a host answers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    /// Not yet.
    Asked,
    Answers,
    /// Since when, and how it was said the last time.
    Fails(Instant, String),
}

/// A sensor at a host.
#[derive(Clone, Debug)]
pub(super) struct Sensor {
    /// As it was last seen.
    pub(super) last: snapshot::Sensor,
    pub(super) history: History,
    /// What was added while it was watched.
    pub(super) added: Added,
    seen: Instant,
}

/// What counters gained.
#[derive(Clone, Debug, Default)]
pub(super) struct Added {
    pub(super) energy: [f64; 2],
    pub(super) alerts: f64,
    pub(super) troubles: Counts,
}

/// What a sensor is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Up,
    Alert,
    /// It does not answer its exporter.
    Down,
    /// Its exporter does not serve it any more.
    Gone,
    /// Its exporter does not answer.
    Unknown,
}

/// A line of the table: a host that has shown no sensor, or a sensor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub(super) host: &'a Host,
    pub(super) sensor: Option<&'a Sensor>,
}

impl Model {
    pub(super) fn new(names: impl IntoIterator<Item = String>, now: Instant) -> Self {
        let host = |name| Host {
            name,
            state: State::Asked,
            sensors: Vec::new(),
            answered: None,
        };
        Self {
            hosts: names.into_iter().map(host).collect(),
            begun: now,
        }
    }

    /// Takes in what came of asking a host.
    pub(super) fn on_scrape(
        &mut self,
        host: usize,
        scrape: Result<Vec<snapshot::Sensor>, String>,
        now: Instant,
    ) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.on_scrape(scrape, now);
        }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.hosts.iter().flat_map(|host| {
            let of_none = host
                .sensors
                .is_empty()
                .then_some(Row { host, sensor: None });
            let sensors = host.sensors.iter().map(Some);
            of_none
                .into_iter()
                .chain(sensors.map(move |sensor| Row { host, sensor }))
        })
    }

    /// How many sensors are in this condition.
    pub(super) fn count(&self, condition: Condition) -> usize {
        let is = |row: &Row<'_>| row.condition() == Some(condition);
        self.rows().filter(is).count()
    }
}

impl Host {
    fn on_scrape(&mut self, scrape: Result<Vec<snapshot::Sensor>, String>, now: Instant) {
        let seen = match scrape {
            Ok(seen) => seen,
            Err(why) => {
                for sensor in &mut self.sensors {
                    sensor.history.add(now, None);
                }
                let since = match self.state {
                    State::Fails(since, _) => since,
                    State::Asked | State::Answers => now,
                };
                self.state = State::Fails(since, why);
                return;
            }
        };
        self.state = State::Answers;
        self.answered = Some(now);
        for (index, sensor) in seen.into_iter().enumerate() {
            let is_it = |known: &Sensor| known.last.labels == sensor.labels;
            // Mostly it is where it was the last time, and a thousand are not compared with a thousand.
            let place = match self.sensors.get(index).filter(|known| is_it(known)) {
                Some(_) => Some(index),
                None => self.sensors.iter().position(is_it),
            };
            match place {
                Some(place) => self.sensors[place].see(sensor, now),
                None => self.sensors.push(Sensor::new(sensor, now)),
            }
        }
        for sensor in self.sensors.iter_mut().filter(|sensor| sensor.seen != now) {
            sensor.history.add(now, None);
        }
        self.sensors
            .retain(|sensor| now.saturating_duration_since(sensor.seen) < GONE_AFTER);
    }
}

impl Sensor {
    fn new(sensor: snapshot::Sensor, now: Instant) -> Self {
        let mut history = History::default();
        history.add(now, sensor.ranges);
        Self {
            last: sensor,
            history,
            added: Added::default(),
            seen: now,
        }
    }

    fn see(&mut self, sensor: snapshot::Sensor, now: Instant) {
        let before = &self.last;
        for (added, (before, after)) in self
            .added
            .energy
            .iter_mut()
            .zip(before.energy.iter().zip(sensor.energy))
        {
            *added += gain(*before, after);
        }
        self.added.alerts += gain(before.alerts, sensor.alerts);
        for (name, after) in &sensor.troubles {
            let before = before.troubles.get(name).copied().unwrap_or_default();
            *self.added.troubles.entry(name.clone()).or_default() += gain(before, *after);
        }
        self.history.add(now, sensor.ranges);
        self.seen = now;
        // What the chip is wired to stays known while it does not answer.
        let place = std::mem::take(&mut self.last.place);
        self.last = sensor;
        if self.last.place.is_empty() {
            self.last.place = place;
        }
    }

    pub(super) fn label(&self, name: &str) -> &str {
        let found = self.last.labels.iter().find(|(label, _)| label == name);
        found.map_or("", |(_, value)| value)
    }
}

impl Row<'_> {
    /// `None` for a host without sensors.
    pub(super) fn condition(&self) -> Option<Condition> {
        let sensor = self.sensor?;
        Some(match &self.host.state {
            State::Fails(..) | State::Asked => Condition::Unknown,
            State::Answers if self.host.answered != Some(sensor.seen) => Condition::Gone,
            State::Answers if !sensor.last.up => Condition::Down,
            State::Answers => match &sensor.last.alert {
                Some(alert) if alert.active => Condition::Alert,
                _ => Condition::Up,
            },
        })
    }

    /// Its readings, if they are of now.
    pub(super) fn ranges(&self) -> Option<Ranges> {
        match self.condition()? {
            Condition::Up | Condition::Alert => self.sensor?.last.ranges,
            Condition::Down | Condition::Gone | Condition::Unknown => None,
        }
    }
}

/// What a counter gained; one that falls has begun anew, as Prometheus takes it.
fn gain(before: f64, after: f64) -> f64 {
    if after >= before {
        after - before
    } else {
        after
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::history::tests::ranges;
    use super::super::snapshot::{Alert, Quantity};
    use super::*;

    pub(in super::super) fn sensor(device: &str, power: f32, joules: f64) -> snapshot::Sensor {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        snapshot::Sensor {
            labels: vec![label("hostname", "pi4"), label("device", device)],
            up: true,
            ranges: Some(ranges(power)),
            energy: [joules, 0.0],
            troubles: Counts::from([("nack".to_owned(), joules)]),
            place: "bus 1, 0x40".to_owned(),
            ..snapshot::Sensor::default()
        }
    }

    fn conditions(model: &Model) -> Vec<Option<Condition>> {
        model.rows().map(|row| row.condition()).collect()
    }

    fn after(begun: Instant, seconds: u64) -> Instant {
        begun + Duration::from_secs(seconds)
    }

    #[test]
    fn a_host_is_a_row_until_it_shows_sensors() {
        let begun = Instant::now();
        let mut model = Model::new(["a".to_owned(), "b".to_owned()], begun);
        assert_eq!(conditions(&model), [None, None]);
        model.on_scrape(
            0,
            Ok(vec![sensor("x", 1.0, 0.0), sensor("y", 1.0, 0.0)]),
            begun,
        );
        assert_eq!(
            conditions(&model),
            [Some(Condition::Up), Some(Condition::Up), None]
        );
        // Nobody of that number is watched.
        model.on_scrape(7, Ok(Vec::new()), begun);
    }

    #[test]
    fn a_scrape_that_fails_leaves_a_gap_and_no_reading() {
        let begun = Instant::now();
        let mut model = Model::new(["a".to_owned()], begun);
        model.on_scrape(0, Ok(vec![sensor("x", 1.0, 5.0)]), begun);
        for second in 1..4 {
            model.on_scrape(0, Err(format!("refused {second}")), after(begun, second));
        }
        assert_eq!(conditions(&model), [Some(Condition::Unknown)]);
        assert_eq!(model.rows().next().unwrap().ranges(), None);
        let failing = State::Fails(after(begun, 1), "refused 3".to_owned());
        assert_eq!(model.hosts[0].state, failing);
        model.on_scrape(0, Ok(vec![sensor("x", 2.0, 6.0)]), after(begun, 4));
        let sensor = &model.hosts[0].sensors[0];
        let seen = sensor
            .history
            .of(Quantity::Power, History::LONGEST, after(begun, 4));
        let seen: Vec<_> = seen
            .map(|(_, range)| range.map(|range| range.now))
            .collect();
        assert_eq!(seen, [Some(1.0), None, Some(2.0)]);
        assert_eq!(model.count(Condition::Up), 1);
    }

    #[test]
    fn a_counter_that_begins_anew_still_gains() {
        let begun = Instant::now();
        let mut model = Model::new(["a".to_owned()], begun);
        for (second, joules) in (0..).zip([100.0, 110.0, 3.0, 5.0]) {
            model.on_scrape(0, Ok(vec![sensor("x", 1.0, joules)]), after(begun, second));
        }
        let added = &model.hosts[0].sensors[0].added;
        assert_eq!((added.energy, added.troubles["nack"]), ([15.0, 0.0], 15.0));
    }

    #[test]
    fn a_sensor_that_is_served_no_more_is_shown_as_gone_for_a_minute() {
        let begun = Instant::now();
        let mut model = Model::new(["a".to_owned()], begun);
        model.on_scrape(
            0,
            Ok(vec![sensor("x", 1.0, 0.0), sensor("y", 1.0, 0.0)]),
            begun,
        );
        model.on_scrape(0, Ok(vec![sensor("y", 1.0, 0.0)]), after(begun, 59));
        assert_eq!(
            conditions(&model),
            [Some(Condition::Gone), Some(Condition::Up)]
        );
        model.on_scrape(0, Ok(vec![sensor("y", 1.0, 0.0)]), after(begun, 60));
        assert_eq!(conditions(&model), [Some(Condition::Up)]);
    }

    #[test]
    fn down_and_alert_are_told_apart_from_up() {
        let begun = Instant::now();
        let mut model = Model::new(["a".to_owned()], begun);
        let mut alerting = sensor("x", 1.0, 0.0);
        alerting.alert = Some(Alert {
            active: true,
            ..Alert::default()
        });
        let down = snapshot::Sensor {
            up: false,
            ranges: None,
            place: String::new(),
            ..sensor("x", 1.0, 0.0)
        };
        model.on_scrape(0, Ok(vec![alerting]), begun);
        assert_eq!(conditions(&model), [Some(Condition::Alert)]);
        model.on_scrape(0, Ok(vec![down]), after(begun, 1));
        assert_eq!(conditions(&model), [Some(Condition::Down)]);
        assert_eq!(model.hosts[0].sensors[0].last.place, "bus 1, 0x40");
        assert_eq!(model.hosts[0].sensors[0].label("device"), "x");
    }
}
