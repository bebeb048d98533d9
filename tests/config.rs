//! The four layers of the configuration: plans, effective configuration and error messages.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use clap::Parser;
use ina260_exporter::cli::CommandLine;
use ina260_exporter::config::{Listen, Loaded, LogLevel, Overrides, Plan, keys, load};
use ina260_exporter::i2c::{Address, BusName};
use ina260_exporter::simulated::Faults;
use ratatui::text::Span;
use tempfile::NamedTempFile;

#[path = "config/limits.rs"]
mod limits;
#[path = "config/messages.rs"]
mod messages;
#[path = "config/properties.rs"]
mod properties;
#[path = "config/sensors.rs"]
mod sensors;

/// Loads a file with an environment and flags; problems have `FILE` for the file's name.
fn try_load(
    file: impl AsRef<[u8]>,
    environment: &[(&str, &str)],
    flags: &[&str],
) -> Result<Loaded, String> {
    let mut written = NamedTempFile::new().unwrap();
    written.write_all(file.as_ref()).unwrap();
    let path = written.path().to_str().unwrap();
    let environment = environment
        .iter()
        .map(|(key, value)| (format!("INA260_EXPORTER_{key}"), (*value).to_owned()));
    let words = ["ina260-exporter", "--config", path];
    let flags = CommandLine::try_parse_from(words.iter().chain(flags)).unwrap().daemon.overrides();
    load(&flags, environment).map_err(|problems| problems.to_string().replace(path, "FILE"))
}

fn plan(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> Plan {
    try_load(file, environment, flags).unwrap().plan
}

fn problems(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> String {
    try_load(file, environment, flags).unwrap_err()
}

/// Compares text with a file, or writes the file if `UPDATE_GOLDEN` is set.
fn assert_golden(path: &Path, seen: &str) {
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, seen).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(seen, expected, "{}", path.display());
}

#[test]
fn bad_files_get_their_exact_messages() {
    let directory = Path::new("tests/config/bad");
    let mut count = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let case = entry.unwrap().path();
        if case.extension().is_some_and(|e| e == "toml") {
            let seen = try_load(fs::read(&case).unwrap(), &[], &[]).unwrap_err() + "\n";
            assert_golden(&case.with_extension("expected"), &seen);
            count += 1;
        }
    }
    assert!(count > 20);
}

#[test]
fn defaults_match_the_python_script() {
    let plan = plan("", &[], &[]);
    assert_eq!(plan.server.listen.to_string(), "0.0.0.0:8000");
    assert_eq!(plan.server.socket_mode, 0o666);
    assert!(plan.server.allow.is_empty());
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(plan.hostname, machine.trim());
    assert_eq!(plan.summary, Some(Duration::from_secs(3600)));
    assert_eq!(plan.log, LogLevel::Info);
    assert!(plan.script_metrics && !plan.wait_for_sensor && plan.simulate.is_none());
    let [sensor] = plan.sensors.as_slice() else {
        panic!("{plan:?}");
    };
    assert_eq!(
        (sensor.device.as_str(), sensor.location.bus, sensor.location.address),
        ("deepx", BusName::Number(1), Address(0x40))
    );
    assert_eq!(sensor.interval, Duration::from_secs(1));
    assert_eq!(sensor.settings.averaging.count(), 1024);
    assert!(sensor.labels.is_empty());
}

#[test]
fn python_script_flags_still_work() {
    let plan = plan("", &[], &["--hostname", "0042", "--device", "7", "--port", "9000"]);
    assert_eq!(plan.hostname, "0042");
    assert_eq!(plan.sensors[0].device, "7");
    assert_eq!(plan.server.listen.to_string(), "0.0.0.0:9000");
}

