//! The tools beside the daemon, as the built binary runs them.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use support::{Directory, Ended, run, text, until};

mod support;

/// Two simulated sensors, one behind a multiplexer.
const TWO: &str = "interval = \"10ms\"\n[[sensor]]\ndevice = \"orin\"\nmux = { address = 0x70, channel = 2 }\n\
                   [[sensor]]\ndevice = \"disks\"\nbus = 3\naddress = 0x44\n";

/// Runs the binary with this configuration file.
fn run_with(config: &str, arguments: &[&str]) -> Ended {
    let directory = Directory::new();
    let config = directory.write("test.toml", config);
    run(&[arguments, &["--config", text(&config)]].concat())
}

#[test]
fn a_tool_has_flags_of_its_own_and_does_not_take_the_daemons() {
    for (tool, flag) in [("scan", "--mux"), ("read", "--follow")] {
        let help = run(&[tool, "--help"]);
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
        for part in [flag, "Examples:\n  ina260-exporter "] {
            assert!(help.stdout.contains(part), "{}", help.stdout);
        }
        for arguments in [&["--port", "8000", tool][..], &[tool, "--port", "8000"]] {
            let ended = run(arguments);
            let code = (ended.code, ended.stdout.as_str());
            assert_eq!(code, (Some(2), ""), "{arguments:?}");
            assert!(ended.stderr.contains("Usage: "), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_bus_that_does_not_exist_is_told_with_what_to_do() {
    let scan = run_with("", &["scan", "--bus", "200"]);
    let read = run_with("", &["read", "--bus", "200"]);
    for (ended, told) in [(&scan, &scan.stdout), (&read, &read.stderr)] {
        assert_eq!(ended.code, Some(69));
        for part in [
            "/dev/i2c-200 does not exist",
            "raspi-config",
            "modprobe i2c-dev",
        ] {
            assert!(told.contains(part), "{ended:?}");
        }
    }
}

#[test]
fn a_scan_names_configured_sensors_and_those_behind_multiplexers_when_asked() {
    let ended = run_with(TWO, &["scan", "--simulate"]);
    let expected = "bus 1  simulated\n  nobody answers from 0x40 to 0x4f\n\
                    bus 3  simulated\n  0x44  INA260, die 0x2270: disks\n";
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), expected));
    let ended = run_with(TWO, &["scan", "--simulate", "--mux", "--bus", "1"]);
    let expected = "bus 1  simulated\n  mux 0x70:2, 0x40  INA260, die 0x2270: orin\n";
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), expected));
    assert_eq!(ended.stderr, "");
}

#[test]
fn a_scan_that_finds_no_ina260_says_what_to_check() {
    let ended = run_with("", &["scan", "--simulate=wrong-identity@0"]);
    assert_eq!(ended.code, Some(69));
    let chip = "0x40  not an INA260 (manufacturer 0x5449, die 0x2260)";
    assert!(ended.stdout.contains(chip), "{}", ended.stdout);
    assert!(ended.stderr.contains("`--mux`"), "{}", ended.stderr);
}

#[test]
fn a_scan_with_a_configuration_that_has_problems_says_which_command_tells_them() {
    let ended = run(&["scan", "--bus", "200", "--config", "/nonexistent.toml"]);
    let command = "`ina260-exporter --check-config --config /nonexistent.toml`";
    assert!(ended.stderr.contains(command), "{ended:?}");
}

#[test]
fn a_scan_for_programs_is_json() {
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
fn what_a_scan_appends_passes_the_check_and_is_not_found_again() {
    let directory = Directory::new();
    // A comment without an end of line, as an editor may leave it.
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
    let nothing = "# No INA260 answers that is not in the configuration.\n";
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), nothing));
}

#[test]
fn tables_that_the_configuration_would_not_take_are_not_printed() {
    // The one sensor stands outside of a table: what has to be done is said.
    let ended = run_with("device = \"orin\"\n", &["scan", "--simulate", "--toml"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(78), ""));
    let message = "device \"orin\" contradicts [[sensor]]: write it into the sensor's table";
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
}

