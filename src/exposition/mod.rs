//! Turns meters into the series that Prometheus scrapes, and serves them.
//!
//! Series are not updated at the point of measurement. Once a second, and when a sensor goes up or
//! down, a tick sets every series of every sensor from its meter. A series that ticks no longer
//! set, because its sensor is down, expires: readings of a dead sensor disappear even if nothing
//! scrapes.
//!
//! Recorder and listener can be replaced at any time: the meters hold every gauge and counter.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ::metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusHandle, PrometheusRecorder};
use metrics_process::{Collector, collector};

use crate::clock::{Clock, SystemClock};
use crate::meter::{Observations, SharedMeter};

mod health;
mod listener;
mod metrics;
mod series;
mod server;
mod serving;

use self::metrics::{
    BUILD_INFO, LISTENER_RESTARTS, RELOAD_SUCCESSFUL, RELOAD_TIMESTAMP, START_TIME, unix_seconds,
};
pub use self::metrics::{METRICS, Metric, RestartCause, Source};
pub use listener::{BindError, ServerSettings, recorder};
use series::{Series, Slot};
pub use server::{Prepared, Server};

/// Time after which a series that is not set any more expires. One tick may be missed and the next
/// be half a second late before live series disappear; readings of a sensor that is down have
/// expired by the third tick after the last one that set them.
const IDLE_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Time after which every series that is not set any more has expired: at the first tick after
/// [`IDLE_TIMEOUT`], or at the one after that.
const EXPIRED_AFTER: Duration = Duration::from_millis(4_500);

/// Time between two ticks after which live series may have expired.
const MAX_GAP: Duration = Duration::from_secs(2);

/// Time after a gap longer than [`MAX_GAP`] during which a scrape that began in the gap may still
/// remove live series.
const UNSURE_FOR: Duration = Duration::from_secs(5);

/// Time between two collections of the process' own metrics: reading `/proc` costs more than the
/// rest of a tick.
const PROCESS_PERIOD: Duration = Duration::from_secs(10);

/// Number of observations after which a tick drains the histograms, even if no scrape has: draining
/// takes as long as the rest of a tick, and each observation occupies 8 bytes.
const MAX_RECORDED: usize = 1_000;

/// Time after which every series is registered again, so that any that were wrongly removed return.
const REGISTER_PERIOD: Duration = Duration::from_secs(10);

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