#[test]
fn environment_can_set_every_key() {
    let by_environment = |key, value| plan("", &[(key, value)], &[]);
    for name in ["0042", "0x40", "1e3", "true", "1.10", "[a]", "5\"", "-1", "12V é"] {
        assert_eq!(by_environment("HOSTNAME", name).hostname, name);
        assert_eq!(by_environment("DEVICE", name).sensors[0].device, name);
    }
    assert_eq!(by_environment("ADDRESS", "0x41").sensors[0].location.address, Address(0x41));
    assert_eq!(by_environment("ADDRESS", "65").sensors[0].location.address, Address(0x41));
    assert_eq!(by_environment("BUS", "3").sensors[0].location.bus, BusName::Number(3));
    assert_eq!(by_environment("LISTEN", "[::]:80").server.listen.to_string(), "[::]:80");
    assert_eq!(by_environment("SOCKET_MODE", "0660").server.socket_mode, 0o660);
    assert_eq!(by_environment("INTERVAL", "100ms").sensors[0].interval, Duration::from_millis(100));
    assert_eq!(by_environment("SUMMARY", "0").summary, None);
    assert_eq!(by_environment("LOG", "debug").log, LogLevel::Debug);
    assert!(!by_environment("SCRIPT_METRICS", "false").script_metrics);
    assert!(by_environment("WAIT_FOR_SENSOR", "true").wait_for_sensor);
    for list in ["[\"10.0.0.0/8\", \"::1\"]", "10.0.0.0/8,::1", "10.1.2.3/8, ::1/128"] {
        let allow = by_environment("ALLOW", list).server.allow;
        assert_eq!(
            allow.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.0.0/8", "::1/128"]
        );
    }
    let sensors = by_environment(
        "SENSOR",
        "[{ device = \"0042\", labels = { rail = \"012\" } }, \
         { device = \"b\", address = 0x41, averaging = 16 }]",
    )
    .sensors;
    assert_eq!(sensors[0].device, "0042");
    assert_eq!(sensors[0].labels, [("rail".to_owned(), "012".to_owned())]);
    assert_eq!(
        (sensors[1].location.address, sensors[1].settings.averaging.count()),
        (Address(0x41), 16)
    );
}

#[test]
fn bad_variables_and_flags_are_named() {
    let known: Vec<_> = keys::at_top().map(|key| key.name).collect();
    let unknown = format!(
        "environment INA260_EXPORTER_LOGG: logg is not a known key; expected one of {}",
        known.join(", ")
    );
    for (environment, flags, message) in [
        (
            &[("ADDRESS", "0x50")][..],
            &[][..],
            "environment INA260_EXPORTER_ADDRESS: address \"0x50\" is invalid; \
             expected an integer from 0x40 to 0x4f",
        ),
        (
            &[],
            &["--address", "0x50"],
            "--address: address \"0x50\" is invalid; expected an integer from 0x40 to 0x4f",
        ),
        (
            &[],
            &["--bus", "one"],
            "--bus: bus \"one\" is invalid; expected an integer from 0 to 255, a path such as \
             /dev/i2c-power, or name: and the start of an adapter's name",
        ),
        (
            &[],
            &["--log-level", "loud"],
            "--log-level: log \"loud\" is invalid; expected one of error, warn, info, debug, trace",
        ),
        (
            &[("PORT", "80000")],
            &[],
            "environment INA260_EXPORTER_PORT: port \"80000\" is invalid; \
             expected a number from 1 to 65535",
        ),
        (
            &[("CONFIG", "a.toml")],
            &[],
            "environment INA260_EXPORTER_CONFIG: config is a flag, not a key",
        ),
        (&[("LOGG", "debug")], &[], &unknown),
        (
            &[("SENSOR__DEVICE", "orin")],
            &[],
            "environment INA260_EXPORTER_SENSOR__DEVICE: sensor {...} is not a list; expected \
             a line [[sensor]] above the keys of each sensor",
        ),
        (
            &[("SENSOR", "[{device=a}]")],
            &[],
            "environment INA260_EXPORTER_SENSOR: sensor \"[{device=a}]\" is not a list; expected \
             [{ device = \"a\" }, { device = \"b\" }]",
        ),
        (
            &[("SENSOR", "[{ device = \"a\", address = 0x50 }]")],
            &[],
            "environment INA260_EXPORTER_SENSOR: sensor[1] \"a\": address 0x50 is invalid; \
             expected an integer from 0x40 to 0x4f",
        ),
        (
            &[("HOSTNAME", "caf\u{fffd}")],
            &[],
            "environment INA260_EXPORTER_HOSTNAME: hostname \"caf\\u{fffd}\" contains U+FFFD, \
             which stands for bytes that are not valid UTF-8; write the name in UTF-8",
        ),
    ] {
        assert_eq!(problems("", environment, flags), message);
    }
}

