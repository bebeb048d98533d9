//! CPU time and wake-ups of daemons and of the Python script, measured in the same minute: each
//! once with a scrape every 15 s, and once without scrapes. The script reads a chip in memory. The
//! daemon's chips are simulated, which must not count: instead of the time of its bus thread, each
//! result counts with the CPU time that the bench `parts` measured on registers in memory.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::parts::Parts;
use crate::shared::daemon::{Daemon, free_address};
use crate::shared::process::{Process, Usage};
use crate::shared::summary::{Figure, Summary};

/// Duration of the measurement; `PROCESSES_SECONDS` changes it.
const SECONDS: u64 = 60;
/// Prometheus' usual interval is 15 s to 60 s.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(15);

const SCRIPT: &str = "the script";
const ONE: &str = "1 sensor at 1 Hz";
const SIXTEEN: &str = "16 sensors at 1 Hz";
const FAST: &str = "1 sensor at 10 Hz";

/// A process under measurement.
struct Peer {
    name: &'static str,
    scraped: bool,
    process: Process,
    address: SocketAddr,
    /// Results per second of the simulated chips; none for the script.
    results: f64,
}

impl Peer {
    fn is_daemon(&self) -> bool {
        self.name != SCRIPT
    }

    /// Returns its usage until now, without the bus thread, which also simulates the chips.
    fn usage(&self) -> Result<Usage, Box<dyn Error>> {
        Ok(self.process.usage(|thread| !(self.is_daemon() && thread.contains("bus")))?)
    }
}

/// Cost of a process per second.
struct Cost {
    /// CPU time in µs.
    cpu: f64,
    /// CPU time in µs without the bus thread.
    other: f64,
    /// Wake-ups without those of the bus thread, which include simulated transfers.
    wake_ups: f64,
}

/// Adds the figures of whole processes.
pub(crate) fn add(
    summary: &mut Summary,
    scratch: &Path,
    parts: &Parts,
) -> Result<(), Box<dyn Error>> {
    let reading = reading()?;
    summary.add(
        Figure::new("one result relative to one by the script", parts.result / reading, "×")
            .target(1.0 / 100.0)
            .reference("one by the script, µs", reading),
    );
    let costs = measure(scratch, parts)?;
    for ((name, scraped), cost) in &costs {
        let scrapes = if *scraped { "a scrape every 15 s" } else { "no scrape" };
        summary.add(
            Figure::new(&format!("CPU, {name}, {scrapes}"), cost.cpu / 1e4, "%")
                .reference("without the bus thread, %", cost.other / 1e4)
                .reference("wake-ups/s of other threads", cost.wake_ups),
        );
    }
    let cost = |name, scraped| &costs[&(name, scraped)];
    let script = cost(SCRIPT, true).cpu;
    for (name, target) in [(ONE, 5.0), (SIXTEEN, 2.0), (FAST, 3.0)] {
        let ratio = cost(name, true).cpu / script;
        let what = format!("CPU relative to the script, {name}, a scrape every 15 s");
        summary.add(Figure::new(&what, ratio, "×").target(1.0 / target));
    }
    let other = cost(ONE, false).other / cost(SCRIPT, false).cpu;
    summary.add(
        Figure::new("CPU without the bus thread, relative to the script, no scrape", other, "×")
            .target(1.0 / 15.0),
    );
    let wake_ups = cost(ONE, false).wake_ups;
    let figure = Figure::new("wake-ups without the bus thread's, no scrape", wake_ups, "1/s");
    summary.add(figure.target(1.5));
    Ok(())
}

/// Costs by name and whether scraped.
type Costs = BTreeMap<(&'static str, bool), Cost>;

/// Measures all processes over the same period.
fn measure(scratch: &Path, parts: &Parts) -> Result<Costs, Box<dyn Error>> {
    let mut peers = Vec::new();
    for scraped in [true, false] {
        peers.push(start_script(scraped)?);
        for (name, sensors, interval) in [(ONE, 1, 1.0), (SIXTEEN, 16, 1.0), (FAST, 1, 0.1)] {
            let interval_key = format!("interval = \"{}ms\"\n", interval * 1e3);
            let toml = interval_key + &crate::configuration(sensors);
            let (daemon, _) = Daemon::start(scratch, &toml)?;
            let Daemon { process, address } = daemon;
            let results = f64::from(sensors) / interval;
            peers.push(Peer { name, scraped, process, address, results });
        }
    }
    // Python takes a second to start.
    thread::sleep(Duration::from_secs(5));
    let time = match std::env::var("PROCESSES_SECONDS") {
        Ok(text) => Duration::from_secs(text.parse()?),
        Err(_) => Duration::from_secs(SECONDS),
    };
    let before: Vec<Usage> = peers.iter().map(Peer::usage).collect::<Result<_, _>>()?;
    let begun = Instant::now();
    while begun.elapsed() < time {
        thread::sleep(SCRAPE_INTERVAL.min(time.saturating_sub(begun.elapsed())));
        for peer in peers.iter().filter(|peer| peer.scraped) {
            scrape(peer.address)?;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let mut costs = Costs::new();
    for (peer, before) in peers.iter().zip(before) {
        let after = peer.usage()?;
        let other = after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / seconds;
        let wake_ups = after.wake_ups.saturating_sub(before.wake_ups);
        let cost = Cost {
            cpu: other + peer.results * parts.result,
            other,
            wake_ups: f64::from(u32::try_from(wake_ups)?) / seconds,
        };
        costs.insert((peer.name, peer.scraped), cost);
    }
    Ok(costs)
}

/// Scrapes once, over a new connection: the script's server closes it each time.
fn scrape(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    if response.contains("ina260_voltage{") {
        Ok(())
    } else {
        Err(format!("unexpected response: {response}").into())
    }
}

/// Returns the command that runs a file with the script's libraries and a chip in memory.
fn python(file: &str) -> Result<Command, Box<dyn Error>> {
    let libraries = std::env::var("SCRIPT_LIBRARIES")
        .map_err(|_| "SCRIPT_LIBRARIES is not set; run benches/run")?;
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let (chip, script) = (root.join("benches/script"), root.join("tests/system/peers"));
    let mut command = Command::new("python3");
    // -P: the script's directory would come first, with a `board` that opens the kernel's bus.
    command
        .args(["-P", "-B"])
        .arg(if file == "script.py" { script.join(file) } else { chip.join(file) })
        .env("PYTHONPATH", std::env::join_paths([chip, libraries.into(), script])?);
    Ok(command)
}

fn start_script(scraped: bool) -> Result<Peer, Box<dyn Error>> {
    let address = free_address()?;
    let child = python("script.py")?
        .args(["--hostname", "pi4", "--port", &address.port().to_string()])
        .stdout(Stdio::null())
        .spawn()?;
    Ok(Peer { name: SCRIPT, scraped, process: Process(child), address, results: 0.0 })
}

/// Returns the time in µs that the script takes for one result, without its transfers.
fn reading() -> Result<f64, Box<dyn Error>> {
    let output = python("reading.py")?.output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut nanos = text.split_whitespace().map(str::parse::<f64>);
    match (nanos.next(), nanos.next()) {
        (Some(reading), Some(transfers)) => Ok((reading? - transfers?) / 1e3),
        _ => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}
