//! The built binary in hostile surroundings: outputs that block or are full, values that make no
//! sense. Measuring continues, and a signal ends it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use support::{Directory, Launch, NotifySocket, TIMEOUT, daemon, get, text, until, within};

mod support;

fn results(listen: &str) -> Option<f64> {
    // Until it listens, there is nothing to connect to.
    std::net::TcpStream::connect(listen).ok()?;
    get(listen, "/metrics").scrape().value("ina260_results_total", &[])
}

/// Waits for this many more results; a busy machine misses many.
fn wait_for_results(listen: &str, count: f64) {
    let before = until("a first result", || results(listen).filter(|results| *results > 0.0));
    within(4 * TIMEOUT, "more results", || {
        results(listen).filter(|results| *results >= before + count)
    });
}

#[test]
fn full_standard_error_does_not_stop_measuring() {
    let directory = Directory::new();
    let pipe = directory.path("stderr");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Opened, but not read: O_NONBLOCK, or it would wait for a writer.
    let unread = OpenOptions::new().read(true).custom_flags(0o4000).open(&pipe).unwrap();
    let mut daemon = Launch::simulated("")
        .arguments(&["--interval", "1ms", "--log-level", "trace"])
        .environment("PIPE", text(&pipe))
        .through("exec \"$@\" 2> \"$PIPE\"")
        .spawn();
    // Several lines for each result: a mebibyte is queued, and the rest is dropped.
    wait_for_results(daemon.listen(), 8_000.0);
    // Once the pipe is read, the queued lines are written, and then a line that counts the dropped
    // ones.
    let reader = File::open(&pipe).unwrap();
    drop(unread);
    let reader = thread::spawn(move || {
        let lines = BufReader::new(reader).lines().map_while(Result::ok);
        let is_report = |line: &String| {
            line.contains("log messages dropped since start-up: ")
                && line.ends_with(" (the log could not be written)")
        };
        lines.filter(is_report).count()
    });
    wait_for_results(daemon.listen(), 100.0);
    assert_eq!(daemon.stop("TERM").0, Some(0));
    assert!(reader.join().unwrap() > 0);
}

#[test]
fn full_standard_error_does_not_prevent_a_stop() {
    let directory = Directory::new();
    let pipe = directory.path("stderr");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let _unread = OpenOptions::new().read(true).custom_flags(0o4000).open(&pipe).unwrap();
    let mut daemon = Launch::simulated("")
        .arguments(&["--interval", "1ms", "--log-level", "trace"])
        .environment("PIPE", text(&pipe))
        .through("exec \"$@\" 2> \"$PIPE\"")
        .spawn();
    wait_for_results(daemon.listen(), 2_000.0);
    // The daemon tries to write its messages for a second. Further signals do not change its end.
    for _ in 0..4 {
        daemon.signal("TERM");
        thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn log_file_at_its_size_limit_does_not_stop_measuring() {
    let directory = Directory::new();
    let log = directory.path("log");
    let mut daemon = Launch::simulated("")
        .arguments(&["--interval", "1ms", "--log-level", "trace"])
        .environment("LOG", text(&log))
        // One block of 512 bytes.
        .through("ulimit -f 1; exec \"$@\" 2> \"$LOG\"")
        .spawn();
    wait_for_results(daemon.listen(), 100.0);
    assert_eq!(std::fs::metadata(&log).unwrap().len(), 512);
    assert_eq!(daemon.stop("TERM").0, Some(0));
}

#[test]
fn unread_notify_socket_does_not_stop_measuring() {
    let directory = Directory::new();
    let path = directory.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    while sender.send_to(b"fills the queue", &path).is_ok() {}
    let launch = || {
        Launch::simulated("")
            .arguments(&["--interval", "10ms"])
            .environment("NOTIFY_SOCKET", text(&path))
            .environment("WATCHDOG_USEC", "3000000")
            .spawn()
    };
    let mut daemon = launch();
    wait_for_results(daemon.listen(), 100.0);
    assert_eq!(daemon.stop("TERM").0, Some(0));

    let mut daemon = launch();
    // Long enough for more notifications than the queue holds.
    wait_for_results(daemon.listen(), 1_000.0);
    // The end of start-up is reported as soon as there is room.
    let mut buffer = [0; 4096];
    until("READY=1", || {
        let length = socket.recv(&mut buffer).unwrap();
        buffer[..length].starts_with(b"READY=1\n").then_some(())
    });
    daemon.wait_for_line("the service manager accepts notifications again; ");
    assert_eq!(daemon.stop("TERM").0, Some(0));
}

#[test]
fn notify_socket_may_be_abstract() {
    let name = format!("ina260-exporter-{}", std::process::id());
    let socket = SocketAddr::from_abstract_name(&name).and_then(|it| UnixDatagram::bind_addr(&it));
    let socket = socket.unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    let _daemon = Launch::simulated("").environment("NOTIFY_SOCKET", &format!("@{name}")).start();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"READY=1\n");
}

#[test]
fn unusable_watchdog_timeout_disables_the_watchdog() {
    for timeout in ["0", "1", "-5", "18446744073709551616"] {
        let notify_socket = NotifySocket::new();
        let _daemon = Launch::simulated("")
            .notify(&notify_socket, None)
            .environment("WATCHDOG_USEC", timeout)
            .start();
        notify_socket.wait_for(2, "STATUS=");
        assert_eq!(notify_socket.all("WATCHDOG=1").len(), 0, "{timeout}");
    }
}

/// Runs the binary with an empty configuration and this standard output. Returns the exit code and
/// what is on standard error.
fn output_to(stdout: impl Into<Stdio>, arguments: &[&str]) -> (Option<i32>, String) {
    let ended = daemon(arguments)
        .env("INA260_EXPORTER_INTERVAL", "10ms")
        .stdout(stdout)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
}

#[test]
fn full_disk_is_exit_code_1_and_closed_pipe_is_quiet() {
    let config = ["--config", "/dev/null"];
    for (arguments, has_config) in [
        (&["--help"][..], false),
        (&["-h"], false),
        (&["--version"], false),
        (&["help"], false),
        (&["help", "read"], false),
        (&["scan", "--help"], false),
        (&["read", "--help"], false),
        (&["watch", "--help"], false),
        (&["--check-config"], true),
        (&["read", "--simulate"], true),
        (&["read", "--simulate", "--json"], true),
        (&["read", "--simulate", "--follow"], true),
    ] {
        let config = if has_config { &config[..] } else { &[] };
        let arguments = [arguments, config].concat();
        let (code, message) = output_to(File::create("/dev/full").unwrap(), &arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {message}");
        assert!(message.starts_with("cannot write: No space left"), "{arguments:?}: {message}");

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(output_to(writer, &arguments), (Some(0), String::new()), "{arguments:?}");
    }
}