#[test]
fn variables_of_kubernetes_are_ignored() {
    let links = [
        ("SERVICE_HOST", "10.43.12.7"),
        ("SERVICE_PORT", "8000"),
        ("SERVICE_PORT_METRICS", "8000"),
        ("SERVICE_PORT_HTTP_METRICS", "8000"),
        ("PORT", "tcp://10.43.12.7:8000"),
        ("PORT_8000_TCP", "tcp://10.43.12.7:8000"),
        ("PORT_8000_TCP_PROTO", "tcp"),
        ("PORT_8000_TCP_PORT", "8000"),
        ("PORT_8000_TCP_ADDR", "10.43.12.7"),
        ("PORT_53_UDP_ADDR", "10.43.12.7"),
        ("PORT_36412_SCTP", "sctp://[fd00::7]:36412"),
        // A second Service, whose name only begins with ours.
        ("METRICS_SERVICE_HOST", "fd00::7"),
        ("METRICS_SERVICE_PORT_WEB", "80"),
        ("METRICS_PORT", "udp://[fd00::7]:80"),
        ("METRICS_PORT_80_TCP_PORT", "80"),
    ];
    let seen = plan("interval = \"10ms\"", &links, &[]);
    assert_eq!(seen, plan("interval = \"10ms\"", &[], &[]));
    for typo in ["SERVICE_HOSTS", "SERVICES_PORT", "PORTS", "PORT_8000", "PORT_X_TCP", "LISTENN"] {
        let message = problems("", &[(typo, "8000")], &[]);
        assert!(message.contains("is not a known key"), "{typo}: {message}");
    }
    for value in ["", "0", "65536", "x", "tcp:80", "8000/tcp"] {
        let message = problems("", &[("PORT", value)], &[]);
        assert!(message.ends_with("expected a number from 1 to 65535"), "{message}");
    }
}

#[test]
fn port_variable_changes_only_the_port() {
    let listen = |file, environment: &[_], flags: &[_]| {
        plan(file, environment, flags).server.listen.to_string()
    };
    let port = [("PORT", "9000")];
    assert_eq!(listen("", &port, &[]), "0.0.0.0:9000");
    assert_eq!(listen("listen = \"[::]:80\"", &[("PORT", "\"9000\"")], &[]), "[::]:9000");
    assert_eq!(listen("", &[port[0], ("LISTEN", "127.0.0.1:80")], &[]), "127.0.0.1:9000");
    assert_eq!(listen("", &port, &["--port", "9001"]), "0.0.0.0:9001");
    for (file, variable) in [("", "9000"), ("listen = \"unix:/a\"", "9000"), ("", "x")] {
        let flags = ["--listen", "127.0.0.1:1"];
        assert_eq!(listen(file, &[("PORT", variable)], &flags), "127.0.0.1:1");
    }
    assert_eq!(listen("", &[("PORT", "x")], &["--port", "9001"]), "0.0.0.0:9001");
    assert_eq!(
        problems("listen = \"unix:/run/a.sock\"", &port, &[]),
        "environment INA260_EXPORTER_PORT: 9000 conflicts with listen \"unix:/run/a.sock\" \
         (FILE), which has no port"
    );
}

