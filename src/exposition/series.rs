//! Recorders, the series of one sensor in them, and how a tick sets these.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use ::metrics::{Counter, Gauge, Histogram, Key, Label, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use metrics_util::MetricKindMask;

use super::metrics::{Metric, Snapshot, Source};
use super::{IDLE_TIMEOUT, METADATA, METRICS, Tick, View};
use crate::meter::{ChipInfo, Observations};

/// Creates a recorder that is not served, with these upper bounds of the power distribution in
/// watts. Panics if there are none.
pub fn recorder(power_buckets: &[f64]) -> PrometheusRecorder {
    builder(power_buckets).build_recorder()
}

pub(super) fn builder(power_buckets: &[f64]) -> PrometheusBuilder {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    let mut builder = PrometheusBuilder::new()
        // Counters stay: a reload that removes one replaces the recorder.
        .idle_timeout(MetricKindMask::GAUGE, Some(IDLE_TIMEOUT))
        // Ticks do the upkeep.
        .upkeep_timeout(YEAR);
    for metric in METRICS {
        if let Source::Histogram(_, bounds) = metric.source {
            let matcher = Matcher::Full(metric.name.to_owned());
            builder = builder
                .set_buckets_for_metric(matcher, bounds.unwrap_or(power_buckets))
                .expect("the configuration has at least one bound");
        }
    }
    builder
}

/// A series, and its handle in the recorder. Registering costs much more than setting, so handles
/// are kept; but one that is registered and not set shows 0, and the handle of a series that has
/// expired sets nothing.
pub(super) struct Slot {
    key: Key,
    handle: Handle,
}

enum Handle {
    Absent,
    Gauge(Gauge),
    Counter(Counter),
    Histogram(Histogram),
}

impl Slot {
    pub(super) fn new(key: &Key) -> Self {
        // Every render clones all keys: retained ones share their labels.
        Self { key: key.to_retained(), handle: Handle::Absent }
    }

    /// Sets a gauge, or leaves it out. Returns whether it was set until now and is left out.
    pub(super) fn set(&mut self, tick: &Tick<'_>, value: Option<f64>) -> bool {
        let Some(value) = value else {
            return !matches!(mem::replace(&mut self.handle, Handle::Absent), Handle::Absent);
        };
        let register = |key: &Key| Handle::Gauge(tick.recorder.register_gauge(key, &METADATA));
        if let Handle::Gauge(gauge) = self.handle(tick, register) {
            gauge.set(value);
        }
        false
    }

    /// Sets a counter, or does not show it yet.
    pub(super) fn count(&mut self, tick: &Tick<'_>, count: Option<u64>) {
        let Some(count) = count else { return };
        let register = |key: &Key| Handle::Counter(tick.recorder.register_counter(key, &METADATA));
        if let Handle::Counter(counter) = self.handle(tick, register) {
            counter.absolute(count);
        }
    }

    fn observe(&mut self, tick: &Tick<'_>, values: impl Iterator<Item = f64>) {
        let register =
            |key: &Key| Handle::Histogram(tick.recorder.register_histogram(key, &METADATA));
        if let Handle::Histogram(histogram) = self.handle(tick, register) {
            values.for_each(|value| histogram.record(value));
        }
    }

    /// Returns the kept handle, unless it has to be renewed.
    fn handle(&mut self, tick: &Tick<'_>, register: impl FnOnce(&Key) -> Handle) -> &Handle {
        if tick.renew || matches!(self.handle, Handle::Absent) {
            self.handle = register(&self.key);
        }
        &self.handle
    }
}

