//! The built binary in a process of its own.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::program::program;
use super::{Directory, NotifySocket, Scrape, TIMEOUT, free_port, get, kill, text, within};

/// Returns a command with an empty environment.
fn command(words: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null());
    command
}

/// Exit code and output of a process.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Returns the command that runs the binary with these arguments. Signals that a shell's background
/// job, or a child of nohup(1), ignores have their default action.
pub fn daemon(arguments: &[&str]) -> Command {
    let mut words = vec!["env".to_owned(), "--default-signal=HUP,INT,QUIT".to_owned()];
    words.extend(program());
    words.extend(arguments.iter().map(|&argument| argument.to_owned()));
    command(&words)
}

/// Runs the binary, which is expected to exit by itself.
pub fn run(arguments: &[&str]) -> Ended {
    let child = daemon(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut process = Process(child);
    let mut stdout = process.0.stdout.take().unwrap();
    let mut stderr = process.0.stderr.take().unwrap();
    let status = process.wait(TIMEOUT);
    let mut ended = Ended { code: status.code(), stdout: String::new(), stderr: String::new() };
    stdout.read_to_string(&mut ended.stdout).unwrap();
    stderr.read_to_string(&mut ended.stderr).unwrap();
    ended
}

/// A process that does not outlive its test.
struct Process(Child);

impl Process {
    fn wait(&mut self, timeout: Duration) -> ExitStatus {
        within(timeout, "the daemon exits", || self.0.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Arguments, configuration and environment of a daemon.
pub struct Launch {
    listen: String,
    /// Empty if the configuration file sets it.
    listen_flag: Vec<String>,
    config: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    wrapper: Option<&'static str>,
}

impl Launch {
    /// Returns a launch with a simulated sensor with these faults, on a loopback port.
    pub fn simulated(faults: &str) -> Self {
        let launch = Self {
            listen: String::new(),
            listen_flag: Vec::new(),
            config: String::new(),
            arguments: vec![format!("--simulate={faults}")],
            environment: Vec::new(),
            wrapper: None,
        };
        launch.listen(&format!("127.0.0.1:{}", free_port()))
    }

    pub fn listen(mut self, listen: &str) -> Self {
        listen.clone_into(&mut self.listen);
        self.listen_flag = vec!["--listen".to_owned(), listen.to_owned()];
        self
    }

    /// Sets the port with the flag of the Python script.
    pub fn port(mut self, port: u16) -> Self {
        self.listen = format!("127.0.0.1:{port}");
        self.listen_flag = vec!["--port".to_owned(), port.to_string()];
        self
    }

    /// Sets the port in the configuration file, which contains nothing else.
    pub fn listen_in_file(mut self, port: u16) -> Self {
        self.listen = format!("127.0.0.1:{port}");
        self.listen_flag = Vec::new();
        self.config = format!("listen = \"{}\"\n", self.listen);
        self
    }

    pub fn config(mut self, toml: &str) -> Self {
        toml.clone_into(&mut self.config);
        self
    }

    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Adds a service manager, with a watchdog if a timeout is given.
    pub fn notify(self, notify_socket: &NotifySocket, watchdog: Option<Duration>) -> Self {
        let launch = self.environment("NOTIFY_SOCKET", text(notify_socket.path()));
        match watchdog {
            Some(period) => launch.environment("WATCHDOG_USEC", &period.as_micros().to_string()),
            None => launch,
        }
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs the daemon from a shell script, which has the command line in `"$@"`.
    pub fn through(mut self, shell: &'static str) -> Self {
        self.wrapper = Some(shell);
        self
    }

    /// Starts the daemon without waiting.
    pub fn spawn(self) -> Daemon {
        let directory = Directory::new();
        // The machine's own file must not be read, even if the test needs none.
        let config = directory.write("test.toml", &self.config);
        let shell = self.wrapper.map(|shell| ["sh", "-c", shell, "sh"]);
        let mut words: Vec<String> = shell.into_iter().flatten().map(str::to_owned).collect();
        words.extend(program());
        words.extend(["--config", text(&config)].map(str::to_owned));
        words.extend(self.listen_flag.into_iter().chain(self.arguments));
        let mut child = command(&words)
            .envs(self.environment)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Log::collect(child.stderr.take().unwrap());
        Daemon { process: Process(child), log, listen: self.listen, directory }
    }

    /// Starts the daemon and waits until it serves.
    pub fn start(self) -> Daemon {
        let daemon = self.spawn();
        daemon.wait_for_line("serving ");
        daemon
    }
}

/// A running daemon.
pub struct Daemon {
    process: Process,
    log: Log,
    listen: String,
    directory: Directory,
}

impl Daemon {
    pub fn scrape(&self) -> Scrape {
        get(&self.listen, "/metrics").scrape()
    }

    /// Scrapes until a scrape is as wanted, and returns it.
    pub fn scrape_until(&self, what: &str, mut wanted: impl FnMut(&Scrape) -> bool) -> Scrape {
        self.scrape_within(TIMEOUT, what, &mut wanted)
    }

    pub fn scrape_within(
        &self,
        timeout: Duration,
        what: &str,
        mut wanted: impl FnMut(&Scrape) -> bool,
    ) -> Scrape {
        within(timeout, what, || Some(self.scrape()).filter(&mut wanted))
    }

    pub fn listen(&self) -> &str {
        &self.listen
    }

    /// Returns the lines written to standard error so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    pub fn log_lines(&self, with: &str) -> Vec<String> {
        let mut lines = self.log();
        lines.retain(|line| line.contains(with));
        lines
    }

    /// Waits for a line on standard error that contains `with`, and returns it.
    pub fn wait_for_line(&self, with: &str) -> String {
        self.wait_for_line_after(0, with)
    }

    /// Waits for such a line after the first `lines` lines, and returns it.
    pub fn wait_for_line_after(&self, lines: usize, with: &str) -> String {
        let begun = Instant::now();
        loop {
            let log = self.log();
            if let Some(line) = log.iter().skip(lines).find(|line| line.contains(with)) {
                return line.clone();
            }
            assert!(begun.elapsed() < TIMEOUT, "no line with \"{with}\" among\n{}", log.join("\n"));
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Replaces the configuration file, requests a reload, and returns its last log line.
    pub fn reload(&self, toml: &str) -> String {
        self.reload_after(|path| fs::write(path, toml).unwrap())
    }

    /// Changes the configuration file, requests a reload, and returns its last log line.
    pub fn reload_after(&self, change: impl FnOnce(&Path)) -> String {
        let before = self.log().len();
        change(&self.directory.path("test.toml"));
        self.signal("HUP");
        self.wait_for_line_after(before, "reload")
    }

    pub fn id(&self) -> u32 {
        self.process.0.id()
    }

    pub fn signal(&self, name: &str) {
        kill(name, &self.id().to_string());
    }

    /// Waits until the daemon exits, and returns the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.wait_within(TIMEOUT)
    }

    pub fn wait_within(&mut self, timeout: Duration) -> Option<i32> {
        let code = self.process.wait(timeout).code();
        self.log.wait_for_the_end();
        code
    }

    /// Sends a signal, and returns the exit code and how long that took.
    pub fn stop(&mut self, signal: &str) -> (Option<i32>, Duration) {
        let begun = Instant::now();
        self.signal(signal);
        let code = self.process.wait(TIMEOUT).code();
        let took = begun.elapsed();
        self.log.wait_for_the_end();
        (code, took)
    }
}

/// Standard error, read line by line as it is written.
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Log {
    fn collect(stderr: impl Read + Send + 'static) -> Self {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let shared = lines.clone();
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                shared.lock().unwrap().push(line);
            }
        });
        Self { lines, reader: Some(reader) }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn wait_for_the_end(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}
