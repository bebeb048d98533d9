//! Subcommands of the built binary.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use support::{Directory, Ended, daemon, kill, run, text, until};

mod support;

/// Two simulated sensors, one downstream of a mux.
const TWO: &str = "interval = \"10ms\"\n\
                   [[sensor]]\ndevice = \"orin\"\nmux = { address = 0x70, channel = 2 }\n\
                   [[sensor]]\ndevice = \"disks\"\nbus = 3\naddress = 0x44\n";

/// Runs the binary with this configuration file.
fn run_with(config: &str, arguments: &[&str]) -> Ended {
    let directory = Directory::new();
    let config = directory.write("test.toml", config);
    run(&[arguments, &["--config", text(&config)]].concat())
}

#[test]
fn subcommands_refuse_flags_of_the_daemon() {
    for (command, flag) in [("scan", "--mux"), ("read", "--follow")] {
        let help = run(&[command, "--help"]);
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
        for part in [flag, "Examples:\n  ina260-exporter "] {
            assert!(help.stdout.contains(part), "{}", help.stdout);
        }
        for arguments in [&["--port", "8000", command][..], &[command, "--port", "8000"]] {
            let ended = run(arguments);
            let code = (ended.code, ended.stdout.as_str());
            assert_eq!(code, (Some(2), ""), "{arguments:?}");
            assert!(ended.stderr.contains("Usage: "), "{}", ended.stderr);
        }
    }
}

#[test]
fn absent_bus_names_the_remedy() {
    let scan = run_with("", &["scan", "--bus", "200"]);
    let read = run_with("", &["read", "--bus", "200"]);
    for (ended, output) in [(&scan, &scan.stdout), (&read, &read.stderr)] {
        assert_eq!(ended.code, Some(69));
        for part in ["/dev/i2c-200 does not exist", "raspi-config", "modprobe i2c-dev"] {
            assert!(output.contains(part), "{ended:?}");
        }
    }
}

#[test]
fn scan_names_configured_sensors() {
    let ended = run_with(TWO, &["scan", "--simulate"]);
    let expected = "bus 1  simulated\n  no device found at 0x40-0x4f\n\
                    bus 3  simulated\n  0x44  INA260, die 0x2270: disks\n";
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), expected));
    let ended = run_with(TWO, &["scan", "--simulate", "--mux", "--bus", "1"]);
    let expected = "bus 1  simulated\n  mux 0x70:2, 0x40  INA260, die 0x2270: orin\n";
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), expected));
    assert_eq!(ended.stderr, "");
}

#[test]
fn scan_without_ina260_names_what_to_check() {
    let ended = run_with("", &["scan", "--simulate=wrong-identity@0"]);
    assert_eq!(ended.code, Some(69));
    let chip = "0x40  an INA226, not an INA260 (manufacturer 0x5449, die 0x2260)";
    assert!(ended.stdout.contains(chip), "{}", ended.stdout);
    assert!(ended.stderr.contains("`--mux`"), "{}", ended.stderr);
}

#[test]
fn scan_with_invalid_configuration_names_the_check() {
    let ended = run(&["scan", "--bus", "200", "--config", "/nonexistent\u{1b}[2J.toml"]);
    let command = "`ina260-exporter --check-config --config /nonexistent\\u{1b}[2J.toml`";
    assert!(ended.stderr.contains(command), "{ended:?}");
}

#[test]
fn scan_prints_json() {
    let ended = run_with(TWO, &["scan", "--simulate", "--mux", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let chip = &json["buses"][0]["chips"][0];
    for (key, value) in [
        ("kind", "ina260"),
        ("device", "orin"),
        ("address", "0x40"),
        ("mux", "0x70:2"),
        ("die", "0x2270"),
    ] {
        assert_eq!(chip[key], value, "{key}");
    }
    assert_eq!(json["buses"][1]["bus"], 3);
}

#[test]
fn appended_scan_is_valid_and_complete() {
    let directory = Directory::new();
    // Without a newline at the end, as some editors leave it.
    let file = directory.write("test.toml", "# sensors");
    let config = ["--config", text(&file)];
    let scan = || run(&[&["scan", "--simulate", "--toml"], &config[..]].concat());
    let found = scan();
    assert_eq!((found.code, found.stderr.as_str()), (Some(0), ""));
    let table = "\n[[sensor]]\ndevice = \"i2c-1-0x40\"\nbus = 1 # simulated\naddress = 0x40\n";
    assert_eq!(found.stdout, table);
    directory.write("test.toml", &format!("# sensors{table}"));
    let check = run(&[&["--check-config"], &config[..]].concat());
    assert_eq!(check.code, Some(0), "{}", check.stderr);
    let again = scan();
    let nothing = "# No INA260 to add: those found, if any, are already in the configuration.\n";
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), nothing));
}