#[test]
fn one_result_is_printed_with_settings_flags_alert_and_identity() {
    let ended = run_with(TWO, &["read", "--simulate"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    for part in [
        "orin  bus 1, mux 0x70:2, 0x40\n  voltage   5.",
        "\n  settings  mean of 1 × (1100 µs current + 1100 µs voltage) = 2.2 ms; as at power-on",
        "\n  flags     ready\n",
        "\n  alert     none\n",
        "\n  identity  INA260, die 0x2270\n\ndisks  bus 3, 0x44\n",
    ] {
        assert!(ended.stdout.contains(part), "{part}\n{}", ended.stdout);
    }
}

#[test]
fn a_result_for_programs_is_json_and_a_place_that_is_named_is_alone() {
    let arguments = [
        "read",
        "--simulate",
        "--json",
        "--bus",
        "3",
        "--address",
        "0x44",
    ];
    let ended = run_with(TWO, &arguments);
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
fn a_sensor_that_does_not_answer_is_told_with_what_to_do() {
    let ended = run_with("", &["read", "--simulate=no-answer@0"]);
    assert_eq!(ended.code, Some(69));
    let message = "sensor deepx (bus 1, 0x40): cannot read register Manufacturer ID: no acknowledge (errno 121); \
                   check its wiring and its supply, `ina260-exporter scan` lists who answers\n";
    assert_eq!(ended.stderr, message);
    assert_eq!(ended.stdout, "deepx  bus 1, 0x40\n  no result\n");
}

#[test]
fn wrong_values_are_told_what_is_allowed() {
    for (arguments, code, message) in [
        (
            &["read", "--simulate=fire@0"][..],
            2,
            "invalid fault \"fire@0\"; expected ",
        ),
        (
            &["read", "--address", "0x50"],
            78,
            "address 0x50 is outside 0x40..=0x4f",
        ),
        (
            &["read", "--follow", "--interval", "soon"],
            78,
            "--interval: ",
        ),
        (&["read", "--interval", "1s"], 2, "--follow"),
        (&["read", "--json", "--follow"], 2, "cannot be used with"),
        (&["scan", "--json", "--toml"], 2, "cannot be used with"),
    ] {
        let ended = run_with("", arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""));
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
    }
}

/// Follows simulated sensors, and takes the first lines; then it is ended.
fn follow(lines: usize, end: &str) -> (Vec<String>, Option<i32>) {
    let directory = Directory::new();
    let config = directory.write("test.toml", TWO);
    let mut child = Command::new(env!("CARGO_BIN_EXE_ina260-exporter"))
        .args(["read", "--simulate", "--follow", "--config", text(&config)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let lines = output.by_ref().take(lines).map(Result::unwrap).collect();
    if end == "close" {
        drop(output);
    } else {
        let kill = format!("kill -s {end} {}", child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
        // What was under way is still written.
        output.for_each(|line| assert!(line.is_ok()));
    }
    let status = until("the end", || child.try_wait().unwrap());
    (lines, status.code())
}

#[test]
fn results_follow_each_other_as_csv_until_somebody_ends_it() {
    let head = "timestamp_seconds,device,bus,mux,address,voltage_volts,current_amperes,power_watts,alert,error";
    for end in ["INT", "TERM", "HUP", "close"] {
        let (lines, code) = follow(7, end);
        assert_eq!(code, Some(0), "{end}");
        assert_eq!(lines[0], head);
        for (device, place) in [("orin", "1,0x70:2,0x40"), ("disks", "3,,0x44")] {
            let of_it = |line: &&String| line.contains(&format!(",{device},{place},5."));
            assert!(lines.iter().filter(of_it).count() >= 2, "{lines:?}");
        }
    }
}

#[test]
fn watch_into_a_pipe_says_so_and_is_a_wrong_usage() {
    let ended = run(&["watch"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    let message = "watch draws on a terminal, and standard output is none; ";
    assert!(ended.stderr.starts_with(message), "{}", ended.stderr);
}

#[test]
fn a_price_that_is_none_and_two_ways_to_measure_are_refused() {
    for (arguments, message) in [
        (
            &["--price", "cheap"][..],
            "a price is a number of at least 0",
        ),
        (&["--price=-1"], "a price is a number of at least 0"),
        (&["--price", "inf"], "a price is a number of at least 0"),
        (&["--url", "pi4", "--direct"], "cannot be used with"),
        (&["--url", "pi4", "--bus", "1"], "cannot be used with"),
    ] {
        let ended = run(&[&["watch"], arguments].concat());
        assert_eq!(ended.code, Some(2), "{arguments:?}");
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
    }
}