/// The series of one sensor.
pub(super) struct Series {
    pub(super) view: View,
    /// Each series, with the source of its metric and the index of its label value.
    slots: Box<[(&'static Source, usize, Slot)]>,
    /// The chip that the info series describes.
    chip: Option<ChipInfo>,
}

impl Series {
    pub(super) fn new(view: View) -> Self {
        let labels: Vec<Label> = view.labels.iter().map(label).collect();
        let slots = METRICS.iter().flat_map(|metric| {
            let keys = keys(metric, &labels, &view).into_iter().enumerate();
            keys.map(|(index, key)| (&metric.source, index, Slot::new(&key)))
        });
        Self { slots: slots.collect(), view, chip: None }
    }

    /// Sets every series from the meter; swaps `spare`, which is empty, with the meter's
    /// observations. Returns whether it left out a series that the last tick had set.
    pub(super) fn set(&mut self, tick: &Tick<'_>, spare: &mut Observations) -> bool {
        let mut meter = self.view.meter.lock();
        mem::swap(spare, &mut meter.observations);
        let extremes = meter.window.extremes(tick.now);
        let snapshot = meter.snapshot();
        drop(meter);
        let reading = snapshot.live(tick.now);
        let sensor = Snapshot {
            view: &self.view,
            meter: &snapshot,
            totals: snapshot.accumulator.totals(tick.now),
            reading,
            extremes: extremes.filter(|_| reading.is_some()),
            boot: tick.boot,
        };
        let mut is_withdrawn = false;
        for (source, index, slot) in &mut self.slots {
            match source {
                Source::Gauge(value) => is_withdrawn |= slot.set(tick, value(&sensor)),
                Source::AlertLimit(_) => {
                    slot.set(tick, self.view.alert.map(|alert| alert.limit));
                }
                Source::Counter(count) => slot.count(tick, count(&sensor, *index)),
                Source::Histogram(values, _) => {
                    // The second has the negative values of both directions; -0.0 is not negative.
                    let is_reverse = *index == 1;
                    let values = values(spare).iter().filter(|value| (**value < 0.0) == is_reverse);
                    slot.observe(tick, values.map(|value| value.abs()));
                }
                Source::Info => {
                    if let Some(chip) = snapshot.chip.filter(|chip| self.chip != Some(*chip)) {
                        is_withdrawn |= self.chip.replace(chip).is_some();
                        let labels = info_labels(&self.view, chip);
                        *slot = Slot::new(&Key::from_parts(slot.key.name_shared(), labels));
                    }
                    slot.set(tick, self.chip.map(|_| 1.0));
                }
                Source::Daemon(_) | Source::BuildInfo | Source::Restarts => {}
            }
        }
        is_withdrawn
    }
}

/// Returns the key of each series that the metric has for a sensor.
fn keys(metric: &Metric, labels: &[Label], view: &View) -> Vec<Key> {
    match metric.source {
        Source::Daemon(_) | Source::BuildInfo | Source::Restarts => Vec::new(),
        Source::AlertLimit(unit) => {
            let alert = view.alert.filter(|alert| alert.unit == unit);
            let on = alert.map(|alert| Label::from_static_parts("on", alert.on));
            on.map(|on| Key::from_parts(metric.name, [labels, &[on]].concat()))
                .into_iter()
                .collect()
        }
        Source::Gauge(_) | Source::Counter(_) | Source::Histogram(..) | Source::Info => {
            keys_with(metric, labels)
        }
    }
}

/// Returns the key of each series that the metric has for the daemon.
pub(super) fn daemon_keys(metric: &Metric) -> Vec<Key> {
    match metric.source {
        Source::Daemon(_) | Source::Restarts => keys_with(metric, &[]),
        Source::BuildInfo => {
            let revision = option_env!("INA260_EXPORTER_REVISION").unwrap_or("unknown");
            let labels = [("version", env!("CARGO_PKG_VERSION")), ("revision", revision)];
            keys_with(metric, &labels.map(|(name, value)| Label::from_static_parts(name, value)))
        }
        Source::Gauge(_)
        | Source::AlertLimit(_)
        | Source::Counter(_)
        | Source::Histogram(..)
        | Source::Info => Vec::new(),
    }
}

/// Returns a key with these labels, or one with each value of the metric's own label as well.
fn keys_with(metric: &Metric, labels: &[Label]) -> Vec<Key> {
    let key = Key::from_parts(metric.name, labels.to_vec());
    let with = |name, value| key.with_extra_labels(vec![Label::from_static_parts(name, value)]);
    match metric.label {
        Some((name, values)) => values.iter().map(|value| with(name, value)).collect(),
        None => vec![key],
    }
}

/// Returns the labels of the info series, which change with the chip.
fn info_labels(view: &View, chip: ChipInfo) -> Vec<Label> {
    let settings = chip.settings;
    let settings = [
        ("die", format!("{:#06x}", chip.die)),
        ("averaging", settings.averaging.count().to_string()),
        ("voltage_conversion_time", format!("{}us", settings.voltage_conversion_time.micros())),
        ("current_conversion_time", format!("{}us", settings.current_conversion_time.micros())),
    ];
    let settings = settings.map(|(name, value)| Label::new(name, value));
    view.labels.iter().chain(&view.info).map(label).chain(settings).collect()
}

/// Creates a label of strings that all series of a sensor share.
fn label((name, value): &(String, String)) -> Label {
    // metrics-exporter-prometheus treats a backslash before a backslash or a quote as an escape.
    let value = value.replace('\\', r"\\");
    Label::new(Arc::<str>::from(name.as_str()), Arc::<str>::from(value))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::clock::SystemClock;
    use crate::exposition::Exposition;
    use crate::scrape::decode;

    /// Expected text from the Prometheus text format: `\\` is a backslash, `\"` a quote.
    #[test]
    fn backslashes_and_quotes_are_served_as_configured() {
        let names = [
            (r"a\\b", r"a\\\\b"),
            (r"a\b", r"a\\b"),
            (r"c\", r"c\\"),
            (r#"d\"e"#, r#"d\\\"e"#),
            (r"f\n", r"f\\n"),
            (r#"g"h"#, r#"g\"h"#),
        ];
        let view = |(name, _): &(&str, &str)| View {
            labels: ["device", "x"].map(|label| (label.to_owned(), (*name).to_owned())).into(),
            info: Vec::new(),
            script: false,
            alert: None,
            meter: crate::meter::SharedMeter::default(),
        };
        let mut exposition = Exposition::new(recorder(&[1.0]), Arc::new(SystemClock));
        exposition.show(names.iter().map(view).collect());
        exposition.tick(Instant::now());
        let served = exposition.render();
        for (_, wire) in names {
            let series = format!("\nina260_up{{device=\"{wire}\",x=\"{wire}\"}} 0\n");
            assert!(served.contains(&series), "{series}{served}");
        }
        let decoded = decode(&served.into()).unwrap();
        let decoded =
            decoded.sensors.iter().map(|sensor| (sensor.label("device"), sensor.label("x")));
        let names = names.map(|(name, _)| (name, name));
        assert_eq!(decoded.collect::<Vec<_>>(), names);
    }
}
