//! Real commands on a simulated bus in real time. Expected energies are those of the bus: its load,
//! with the offsets of its chip, over the time of the command.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use super::*;
use crate::clock::SystemClock;
use crate::config::{self, Overrides};
use crate::i2c::{Address, Bus};
use crate::signals::Signal;
use crate::simulated::{Board, Chip, Fault, Faults, Load, ScheduledFault};

const HERE: Address = Address(0x40);
const SIGTERM: i32 = 15;

/// A board with a chip under a load.
struct Bench {
    board: Arc<Board>,
    created: Instant,
    plan: Plan,
}

fn bench(hertz: u32, load: Load) -> Bench {
    let created = Instant::now();
    let board = Board::new(Arc::new(SystemClock), hertz);
    board.plug(None, HERE, Chip::new(load));
    let plan = config::load_alone(&Overrides::default()).unwrap().plan;
    Bench { board, created, plan }
}

impl Bench {
    fn provider(&self) -> BusProvider {
        let boards = BTreeMap::from([(1.into(), self.board.clone())]);
        BusProvider { faults: Some(Faults::default()), boards, ..BusProvider::default() }
    }

    /// Runs a command. `meanwhile` gets a function that sends a signal.
    fn run(
        &self,
        args: RunArgs,
        command: &[&str],
        meanwhile: impl FnOnce(&dyn Fn(i32)) + Send,
    ) -> Result<(Summary, u8), Failure> {
        let command = command.iter().map(OsString::from).collect();
        let args = RunArgs { command, repeat: args.repeat.max(1), ..args };
        let events = Events::new();
        let sender = events.sender.clone();
        thread::scope(|scope| {
            let signal = |number| Event::Signal(Signal { number, is_from_key: false });
            scope.spawn(move || meanwhile(&|number| sender.send(signal(number)).unwrap()));
            measure(&args, self.plan.clone(), self.provider(), || Ok(events))
        })
    }

    /// Returns the energy that the chip sees in a run, in joules.
    fn energy(&self, run: &Run, load: impl Fn(f64) -> (f64, f64)) -> f64 {
        const STEP: f64 = 20e-6;
        let (from, to) =
            [run.begun, run.ended].map(|at| at.duration_since(self.created).as_secs_f64()).into();
        let steps = ((to - from) / STEP).ceil();
        let step = (to - from) / steps;
        // Offsets of the simulated chip: 0.8 steps of the current, -2 of the voltage.
        let power = |n: i32| {
            let (amperes, volts) = load(from + (f64::from(n) + 0.5) * step);
            (amperes + 0.001) * (volts - 0.0025)
        };
        #[expect(clippy::cast_possible_truncation, reason = "a few thousand")]
        let sum: f64 = (0..steps as i32).map(power).sum();
        sum * step
    }
}

/// A load that swings and pulses.
fn pulsed(t: f64) -> f64 {
    1.2 + 0.8 * (t * 46.0).sin() + if (t * 11.0).fract() < 0.3 { 2.0 } else { 0.0 }
}

/// Waits until the sampler has configured the chip.
fn configured(board: &Board) {
    while board.chip(None, HERE, |chip| chip.writes) < 3 {
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_millis(600));
}

/// Repeats a test up to twice if it fails: commands run in real time, and a busy machine may miss
/// too many results.
fn in_real_time(test: impl Fn() + std::panic::RefUnwindSafe) {
    let is_passed = (0..2).any(|_| std::panic::catch_unwind(&test).is_ok());
    if !is_passed {
        test();
    }
}

