//! The series of one sensor: which it has, and how a tick sets them.

use std::sync::Arc;
use std::time::Instant;

use ::metrics::{Key, Label, Recorder};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::metrics::{DIRECTIONS, Histogram, SENSOR_INFO};
use super::{METADATA, METRICS, Metric, Source, View};
use crate::meter::{ChipInfo, Observations};

/// The series of one sensor, with their keys made once.
pub(super) struct Series {
    pub(super) view: View,
    /// For each metric of a sensor its key, or one for each value of its own label.
    keys: Vec<(Source, Vec<Key>)>,
    /// The info series' key, made again when the chip is found.
    info: Option<(ChipInfo, Key)>,
    /// Not shown before.
    held_until: Option<Instant>,
    /// Whether the last tick set readings, and extremes.
    set: (bool, bool),
    /// The last tick did not set a series that the one before had set.
    pub(super) withdrawn: bool,
}

impl Series {
    pub(super) fn new(view: View, held_until: Option<Instant>) -> Self {
        let labels: Vec<Label> = view.labels.iter().map(label).collect();
        let shown = |metric: &&Metric| match metric.source {
            Source::Script(_) => view.script,
            Source::Alert(_) | Source::Alerts(_) => view.alert.is_some(),
            Source::AlertLimit(unit) => view.alert.is_some_and(|alert| alert.unit == unit),
            Source::Info | Source::Daemon => false,
            _ => true,
        };
        let keys = METRICS
            .iter()
            .filter(shown)
            .map(|metric| (metric.source, series_keys(metric, &labels, &view)))
            .collect();
        Self {
            view,
            keys,
            info: None,
            held_until,
            set: (false, false),
            withdrawn: false,
        }
    }

    pub(super) fn is_held(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }

    /// Registers and sets in one step, since a series that is registered and not set shows 0.
    pub(super) fn tick(
        &mut self,
        recorder: &PrometheusRecorder,
        spare: Observations,
        now: Instant,
    ) -> Observations {
        let mut meter = self.view.meter.lock();
        let mut samples = meter.take_observations(spare);
        let extremes = meter.window.extremes(now);
        let snapshot = meter.snapshot();
        drop(meter);
        let meter = snapshot;
        let totals = meter.accumulator.totals(now);
        let live = meter.live(now);
        let set = (live.is_some(), live.is_some() && extremes.is_some());
        self.withdrawn = (self.set.0 && !set.0) || (self.set.1 && !set.1);
        self.set = set;
        for (source, keys) in &self.keys {
            let gauge = |value| recorder.register_gauge(&keys[0], &METADATA).set(value);
            let counter = |key, count| recorder.register_counter(key, &METADATA).absolute(count);
            let counters = |counts: &[u64]| {
                keys.iter()
                    .zip(counts)
                    .for_each(|(key, count)| counter(key, *count));
            };
            match source {
                Source::Script(value) => _ = live.and_then(value).map(gauge),
                Source::Reading(value) => _ = live.map(|reading| gauge(value(&meter, reading))),
                Source::Extreme(value) => _ = live.and(extremes.as_ref()).map(|e| gauge(value(e))),
                Source::State(value) => gauge(value(live.is_some())),
                Source::Alert(value) => _ = live.map(|_| gauge(value(&meter))),
                Source::AlertLimit(_) => _ = self.view.alert.map(|alert| gauge(alert.limit)),
                Source::Alerts(count) => counter(&keys[0], count(&meter)),
                Source::Counter(count) => counter(&keys[0], count(&totals)),
                Source::Flow(counts) => counters(&counts(&totals)),
                Source::Counters { counts, .. } => counters(counts(&meter)),
                Source::Histogram(kind) => {
                    for (key, reverse) in keys.iter().zip([false, true]) {
                        let histogram = recorder.register_histogram(key, &METADATA);
                        kind.samples(&samples, reverse)
                            .for_each(|sample| histogram.record(sample));
                    }
                }
                Source::Info | Source::Daemon => {}
            }
        }
        samples.clear();
        if let Some(found) = meter.chip {
            recorder
                .register_gauge(self.info_key(found), &METADATA)
                .set(1.0);
        }
        samples
    }

    fn info_key(&mut self, found: ChipInfo) -> &Key {
        if self.info.as_ref().is_none_or(|(known, _)| *known != found) {
            self.withdrawn |= self.info.is_some();
            let told = [
                ("die", format!("{:#06x}", found.die)),
                ("averaging", found.averaging.to_string()),
                (
                    "voltage_conversion_time",
                    format!("{}us", found.voltage_micros),
                ),
                (
                    "current_conversion_time",
                    format!("{}us", found.current_micros),
                ),
            ];
            let known = self.view.labels.iter().chain(&self.view.info);
            let labels: Vec<Label> = known
                .map(label)
                .chain(told.map(|(name, value)| Label::new(name, value)))
                .collect();
            self.info = Some((found, Key::from_parts(SENSOR_INFO, labels)));
        }
        &self.info.as_ref().expect("just made").1
    }
}

/// Of shared text: every render copies all keys, and would copy every letter of owned ones.
fn label((name, value): &(String, String)) -> Label {
    Label::new(
        Arc::<str>::from(name.as_str()),
        Arc::<str>::from(value.as_str()),
    )
}

fn series_keys(metric: &Metric, labels: &[Label], view: &View) -> Vec<Key> {
    let with = |name: &'static str, value: &'static str| {
        let mut labels = labels.to_vec();
        labels.push(Label::from_static_parts(name, value));
        Key::from_parts(metric.name, labels)
    };
    let directed = || {
        DIRECTIONS
            .map(|direction| with("direction", direction))
            .into()
    };
    match metric.source {
        Source::Counters { label, values, .. } => values()
            .into_iter()
            .map(|value| with(label, value))
            .collect(),
        Source::Flow(_) | Source::Histogram(Histogram::Powers) => directed(),
        Source::AlertLimit(_) => view
            .alert
            .iter()
            .map(|alert| with("on", alert.on))
            .collect(),
        _ => vec![Key::from_parts(metric.name, labels.to_vec())],
    }
}