#[test]
fn quotes_around_variables_are_removed() {
    let sensors = r#"[{ device = "a", bus = 2, labels = { rail = "12V" } }]"#;
    for (key, value) in [
        ("LISTEN", "127.0.0.1:9000"),
        ("SOCKET_MODE", "0660"),
        ("ALLOW", "10.0.0.0/8"),
        ("ALLOW", "10.0.0.0/8, ::1"),
        ("HOSTNAME", "orin"),
        ("INTERVAL", "100ms"),
        ("WINDOW", "2m"),
        ("BUCKETS", "1, 5"),
        ("BUCKETS", "[1, 5]"),
        ("SUMMARY", "0"),
        ("LOG", "debug"),
        ("SCRIPT_METRICS", "false"),
        ("WAIT_FOR_SENSOR", "true"),
        ("DEVICE", "orin"),
        ("BUS", "3"),
        ("ADDRESS", "0x41"),
        ("MUX", "0x70:3"),
        ("MUX", "{ address = 0x70, channel = 3 }"),
        ("PORT", "9000"),
        ("SENSOR", sensors),
    ] {
        let bare = plan("", &[(key, value)], &[]);
        assert_ne!(bare, plan("", &[], &[]), "{key}");
        let escaped = format!("\"{}\"", value.replace('"', "\\\""));
        for quoted in
            [format!("'{value}'"), format!("\"{value}\""), escaped, format!(" '{value}'\r")]
        {
            assert_eq!(plan("", &[(key, &quoted)], &[]), bare, "{key} {quoted}");
        }
    }
    let both = [("MUX__ADDRESS", "\"0x71\""), ("MUX__CHANNEL", "'2'")];
    assert_eq!(plan("", &both, &[]), plan("", &[("MUX", "0x71:2")], &[]));
    let allow = |list| plan("", &[("ALLOW", list)], &[]).server.allow;
    assert_eq!(allow("\"10.0.0.0/8\",'::1'"), allow("10.0.0.0/8,::1"));
    assert_eq!(allow("[10.0.0.0/8, \"::1\"]"), allow("10.0.0.0/8,::1"));
    assert_eq!(plan("", &[], &["--device", "\"orin\""]).sensors[0].device, "orin");
    // Only one pair is removed, and only around the whole value.
    for (written, name) in [
        ("'\"orin\"'", "\"orin\""),
        ("\"a\" and \"b\"", "\"a\" and \"b\""),
        ("5\"", "5\""),
        ("\"", "\""),
        ("\"5\\\"\"", "5\""),
    ] {
        assert_eq!(plan("", &[("DEVICE", written)], &[]).sensors[0].device, name);
    }
}

#[test]
fn empty_hostname_leaves_the_label_out() {
    for (file, environment, flags) in [
        ("hostname = \"\"", &[][..], &[][..]),
        ("hostname = \" \"", &[], &[]),
        ("hostname = \"pi4\"", &[("HOSTNAME", "")], &[]),
        ("", &[("HOSTNAME", "\"\"")], &[]),
        ("", &[("HOSTNAME", "pi4")], &["--hostname", ""]),
    ] {
        assert_eq!(plan(file, environment, flags).hostname, "");
    }
    let effective = try_load("hostname = \"\"", &[], &[]).unwrap().effective;
    assert!(effective.contains("\nhostname = \"\" "), "{effective}");
}

#[test]
fn build_variable_is_ignored() {
    assert!(try_load("", &[("REVISION", "1367b41")], &[]).is_ok());
}

#[test]
fn flags_override_environment_which_overrides_file() {
    let file = "hostname = \"file\"\ninterval = \"10ms\"\nlog = \"warn\"";
    let environment = [("HOSTNAME", "environment"), ("INTERVAL", "20ms")];
    let plan = plan(file, &environment, &["--hostname", "flag"]);
    assert_eq!(plan.hostname, "flag");
    assert_eq!(plan.sensors[0].interval, Duration::from_millis(20));
    assert_eq!(plan.log, LogLevel::Warn);
}

