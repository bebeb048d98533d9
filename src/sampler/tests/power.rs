//! The power of alternating, pulsed and reversed loads, measured by chips with noise and offsets.
//! The power of the loads is integrated numerically, not by the simulated chip.

use std::f64::consts::TAU;

use proptest::prelude::*;

use super::*;
use crate::ina260::alert::{Alert, Function, Polarity};

/// Current of a load as a function of the time in seconds.
type Current = Arc<dyn Fn(f64) -> f64 + Send + Sync>;

/// A source with a resistance, and the current drawn from it.
#[derive(Clone)]
struct Shape {
    source: f64,
    resistance: f64,
    current: Current,
}

/// Means of voltage, current and power.
#[derive(Debug)]
struct Means {
    voltage: f64,
    current: f64,
    power: f64,
}

impl Shape {
    fn new(
        source: f64,
        resistance: f64,
        current: impl Fn(f64) -> f64 + Send + Sync + 'static,
    ) -> Self {
        Self { source, resistance, current: Arc::new(current) }
    }

    fn load(&self) -> Load {
        let current = self.current.clone();
        Load {
            source: self.source,
            resistance: self.resistance,
            current: Box::new(move |t| current(t)),
        }
    }

    /// Integrates the load in steps of 10 us.
    fn means(&self, from: f64, to: f64) -> Means {
        let steps = ((to - from) / 1e-5).round();
        let mut sums = [0.0; 3];
        let mut step = 0.5;
        while step < steps {
            let current = (self.current)(from + step * 1e-5);
            let voltage = self.source - self.resistance * current;
            sums[0] += voltage;
            sums[1] += current;
            sums[2] += voltage * current;
            step += 1.0;
        }
        let [voltage, current, power] = sums.map(|sum| sum / steps);
        Means { voltage, current, power }
    }
}

fn scene_of_chip(chip: Chip, setup: Setup) -> Scene {
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    board.plug(None, FIRST, chip);
    scene_of(clock, board, vec![setup])
}

/// Runs, and returns the mean power of the results after `warm_up`.
fn mean_power(scene: &mut Scene, warm_up: Duration, time: Duration) -> f64 {
    scene.run(warm_up);
    scene.meters[0].lock().take_means();
    scene.run(time);
    let means = scene.meters[0].lock().take_means();
    means.unwrap().0.power.0
}

/// Period of pulses in seconds: 128 pairs of conversions of 920 us, so that few pairs see the
/// current of one level and the voltage of the other.
const PERIOD: f64 = 0.1177;

/// Pulses of `period` with a duty cycle of one half.
fn pulses(period: f64, low: f64, high: f64) -> impl Fn(f64) -> f64 + Clone {
    move |t| {
        if t.rem_euclid(period) < period / 2.0 { high } else { low }
    }
}

/// The power to be served for each load was worked out on paper, for averaging 1024.
#[test]
fn power_follows_the_table_of_loads() {
    let (current_offset, voltage_offset) = (0.8, -2.0); // in steps
    let rows: [(&str, Shape, f64); 5] = [
        ("no load", Shape::new(24.0, 0.0, |_| 0.0), 0.0),
        (
            "battery, 2 A ripple",
            Shape::new(12.602, 0.02, |t| 0.1 + 2.0 * (TAU * t / 0.0123).sin()),
            1.26,
        ),
        ("+3 A and -2.9 A", Shape::new(12.601, 0.02, pulses(PERIOD, -2.9, 3.0)), 0.63),
        ("bursts", Shape::new(12.0, 0.1, pulses(PERIOD, 0.0, 3.0)), 17.55),
        ("PWM, resistive", Shape::new(0.0, -4.0, pulses(PERIOD, 0.0, 3.0)), 18.0),
    ];
    for (name, shape, served) in rows {
        let mut scene = scene_of_chip(Chip::new(shape.load()), setup(FIRST, secs(1)));
        let power = mean_power(&mut scene, secs(10), secs(120));
        let means = shape.means(0.0, 1000.0 * PERIOD);
        // The offsets of the chip are part of what it measures.
        let error = (means.voltage * current_offset + means.current * voltage_offset) * 0.00125;
        let rounding = 0.000_625 * means.voltage;
        assert!(
            (power - served - error).abs() <= 0.02 * served + rounding,
            "{name}: {power} W instead of {served} W, offset {error} W"
        );
    }
}

