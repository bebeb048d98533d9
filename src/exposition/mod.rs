//! Turns meters into the series that Prometheus scrapes, and serves them.
//!
//! Once a second, and when a sensor goes up or down, a tick sets every series of every sensor from
//! its meter. A gauge that ticks no longer set, because its sensor is down, expires: readings of a
//! dead sensor disappear even if nothing scrapes.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ::metrics::{Level, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusRecorder;
use strum::VariantNames;

use crate::clock::{Clock, SystemClock};
use crate::meter::{Observations, SharedMeter};

mod health;
mod listener;
mod metrics;
mod process;
mod series;
mod server;

use self::metrics::{Daemon, RestartCause, Source};
pub use self::metrics::{METRICS, Metric};
pub use listener::BindError;
use process::Process;
pub use series::recorder;
use series::{Series, Slot};
pub use server::{Prepared, Server};

/// Time after which a gauge that is not set any more expires. One tick may be missed and the next
/// be half a second late before live series disappear; readings of a sensor that is down have
/// expired by the third tick after the last one that set them.
const IDLE_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Time after which every gauge that is not set any more has expired: at the first tick after
/// [`IDLE_TIMEOUT`], or at the one after that.
const EXPIRED_AFTER: Duration = Duration::from_millis(4_500);

/// Time between two ticks after which live series may have expired.
const MAX_GAP: Duration = Duration::from_secs(2);

/// Time after a gap longer than [`MAX_GAP`] during which a scrape that began in the gap may still
/// remove live series.
const UNSURE_FOR: Duration = Duration::from_secs(5);

/// Number of observations after which a tick drains the histograms, even if no scrape has: draining
/// takes as long as the rest of a tick, and each observation occupies 8 bytes.
const MAX_RECORDED: usize = 1_000;

/// Time after which every series is registered again, so that any that were wrongly removed return.
const RENEWAL_PERIOD: Duration = Duration::from_secs(60);

/// Time between two collections of `process_*`: reading `/proc` costs more than the rest of a tick.
const PROCESS_PERIOD: Duration = Duration::from_secs(10);

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
    clock: Arc<dyn Clock>,
    sensors: Vec<Series>,
    daemon: Daemon,
    /// Each series of the daemon, with the source of its metric and the index of its label value.
    slots: Box<[(&'static Source, usize, Slot)]>,
    /// Empty lists to swap for the full ones of a meter: their memory is reused.
    spare: Observations,
    /// Number of observations recorded since a tick last drained the histograms.
    recorded: usize,
    /// Time until which withdrawn series may still have to expire. This and all below are real time
    /// since boot, since series expire in real time.
    expiring_until: Duration,
    ticked: Duration,
    /// Time of the last tick that registered every series, unless the recorder is new.
    renewed: Option<Duration>,
    /// Time of the last tick that collected metrics of this process.
    collected: Option<Duration>,
    /// Time until which every tick registers every series.
    unsure_until: Duration,
}

/// Context that a tick needs to set series.
struct Tick<'a> {
    recorder: &'a PrometheusRecorder,
    /// Whether series have to be registered again, since they may have expired.
    renew: bool,
    now: Instant,
    /// Wall-clock time of the boot.
    boot: SystemTime,
}

impl Exposition {
    /// Describes every metric; shows no sensor yet. The configuration counts as loaded now.
    pub fn new(recorder: PrometheusRecorder, clock: Arc<dyn Clock>) -> Self {
        let slots = METRICS.iter().flat_map(|metric| {
            let keys = series::daemon_keys(metric).into_iter().enumerate();
            keys.map(|(index, key)| (&metric.source, index, Slot::new(&key)))
        });
        describe(&recorder);
        Self {
            recorder,
            sensors: Vec::new(),
            daemon: Daemon {
                boot: boot(&*clock),
                started: clock.booted(),
                reload_successful: true,
                reload_succeeded: clock.booted(),
                restarts: [0; RestartCause::VARIANTS.len()],
                process: Process::default(),
            },
            slots: slots.collect(),
            clock,
            spare: Observations::default(),
            recorded: 0,
            expiring_until: Duration::ZERO,
            ticked: SystemClock.booted(),
            renewed: None,
            collected: None,
            unsure_until: Duration::ZERO,
        }
    }

