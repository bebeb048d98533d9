//! The series of one sensor, and how a tick sets them.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ::metrics::{Counter, Gauge, Histogram as Observed, Key, Label, Recorder};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::metrics::{DIRECTIONS, Histogram, SENSOR_INFO, unix_seconds};
use super::{METADATA, METRICS, Metric, Source, View};
use crate::meter::{ChipInfo, Observations};

/// A series, and its handle in the recorder. The handle of a series that has expired sets nothing,
/// so it is forgotten when a tick leaves it out; and from time to time, see [`super::Exposition`].
/// Registering costs much more than setting, and one that is registered but not set shows 0.
pub(super) struct Slot {
    key: Key,
    gauge: Option<Gauge>,
    counter: Option<Counter>,
    histogram: Option<Observed>,
}

impl Slot {
    pub(super) fn new(key: Key) -> Self {
        Self { key, gauge: None, counter: None, histogram: None }
    }

    /// Sets a gauge, or leaves it out.
    pub(super) fn set(&mut self, recorder: &PrometheusRecorder, value: Option<f64>) {
        let Some(value) = value else {
            self.gauge = None;
            return;
        };
        let register = || recorder.register_gauge(&self.key, &METADATA);
        self.gauge.get_or_insert_with(register).set(value);
    }

    /// Sets a counter.
    pub(super) fn count(&mut self, recorder: &PrometheusRecorder, count: u64) {
        let register = || recorder.register_counter(&self.key, &METADATA);
        self.counter.get_or_insert_with(register).absolute(count);
    }

    fn observe(&mut self, recorder: &PrometheusRecorder, values: impl Iterator<Item = f64>) {
        let register = || recorder.register_histogram(&self.key, &METADATA);
        let histogram = self.histogram.get_or_insert_with(register);
        values.for_each(|value| histogram.record(value));
    }

    /// Forgets what may have expired. Histograms do not expire.
    pub(super) fn forget(&mut self) {
        (self.gauge, self.counter) = (None, None);
    }
}

/// The series of one sensor.
pub(super) struct Series {
    view: View,
    /// The series of each metric: one, or one for each value of its own label.
    slots: Vec<(Source, Vec<Slot>)>,
    /// The info series, which changes with the chip.
    info: Option<(ChipInfo, Slot)>,
    /// Whether the last tick set readings, and whether it set extremes.
    set: (bool, bool),
    /// Whether the last tick left out a series that the one before it had set.
    pub(super) withdrawn: bool,
}

impl Series {
    pub(super) fn new(view: View) -> Self {
        let labels: Vec<Label> = view.labels.iter().map(label).collect();
        let shown = |metric: &&Metric| match metric.source {
            Source::Script(_) => view.script,
            Source::Alert(_) | Source::Alerts(_) => view.alert.is_some(),
            Source::AlertLimit(unit) => view.alert.is_some_and(|alert| alert.unit == unit),
            Source::Info | Source::Daemon | Source::Restarts => false,
            _ => true,
        };
        let slots = |metric| series_keys(metric, &labels, &view).into_iter().map(Slot::new);
        let slots = METRICS
            .iter()
            .filter(shown)
            .map(|metric| (metric.source, slots(metric).collect()))
            .collect();
        Self { view, slots, info: None, set: (false, false), withdrawn: false }
    }

    /// Forgets the handles of series that may have expired.
    pub(super) fn forget(&mut self) {
        let info = self.info.iter_mut().map(|(_, slot)| slot);
        self.slots.iter_mut().flat_map(|(_, slots)| slots).chain(info).for_each(Slot::forget);
    }

    /// Sets every series from the meter; swaps `spare`, which is empty, with the meter's
    /// observations. `boot` is the wall-clock time of the boot.
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
        for (source, slots) in &mut self.slots {
            let mut gauge = |value| slots[0].set(recorder, value);
            match source {
                Source::Script(value) => gauge(live.and_then(value)),
                Source::Reading(value) => gauge(live.map(|reading| value(&meter, reading))),
                Source::Time(value) => {
                    gauge(live.map(|reading| unix_seconds(boot + value(reading))));
                }
                Source::Extreme(value) => gauge(live.and(extremes.as_ref()).map(value)),
                Source::State(value) => gauge(Some(value(live.is_some()))),
                Source::Alert(value) => gauge(live.map(|_| value(&meter))),
                Source::AlertLimit(_) => gauge(self.view.alert.map(|alert| alert.limit)),
                Source::Alerts(count) => set_counters(slots, recorder, &[count(&meter)]),
                Source::Counter(count) => set_counters(slots, recorder, &[count(&totals)]),
                Source::Flow(counts) => set_counters(slots, recorder, &counts(&totals)),
                Source::Counters { counts, .. } => set_counters(slots, recorder, counts(&meter)),
                Source::Histogram(kind) => {
                    for (slot, reverse) in slots.iter_mut().zip([false, true]) {
                        slot.observe(recorder, kind.observations(&observations, reverse));
                    }
                }
                Source::Info | Source::Daemon | Source::Restarts => {}
            }
        }
        *spare = observations;
        if let Some(chip) = meter.chip {
            self.update_info(chip);
        }
        if let Some((_, slot)) = &mut self.info {
            slot.set(recorder, Some(1.0));
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
        self.info = Some((chip, Slot::new(Key::from_parts(SENSOR_INFO, labels))));
    }
}

fn set_counters(slots: &mut [Slot], recorder: &PrometheusRecorder, counts: &[u64]) {
    slots.iter_mut().zip(counts).for_each(|(slot, count)| slot.count(recorder, *count));
}

/// Creates a label of shared strings: every render clones all keys, which would copy owned strings.
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
