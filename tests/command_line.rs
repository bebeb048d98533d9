//! The built binary on the command line: output and exit codes.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use ina260_exporter::cli::CommandLine;
use ina260_exporter::clock::SimulatedClock;
use ina260_exporter::config::load;
use ina260_exporter::i2c::Address;
use ina260_exporter::printable::is_invisible;
use ina260_exporter::simulated::{Board, Chip, Fault, Faults, Load, ScheduledFault};
use ina260_exporter::supervisor::{BusProvider, Supervisor};
use support::{Directory, Ended, Launch, daemon, program, run, text};

mod support;

/// Runs the binary with an empty configuration file.
fn run_bare(arguments: &[&str]) -> Ended {
    run_with("", arguments)
}

fn run_with(config: &str, arguments: &[&str]) -> Ended {
    let directory = Directory::new();
    let config = directory.write("test.toml", config);
    run(&[&["--config", text(&config)], arguments].concat())
}

#[test]
fn version_and_help_exit_with_success() {
    let version = run(&["--version"]);
    let expected = format!("ina260-exporter {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(version.code, Some(0));
    assert!(version.stdout.starts_with(&expected), "{}", version.stdout);
    assert_eq!(version.stderr, "");

    let help = run(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    let flags = [
        "--hostname",
        "--device",
        "--port",
        "--config",
        "--listen",
        "--bus",
        "--address",
        "--interval",
        "--simulate",
        "--wait-for-sensor",
        "--check-config",
        "--log-level",
        "--version",
        "\nExamples:\n  ina260-exporter ",
    ];
    for flag in flags {
        assert!(help.stdout.contains(flag), "{flag} is not in the help");
    }
}

#[test]
fn help_is_readable_on_a_wide_terminal() {
    for command in [&[][..], &["scan"], &["read"], &["watch"], &["run"], &["calibrate"]] {
        let arguments = [command, &["--help"]].concat();
        let help = daemon(&arguments).env("COLUMNS", "250").output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        let longest = help.lines().map(|line| line.chars().count()).max();
        assert!((80..=100).contains(&longest.unwrap()), "{help}");
    }
}

#[test]
fn unknown_flag_prints_usage() {
    for arguments in [
        &["--colour", "red"][..],
        &["--port", "8000", "--listen", "0.0.0.0:8000"],
        &["--simulate", "no-answer@1"],
        &["--quiet"],
        &["orin"],
    ] {
        let ended = run_bare(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}");
        assert_eq!(ended.stdout, "");
        assert!(ended.stderr.contains("Usage: "), "{}", ended.stderr);
    }
    let ended = run_bare(&["--port", "many"]);
    assert_eq!(ended.code, Some(2));
    let message = "invalid value 'many' for '--port <PORT>'";
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
}

#[test]
fn unknown_fault_lists_valid_faults() {
    let ended = run_bare(&["--simulate=nonsense"]);
    assert_eq!(ended.code, Some(2));
    let message = "invalid fault \"nonsense\"; expected KIND@START or \
                   KIND@START+DURATION in seconds, with KIND one of no-answer, ";
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
}

#[test]
fn errors_escape_what_arguments_contain() {
    let hostile = "\u{1b}[31m\u{9b}2J\u{7}\u{202e}\u{feff}\r\nend";
    let flag = |name: &str| format!("{name}={hostile}");
    for arguments in [
        vec![flag("--simulate")],
        vec![flag("--simulate=no-answer@1,x")],
        vec![flag("--port")],
        vec![flag("--listen"), flag("--device"), flag("--hostname"), flag("--log-level")],
        vec![flag("--bus"), flag("--address"), flag("--mux"), flag("--interval")],
        vec![flag("--config")],
        vec![format!("--{hostile}")],
        vec![hostile.to_owned()],
        vec!["read".to_owned(), flag("--bus")],
        vec!["read".to_owned(), flag("--simulate")],
        vec!["scan".to_owned(), flag("--bus")],
        vec!["scan".to_owned(), flag("--bus=name:")],
        vec!["scan".to_owned(), flag("--bus=/dev/")],
        vec!["scan".to_owned(), flag("--simulate")],
        vec!["watch".to_owned(), flag("--url")],
        vec!["watch".to_owned(), hostile.to_owned()],
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let Ended { code, stderr, .. } = run(&arguments);
        assert!(matches!(code, Some(2 | 78)), "{code:?} {arguments:?}: {stderr}");
        let shown = stderr.replace('\n', "");
        assert!(!shown.contains(is_invisible), "{arguments:?}: {stderr:?}");
        let is_shown = stderr.contains("\\u{1b}[31m\\u{9b}2J\\u{7}\\u{202e}");
        // Without a terminal, `watch` ends before it uses its URL.
        assert!(is_shown || arguments[0] == "watch", "{arguments:?}: {stderr}");
        assert!(!stderr.lines().any(|line| line.starts_with("end")), "{stderr}");
    }
}

#[test]
fn absent_bus_lists_existing_buses() {
    let ended = run_bare(&["--bus", "200"]);
    assert_eq!(ended.code, Some(69));
    let buses = ["no I2C bus exists", "existing buses: /dev/i2c-"];
    assert!(buses.iter().any(|buses| ended.stderr.contains(buses)));
    for part in
        ["/dev/i2c-200 does not exist", "raspi-config", "dtparam=i2c_arm=on", "modprobe i2c-dev"]
    {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
    assert_eq!(ended.stderr.lines().count(), 1);
}

#[test]
fn absent_sensor_is_named_with_its_address() {
    let ended = run_bare(&["--simulate=no-answer@0", "--address", "0x4a"]);
    assert_eq!(ended.code, Some(69));
    for part in [
        "sensor deepx (simulated bus 1, 0x4a): ",
        "no acknowledge (errno 121)",
        "no INA260 responds on bus 1 at 0x40-0x4f",
    ] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}

#[test]
fn other_chip_is_reported_and_retried() {
    let daemon = Launch::simulated("wrong-identity@0").arguments(&["--wait-for-sensor"]).start();
    daemon.wait_for_line("WARN 0x40 on bus 1 is an INA226, not an INA260 (");
    daemon.wait_for_line("an INA226, not an INA260 (manufacturer 0x5449, die 0x2260); retrying");
    daemon.scrape_until("a sensor that is down", |scrape| scrape.is("ina260_up", 0.0));
}

#[test]
fn other_chip_is_nothing_to_measure() {
    let ended = run_bare(&["--simulate=wrong-identity@0"]);
    assert_eq!(ended.code, Some(69), "{ended:?}");
    let message = "0x40 on bus 1 is an INA226, not an INA260 (manufacturer 0x5449, die 0x2260)";
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
}

#[test]
fn absent_sensor_lists_responding_sensors() {
    let arguments = ["", "--config", "/dev/null", "--address", "0x41"];
    let flags = CommandLine::try_parse_from(arguments).unwrap().daemon.overrides();
    let plan = load(&flags, []).unwrap().plan;
    let board = Board::new(Arc::new(SimulatedClock::default()), 400_000);
    for address in [0x40, 0x41, 0x4F] {
        board.plug(None, Address(address), Chip::new(Load::steady(5.0, 1.0)));
    }
    board.schedule(ScheduledFault {
        fault: Fault::NoAnswer,
        address: Some(Address(0x41)),
        from: Duration::ZERO,
        until: None,
    });
    let mut provider = BusProvider::new(Some(&Faults::default()));
    provider.boards = BTreeMap::from([(1.into(), board)]);
    let supervisor = Supervisor::open(plan, provider, None).unwrap();
    let messages = supervisor.probe_at_startup().unwrap_err().0;
    assert_eq!(
        messages,
        [
            "sensor deepx (simulated bus 1, 0x41): cannot read register Die ID: \
             no acknowledge (errno 121)",
            "INA260s respond at bus 1, 0x40; bus 1, 0x4f",
        ]
    );
}

#[test]
fn failed_probe_deselects_all_channels() {
    let arguments = ["", "--config", "/dev/null", "--mux", "0x70:7"];
    let flags = CommandLine::try_parse_from(arguments).unwrap().daemon.overrides();
    let plan = load(&flags, []).unwrap().plan;
    let board = Board::new(Arc::new(SimulatedClock::default()), 400_000);
    let channel = plan.sensors[0].location.mux;
    board.plug(channel, Address(0x45), Chip::new(Load::steady(5.0, 1.0)));
    board.schedule(ScheduledFault {
        fault: Fault::NoAnswer,
        address: Some(Address(0x40)),
        from: Duration::ZERO,
        until: None,
    });
    let mut provider = BusProvider::new(Some(&Faults::default()));
    provider.boards = BTreeMap::from([(1.into(), board.clone())]);
    let supervisor = Supervisor::open(plan, provider, None).unwrap();
    let messages = supervisor.probe_at_startup().unwrap_err().0;
    assert_eq!(
        messages,
        [
            "sensor deepx (simulated bus 1, mux 0x70:7, 0x40): cannot read register \
             Die ID: no acknowledge (errno 121)",
            "no INA260 responds on bus 1 at 0x40-0x4f",
        ]
    );
    assert_eq!(board.control(Address(0x70)), Some(0));
}

#[test]
fn absent_sensor_is_served_as_down() {
    let daemon = Launch::simulated("no-answer@0").arguments(&["--wait-for-sensor"]).start();
    let scrape = daemon
        .scrape_until("a sensor that is known", |scrape| scrape.value("ina260_up", &[]).is_some());
    assert!(scrape.is("ina260_up", 0.0));
    assert!(scrape.is("ina260_results_total", 0.0));
    assert_eq!(scrape.value("ina260_bus_voltage_volts", &[]), None);
}

#[test]
fn named_configuration_file_must_exist() {
    for arguments in [&[][..], &["--check-config"]] {
        let named = [&["--config", "/nonexistent/ina260.toml"], arguments].concat();
        let ended = run(&named);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(78), ""));
        let message = "/nonexistent/ina260.toml: cannot be read: No such file";
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
    }
}

const BAD: &str = "colour = \"red\"\naddress = 0x50\n";

#[test]
fn process_substitution_is_refused() {
    for check in ["--check-config", "--simulate"] {
        let script = format!("exec \"$@\" {check} --config <(echo 'interval = \"2s\"')");
        let mut words = vec!["bash".to_owned(), "-c".to_owned(), script, "bash".to_owned()];
        words.extend(program());
        let ended = Command::new(&words[0]).args(&words[1..]).output().unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(78), "{stderr}");
        assert!(stderr.contains(": is not a regular file"), "{stderr}");
    }
}

