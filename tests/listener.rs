//! The built binary's listener under attack and after failures: measuring continues, and others are
//! served.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use ina260_exporter::config::{self, Listen, Overrides, Plan, ServerSettings};
use ina260_exporter::exposition::Server;
use ina260_exporter::scrape::Url;
use ina260_exporter::simulated::Faults;
use ina260_exporter::supervisor::{BusProvider, Supervisor};
use support::{
    Daemon, Directory, Launch, NotifySocket, Scrape, TIMEOUT, all_at_once, free_port, get, text,
    until,
};

mod support;

const RESTARTS: &str = "ina260_exporter_listener_restarts_total";

fn restarts(scrape: &Scrape, cause: &str) -> Option<f64> {
    scrape.value(RESTARTS, &[("cause", cause)])
}

/// Returns a line of /proc/PID/status as a number.
fn status(daemon: &Daemon, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

#[test]
fn failed_listener_recovers() {
    all_at_once(&[
        idle_connections_do_not_keep_others_out,
        too_few_descriptors_do_not_keep_others_out,
        unfinished_headers_are_bounded,
        unread_responses_are_bounded,
        answered_clients_do_not_keep_others_out,
        all_waiting_clients_are_served,
        pause_of_the_process_is_not_silence,
        scrapes_start_no_thread,
        deleted_socket_is_bound_again,
        socket_of_another_process_is_kept,
    ]);
}

/// Serves 200 clients that send `request` and nothing else, and checks that others are served and
/// measuring continues.
fn assert_bounded(wrapper: &'static str, request: &[u8]) {
    let daemon = Launch::simulated("").through(wrapper).start();
    let address = daemon.listen().parse().unwrap();
    let clients: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut client = TcpStream::connect_timeout(&address, TIMEOUT).unwrap();
            client.set_nonblocking(true).unwrap();
            // What the kernel does not take is not sent.
            let _ = client.write(request);
            client
        })
        .collect();
    let mut peak = 0;
    let seen = daemon.scrape_until("a restart", |scrape| {
        peak = peak.max(status(&daemon, "VmRSS:"));
        restarts(scrape, "connections") > Some(0.0)
    });
    assert!(peak < 48 << 10, "MemoryHigh of the unit is 48 MiB: {peak} kB");
    drop(clients);
    let log = daemon.log();
    assert_eq!(daemon.log_lines("WARN the HTTP listener").len(), 1, "{log:#?}");
    assert_eq!(daemon.log_lines("has no free connections").len(), 1, "{log:#?}");
    daemon.scrape_until("more results", |scrape| {
        assert_eq!(restarts(scrape, "connections"), Some(1.0), "at most one in 30 s");
        scrape.the("ina260_results_total") > seen.the("ina260_results_total") + 1.0
    });
}

const MANY: &str = "ulimit -n 1024; exec \"$@\"";

fn idle_connections_do_not_keep_others_out() {
    assert_bounded(MANY, b"");
}

fn too_few_descriptors_do_not_keep_others_out() {
    assert_bounded("ulimit -n 48; exec \"$@\"", b"");
}

fn unfinished_headers_are_bounded() {
    let header = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &b"x".repeat(400_000)].concat();
    assert_bounded(MANY, &header);
}

fn unread_responses_are_bounded() {
    assert_bounded(MANY, &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(400));
}

/// More clients than the kernel queues for the listener: 128.
fn answered_clients_do_not_keep_others_out() {
    let daemon = Launch::simulated("").through(MANY).start();
    let address = daemon.listen().parse().unwrap();
    let listen = Listen::Tcp(address);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..300 {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    if let Ok(mut client) = TcpStream::connect_timeout(&address, TIMEOUT) {
                        client.set_read_timeout(Some(TIMEOUT)).unwrap();
                        let _ = client.write_all(b"GET /health HTTP/1.0\r\n\r\n");
                        let _ = client.read_to_end(&mut Vec::new());
                    }
                }
            });
        }
        // Two health checks, and the silence after which the listener would be restarted. On a busy
        // machine, some clients are dropped, and this one may have to try for longer.
        let (mut served, start) = (0, Instant::now());
        let is_before = |seconds| start.elapsed() < Duration::from_secs(seconds);
        while is_before(25) || served == 0 && is_before(120) {
            thread::sleep(Duration::from_secs(1));
            served += usize::from(Url::from(&listen).get(TIMEOUT).is_ok());
        }
        is_over.store(true, Relaxed);
        assert!(served > 0);
    });
    let seen = daemon.scrape_until("a scrape", |_| true);
    assert_eq!(restarts(&seen, "unresponsive"), Some(0.0), "{:#?}", daemon.log());
}

