//! Complete scrapes on the simulated clock: golden files in `tests/exposition/`.
//!
//! `UPDATE_GOLDEN=1 cargo test --test exposition` rewrites them; review them before a commit.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs};

use ina260_exporter::clock::{Clock, SimulatedClock, SystemClock};
use ina260_exporter::config::{Listen, ServerSettings};
use ina260_exporter::exposition::{self, AlertView, Exposition, METRICS, Server, View};
use ina260_exporter::i2c::Address;
use ina260_exporter::i2c::mux::Channel;
use ina260_exporter::ina260::Ina260;
use ina260_exporter::ina260::alert::{Alert, Function, Polarity};
use ina260_exporter::ina260::calibration::Calibration;
use ina260_exporter::ina260::settings::{PartialSettings, Settings};
use ina260_exporter::meter::SharedMeter;
use ina260_exporter::sampler::{Sampler, Setup};
use ina260_exporter::scrape::{Error, Url};
use ina260_exporter::simulated::{Board, Chip, Fault, Load, ScheduledFault};
use support::{free_port, until};

mod support;

const INTERVAL: Duration = Duration::from_secs(1);
const FIRST: Address = Address(0x40);
const SECOND: Address = Address(0x41);
const BUCKETS: [f64; 4] = [0.1, 1.0, 10.0, 100.0];

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn free_address() -> Listen {
    Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], free_port())))
}

/// Two sensors, `orin` and `nvme`, with everything between their chips and the scrape.
struct Scene {
    clock: Arc<SimulatedClock>,
    board: Arc<Board>,
    sampler: Sampler,
    meters: [SharedMeter; 2],
    exposition: Exposition,
}

fn setup(address: Address, meter: &SharedMeter) -> Setup {
    let settings = Settings::for_interval(INTERVAL, PartialSettings::default()).unwrap();
    Setup {
        name: format!("sensor {address}"),
        channel: None,
        chip: Ina260 { address, settings, alert: None, configure: true, power_guard: true },
        calibration: Calibration::default(),
        always_power: true,
        meter: meter.clone(),
    }
}

fn view(device: &str, address: Address, meter: &SharedMeter) -> View {
    let own = |pairs: &[(&str, &str)]| {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    };
    View {
        labels: own(&[("hostname", "pi4"), ("device", device), ("rail", "12V")]),
        info: own(&[("bus", "1"), ("address", &address.to_string())]),
        script: device != "nvme",
        alert: None,
        meter: meter.clone(),
    }
}

impl Scene {
    fn new() -> Self {
        let clock = Arc::new(SimulatedClock::default());
        let board = Board::new(clock.clone(), 400_000);
        // Chips without noise and offsets: the golden files compare digits.
        board.plug(None, FIRST, Chip::exact(Load::steady(12.0, 1.5)));
        board.plug(None, SECOND, Chip::exact(Load::steady(3.3, -0.25)));
        let meters = [SharedMeter::default(), SharedMeter::default()];
        let setups = vec![setup(FIRST, &meters[0]), setup(SECOND, &meters[1])];
        let bus = Box::new(board.clone());
        let sampler = Sampler::new("bus 1".to_owned(), bus, setups, clock.clone(), Arc::new(|| {}));
        let recorder = exposition::recorder(&BUCKETS);
        let mut exposition = Exposition::new(recorder, clock.clone());
        let views = vec![view("orin", FIRST, &meters[0]), view("nvme", SECOND, &meters[1])];
        exposition.show(views);
        Self { clock, board, sampler, meters, exposition }
    }

