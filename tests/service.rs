//! The built binary as a service: notifications to systemd, signals, reloads.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use support::{
    Directory, Launch, NotifySocket, Scrape, TIMEOUT, all_at_once, get, program, text, within,
};

mod support;

const DEVICE_A: (&str, &str) = ("device", "a");
const DEVICE_B: (&str, &str) = ("device", "b");
const DEVICE_C: (&str, &str) = ("device", "c");

fn results(scrape: &Scrape, device: (&str, &str)) -> Option<f64> {
    scrape.value("ina260_results_total", &[device])
}

#[test]
fn systemd_gets_ready_watchdog_and_stopping() {
    let notify_socket = NotifySocket::new();
    let mut daemon = Launch::simulated("")
        .arguments(&["--interval", "10ms"])
        .notify(&notify_socket, Some(Duration::from_millis(600)))
        .spawn();
    notify_socket.wait_for(1, "READY=1");
    // It serves scrapes as soon as it is ready.
    daemon.scrape();
    notify_socket.wait_for(1, "WATCHDOG=1");
    notify_socket.wait_for(3, "STATUS=");
    daemon.stop("TERM");
    let received = notify_socket.received();
    assert_eq!(received.first().unwrap().message, "READY=1");
    assert_eq!(received.last().unwrap().message, "STOPPING=1");
    assert_eq!(notify_socket.all("READY").len() + notify_socket.all("STOPPING").len(), 2);

    let statuses = notify_socket.all("STATUS=");
    let status = &statuses.last().unwrap().message;
    assert!(status.starts_with("STATUS=simulated: deepx: "), "{status}");
    let units = status.split(' ').filter(|word| word.starts_with(['V', 'A', 'W']));
    assert_eq!(units.count(), 3, "{status}");
    // At most every 5 s; on a busy machine the first may be received late.
    assert!(statuses[2].at - statuses[0].at >= Duration::from_secs(8), "{statuses:?}");
}

/// Returns the longest time without a watchdog notification.
fn longest_silence(notify_socket: &NotifySocket) -> Duration {
    let signs = notify_socket.all("WATCHDOG=1");
    let now = std::time::Instant::now();
    let next = signs.iter().skip(1).map(|received| received.at).chain([now]);
    signs.iter().zip(next).map(|(a, b)| b - a.at).max().unwrap()
}

/// Watchdog timeout: notifications are sent three times within it.
const WATCHDOG: Option<Duration> = Some(Duration::from_millis(1_500));

#[test]
fn watchdog_detects_hangs_only() {
    all_at_once(&[
        blocked_transfer_stops_the_watchdog,
        absent_sensor_keeps_the_watchdog,
        long_interval_keeps_the_watchdog,
    ]);
}

fn blocked_transfer_stops_the_watchdog() {
    let notify_socket = NotifySocket::new();
    let daemon = Launch::simulated("hang@1s+10s")
        .arguments(&["--interval", "100ms"])
        .notify(&notify_socket, WATCHDOG)
        .start();
    notify_socket.wait_for(4, "WATCHDOG=1");
    within(TIMEOUT, "two seconds without a notification", || {
        (longest_silence(&notify_socket) >= Duration::from_secs(2)).then_some(())
    });
    let before = notify_socket.all("WATCHDOG=1").len();
    notify_socket.wait_for(before + 1, "WATCHDOG=1");
    // Notifications resume when the transfer has ended.
    daemon.scrape_until("a sensor that is up", |scrape| scrape.is("ina260_up", 1.0));
}

/// Asserts that a daemon without results keeps notifying the watchdog for `time`.
fn assert_alive(faults: &str, arguments: &[&str], time: Duration) {
    let notify_socket = NotifySocket::new();
    let _daemon =
        Launch::simulated(faults).arguments(arguments).notify(&notify_socket, WATCHDOG).start();
    thread::sleep(time);
    let silence = longest_silence(&notify_socket);
    assert!(silence < Duration::from_secs(4), "{silence:?}");
    let status = notify_socket.all("STATUS=").pop().unwrap().message;
    assert!(status.ends_with("no result"), "{status}");
}