    /// Continues in another recorder, in which histograms restart from 0.
    pub fn replace(&mut self, recorder: PrometheusRecorder) {
        describe(&recorder);
        self.recorder = recorder;
        self.renewed = None;
    }

    /// Shows the sensors of a configuration. Histograms of other sensors stay.
    pub fn show(&mut self, views: Vec<View>) {
        if !self.sensors.is_empty() {
            self.expiring_until = SystemClock.booted() + EXPIRED_AFTER;
        }
        self.sensors = views.into_iter().map(Series::new).collect();
    }

    /// Records the outcome of a reload.
    pub fn record_reload(&mut self, successful: bool) {
        self.daemon.reload_successful = successful;
        if successful {
            self.daemon.reload_succeeded = self.clock.booted();
        }
    }

    /// Sets every series, and expires those that were not set.
    pub fn tick(&mut self, now: Instant) {
        // Drains from the histograms what no scrape has drained; rendering would cost five times
        // the rest of a tick. Done before recording: afterwards, a scrape would find nothing to
        // drain, and would never release what its thread holds in metrics-util.
        if self.recorded >= MAX_RECORDED {
            self.recorded = 0;
            self.recorder.handle().run_upkeep();
        }
        self.follow_clock();
        let real = SystemClock.booted();
        let renew = self.must_renew(real);
        let tick = Tick { recorder: &self.recorder, renew, now, boot: self.daemon.boot };
        for sensor in &mut self.sensors {
            if sensor.set(&tick, &mut self.spare) {
                self.expiring_until = real + EXPIRED_AFTER;
            }
            self.recorded += self.spare.polls.len() + self.spare.powers.len();
            self.spare.clear();
        }
        if is_older(self.collected, PROCESS_PERIOD, real) {
            self.collected = Some(real);
            self.daemon.process = Process::read();
        }
        for (source, index, slot) in &mut self.slots {
            match source {
                Source::Daemon(value) => _ = slot.set(&tick, value(&self.daemon)),
                Source::Restarts => slot.count(&tick, Some(self.daemon.restarts[*index])),
                Source::BuildInfo => _ = slot.set(&tick, Some(1.0)),
                // These have no series of the daemon.
                Source::Gauge(_)
                | Source::AlertLimit(_)
                | Source::Counter(_)
                | Source::Histogram(..)
                | Source::Info => {}
            }
        }
        if real <= self.expiring_until {
            // Series expire while they are rendered, which must not depend on scrapes.
            let rendered = self.recorder.handle().render_to_write(&mut io::sink());
            debug_assert!(rendered.is_ok(), "writing to a sink does not fail");
        }
    }

    /// Adopts a step of the wall clock. Smaller differences are the time between reading the two
    /// clocks and are ignored, so that timestamps stay constant.
    fn follow_clock(&mut self) {
        const STEP: Duration = Duration::from_secs(1);
        let boot = boot(&*self.clock);
        let step = boot.duration_since(self.daemon.boot).unwrap_or_else(|error| error.duration());
        if step > STEP {
            self.daemon.boot = boot;
        }
    }

    /// Returns whether to register every series again, since some may have expired while no tick
    /// set them. The clock of metrics-exporter-prometheus may include a suspend.
    fn must_renew(&mut self, now: Duration) -> bool {
        if now.saturating_sub(self.ticked) > MAX_GAP {
            self.unsure_until = now + UNSURE_FOR;
        }
        self.ticked = now;
        let must_renew = now < self.unsure_until || is_older(self.renewed, RENEWAL_PERIOD, now);
        if must_renew {
            self.renewed = Some(now);
        }
        must_renew
    }

    /// Returns what a scrape returns.
    pub fn render(&self) -> String {
        self.recorder.handle().render()
    }
}

fn describe(recorder: &PrometheusRecorder) {
    for metric in METRICS {
        let (name, help) = (metric.name.into(), metric.help.into());
        match metric.kind() {
            "counter" => recorder.describe_counter(name, None, help),
            "histogram" => recorder.describe_histogram(name, None, help),
            _ => recorder.describe_gauge(name, None, help),
        }
    }
}

/// Returns whether the last time is this long ago, or there was none.
fn is_older(last: Option<Duration>, period: Duration, now: Duration) -> bool {
    last.is_none_or(|last| now.saturating_sub(last) >= period)
}

fn boot(clock: &dyn Clock) -> SystemTime {
    clock.wall() - clock.booted()
}
