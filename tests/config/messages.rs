//! Messages about common mistakes: each says what to write, and that is accepted.

use super::{plan, problems, try_load};

/// Returns the problem of a file, without the file's name.
fn message(file: &str) -> String {
    let message = problems(file, &[], &[]);
    message.strip_prefix("FILE: ").unwrap().to_owned()
}

/// Asserts that a line is refused, and that the message ends with a line that is accepted.
fn assert_suggests(head: &str, line: &str, meant: &str) {
    let message = message(&format!("{head}{line}\n"));
    let end = format!("; write {meant}");
    assert!(message.ends_with(&end) && !message.contains('\n'), "{line}: {message}");
    try_load(format!("{head}{meant}\n"), &[], &[]).unwrap();
}

/// Asserts that a value is refused, and that the message ends with one that is accepted.
fn assert_suggests_value(head: &str, key: &str, value: &str, meant: &str) {
    let message = message(&format!("{head}{key} = {value}\n"));
    let end = format!("; write {meant}");
    assert!(message.ends_with(&end) && !message.contains('\n'), "{key} = {value}: {message}");
    try_load(format!("{head}{key} = {meant}\n"), &[], &[]).unwrap();
}

const SENSOR: &str = "[[sensor]]\ndevice = \"a\"\n";

#[test]
fn nothing_is_suggested_for_half_a_value() {
    for (key, value) in [
        ("buckets", "[\"1 2\"]"),
        ("interval", "\"10 0ms\""),
        ("sensor", "[{device = \"a\", alert = {on = \"over-current\", limit = \"A\"}}]"),
    ] {
        let message = message(&format!("{key} = {value}\n"));
        assert!(!message.contains("; write "), "{message}");
    }
    assert_suggests_value("", "interval", "\"1 000us\"", "\"1000us\"");
}

#[test]
fn invalid_toml_gets_a_corrected_line() {
    for (line, meant) in [
        // YAML, INI, JSON, and shell.
        ("listen: 127.0.0.1:9000", "listen = \"127.0.0.1:9000\""),
        ("listen: \"[::]:9000\"  # all", "listen = \"[::]:9000\""),
        ("interval: 1s", "interval = \"1s\""),
        ("script_metrics: on", "script_metrics = true"),
        ("allow: 10.0.0.0/8", "allow = [\"10.0.0.0/8\"]"),
        ("address: 0X41", "address = 0x41"),
        ("\"interval\": \"1s\",", "interval = \"1s\""),
        ("interval = 1s;", "interval = \"1s\""),
        ("interval := 1s", "interval = \"1s\""),
        ("interval == \"1s\"", "interval = \"1s\""),
        ("interval => \"1s\"", "interval = \"1s\""),
        ("interval 1s", "interval = \"1s\""),
        // Quotes.
        ("device = orin", "device = \"orin\""),
        ("device = orin  # the board", "device = \"orin\""),
        ("device = \"orin", "device = \"orin\""),
        ("device = orin\"", "device = \"orin\""),
        ("device = 'orin\"", "device = \"orin\""),
        ("allow = [10.0.0.0/8, ::1]", "allow = [\"10.0.0.0/8\", \"::1\"]"),
        // Numbers and words.
        ("address = 0X40", "address = 0x40"),
        ("address = 4A", "address = 0x4a"),
        ("bus = 01", "bus = 1"),
        ("script_metrics = True", "script_metrics = true"),
        ("script_metrics = yes", "script_metrics = true"),
        ("wait_for_sensor = FALSE", "wait_for_sensor = false"),
        ("socket_mode = 0660", "socket_mode = \"0660\""),
        ("window = 1 m", "window = \"1m\""),
        ("buckets = 1,10", "buckets = [1, 10]"),
        ("buckets = [1; 10]", "buckets = [1, 10]"),
        ("buckets = [1 10 100]", "buckets = [1, 10, 100]"),
        ("mux = 0x70:3", "mux = { address = 0x70, channel = 3 }"),
        ("mux = { address: 0X70, channel: 3 }", "mux = { address = 0x70, channel = 3 }"),
        ("summary = off", "summary = \"0\""),
    ] {
        assert_suggests("", line, meant);
    }
    for (line, meant) in [
        ("configure = False", "configure = false"),
        ("alert = off", "alert = \"none\""),
        (
            "alert = { on: over-current, limit: 5A }",
            "alert = { on = \"over-current\", limit = \"5A\" }",
        ),
        ("labels = { rail: 12V }", "labels = { rail = \"12V\" }"),
        ("current_gain = 1,01", "current_gain = 1.01"),
        ("current_gain = .98", "current_gain = 0.98"),
        ("current_offset = -3.5mA", "current_offset = \"-3.5mA\""),
        ("voltage_conversion_time = 1100µs", "voltage_conversion_time = \"1100us\""),
    ] {
        assert_suggests(SENSOR, line, meant);
    }
}