fn absent_sensor_keeps_the_watchdog() {
    // Retried after 1, 3, 7, 15 and 31 s.
    let time = Duration::from_secs(25);
    assert_alive("no-answer@0", &["--wait-for-sensor"], time);
}

fn long_interval_keeps_the_watchdog() {
    let time = Duration::from_secs(12);
    assert_alive("", &["--interval", "60s"], time);
}

#[test]
fn signals_stop_the_daemon_at_once() {
    for (signal, interval) in [("TERM", "60s"), ("INT", "60s"), ("TERM", "1s"), ("INT", "10ms")] {
        let mut daemon = Launch::simulated("").arguments(&["--interval", interval]).start();
        daemon.wait_for_line("a result every");
        let (code, took) = daemon.stop(signal);
        println!("SIG{signal} with an interval of {interval}: {took:?}");
        assert_eq!(code, Some(0));
        assert!(took < Duration::from_secs(1), "0.2 s on an idle machine: {took:?}");
        assert!(daemon.log().last().unwrap().ends_with("stopped"));
    }
}

#[test]
fn daemon_stops_during_a_blocked_transfer() {
    let mut daemon = Launch::simulated("hang@0").arguments(&["--wait-for-sensor"]).start();
    let (code, took) = daemon.stop("TERM");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "1.5 s on an idle machine: {took:?}");
    assert_eq!(daemon.log_lines("an I2C transfer is still blocked").len(), 1);
}

#[test]
fn nothing_else_is_logged_outside_systemd() {
    let mut daemon = Launch::simulated("").start();
    daemon.scrape_until("a result", |scrape| results(scrape, ("device", "deepx")) >= Some(1.0));
    daemon.stop("TERM");
    let log = daemon.log();
    let expected = [" WARN simulated sensors", " INFO ", " INFO ", " INFO stopped"];
    assert!(
        log.len() == 4 && log.iter().zip(expected).all(|(line, part)| line.contains(part)),
        "{log:#?}"
    );
}

#[test]
fn simulated_counters_are_not_saved() {
    let directory = Directory::new();
    let state = directory.path("");
    let mut daemon = Launch::simulated("").environment("STATE_DIRECTORY", text(&state)).start();
    assert_eq!(daemon.stop("TERM").0, Some(0));
    assert_eq!(fs::read_dir(state).unwrap().count(), 0);
}

/// Returns a configuration with these sensors.
fn sensors(text: &str) -> String {
    let tables = text.split_whitespace().map(|sensor| {
        let (device, address) = sensor.split_once(':').unwrap();
        format!("[[sensor]]\ndevice = \"{device}\"\naddress = {address}\n")
    });
    format!("interval = \"100ms\"\n{}", tables.collect::<String>())
}

fn up(scrape: &Scrape, device: (&str, &str)) -> bool {
    scrape.value("ina260_up", &[device]) == Some(1.0)
}

#[test]
fn reload_keeps_counters_of_renamed_sensors() {
    let daemon = Launch::simulated("").config(&sensors("a:0x40 b:0x41 kept:0x42")).start();
    let kept = ("device", "kept");
    let before = daemon.scrape_until("twenty results of each", |scrape| {
        [DEVICE_A, DEVICE_B, kept].iter().all(|device| results(scrape, *device) >= Some(20.0))
    });
    let line = daemon.reload(&sensors("c:0x40 new:0x43 kept:0x42"));
    assert!(line.contains("configuration reloaded: 3 sensors"), "{line}");

    let after = daemon.scrape_until("sensors under their new names", |scrape| {
        up(scrape, DEVICE_C) && up(scrape, ("device", "new")) && up(scrape, kept)
    });
    assert!(results(&after, DEVICE_C) >= results(&before, DEVICE_A));
    assert!(results(&after, kept) >= results(&before, kept));
    assert!(results(&after, ("device", "new")) < Some(20.0));
    assert!(after.is("ina260_exporter_config_last_reload_successful", 1.0));
}

/// Returns the number of polls in the histogram of a sensor.
fn polls(scrape: &Scrape, device: (&str, &str)) -> Option<f64> {
    scrape.value("ina260_read_duration_seconds_count", &[device])
}

