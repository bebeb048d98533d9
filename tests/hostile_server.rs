//! `watch` with servers that send more than any exporter, and in unrealistically large terminals:
//! its memory is bounded, and it can always be ended.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use support::{kill, program, until};

mod support;

/// Serves clients, each with what `send` writes after the head.
fn serve(send: impl Fn(&mut dyn Write) -> std::io::Result<()> + Send + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            // Fails when the client closes the connection.
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").and_then(|()| send(&mut stream));
        }
    });
    address
}

/// `watch` in a terminal, which is that of script(1).
struct Watch {
    script: Child,
    keys: ChildStdin,
    output: Arc<Mutex<String>>,
}

impl Watch {
    /// Starts `watch` in a terminal of this size; unless `is_read`, the terminal takes no output.
    fn start(rows: u16, columns: u16, is_read: bool, arguments: &str) -> Self {
        // As for `support::daemon`.
        let program = format!("env --default-signal=HUP,INT,QUIT {}", program().join(" "));
        let command = format!("stty rows {rows} cols {columns}; exec {program} watch {arguments}");
        let mut script = Command::new("script")
            .args(["--quiet", "--return", "--flush", "--command", &command, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (keys, mut stdout) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
        let output = Arc::<Mutex<String>>::default();
        let shared = output.clone();
        thread::spawn(move || {
            let mut part = [0; 8 << 10];
            if !is_read {
                // Stays open, unread.
                thread::sleep(Duration::from_secs(120));
            }
            while let Ok(count @ 1..) = stdout.read(&mut part) {
                shared.lock().unwrap().push_str(&String::from_utf8_lossy(&part[..count]));
            }
        });
        Self { script, keys, output }
    }

    fn pid(&self) -> u32 {
        let id = self.script.id();
        until("a process in the terminal", || {
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
            let child = children.split_whitespace().next()?;
            let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
            // Not the shell that starts it.
            (!name.starts_with("sh") && !name.starts_with("script")).then_some(())?;
            child.parse().ok()
        })
    }

    /// Waits until a text is shown, however the cursor is moved between its words.
    fn shows(&self, text: &str) {
        let word = |text: &str| {
            let mut plain = String::new();
            let mut rest = text;
            while let Some(start) = rest.find('\x1b') {
                plain.push_str(&rest[..start]);
                let end = rest[start..].find(|c: char| c.is_ascii_alphabetic());
                rest = end.map_or("", |end| &rest[start + end + 1..]);
                plain.push(' ');
            }
            plain.push_str(rest);
            plain.split_whitespace().collect::<String>()
        };
        let wanted = word(text);
        until(text, || word(&self.output.lock().unwrap()).contains(&wanted).then_some(()));
    }

    /// Returns the largest size of its memory so far, in MiB.
    fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
    }

    fn signal(&self, name: &str) {
        kill(name, &self.pid().to_string());
    }

    fn ends(&mut self) {
        let status = until("the end", || self.script.try_wait().unwrap());
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

fn sensor(n: u32) -> String {
    format!("ina260_up{{hostname=\"h\",device=\"{n}\"}} 1\n")
}

/// Memory of `watch` on one sensor, in MiB.
fn normal_memory() -> u64 {
    let url = serve(|client| client.write_all(sensor(1).as_bytes()));
    let mut watch = Watch::start(24, 80, true, &format!("--url {url}"));
    watch.shows("Errors none");
    let memory = watch.peak_memory();
    watch.keys.write_all(b"q").unwrap();
    watch.ends();
    memory
}

#[test]
fn too_much_data_costs_at_most_64_mebibytes() {
    let normal = normal_memory();
    let series = |count: u32| {
        let text: String = (0..count).map(sensor).collect();
        serve(move |client| client.write_all(text.as_bytes()))
    };
    let labels = || {
        let label = |n: u32| format!(",l{n}=\"x\"");
        let labels: String = (0..6_000).map(label).collect();
        let up = move |n| format!("ina260_up{{device=\"{n}\"{labels}}} 1\n");
        serve(move |client| (0..160).try_for_each(|n| client.write_all(up(n).as_bytes())))
    };
    let samples = || {
        let part = b"ina260_up 1\n".repeat(10_000);
        serve(move |client| (0..1_600).try_for_each(|_| client.write_all(&part)))
    };
    // Characters that take six bytes or five once they are escaped.
    let escaped = |c: char| {
        let text = String::from(c).repeat(60_000);
        let up = move |n| format!("ina260_up{{device=\"{n}{text}\"}} 1\n");
        serve(move |client| (0..130).try_for_each(|n| client.write_all(up(n).as_bytes())))
    };
    // Each of the sensors has all of the errors.
    let errors = || {
        let up = "ina260_up{device=\"a\"} 1\n".repeat(1_000);
        let kind = "x".repeat(60_000);
        let error =
            move |n| format!("ina260_read_errors_total{{device=\"a\",kind=\"{n}{kind}\"}} 1\n");
        serve(move |client| {
            client.write_all(up.as_bytes())?;
            (0..50).try_for_each(|n| client.write_all(error(n).as_bytes()))
        })
    };
    let line = serve(|client| (0..3_840).try_for_each(|_| client.write_all(&[b'a'; 16 << 10])));
    let endless = serve(|client| {
        loop {
            client.write_all(&[b'\n'; 16 << 10])?;
        }
    });
    for (url, message) in [
        (series(50_000), "too much data; left out: 49000 of the sensors"),
        (series(400_000), "everything after 8 MiB"),
        (labels(), "everything after 8 MiB"),
        (samples(), "everything after 8 MiB"),
        (escaped('\u{7f}'), "12 of the sensors, 107 of the series"),
        (escaped('\u{1}'), "14 of the sensors, 103 of the series"),
        (errors(), "left out: 999 of the sensors"),
        (line, "line 1 of the response is longer than 64 KiB"),
        (endless, "response has no metrics"),
    ] {
        let mut watch = Watch::start(24, 100, true, &format!("--url {url}"));
        watch.shows(message);
        // While the next ones are decoded, the last scrape is kept.
        thread::sleep(Duration::from_secs(5));
        let memory = watch.peak_memory();
        println!("{message}: {memory} MiB, normally {normal} MiB");
        assert!(memory <= normal + 64, "{message}: {memory} MiB, normally {normal} MiB");
        watch.keys.write_all(b"q").unwrap();
        watch.ends();
    }
}

#[test]
fn server_that_drips_does_not_delay_keys_and_signals() {
    let url = serve(|client| {
        loop {
            client.write_all(b"i")?;
            thread::sleep(Duration::from_millis(100));
        }
    });
    for signal in [None, Some("TERM"), Some("INT"), Some("HUP")] {
        let mut watch = Watch::start(24, 100, true, &format!("--url {url}"));
        watch.shows("connecting");
        match signal {
            None => watch.keys.write_all(b"q").unwrap(),
            Some(signal) => watch.signal(signal),
        }
        watch.ends();
    }
}

#[test]
fn huge_terminals_cost_little_memory() {
    let normal = normal_memory();
    for (rows, columns) in [(5_000, 5_000), (65_535, 65_535), (1, 65_535), (65_535, 1)] {
        let mut watch = Watch::start(rows, columns, true, "--simulate --config /dev/null");
        until("a frame", || (watch.output.lock().unwrap().len() > 100).then_some(()));
        thread::sleep(Duration::from_secs(2));
        let memory = watch.peak_memory();
        println!("{rows} x {columns}: {memory} MiB, normally {normal} MiB");
        assert!(memory <= normal + 64, "{rows} x {columns}: {memory} MiB");
        watch.keys.write_all(b"q").unwrap();
        watch.ends();
    }
}

#[test]
fn signal_ends_watch_on_a_blocked_terminal() {
    let watch = Watch::start(300, 800, false, "--simulate --config /dev/null");
    let process = format!("/proc/{}", watch.pid());
    // Blocked in a write to the terminal.
    until("a blocked thread", || {
        let threads = fs::read_dir(format!("{process}/task")).ok()?;
        let waits = |thread: fs::DirEntry| {
            let at = fs::read_to_string(thread.path().join("wchan")).unwrap_or_default();
            at.contains("tty_write") || at.contains("n_tty_write") || at == "wait_woken"
        };
        threads.filter_map(Result::ok).any(waits).then_some(())
    });
    watch.signal("TERM");
    until("its end", || {
        let status = fs::read_to_string(format!("{process}/stat"));
        // A zombie, since its parent, script(1), is blocked itself.
        status.map_or(true, |stat| stat.contains(") Z ")).then_some(())
    });
}