#[test]
fn look_alikes_are_named_with_their_code_point() {
    for (line, character, meant) in [
        ("interval\u{a0}= \"1s\"", "U+00A0", "interval = \"1s\""),
        ("\u{3000}interval = \"1s\"", "U+3000", "interval = \"1s\""),
        ("interval = “1s”", "U+201C", "interval = \"1s\""),
        ("device = ‘orin’", "U+2018", "device = \"orin\""),
        ("interval = \"1s\"\u{200b}", "U+200B", "interval = \"1s\""),
        ("interval ＝ \"1s\"", "U+FF1D", "interval = \"1s\""),
    ] {
        assert_suggests("", line, meant);
        let message = message(line);
        assert!(message.contains(&format!("{character} is not allowed here")), "{message}");
    }
}

#[test]
fn headers_of_sensor_tables_are_corrected() {
    for line in ["sensor:", "sensors:", "[[sensor]", "[sensor", "[[ sensors ]"] {
        assert!(message(line).ends_with("; write [[sensor]]"), "{}", message(line));
    }
    assert_eq!(
        message("- device: orin"),
        "line 1, column 3: invalid TOML; write [[sensor]] on a line of its own, then \
         device = \"orin\""
    );
    // Editors do not show a byte order mark.
    assert_eq!(message("\u{feff}[sensor"), message("[sensor"));
    for file in ["[[sensors]]\ndevice = \"a\"", "[[Sensor]]\ndevice = \"a\""] {
        assert!(message(file).ends_with("is not a known key; write [[sensor]]"), "{file}");
    }
}