#[test]
fn reload_that_renames_leaves_no_series() {
    let daemon = Launch::simulated("").config(&sensors("a:0x40 b:0x41")).start();
    daemon.scrape_until("histograms", |scrape| polls(scrape, DEVICE_A) >= Some(20.0));
    daemon.reload(&sensors("c:0x40 b:0x41"));
    let scrape = daemon.scrape();
    assert_eq!(scrape.names(&[DEVICE_A]), [].into());
    assert!(polls(&scrape, DEVICE_B) < Some(20.0), "histograms restart from 0");

    // The sensor at 0x40 takes over the name of another, and its own name goes to a new one.
    let before = daemon.scrape_until("results", |scrape| results(scrape, DEVICE_B) >= Some(40.0));
    daemon.reload(&sensors("b:0x40 c:0x42"));
    let scrape = daemon.scrape();
    assert!(results(&scrape, DEVICE_B) >= results(&before, DEVICE_C));
    assert!(results(&scrape, DEVICE_C) < Some(40.0));
}

#[test]
fn reload_that_removes_nothing_keeps_histograms() {
    let daemon = Launch::simulated("").config(&sensors("a:0x40")).start();
    let mut last =
        daemon.scrape_until("histograms", |scrape| polls(scrape, DEVICE_A) >= Some(20.0));
    for toml in
        [sensors("a:0x40 b:0x41"), "window = \"2m\"\n".to_owned() + &sensors("a:0x40 b:0x41")]
    {
        daemon.reload(&toml);
        let scrape = daemon.scrape_until("the new sensor", |scrape| up(scrape, DEVICE_B));
        assert!(polls(&scrape, DEVICE_A) >= polls(&last, DEVICE_A));
        last = scrape;
    }
    assert!(last.all(RESTARTS, &[]).iter().all(|series| series.value == 0.0), "{last:?}");
}

#[test]
fn reload_ends_an_active_alert_in_the_log() {
    let sensor = |interval| {
        format!(
            "[[sensor]]\ndevice = \"a\"\ninterval = \"{interval}\"\n\
             alert = {{ on = \"over-voltage\", limit = \"1V\" }}\n"
        )
    };
    let daemon = Launch::simulated("").config(&sensor("100ms")).start();
    daemon.wait_for_line("over-voltage alert active (a conversion crossed the limit of 1 V)");
    daemon.reload(&sensor("50ms"));
    daemon.wait_for_line("over-voltage alert cleared (sensor reconfigured)");
}

const SUCCESSFUL: &str = "ina260_exporter_config_last_reload_successful";
const SUCCEEDED: &str = "ina260_exporter_config_last_reload_success_timestamp_seconds";

#[test]
fn failed_reload_keeps_the_configuration() {
    let daemon = Launch::simulated("").config(&sensors("a:0x40")).start();
    let before =
        daemon.scrape_until("ten results", |scrape| results(scrape, DEVICE_A) >= Some(10.0));
    assert!(before.is(SUCCESSFUL, 1.0));

    let line = daemon.reload(&(sensors("b:0x41 c:0x50") + "colour = \"red\"\n"));
    assert!(line.contains("ERROR reload failed"), "{line}");
    let problems = daemon.log_lines("test.toml: sensor[2] \"c\": ");
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(
        problems[0].contains("0x50 is invalid; expected an integer from 0x40")
            || problems[1].contains("0x50")
    );

    let failed = daemon.scrape_until("a reload that failed", |scrape| scrape.is(SUCCESSFUL, 0.0));
    assert!(failed.is(SUCCEEDED, before.the(SUCCEEDED)));
    let later = daemon.scrape_until("ten more results", |scrape| {
        results(scrape, DEVICE_A) >= results(&before, DEVICE_A).map(|n| n + 10.0)
    });
    assert_eq!(later.fallen(&before), [""; 0]);
    assert!(up(&later, DEVICE_A) && later.names(&[DEVICE_B]).is_empty());

    daemon.reload(&sensors("a:0x40 b:0x41"));
    let good = daemon.scrape_until("a reload that worked", |scrape| {
        scrape.is(SUCCESSFUL, 1.0) && up(scrape, DEVICE_B)
    });
    assert!(good.the(SUCCEEDED) > before.the(SUCCEEDED));
    assert_eq!(good.fallen(&later), [""; 0]);
}