#[test]
fn reverse_pulses_count_with_their_sign() {
    let shape = Shape::new(0.0, -4.0, pulses(PERIOD, -3.0, 0.0));
    // The voltage cannot be negative: 12 V while -3 A flow.
    let shape = Shape { resistance: 4.0, ..shape };
    let mut scene = scene_of_chip(Chip::new(shape.load()), setup(FIRST, secs(1)));
    let power = mean_power(&mut scene, secs(10), secs(60));
    assert!((power / -18.0 - 1.0).abs() < 0.02, "{power}");
    assert_eq!(comparator(&scene), (0x8001, 8));
}

#[test]
fn guard_is_armed_by_a_greater_register_only() {
    let mut scene = scene_of_chip(Chip::new(Load::board(0)), setup(FIRST, secs(1)));
    scene.run(secs(30));
    assert_eq!(comparator(&scene), (0x0001, 0));
    let shape = Shape::new(0.0, -4.0, pulses(PERIOD, 0.0, 3.0));
    scene.board.chip(None, FIRST, |chip| chip.load = shape.load());
    scene.run(secs(3));
    assert_eq!(comparator(&scene), (0x4001, 0xFFF8));
    // 100 results without a greater register take 94 s.
    scene.board.chip(None, FIRST, |chip| chip.load = Load::steady(5.0, 1.0));
    scene.run(secs(90));
    assert_eq!(comparator(&scene), (0x4001, 0xFFF8));
    scene.run(secs(10));
    assert_eq!(comparator(&scene), (0x0001, 0));
    assert_eq!(scene.meters[0].lock().resets, [0, 0]);
}

#[test]
fn product_is_served_until_guard_saw_whole_result() {
    // 88 ms: 256 × (204 + 140) us, 3 A in one half of each 7.3 ms.
    let shape = Shape::new(0.0, -4.0, pulses(0.0073, 0.0, 3.0));
    let mut scene =
        scene_of_chip(Chip::new(shape.load()), setup(FIRST, Duration::from_millis(100)));
    let mut powers = Vec::new();
    while powers.len() < 6 {
        let due = scene.sampler.poll_due();
        scene.clock.advance_to(due);
        if let Some((means, _)) = scene.meters[0].lock().take_means() {
            powers.push(means.power.0);
        }
    }
    // The first result arms the guard, and the second began before that. The phase is known only
    // from the write of the configuration, so the third may also have begun too early.
    assert!(powers[0] < 11.0 && powers[1] < 11.0, "{powers:?}");
    assert!(powers[3..].iter().all(|power| *power > 16.0), "{powers:?}");
}

/// A bus on which reading the alert limit takes 150 ms until the guard is written.
struct SlowCheck {
    bus: Arc<Board>,
    clock: Arc<SimulatedClock>,
    /// Time at which the guard was written, in microseconds.
    written: Arc<AtomicU32>,
}

impl Bus for SlowCheck {
    fn read_word(&mut self, address: Address, register: u8) -> Result<u16, crate::i2c::Error> {
        if register == 0x07 && self.written.load(Relaxed) == u32::MAX {
            self.clock.wait(Duration::from_millis(150));
        }
        self.bus.read_word(address, register)
    }

    fn write_word(
        &mut self,
        address: Address,
        register: u8,
        word: u16,
    ) -> Result<(), crate::i2c::Error> {
        self.bus.write_word(address, register, word)?;
        if (register, word) == (0x06, 0x4001) {
            let micros = self.clock.elapsed().as_micros();
            self.written.store(u32::try_from(micros).unwrap(), Relaxed);
        }
        Ok(())
    }

    fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), crate::i2c::Error> {
        self.bus.send_byte(address, byte)
    }

    fn receive_byte(&mut self, address: Address) -> Result<u8, crate::i2c::Error> {
        self.bus.receive_byte(address)
    }
}