#[test]
fn sensor_interval_defaults_to_the_daemons() {
    let file = "interval = \"10ms\"\n[[sensor]]\ndevice = \"a\"\n\
                [[sensor]]\ndevice = \"b\"\nbus = 2\ninterval = \"1s\"";
    let sensors = plan(file, &[], &[]).sensors;
    assert_eq!(sensors[0].interval, Duration::from_millis(10));
    assert_eq!(sensors[0].settings.averaging.count(), 16);
    assert_eq!(sensors[1].interval, Duration::from_secs(1));
}

#[test]
fn single_sensor_flags_change_the_only_table() {
    let one = "[[sensor]]\ndevice = \"orin\"\naddress = 0x41\n";
    let changed = plan(one, &[("ADDRESS", "0x42"), ("BUS", "3")], &["--device", "nano"]).sensors;
    assert_eq!(changed.len(), 1);
    assert_eq!(
        (changed[0].device.as_str(), changed[0].location.bus, changed[0].location.address),
        ("nano", BusName::Number(3), Address(0x42))
    );

    let two = one.to_owned() + "[[sensor]]\ndevice = \"nano\"\n";
    assert_eq!(
        problems(&two, &[("BUS", "3")], &["--device", "x", "--address", "0x44"]),
        "--address: address \"0x44\" is for a single sensor, but FILE has 2\n\
         environment INA260_EXPORTER_BUS: bus \"3\" is for a single sensor, but FILE has 2\n\
         --device: device \"x\" is for a single sensor, but FILE has 2"
    );
}

#[test]
fn environment_sensors_replace_those_of_the_file() {
    let environment = [("SENSOR", "[{ device = \"a\" }]")];
    for file in [
        "device = \"deepx\"\nbus = 7",
        "[[sensor]]\ndevice = \"x\"\n[[sensor]]\ndevice = \"y\"\nbus = 2",
    ] {
        let sensors = plan(file, &environment, &[]).sensors;
        assert_eq!(
            (sensors.len(), sensors[0].device.as_str(), sensors[0].location.bus),
            (1, "a", BusName::Number(1))
        );
    }
}

#[test]
fn bus_is_a_number_a_path_or_a_name_in_each_layer() {
    for (text, bus) in [
        ("7", BusName::Number(7)),
        ("/dev/i2c-power", BusName::Path("/dev/i2c-power")),
        ("name:MCP2221", BusName::Adapter("MCP2221")),
    ] {
        let toml = if bus == BusName::Number(7) { text.to_owned() } else { format!("{text:?}") };
        let file = format!("bus = {toml}");
        for loaded in [
            try_load(&file, &[], &[]),
            try_load("", &[("BUS", text)], &[]),
            try_load("", &[], &["--bus", text]),
            try_load(format!("[[sensor]]\ndevice = \"a\"\n{file}"), &[], &[]),
        ] {
            let loaded = loaded.unwrap();
            assert_eq!(loaded.plan.sensors[0].location.bus, bus);
            assert!(loaded.effective.contains(&file), "{}", loaded.effective);
        }
    }
    for bus in ["i2c-1", "dev/i2c-1", "/dev/", "name:", "MCP2221", "1.0", "256"] {
        let message = try_load("", &[], &["--bus", bus]).unwrap_err();
        assert!(message.contains("or name: and the start of an adapter's name"), "{message}");
    }
}

#[test]
fn port_flag_changes_only_the_port() {
    let listen = |file, environment: &[_]| {
        plan(file, environment, &["--port", "9000"]).server.listen.to_string()
    };
    assert_eq!(listen("listen = \"[::]:8000\"", &[]), "[::]:9000");
    assert_eq!(listen("", &[("LISTEN", "127.0.0.1:1")]), "127.0.0.1:9000");
    assert_eq!(listen("listen = \"[fe80::1%2]:8000\"", &[]), "[fe80::1%2]:9000");
    assert_eq!(
        problems("listen = \"unix:/run/a.sock\"", &[], &["--port", "9000"]),
        "--port: 9000 conflicts with listen \"unix:/run/a.sock\" (FILE), which has no port"
    );
}