/// Returns a configuration with each of these sensors on a bus of its own.
fn on_buses(sensors: &[(&str, u8)]) -> String {
    let tables = sensors.iter().map(|(device, bus)| {
        format!("[[sensor]]\ndevice = \"{device}\"\nbus = {bus}\ninterval = \"100ms\"\n")
    });
    tables.collect()
}

#[test]
fn reload_without_memory_for_a_thread_changes_nothing() {
    const MEGABYTE: u64 = 1 << 20;
    if program().len() > 1 {
        return; // An emulator has reserved the memory of its program.
    }
    let daemon = Launch::simulated("").config(&on_buses(&[("a", 1), ("b", 2)])).start();
    let before = daemon.scrape_until("results", |scrape| results(scrape, DEVICE_B) >= Some(1.0));
    // Room for small allocations, but not for the stack of a thread, 2 MiB.
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let size = size.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10;
    let limit = Rlimit { current: Some(size + MEGABYTE), maximum: None };
    let id = Pid::from_raw(daemon.id().try_into().unwrap());
    prlimit(id, Resource::As, limit).unwrap();

    let line = daemon.reload(&on_buses(&[("a", 1), ("c", 3), ("d", 4)]));
    assert!(line.contains("ERROR reload failed"), "{line}");
    assert_eq!(daemon.log_lines("cannot start a thread").len(), 1);
    let later = daemon.scrape_until("ten more results", |scrape| {
        results(scrape, DEVICE_B) >= results(&before, DEVICE_B).map(|n| n + 10.0)
    });
    assert!(later.names(&[DEVICE_C]).is_empty());
}

#[test]
fn reload_refuses_a_missing_file() {
    let daemon = Launch::simulated("").config(&sensors("a:0x40")).start();
    daemon.scrape_until("a result", |scrape| up(scrape, DEVICE_A));
    let line = daemon.reload_after(|path| {
        fs::remove_file(path).unwrap();
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    });
    assert!(line.contains("ERROR reload failed"), "{line}");
    daemon.wait_for_line("test.toml: is not a regular file");
    let line = daemon.reload_after(|path| fs::remove_file(path).unwrap());
    assert!(line.contains("ERROR reload failed"), "{line}");
    daemon.wait_for_line("test.toml: cannot be read: No such file or directory");
    let scrape = daemon.scrape_until("a failed reload", |scrape| scrape.is(SUCCESSFUL, 0.0));
    assert!(up(&scrape, DEVICE_A));
}

const RESTARTS: &str = "ina260_exporter_listener_restarts_total";

#[test]
fn reload_applies_access_and_buckets() {
    let daemon = Launch::simulated("").config(&sensors("a:0x40")).start();
    let before = daemon.scrape_until("a result", |scrape| up(scrape, DEVICE_A));
    let bounds = |scrape: &Scrape| {
        scrape.all("ina260_power_distribution_watts_bucket", &[("direction", "forward")]).len()
    };
    assert_eq!(bounds(&before), 5);
    let line = daemon.reload(&("buckets = [2, 20]\n".to_owned() + &sensors("a:0x40")));
    assert!(line.contains("configuration reloaded"), "{line}");
    let after = daemon.scrape();
    assert_eq!(bounds(&after), 3);
    assert_eq!(after.fallen(&before), [""; 0]);

    daemon.reload(&("allow = [\"192.0.2.0/24\"]\n".to_owned() + &sensors("a:0x40")));
    assert_eq!(get(daemon.listen(), "/metrics").status, 403);
    daemon.reload(&sensors("a:0x40"));
    assert_eq!(daemon.scrape().fallen(&after), [""; 0]);
}

#[test]
fn reload_applies_socket_mode() {
    let directory = Directory::new();
    let socket = directory.path("metrics.sock");
    let daemon = Launch::simulated("").listen(&format!("unix:{}", text(&socket))).start();
    daemon.reload("socket_mode = \"0600\"\n");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    daemon.scrape();
}