#[test]
fn values_are_corrected() {
    for (key, value, meant) in [
        ("interval", "\"1 s\"", "\"1s\""),
        ("interval", "\"1\u{a0}s\"", "\"1s\""),
        ("interval", "\"1S\"", "\"1s\""),
        ("interval", "\"1 second\"", "\"1s\""),
        ("interval", "1", "\"1s\""),
        ("interval", "1.5", "\"1.5s\""),
        ("interval", "\"0,5s\"", "\"0.5s\""),
        ("window", "\"2 Minutes\"", "\"2m\""),
        ("summary", "\"none\"", "\"0\""),
        ("summary", "0", "\"0\""),
        ("summary", "false", "\"0\""),
        ("log", "\"INFO\"", "\"info\""),
        ("log", "\"warning\"", "\"warn\""),
        ("script_metrics", "\"false\"", "false"),
        ("script_metrics", "0", "false"),
        ("bus", "\"1\"", "1"),
        ("bus", "1.0", "1"),
        ("bus", "\"i2c-7\"", "7"),
        ("bus", "\"Name:MCP2221\"", "\"name:MCP2221\""),
        ("device", "7", "\"7\""),
        ("device", "true", "\"true\""),
        ("hostname", "1.10", "\"1.10\""),
        ("listen", "9000", "\"0.0.0.0:9000\""),
        ("listen", "\":9000\"", "\"0.0.0.0:9000\""),
        ("listen", "\"*:9000\"", "\"0.0.0.0:9000\""),
        ("listen", "\"localhost:9000\"", "\"127.0.0.1:9000\""),
        ("listen", "\"::1\"", "\"[::1]:8000\""),
        ("listen", "\"::1:9000\"", "\"[::1]:9000\""),
        ("listen", "\":::9000\"", "\"[::]:9000\""),
        ("listen", "\"2001:db8:0:0:0:0:0:5\"", "\"[2001:db8:0:0:0:0:0:5]:8000\""),
        ("listen", "\"Unix:/run/A.sock\"", "\"unix:/run/A.sock\""),
        ("listen", "\"http://127.0.0.1:9000/metrics\"", "\"127.0.0.1:9000\""),
        ("listen", "\"/run/a.sock\"", "\"unix:/run/a.sock\""),
        ("listen", "\"unix:/run/A.sock/\"", "\"unix:/run/A.sock\""),
        ("socket_mode", "660", "\"660\""),
        ("socket_mode", "0o660", "\"0o660\""),
        ("allow", "\"10.0.0.0/8\"", "[\"10.0.0.0/8\"]"),
        ("allow", "\"10.0.0.0/8, ::1\"", "[\"10.0.0.0/8\", \"::1\"]"),
        ("buckets", "5", "[5]"),
        ("mux", "\"0x70:3\"", "{ address = 0x70, channel = 3 }"),
        ("mux", "\"off\"", "\"none\""),
    ] {
        assert_suggests_value("", key, value, meant);
    }
    for (key, value, meant) in [
        ("averaging", "\"Auto\"", "\"auto\""),
        ("voltage_conversion_time", "\"1.1 ms\"", "\"1.1ms\""),
        ("configure", "\"false\"", "false"),
        ("alert", "\"\"", "\"none\""),
        ("current_gain", "\"1.01\"", "1.01"),
        ("current_offset", "\"-3.5 ma\"", "\"-3.5mA\""),
        ("current_offset", "\"−3mA\"", "\"-3mA\""),
        ("voltage_conversion_time", "1100", "\"1100us\""),
    ] {
        assert_suggests_value(SENSOR, key, value, meant);
    }
    for (line, meant) in [
        ("mux = { address = 0x70, channel = \"1\" }", "1"),
        ("mux = { address = 70, channel = 1 }", "0x70 (decimal 70 is 0x46)"),
        ("alert = { on = \"over_current\", limit = \"5A\" }", "\"over-current\""),
        ("alert = { on = \"over-current\", limit = \"5 amps\" }", "\"5A\""),
        ("labels = { slot = 4 }", "\"4\""),
        ("allow = [\"localhost\"]", "\"127.0.0.1\""),
        ("buckets = [1, \"10\"]", "10"),
    ] {
        let head =
            if line.starts_with(['a', 'b']) && !line.starts_with("alert") { "" } else { SENSOR };
        let message = message(&format!("{head}{line}"));
        assert!(message.ends_with(&format!("; write {meant}")), "{message}");
    }
    assert_eq!(message("Interval = \"1s\""), "Interval is not a known key; write interval");
    assert_eq!(
        message("wait-for-sensor = true"),
        "wait-for-sensor is not a known key; write wait_for_sensor"
    );
}

#[test]
fn numbers_are_shown_as_they_were_written() {
    let expected = "is invalid; expected an integer from 0x40 to 0x4f";
    for (written, advice) in [
        ("40", "; write 0x40 (decimal 40 is 0x28)"),
        ("48", "; write 0x48 (decimal 48 is 0x30)"),
        ("80", ""),
        ("0x50", ""),
        ("0o77", ""),
        ("0b1", ""),
        ("1_000", ""),
        ("+5", ""),
        ("0x0000000000000000000001", ""),
    ] {
        let message = message(&format!("address = {written}"));
        assert_eq!(message, format!("address {written} {expected}{advice}"));
    }
    for (line, shown) in [
        ("buckets = [1e3, 1e2]", "buckets[2] 1e2 "),
        ("buckets = [1_0.50, 1_0.5]", "buckets[2] 1_0.5 "),
        ("interval = 1_000.0", "interval 1_000.0 "),
        ("hostname = 2024-01-01T00:00:00Z", "hostname 2024-01-01T00:00:00Z "),
    ] {
        assert!(message(line).starts_with(shown), "{}", message(line));
    }
}