#[test]
fn listen_accepts_a_unix_socket() {
    let plan = plan("listen = \"unix:/run/ina260-exporter/metrics.sock\"", &[], &[]);
    assert_eq!(plan.server.listen, Listen::Unix("/run/ina260-exporter/metrics.sock".into()));
}

#[test]
fn simulate_flag_sets_the_faults() {
    let plan = plan("", &[], &["--simulate=no-answer@30s+20s", "--wait-for-sensor"]);
    let faults: Faults = "no-answer@30s+20s".parse().unwrap();
    assert_eq!(plan.simulate, Some(faults));
    assert!(plan.wait_for_sensor);
}

#[test]
fn named_file_must_be_readable() {
    let problem = |path: &str| {
        let flags = Overrides { config: Some(path.into()), ..Overrides::default() };
        load(&flags, []).unwrap_err().to_string()
    };
    assert_eq!(
        problem("/nonexistent/a.toml"),
        "/nonexistent/a.toml: cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn effective_configuration_shows_origins() {
    let file = "hostname = \"pi4\"\n[[sensor]]\ndevice = \"a \\\\ \\\"b\\\"\"\n\
                labels = { rail = \"12V\" }\ninterval = \"1500ms\"";
    let loaded =
        try_load(file, &[("LOG", "debug")], &["--port", "9000", "--address", "0x4f"]).unwrap();
    // Without the columns, and with `FILE` for the file's name.
    let lines = loaded.effective.lines().map(|line| match line.split_once("  # ") {
        Some((setting, origin)) if origin.starts_with('/') => {
            format!("{} # FILE\n", setting.trim_end())
        }
        Some((setting, origin)) => format!("{} # {origin}\n", setting.trim_end()),
        None => format!("{line}\n"),
    });
    assert_golden(
        Path::new("tests/config/effective.expected"),
        &lines.collect::<Vec<_>>().concat(),
    );
    let wide = "hostname = \"e\u{301}\"\n[[sensor]]\ndevice = \"日本語の電源と測定器の名前、長い\"";
    let wide = try_load(wide, &[], &[]).unwrap().effective;
    for table in wide.split("[[sensor]]") {
        let origins = table.lines().filter_map(|line| line.split_once("# "));
        let columns: BTreeSet<_> = origins.map(|it| Span::raw(it.0).width()).collect();
        assert_eq!(columns.len(), 1, "{wide}");
    }
    let alone = try_load("", &[], &[]).unwrap().effective;
    assert!(alone.contains("\ndevice = \"deepx\"") && !alone.contains("[[sensor]]"));
}

/// Returns the shipped file with its settings uncommented: those of the daemon, those of a single
/// sensor, or those of a `[[sensor]]` table.
fn uncommented(single: bool, table: bool) -> String {
    let mut in_table = false;
    let lines = include_str!("../config/ina260-exporter.toml").lines().map(|line| {
        let Some(setting) = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')) else {
            return line;
        };
        in_table |= setting == "[[sensor]]";
        let is_single = keys::SINGLE_SENSOR.iter().any(|key| setting.starts_with(key.name));
        let wanted = if in_table { table } else { single || !is_single };
        if wanted { setting } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn shipped_file_shows_the_defaults() {
    let defaults = plan("", &[], &[]);
    let shipped = plan(include_str!("../config/ina260-exporter.toml"), &[], &[]);
    assert_eq!(shipped, defaults);
    for (single, table) in [(true, false), (false, true)] {
        let uncommented = uncommented(single, table);
        let uncommented = try_load(&uncommented, &[], &[]).unwrap();
        assert!(!uncommented.effective.contains("# default"));
        let hostname = defaults.hostname.clone();
        assert_eq!(uncommented.plan.hostname, "pi4");
        let plan = Plan { hostname, ..uncommented.plan };
        assert_eq!(plan, defaults);
    }
}
