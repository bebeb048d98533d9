//! `run` and `calibrate` of the built binary, and commands that read from a running service.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use ratatui::text::Span;
use rustix::io::ioctl_fionbio;
use serde_json::Value;
use support::{
    Daemon, Directory, Ended, Launch, TIMEOUT, daemon, free_port, get, kill, run, text, until,
};

mod support;

/// Runs the binary on simulated sensors of this configuration.
fn run_with(config: &str, arguments: &[&str]) -> Ended {
    let directory = Directory::new();
    let config = directory.write("test.toml", config);
    let (command, rest) = arguments.split_first().unwrap();
    run(&[&[*command, "--simulate", "--config", text(&config)], rest].concat())
}

#[test]
fn bad_usage_exits_with_125_and_runs_nothing() {
    for (arguments, message) in [
        (&["run"][..], "<COMMAND>"),
        (&["run", "--"], "<COMMAND>"),
        (&["run", "--repeat", "0", "--", "true"], "0 is not in 1.."),
        (&["run", "--repeat", "-1", "--", "true"], "-1 is not in 1.."),
        (&["run", "--warmup", "-1", "--", "true"], "-1 is not in 0.."),
        (&["run", "--idle", "61m", "--", "true"], "at most 1h"),
        (&["run", "--idle", "0s", "--", "true"], "above 0"),
        (
            &["run", "--device", "gpu", "--", "true"],
            "--device gpu is not configured; expected one of cpu, disks",
        ),
        (&["run", "--interval", "300us", "--", "true"], "is more than bus 1 can carry"),
        (&["run", "--output", "/nonexistent/file", "--", "true"], "--output /nonexistent/file: "),
        (&["run", "--sum", "--csv", "--", "true"], "--sum: a sensor is named sum"),
    ] {
        let config = "[[sensor]]\ndevice = \"cpu\"\n\
                      [[sensor]]\ndevice = \"disks\"\naddress = 0x41\n\
                      [[sensor]]\ndevice = \"sum\"\naddress = 0x42\n";
        let directory = Directory::new();
        let config = directory.write("test.toml", config);
        let before = ["run", "--simulate", "--config", text(&config)];
        let ended = run(&[&before, &arguments[1..]].concat());
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(125), ""), "{arguments:?}");
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
    }
    let ended = run_with("interval = \"soon\"\n", &["run", "--", "true"]);
    assert_eq!(ended.code, Some(125), "{}", ended.stderr);
}

#[test]
fn streams_and_exit_code_are_those_of_the_command() {
    let script = "echo out; echo err >&2; sleep 0.3; exit 3";
    let ended = run_with("", &["run", "--", "sh", "-c", script]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), "out\n"));
    assert!(ended.stderr.starts_with("err\n deepx  "), "{}", ended.stderr);
    for part in [" J ± ", " W mean    ", " W max    ", " V min    ", " s"] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
    let ended = run_with("", &["run", "--", "/nonexistent"]);
    assert_eq!(ended.code, Some(127));
    assert!(ended.stderr.contains("cannot run \"/nonexistent\": "), "{}", ended.stderr);
}

#[test]
fn ignored_signal_stays_ignored_in_the_command() {
    let program = env!("CARGO_BIN_EXE_ina260-exporter");
    let script = "trap '' HUP; exec \"$@\"";
    let flags = ["run", "--simulate", "--config", "/dev/null", "--output", "/dev/null", "--"];
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", program]).args(flags);
    let ended = command.args(["grep", "SigIgn", "/proc/self/status"]).output().unwrap();
    let mask = String::from_utf8(ended.stdout).unwrap();
    let mask = u64::from_str_radix(mask.strip_prefix("SigIgn:").expect(&mask).trim(), 16);
    // SIGHUP is 1; what this program handles itself has its default action in the command.
    assert_eq!(mask.unwrap() & 1, 1);
}

#[test]
fn script_without_interpreter_runs_as_with_env() {
    let directory = Directory::new();
    // The shell writes it: a file that this process has open for writing cannot be executed.
    // A file that cannot be executed is passed over.
    let script = "cd \"$1\"; shift; echo 'echo \"$1\"; exit 9' > script; chmod +x script; \
                  mkdir other; echo 'echo wrong' > other/script; PATH=$PWD/other:$PWD:$PATH; \
                  \"$@\" ./script path; test $? = 9; \"$@\" script name";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", text(&directory.path(""))]).args(support::program());
    command.args(["run", "--simulate", "--config", "/dev/null", "--"]);
    let ended = command.output().unwrap();
    let stdout = String::from_utf8(ended.stdout).unwrap();
    assert_eq!((ended.status.code(), stdout.as_str()), (Some(9), "path\nname\n"));
}