#[test]
fn no_value_is_invented() {
    for line in [
        "bus = 256",
        "address = 0x50",
        "address = 0x4",
        "interval = \"61m\"",
        "interval = \"279us\"",
        "interval = \"1m30s\"",
        "listen = \"pi4:8000\"",
        "listen = 0",
        "bus = \"\"",
        "bus = \"name:\"",
        "bus = \"localhost\"",
        "mux = { address = 0x70, channel = \"\" }",
        "allow = [\"\"]",
        "allow = [\"*\"]",
        "buckets = [40, 40]",
        "buckets = \"\"",
        "mux = 112",
        "device = \"\"",
        "log = \"verbose\"",
        "[[sensor]]\ndevice = \"a\"\naveraging = 40",
        "[[sensor]]\ndevice = \"a\"\ncurrent_gain = -1",
        "[[sensor]]\ndevice = \"a\"\ncurrent_offset = 5",
        "[[sensor]]\ndevice = \"a\"\nalert = { on = \"over-current\", limit = 5 }",
    ] {
        let message = message(line);
        assert!(
            message.contains(" is invalid; expected ") && !message.contains("write"),
            "{message}"
        );
    }
}

#[test]
fn uncorrectable_values_show_what_is_expected() {
    for (file, message) in [
        (
            "interval = soon",
            "line 1, column 12: invalid TOML (invalid string; expected `\"`, `'`); expected \
             interval = a duration from \"280us\" to \"1h\"",
        ),
        (
            "interval = \"1s\"\ninterval = \"2s\"",
            "line 2, column 1: duplicate key `interval` in document root; remove one of them",
        ),
    ] {
        assert_eq!(self::message(file), message);
    }
    for file in [
        "device = \"a\" device = \"b\"",
        "=",
        "---",
        "{",
        "hello",
        "device = ",
        "buckets = [0.1,\n 1 2]",
        "; a",
    ] {
        let message = message(file);
        assert!(message.starts_with("line ") && message.contains("; expected "), "{message}");
    }
}

#[test]
fn errors_in_variables_and_flags_suggest_no_quotes() {
    let variable = |key, value| problems("", &[(key, value)], &[]);
    for (key, value, end) in [
        ("INTERVAL", "1", "expected a duration from 280us to 1h; write 1s"),
        ("INTERVAL", "soon", "expected a duration from 280us to 1h"),
        ("DEVICE", "", "expected a string of 1 to 255 printable bytes"),
        ("LOG", "WARNING", "expected one of error, warn, info, debug, trace; write warn"),
        ("SCRIPT_METRICS", "No", "expected true or false; write false"),
        ("SUMMARY", "never", "expected a duration from 1s to 24h, or 0 for none; write 0"),
        ("ADDRESS", "40", "0x40 to 0x4f; write 0x40"),
        ("LISTEN", "localhost:80", "with at most 107 bytes; write 127.0.0.1:80"),
        ("ALLOW", "10.0.0.0", ""),
        ("ALLOW", "lan", "expected a network such as 192.168.0.0/16 or ::1"),
        ("BUCKETS", "1,a", "expected a number above 0 and above the previous one"),
        ("SOCKET_MODE", "9", "expected an octal mode from 0000 to 0777"),
        ("MUX", "0X70:1", "expected an integer from 0x70 to 0x77; write 0x70"),
        ("MUX", "a", "(as a flag or variable, 0x70:7)"),
    ] {
        if end.is_empty() {
            plan("", &[(key, value)], &[]);
        } else {
            let message = variable(key, value);
            assert!(message.ends_with(end), "{message}");
            assert!(!message.contains("quotes"), "{message}");
        }
    }
    for (flag, end) in [
        (["--interval", "1 s"], "expected a duration from 280us to 1h; write 1s"),
        (["--log-level", "loud"], "expected one of error, warn, info, debug, trace"),
        (["--device", ""], "expected a string of 1 to 255 printable bytes"),
        (["--address", "40"], "expected an integer from 0x40 to 0x4f; write 0x40"),
    ] {
        let message = problems("", &[], &flag);
        assert!(message.ends_with(end), "{message}");
    }
}