#[test]
fn guard_written_late_covers_no_started_result() {
    // The settings are checked every second, in the poll of one of twelve results of 88 ms.
    for shift in 0..12 {
        let clock = Arc::new(SimulatedClock::default());
        let board = Board::new(clock.clone(), 400_000);
        let written = Arc::new(AtomicU32::new(u32::MAX));
        let until = written.clone();
        let begin = 3.0 + f64::from(shift) * 0.088;
        let (steady, reversing, pulsed) =
            (|_| 1.0, pulses(0.0073, -2.0, 3.0), pulses(0.0073, 0.0, 3.0));
        let current = move |t: f64| match t {
            t if t < begin => steady(t),
            t if t * 1e6 < f64::from(until.load(Relaxed)) => reversing(t),
            t => pulsed(t),
        };
        // At a constant voltage, the mean power is voltage times mean current.
        let load = Load { source: 12.0, resistance: 0.0, current: Box::new(current) };
        board.plug(None, FIRST, Chip::exact(load));
        let setup = setup(FIRST, Duration::from_millis(100));
        let mut scene = scene_of(clock.clone(), board.clone(), vec![setup.clone()]);
        let bus = SlowCheck { bus: board, clock: clock.clone(), written: written.clone() };
        let name = "bus 1".to_owned();
        scene.sampler = Sampler::new(name, Box::new(bus), vec![setup], clock, Arc::new(|| ()));
        while scene.clock.elapsed() < secs(6) {
            let due = scene.sampler.poll_due();
            scene.clock.advance_to(due);
            if let Some(last) = scene.meters[0].lock().last {
                let product = last.measured.voltage.0 * last.measured.current.0;
                let power = last.measured.power.0;
                assert!((power - product).abs() < 0.1, "{shift}: {power} W, not {product} W");
            }
        }
        assert_ne!(written.load(Relaxed), u32::MAX, "{shift}: no guard");
    }
}

#[test]
fn tripped_guard_invalidates_two_results() {
    let shape = Shape::new(0.0, -4.0, pulses(0.0073, 0.0, 3.0));
    let mut scene =
        scene_of_chip(Chip::new(shape.load()), setup(FIRST, Duration::from_millis(100)));
    scene.run(secs(10));
    // 2 ms of -1 A within a cycle of 88 ms.
    let current = shape.current.clone();
    let start = scene.clock.elapsed().as_secs_f64() + 0.2;
    scene.board.chip(None, FIRST, |chip| {
        chip.load =
            Load {
                current: Box::new(move |t| {
                    if (start..start + 0.002).contains(&t) { -1.0 } else { current(t) }
                }),
                ..shape.load()
            };
    });
    let mut low = 0;
    let end = scene.clock.now() + secs(2);
    while scene.clock.now() < end {
        let due = scene.sampler.poll_due();
        scene.clock.advance_to(due);
        if let Some((means, _)) = scene.meters[0].lock().take_means() {
            low += u32::from(means.power.0 < 11.0);
        }
    }
    // The result with the pulse; the one after it only if the poll saw the comparator trip.
    assert!((1..=2).contains(&low), "{low}");
    let meter = scene.meters[0].lock();
    assert!(!meter.alert && meter.alerts == 0 && meter.resets == [0, 0]);
}

#[test]
fn guard_switches_after_two_opposite_results() {
    let forward = Shape::new(0.0, -4.0, pulses(PERIOD, 0.0, 3.0));
    let mut scene = scene_of_chip(Chip::new(forward.load()), setup(FIRST, secs(1)));
    scene.run(secs(10));
    assert_eq!(comparator(&scene), (0x4001, 0xFFF8));
    let reverse = Shape::new(0.0, 4.0, pulses(PERIOD, -3.0, 0.0));
    scene.board.chip(None, FIRST, |chip| chip.load = reverse.load());
    scene.run(secs(4));
    assert_eq!(comparator(&scene), (0x8001, 8));
    let power = mean_power(&mut scene, secs(3), secs(10));
    assert!((power / -18.0 - 1.0).abs() < 0.02, "{power}");
}

#[test]
fn greater_register_never_counts_without_guard() {
    let shape = Shape::new(0.0, -4.0, pulses(PERIOD, 0.0, 3.0));
    let user_alert =
        Alert::new(Function::OverVoltage, 30.0, Polarity::ActiveLow, &Calibration::default());
    let plain = setup(FIRST, secs(1)).chip;
    let by_alert = Ina260 { alert: user_alert.ok(), ..plain };
    let by_key = Ina260 { power_guard: false, ..plain };
    let read_only = Ina260 { configure: false, ..plain };
    for (chip, words) in
        [(by_alert, (0x2001, 24_000)), (by_key, (0x0001, 0)), (read_only, (0x0000, 0))]
    {
        let mut simulated = Chip::new(shape.load());
        if !chip.configure {
            simulated.write(0x00, 0x6E9F, Duration::ZERO);
        }
        let setup = Setup { chip, ..setup(FIRST, secs(1)) };
        let mut scene = scene_of_chip(simulated, setup);
        let power = mean_power(&mut scene, secs(5), secs(20));
        assert!((power / 9.0 - 1.0).abs() < 0.02, "{words:?}: {power}");
        assert_eq!(comparator(&scene), words);
    }
}