#[test]
fn bus_that_cannot_be_opened_may_have_sensors_to_add() {
    let ended = run(&["scan", "--toml", "--bus", "/dev/null"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(69), ""), "{}", ended.stderr);
}

#[test]
fn invalid_tables_are_not_printed() {
    // The one sensor is configured outside of a table.
    let ended = run_with("device = \"orin\"\n", &["scan", "--simulate", "--toml"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(78), ""));
    let message = "device \"orin\" conflicts with [[sensor]]; move it into the sensor's table";
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
}

/// Runs `read` on simulated sensors until one of its results is new. They run in real time: if the
/// process is preempted after it read the flags, a first result may complete before its data are
/// read, and has no ready flag then.
fn read_ready(arguments: &[&str], ready: &str) -> Ended {
    until("a new result", || {
        let ended = run_with(TWO, &[&["read", "--simulate"], arguments].concat());
        ended.stdout.contains(ready).then_some(ended)
    })
}

#[test]
fn read_prints_result_settings_flags_and_alert() {
    let ended = read_ready(&[], "\n  flags     ready\n");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    for part in [
        "orin  bus 1, mux 0x70:2, 0x40\n  voltage   5.",
        "\n  settings  mean of 1 × (1100 µs current + 1100 µs voltage) = 2.2 ms \
         (power-on defaults; the service will reconfigure the chip)\n",
        "\n  flags     ready\n",
        "\n  alert     none\n",
        "\n  identity  INA260, die 0x2270\n\ndisks  bus 3, 0x44\n",
    ] {
        assert!(ended.stdout.contains(part), "{part}\n{}", ended.stdout);
    }
}

#[test]
fn read_at_location_prints_json() {
    let arguments = ["--json", "--bus", "3", "--address", "0x44"];
    let ended = read_ready(&arguments, "\"ready\": true");
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let sensors = json["sensors"].as_array().unwrap();
    assert_eq!(sensors.len(), 1);
    assert_eq!(sensors[0]["device"], "disks");
    assert!(sensors[0]["voltage_volts"].as_f64().unwrap() > 4.5);
    assert_eq!(sensors[0]["flags"]["ready"], true);
    assert_eq!(sensors[0]["settings"]["averaging"], 1);
    let unknown = run_with(TWO, &["read", "--simulate", "--address", "0x4c"]);
    let name = "i2c-1-0x4c  bus 1, 0x4c\n";
    assert!(unknown.stdout.starts_with(name), "{}", unknown.stdout);
}

#[test]
fn unresponsive_sensor_names_the_remedy() {
    let ended = run_with("", &["read", "--simulate=no-answer@0"]);
    assert_eq!(ended.code, Some(69));
    let message = "sensor deepx (bus 1, 0x40): cannot read register Die ID: \
                   no acknowledge (errno 121); check wiring and supply (`ina260-exporter scan` \
                   lists the devices that respond)\n";
    assert_eq!(ended.stderr, message);
    assert_eq!(ended.stdout, "deepx  bus 1, 0x40\n  no result\n");
}

#[test]
fn invalid_values_are_explained() {
    for (arguments, code, message) in [
        (&["read", "--simulate=fire@0"][..], 2, "invalid fault \"fire@0\"; expected "),
        (
            &["read", "--address", "0x50"],
            78,
            "address \"0x50\" is invalid; expected an integer from 0x40 to 0x4f",
        ),
        (&["scan", "--bus", "one"], 78, "--bus: bus \"one\" is invalid; expected an integer "),
        (&["read", "--follow", "--interval", "soon"], 78, "--interval: "),
        (&["read", "--interval", "1s"], 2, "--follow"),
        (&["read", "--json", "--follow"], 2, "cannot be used with"),
        (&["scan", "--json", "--toml"], 2, "cannot be used with"),
    ] {
        let ended = run_with("", arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""));
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
    }
}

