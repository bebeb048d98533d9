//! The sampler on the simulated clock.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use proptest::test_runner::Config as ProptestConfig;

use super::*;
use crate::clock::SimulatedClock;
use crate::i2c::Address;
use crate::ina260::Ina260;
use crate::ina260::calibration::Calibration;
use crate::ina260::settings::{PartialSettings, Settings};
use crate::logging::tests::CapturedLog;
use crate::meter::{Failure, SharedMeter, Totals};
use crate::simulated::{Board, Chip, Counts, Fault, Load};
use crate::units::Watts;

mod adopted;
mod alerts;
mod busy;
mod corruption;
mod lossless;
mod multiplexers;
mod power;
mod unplugged;

struct Scene {
    clock: Arc<SimulatedClock>,
    board: Arc<Board>,
    sampler: Sampler,
    meters: Vec<SharedMeter>,
    changes: Arc<AtomicU32>,
}

const FIRST: Address = Address(0x40);

fn setup(address: Address, interval: Duration) -> Setup {
    let settings = Settings::for_interval(interval, PartialSettings::default()).unwrap();
    Setup {
        name: format!("sensor {address}"),
        channel: None,
        chip: Ina260 { address, settings, alert: None, configure: true, power_guard: true },
        calibration: Calibration::default(),
        always_power: true,
        meter: SharedMeter::default(),
    }
}

/// Returns a scene with one sensor per interval, from 0x40 on, on a 400 kHz bus.
fn scene(intervals: &[Duration]) -> Scene {
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    let addresses = (0x40..).map(Address);
    let setups: Vec<Setup> = addresses.zip(intervals).map(|(at, i)| setup(at, *i)).collect();
    for (setup, volts) in setups.iter().zip(5_u32..) {
        board.plug(None, setup.chip.address, Chip::new(Load::steady(f64::from(volts), 1.0)));
    }
    scene_of(clock, board, setups)
}

fn scene_of(clock: Arc<SimulatedClock>, board: Arc<Board>, setups: Vec<Setup>) -> Scene {
    let changes = Arc::new(AtomicU32::new(0));
    let seen = changes.clone();
    let on_change = Arc::new(move || _ = seen.fetch_add(1, Relaxed));
    let meters = setups.iter().map(|setup| setup.meter.clone()).collect();
    let name = "bus 1".to_owned();
    let sampler = Sampler::new(name, Box::new(board.clone()), setups, clock.clone(), on_change);
    Scene { clock, board, sampler, meters, changes }
}

/// Returns a scene with one sensor at 1 s, whose words are altered when they are read.
fn altered(alter: impl FnMut(u8, u16) -> u16 + Send + 'static) -> Scene {
    let mut scene = scene(&[secs(1)]);
    let setups = vec![Setup { meter: scene.meters[0].clone(), ..setup(FIRST, secs(1)) }];
    let bus = Box::new(Altered(scene.board.clone(), alter));
    let (name, clock) = ("bus 1".to_owned(), scene.clock.clone());
    scene.sampler = Sampler::new(name, bus, setups, clock, Arc::new(|| ()));
    scene
}

impl Scene {
    /// Runs the sampler for a time, as its thread would. Returns the number of passes.
    fn run(&mut self, time: Duration) -> u32 {
        let end = self.clock.now() + time;
        let mut passes = 0;
        loop {
            let due = self.sampler.poll_due();
            passes += 1;
            assert!(passes < 1_000_000, "the sampler never waits");
            if due >= end {
                self.clock.advance_to(end);
                return passes;
            }
            self.clock.advance_to(due);
        }
    }

    /// Runs the sampler for a time, as its thread would. Returns the log.
    fn run_logged(&mut self, time: Duration) -> String {
        logged(|| _ = self.run(time))
    }

    fn up(&self, sensor: usize) -> bool {
        self.meters[sensor].lock().up
    }

    fn totals(&self, sensor: usize) -> Totals {
        self.meters[sensor].lock().accumulator.totals(self.clock.now())
    }

    fn results(&self, sensor: usize) -> u64 {
        self.totals(sensor).results
    }

    /// Checks that each result of the first chip was read or missed, except for one in flight.
    fn assert_all_counted(&self) {
        let now = self.clock.elapsed();
        let counts = self.board.chip(None, FIRST, |chip| {
            chip.read(0x07, now); // catches up
            chip.counts
        });
        let totals = self.totals(0);
        let counted = totals.results + totals.missed + counts.unconfigured;
        assert!(counted.abs_diff(counts.finished) <= 1, "{totals:?} of {counts:?}");
    }

    fn failures(&self, sensor: usize, failure: Failure) -> u64 {
        self.meters[sensor].lock().failures[failure as usize]
    }
}