#[test]
fn guard_trips_are_not_alerts() {
    let shape = Shape::new(12.602, 0.02, |t| 0.1 + 2.0 * (TAU * t / 0.0123).sin());
    let mut scene = scene_of_chip(Chip::new(shape.load()), setup(FIRST, secs(1)));
    scene.run(secs(60));
    assert_eq!(comparator(&scene), (0x4001, 0xFFF8), "the guard is armed");
    let meter = scene.meters[0].lock();
    assert!(!meter.alert && meter.alerts == 0 && meter.resets == [0, 0]);
    drop(meter);
    scene.sampler.replace(Vec::new());
    assert_eq!(comparator(&scene).0, 0x0000);
}

#[test]
fn failed_guard_write_is_not_a_foreign_reset() {
    use crate::i2c;

    /// A bus on which some writes of the alert limit fail after they took effect.
    struct Failing(Arc<Board>, Arc<AtomicU32>);

    impl Bus for Failing {
        fn read_word(&mut self, address: Address, register: u8) -> Result<u16, i2c::Error> {
            self.0.read_word(address, register)
        }

        fn write_word(&mut self, at: Address, register: u8, word: u16) -> Result<(), i2c::Error> {
            self.0.write_word(at, register, word)?;
            if (register, word) == (0x07, 0xFFF8) && self.1.load(Relaxed) > 0 {
                self.1.fetch_sub(1, Relaxed);
                return Err(i2c::Error::from_errno(121));
            }
            Ok(())
        }

        fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), i2c::Error> {
            self.0.send_byte(address, byte)
        }

        fn receive_byte(&mut self, address: Address) -> Result<u8, i2c::Error> {
            self.0.receive_byte(address)
        }
    }

    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    let shape = Shape::new(0.0, -4.0, pulses(PERIOD, 0.0, 3.0));
    board.plug(None, FIRST, Chip::new(shape.load()));
    let setup = setup(FIRST, secs(1));
    let mut scene = scene_of(clock.clone(), board.clone(), vec![setup.clone()]);
    let bus = Failing(board.clone(), Arc::new(AtomicU32::new(2)));
    let name = "bus 1".to_owned();
    scene.sampler = Sampler::new(name, Box::new(bus), vec![setup], clock, Arc::new(|| ()));
    let power = mean_power(&mut scene, secs(20), secs(20));
    assert!((power / 18.0 - 1.0).abs() < 0.02, "{power}");
    assert_eq!(scene.meters[0].lock().resets, [0, 0]);
    assert_eq!(scene.failures(0, Failure::Nack), 2);
    assert_eq!(scene.failures(0, Failure::Settings), 0);
}

#[test]
fn guard_downstream_of_mux_survives_foreign_selects() {
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    let channel = crate::i2c::mux::Channel { multiplexer: Address(0x70), channel: 0 };
    let shape = Shape::new(0.0, -4.0, pulses(PERIOD, 0.0, 3.0));
    board.plug(Some(channel), FIRST, Chip::new(shape.load()));
    let setup = Setup { channel: Some(channel), ..setup(FIRST, secs(1)) };
    let mut scene = scene_of(clock, board, vec![setup]);
    // Another master selects another channel after 1 to 200 transfers, the guard's writes included.
    for transfers in 1..200 {
        scene.board.write_as_other_master(transfers, Address(0x70), 0x02);
        scene.run(secs(3));
    }
    let power = mean_power(&mut scene, secs(20), secs(30));
    // Without the guard it would be 9 W.
    assert!((17.0..=18.0).contains(&power), "{power}");
    assert_eq!(scene.meters[0].lock().resets, [0, 0]);
}

