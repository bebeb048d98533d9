//! The series of one sensor, and how a tick sets them.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ::metrics::{Key, Label, Recorder};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::metrics::{DIRECTIONS, Histogram, SENSOR_INFO, unix_seconds};
use super::{METADATA, METRICS, Metric, Source, View};
use crate::meter::{ChipInfo, Observations};

/// The series of one sensor.
pub(super) struct Series {
    pub(super) view: View,
    /// The key of each metric, or one for each value of its own label.
    keys: Vec<(Source, Vec<Key>)>,
    /// The key of the info series, which changes with the chip.
    info: Option<(ChipInfo, Key)>,
    /// Time before which nothing is shown.
    held_until: Option<Instant>,
    /// Whether the last tick set readings, and whether it set extremes.
    set: (bool, bool),
    /// Whether the last tick left out a series that the one before it had set.
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
        Self { view, keys, info: None, held_until, set: (false, false), withdrawn: false }
    }

    pub(super) fn is_held(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }

    /// Sets every series from the meter; swaps `spare` with the meter's observations and empties
    /// those. Each series is registered and set in one step: one that is registered but not set
    /// shows 0, and the handle of one that has expired sets nothing. `boot` is the wall-clock time
    /// of the boot.
    pub(super) fn tick(
        &mut self,
        recorder: &PrometheusRecorder,
        spare: &mut Observations,
        now: Instant,
        boot: SystemTime,
    ) {
        let mut meter = self.view.meter.lock();
        let observations = meter.take_observations(std::mem::take(spare));
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
                keys.iter().zip(counts).for_each(|(key, count)| counter(key, *count));
            };
            match source {
                Source::Script(value) => _ = live.and_then(value).map(gauge),
                Source::Reading(value) => _ = live.map(|reading| gauge(value(&meter, reading))),
                Source::Time(value) => {
                    _ = live.map(|reading| gauge(unix_seconds(boot + value(reading))));
                }
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
                        kind.observations(&observations, reverse)
                            .for_each(|value| histogram.record(value));
                    }
                }
                Source::Info | Source::Daemon => {}
            }
        }
        *spare = observations;
        spare.clear();
        if let Some(chip) = meter.chip {
            self.update_info(chip);
        }
        if let Some((_, key)) = &self.info {
            recorder.register_gauge(key, &METADATA).set(1.0);
        }
    }

    fn update_info(&mut self, chip: ChipInfo) {
        if self.info.as_ref().is_some_and(|(known, _)| *known == chip) {
            return;
        }
        self.withdrawn |= self.info.is_some();
        let settings = chip.settings;
        let settings = [
            ("die", format!("{:#06x}", chip.die)),
            ("averaging", settings.averaging.count().to_string()),
            ("voltage_conversion_time", format!("{}us", settings.voltage_conversion_time.micros())),
            ("current_conversion_time", format!("{}us", settings.current_conversion_time.micros())),
        ];
        let labels = self.view.labels.iter().chain(&self.view.info).map(label);
        let settings = settings.map(|(name, value)| Label::new(name, value));
        let labels: Vec<Label> = labels.chain(settings).collect();
        self.info = Some((chip, Key::from_parts(SENSOR_INFO, labels)));
    }
}

/// Creates a label of shared strings: every render clones all keys, with the text of owned strings.
fn label((name, value): &(String, String)) -> Label {
    Label::new(Arc::<str>::from(name.as_str()), Arc::<str>::from(value.as_str()))
}

fn series_keys(metric: &Metric, labels: &[Label], view: &View) -> Vec<Key> {
    let with = |name: &'static str, value: &'static str| {
        let mut labels = labels.to_vec();
        labels.push(Label::from_static_parts(name, value));
        Key::from_parts(metric.name, labels)
    };
    match metric.source {
        Source::Counters { label, values, .. } => {
            let values = values().into_iter();
            values.map(|value| with(label, value)).collect()
        }
        Source::Flow(_) | Source::Histogram(Histogram::Power) => {
            DIRECTIONS.map(|value| with("direction", value)).into()
        }
        Source::AlertLimit(_) => {
            let alerts = view.alert.iter();
            alerts.map(|alert| with("on", alert.on)).collect()
        }
        _ => vec![Key::from_parts(metric.name, labels.to_vec())],
    }
}