#[test]
fn low_memory_is_not_a_configuration_error() {
    if program().len() > 1 {
        return; // An emulator needs more.
    }
    let mut words = vec!["sh".to_owned(), "-c".to_owned()];
    words.push("ulimit -v 120000; exec \"$@\" --check-config --quiet".to_owned());
    words.extend(["sh".to_owned()].into_iter().chain(program()));
    let ended = Command::new(&words[0]).args(&words[1..]).output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn all_problems_of_a_configuration_are_logged() {
    let ended = run_with(BAD, &["--simulate", "--interval", "soon"]);
    assert_eq!(ended.code, Some(78));
    assert_eq!(ended.stderr.lines().count(), 3, "{}", ended.stderr);
    for part in [
        "test.toml: ",
        "colour",
        "address 0x50 is invalid; expected an integer from 0x40 to 0x4f",
        "--interval",
    ] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
    assert!(ended.stderr.lines().all(|line| line.contains(" ERROR ")));
}

#[test]
fn check_config_prints_values_with_origins() {
    let ended = run_with("hostname = \"pi4\"\n", &["--check-config", "--port", "9000"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    for part in [
        "listen = \"0.0.0.0:9000\"      # --port\n",
        "test.toml\n",
        "address = 0x40               # default\n",
    ] {
        assert!(ended.stdout.contains(part), "{}", ended.stdout);
    }
    // The output is a configuration with the same effect.
    let again = run_with(&ended.stdout, &["--check-config"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    let settings = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split('#').next().unwrap().trim().to_owned()).collect()
    };
    assert_eq!(settings(&again.stdout), settings(&ended.stdout));

    let bad = run_with(BAD, &["--check-config"]);
    assert_eq!((bad.code, bad.stdout.as_str()), (Some(78), ""));
    assert_eq!(bad.stderr.lines().count(), 2, "{}", bad.stderr);
}

#[test]
fn quiet_check_prints_errors_only() {
    let good = run_bare(&["--check-config", "--quiet"]);
    assert_eq!((good.code, good.stdout + &good.stderr), (Some(0), String::new()));
    let bad = run_with(BAD, &["--check-config", "--quiet"]);
    assert_eq!((bad.code, bad.stdout.as_str()), (Some(78), ""));
    assert_eq!(bad.stderr.lines().count(), 2, "{}", bad.stderr);
}

#[test]
fn sensor_flags_conflict_with_several_sensors() {
    let two = "[[sensor]]\ndevice = \"a\"\n[[sensor]]\ndevice = \"b\"\naddress = 0x41\n";
    let ended = run_with(two, &["--device", "c", "--simulate"]);
    assert_eq!(ended.code, Some(78));
    assert!(ended.stderr.contains("--device"), "{}", ended.stderr);
}

#[test]
fn unwritable_output_does_not_panic() {
    let directory = Directory::new();
    for config in ["", BAD] {
        let config = directory.write("test.toml", config);
        let full = || fs::File::create("/dev/full").unwrap();
        let status = daemon(&["--check-config", "--config", text(&config)])
            .stdout(full())
            .stderr(full())
            .status()
            .unwrap();
        // A panic exits with 101, or with SIGABRT in a release build.
        assert!(status.code().is_some_and(|code| code != 101), "{status}");
    }
    let ended = daemon(&["--check-config", "--config", "/dev/null"])
        .stdout(fs::File::create("/dev/full").unwrap())
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert!(stderr.starts_with("cannot write: No space left"), "{stderr}");
}

#[test]
fn lack_of_resources_is_not_an_error_of_the_output() {
    // No thread can have such a stack. The fifth byte of a 32-bit program is 1 (elf(5)).
    let is_32_bit = fs::read(program().last().unwrap()).unwrap()[4] == 1;
    let stack: u64 = if is_32_bit { 0xF000_0000 } else { u64::MAX / 2 };
    for (arguments, code) in [(&["read"][..], 1), (&["run", "--", "true"], 125)] {
        let (command, rest) = arguments.split_at(1);
        let ended = daemon(command)
            .args(["--simulate", "--config", "/dev/null"])
            .args(rest)
            .env("RUST_MIN_STACK", stack.to_string())
            .output()
            .unwrap();
        assert_eq!(ended.status.code(), Some(code));
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert!(stderr.starts_with("cannot install signal handlers: "), "{stderr}");
    }
}
