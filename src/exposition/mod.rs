//! Turns meters into the series that Prometheus scrapes.
//!
//! Series are not updated at the point of measurement. Once a second, and when a sensor goes up or
//! down, a tick sets every series of every sensor from its meter. A series that ticks no longer
//! set, because its sensor is down or removed, expires: readings of a dead sensor disappear even if
//! nothing scrapes.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ::metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusHandle, PrometheusRecorder};
use metrics_process::Collector;

use crate::clock::Clock;
use crate::meter::{Observations, SharedMeter};

mod listener;
mod metrics;
mod process;
mod series;
mod ticker;

use self::metrics::{BUILD_INFO, RELOAD_SUCCESSFUL, RELOAD_TIMESTAMP, START_TIME, unix_seconds};
pub use self::metrics::{METRICS, Metric, Source};
pub use listener::{BindError, Listener, Serving, recorder, remove_socket};
use process::Process;
use series::Series;
pub use ticker::Ticker;

/// Time after which a series that is not set any more expires. Two ticks may be late before a
/// series disappears; what the last tick before an outage set has expired by the third tick after
/// it.
const IDLE_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Time after which every series that is not set any more has expired: at the first tick after
/// [`IDLE_TIMEOUT`], or at the one after that.
const EXPIRED_AFTER: Duration = Duration::from_millis(4_500);

const METADATA: Metadata<'static> = Metadata::new("ina260_exporter", Level::INFO, None);

/// A sensor as the exposition sees it.
#[derive(Clone, Debug)]
pub struct View {
    /// Labels of each of its series.
    pub labels: Vec<(String, String)>,
    /// Further labels of its info series.
    pub info: Vec<(String, String)>,
    /// Whether the three gauges of the Python script are shown.
    pub script: bool,
    /// Its alert, if it has one.
    pub alert: Option<AlertView>,
    /// Its values.
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

/// Sets the series of all sensors and of the daemon.
pub struct Exposition {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    process: Process,
    clock: Arc<dyn Clock>,
    /// Wall-clock time of the boot. All times are kept as time since boot, so that those from
    /// before the clock was set are right afterwards.
    boot: SystemTime,
    started: Duration,
    sensors: Vec<Series>,
    /// Views of earlier configurations, until their series have expired.
    retired: Vec<(View, Instant)>,
    build_info: Key,
    reload_successful: bool,
    reload_succeeded: Duration,
    /// Empty lists to swap for the full ones of a meter: their memory is reused.
    spare: Observations,
    /// Whether a series was withdrawn since the last tick.
    withdrawn: bool,
    /// Time until which withdrawn series may still have to expire.
    expiring_until: Option<Instant>,
}

impl Exposition {
    /// Describes every metric; shows no sensor yet. The configuration was loaded now.
    pub fn new(recorder: PrometheusRecorder, clock: Arc<dyn Clock>) -> Self {
        for metric in METRICS {
            let (name, help) = (metric.name.into(), metric.help.into());
            match metric.source.kind() {
                "counter" => recorder.describe_counter(name, None, help),
                "histogram" => recorder.describe_histogram(name, None, help),
                _ => recorder.describe_gauge(name, None, help),
            }
        }
        ::metrics::with_local_recorder(&recorder, || Collector::default().describe());
        let revision = option_env!("INA260_EXPORTER_REVISION").unwrap_or("unknown");
        let build_info = Key::from_parts(
            BUILD_INFO,
            vec![
                Label::new("version", env!("CARGO_PKG_VERSION")),
                Label::new("revision", revision),
            ],
        );
        Self {
            handle: recorder.handle(),
            recorder,
            process: Process::default(),
            boot: boot(&*clock),
            started: clock.booted(),
            reload_succeeded: clock.booted(),
            clock,
            sensors: Vec::new(),
            retired: Vec::new(),
            build_info,
            reload_successful: true,
            spare: Observations::default(),
            withdrawn: false,
            expiring_until: None,
        }
    }

    /// Shows the sensors of a configuration; series of other sensors expire.
    ///
    /// Where another sensor takes over a name, its series are held back until those of the old
    /// sensor have expired: a counter must not decrease while it exists, and would stay at the old
    /// value until the new sensor has counted that far.
    pub fn show(&mut self, views: Vec<View>, now: Instant) {
        let before = std::mem::take(&mut self.sensors);
        self.withdrawn = !before.is_empty();
        let until = now + EXPIRED_AFTER;
        self.retired.retain(|(_, until)| now < *until);
        self.retired.extend(before.into_iter().map(|series| (series.view, until)));
        let takes_over = |view: &View| {
            self.retired
                .iter()
                .any(|(old, _)| old.labels == view.labels && !old.meter.is_same(&view.meter))
        };
        self.sensors = views
            .into_iter()
            .map(|view| {
                let held_until = takes_over(&view).then_some(until);
                Series::new(view, held_until)
            })
            .collect();
    }

    /// Records the outcome of a reload.
    pub fn record_reload(&mut self, successful: bool) {
        self.reload_successful = successful;
        if successful {
            self.reload_succeeded = self.clock.booted();
        }
    }

    /// Sets every series, and expires those that were not set.
    pub fn tick(&mut self, now: Instant) {
        // Takes from the histograms what no scrape has taken since the last tick; rendering would
        // cost five times the rest of a tick. Not after recording: then a scrape finds nothing to
        // take, and never releases what its thread holds in metrics-util.
        self.handle.run_upkeep();
        self.follow_clock();
        let sensors = self.sensors.iter_mut();
        for sensor in sensors.filter(|sensor| !sensor.is_held(now)) {
            sensor.tick(&self.recorder, &mut self.spare, now, self.boot);
            self.withdrawn |= sensor.withdrawn;
        }
        let gauge = |key: &Key, value: f64| self.recorder.register_gauge(key, &METADATA).set(value);
        gauge(&self.build_info, 1.0);
        let successful = f64::from(u8::from(self.reload_successful));
        gauge(&Key::from_static_name(RELOAD_SUCCESSFUL), successful);
        let times = [(RELOAD_TIMESTAMP, self.reload_succeeded), (START_TIME, self.started)];
        for (name, booted) in times {
            gauge(&Key::from_static_name(name), unix_seconds(self.boot + booted));
        }
        for (name, value) in self.process.values(now) {
            gauge(&Key::from_static_name(name), *value);
        }
        if std::mem::take(&mut self.withdrawn) {
            self.expiring_until = Some(now + EXPIRED_AFTER);
        }
        if self.expiring_until.is_some_and(|until| now <= until) {
            // Series expire while they are rendered, which must not depend on scrapes.
            let rendered = self.handle.render_to_write(&mut io::sink());
            debug_assert!(rendered.is_ok(), "writing to a sink does not fail");
        }
    }

    /// Adopts a step of the wall clock. Smaller differences are the time between reading the two
    /// clocks and are ignored, so that timestamps stay constant.
    fn follow_clock(&mut self) {
        const STEP: Duration = Duration::from_secs(1);
        let boot = boot(&*self.clock);
        let step = boot.duration_since(self.boot).unwrap_or_else(|error| error.duration());
        if step > STEP {
            self.boot = boot;
        }
    }

    /// Returns what a scrape returns.
    pub fn render(&self) -> String {
        self.handle.render()
    }
}

/// Returns the wall-clock time of the boot.
fn boot(clock: &dyn Clock) -> SystemTime {
    clock.wall() - clock.booted()
}
