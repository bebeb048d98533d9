//! Words that a transfer corrupts.

use proptest::prelude::*;

use super::*;
use crate::ina260::registers::Register;

fn scene_of_load(load: Load, interval: Duration, always_power: bool) -> Scene {
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    // Exact words, so that two runs can be compared whatever else was read.
    board.plug(None, FIRST, Chip::exact(load));
    let setup = Setup { always_power, ..setup(FIRST, interval) };
    scene_of(clock, board, vec![setup])
}

/// Everything that a corrupted word must not change: energy, charge, time, results, extremes and
/// the counters but that of corrupted words.
fn effects(scene: &Scene) -> impl PartialEq + std::fmt::Debug + use<> {
    let now = scene.clock.now();
    let mut meter = scene.meters[0].lock();
    let totals = meter.accumulator.totals(now);
    let extremes = meter.window.extremes(now).unwrap();
    let failures = meter.failures[..Failure::Corrupt as usize].to_vec();
    let (energy, charge) = (totals.energy.whole(), totals.charge.whole());
    (
        (energy, charge, totals.results, totals.missed),
        (extremes.min, extremes.max),
        (failures, meter.resets, meter.overflows, meter.up),
    )
}

/// Runs with and without the corruption, and compares.
fn assert_harmless(
    volts: f64,
    amperes: f64,
    interval: Duration,
    always_power: bool,
    words: &[(Register, u16)],
) {
    let run = |is_corrupted: bool| {
        let load = Load::steady(volts, amperes);
        let mut scene = scene_of_load(load, interval, always_power);
        scene.run(secs(20));
        for (register, word) in words.iter().filter(|_| is_corrupted) {
            scene.board.corrupt(0, FIRST, *register, *word);
        }
        scene.run(secs(20));
        scene
    };
    let (plain, corrupted) = (run(false), run(true));
    assert_eq!(effects(&plain), effects(&corrupted), "{words:x?}");
    assert_eq!(plain.failures(0, Failure::Corrupt), 0);
    assert_eq!(corrupted.failures(0, Failure::Corrupt), words.len() as u64, "{words:x?}");
}

#[test]
fn corrupted_power_changes_nothing() {
    assert_harmless(5.0, 1.0, secs(1), true, &[(Register::Power, 0xFFFF)]);
    assert_harmless(5.0, 1.0, secs(1), true, &[(Register::Power, 0x0000)]);
    assert_harmless(5.0, 1.0, secs(1), true, &[(Register::Power, 3_000)]);
}

#[test]
fn corrupted_current_changes_nothing() {
    assert_harmless(5.0, 1.0, secs(1), true, &[(Register::Current, 0xFFFF)]);
    assert_harmless(5.0, 1.0, secs(1), true, &[(Register::Current, 0x7FFF)]);
    assert_harmless(12.0, 0.0, secs(1), true, &[(Register::Current, 3_002)]);
}

#[test]
fn corrupted_voltage_changes_nothing() {
    assert_harmless(5.0, 1.0, secs(1), true, &[(Register::BusVoltage, 0xFFFF)]);
    assert_harmless(5.0, 1.0, secs(1), true, &[(Register::BusVoltage, 0x0000)]);
    let interval = Duration::from_millis(5);
    assert_harmless(5.0, 1.0, interval, false, &[(Register::BusVoltage, 0xFFFF)]);
    assert_harmless(5.0, 1.0, interval, false, &[(Register::BusVoltage, 0x0000)]);
}

/// Lines that are held low or released for longer than a word, and words that match each other.
#[test]
fn several_corrupted_words_change_nothing() {
    use Register::{BusVoltage, Current, Power};

    let reversed = |amperes: f64| if amperes < 0.0 { 400 } else { (-400_i16).cast_unsigned() };
    for amperes in [1.0, -1.0] {
        for words in [
            &[(BusVoltage, 0), (Power, 0)][..],
            &[(Current, 0), (BusVoltage, 0)],
            &[(Current, 0), (BusVoltage, 0), (Power, 0)],
            &[(Current, 0xFFFF), (Power, 0xFFFF)],
            &[(BusVoltage, 0xFFFF), (Power, 0xFFFF)],
            &[(Current, 0xFFFF), (BusVoltage, 0xFFFF)],
            &[(Current, 0xFFFF), (BusVoltage, 0xFFFF), (Power, 0xFFFF)],
            // 12 V × 0.5 A = 6 W, and 12 V × 20 A = 240 W.
            &[(Current, reversed(amperes)), (Power, 600)],
            &[(Current, 16_000), (Power, 24_000)],
        ] {
            assert_harmless(12.0, amperes, secs(1), true, words);
        }
    }
    let interval = Duration::from_millis(5);
    for word in [0, 0xFFFF] {
        assert_harmless(12.0, 1.0, interval, false, &[(Current, word), (BusVoltage, word)]);
    }
}