#[test]
fn reload_moves_the_listener() {
    let [old, new] = [support::free_port(), support::free_port()];
    let listen = |address: &str| format!("listen = \"{address}\"\n");
    let daemon = Launch::simulated("").listen_in_file(old).start();
    let before = daemon.scrape_until("a result", |scrape| scrape.is("ina260_up", 1.0));
    let [old, new] = [old, new].map(|port| format!("127.0.0.1:{port}"));
    daemon.reload(&listen(&new));
    assert_eq!(get(&new, "/metrics").scrape().fallen(&before), [""; 0]);
    TcpListener::bind(&old).expect("the old port is free");

    // Only the daemon's own listener prevents binding the new address.
    let everywhere = new.replace("127.0.0.1", "0.0.0.0");
    for address in [&everywhere, &new] {
        let line = daemon.reload(&listen(address));
        assert!(line.contains("configuration reloaded"), "{line}");
        assert_eq!(get(&new, "/metrics").scrape().fallen(&before), [""; 0]);
    }
}

#[test]
fn reload_to_a_taken_address_is_refused() {
    let daemon = Launch::simulated("").listen_in_file(support::free_port()).start();
    let before = daemon.scrape_until("a result", |scrape| scrape.is("ina260_up", 1.0));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    // An address that the machine does not have cannot be bound either (TEST-NET-1, RFC 5737).
    for address in [taken.to_string(), "192.0.2.1:8000".to_owned()] {
        let toml = format!("listen = \"{address}\"\n[[sensor]]\ndevice = \"b\"\n");
        let line = daemon.reload(&toml);
        assert!(line.contains("reload failed"), "{line}");
        assert_eq!(daemon.log_lines(&format!("cannot listen on {address}: ")).len(), 1);
        let scrape = daemon.scrape();
        assert_eq!(scrape.fallen(&before), [""; 0]);
        assert_eq!(scrape.names(&[DEVICE_B]), [].into());
    }
}

#[test]
fn reload_changes_the_log_level() {
    let daemon = Launch::simulated("").config(&sensors("a:0x40")).start();
    daemon.scrape_until("a result", |scrape| up(scrape, DEVICE_A));
    assert_eq!(daemon.log_lines("DEBUG"), [""; 0]);
    daemon.reload(&("log = \"debug\"\n".to_owned() + &sensors("a:0x40")));
    let line = daemon.wait_for_line("DEBUG sensor a (simulated bus 1, 0x40): ");
    assert!(line.contains(" V, ") && line.contains(" A, ") && line.ends_with(" W"), "{line}");
    // The message about this reload is logged before the level changes.
    daemon.reload(&("log = \"info\"\n".to_owned() + &sensors("a:0x40")));
    let quiet = daemon.log_lines("DEBUG").len();
    daemon.scrape_until("more results", |scrape| results(scrape, DEVICE_A) >= Some(40.0));
    assert!(daemon.log_lines("DEBUG").len() <= quiet + 1);
}

#[test]
fn summary_logs_means_periodically() {
    let daemon = Launch::simulated("")
        .config(&("summary = \"1s\"\n".to_owned() + &sensors("a:0x40 b:0x41")))
        .start();
    let line = daemon.wait_for_line("INFO means over ");
    let (_, means) = line.split_once(" s: ").unwrap();
    let sensors: Vec<&str> = means.split("; ").collect();
    assert!(sensors[0].starts_with("a: ") && sensors[1].starts_with("b: "), "{line}");
    for sensor in sensors {
        assert!(sensor.contains(" W (results: ") && sensor.ends_with(')'), "{line}");
    }
    // The means of many sensors are split into several lines.
    let table = |n| {
        let name = "x".repeat(250);
        format!(
            "[[sensor]]\ndevice = \"{name}{n}\"\nbus = {}\naddress = {}\n",
            n / 16,
            0x40 + n % 16
        )
    };
    let tables: String = (0..40).map(table).collect();
    daemon.reload(&("summary = \"1s\"\ninterval = \"100ms\"\n".to_owned() + &tables));
    daemon.wait_for_line("x39: ");
    // On a busy machine, some sensors had no result before the first summary.
    let lines = daemon.log().len();
    daemon.wait_for_line_after(lines, "x39: ");
    let last = daemon.log_lines(" s: xxx");
    let lengths: Vec<usize> = last.iter().map(String::len).collect();
    assert!(last.len() >= 3 && lengths.iter().all(|bytes| *bytes < 6_000), "{lengths:?}");
    for (line, first) in last[last.len() - 3..].iter().zip([0, 16, 32]) {
        assert!(line.contains(&format!("s: {}{first}: ", "x".repeat(250))), "{line}");
    }
}

