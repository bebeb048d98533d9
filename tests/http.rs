//! The built binary over HTTP: listening, the allow list, and what a scrape shows.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::thread;
use std::time::Duration;

use support::{
    Directory, Launch, NotifySocket, Scrape, all_at_once, free_port, get, has_ipv6, text,
};

mod support;

fn has_readings(scrape: &Scrape) -> bool {
    scrape.value("ina260_bus_voltage_volts", &[]).is_some()
}

#[test]
fn serves_on_ipv4() {
    let daemon = Launch::simulated("").start();
    daemon.scrape_until("a result", has_readings);
    let health = get(daemon.listen(), "/health");
    assert_eq!((health.status, health.body.as_str()), (200, "OK"));
}

#[test]
fn serves_on_ipv6() {
    if has_ipv6() {
        let listen = format!("[::1]:{}", free_port());
        let daemon = Launch::simulated("").listen(&listen).start();
        daemon.scrape_until("a result", has_readings);
    }
}

#[test]
fn dual_stack_listener_applies_allow_list() {
    if !has_ipv6() {
        return;
    }
    let status = |allow: &str| {
        let port = free_port();
        let _daemon = Launch::simulated("")
            .listen(&format!("[::]:{port}"))
            .config(&format!("allow = [{allow}]"))
            .start();
        ["127.0.0.1", "[::1]"].map(|ip| get(&format!("{ip}:{port}"), "/metrics").status)
    };
    assert_eq!(status(""), [200, 200]);
    assert_eq!(status("\"127.0.0.0/8\""), [200, 403]);
    assert_eq!(status("\"::1\""), [403, 200]);
    assert_eq!(status("\"192.168.0.0/16\", \"fd00::/8\""), [403, 403]);
}

#[test]
fn peer_outside_allow_list_gets_403() {
    let daemon = Launch::simulated("").config("allow = [\"192.168.0.0/16\"]").start();
    assert_eq!(get(daemon.listen(), "/metrics").status, 403);
}

#[test]
fn unix_socket_has_its_mode_and_is_removed() {
    for (config, mode) in [("", 0o666), ("socket_mode = \"0600\"", 0o600)] {
        let directory = Directory::new();
        let socket = directory.path("metrics.sock");
        let mut daemon =
            Launch::simulated("").listen(&format!("unix:{}", text(&socket))).config(config).start();
        let seen = fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(seen & 0o777, mode, "{seen:o}");
        daemon.scrape_until("a result", has_readings);
        assert_eq!(daemon.stop("TERM").0, Some(0));
        assert!(!socket.exists());
    }
}

#[test]
fn stale_socket_is_replaced() {
    let directory = Directory::new();
    let socket = directory.path("metrics.sock");
    drop(UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    let daemon = Launch::simulated("").listen(&format!("unix:{}", text(&socket))).start();
    assert_eq!(get(daemon.listen(), "/metrics").status, 200);
}

/// Starts a daemon that cannot listen, and returns its last log line.
fn refused(listen: &str) -> String {
    let notify_socket = NotifySocket::new();
    let mut daemon = Launch::simulated("").listen(listen).notify(&notify_socket, None).spawn();
    assert_eq!(daemon.wait(), Some(1));
    assert!(notify_socket.received().is_empty(), "{:?}", notify_socket.received());
    daemon.log().pop().unwrap()
}

#[test]
fn socket_of_running_instance_is_kept() {
    let directory = Directory::new();
    let listen = format!("unix:{}", text(&directory.path("metrics.sock")));
    let first = Launch::simulated("").listen(&listen).start();
    let message = refused(&listen);
    let expected =
        format!("cannot listen on {listen}: another process is listening on this socket");
    assert!(message.contains(&expected), "{message}");
    assert_eq!(get(first.listen(), "/metrics").status, 200);
}

/// It is unknown whether a process uses it.
#[test]
fn socket_that_refuses_connections_is_kept() {
    let directory = Directory::new();
    let path = directory.path("metrics.sock");
    let _socket = UnixDatagram::bind(&path).unwrap();
    let message = refused(&format!("unix:{}", text(&path)));
    let expected = "metrics.sock: the socket at this path may be in use (Protocol wrong type";
    assert!(message.contains(expected), "{message}");
    assert!(path.exists());
}

#[test]
fn file_at_socket_path_is_kept() {
    let directory = Directory::new();
    let file = directory.write("metrics.sock", "content of the file");
    let listen = format!("unix:{}", text(&file));
    let message = refused(&listen);
    let expected = format!("cannot listen on {listen}: the file at this path is not a socket");
    assert!(message.contains(&expected), "{message}");
    assert_eq!(fs::read_to_string(file).unwrap(), "content of the file");
}

#[test]
fn port_in_use_is_reported_before_ready() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let message = refused(&listen);
    let expected = format!("cannot listen on {listen}: ");
    assert!(message.contains(&expected), "{message}");
}

