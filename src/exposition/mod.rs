//! Meters become what Prometheus scrapes.
//!
//! Nothing is recorded where it happens. Once a second, and when a sensor goes up or down, a tick sets every series of every
//! sensor from its meter. What a tick does not set, because its sensor is lost or gone, expires: a dead sensor disappears
//! whoever scrapes, or nobody.

use std::io;
use std::time::{Duration, Instant, SystemTime};

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusHandle, PrometheusRecorder};
use metrics_process::Collector;

use crate::meter::SharedMeter;

mod listener;
mod table;
mod ticker;

pub use listener::{Listener, Serving, ask, remove_socket};
use table::{BUILD_INFO, RELOAD_SUCCESSFUL, RELOAD_TIMESTAMP, SENSOR_INFO, unix_seconds};
pub use table::{METRICS, Metric, Source};
pub use ticker::Ticker;

/// A series that no tick set for so long is gone. Two ticks may be late before anything disappears; and what the last tick before
/// an outage set is gone with the third after it.
const IDLE: Duration = Duration::from_millis(2_500);

/// By then what was not set has expired: at the first tick after [`IDLE`], or at the one after that.
const HELD: Duration = Duration::from_millis(4_500);

const METADATA: Metadata<'static> = Metadata::new("ina260_exporter", Level::INFO, None);

/// A sensor as the exposition sees it.
#[derive(Clone, Debug)]
pub struct View {
    /// On each of its series.
    pub labels: Vec<(String, String)>,
    /// On its info series, besides.
    pub info: Vec<(String, String)>,
    /// Whether the script's three gauges are shown.
    pub script: bool,
    /// Its numbers.
    pub meter: SharedMeter,
}

/// The recorder with all that it has to be told.
pub struct Exposition {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    process: Collector,
    sensors: Vec<Series>,
    build_info: Key,
    reload_successful: bool,
    reload_succeeded: SystemTime,
    /// An emptied list, to be swapped for a full one.
    spare: Vec<f64>,
}

/// The series of one sensor, with their keys made once.
struct Series {
    view: View,
    /// For each metric of a sensor its key, or one for each value of its own label.
    keys: Vec<(Source, Vec<Key>)>,
    /// The info series' key, made again when the chip tells its die.
    info: Option<(Option<u16>, Key)>,
    /// Not shown before.
    held_until: Option<Instant>,
}

impl Exposition {
    /// Describes every metric; shows no sensor yet. `now` is when the configuration was loaded.
    #[must_use]
    pub fn new(recorder: PrometheusRecorder, now: SystemTime) -> Self {
        for metric in METRICS {
            let (name, help) = (metric.name.into(), metric.help.into());
            match metric.source.kind() {
                "counter" => recorder.describe_counter(name, None, help),
                "histogram" => recorder.describe_histogram(name, None, help),
                _ => recorder.describe_gauge(name, None, help),
            }
        }
        let process = Collector::default();
        metrics::with_local_recorder(&recorder, || process.describe());
        let build_info = Key::from_parts(
            BUILD_INFO,
            vec![
                Label::new("version", env!("CARGO_PKG_VERSION")),
                Label::new(
                    "revision",
                    option_env!("INA260_EXPORTER_REVISION").unwrap_or("unknown"),
                ),
            ],
        );
        Self {
            handle: recorder.handle(),
            recorder,
            process,
            sensors: Vec::new(),
            build_info,
            reload_successful: true,
            reload_succeeded: now,
            spare: Vec::new(),
        }
    }

    /// The sensors of a configuration; series of others expire.
    ///
    /// A name that another sensor takes over is held back until the series of the one before have expired: a counter can't go
    /// back while it is there, and would stand still until the newcomer has counted as far.
    pub fn show(&mut self, views: Vec<View>, now: Instant) {
        let before = std::mem::take(&mut self.sensors);
        let takes_over = |view: &View| {
            let same = before
                .iter()
                .find(|series| series.view.labels == view.labels);
            same.is_some_and(|series| {
                !series.view.meter.is_same(&view.meter) || series.is_held(now)
            })
        };
        self.sensors = views
            .into_iter()
            .map(|view| Series {
                held_until: takes_over(&view).then(|| now + HELD),
                ..Series::new(view)
            })
            .collect();
    }

    /// Notes how a load of the configuration went.
    pub fn reloaded(&mut self, successful: bool, at: SystemTime) {
        self.reload_successful = successful;
        if successful {
            self.reload_succeeded = at;
        }
    }