/// Twice as many clients as connections, and so many sensors that their responses take longer to
/// render than idle connections are kept.
fn all_waiting_clients_are_served() {
    let sensor = |n| {
        format!("[[sensor]]\ndevice = \"s{n}\"\nbus = {}\naddress = {}\n", n / 16, 0x40 + n % 16)
    };
    let sensors = (0..64).map(sensor).collect::<String>();
    let daemon = Launch::simulated("").config(&sensors).start();
    let listen = Listen::Tcp(daemon.listen().parse().unwrap());
    daemon.scrape_until("all sensors", |scrape| scrape.all("ina260_up", &[]).len() == 64);
    let threads = status(&daemon, "Threads:");
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| Url::from(&listen).get(2 * TIMEOUT).unwrap());
        }
    });
    assert_eq!(status(&daemon, "Threads:"), threads);
    let seen = daemon.scrape();
    assert!(RESTART_CAUSES.iter().all(|cause| restarts(&seen, cause) == Some(0.0)), "{seen:?}");
}

fn pause_of_the_process_is_not_silence() {
    let daemon = Launch::simulated("").start();
    daemon.scrape_until("a result", |scrape| scrape.is("ina260_up", 1.0));
    for pause in [16, 3, 5] {
        daemon.signal("STOP");
        thread::sleep(Duration::from_secs(pause));
        daemon.signal("CONT");
        thread::sleep(Duration::from_secs(2));
        // All live series survive, too.
        let scrape = daemon.scrape_until("a result", |scrape| scrape.is("ina260_up", 1.0));
        assert!(scrape.value("ina260_bus_voltage_volts", &[]).is_some());
        assert!(
            RESTART_CAUSES.iter().all(|cause| restarts(&scrape, cause) == Some(0.0)),
            "{scrape:?}"
        );
    }
}

const RESTART_CAUSES: [&str; 4] = ["address", "connections", "ended", "unresponsive"];

fn scrapes_start_no_thread() {
    let daemon = Launch::simulated("").start();
    let rendering = || -> BTreeSet<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", daemon.id())).unwrap();
        let tasks = tasks.map(|task| task.unwrap().path());
        let is_render =
            |task: &Path| fs::read_to_string(task.join("comm")).is_ok_and(|c| c == "render\n");
        tasks.filter(|task| is_render(task)).map(|task| text(&task).to_owned()).collect()
    };
    // Before the first scrape; a thread sets its name once it runs.
    let before =
        until("a thread that renders", || Some(rendering()).filter(|threads| threads.len() == 1));
    daemon.scrape();
    // Runtimes end idle threads after 10 s.
    thread::sleep(Duration::from_secs(12));
    assert_eq!(rendering(), before);
    daemon.scrape();
    assert_eq!(rendering(), before);
}

fn deleted_socket_is_bound_again() {
    let directory = Directory::new();
    let socket = directory.path("metrics.sock");
    let mut daemon = Launch::simulated("").listen(&format!("unix:{}", text(&socket))).start();
    daemon.scrape();
    fs::remove_file(&socket).unwrap();
    until("the socket", || socket.exists().then_some(()));
    daemon.wait_for_line("lost its address; restarted");
    let scrape =
        daemon.scrape_until("a restart", |scrape| restarts(scrape, "address") == Some(1.0));
    assert!(scrape.value("ina260_results_total", &[]).is_some());
    daemon.wait_for_line("is responding");
    assert_eq!(daemon.stop("TERM").0, Some(0));
    assert!(!socket.exists());
}

fn socket_of_another_process_is_kept() {
    let directory = Directory::new();
    let socket = directory.path("metrics.sock");
    let mut daemon = Launch::simulated("").listen(&format!("unix:{}", text(&socket))).start();
    daemon.scrape();
    fs::remove_file(&socket).unwrap();
    let other = UnixListener::bind(&socket).unwrap();
    let inode = fs::metadata(&socket).unwrap().ino();
    daemon.wait_for_line("another process is listening on this socket; retrying while");
    assert_eq!(daemon.stop("TERM").0, Some(0));
    assert_eq!(fs::metadata(&socket).unwrap().ino(), inode);
    drop(other);
}