#[test]
fn signal_ends_a_blocked_start() {
    let mut daemon = Launch::simulated("hang@0").spawn();
    daemon.wait_for_line("simulated");
    let (code, _) = daemon.stop("TERM");
    assert_eq!(code, None, "ended by the signal");
}

#[test]
fn processor_time_is_served_in_fractions_of_a_second() {
    let daemon = Launch::simulated("").arguments(&["--interval", "5ms"]).start();
    daemon.scrape_until("a fraction of a second", |scrape| {
        scrape.value("process_cpu_seconds_total", &[]).is_some_and(|time| time.fract() > 0.0)
    });
}

/// Expected values from files that the daemon does not read, see proc(5).
#[test]
fn metrics_of_the_process_are_what_the_kernel_shows() {
    if program().len() > 1 {
        return; // An emulator makes up a /proc of its own.
    }
    let daemon = Launch::simulated("").start();
    let read = |file| fs::read_to_string(format!("/proc/{}/{file}", daemon.id())).unwrap();
    daemon.scrape_until("the values of the kernel", |scrape| {
        let (status, limits) = (read("status"), read("limits"));
        let number = |text: &str, line: &str| -> f64 {
            let rest = text.lines().find_map(|it| it.strip_prefix(line)).unwrap();
            rest.split_whitespace().next().unwrap().parse().unwrap()
        };
        let files = fs::read_dir(format!("/proc/{}/fd", daemon.id())).unwrap().count();
        let differs_by = |name: &str, value: f64| {
            (scrape.value(&format!("process_{name}"), &[]).unwrap() - value).abs()
        };
        // Connections come and go, and the kernel counts pages late.
        differs_by("threads", number(&status, "Threads:")) == 0.0
            && differs_by("max_fds", number(&limits, "Max open files")) == 0.0
            && differs_by("open_fds", f64::from(u32::try_from(files).unwrap())) <= 2.0
            && differs_by("virtual_memory_bytes", 1_024.0 * number(&status, "VmSize:")) < 1e6
            && differs_by("resident_memory_bytes", 1_024.0 * number(&status, "VmRSS:")) < 1e6
    });
}

#[test]
fn sighup_before_ready_reloads_afterwards() {
    // The start-up probe takes two seconds.
    let daemon = Launch::simulated("hang@0+2").spawn();
    daemon.wait_for_line("simulated");
    daemon.signal("HUP");
    daemon.wait_for_line("serving ");
    daemon.wait_for_line("configuration reloaded: 1 sensor");
}

#[test]
fn hardware_check_prints_register_and_product() {
    let daemon = Launch::simulated("").arguments(&["--interval", "100ms"]).start();
    daemon.scrape_until("a result", |scrape| scrape.value("ina260_power", &[]).is_some());
    let directory = Directory::new();
    let scrape = directory.write("scrape", &support::get(daemon.listen(), "/metrics").body);
    let page = fs::read_to_string("docs/hardware-check.md").unwrap();
    let begin = page.find("   for i in").unwrap();
    let script = page[begin..].split("```").next().unwrap();
    // One reading, with this scrape, and without curl, which a bare system lacks.
    for shown in ["seq 20", "curl -s localhost:8001/metrics", "sleep 2"] {
        assert!(script.contains(shown), "{shown}");
    }
    let script = script
        .replace("seq 20", "seq 1")
        .replace("curl -s localhost:8001/metrics", &format!("cat {}", text(&scrape)))
        .replace("sleep 2", "");
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<f64> = line.split([' ', '\n']).filter_map(|word| word.parse().ok()).collect();
    let [register, product, current] = numbers[..] else { panic!("{line}") };
    // The simulated board draws 0.5 A to 1.9 A at about 5 V; the register has steps of 10 mW.
    assert!((500.0..1_900.0).contains(&current), "{line}");
    assert!((product - current * 5.05).abs() < current * 0.1, "{line}");
    assert!((register - product).abs() < product * 0.2, "{line}");
}
