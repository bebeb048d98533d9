//! The energy of runs of random length: the sampler measures a simulated chip on the simulated
//! clock. The expected energy is the integral of the load, in closed form.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::clock::{Clock, SimulatedClock};
use crate::config::{self, Overrides};
use crate::i2c::{Address, BusName};
use crate::ina260::calibration::Calibration;
use crate::ina260::settings::{PartialSettings, Settings};
use crate::ina260::{Ina260, read_settings};
use crate::meter::SharedMeter;
use crate::sampler::{Sampler, Setup};
use crate::scrape::{Readings, ScrapedSensor};
use crate::simulated::{Board, Chip, Fault, Faults, Load};

const HERE: Address = Address(0x40);
const VOLTS: f64 = 12.0;
const RUNS: usize = 100;

/// A current that swings and switches.
#[derive(Clone, Copy, Debug)]
struct Shape {
    base: f64,
    swing: f64,
    swing_hertz: f64,
    pulse: f64,
    pulse_hertz: f64,
    duty: f64,
}

impl Shape {
    fn amperes(&self, t: f64) -> f64 {
        let pulse = if (t * self.pulse_hertz).fract() < self.duty { self.pulse } else { 0.0 };
        self.base + self.swing * (TAU * self.swing_hertz * t).sin() + pulse
    }

    /// Returns the energy that the chip sees until a time, in joules. The offsets of the simulated
    /// chip are 0.8 steps of the current and -2 steps of the voltage.
    fn joules(&self, t: f64) -> f64 {
        let swing =
            self.swing / (TAU * self.swing_hertz) * (1.0 - (TAU * self.swing_hertz * t).cos());
        let periods = t * self.pulse_hertz;
        let pulses = periods.floor() * self.duty + periods.fract().min(self.duty);
        let charge = (self.base + 0.001) * t + swing + self.pulse * pulses / self.pulse_hertz;
        charge * (VOLTS - 0.0025)
    }
}

fn shapes() -> impl Strategy<Value = Shape> {
    let swing = (0.0..1.0_f64, 0.1..20.0_f64);
    let pulse = (0.0..3.0_f64, 0.1..12.0_f64, 0.1..0.9_f64);
    // The current never reverses.
    (0.1..2.0_f64, swing, pulse).prop_map(|(base, swing, pulse)| Shape {
        base: base + swing.0,
        swing: swing.0,
        swing_hertz: swing.1,
        pulse: pulse.0,
        pulse_hertz: pulse.1,
        duty: pulse.2,
    })
}

/// A sampler with one chip.
struct Scene {
    clock: Arc<SimulatedClock>,
    created: Instant,
    sampler: Sampler,
    meter: SharedMeter,
}

fn scene(shape: Shape, hertz: u32, interval: Duration, is_slow: bool) -> Scene {
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), hertz);
    let current = Box::new(move |t| shape.amperes(t));
    board.plug(None, HERE, Chip::new(Load { source: VOLTS, resistance: 0.0, current }));
    if is_slow {
        board.inject(Fault::SlowClock);
    }
    let settings = Settings::for_interval(interval, PartialSettings::default()).unwrap();
    let meter = SharedMeter::default();
    meter.lock().take_results();
    let setup = Setup {
        name: "sensor".to_owned(),
        channel: None,
        chip: Ina260 { address: HERE, settings, alert: None, configure: true, power_guard: true },
        calibration: Calibration::default(),
        always_power: true,
        meter: meter.clone(),
    };
    let (created, bus) = (clock.now(), Box::new(board.clone()));
    let on_change = Arc::new(|| ());
    let sampler = Sampler::new("bus 1".to_owned(), bus, vec![setup], clock.clone(), on_change);
    Scene { clock, created, sampler, meter }
}

impl Scene {
    /// Runs the sampler as its thread would.
    fn run_until(&mut self, until: Instant) {
        loop {
            let due = self.sampler.poll_due();
            self.clock.advance_to(due.min(until));
            if due >= until {
                break;
            }
        }
    }

    /// Returns the runs whose energy is outside its uncertainty. `runs` has the pause before each
    /// run, and its length. `take` returns the results since its last call, at most a `step` ago.
    fn outside(
        &mut self,
        shape: &Shape,
        runs: &[(Duration, Duration)],
        step: Duration,
        mut take: impl FnMut(&Self) -> Vec<Slice>,
    ) -> Result<Vec<String>, TestCaseError> {
        let mut outside = Vec::new();
        for &(pause, length) in runs {
            let begun = self.clock.now() + pause;
            while self.clock.now() < begun {
                self.run_until(begun.min(self.clock.now() + step));
                take(self);
            }
            let (mut ledger, end) = (Ledger::new(begun), begun + length);
            while !ledger.reaches(end) {
                self.run_until(self.clock.now() + step);
                ledger.kept.extend(take(self));
                ledger.settle(end.min(self.clock.now() - length));
            }
            let energy = ledger.finish(end);
            let [from, to] = [begun, end].map(|at| (at - self.created).as_secs_f64());
            let truth = shape.joules(to) - shape.joules(from);
            if (energy.joules - truth).abs() > energy.uncertainty {
                outside.push(format!("{truth} J, {energy:?}"));
            }
            // The tracker may lose an edge, and with it part of a cycle.
            prop_assert!(energy.unmeasured() < step, "{energy:?}");
        }
        Ok(outside)
    }
}