#[test]
fn exit_code_is_known_although_sigchld_is_ignored() {
    let mut command = Command::new("env");
    command.arg("--ignore-signal=CHLD").args(support::program());
    command.args(["run", "--simulate", "--config", "/dev/null", "--", "sh", "-c", "exit 3"]);
    let ended = command.output().unwrap();
    assert_eq!(ended.status.code(), Some(3), "{ended:?}");
}

#[test]
fn text_has_the_sum_and_the_net_energy() {
    let config = "[[sensor]]\ndevice = \"cpu\"\n[[sensor]]\ndevice = \"disks\"\naddress = 0x41\n";
    let ended = run_with(config, &["run", "--sum", "--idle", "300ms", "--", "sleep", "0.3"]);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    let joules = |line: &&str| line[8..].split_once(" J ± ").unwrap().0.to_owned();
    let joules: Vec<String> = lines[..3].iter().map(joules).collect();
    // A less certain energy, as on a busy machine, is printed with fewer decimals.
    let rounding =
        |it: &String| it.split('.').skip(1).flat_map(str::bytes).fold(0.501, |it, _| it / 10.0);
    let rounding: f64 = joules.iter().map(rounding).sum();
    let joules: Vec<f64> = joules.iter().map(|it| it.parse().unwrap()).collect();
    let starts = [" cpu    ", " disks  ", " sum    "];
    assert!(starts.iter().zip(&lines).all(|(start, it)| it.starts_with(start)), "{lines:?}");
    assert!((joules[0] + joules[1] - joules[2]).abs() < rounding, "{lines:?}");
    assert!(lines[..3].iter().all(|line| line.contains("    net of idle (")), "{lines:?}");
    let ended = run_with(config, &["run", "--device", "disks", "--", "sleep", "0.3"]);
    assert!(ended.stderr.starts_with(" disks  ") && !ended.stderr.contains("cpu"));
    let ended = run_with("", &["run", "--json", "--output", "/dev/stdout", "--", "sleep", "0.3"]);
    assert!(ended.stdout.starts_with("{\n") && ended.stderr.is_empty(), "{}", ended.stderr);
}

#[test]
fn columns_line_up_after_names_of_any_script() {
    let names = ["日本語の電源", "e\u{301}e\u{301}e\u{301} x", "ascii name"];
    let table = |(n, name)| format!("[[sensor]]\ndevice = \"{name}\"\naddress = {}\n", 0x40 + n);
    let config: String = (0..).zip(names).map(table).collect();
    let ended = run_with(&config, &["run", "--", "sleep", "0.3"]);
    // The energy begins 2 columns after the longest name, which is 12 columns wide, after a space.
    for line in ended.stderr.lines().take(3) {
        let padded = line.split_once(|c: char| c.is_ascii_digit()).unwrap().0;
        assert_eq!(Span::raw(padded).width(), 1 + 12 + 2, "{}", ended.stderr);
    }
}