#[test]
fn absent_address_is_tried_again() {
    let notify_socket = NotifySocket::new();
    let port = free_port();
    // No machine has an address of TEST-NET-1 (RFC 5737).
    let mut daemon = Launch::simulated("")
        .listen_in_file(port)
        .config(&format!("listen = \"192.0.2.1:{port}\"\n"))
        .notify(&notify_socket, None)
        .spawn();
    daemon.wait_for_line("cannot listen on 192.0.2.1");
    notify_socket.wait_for(1, "READY=1");
    until("a result", || {
        notify_socket
            .all("STATUS=")
            .iter()
            .any(|status| status.message.contains(" V"))
            .then_some(())
    });
    assert_eq!(daemon.log_lines("retrying").len(), 1, "{:#?}", daemon.log());
    daemon.reload(&format!("listen = \"127.0.0.1:{port}\"\n"));
    daemon.scrape_until("a result", |scrape| scrape.is("ina260_up", 1.0));
    assert_eq!(daemon.stop("TERM").0, Some(0));
}

#[test]
fn reloads_that_rename_sensors_need_no_memory() {
    let directory = Directory::new();
    let address = format!("127.0.0.1:{}", free_port());
    let load = |round: u32| -> Plan {
        let sensor =
            |n: u32| format!("[[sensor]]\ndevice = \"s{round}-{n}\"\naddress = {}\n", 0x40 + n);
        let toml = (0..8).map(sensor).collect::<String>();
        let file = directory.write("test.toml", &toml);
        let overrides = Overrides {
            config: Some(file),
            simulate: Some(Faults::default()),
            ..Overrides::default()
        };
        config::load(&overrides, []).unwrap().plan
    };
    let plan = load(0);
    let settings = ServerSettings {
        listen: Listen::Tcp(address.parse().unwrap()),
        socket_mode: 0,
        allow: Vec::new(),
        buckets: plan.server.buckets.clone(),
    };
    let provider = BusProvider::new(plan.simulate.as_ref());
    let mut supervisor = Supervisor::open(plan, provider, None).unwrap();
    supervisor.start(Arc::new(|| ())).unwrap();
    let bound = Server::bind(settings.clone()).unwrap();
    let mut server = Server::start(bound, supervisor.views()).unwrap();
    let memory = || -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
    };
    // Otherwise the first reloads can be faster than the first result.
    until("the readings of all sensors", || {
        server.tick(Instant::now());
        (get(&address, "/metrics").scrape().all("ina260_voltage", &[]).len() == 8).then_some(())
    });
    let series = || get(&address, "/metrics").body.lines().count();
    let mut before = (0, 0);
    for round in 1..=1_000 {
        let prepared = server.prepare(settings.clone()).unwrap();
        supervisor.change(load(round)).unwrap();
        server.apply(prepared, supervisor.views());
        if round == 100 {
            before = (series(), memory());
        }
    }
    let after = (series(), memory());
    assert_eq!(after.0, before.0);
    // Each series once cost 64 kB per reload. Other tests run in this process, too.
    assert!(after.1 < before.1 + 4_096, "{before:?} after 100 reloads, {after:?} after 1,000");
    let scrape = get(&address, "/metrics").scrape();
    assert_eq!(scrape.all("ina260_up", &[]).len(), 8);
    assert_eq!(scrape.all("ina260_read_duration_seconds_count", &[]).len(), 8);
}

#[test]
fn socket_is_never_accessible_before_its_mode() {
    let directory = Directory::new();
    let socket = directory.path("metrics.sock");
    let settings = ServerSettings {
        listen: Listen::Unix(socket.clone()),
        // The umask that this sets is shared by all threads: their directories stay usable.
        socket_mode: 0o700,
        allow: Vec::new(),
        buckets: vec![1.0],
    };
    rustix::process::umask(rustix::fs::Mode::empty());
    let (is_done, is_seen) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Relaxed) {
                if let Ok(metadata) = fs::metadata(&socket) {
                    let mode = metadata.permissions().mode() & 0o777;
                    // The mode is not changed later, when a link may have replaced the socket.
                    assert_eq!(mode, 0o700, "{mode:o}");
                    is_seen.store(true, Relaxed);
                }
            }
        });
        for _ in 0..300 {
            drop(Server::bind(settings.clone()).unwrap());
        }
        until("a socket file", || {
            drop(Server::bind(settings.clone()).unwrap());
            is_seen.load(Relaxed).then_some(())
        });
        is_done.store(true, Relaxed);
    });
}