fn micros(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_micros)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn energy_is_within_the_uncertainty(
        shape in shapes(),
        (hertz, interval) in prop_oneof![
            (Just(100_000), micros(4_000..20_000)),
            // With a shorter cycle, the chip may convert the current only once per result, so that
            // each step of the load moves the energy by up to half a result.
            (Just(400_000), micros(2_700..20_000)),
        ],
        is_slow: bool,
        runs in prop::collection::vec((micros(1..30_000), micros(100..300_000)), RUNS),
    ) {
        let mut scene = scene(shape, hertz, interval, is_slow);
        scene.run_until(scene.created + Duration::from_secs(1));
        let take = |scene: &Scene| {
            let results = scene.meter.lock().take_results();
            results.iter().map(source::slice).collect()
        };
        let outside = scene.outside(&shape, &runs, interval, take)?;
        prop_assert!(outside.len() <= RUNS / 20, "{outside:#?}");
    }

    /// Scrapes every half second of metrics that are updated every second.
    #[test]
    fn energy_through_a_service_is_within_the_uncertainty(
        shape in shapes(),
        interval in micros(50_000..1_000_000),
        runs in prop::collection::vec((micros(1..2_000_000), micros(100..6_000_000)), RUNS),
    ) {
        let mut scene = scene(shape, 400_000, interval, false);
        let (mut stream, mut served) = (Stream::default(), ScrapedSensor::default());
        let (mut power, mut updated) = ([0.0; 2], scene.created);
        let mut take = |scene: &Scene| {
            let (now, wall) = (scene.clock.now(), scene.clock.wall());
            let mut meter = scene.meter.lock();
            if now - updated >= Duration::from_secs(1) && let Some(last) = meter.last {
                updated = now;
                let powers = std::mem::take(&mut meter.observations).powers;
                power = [power[0] + powers.iter().sum::<f64>(), power[1] + powers.len() as f64];
                let at = (wall - (now - last.at)).duration_since(SystemTime::UNIX_EPOCH).unwrap();
                let last = last.measured;
                served = ScrapedSensor {
                    up: true,
                    readings: Some(Readings { last, min: last, max: last }),
                    last_result: Some((at.as_secs_f64() * 1e3).round() / 1e3),
                    power,
                    cycle: Some(meter.cycle.as_secs_f64()),
                    ..ScrapedSensor::default()
                };
            }
            stream.advance(Some(&served), (now, wall)).into_iter().collect()
        };
        scene.run_until(scene.created + Duration::from_secs(3));
        take(&scene);
        let outside = scene.outside(&shape, &runs, Duration::from_millis(500), take)?;
        prop_assert!(outside.len() <= RUNS / 20, "{outside:#?}");
    }
}

/// Returns a session that measures simulated chips on these buses, and the boards.
fn started(buses: &[u8]) -> (Session, BTreeMap<BusName, Arc<Board>>) {
    let mut plan = config::load_alone(&Overrides::default()).unwrap().plan;
    let sensor = plan.sensors.remove(0);
    plan.sensors = buses.iter().map(|_| sensor.clone()).collect();
    for (sensor, bus) in plan.sensors.iter_mut().zip(buses) {
        sensor.location.bus = (*bus).into();
    }
    let provider = BusProvider::new(Some(&Faults::default()));
    let mut session = Session::open(plan, provider, true, None, None).unwrap();
    let mut stop = |time| {
        thread::sleep(time);
        false
    };
    assert!(session.start(&mut stop).unwrap());
    let boards = session.reader.provider.boards.clone();
    (session, boards)
}

#[test]
fn measured_chips_are_those_that_were_probed() {
    let (mut session, boards) = started(&[1]);
    let board = &boards[&1.into()];
    let configured = read_settings(&mut board.clone(), HERE).unwrap();
    assert_eq!(session.close(), [""; 0]);
    let restored = read_settings(&mut board.clone(), HERE).unwrap();
    // The power-on default of Configuration (SBOS656C).
    assert_eq!(restored.settings(), Settings::from_word(0x6127));
    assert_ne!(configured.settings(), restored.settings());
}

#[test]
fn blocked_transfer_leaves_no_chip_on_another_bus_changed() {
    let (mut session, boards) = started(&[1, 2]);
    boards[&1.into()].inject(Fault::Hang);
    let messages = session.close();
    boards[&1.into()].clear_faults();
    let restored = read_settings(&mut boards[&2.into()].clone(), HERE).unwrap();
    assert_eq!(restored.settings(), Settings::from_word(0x6127));
    let message = "sensor deepx (bus 1, 0x40): registers not restored: a transfer is blocked";
    assert_eq!(messages, [message]);
}

#[test]
fn another_chip_at_the_address_is_not_restored() {
    let (mut session, boards) = started(&[1]);
    let board = &boards[&1.into()];
    board.inject(Fault::WrongIdentity);
    let writes = || board.chip(None, HERE, |chip| chip.writes);
    let before = writes();
    let message = "sensor deepx (bus 1, 0x40): registers not restored: an INA226, not an INA260";
    assert!(session.close()[0].starts_with(message));
    assert_eq!(writes(), before);
}