impl View {
    /// Returns whether this sensor has every series of another view, from the same meter: a counter
    /// of another meter could go back.
    fn includes(&self, other: &Self) -> bool {
        let function = |view: &Self| view.alert.map(|alert| (alert.on, alert.unit));
        self.labels == other.labels
            && self.info == other.info
            && self.meter.is_same(&other.meter)
            && self.script >= other.script
            && (other.alert.is_none() || function(self) == function(other))
    }
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
    /// Names and values of the `process_*` metrics, and when they were collected.
    process: (Vec<(&'static str, f64)>, Option<Instant>),
    clock: Arc<dyn Clock>,
    /// Wall-clock time of the boot. All times are kept as time since boot, so that those from
    /// before the clock was set are right afterwards.
    boot: SystemTime,
    started: Duration,
    sensors: Vec<Series>,
    /// Gauges of the daemon by name.
    gauges: BTreeMap<&'static str, Slot>,
    /// Counters in the order of [`RestartCause::ALL`].
    restarts: Vec<(Slot, u64)>,
    reload_successful: bool,
    reload_succeeded: Duration,
    /// Empty lists to swap for the full ones of a meter: their memory is reused.
    spare: Observations,
    /// Number of observations recorded since a tick last drained the histograms.
    recorded: usize,
    /// Whether a series was withdrawn since the last tick.
    withdrawn: bool,
    /// Time until which withdrawn series may still have to expire.
    expiring_until: Option<Instant>,
    /// Time of the last tick. This and the next two are real time since boot, since series expire
    /// in real time.
    ticked: Duration,
    /// Time of the last tick that registered every series.
    registered: Duration,
    /// Time until which every tick registers every series.
    unsure_until: Duration,
}

impl Exposition {
    /// Describes every metric; shows no sensor yet. The configuration counts as loaded now.
    pub fn new(recorder: PrometheusRecorder, clock: Arc<dyn Clock>) -> Self {
        let revision = option_env!("INA260_EXPORTER_REVISION").unwrap_or("unknown");
        let version = Label::new("version", env!("CARGO_PKG_VERSION"));
        let labels = vec![version, Label::new("revision", revision)];
        let build_info = Slot::new(Key::from_parts(BUILD_INFO, labels));
        let restarts = RestartCause::ALL.iter().map(|cause| {
            let label = Label::from_static_parts("cause", cause.name());
            (Slot::new(Key::from_parts(LISTENER_RESTARTS, vec![label])), 0)
        });
        let exposition = Self {
            handle: recorder.handle(),
            recorder,
            process: (Vec::new(), None),
            boot: boot(&*clock),
            started: clock.booted(),
            reload_succeeded: clock.booted(),
            clock,
            sensors: Vec::new(),
            gauges: BTreeMap::from([(BUILD_INFO, build_info)]),
            restarts: restarts.collect(),
            reload_successful: true,
            spare: Observations::default(),
            recorded: 0,
            withdrawn: false,
            expiring_until: None,
            ticked: SystemClock.booted(),
            registered: SystemClock.booted(),
            unsure_until: Duration::ZERO,
        };
        exposition.describe();
        exposition
    }

    fn describe(&self) {
        for metric in METRICS {
            let (name, help) = (metric.name.into(), metric.help.into());
            match metric.source.kind() {
                "counter" => self.recorder.describe_counter(name, None, help),
                "histogram" => self.recorder.describe_histogram(name, None, help),
                _ => self.recorder.describe_gauge(name, None, help),
            }
        }
        ::metrics::with_local_recorder(&self.recorder, || Collector::default().describe());
    }

    /// Continues in another recorder, in which histograms restart from 0. The caller then has to
    /// [show](Self::show) the sensors again.
    pub fn replace(&mut self, recorder: PrometheusRecorder) {
        self.handle = recorder.handle();
        self.recorder = recorder;
        self.describe();
        self.forget_handles();
    }

    /// Shows the sensors of a configuration. Histograms of other sensors stay.
    pub fn show(&mut self, views: Vec<View>) {
        self.withdrawn |= !self.sensors.is_empty();
        self.sensors = views.into_iter().map(Series::new).collect();
    }

    /// Records the outcome of a reload.
    pub fn record_reload(&mut self, successful: bool) {
        self.reload_successful = successful;
        if successful {
            self.reload_succeeded = self.clock.booted();
        }
    }

    fn count_restart(&mut self, cause: RestartCause) {
        self.restarts[cause as usize].1 += 1;
    }

    /// Sets every series, and expires those that were not set.
    pub fn tick(&mut self, now: Instant) {
        // Drains from the histograms what no scrape has drained; rendering would cost five times
        // the rest of a tick. Done before recording: afterwards, a scrape would find nothing to
        // drain, and would never release what its thread holds in metrics-util.
        if self.recorded >= MAX_RECORDED {
            self.recorded = 0;
            self.handle.run_upkeep();
        }
        self.follow_clock();
        self.check_handles();
        for sensor in &mut self.sensors {
            sensor.tick(&self.recorder, &mut self.spare, now, self.boot);
            self.recorded += self.spare.polls.len() + self.spare.powers.len();
            self.spare.clear();
            self.withdrawn |= sensor.withdrawn;
        }
        let unix = |booted| unix_seconds(self.boot + booted);
        let gauges = [
            (BUILD_INFO, 1.0),
            (RELOAD_SUCCESSFUL, f64::from(u8::from(self.reload_successful))),
            (RELOAD_TIMESTAMP, unix(self.reload_succeeded)),
            (START_TIME, unix(self.started)),
        ];
        let (process, collected) = &mut self.process;
        if collected.is_none_or(|at| now.saturating_duration_since(at) >= PROCESS_PERIOD) {
            (*process, *collected) = (process_values(), Some(now));
        }
        for (name, value) in gauges.iter().chain(&*process) {
            let slot = || Slot::new(Key::from_static_name(name));
            self.gauges.entry(name).or_insert_with(slot).set(&self.recorder, Some(*value));
        }
        self.restarts.iter_mut().for_each(|(slot, count)| slot.count(&self.recorder, *count));
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

    /// Registers every series again if some may have expired while no tick set them. The clock of
    /// metrics-exporter-prometheus may include a suspend.
    fn check_handles(&mut self) {
        let now = SystemClock.booted();
        if now.saturating_sub(self.ticked) > MAX_GAP {
            self.unsure_until = now + UNSURE_FOR;
        }
        self.ticked = now;
        if now < self.unsure_until || now.saturating_sub(self.registered) >= REGISTER_PERIOD {
            self.registered = now;
            self.forget_handles();
        }
    }

    fn forget_handles(&mut self) {
        self.sensors.iter_mut().for_each(Series::forget);
        let restarts = self.restarts.iter_mut().map(|(slot, _)| slot);
        self.gauges.values_mut().chain(restarts).for_each(Slot::forget);
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

/// Returns name and value of each metric of this process except the start time, which
/// metrics-process can only determine if all of `/proc` is visible.
fn process_values() -> Vec<(&'static str, f64)> {
    #[expect(clippy::cast_precision_loss, reason = "15 digits are enough")]
    let number = |count: Option<u64>| count.map(|count| count as f64);
    let process = collector::collect();
    let values = [
        ("process_cpu_seconds_total", process.cpu_seconds_total),
        ("process_open_fds", number(process.open_fds)),
        ("process_max_fds", number(process.max_fds)),
        ("process_virtual_memory_bytes", number(process.virtual_memory_bytes)),
        ("process_virtual_memory_max_bytes", number(process.virtual_memory_max_bytes)),
        ("process_resident_memory_bytes", number(process.resident_memory_bytes)),
        ("process_threads", number(process.threads)),
    ];
    values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