/// Follows simulated sensors, returns the first lines and the exit code after `end`: a signal, or
/// `close` for a closed pipe.
fn follow(lines: usize, end: &str) -> (Vec<String>, Option<i32>) {
    let directory = Directory::new();
    let config = directory.write("test.toml", TWO);
    let mut child = daemon(&["read", "--simulate", "--follow", "--config", text(&config)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let lines = output.by_ref().take(lines).map(Result::unwrap).collect();
    if end == "close" {
        drop(output);
    } else {
        kill(end, &child.id().to_string());
        // A line in progress is completed.
        output.for_each(|line| assert!(line.is_ok()));
    }
    let status = until("the end", || child.try_wait().unwrap());
    (lines, status.code())
}

#[test]
fn follow_prints_csv_until_stopped() {
    let head = "timestamp_seconds,device,bus,mux,address,\
                voltage_volts,current_amperes,power_watts,alert,error";
    for end in ["INT", "TERM", "HUP", "close"] {
        let (lines, code) = follow(7, end);
        assert_eq!(code, Some(0), "{end}");
        assert_eq!(lines[0], head);
        for (device, location) in [("orin", "1,0x70:2,0x40"), ("disks", "3,,0x44")] {
            let is_own = |line: &&String| line.contains(&format!(",{device},{location},5."));
            assert!(lines.iter().filter(is_own).count() >= 2, "{lines:?}");
        }
    }
}

#[test]
fn follow_goes_on_after_a_hangup_that_is_ignored() {
    let mut command = Command::new("env");
    command.arg("--ignore-signal=HUP").args(support::program());
    command.args(["read", "--simulate", "--follow", "--interval", "50ms", "--config", "/dev/null"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.by_ref().take(2).count(), 2);
    kill("HUP", &child.id().to_string());
    assert_eq!(lines.by_ref().take(20).count(), 20);
    kill("TERM", &child.id().to_string());
    lines.for_each(drop);
    assert_eq!(until("the end", || child.try_wait().unwrap()).code(), Some(0));
}

#[test]
fn signal_ends_a_blocked_command() {
    for (arguments, left, [int, term]) in [
        (&["scan"][..], "may still be selected", [130, 143]),
        (&["scan", "--mux"], "may still be selected", [130, 143]),
        (&["read"], "may still be selected", [130, 143]),
        (&["read", "--follow"], "may still be selected", [0, 0]),
        (&["calibrate", "--zero"], "the sensor's registers may not have been restored", [130, 143]),
    ] {
        for (signal, code) in [("INT", int), ("TERM", term)] {
            let mut child =
                daemon(&[arguments, &["--simulate=hang@0", "--config", "/dev/null"]].concat())
                    .stdout(Stdio::null())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap();
            // Time to begin the transfer; an earlier signal ends the process anyway.
            thread::sleep(Duration::from_millis(500));
            kill(signal, &child.id().to_string());
            let status = until("the end", || child.try_wait().unwrap());
            assert_eq!(status.code(), Some(code), "{arguments:?}");
            let mut message = String::new();
            child.stderr.unwrap().read_to_string(&mut message).unwrap();
            assert!(message.trim_end().ends_with(left), "{arguments:?}: {message}");
        }
    }
}

#[test]
fn watch_requires_a_terminal() {
    let ended = run(&["watch"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    let message = "watch: standard output is not a terminal; ";
    assert!(ended.stderr.starts_with(message), "{}", ended.stderr);
}

#[test]
fn watch_sets_up_the_terminal_again_after_a_stop() {
    let script = format!(
        "echo $$; exec {} watch --simulate --config /dev/null",
        support::program().join(" ")
    );
    let mut child = Command::new("script")
        .args(["-qec", &script, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Nothing waits for this process if the test fails.
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut watch = String::new();
    output.read_line(&mut watch).unwrap();
    let watch = watch.trim_end().to_owned();
    let drawn = Arc::new(Mutex::new(String::new()));
    let sink = drawn.clone();
    let reading = thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = output.read(&mut bytes) {
            sink.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    });
    // Times that the terminal was switched to the alternate screen, see xterm's ctlseqs.
    let switches = || drawn.lock().unwrap().matches("\x1b[?1049h").count();
    let node = format!("/proc/{watch}/fd/1");
    let stty = |argument| {
        let output = Command::new("stty").args(["-F", &node, argument]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    until("raw mode", || (switches() == 1 && stty("-a").contains("-icanon")).then_some(()));
    kill("STOP", &watch);
    stty("sane");
    assert!(!stty("-a").contains("-icanon"));
    until("raw mode again", || {
        // script(1) stops and continues itself with its child.
        kill("CONT", &child.id().to_string());
        (switches() >= 2 && stty("-a").contains("-icanon")).then_some(())
    });
    kill("TERM", &watch);
    until("the end", || child.try_wait().unwrap());
    reading.join().unwrap();
}

#[test]
fn watch_rejects_bad_price_and_conflicts() {
    for (arguments, message) in [
        (&["--price", "cheap"][..], "expected a number of at least 0"),
        (&["--price=-1"], "expected a number of at least 0"),
        (&["--price", "inf"], "expected a number of at least 0"),
        (&["--url", "pi4", "--direct"], "cannot be used with"),
        (&["--url", "pi4", "--bus", "1"], "cannot be used with"),
    ] {
        let ended = run(&[&["watch"], arguments].concat());
        assert_eq!(ended.code, Some(2), "{arguments:?}");
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
    }
}