fn printed(summary: &Summary) -> String {
    let mut text = Vec::new();
    summary.write(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn energy_matches_the_simulated_load() {
    in_real_time(|| {
        let load = Load { source: 12.0, resistance: 0.05, current: Box::new(pulsed) };
        let bench = bench(400_000, load);
        // 50 ms to 177 ms.
        let sleep = "sleep 0.$(printf %03d $((50 + $(od -An -N1 -tu1 /dev/urandom) / 2)))";
        // A busy machine misses fewer of these results than of shorter ones.
        let interval = Some(Duration::from_millis(8));
        let args = RunArgs { repeat: 100, interval, ..RunArgs::default() };
        let (summary, code) = bench.run(args, &["sh", "-c", sleep], |_| ()).unwrap();
        assert_eq!((code, summary.runs.len()), (0, 100));
        let (cycle, mut wrong) =
            (summary.session.sensors[0].stream.cycle.as_secs_f64(), Vec::new());
        for run in &summary.runs {
            let energy = run.energies[0];
            let truth = bench.energy(run, |t| (pulsed(t), 12.0 - 0.05 * pulsed(t)));
            // What a busy machine missed is not measured; it is 50 W at most.
            let unmeasured = 50.0 * energy.unmeasured().as_secs_f64();
            let error = truth - energy.joules;
            if error < -energy.uncertainty || error > energy.uncertainty + unmeasured {
                wrong.push((truth, energy));
            }
            // 50 W in the two cycles at the ends, and in the time that they may be early or late.
            assert!(energy.uncertainty < 50.0 * 2.3 * cycle, "{energy:?}");
        }
        assert!(wrong.len() <= 5, "{wrong:#?}");
        let figures = &summary.figures(&summary.counted())[0].1;
        assert!(
            figures.joules.count == 100 && figures.joules.deviation().unwrap() > 0.0,
            "{figures:?}"
        );
    });
}

#[test]
fn lost_sensor_leaves_the_rest_measured() {
    in_real_time(|| {
        let bench = bench(400_000, Load::steady(12.0, 1.0));
        let board = bench.board.clone();
        let lose = move |_: &dyn Fn(i32)| {
            configured(&board);
            board.inject(Fault::NoAnswer);
        };
        let (mut summary, code) = bench.run(RunArgs::default(), &["sleep", "1.5"], lose).unwrap();
        let energy = summary.runs[0].energies[0];
        assert_eq!(code, 0);
        assert!(energy.unmeasured() > Duration::from_millis(300), "{energy:?}");
        assert!(energy.measured > Duration::from_millis(50), "{energy:?}");
        let expected = 12.0 * energy.measured.as_secs_f64();
        assert!((energy.joules - expected).abs() < energy.uncertainty + 0.02, "{energy:?}");
        let text = printed(&summary);
        assert!(
            text.contains("\nwarning: deepx: ") && text.contains(" s not measured ("),
            "{text}"
        );
        for (json, csv) in [(true, false), (false, true)] {
            (summary.args.json, summary.args.csv) = (json, csv);
            let text = printed(&summary);
            assert!(text.contains("warning: deepx: "), "{text}");
        }
    });
}

#[test]
fn signal_is_passed_on_and_results_are_shown() {
    let bench = bench(400_000, Load::steady(12.0, 1.0));
    let found = [(0x07, 0x1234), (0x06, 0x8001), (0x00, 0x6E9F)];
    for (register, word) in found {
        bench.board.clone().write_word(HERE, register, word).unwrap();
    }
    let board = bench.board.clone();
    let stop = move |signal: &dyn Fn(i32)| {
        configured(&board);
        signal(SIGTERM);
    };
    let args = RunArgs { repeat: 10, verbose: true, ..RunArgs::default() };
    let (summary, code) = bench.run(args, &["sleep", "60"], stop).unwrap();
    assert_eq!((code, summary.runs.len()), (128 + 15, 1));
    let energy = summary.runs[0].energies[0];
    let expected = 12.0 * (energy.duration - energy.unmeasured()).as_secs_f64();
    assert!((energy.joules - expected).abs() < energy.uncertainty + 0.02, "{energy:?}");
    let text = printed(&summary);
    assert!(text.contains("\nrun 1 of 10 ended with exit code 143 after "), "{text}");
    for (register, word) in found {
        let read = bench.board.clone().read_word(HERE, register).unwrap();
        assert_eq!(read & 0xFC03 | word & 0x03FC, word, "register {register:#04x}");
    }
}

#[test]
fn signal_ends_repetition_of_a_successful_command() {
    let bench = bench(400_000, Load::steady(12.0, 1.0));
    let board = bench.board.clone();
    let stop = move |signal: &dyn Fn(i32)| {
        configured(&board);
        signal(SIGTERM);
    };
    let args = RunArgs { repeat: 10, ..RunArgs::default() };
    let script = "trap 'exit 0' TERM; while :; do sleep 0.01; done";
    let (summary, code) = bench.run(args, &["sh", "-c", script], stop).unwrap();
    assert_eq!((code, summary.runs.len(), summary.runs[0].is_partial), (0, 1, true));
}

#[test]
fn signal_between_two_runs_is_the_exit_code() {
    in_real_time(|| {
        let bench = bench(400_000, Load::steady(12.0, 1.0));
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("run");
        let stop = |signal: &dyn Fn(i32)| {
            while !file.exists() {
                thread::sleep(Duration::from_millis(1));
            }
            // The command has ended, but its last result is not complete.
            thread::sleep(Duration::from_millis(30));
            signal(SIGTERM);
        };
        let interval = Some(Duration::from_millis(500));
        let args = RunArgs { repeat: 10, interval, ..RunArgs::default() };
        let command = ["touch", file.to_str().unwrap()];
        let (summary, code) = bench.run(args, &command, stop).unwrap();
        assert_eq!((code, summary.runs.len()), (128 + 15, 1));
        let text = printed(&summary);
        assert!(text.contains("\nmeasured only 1 of 10 runs ("), "{text}");
    });
}

#[test]
fn signal_ends_the_idle_time() {
    let bench = bench(400_000, Load::steady(12.0, 1.0));
    let board = bench.board.clone();
    let stop = move |signal: &dyn Fn(i32)| {
        configured(&board);
        signal(SIGTERM);
    };
    let args = RunArgs { idle: Some(Duration::from_secs(3600)), ..RunArgs::default() };
    let (summary, code) = bench.run(args, &["false"], stop).unwrap();
    assert_eq!((code, summary.runs.len()), (128 + 15, 0));
    let text = summary.no_run(code).unwrap();
    assert!(text.contains("exit code 143); deepx: idle power 12.0"), "{text}");
}

#[test]
fn read_only_chip_is_not_written() {
    in_real_time(|| {
        let mut bench = bench(400_000, Load::steady(12.0, 1.0));
        bench.plan.sensors[0].configure = false;
        let (summary, code) = bench.run(RunArgs::default(), &["sleep", "0.1"], |_| ()).unwrap();
        assert_eq!(code, 0);
        let energy = summary.runs[0].energies[0];
        assert!(
            energy.joules > 0.5 && bench.board.chip(None, HERE, |chip| chip.writes) == 0,
            "{energy:?}"
        );
    });
}

#[test]
fn failed_run_ends_the_repetition() {
    let bench = bench(400_000, Load::steady(12.0, 1.0));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("runs");
    let script =
        format!("echo >> {0}; sleep 0.3; test $(wc -l < {0}) -lt 4 || exit 9", file.display());
    let args = RunArgs {
        repeat: 5,
        warmup: 1,
        idle: Some(Duration::from_millis(200)),
        verbose: true,
        ..RunArgs::default()
    };
    let (summary, code) = bench.run(args, &["sh", "-c", &script], |_| ()).unwrap();
    // The fourth run is the third that is measured.
    assert_eq!((code, summary.runs.len(), summary.counted().len()), (9, 3, 2));
    let net = summary.figures(&summary.counted())[0].1.net.unwrap();
    assert!((net.idle_watts - 12.0).abs() < 0.1, "{net:?}");
    assert!(net.joules.abs() < net.uncertainty, "the load is the same: {net:?}");
    let text = printed(&summary);
    for part in [
        " of 2)",
        "\ndeepx: run 1: ",
        "\ndeepx: run 2: ",
        " s, exit code 9\n",
        "\ndeepx: neither ± nor σ includes the chip's own error: without calibration up to 0.0",
        " J from its gain (0.25 %) and 0.0",
        " J from its offset (5 mA)\n",
        "\nrun 3 of 5 ended with exit code 9 after ",
        " s and is not counted; deepx: ",
    ] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    // Only the warm-up came before the first.
    assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), 4);
}