#[test]
fn corrupted_flags_change_nothing() {
    for word in [0xFFFF, 0x0000] {
        assert_harmless(5.0, 1.0, secs(1), true, &[(Register::MaskEnable, word)]);
    }
}

#[test]
fn corrupted_flags_do_not_hide_a_result() {
    // Whichever poll it is: one that finds a result, or one of those that bracket an edge.
    for skipped in 0..40 {
        let mut scene = scene_of_load(Load::steady(5.0, 1.0), secs(1), true);
        scene.run(secs(1));
        scene.board.corrupt(skipped, FIRST, Register::MaskEnable, 0xFFFF);
        scene.run(secs(60));
        assert_eq!(scene.failures(0, Failure::Corrupt), 1, "{skipped}");
        assert_eq!(scene.totals(0).missed, 0, "{skipped}");
    }
}

#[test]
fn corrupted_settings_are_not_a_reset() {
    for register in [Register::Configuration, Register::AlertLimit] {
        assert_harmless(5.0, 1.0, secs(1), true, &[(register, 0xFFFF)]);
    }
}

#[test]
fn result_without_two_equal_reads_is_missed() {
    let mut scene = scene_of_load(Load::steady(5.0, 1.0), secs(1), true);
    scene.run(secs(20));
    let before = scene.totals(0);
    for (skipped, word) in [(0, 0xFFFF), (1, 0x8001)] {
        scene.board.corrupt(skipped, FIRST, Register::BusVoltage, word);
    }
    scene.run(secs(20));
    let totals = scene.totals(0);
    assert_eq!((totals.missed, scene.failures(0, Failure::Corrupt)), (1, 2));
    assert_eq!(totals.results + totals.missed - before.results, 21);
    let unmeasured = totals.unmeasured - before.unmeasured;
    let cycle = scene.meters[0].lock().cycle;
    assert!(unmeasured.abs_diff(cycle) < Duration::from_micros(10), "{unmeasured:?}");
    let extremes = scene.meters[0].lock().window.extremes(scene.clock.now());
    assert_eq!(extremes.unwrap().max.voltage.0, 5.0);
}

#[test]
fn two_equal_reads_outvote_the_first() {
    // The first read of the current is corrupted, or the second: the third decides.
    for skipped in [0, 1] {
        let mut scene = scene_of_load(Load::steady(5.0, 1.0), secs(1), true);
        scene.run(secs(20));
        scene.board.corrupt(0, FIRST, Register::Power, 0xFFFF);
        scene.board.corrupt(skipped, FIRST, Register::Current, 1_000);
        scene.run(secs(20));
        assert_eq!((scene.totals(0).missed, scene.failures(0, Failure::Corrupt)), (0, 2));
        let max = scene.meters[0].lock().window.extremes(scene.clock.now());
        assert_eq!(max.unwrap().max.power.0, 5.0);
    }
}

#[test]
fn impossible_word_without_time_is_missed() {
    // A result takes 1.9 ms of a cycle of 2.2 ms: nothing can be read again.
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 100_000);
    board.plug(None, FIRST, Chip::exact(Load::steady(5.0, 1.0)));
    let mut scene = scene_of(clock, board, vec![setup(FIRST, Duration::from_micros(2_300))]);
    scene.run(secs(10));
    for _ in 0..20 {
        scene.board.corrupt(0, FIRST, Register::BusVoltage, 0xFFFF);
        scene.run(secs(1));
    }
    // Other results were torn, and discarded whatever their words were.
    let corrupt = scene.failures(0, Failure::Corrupt);
    assert!((1..=20).contains(&corrupt), "{corrupt}");
    let extremes = scene.meters[0].lock().window.extremes(scene.clock.now());
    assert_eq!(extremes.unwrap().max.voltage.0, 5.0);
    scene.assert_all_counted();
}