#[test]
fn json_and_csv_have_every_run() {
    let config = "[[sensor]]\ndevice = \"cpu\"\n[[sensor]]\ndevice = \"a,b\"\naddress = 0x41\n";
    let flags = ["run", "--repeat", "2", "--sum", "--idle", "300ms"];
    let ended = run_with(config, &[&flags[..], &["--json", "--", "sleep", "0.3"]].concat());
    let json: Value = serde_json::from_str(&ended.stderr).unwrap();
    let energy = |value: &Value| value["energy_joules"].as_f64().unwrap();
    let sensors = json["sensors"].as_array().unwrap();
    let sum = energy(&sensors[0]) + energy(&sensors[1]);
    assert!((energy(&json["sum"]) / sum - 1.0).abs() < 1e-6, "{json}");
    let of_runs = energy(&json["runs"][0]["sum"]) + energy(&json["runs"][1]["sum"]);
    assert!((of_runs / 2.0 / sum - 1.0).abs() < 1e-6, "{json}");
    assert_eq!((json["runs"].as_array().unwrap().len(), &sensors[1]["device"]), (2, &"a,b".into()));
    assert!(sensors[0]["net_joules"].is_number() && json["runs"][1]["exit_code"] == 0);
    let first = &json["runs"][0]["sensors"][0];
    assert!((0.3..5.0).contains(&first["duration_seconds"].as_f64().unwrap()), "{json}");
    let mean = f64::midpoint(energy(first), energy(&json["runs"][1]["sensors"][0]));
    assert!((energy(&sensors[0]) / mean - 1.0).abs() < 1e-9, "{json}");
    assert!(sensors[0]["runs"] == 2 && sensors[0]["standard_deviation_joules"].is_number());

    let directory = Directory::new();
    let output = directory.path("runs.csv");
    let to = ["--csv", "--output", text(&output), "--", "sleep", "0.3"];
    let ended = run_with(config, &[&flags[..], &to].concat());
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let csv = fs::read_to_string(output).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines[0].starts_with("run,device,exit_code,partial,energy_joules,"), "{csv}");
    assert!(lines.len() == 7 && lines[5].starts_with("2,\"a,b\",0,false,"), "{csv}");
    let joules = |line: &str| -> f64 { line.split(',').nth(4).unwrap().parse().unwrap() };
    // The comma of a name is not one of the line.
    let (own, other) = (joules(lines[1]), joules(&lines[2].replace("a,b", "")));
    assert!(lines[3].starts_with("1,sum,0,false,"), "{csv}");
    assert!((joules(lines[3]) - own - other).abs() < 1e-9, "{csv}");
}

#[test]
fn file_size_limit_is_an_error_of_the_write() {
    let directory = Directory::new();
    let output = directory.path("output");
    let script = "ulimit -f 0; exec \"$@\" > \"$FILE\"";
    let to_file = ["run", "--output", "/dev/stdout", "--", "true"];
    for (arguments, code) in [(&to_file[..], 125), (&["read"], 1), (&["--check-config"], 1)] {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).args(support::program()).args(arguments.split_at(1).0);
        command.args(["--simulate", "--config", "/dev/null"]).args(arguments.split_at(1).1);
        let ended = command.env("FILE", &output).output().unwrap();
        let message = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(code), "{message}");
        // EFBIG, see errno(3).
        assert!(message.contains("cannot write: File too large"), "{message}");
    }
}

#[test]
fn ctrl_c_reaches_command_and_result_is_printed() {
    let script = "trap 'echo caught; exit 7' INT; echo ready; while :; do sleep 0.01; done";
    let mut child = daemon(&["run", "--simulate", "--config", "/dev/null", "--repeat", "3", "--"])
        // This test may be a shell's background job, which ignores SIGINT.
        .args(["env", "--default-signal=INT", "sh", "-c", script])
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "ready");
    thread::sleep(Duration::from_millis(300));
    // To every process of the group, as a terminal does.
    kill("INT", &format!("-{}", child.id()));
    assert_eq!(lines.next().unwrap(), "caught");
    let status = until("the end", || child.try_wait().unwrap());
    let mut report = String::new();
    child.stderr.take().unwrap().read_to_string(&mut report).unwrap();
    assert_eq!(status.code(), Some(7), "{report}");
    assert!(report.contains(" J ± ") && report.contains("run 1 of 3 ended with exit code 7"));
}

#[test]
fn signal_ends_a_print_into_a_full_pipe() {
    let script = "echo > \"$0\"; exit $1";
    for (flags, code, signal, number) in [
        (&[][..], "0", "TERM", 15),
        (&["--verbose"], "0", "INT", 2),
        (&["--json"], "0", "HUP", 1),
        (&["--csv", "--output", "/dev/stdout"], "0", "QUIT", 3),
        // Prints only a message.
        (&["--warmup", "1"], "1", "TERM", 15),
    ] {
        let directory = Directory::new();
        let started = directory.path("started");
        let (_unread, mut pipe) = io::pipe().unwrap();
        fill(&mut pipe);
        let mut child = daemon(&["run", "--simulate", "--config", "/dev/null"])
            .args(flags)
            .args(["--", "sh", "-c", script, text(&started), code])
            .stdout(pipe.try_clone().unwrap())
            .stderr(pipe)
            .spawn()
            .unwrap();
        until("signals are caught", || started.exists().then_some(()));
        // The first ones may still end the command.
        let status = until("the end", || {
            let status = child.try_wait().unwrap();
            if status.is_none() {
                kill(signal, &child.id().to_string());
            }
            status
        });
        assert_eq!(status.code(), Some(128 + number), "{flags:?}: {status}");
    }
}