#[test]
fn warm_up_comes_before_the_measured_runs() {
    let bench = bench(400_000, Load::steady(12.0, 1.0));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("runs");
    let script = format!("echo >> {}", file.display());
    let args = RunArgs { repeat: 2, warmup: 3, ..RunArgs::default() };
    let (summary, code) = bench.run(args, &["sh", "-c", &script], |_| ()).unwrap();
    let count = std::fs::read_to_string(file).unwrap().lines().count();
    assert_eq!((code, summary.runs.len(), count), (0, 2, 5));
}

#[test]
fn exit_codes_are_those_of_env() {
    let bench = bench(400_000, Load::steady(12.0, 1.0));
    for (command, expected) in [
        (&["/nonexistent/command"][..], 127),
        (&["/"], 126),
        (&["sh", "-c", "exit 3"], 3),
        (&["sh", "-c", "kill -9 $$"], 137),
    ] {
        let (_, code) = bench.run(RunArgs::default(), command, |_| ()).unwrap();
        assert_eq!(code, expected, "{command:?}");
    }
    // Executable, but neither a program nor a script. Another process writes it: if this one did, a
    // child of another test could hold it open for writing, and it could not be executed.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    let path = file.to_str().unwrap();
    let script = "printf '\\177ELF\\0' > \"$0\" && chmod +x \"$0\"";
    assert!(Command::new("sh").args(["-c", script, path]).status().unwrap().success());
    let expected = Command::new("env").arg(path).status().unwrap().code();
    let (_, code) = bench.run(RunArgs::default(), &[path], |_| ()).unwrap();
    assert_eq!(Some(i32::from(code)), expected);
}