    /// Sets every series, and lets those expire that were not set.
    pub fn tick(&mut self, now: Instant) {
        for sensor in self
            .sensors
            .iter_mut()
            .filter(|sensor| !sensor.is_held(now))
        {
            self.spare = sensor.tick(&self.recorder, std::mem::take(&mut self.spare), now);
        }
        let gauge = |key: &Key, value: f64| self.recorder.register_gauge(key, &METADATA).set(value);
        gauge(&self.build_info, 1.0);
        let successful = f64::from(u8::from(self.reload_successful));
        gauge(&Key::from_static_name(RELOAD_SUCCESSFUL), successful);
        gauge(
            &Key::from_static_name(RELOAD_TIMESTAMP),
            unix_seconds(self.reload_succeeded),
        );
        metrics::with_local_recorder(&self.recorder, || self.process.collect());
        // Idle series are looked for while rendering, and histograms emptied: so it is done although nobody asked.
        let rendered = self.handle.render_to_write(&mut io::sink());
        debug_assert!(rendered.is_ok(), "a sink takes everything");
    }

    /// What a scrape would get.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }
}

impl Series {
    fn new(view: View) -> Self {
        let labels: Vec<Label> = view
            .labels
            .iter()
            .map(|(name, value)| Label::new(name.clone(), value.clone()))
            .collect();
        let keys = METRICS
            .iter()
            .filter(|metric| match metric.source {
                Source::Script(_) => view.script,
                Source::Info | Source::Daemon => false,
                _ => true,
            })
            .map(|metric| (metric.source, series_keys(metric, &labels)))
            .collect();
        Self {
            view,
            keys,
            info: None,
            held_until: None,
        }
    }

    fn is_held(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }

    /// Registers and sets in one step, since a series that is registered and not set shows 0.
    fn tick(&mut self, recorder: &PrometheusRecorder, spare: Vec<f64>, now: Instant) -> Vec<f64> {
        let mut shared = self.view.meter.lock();
        let mut visits = shared.take_visits(spare);
        let meter = shared.clone();
        drop(shared);
        let live = meter.live(now);
        for (source, keys) in &self.keys {
            let gauge = |value| recorder.register_gauge(&keys[0], &METADATA).set(value);
            match source {
                Source::Script(value) => {
                    if let Some(value) = live.and_then(value) {
                        gauge(value);
                    }
                }
                Source::Reading(value) => {
                    if let Some(reading) = live {
                        gauge(value(&meter, reading));
                    }
                }
                Source::State(value) => gauge(value(live.is_some())),
                Source::Counter(value) => {
                    recorder
                        .register_counter(&keys[0], &METADATA)
                        .absolute(value(&meter));
                }
                Source::Counters { counts, .. } => {
                    for (key, count) in keys.iter().zip(counts(&meter)) {
                        recorder.register_counter(key, &METADATA).absolute(*count);
                    }
                }
                Source::Histogram(_) => {
                    let histogram = recorder.register_histogram(&keys[0], &METADATA);
                    for visit in visits.drain(..) {
                        histogram.record(visit);
                    }
                }
                Source::Info | Source::Daemon => {}
            }
        }
        recorder
            .register_gauge(self.info_key(meter.die), &METADATA)
            .set(1.0);
        visits
    }

    fn info_key(&mut self, die: Option<u16>) -> &Key {
        if self.info.as_ref().is_none_or(|(known, _)| *known != die) {
            let die_label = die.map(|die| ("die".to_owned(), format!("{die:#06x}")));
            let labels: Vec<Label> = self
                .view
                .labels
                .iter()
                .chain(&self.view.info)
                .chain(&die_label)
                .map(|(name, value)| Label::new(name.clone(), value.clone()))
                .collect();
            self.info = Some((die, Key::from_parts(SENSOR_INFO, labels)));
        }
        &self.info.as_ref().expect("just made").1
    }
}

fn series_keys(metric: &Metric, labels: &[Label]) -> Vec<Key> {
    match metric.source {
        Source::Counters { label, values, .. } => values
            .iter()
            .map(|value| {
                let mut labels = labels.to_vec();
                labels.push(Label::from_static_parts(label, value));
                Key::from_parts(metric.name, labels)
            })
            .collect(),
        _ => vec![Key::from_parts(metric.name, labels.to_vec())],
    }
}