#[test]
fn script_flags_give_script_metrics() {
    let daemon = Launch::simulated("")
        .arguments(&["--hostname", "pi4", "--device", "orin"])
        .port(free_port())
        .start();
    let labels = [("hostname", "pi4"), ("device", "orin")];
    let script = ["ina260_voltage", "ina260_current", "ina260_power"];
    let base = ["ina260_bus_voltage_volts", "ina260_current_amperes", "ina260_power_watts"];
    // A scrape between two of a tick's gauges shows values of two results; the next one does not.
    daemon.scrape_until("the same result in two sets of units", |scrape| {
        if !has_readings(scrape) {
            return false;
        }
        let [volts, milliamperes, milliwatts] = script.map(|name| {
            let all = scrape.all(name, &[]);
            assert_eq!(all.len(), 1);
            assert_eq!(all[0].labels.len(), 2, "{all:?}");
            scrape.value(name, &labels).unwrap()
        });
        let [v, a, w] = base.map(|name| scrape.value(name, &labels).unwrap());
        (volts - v).abs() < 1e-9
            && (milliamperes / 1e3 - a).abs() < 1e-9
            && (milliwatts / 1e3 - w).abs() <= 0.01
    });
}

#[test]
fn script_metrics_can_be_disabled() {
    let daemon = Launch::simulated("").config("script_metrics = false").start();
    let scrape = daemon.scrape_until("a result", has_readings);
    for name in ["ina260_voltage", "ina260_current", "ina260_power"] {
        assert_eq!(scrape.all(name, &[]).len(), 0);
    }
}

#[test]
fn scrape_shows_load_and_faults() {
    all_at_once(&[
        values_follow_the_load,
        faults_are_counted_by_kind,
        dead_sensor_disappears_and_recovers,
        dead_sensor_disappears_without_scrapes,
    ]);
}

fn values_follow_the_load() {
    let daemon = Launch::simulated("").arguments(&["--interval", "100ms"]).start();
    let mut seen = [false, false];
    daemon.scrape_until("an idle and a busy load", |scrape| {
        let (Some(volts), Some(amperes)) = (
            scrape.value("ina260_bus_voltage_volts", &[]),
            scrape.value("ina260_current_amperes", &[]),
        ) else {
            return false;
        };
        // 0.6 A with a swing of 0.1 A, and 1.2 A more under load.
        assert!((0.49..=1.91).contains(&amperes), "{amperes} A");
        // A scrape may mix two results, which matters only while the load changes.
        let sags = (volts - (5.1 - 0.05 * amperes)).abs() < 0.005;
        seen[0] |= sags && amperes < 0.75;
        seen[1] |= sags && amperes > 1.6;
        seen == [true, true]
    });
    let wiring = [("bus", "simulated"), ("address", "0x40")];
    let scrape = daemon
        .scrape_until("the wiring", |scrape| scrape.all("ina260_sensor_info", &wiring).len() == 1);
    assert!(scrape.value("ina260_sensor_info", &[("die", "0x2270")]) == Some(1.0));
}

#[test]
fn sensors_of_all_buses_are_served() {
    let sensor = |(device, bus, address)| {
        format!("[[sensor]]\ndevice = \"{device}\"\nbus = {bus}\naddress = {address}\n")
    };
    let locations = [("a", 1, 0x40), ("b", 1, 0x4F), ("c", 3, 0x40)];
    let sensors: String = locations.into_iter().map(sensor).collect();
    let daemon = Launch::simulated("").config(&format!("interval = \"100ms\"\n{sensors}")).start();
    daemon.scrape_until("a result of each", |scrape| {
        locations.iter().all(|(device, ..)| {
            scrape.value("ina260_current_amperes", &[("device", device)]) > Some(0.0)
        })
    });
}