#[test]
fn cycle_too_short_for_the_bus_is_refused() {
    // Four transfers of 470 us.
    let mut bench = bench(100_000, Load::steady(12.0, 1.0));
    let args = RunArgs { interval: Some(Duration::from_micros(500)), ..RunArgs::default() };
    let Err(Failure::Usage(message)) = bench.run(args, &["true"], |_| ()) else { panic!() };
    assert!(message.contains("is more than bus 1 can carry"), "{message}");
    // Its power-on cycle is 2.2 ms, which another master would have to change.
    bench.plan.sensors[0].configure = false;
    let Err(Failure::Usage(message)) = bench.run(RunArgs::default(), &["true"], |_| ()) else {
        panic!()
    };
    assert!(message.ends_with("configure the other master for more averaging"), "{message}");
}

#[test]
fn sensor_that_does_not_respond_is_named() {
    let bench = bench(400_000, Load::steady(12.0, 1.0));
    bench.board.inject(Fault::NoAnswer);
    let Err(Failure::Nothing(messages)) = bench.run(RunArgs::default(), &["true"], |_| ()) else {
        panic!()
    };
    assert!(messages[0].starts_with("sensor deepx (bus 1, 0x40): "), "{messages:?}");
}

#[test]
fn missing_sensor_is_in_every_output() {
    let mut bench = bench(400_000, Load::steady(12.0, 1.0));
    let mut absent = bench.plan.sensors[0].clone();
    let address = Address(0x41);
    absent.location.address = address;
    absent.device = "gpu".to_owned();
    bench.plan.sensors.push(absent);
    bench.board.schedule(ScheduledFault {
        fault: Fault::NoAnswer,
        address: Some(address),
        from: Duration::ZERO,
        until: None,
    });
    let args = RunArgs { sum: true, ..RunArgs::default() };
    let (mut summary, _) = bench.run(args, &["sleep", "0.3"], |_| ()).unwrap();
    let text = printed(&summary);
    assert!(text.contains("\n gpu    not measured    0."), "{text}");
    assert!(text.contains("\n sum    not measured    0."), "{text}");
    let reason = "warning: sensor gpu (bus 1, 0x41): cannot read register Die ID: no ack";
    assert!(text.contains(&format!("\n{reason}")), "{text}");
    assert!(text.contains("s not measured by one or more sensors\n"), "{text}");
    summary.args.json = true;
    let json: serde_json::Value = serde_json::from_str(&printed(&summary)).unwrap();
    let gpu = &json["sensors"][1];
    assert!(gpu["notes"][0].as_str().unwrap().starts_with(reason), "{json}");
    assert!(json["sensors"][0]["energy_joules"].is_number(), "{json}");
    for row in [gpu, &json["sum"], &json["runs"][0]["sensors"][1], &json["runs"][0]["sum"]] {
        assert!(row["energy_joules"].is_null() && row["mean_watts"].is_null(), "{json}");
    }
    assert!(json["sum"]["notes"][0].as_str().unwrap().contains(" not measured by "), "{json}");
    assert!(gpu["device"] == "gpu" && gpu["cycle_seconds"].is_null(), "{json}");
    (summary.args.json, summary.args.csv) = (false, true);
    let text = printed(&summary);
    let gpu = text.lines().find(|line| line.starts_with("1,gpu,0,false,,,,,,0.")).unwrap();
    assert!(gpu.contains(reason), "{text}");
}