    /// Returns a scene with one sensor, `gpu`, downstream of a mux and with an alert. The current
    /// is above the limit for 100 ms of every 10 s; the mean of a result never is.
    fn with_an_alert() -> Self {
        let mut scene = Self::new();
        let channel = Channel { multiplexer: Address(0x70), channel: 3 };
        let load = Load {
            current: Box::new(|seconds| {
                let is_peak = (5.2..5.3).contains(&(seconds % 10.0));
                if is_peak { 5.0 } else { 1.5 }
            }),
            ..Load::steady(12.0, 0.0)
        };
        scene.board.unplug(SECOND);
        scene.board.plug(Some(channel), SECOND, Chip::exact(load));
        let function = Function::OverCurrent;
        let plain = Calibration::default();
        let alert = Alert::new(function, 3.5, Polarity::ActiveLow, &plain).unwrap();
        let meter = &scene.meters[1];
        let mut setup = setup(SECOND, meter);
        setup.channel = Some(channel);
        setup.chip.alert = Some(alert);
        let mut view = view("gpu", SECOND, meter);
        view.info.push(("mux".to_owned(), channel.to_string()));
        view.alert =
            Some(AlertView { on: function.name(), unit: function.unit(), limit: alert.limit });
        scene.sampler.replace(vec![setup]);
        scene.exposition.show(vec![view]);
        scene
    }

    /// Runs the sampler for a time, as its thread would.
    fn run(&mut self, time: Duration) {
        let end = self.clock.now() + time;
        loop {
            let due = self.sampler.poll_due();
            self.clock.advance_to(due.min(end));
            if due >= end {
                return;
            }
        }
    }

    fn results(&self, sensor: usize) -> u64 {
        let meter = self.meters[sensor].lock();
        meter.accumulator.totals(self.clock.now()).results
    }

    fn scrape(&mut self) -> String {
        self.exposition.tick(self.clock.now());
        sorted(&self.exposition.render())
    }

    /// Ticks in real time until all withdrawn series have expired, which may take several ticks.
    fn scrape_without(&mut self, series: &[&str]) -> String {
        let mut without = 0;
        until("series that expire", || {
            let scrape = self.scrape();
            let gone = !series.iter().any(|series| scrape.contains(series));
            without = if gone { without + 1 } else { 0 };
            (without > 5).then_some(scrape)
        })
    }
}

/// Returns the metric families of a scrape, each with its series in order.
fn families(scrape: &str) -> BTreeMap<String, Vec<String>> {
    let mut families: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in scrape.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            comment.split(' ').nth(1).unwrap().clone_into(&mut current);
        }
        let lines = families.entry(current.clone()).or_default();
        lines.push(line.to_owned());
    }
    for lines in families.values_mut() {
        // Comments come first, and the buckets of a histogram stay in order.
        lines.sort_by_key(|line| {
            (!line.starts_with('#'), line.split(",le=").next().unwrap().to_owned())
        });
    }
    families
}

/// Returns a scrape in a reproducible order, without the metrics of the process.
fn sorted(scrape: &str) -> String {
    let mut families = families(scrape);
    families.retain(|name, _| !name.starts_with("process_"));
    let lines = families.into_values().flatten().map(|line| {
        if line.starts_with("ina260_exporter_build_info{") {
            "ina260_exporter_build_info{version=\"VERSION\",revision=\"REVISION\"} 1".to_owned()
        } else {
            line
        }
    });
    lines.map(|line| line + "\n").collect()
}

/// Compares a scrape with a golden file.
fn assert_golden(name: &str, seen: &str) {
    let path = Path::new("tests/exposition").join(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, seen).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (wanted, found) = (lines(&expected), lines(seen));
    let missing: Vec<_> = wanted.difference(&found).collect();
    let added: Vec<_> = found.difference(&wanted).collect();
    assert!(expected == seen, "{name}: missing {missing:#?}, added {added:#?}");
}

#[test]
fn healthy_sensors_are_served() {
    let mut scene = Scene::new();
    scene.run(seconds(60));
    assert_golden("healthy.prom", &scene.scrape());
}

#[test]
fn alert_downstream_of_a_mux_is_served() {
    let mut scene = Scene::with_an_alert();
    scene.run(seconds(56));
    assert_golden("alert-and-multiplexer.prom", &scene.scrape());

    scene.run(seconds(2));
    let series = |name: &str, value: &str| {
        format!("\nina260_{name}{{hostname=\"pi4\",device=\"gpu\",rail=\"12V\"}} {value}\n")
    };
    let scrape = scene.scrape();
    assert!(scrape.contains(&series("alert_active", "0")), "{scrape}");
    assert!(scrape.contains(&series("alerts_total", "6")), "{scrape}");
}

