//! Limits: nesting, sizes, numbers of sensors, buses and messages; files that are not regular.

use std::os::unix::net::UnixListener;
use std::process::Command;
use std::{fs, path::Path};

use ina260_exporter::config::{MAX_BUSES, Overrides, load};

use super::{plan, problems, try_load};

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let too_deep = |result: Result<_, String>| {
        let Err(message) = result.map(|_: ina260_exporter::config::Loaded| ()) else {
            panic!("accepted");
        };
        assert!(message.ends_with(": nested more than 8 levels deep"), "{message:.300}");
    };
    let dotted = "a.".repeat(75);
    for levels in [1, 10, 75] {
        let inline = format!("{{{dotted}a=").repeat(levels) + "1" + &"}".repeat(levels);
        too_deep(try_load(format!("[{dotted}a]\n{dotted}a={inline}"), &[], &[]));
    }
    for levels in [9, 1_000, 80_000] {
        for (open, close) in [("[", "]"), ("{a=", "}"), ("{ a = [", "] }"), ("a.", "a=1")] {
            let deep = open.repeat(levels);
            let closed = format!("{deep}{}", close.repeat(levels));
            for text in [format!("sensor = {closed}"), format!("sensor={deep}"), closed] {
                if text.len() < 1 << 18 {
                    too_deep(try_load(text, &[], &[]));
                }
            }
            problems("", &[("SENSOR", &deep)], &[]);
            problems("", &[("MUX", &deep)], &[]);
        }
        problems("", &[(&"a__".repeat(levels), "1")], &[]);
    }
    // Brackets times keys, just within the limit: on a thread with little stack.
    let keys = "a.".repeat(8) + "a";
    let most = format!("{keys} = {}1{}", format!("{{ {keys} = ").repeat(8), " }".repeat(8));
    let small = std::thread::Builder::new().stack_size(512 << 10);
    let thread = small.spawn(move || problems(&most, &[], &[])).unwrap();
    assert!(thread.join().unwrap().contains("is not a known key"));
}

#[test]
fn brackets_in_strings_and_comments_do_not_nest() {
    let brackets = "[{".repeat(20);
    for (line, name) in [
        (format!("device = \"{brackets}\""), brackets.clone()),
        (format!("device = '{brackets}'"), brackets.clone()),
        (format!("device = \"\"\"{brackets}\"\"\""), brackets.clone()),
        (format!("device = '''{brackets}'''"), brackets.clone()),
        (format!("device = \"\\\"{brackets}\\\\\""), format!("\"{brackets}\\")),
        (format!("# \"{brackets}\ndevice = \"a\" # '{brackets}"), "a".to_owned()),
    ] {
        assert_eq!(plan(&line, &[], &[]).sensors[0].device, name);
    }
}

#[test]
fn huge_configurations_are_refused_with_little_effort() {
    let mebibyte = "[[sensor]]\n".repeat((1 << 20) / 11);
    assert_eq!(problems(&mebibyte, &[], &[]), "FILE: is longer than 262144 bytes");
    let within = "[[sensor]]\n".repeat((1 << 18) / 11);
    assert_eq!(problems(&within, &[], &[]), "FILE: line 8193, column 1: more than 16384 values");
    // Each key before a dot is a table, which takes as much memory as a value.
    let lines = |prefix: &str, end: &str| {
        let line = |n| format!("{prefix}{n:x}.a.a.a.a.a.a.a{end}\n");
        (0..5_000).map(line).collect::<String>()
    };
    for (text, at) in [
        (lines("", "=1"), "line 2049, column 4"),
        (lines("[", "]"), "line 2049, column 1"),
        (lines("", "={}"), "line 1821, column 12"),
        (lines("", "=1").replace(".a", ".''"), "line 2049, column 4"),
        (format!("[[sensor]]\n[sensor.labels]\n{}", lines("", "=1")), "line 2050, column 12"),
    ] {
        assert_eq!(problems(&text, &[], &[]), format!("FILE: {at}: more than 16384 values"));
    }
    // Dots in strings and comments do not separate keys.
    let dots = format!("# {0}\nhostname = \"a\" # {0}\ndevice = \"b\" # {0}\n", ".".repeat(20_000));
    assert_eq!(plan(&dots, &[], &[]).sensors[0].device, "b");
    assert_eq!(
        problems(&"[[sensor]]\n".repeat(257), &[], &[]),
        "FILE: has 257 sensors; at most 256 are supported"
    );
    let list = format!("[{}]", "{},".repeat(257));
    assert_eq!(
        problems("", &[("SENSOR", &list)], &[]),
        "environment INA260_EXPORTER_SENSOR: has 257 sensors; at most 256 are supported"
    );
    let huge = format!("[{}]", "{},".repeat(40_000));
    assert!(problems("", &[("SENSOR", &huge)], &[]).len() < 400);
    let networks = format!("allow = [{}]", "\"x\",".repeat(5_000));
    assert!(problems(&networks, &[], &[]).len() < 400);
}