/// Returns the writable bits of the mask/enable register, and the alert limit, of the first chip.
fn comparator(scene: &Scene) -> (u16, u16) {
    let now = scene.clock.elapsed();
    let read = |register| scene.board.chip(None, FIRST, |chip| chip.read(register, now));
    (read(0x06) & 0xFC03, read(0x07))
}

/// A bus that passes each word read, with its register, through a function that may alter it.
struct Altered<F>(Arc<Board>, F);

impl<F: FnMut(u8, u16) -> u16 + Send> Bus for Altered<F> {
    fn read_word(&mut self, address: Address, register: u8) -> Result<u16, i2c::Error> {
        self.0.read_word(address, register).map(|word| (self.1)(register, word))
    }

    fn write_word(&mut self, address: Address, register: u8, word: u16) -> Result<(), i2c::Error> {
        self.0.write_word(address, register, word)
    }

    fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), i2c::Error> {
        self.0.send_byte(address, byte)
    }

    fn receive_byte(&mut self, address: Address) -> Result<u8, i2c::Error> {
        self.0.receive_byte(address)
    }
}

/// Returns what is logged.
fn logged(run: impl FnOnce()) -> String {
    let log = CapturedLog::start();
    run();
    log.text()
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn every_result_is_read_once() {
    let mut scene = scene(&[secs(1), Duration::from_millis(100)]);
    scene.run(secs(600));
    for (sensor, address) in [(0, FIRST), (1, Address(0x41))] {
        let Counts { finished, read, .. } = scene.board.chip(None, address, |chip| chip.counts);
        let results = scene.results(sensor);
        assert!(read == results && finished - read <= 20, "{results} of {finished}");
    }
    let cycle = scene.meters[0].lock().cycle.as_secs_f64();
    assert!((cycle / 0.942_08 - 1.0).abs() < 0.01, "{cycle}");
    // 6 V with an offset of -2 steps, and 1 A with an offset of 0.8 steps, which rounds to 1.
    let last = scene.meters[1].lock().last.unwrap();
    assert_eq!(
        (last.measured.voltage.0, last.measured.current.0, last.measured.power.0),
        (5.9975, 1.00125, 6.004_996_875)
    );
}

#[test]
fn settings_check_costs_no_poll() {
    for millis in [10, 100, 500, 1_000] {
        let mut scene = scene(&[Duration::from_millis(millis)]);
        scene.run(secs(60));
        let (results, transfers) = (scene.results(0), scene.board.transfers());
        let polls = u64::from(scene.run(secs(300)));
        let results = scene.results(0) - results;
        let transfers = scene.board.transfers() - transfers;
        // A few per 256 results bracket an edge.
        assert!(polls <= results + 5 + results / 50, "{polls} polls for {results} results");
        // A word for each poll, three more for each result, and two for each check.
        let checks = (transfers - polls - 3 * results) / 2;
        assert!((290..=360).contains(&checks), "{millis} ms: {checks}");
    }
}

#[test]
fn slow_chip_is_tracked() {
    let mut scene = scene(&[secs(1)]);
    scene.board.inject(Fault::SlowClock);
    scene.run(secs(600));
    let cycle = scene.meters[0].lock().cycle.as_secs_f64();
    assert!((cycle / (0.942_08 * 1.1) - 1.0).abs() < 0.01, "{cycle}");
    assert!(scene.results(0).abs_diff(579) < 3, "600 s in cycles of 1.036 s");
}

#[test]
fn stall_is_not_followed_by_a_burst() {
    let mut scene = scene(&[Duration::from_millis(100)]);
    scene.run(secs(10));
    let (results, words) = (scene.results(0), scene.board.transfers());
    let stalled = scene.clock.now() + secs(3600);
    scene.clock.advance_to(stalled);
    scene.run(secs(1));
    assert!(scene.results(0) - results <= 13, "the results of the stall are not read");
    assert!(scene.board.transfers() - words <= 150);
}

#[test]
fn failed_sensor_is_down_and_backed_off() {
    let mut scene = scene(&[secs(1)]);
    scene.run(secs(5));
    assert!(scene.up(0));
    scene.board.inject(Fault::NoAnswer);
    scene.run(Duration::from_millis(1_100));
    assert!(!scene.up(0));
    let changes = scene.changes.load(Relaxed);
    let passes = scene.run(secs(3600));
    assert!((115..=130).contains(&passes), "{passes} passes in an hour");
    assert_eq!(scene.changes.load(Relaxed), changes, "no change is reported");
    assert!(scene.failures(0, Failure::Nack) > 200, "each attempt and its retry count");

    scene.board.clear_faults();
    let results = scene.results(0);
    scene.run(secs(32));
    assert!(scene.up(0) && scene.results(0) > results);
}

#[test]
fn failure_in_a_long_cycle_is_found_in_a_second() {
    let mut scene = scene(&[secs(60)]);
    scene.run(secs(40));
    let words = scene.board.transfers();
    scene.run(secs(50));
    assert!(
        scene.up(0) && scene.board.transfers() - words < 400,
        "{}",
        scene.board.transfers() - words
    );
    scene.board.inject(Fault::NoAnswer);
    scene.run(Duration::from_millis(1_100));
    assert!(!scene.up(0));
}

#[test]
fn readings_are_live_while_the_sensor_is_polled() {
    for seconds in [1, 2, 20, 120] {
        let mut scene = scene(&[secs(seconds)]);
        scene.run(secs(2 * seconds));
        let is_live = |scene: &Scene| scene.meters[0].lock().live(scene.clock.now()).is_some();
        for _ in 0..1_000 {
            assert!(is_live(&scene), "{seconds} s");
            let due = scene.sampler.poll_due();
            scene.clock.advance_to(due);
        }
        // A transfer blocks: nothing is polled any more. A scrape can be up to a second late.
        scene.clock.advance_to(scene.clock.now() + secs(4));
        assert!(!is_live(&scene), "{seconds} s");
    }
}

#[test]
fn failed_transfer_is_retried_at_once() {
    let mut scene = scene(&[secs(1)]);
    scene.run(secs(5));
    let now = scene.clock.elapsed();
    scene.board.schedule(crate::simulated::ScheduledFault {
        fault: Fault::ArbitrationLost,
        address: None,
        from: now,
        until: Some(
            scene.sampler.poll_due() - scene.clock.now() + now + Duration::from_micros(150),
        ),
    });
    scene.run(secs(5));
    assert_eq!(scene.failures(0, Failure::Arbitration), 1);
    assert!(scene.up(0) && scene.changes.load(Relaxed) == 1, "the sensor did not go down");
}

#[test]
fn dead_sensor_does_not_disturb_others() {
    let mut scene = scene(&[secs(1), Duration::from_millis(10)]);
    scene.board.unplug(FIRST);
    scene.run(secs(60));
    let finished = scene.board.chip(None, Address(0x41), |chip| chip.counts.finished);
    assert!(!scene.up(0) && finished - scene.results(1) < 20);
}

#[test]
fn stuck_bus_costs_one_timeout_per_pause() {
    let mut scene = scene(&[secs(1); 16]);
    scene.run(secs(10));
    scene.board.inject(Fault::Timeout);
    scene.run(secs(5));
    assert!((0..16).all(|sensor| !scene.up(sensor)));
    let words = scene.board.transfers();
    scene.run(secs(600));
    assert!(scene.board.transfers() - words <= 25, "{}", scene.board.transfers() - words);
    scene.board.clear_faults();
    scene.run(secs(35));
    assert!((0..16).all(|sensor| scene.up(sensor)));
}

/// EAGAIN of i2c-omap and others; without a pause, these sensors need 700 transfers.
#[test]
fn hung_bus_reporting_eagain_is_paused() {
    let mut scene = scene(&[secs(1); 16]);
    scene.run(secs(10));
    scene.board.inject(Fault::ArbitrationLost);
    scene.run(secs(5));
    assert!((0..16).all(|sensor| !scene.up(sensor)));
    let words = scene.board.transfers();
    scene.run(secs(600));
    assert!(scene.board.transfers() - words <= 50, "{}", scene.board.transfers() - words);
    scene.board.clear_faults();
    scene.run(secs(35));
    assert!((0..16).all(|sensor| scene.up(sensor)));
}

#[test]
fn chip_is_reconfigured_after_brown_out() {
    let mut scene = scene(&[secs(1)]);
    scene.run(secs(5));
    scene.board.inject(Fault::BrownOut);
    scene.run(secs(5));
    assert_eq!(scene.meters[0].lock().resets, [1, 0]);
    assert!(scene.up(0));
    let configuration = scene.board.chip(None, FIRST, |chip| chip.read(0x00, secs(11)));
    assert_eq!(configuration, 0x6E9F);
}

#[test]
fn foreign_configuration_is_backed_off() {
    let mut scene = scene(&[secs(1)]);
    scene.run(secs(5));
    let mut writes = 0;
    for _ in 0..600 {
        let now = scene.clock.elapsed();
        scene.board.chip(None, FIRST, |chip| {
            writes += u32::from(chip.read(0x00, now) == 0x6E9F);
            chip.write(0x00, 0x6007, now);
        });
        scene.run(secs(1));
    }
    assert!(writes < 30, "written {writes} times in ten minutes");
    assert!(!scene.up(0) && scene.meters[0].lock().resets[1] > 10);
    scene.run(secs(35));
    assert!(scene.up(0), "up again once the other master has stopped");
}

#[test]
fn foreign_chip_is_not_read() {
    let mut scene = scene(&[secs(1)]);
    scene.board.inject(Fault::WrongIdentity);
    scene.run(secs(5));
    assert!(!scene.up(0) && scene.results(0) == 0);
    assert!(scene.failures(0, Failure::Identity) >= 3);
}

#[test]
fn overflow_is_counted_and_power_is_the_product() {
    let mut scene = scene(&[secs(1)]);
    scene.board.inject(Fault::Overflow);
    scene.run(secs(3));
    let meter = scene.meters[0].lock();
    assert!(meter.overflows[0] >= 2 && meter.overflows[1..] == [0, 0]);
    // 36 V with an offset of -2 steps, and 15 A with one of 0.8 steps, which rounds to 1.
    let power = Watts(35.9975 * 15.001_25);
    assert!((meter.last.unwrap().measured.power.0 - power.0).abs() < 1e-9);
}

#[test]
fn reload_keeps_unchanged_sensors_running() {
    let mut scene = scene(&[secs(1), secs(1)]);
    scene.run(secs(10));
    let results = scene.results(1);
    let mut unchanged = setup(Address(0x41), secs(1));
    unchanged.meter = scene.meters[1].clone();
    scene.sampler.replace(vec![unchanged]);
    scene.run(secs(10));
    assert!(scene.results(1) >= results + 10, "no result was missed");
    let mask = scene.board.chip(None, FIRST, |chip| chip.read(0x06, secs(20)));
    assert_eq!(mask & 0x0001, 0, "alerts of the removed sensor are disabled");
}

#[test]
fn responding_sensor_without_results_is_reported() {
    // Another program reads the flags first; or each reading of the voltage differs.
    type Alter = fn(u8, u16, u16) -> u16;
    let taken: Alter = |register, word, _| if register == 0x06 { word & !0x0008 } else { word };
    let noisy: Alter = |register, word, reads| if register == 0x02 { 0x8000 | reads } else { word };
    for (alter, missed) in [(taken, 0), (noisy, 28)] {
        for begin in [0, 10] {
            let second = Arc::new(AtomicU32::new(0));
            let seen = second.clone();
            let mut reads = 0;
            let mut scene = altered(move |register, word| {
                reads += 1;
                let is_altered = (begin..begin + 40).contains(&seen.load(Relaxed));
                if is_altered { alter(register, word, reads) } else { word }
            });
            let (mut logs, mut unmeasured) = (String::new(), Duration::ZERO);
            let mut run = |scene: &mut Scene, now| {
                second.store(now, Relaxed);
                let log = scene.run_logged(secs(1));
                // A fall would be a counter reset for Prometheus.
                let before = std::mem::replace(&mut unmeasured, scene.totals(0).unmeasured);
                assert!(before <= unmeasured, "second {now}: {before:?} to {unmeasured:?}");
                log
            };
            for now in 0..begin + 40 {
                logs += &run(&mut scene, now);
            }
            assert!(!scene.up(0));
            assert_eq!(logs.matches("without a usable result for").count(), 1, "{logs}");
            let totals = scene.totals(0);
            let time = totals.measured + totals.unmeasured;
            assert!(time >= secs(u64::from(begin) + 39), "{totals:?}");
            assert!(totals.missed >= missed, "{totals:?}");
            let log: String = (begin + 40..begin + 45).map(|now| run(&mut scene, now)).collect();
            assert!(log.contains("usable results again") && scene.up(0), "{log}");
            let totals = scene.totals(0);
            let time = totals.measured + totals.unmeasured;
            assert!(time.abs_diff(scene.clock.elapsed()) < secs(2), "{totals:?}");
        }
    }
}

#[test]
fn deadline_is_missed_only_by_a_hang() {
    let mut scene = scene(&[secs(60)]);
    scene.board.inject(Fault::NoAnswer);
    let deadline = scene.sampler.deadline.clone();
    for _ in 0..20 {
        let due = scene.sampler.poll_due();
        assert!(deadline.is_met(due));
        scene.clock.advance_to(due);
    }
    scene.board.clear_faults();
    let due = scene.sampler.poll_due();
    assert!(deadline.is_met(due) && deadline.is_met(due + secs(4)));
    assert!(!deadline.is_met(due + Deadline::ALLOWANCE));
}

#[test]
fn release_disables_alerts_and_keeps_settings() {
    let mut scene = scene(&[secs(1)]);
    scene.run(secs(2));
    scene.sampler.replace(Vec::new());
    let read = |register| scene.board.chip(None, FIRST, |chip| chip.read(register, secs(2)));
    assert_eq!((read(0x06) & 0xFC03, read(0x00)), (0x0000, 0x6E9F));
}