#[test]
fn corruption_on_a_foreign_channel_is_not_counted() {
    use crate::i2c::mux::Channel;

    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    let channel = Channel { multiplexer: Address(0x70), channel: 0 };
    board.plug(Some(channel), FIRST, Chip::exact(Load::steady(5.0, 1.0)));
    let setup = Setup { channel: Some(channel), ..setup(FIRST, Duration::from_millis(100)) };
    let mut scene = scene_of(clock, board, vec![setup]);
    scene.run(secs(10));
    // Another master selects another channel after the flags of the next poll.
    scene.board.corrupt(0, FIRST, Register::Power, 0xFFFF);
    scene.board.write_as_other_master(7, Address(0x70), 0x03);
    scene.run(Duration::from_millis(150));
    let failures = |failure| scene.failures(0, failure);
    assert_eq!((failures(Failure::Corrupt), failures(Failure::Mux)), (0, 1));
}

#[test]
fn saturation_counts_at_once() {
    let mut scene = scene_of_load(Load::steady(36.0, 15.0), secs(1), true);
    scene.run(secs(3));
    let (results, failures) = (scene.results(0), scene.failures(0, Failure::Corrupt));
    assert_eq!((results, failures), (3, 0));
    assert_eq!(scene.meters[0].lock().overflows[0], 3);
    // Beyond the scale of current and voltage.
    scene.board.chip(None, FIRST, |chip| chip.load = Load::steady(45.0, 45.0));
    scene.run(secs(5));
    let meter = scene.meters[0].lock();
    assert_eq!(meter.accumulator.totals(scene.clock.now()).missed, 0);
    assert!(meter.overflows[1] >= 4 && meter.overflows[2] >= 4);
    assert_eq!(meter.failures[Failure::Corrupt as usize], 0);
}

proptest! {
    #![proptest_config(cases(48))]

    /// A load that jumps, pulses, saturates or reverses shows in the first whole result after
    /// that, and nothing is counted as corrupted.
    #[test]
    fn real_changes_show_at_once(
        volts in 1.0..40.0_f64,
        levels in prop::array::uniform2(-20.0..20.0_f64),
        is_pulsed in any::<bool>(),
        millis in prop::sample::select(vec![5_u64, 100, 1_000]),
    ) {
        let current = move |t: f64| match t {
            t if t < 20.0 => levels[0],
            t if is_pulsed && t.rem_euclid(0.0073) < 0.003 => 0.0,
            _ => levels[1],
        };
        let load = Load { source: volts, resistance: 0.0, current: Box::new(current) };
        let mut scene = scene_of_load(load, Duration::from_millis(millis), millis > 5);
        let cycle = setup(FIRST, Duration::from_millis(millis)).chip.settings.cycle();
        scene.run(secs(20) + 2 * cycle + Duration::from_millis(20));
        let seen = scene.meters[0].lock().last.unwrap();
        scene.run(secs(5));
        let meter = scene.meters[0].lock();
        let last = meter.last.unwrap().measured.current.0;
        if !is_pulsed {
            prop_assert_eq!(seen.measured.current.0, last);
        }
        let missed = meter.accumulator.totals(scene.clock.now()).missed;
        prop_assert_eq!((meter.failures[Failure::Corrupt as usize], missed), (0, 0));
    }

    /// A corrupted word of any content never changes the power of a result by more than about a
    /// tenth, and every result is counted.
    #[test]
    fn corrupted_words_are_accounted(
        volts in 1.0..30.0_f64,
        amperes in -10.0..10.0_f64,
        words in prop::collection::vec((0..4_usize, any::<u16>(), 1..40_u64), 0..6),
        millis in prop::sample::select(vec![5_u64, 20, 100, 1_000]),
    ) {
        let interval = Duration::from_millis(millis);
        let mut scene = scene_of_load(Load::steady(volts, amperes), interval, true);
        scene.run(secs(20));
        let registers = [
            Register::Current,
            Register::BusVoltage,
            Register::Power,
            Register::MaskEnable,
        ];
        for (register, word, wait) in words {
            // Without bit 15, flags that hide a result or announce one early would be plausible.
            let word = if register == 3 { word | 0x8000 } else { word };
            scene.board.corrupt(0, FIRST, registers[register], word);
            scene.run(Duration::from_millis(wait * 100) + interval);
        }
        scene.run(secs(5));
        scene.assert_all_counted();
        prop_assert_eq!(scene.meters[0].lock().resets, [0, 0]);
        let extremes = scene.meters[0].lock().window.extremes(scene.clock.now()).unwrap();
        let (low, high) = (extremes.min.power.0, extremes.max.power.0);
        let tolerance = volts * amperes.abs() * 0.12 + 0.1 + volts * 0.01;
        prop_assert!(high - low <= 2.0 * tolerance, "{low} W to {high} W");
    }
}
