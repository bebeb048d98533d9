//! Calibration, in real time, of a simulated chip that reads 1 mA too much, 2.5 mV too little.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::clock::SystemClock;
use crate::config::Overrides;
use crate::i2c::{Address, Bus};
use crate::simulated::{Board, Chip, Fault, Faults, Load};
use crate::units::Amperes;

const HERE: Address = Address(0x40);

fn board(load: Load) -> Arc<Board> {
    board_at(400_000, load)
}

fn board_at(hertz: u32, load: Load) -> Arc<Board> {
    let board = Board::new(Arc::new(SystemClock), hertz);
    board.plug(None, HERE, Chip::new(load));
    board
}

/// Calibrates the chip of a board; `stops` is whether a signal arrives. The time is long, because a
/// busy machine may delay the test by a second.
fn calibrate_on(
    board: &Arc<Board>,
    args: CalibrateArgs,
    existing: Calibration,
    stops: bool,
) -> Result<String, Failure> {
    let args = CalibrateArgs { duration: Duration::from_secs(6), ..args };
    let mut plan = config::load_alone(&Overrides::default()).unwrap().plan;
    plan.sensors[0].calibration = existing;
    let boards = BTreeMap::from([(1.into(), board.clone())]);
    let provider =
        BusProvider { faults: Some(Faults::default()), boards, ..BusProvider::default() };
    let mut output = Vec::new();
    let mut stop = |time| {
        std::thread::sleep(time);
        stops && board.chip(None, HERE, |chip| chip.writes) > 2
    };
    let caller = Caller { output: &mut output, progress: None, stop: &mut stop };
    calibrate(&args, plan, provider, caller)?;
    Ok(String::from_utf8(output).unwrap())
}

/// Returns the value printed for a key, without its unit.
fn value(output: &str, key: &str) -> f64 {
    let line = output.lines().find_map(|line| line.strip_prefix(key)).expect(output);
    line.trim_matches([' ', '=', '"', 'm', 'A']).parse().unwrap()
}

#[test]
fn offset_is_not_corrected_twice() {
    let board = board(Load::steady(12.0, 0.0));
    let zero = || CalibrateArgs { zero: true, ..CalibrateArgs::default() };
    let mut existing = Calibration::default();
    for _ in 0..2 {
        let output = calibrate_on(&board, zero(), existing, false).unwrap();
        let offset = value(&output, "current_offset");
        // The fewer results a busy machine has read, the greater the error.
        let error: f64 = output.split_once("± ").unwrap().1[..5].parse().unwrap();
        assert!((offset + 1.0).abs() < 5.0 * error && error < 1.0, "{output}");
        existing.current_offset = Amperes(offset / 1e3);
    }
}

/// A transfer takes 4.7 ms, a result 18.8 ms: longer than the longest cycle without averaging.
#[test]
fn slow_bus_is_calibrated_with_averaging() {
    let board = board_at(10_000, Load::steady(12.0, 0.0));
    let zero = CalibrateArgs { zero: true, ..CalibrateArgs::default() };
    let output = calibrate_on(&board, zero, Calibration::default(), false).unwrap();
    // 1 mA, to within a step.
    assert!((value(&output, "current_offset") + 1.0).abs() < 1.25, "{output}");
}

#[test]
fn gains_follow_from_the_reference() {
    let board = board(Load::steady(12.0, 2.5));
    let existing = Calibration { current_offset: Amperes(-0.001), ..Calibration::default() };
    let args = CalibrateArgs {
        current: Some(2.505),
        voltage: Some(12.012),
        toml: true,
        ..CalibrateArgs::default()
    };
    let output = calibrate_on(&board, args, existing, false).unwrap();
    // 2.505 / 2.5 and 12.012 / 11.9975.
    assert!((value(&output, "current_gain") - 1.002).abs() < 0.0005, "{output}");
    assert!((value(&output, "voltage_gain") - 1.001_21).abs() < 0.0002, "{output}");
    assert!((value(&output, "current_offset") + 1.002).abs() < 0.0011, "{output}");
    assert!(output.contains("\n[[sensor]]\ndevice = \"deepx\"\nbus = 1\n"), "{output}");
}

#[test]
fn zero_with_a_load_is_refused() {
    let zero = || CalibrateArgs { zero: true, ..CalibrateArgs::default() };
    let current = |t: f64| if t.fract() < 0.4 { 1.2 } else { 0.0 };
    let pulsed = Load { source: 12.0, resistance: 0.0, current: Box::new(current) };
    for (load, part) in [
        (Load::steady(12.0, 0.6), "a load is still connected"),
        (pulsed, "the current is not steady"),
    ] {
        let outcome = calibrate_on(&board(load), zero(), Calibration::default(), false);
        let Err(Failure::Partly(messages)) = outcome else { panic!("{outcome:?}") };
        assert!(messages[0].contains(part), "{messages:?}");
    }
}

#[test]
fn registers_are_restored_after_a_signal() {
    let board = board(Load::steady(12.0, 0.0));
    board.clone().write_word(HERE, 0x07, 0x1234).unwrap();
    let zero = CalibrateArgs { zero: true, ..CalibrateArgs::default() };
    let outcome = calibrate_on(&board, zero, Calibration::default(), true);
    assert!(matches!(outcome, Err(Failure::Partly(_))), "{outcome:?}");
    assert!(board.chip(None, HERE, |chip| chip.writes) > 3);
    let read = |register| board.clone().read_word(HERE, register).unwrap();
    assert_eq!([read(0x00), read(0x06) & 0xFC03, read(0x07)], [0x6127, 0x0000, 0x1234]);
}

#[test]
fn registers_that_are_not_restored_are_reported() {
    let board = board(Load::steady(12.0, 0.0));
    let chips = board.clone();
    let lose = std::thread::spawn(move || {
        while chips.chip(None, HERE, |chip| chip.writes) < 3 {
            std::thread::sleep(Duration::from_millis(10));
        }
        chips.inject(Fault::NoAnswer);
    });
    let zero = CalibrateArgs { zero: true, ..CalibrateArgs::default() };
    let outcome = calibrate_on(&board, zero, Calibration::default(), false);
    lose.join().unwrap();
    let Err(Failure::Partly(messages)) = outcome else { panic!("{outcome:?}") };
    assert!(messages[0].contains("too few results"), "{messages:?}");
    assert!(messages[1].contains("registers not restored"), "{messages:?}");
}