#[test]
fn no_readings_are_served_before_the_first_result() {
    let mut scene = Scene::new();
    scene.run(Duration::from_millis(500));
    assert_golden("before-the-first-result.prom", &scene.scrape());
}

#[test]
fn dead_sensor_loses_its_readings_only() {
    let mut scene = Scene::new();
    scene.run(seconds(30));
    scene.scrape();
    scene.board.schedule(ScheduledFault {
        fault: Fault::NoAnswer,
        address: Some(SECOND),
        from: scene.clock.elapsed(),
        until: None,
    });
    scene.run(seconds(30));
    let scrape = scene.scrape_without(&["ina260_power_watts{hostname=\"pi4\",device=\"nvme\""]);
    assert_golden("one-dead-sensor.prom", &scrape);

    // Everything returns when the sensor responds again.
    scene.board.clear_faults();
    scene.run(seconds(35));
    let scrape = scene.scrape();
    for reading in ["bus_voltage_volts", "current_amperes", "power_watts", "cycle_seconds"] {
        let series = format!("ina260_{reading}{{hostname=\"pi4\",device=\"nvme\",rail=\"12V\"}} ");
        assert!(scrape.contains(&series), "{series} is missing in\n{scrape}");
    }
}

#[test]
fn readings_disappear_after_a_stall() {
    let mut scene = Scene::new();
    scene.run(seconds(30));
    scene.scrape();
    // No poll for longer than three cycles plus a second: only the readings disappear.
    scene.clock.advance_to(scene.clock.now() + seconds(4));
    let scrape = scene.scrape_without(&["ina260_power_watts{"]);
    assert_golden("after-a-stall.prom", &scrape);
}

#[test]
fn reload_removes_and_renames_series() {
    let mut scene = Scene::new();
    scene.run(seconds(30));
    scene.scrape();
    let [kept, _] = &scene.meters;
    scene.sampler.replace(vec![setup(FIRST, kept)]);
    let views = vec![view("xavier", FIRST, kept)];
    scene.exposition.replace(exposition::recorder(&BUCKETS));
    scene.exposition.show(views);
    scene.exposition.record_reload(true);
    scene.run(seconds(10));
    let scrape = scene.scrape();
    assert!(!scrape.contains("nvme") && !scrape.contains("orin"), "{scrape}");
    assert_golden("after-a-reload.prom", &scrape);
}

#[test]
fn reused_name_shows_counters_of_new_sensor() {
    let mut scene = Scene::new();
    scene.run(seconds(5));
    let read = scene.results(0);
    let earlier = BTreeMap::from([("results".to_owned(), 1_000_000)]);
    scene.meters[0].lock().restore_counters(&earlier);
    let results = "ina260_results_total{hostname=\"pi4\",device=\"orin\",rail=\"12V\"} ";
    let sum = format!("{results}{}\n", read + 1_000_000);
    assert!(scene.scrape().contains(&sum));

    let successor = view("orin", SECOND, &scene.meters[1]);
    let counted = scene.results(1);
    scene.exposition.replace(exposition::recorder(&BUCKETS));
    scene.exposition.show(vec![successor]);
    assert!(scene.scrape().contains(&format!("{results}{counted}\n")));
}

#[test]
fn scrape_has_exactly_the_metrics_of_the_table() {
    let mut scene = Scene::with_an_alert();
    scene.run(seconds(5));
    let meter = &scene.meters[1];
    let alerts = [Function::OverCurrent, Function::OverVoltage, Function::OverPower];
    let views = alerts.map(|function| View {
        alert: Some(AlertView { on: function.name(), unit: function.unit(), limit: 5.0 }),
        ..view(function.name(), SECOND, meter)
    });
    scene.exposition.show(views.into());
    scene.exposition.tick(scene.clock.now());
    let families = families(&scene.exposition.render());
    let seen: BTreeSet<(&str, &str, &str)> = families
        .iter()
        .map(|(name, lines)| {
            let comment = |kind: &str| {
                let prefix = format!("# {kind} {name} ");
                lines.iter().find_map(|line| line.strip_prefix(&prefix)).unwrap()
            };
            (name.as_str(), comment("TYPE"), comment("HELP"))
        })
        .collect();
    let table = METRICS.iter().map(|metric| (metric.name, metric.kind(), metric.help)).collect();
    assert_eq!(seen, table);
}