#[test]
fn only_the_first_messages_are_shown() {
    let count = |text: &str| text.lines().count();
    let bad = "[[sensor]]\naddress = 1\nbus = -1\n".repeat(256);
    let message = problems(&bad, &[], &[]);
    assert_eq!(count(&message), 21);
    // The device is missing, and two values are wrong, in each of 256 tables.
    assert!(message.ends_with("\nand 748 more"), "{message}");
    let unknown =
        |count: usize| -> Vec<String> { (0..count).map(|n| format!("k{n} = 1\n")).collect() };
    assert!(problems(&unknown(30).concat(), &[], &[]).ends_with("\nand 10 more"));
    assert_eq!(count(&problems(&unknown(20).concat(), &[], &[])), 20);
    let names: Vec<String> = (0..1_000).map(|n| format!("K{n}")).collect();
    let variables: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert!(problems("", &variables, &[]).ends_with("\nand 980 more"));
    let long = "x".repeat(100_000);
    for key in ["DEVICE", "LOG", "MUX", "ALLOW", "LISTEN", "INTERVAL", "PORT", "SENSOR", &long] {
        assert!(problems("", &[(key, &long)], &[]).len() < 1_000, "{key:.20}");
    }
    let labels = format!("[[sensor]]\ndevice = \"a\"\nlabels = {{ {long} = 1, \"{long}-\" = 1 }}");
    assert!(problems(&labels, &[], &[]).len() < 1_000);
}

/// Returns a file with sensors on the first `buses` buses, two on each.
fn with_buses(buses: usize) -> String {
    let tables = (0..buses).flat_map(|bus| {
        ["0x40", "0x41"].map(|address| {
            format!("[[sensor]]\ndevice = \"{bus}-{address}\"\nbus = {bus}\naddress = {address}\n")
        })
    });
    tables.collect()
}

#[test]
fn number_of_buses_has_a_limit() {
    assert_eq!(plan(&with_buses(MAX_BUSES), &[], &[]).sensors.len(), 256);
    let one_each = with_buses(MAX_BUSES + 1).replace("[[sensor]]", "\n[[sensor]]");
    let one_each: Vec<&str> = one_each.split("\n\n").step_by(2).collect();
    assert_eq!(
        problems(&one_each.join("\n"), &[], &[]),
        "FILE: has 129 buses; at most 128 are supported (each needs a thread)"
    );
}

#[test]
fn unit_allows_a_thread_for_each_bus() {
    let unit = include_str!("../../systemd/ina260-exporter.service");
    let limit = |name: &str| {
        let mut lines = unit.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)).unwrap();
        value.trim_end_matches('M').parse::<usize>().unwrap()
    };
    // Besides the buses: main, signals, log, listener, connections, and some that render.
    assert!(limit("TasksMax=") >= MAX_BUSES + 32);
    // A descriptor of the bus and one of its lock.
    assert!(limit("LimitNOFILE=") >= 2 * MAX_BUSES + 128);
}

fn problem(path: &Path) -> String {
    let flags = Overrides { config: Some(path.to_owned()), ..Overrides::default() };
    let message = load(&flags, []).unwrap_err().to_string();
    message.replace(path.to_str().unwrap(), "FILE")
}

#[test]
fn only_regular_files_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let [pipe, socket, link] = ["pipe", "socket", "link"].map(|name| directory.path().join(name));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let _listener = UnixListener::bind(&socket).unwrap();
    std::os::unix::fs::symlink(&pipe, &link).unwrap();
    let devices = ["/dev/zero", "/dev/tty"].map(Path::new);
    for path in [pipe.as_path(), &link, &socket, directory.path()].into_iter().chain(devices) {
        let message = "FILE: is not a regular file (it must be readable more than once)";
        assert_eq!(problem(path), message, "{}", path.display());
    }
    // Stands for an empty file.
    let flags = Overrides { config: Some("/dev/null".into()), ..Overrides::default() };
    assert!(load(&flags, []).is_ok());
    fs::remove_file(&link).unwrap();
    fs::write(directory.path().join("file"), "interval = \"2s\"").unwrap();
    std::os::unix::fs::symlink("file", &link).unwrap();
    let flags = Overrides { config: Some(link), ..Overrides::default() };
    assert_eq!(load(&flags, []).unwrap().plan.sensors[0].interval.as_secs(), 2);
}