#[test]
fn outer_spaces_of_names_are_removed() {
    let file = "hostname = \" pi4\\t\"\n[[sensor]]\ndevice = \"\u{a0}or in \"\n\
                labels = { \"rail \" = \" 12V\" }";
    let padded = plan(file, &[], &[]);
    assert_eq!((padded.hostname.as_str(), padded.sensors[0].device.as_str()), ("pi4", "or in"));
    assert_eq!(padded.sensors[0].labels, [("rail".to_owned(), "12V".to_owned())]);
    assert_eq!(plan("", &[("DEVICE", " orin\r")], &["--hostname", " pi4 "]).hostname, "pi4");
    assert_eq!(plan("", &[("DEVICE", " orin\r")], &[]).sensors[0].device, "orin");
    assert_eq!(
        message("[[sensor]]\ndevice = \"a\"\n[[sensor]]\ndevice = \"a \"\nbus = 2"),
        "sensor[2] \"a \": device \"a\" duplicates the device name of sensor[1] \"a\""
    );
    assert_eq!(
        message("[[sensor]]\ndevice = \"a\"\nlabels = { rail = \"1\", \" rail\" = \"2\" }"),
        "sensor[1] \"a\": labels contains the same name twice; remove one of the two"
    );
}

#[test]
fn invisible_characters_in_names_are_refused() {
    for c in [
        '\u{200b}',
        '\u{200d}',
        '\u{2060}',
        '\u{feff}',
        '\u{ad}',
        '\u{fe0f}',
        '\u{202e}',
        '\u{2066}',
        '\u{200e}',
        '\u{a0}',
        '\u{202f}',
        '\u{3000}',
        '\u{2028}',
        '\u{3164}',
        '\u{e0041}',
        '\u{85}',
        '\u{7}',
        '\u{1b}',
        '\u{fffd}',
        '\u{fffc}',
        '\u{2800}',
        '\u{34f}',
    ] {
        let code = u32::from(c);
        let why = match c {
            '\u{fffd}' => {
                "which stands for bytes that are not valid UTF-8; write the name in UTF-8"
            }
            _ => "which is invisible; remove it",
        };
        let reason = format!("contains U+{code:04X}, {why}");
        let shown = format!("\\u{{{code:x}}}");
        let name = format!("a\\U{code:08X}b");
        for (file, key) in [
            (format!("hostname = \"{name}\""), "hostname"),
            (format!("device = \"{name}\""), "device"),
            (format!("{SENSOR}labels = {{ rail = \"{name}\" }}"), "sensor[1] \"a\": labels.rail"),
        ] {
            assert_eq!(message(&file), format!("{key} \"a{shown}b\" {reason}"));
        }
        let variable = problems("", &[("DEVICE", &format!("a{c}b"))], &[]);
        assert!(variable.ends_with(&reason), "{variable}");
        let label = message(&format!("{SENSOR}labels = {{ \"{name}\" = \"x\" }}"));
        let label_start = format!("sensor[1] \"a\": labels.a{shown}b is not a label name");
        assert!(label.starts_with(&label_start), "{label}");
        let socket = message(&format!("listen = \"unix:/run/{name}\""));
        assert!(socket.starts_with("listen \"unix:/run/a\\u{"), "{socket}");
    }
    for name in ["Küche 12 V", "日本", "Ω-rail", "a’b", "😀", "12V – 2"] {
        assert_eq!(plan(&format!("device = \"{name}\""), &[], &[]).sensors[0].device, name);
    }
}
