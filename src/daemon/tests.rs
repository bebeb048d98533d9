use std::cell::Cell;
use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;
use crate::cli::CommandLine;
use crate::config::Listen;
use crate::logging::tests::CapturedLog;
use clap::Parser;

/// Returns a simulated sensor, and a listener in this directory.
fn simulated(directory: &Path) -> (Supervisor, Server) {
    let line = CommandLine::try_parse_from(["", "--simulate"]).unwrap();
    let plan = config::load_alone(&line.daemon.overrides()).unwrap().plan;
    let supervisor = open_buses(plan).unwrap();
    let mut settings = supervisor.plan().server.clone();
    settings.listen = Listen::Unix(directory.join("metrics.sock"));
    let server = Server::start(Server::bind(settings).unwrap(), supervisor.views()).unwrap();
    (supervisor, server)
}

/// A reload per signal would keep the watchdog and a stop waiting.
#[test]
fn queued_signals_cause_one_reload_and_none_at_a_stop() {
    let directory = tempfile::tempdir().unwrap();
    let (mut supervisor, mut server) = simulated(directory.path());
    for (last, expected) in [(Event::SensorChanged, 1), (Event::Stop, 0)] {
        let reloads = Cell::new(0);
        let (sender, events) = mpsc::channel();
        [Event::Reload; 1_000].into_iter().chain([last]).for_each(|it| sender.send(it).unwrap());
        drop(sender);
        MainLoop {
            supervisor: &mut supervisor,
            server: &mut server,
            notifier: &mut Notifier::from_environment().unwrap(),
            stale: None,
            reload: &|_, _| reloads.set(reloads.get() + 1),
        }
        .run(&events);
        assert_eq!(reloads.get(), expected, "{last:?}");
    }
}

/// Only one of two overlapping addresses can be bound at a time.
#[test]
fn listener_moves_to_an_overlapping_address_without_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let (mut supervisor, mut server) = simulated(directory.path());
    let config = directory.path().join("config.toml");
    fs::write(&config, "").unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let log = CapturedLog::start();
    for ip in ["127.0.0.1", "0.0.0.0", "127.0.0.1"] {
        let overrides = Overrides { config: Some(config.clone()), ..Overrides::default() }
            .with("listen", Some(&format!("{ip}:{port}")));
        let overrides = Overrides { simulate: supervisor.plan().simulate.clone(), ..overrides };
        change(&mut supervisor, &mut server, &overrides).unwrap();
        assert!(server.is_serving());
    }
    assert_eq!(log.text(), "");
}

#[test]
fn main_loop_removes_stale_counters() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("totals");
    let store = Store::new(directory.path(), "0123456789abcdef");
    store.save(Vec::new()).unwrap();
    let saved = fs::read(&file).unwrap();
    // A directory in its place is set aside, unless its new path is a directory with content.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    fs::create_dir_all(directory.path().join("totals.refused/x")).unwrap();

    let (mut supervisor, mut server) = simulated(directory.path());
    assert_eq!(restore_counters(&supervisor, Some(&store)), Ok(true), "it is stale");
    let mut main_loop = MainLoop {
        supervisor: &mut supervisor,
        server: &mut server,
        notifier: &mut Notifier::from_environment().unwrap(),
        stale: Some(&store),
        reload: &|_, _| panic!("no signal was sent"),
    };
    // Without a sender, each run is one pass.
    let (_, events) = mpsc::channel();
    main_loop.run(&events);
    assert!(main_loop.stale.is_some(), "it is retried later");

    fs::remove_dir(&file).unwrap();
    fs::write(&file, saved).unwrap();
    main_loop.run(&events);
    assert!(main_loop.stale.is_none() && !file.exists());
}

#[test]
fn summaries_are_a_period_apart() {
    let start = Instant::now();
    let mut last = start;
    // Each pass is late by a different time.
    for (second, millis) in (1..).zip([3, 1, 2, 0, 4, 1]) {
        let now = start + second * PERIOD + Duration::from_millis(millis);
        last = summary_end(last, Some(PERIOD), now).unwrap();
    }
    assert_eq!(summary_end(last, Some(PERIOD), last + PERIOD / 2), None);
    assert_eq!(summary_end(last, None, last + 10 * PERIOD), None);
    assert_eq!(summary_end(last, Some(PERIOD), last + 10 * PERIOD), Some(last + 10 * PERIOD));
}

#[test]
fn status_of_many_sensors_fits_into_a_notification() {
    let sensors = |count: usize| vec!["a: 12.000 V, 1.500 A, 18.000 W".to_owned(); count];
    assert_eq!(join(&[]), "");
    assert_eq!(join(&sensors(1)), "a: 12.000 V, 1.500 A, 18.000 W");
    // Each takes 32 bytes with its separator, and 125 of them 4,000 bytes.
    assert_eq!(join(&sensors(125)).len(), 3_998);
    let line = join(&sensors(256));
    assert!(line.ends_with(" W; a: 12.000 V, 1.500 A, 18.000 W; and 131 more"), "{line}");
    assert_eq!(line.matches('a').count(), 125 + 1);
    assert_eq!(join(&["x".repeat(5_000), "b".to_owned()]), "and 2 more");
}

/// Runs in a process of its own, for which it lowers the limit of descriptors.
#[test]
fn lack_of_descriptors_leaves_saved_counters() {
    const NAME: &str = "lack_of_descriptors_leaves_saved_counters";
    if env::var_os(NAME).is_none() {
        let name = format!("daemon::tests::{NAME}");
        let mut command = Command::new(env::current_exe().unwrap());
        let ended = command.args(["--exact", &name]).env(NAME, "alone").output().unwrap();
        let report = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && report.contains("1 passed"), "{ended:?}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("totals");
    let store = Store::new(directory.path(), "0123456789abcdef");
    store.save(Vec::new()).unwrap();
    let saved = fs::read(&file).unwrap();
    let (supervisor, _server) = simulated(directory.path());
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..limit }).unwrap();
    let restored = restore_counters(&supervisor, Some(&store));
    setrlimit(Resource::Nofile, limit).unwrap();
    assert_eq!(restored, Err(Failure::Other));
    assert_eq!(fs::read(&file).unwrap(), saved);
}

#[test]
fn reload_needs_the_file_read_at_the_start() {
    let mut plan = config::load_alone(&Overrides::default()).unwrap().plan;
    let config = |overrides: &Overrides, plan: &Plan| with_file(overrides, plan).config;
    assert_eq!(config(&Overrides::default(), &plan), None);
    plan.has_file = true;
    assert_eq!(config(&Overrides::default(), &plan), Some(config::DEFAULT_FILE.into()));
    let named = Overrides { config: Some("/a.toml".into()), ..Overrides::default() };
    assert_eq!(config(&named, &plan), named.config);
}
