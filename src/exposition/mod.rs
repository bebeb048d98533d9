//! Meters become what Prometheus scrapes.
//!
//! Nothing is recorded where it happens. Once a second, and when a sensor goes up or down, a tick sets every series of every
//! sensor from its meter. What a tick does not set, because its sensor is lost or gone, expires: a dead sensor disappears
//! whoever scrapes, or nobody.

use std::io;
use std::time::{Duration, Instant, SystemTime};

use ::metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusHandle, PrometheusRecorder};
use metrics_process::Collector;

use crate::meter::{Observations, SharedMeter};

mod listener;
mod metrics;
mod series;
mod ticker;

use self::metrics::{BUILD_INFO, RELOAD_SUCCESSFUL, RELOAD_TIMESTAMP, unix_seconds};
pub use self::metrics::{METRICS, Metric, Source};
pub use listener::{Listener, Serving, ask, recorder, remove_socket};
use series::Series;
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
    /// Its alert, if it has one.
    pub alert: Option<AlertView>,
    /// Its numbers.
    pub meter: SharedMeter,
}

/// An alert as the exposition sees it.
#[derive(Clone, Copy, Debug)]
pub struct AlertView {
    /// Value of the label `on`: the comparator's function.
    pub on: &'static str,
    /// Unit of the limit: `A`, `V` or `W`.
    pub unit: &'static str,
    /// Limit in this unit.
    pub limit: f64,
}

/// The recorder with all that it has to be told.
pub struct Exposition {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    process: Collector,
    sensors: Vec<Series>,
    /// What was shown before the last configurations, until it has expired for certain.
    retired: Vec<(View, Instant)>,
    build_info: Key,
    reload_successful: bool,
    reload_succeeded: SystemTime,
    /// An emptied list, to be swapped for a full one.
    spare: Observations,
    /// Series were withdrawn since the last tick.
    withdrawn: bool,
    /// Until then some of them may still have to expire.
    expiring_until: Option<Instant>,
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
        ::metrics::with_local_recorder(&recorder, || process.describe());
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
            retired: Vec::new(),
            build_info,
            reload_successful: true,
            reload_succeeded: now,
            spare: Observations::default(),
            withdrawn: false,
            expiring_until: None,
        }
    }

    /// The sensors of a configuration; series of others expire.
    ///
    /// A name that another sensor takes over is held back until the series of the one before have expired: a counter can't go
    /// back while it is there, and would stand still until the newcomer has counted as far.
    pub fn show(&mut self, views: Vec<View>, now: Instant) {
        let before = std::mem::take(&mut self.sensors);
        self.withdrawn = !before.is_empty();
        self.retired.retain(|(_, until)| now < *until);
        self.retired
            .extend(before.into_iter().map(|series| (series.view, now + HELD)));
        let takes_over = |view: &View| {
            let another = |(old, _): &(View, Instant)| {
                old.labels == view.labels && !old.meter.is_same(&view.meter)
            };
            self.retired.iter().any(another)
        };
        self.sensors = views
            .into_iter()
            .map(|view| {
                let held_until = takes_over(&view).then(|| now + HELD);
                Series::new(view, held_until)
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
        // What no scrape has taken out of the histograms since the last tick; rendering it all would cost five times the rest of this one.
        // Not after recording: a scrape that finds nothing to take never lets go of what its thread holds for metrics-util.
        self.handle.run_upkeep();
        for sensor in self
            .sensors
            .iter_mut()
            .filter(|sensor| !sensor.is_held(now))
        {
            self.spare = sensor.tick(&self.recorder, std::mem::take(&mut self.spare), now);
            self.withdrawn |= sensor.withdrawn;
        }
        let gauge = |key: &Key, value: f64| self.recorder.register_gauge(key, &METADATA).set(value);
        gauge(&self.build_info, 1.0);
        let successful = f64::from(u8::from(self.reload_successful));
        gauge(&Key::from_static_name(RELOAD_SUCCESSFUL), successful);
        gauge(
            &Key::from_static_name(RELOAD_TIMESTAMP),
            unix_seconds(self.reload_succeeded),
        );
        ::metrics::with_local_recorder(&self.recorder, || self.process.collect());
        if std::mem::take(&mut self.withdrawn) {
            self.expiring_until = Some(now + HELD);
        }
        if self.expiring_until.is_some_and(|until| now <= until) {
            // Idle series are looked for while rendering: so it is done although nobody asked.
            let rendered = self.handle.render_to_write(&mut io::sink());
            debug_assert!(rendered.is_ok(), "a sink takes everything");
        }
    }

    /// What a scrape would get.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }
}