/// Returns the value of the series that begins with `name`.
fn value(scrape: &str, name: &str) -> f64 {
    let line = scrape.lines().find(|line| line.starts_with(name)).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn clock_set_after_boot_corrects_every_time() {
    const TIMES: [&str; 3] = [
        "ina260_exporter_config_last_reload_success_timestamp_seconds",
        "ina260_last_result_timestamp_seconds{hostname=\"pi4\",device=\"orin\"",
        "process_start_time_seconds",
    ];
    const AHEAD: u16 = 50_000;
    let mut scene = Scene::new();
    scene.run(seconds(5));
    scene.exposition.record_reload(true);
    scene.clock.suspend(seconds(3_600));
    scene.run(seconds(5));
    let times = |scene: &mut Scene| {
        scene.exposition.tick(scene.clock.now());
        let scrape = scene.exposition.render();
        TIMES.map(|name| value(&scrape, name))
    };
    let before = times(&mut scene);
    // The simulated clock starts at this time.
    assert!((before[2] - 1_767_225_600.0).abs() < 1.0, "{before:?}");
    assert!((before[0] - before[2] - 5.0).abs() < 1.0, "{before:?}");
    assert!((before[1] - before[2] - 3_610.0).abs() < 1.5, "{before:?}");

    scene.clock.set_wall_ahead(AHEAD.into());
    let differs_by = |after: [f64; 3], seconds: f64| {
        after.iter().zip(before).all(|(after, before)| (after - before - seconds).abs() < 0.001)
    };
    let after = times(&mut scene);
    assert!(differs_by(after, AHEAD.into()), "{before:?}, {after:?}");
    // And back.
    scene.clock.set_wall_ahead(0);
    let after = times(&mut scene);
    assert!(differs_by(after, 0.0), "{before:?}, {after:?}");
}

#[test]
fn start_time_is_constant() {
    let recorder = exposition::recorder(&BUCKETS);
    let mut exposition = Exposition::new(recorder, Arc::new(SystemClock));
    let mut start = || {
        exposition.tick(SystemClock.now());
        value(&exposition.render(), "process_start_time_seconds").to_bits()
    };
    let first = start();
    assert!((0..100).all(|_| start() == first));
}

#[test]
fn process_metrics_stay_between_collections() {
    let mut scene = Scene::new();
    // Series expire in real time, and values are collected every 10 s of the simulated one.
    let begun = Instant::now();
    while begun.elapsed() < seconds(6) {
        std::thread::sleep(Duration::from_millis(200));
        scene.exposition.tick(scene.clock.now());
        let scrape = scene.exposition.render();
        for name in ["cpu_seconds_total", "open_fds", "resident_memory_bytes", "threads"] {
            assert!(scrape.contains(&format!("\nprocess_{name} ")), "{name} in {scrape}");
        }
    }
}

#[test]
fn refused_peer_gets_403_while_the_listener_runs() {
    let listen = free_address();
    let url = Url::from(&listen);
    let settings = ServerSettings {
        listen,
        socket_mode: 0,
        allow: vec!["192.0.2.0/24".parse().unwrap()],
        buckets: BUCKETS.into(),
    };
    let bound = Server::bind(settings).unwrap();
    let is_refused = |timeout| matches!(url.get(timeout), Err(Error::Status { code: 403, .. }));
    assert!(!is_refused(Duration::from_millis(200)), "responds before it serves");
    let server = Server::start(bound, Vec::new()).unwrap();
    until("a response", || is_refused(support::TIMEOUT).then_some(()));
    drop(server);
    assert!(!is_refused(Duration::from_millis(200)), "responds after it was stopped");
}

#[test]
fn request_to_a_silent_listener_times_out() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::from(&Listen::Tcp(silent.local_addr().unwrap()));
    let asked = Instant::now();
    assert!(url.get(Duration::from_millis(300)).is_err());
    assert!(asked.elapsed() < seconds(10), "{:?}", asked.elapsed());
}