#[test]
fn mux_that_disappears_at_a_guard_write_is_logged() {
    let channel = crate::i2c::mux::Channel { multiplexer: Address(0x70), channel: 0 };
    let new = || {
        let clock = Arc::new(SimulatedClock::default());
        let board = Board::new(clock.clone(), 400_000);
        let shape = Shape::new(0.0, -4.0, pulses(PERIOD, 0.0, 3.0));
        board.plug(Some(channel), FIRST, Chip::new(shape.load()));
        scene_of(clock, board, vec![Setup { channel: Some(channel), ..setup(FIRST, secs(1)) }])
    };
    let mut scene = new();
    let limit = |scene: &Scene| {
        let now = scene.clock.elapsed();
        scene.board.chip(Some(channel), FIRST, |chip| chip.read(0x07, now))
    };
    let step = Duration::from_millis(10);
    while limit(&scene) == 0 {
        scene.run(step);
    }
    let armed = scene.clock.elapsed();
    for micros in (0..10_000).step_by(40) {
        let mut scene = new();
        scene.run(armed - step);
        scene.board.schedule(crate::simulated::ScheduledFault {
            fault: Fault::NoAnswer,
            address: Some(Address(0x70)),
            from: scene.clock.elapsed() + Duration::from_micros(micros),
            until: None,
        });
        let log = scene.run_logged(Duration::from_millis(1_500));
        assert!(log.contains("WARN") && !scene.up(0), "after {micros} µs: {log}");
    }
}

#[test]
fn ordinary_load_costs_four_words() {
    let words_and_results = |chip| {
        let mut scene = scene_of_chip(chip, setup(FIRST, Duration::from_millis(100)));
        scene.run(secs(60));
        let (words, results) = (scene.board.transfers(), scene.results(0));
        scene.run(secs(120));
        (scene.board.transfers() - words, scene.results(0) - results)
    };
    // In addition: each second the settings are checked with three words, flags included.
    let expected = words_and_results(Chip::exact(Load::steady(5.0, 1.0)));
    assert!(expected.0 - 4 * expected.1 < 3 * 120, "{expected:?}");
    for load in [
        Load::steady(24.0, 0.0),
        Load::steady(36.0, 0.0006),
        Load::steady(36.0, -0.0016),
        Load::steady(5.0, 1.0),
        Load::steady(20.0, -14.9),
        Load::board(3),
    ] {
        assert_eq!(words_and_results(Chip::new(load)), expected);
    }
}

proptest! {
    #![proptest_config(cases(48))]

    /// Whatever the load and the chip, the power is between that of the load and voltage times
    /// current. For a constant load and for pulses in one direction, it is that of the load.
    #[test]
    fn power_is_that_of_the_load(
        volts in 5.0..30.0_f64,
        level in -3.0..3.0_f64,
        swing in 0.0..3.0_f64,
        micros in 60_000..250_000_u32,
        kind in 0..4_u8,
        is_signed in any::<bool>(),
        millis in prop::sample::select(vec![100_u64, 250, 1_000]),
    ) {
        let period = f64::from(micros) / 1e6;
        let shape = match kind {
            0 => Shape::new(volts, 0.05, move |_| level),
            1 => Shape::new(volts, 0.05, move |t| level + swing * (TAU * t / period).sin()),
            2 => Shape::new(volts, 0.05, pulses(period, level - swing, level + swing)),
            // A resistor that is switched: no voltage without a current.
            _ => Shape::new(0.0, -4.0, pulses(period, 0.0, 0.1 + swing)),
        };
        let mut chip = Chip::new(shape.load());
        if is_signed {
            chip.has_signed_power = true;
        }
        let mut scene = scene_of_chip(chip, setup(FIRST, Duration::from_millis(millis)));
        let power = mean_power(&mut scene, secs(5), secs(20));
        let means = shape.means(0.0, 100.0 * period);
        let product = means.voltage * means.current;
        // Offsets, rounding, the aliasing of pulses with the conversions, and a step of 10 mW.
        let tolerance = means.voltage.abs() * 0.003 + means.current.abs() * 0.004
            + 0.02 * means.power.abs().max(product.abs())
            + volts * swing * 0.01
            + 0.01;
        let (low, high) = (means.power.min(product), means.power.max(product));
        prop_assert!(
            (low - tolerance..=high + tolerance).contains(&power),
            "{power} W instead of {low} W to {high} W"
        );
        if kind == 0 || kind == 3 {
            prop_assert!(
                (power - means.power).abs() <= tolerance,
                "{power} W instead of {means:?}"
            );
        }
    }
}