fn fill(pipe: &mut io::PipeWriter) {
    ioctl_fionbio(&pipe, true).unwrap();
    while pipe.write(&[0; 1]).is_ok() {}
    ioctl_fionbio(&pipe, false).unwrap();
}

#[test]
fn failed_warm_up_is_reported() {
    let ended = run_with("", &["run", "--warmup", "2", "--", "sh", "-c", "exit 7"]);
    assert_eq!(ended.code, Some(7), "{}", ended.stderr);
    assert!(ended.stderr.contains("no run was measured (a warm-up run failed"), "{}", ended.stderr);
}

/// A command with a session, and so a process group, of its own in a terminal.
#[test]
fn ctrl_c_reaches_a_command_that_changed_its_group() {
    let program = support::program().join(" ");
    let command = "trap 'exit 7' INT; echo ready; for i in \\$(seq 1000); do sleep 0.01; done";
    // This test may be a shell's background job, which ignores SIGINT. A shell that waits for the
    // program would end with the code of its own SIGINT.
    let script = format!(
        "exec env --default-signal=INT {program} run --simulate --config /dev/null -- \
         setsid sh -c \"{command}\""
    );
    let mut child = Command::new("script")
        .args(["-qec", &script, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap().trim_end(), "ready");
    child.stdin.as_ref().unwrap().write_all(b"\x03").unwrap();
    // Reads on: a terminal whose output is not read blocks.
    lines.for_each(drop);
    let status = until("the end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(7));
}

/// As with env(1), which becomes the command: a signal from a key or kill(1) reaches it once.
#[test]
fn each_signal_in_a_terminal_reaches_the_command_once() {
    let program = support::program().join(" ");
    let command = "for it in INT QUIT USR1; do trap 'echo caught' \\$it; done; trap 'exit 7' TERM; \
                   echo \\$PPID; while :; do sleep 0.01; done";
    let script = format!(
        "exec env --default-signal=INT,QUIT {program} run --simulate --config /dev/null -- \
         sh -c \"{command}\""
    );
    let mut child = Command::new("script")
        .args(["-qec", &script, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let program = lines.next().unwrap();
    let caught = thread::spawn(|| lines.filter(|line| line.trim_end().ends_with("caught")).count());
    let pause = || thread::sleep(Duration::from_millis(500));
    for signal in ["INT", "QUIT", "USR1", "TERM"] {
        pause();
        kill(signal, program.trim_end());
        if signal == "QUIT" {
            pause();
            child.stdin.as_ref().unwrap().write_all(b"\x03").unwrap();
        }
    }
    let status = until("the end", || child.try_wait().unwrap());
    assert_eq!((status.code(), caught.join().unwrap()), (Some(7), 4));
}

/// Locks bus 200, and serves what `body` returns as the metrics of the service that uses it.
fn serve(
    directory: &Directory,
    port: u16,
    mut body: impl FnMut(&mut TcpStream) -> Option<String> + Send + 'static,
) -> File {
    let lock = File::create(directory.path("bus-200.lock")).unwrap();
    lock.try_lock().unwrap();
    writeln!(&lock, "http://127.0.0.1:{port}/metrics").unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map(Result::unwrap) {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let Some(body) = body(&mut stream) else { return };
            let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    lock
}

/// Serves the metrics of a daemon with a simulated sensor, for as long as it runs.
fn service(directory: &Directory, port: u16, exporter: &Arc<Mutex<Daemon>>) -> File {
    let exporter = Arc::downgrade(exporter);
    serve(directory, port, move |_| {
        let body = get(exporter.upgrade()?.lock().unwrap().listen(), "/metrics").body;
        Some(body.replace("bus=\"simulated\"", "bus=\"200\""))
    })
}

/// Returns metrics of sensors downstream of a mux on bus 200, and their configuration.
fn downstream(count: usize) -> (String, String) {
    let golden = include_str!("exposition/alert-and-multiplexer.prom");
    let golden = golden.replace("bus=\"1\"", "bus=\"200\"");
    let metrics = (0..count).map(|n| {
        let own = golden.replace("device=\"gpu\"", &format!("device=\"{n}\""));
        own.replace("0x70:3", &format!("0x70:{n}"))
    });
    let tables = (0..count).map(|n| {
        let mux = format!("{{ address = 0x70, channel = {n} }}");
        format!("[[sensor]]\ndevice = \"{n}\"\nbus = 200\nmux = {mux}\naddress = 0x41\n")
    });
    (metrics.collect(), tables.collect())
}

#[test]
fn service_is_scraped_once_for_all_sensors() {
    let directory = Directory::new();
    let (metrics, config) = downstream(3);
    let requests = Arc::new(AtomicUsize::new(0));
    let count = requests.clone();
    let _lock = serve(&directory, free_port(), move |_| {
        count.fetch_add(1, Relaxed);
        Some(metrics.clone())
    });
    let config = directory.write("test.toml", &config);
    let read = |arguments: &[&str]| {
        let mut command = daemon(&["read", "--config", text(&config)]);
        command.args(arguments).env("RUNTIME_DIRECTORY", directory.path(""));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let json = read(&["--json"]);
    assert_eq!(json.matches("\"power_watts\": 22.47").count(), 3, "{json}");
    assert_eq!(requests.load(Relaxed), 1);
    // Results that follow are new ones.
    let csv = read(&["--follow", "--interval", "100ms", "--for", "2s"]);
    assert!(requests.load(Relaxed) > 2, "{csv}");
}

#[test]
fn signal_is_passed_on_while_the_service_hangs() {
    let directory = Directory::new();
    let (metrics, config) = downstream(1);
    let [started, caught] = ["started", "caught"].map(|name| directory.path(name));
    let (hangs, hanging) = mpsc::channel();
    let (begun, passed_on) = (started.clone(), caught.clone());
    let _lock = serve(&directory, free_port(), move |stream| {
        if !begun.exists() {
            return Some(metrics.clone());
        }
        // Until the client closes the connection.
        _ = hangs.send(None);
        _ = stream.read(&mut [0]);
        _ = hangs.send(Some(passed_on.exists()));
        None
    });
    let config = directory.write("test.toml", &config);
    let script = "trap 'touch \"$1\"; exit 7' TERM; touch \"$0\"; while :; do sleep 0.05; done";
    let mut command = daemon(&["run", "--config", text(&config), "--", "sh", "-c", script]);
    command.args([text(&started), text(&caught)]).env("RUNTIME_DIRECTORY", directory.path(""));
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(hanging.recv_timeout(TIMEOUT), Ok(None));
    kill("TERM", &child.id().to_string());
    assert_eq!(
        hanging.recv_timeout(TIMEOUT),
        Ok(Some(true)),
        "passed on before the scrape has failed"
    );
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

fn simulated() -> Daemon {
    let daemon = Launch::simulated("").arguments(&["--interval", "100ms"]).start();
    daemon.scrape_until("a sensor", |scrape| {
        !scrape.all("ina260_sensor_info", &[]).is_empty()
            && !scrape.all("ina260_power_watts", &[]).is_empty()
    });
    daemon
}

#[test]
fn service_on_the_bus_is_read() {
    let directory = Directory::new();
    let (port, exporter) = (free_port(), Arc::new(Mutex::new(simulated())));
    let url = format!("http://127.0.0.1:{port}/metrics");
    let _lock = service(&directory, port, &exporter);
    let config = directory.write("test.toml", "bus = 200\n");
    let runtime = directory.path("").display().to_string();
    let run = |arguments: &[&str]| {
        let mut command = daemon(&["run", "--config", text(&config)]);
        let output = command.args(arguments).env("RUNTIME_DIRECTORY", &runtime).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, report) = run(&["--json", "--", "sleep", "2.5"]);
    let json: Value = serde_json::from_str(&report).unwrap();
    let sensor = &json["sensors"][0];
    // The simulated board draws 2.5 W to 9.7 W.
    let watts = sensor["mean_watts"].as_f64().unwrap();
    assert!(code == Some(0) && (2.0..10.0).contains(&watts), "{report}");
    assert!(sensor["service"].as_str().unwrap().contains(&url), "{report}");
    assert!(sensor["notes"][0].as_str().unwrap().contains("measured through"), "{report}");
    assert!(sensor["uncertainty_joules"].as_f64().unwrap() < 20.0, "{report}");

    let (code, report) = run(&["--direct", "--", "true"]);
    assert_eq!(code, Some(125));
    assert!(report.contains(&format!("in use by the service at {url}")), "{report}");
    assert!(report.contains("omit --direct to measure through it"), "{report}");

    directory.write("test.toml", "bus = 200\naddress = 0x41\n");
    let (_, report) = run(&["--direct", "--", "true"]);
    assert!(report.ends_with("does not measure this sensor); stop it first\n"), "{report}");
    let (_, report) = run(&["--", "true"]);
    assert!(report.ends_with("; stop it first, or configure the sensor there\n"), "{report}");
    directory.write("test.toml", "bus = 200\n");

    let restarting = exporter.clone();
    let restart = thread::spawn(move || {
        thread::sleep(Duration::from_secs(2));
        let restarted = simulated();
        *restarting.lock().unwrap() = restarted;
    });
    let (code, report) = run(&["--", "sleep", "5"]);
    restart.join().unwrap();
    assert_eq!(code, Some(0));
    assert!(report.contains("counters of the service were reset (restart)"), "{report}");
    assert!(report.contains("measured through the service at "), "{report}");
}

#[test]
fn program_without_metrics_is_not_advised() {
    let directory = Directory::new();
    let lock = File::create(directory.path("bus-200.lock")).unwrap();
    lock.try_lock().unwrap();
    writeln!(&lock, "ina260-exporter watch").unwrap();
    let config = directory.write("test.toml", "bus = 200\n");
    for arguments in [
        &["run", "--direct", "--", "true"][..],
        &["run", "--", "true"],
        &["calibrate", "--zero", "--direct"],
    ] {
        let mut command = daemon(&[arguments[0], "--config", text(&config)]);
        command.args(&arguments[1..]).env("RUNTIME_DIRECTORY", directory.path(""));
        let ended = command.output().unwrap();
        assert_eq!(
            String::from_utf8(ended.stderr).unwrap(),
            "sensor deepx (bus 200, 0x40): not measured (bus 200 is in use by another process; \
             ina260-exporter watch serves no metrics); stop it first\n"
        );
    }
}

#[test]
fn calibrate_explains_unusable_averages() {
    let two = "[[sensor]]\ndevice = \"cpu\"\n[[sensor]]\ndevice = \"disks\"\naddress = 0x41\n";
    let shunt = "[[sensor]]\ndevice = \"deepx\"\ncurrent_gain = 30.0\n";
    for (config, arguments, code, message) in [
        ("", &["calibrate"][..], 2, "--zero|--current <CURRENT>|--voltage <VOLTAGE>"),
        ("", &["calibrate", "--current", "0A"], 2, "without a current, use --zero"),
        ("", &["calibrate", "--current", "2.5"], 2, "such as 2.500A"),
        ("", &["calibrate", "--current", "-16A"], 2, "from -15A to 15A"),
        (shunt, &["calibrate", "--current", "451A"], 2, "from -450A to 450A"),
        // An external shunt: refused only because a different current flows.
        (
            shunt,
            &["calibrate", "--current", "60A", "--for", "1s"],
            1,
            "sensor deepx (bus 1, 0x40): the c",
        ),
        ("", &["calibrate", "--current", "1e999A"], 2, "such as 2.500A"),
        ("", &["calibrate", "--voltage", "1e999V"], 2, "such as 12.003V"),
        ("", &["calibrate", "--current", "-2.5A", "--for", "0s"], 2, "for '--for <DURATION>'"),
        ("", &["calibrate", "--voltage", "-3V"], 2, "expected a voltage above 0"),
        ("", &["calibrate", "--voltage", "12A"], 2, "such as 12.003V"),
        (
            "",
            &["calibrate", "--zero", "--device", "gpu"],
            2,
            "is not configured; expected one of deepx",
        ),
        (two, &["calibrate", "--zero"], 2, "--device is missing; expected one of cpu, disks"),
        // The simulated load cannot be switched off.
        ("", &["calibrate", "--zero", "--for", "1s"], 1, "sensor deepx (bus 1, 0x40): the c"),
    ] {
        let ended = run_with(config, arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{}", ended.stderr);
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
    }
}