fn faults_are_counted_by_kind() {
    // Each fault lasts long enough to be seen on a busy machine; a sensor is identified when it is
    // retried.
    let faults = "overflow@0,brown-out@1,foreign-write@2,arbitration-lost@4+1,\
                  wrong-identity@4+5,timeout@13+2";
    let daemon = Launch::simulated(faults).arguments(&["--interval", "100ms"]).start();
    let counts = [
        ("ina260_overflows_total", ("quantity", "power")),
        ("ina260_resets_total", ("cause", "brown-out")),
        ("ina260_resets_total", ("cause", "foreign")),
        ("ina260_read_errors_total", ("kind", "settings")),
        ("ina260_read_errors_total", ("kind", "arbitration")),
        ("ina260_read_errors_total", ("kind", "identity")),
        ("ina260_read_errors_total", ("kind", "timeout")),
    ];
    let scrape = daemon.scrape_until("every kind", |scrape| {
        counts.iter().all(|(name, label)| scrape.value(name, &[*label]) > Some(0.0))
    });
    for (name, label) in &counts[1..3] {
        assert_eq!(scrape.value(name, &[*label]), Some(1.0), "{name} {label:?}");
    }
}

const READINGS: [&str; 8] = [
    "ina260_voltage",
    "ina260_current",
    "ina260_power",
    "ina260_bus_voltage_volts",
    "ina260_current_amperes",
    "ina260_power_watts",
    "ina260_last_result_timestamp_seconds",
    "ina260_cycle_seconds",
];

fn shows_any_reading(scrape: &Scrape) -> bool {
    READINGS.iter().any(|name| !scrape.all(name, &[]).is_empty())
}

fn shows_every_reading(scrape: &Scrape) -> bool {
    READINGS.iter().all(|name| !scrape.all(name, &[]).is_empty())
}

/// Delay that a busy machine may add.
const SLACK: Duration = Duration::from_secs(3);

fn dead_sensor_disappears_and_recovers() {
    // Retried 1, 3 and 7 s after the outage began, and so soon after the fault ends.
    let daemon = Launch::simulated("no-answer@2s+6.5s").arguments(&["--interval", "100ms"]).start();
    let mut last = daemon.scrape_until("every reading", shows_every_reading);
    let mut watch = |scrape: &Scrape| {
        assert_eq!(scrape.fallen(&last), [""; 0]);
        last = scrape.clone();
    };

    daemon.wait_for_line("no acknowledge");
    let promised = Duration::from_millis(1_500) + SLACK;
    daemon.scrape_within(promised, "a sensor that is down", |scrape| {
        watch(scrape);
        scrape.is("ina260_up", 0.0)
    });
    let promised = Duration::from_secs(5) + SLACK;
    let dead = daemon.scrape_within(promised, "a scrape without readings", |scrape| {
        watch(scrape);
        assert!(scrape.is("ina260_up", 0.0));
        !shows_any_reading(scrape)
    });
    assert!(dead.value("ina260_read_errors_total", &[("kind", "nack")]) >= Some(2.0));
    assert_eq!(dead.all("ina260_sensor_info", &[]).len(), 1);

    daemon.wait_for_line("responding again");
    let promised = Duration::from_secs(2) + SLACK;
    let back = daemon.scrape_within(promised, "every reading again", |scrape| {
        watch(scrape);
        scrape.is("ina260_up", 1.0) && shows_every_reading(scrape)
    });
    assert!(back.the("ina260_results_total") > dead.the("ina260_results_total"));
    let lines = daemon.log_lines("sensor deepx");
    assert_eq!(lines.len(), 3, "found, down, up again: {lines:#?}");
    // The fault may begin between the flags and the result.
    assert!(lines[1].contains(" WARN ") && lines[1].contains("cannot read register "));
    assert!(lines[2].contains(" INFO ") && lines[2].contains("after 3 failed attempts"));
}

fn dead_sensor_disappears_without_scrapes() {
    let daemon = Launch::simulated("no-answer@1.5s").arguments(&["--interval", "100ms"]).start();
    daemon.scrape_until("every reading", shows_every_reading);
    daemon.wait_for_line("no acknowledge");
    // The series must expire without a scrape.
    thread::sleep(Duration::from_secs(5) + SLACK);
    let scrape = daemon.scrape();
    assert!(!shows_any_reading(&scrape) && scrape.is("ina260_up", 0.0));
}
