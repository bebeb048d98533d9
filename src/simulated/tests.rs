//! The simulated chip, compared with the data sheet; without noise where words are compared.

use super::*;
use crate::ina260::registers::Register;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn result_is_ready_after_a_cycle_until_read() {
    let mut chip = Chip::exact(Load::steady(12.0, -1.0));
    chip.write(0x00, 0x6E9F, ms(0)); // 942.08 ms
    assert_eq!(chip.read(0x06, ms(942)) & 0x0008, 0);
    assert_eq!(chip.read(0x06, ms(943)) & 0x0008, 0x0008);
    assert_eq!(chip.read(0x06, ms(944)) & 0x0008, 0); // cleared by the read
    assert_eq!(chip.read(0x01, ms(945)), 0xFCE0);
    assert_eq!(chip.read(0x02, ms(945)), 9600);
    assert_eq!(chip.read(0x03, ms(945)), 1200);
    assert_eq!(chip.counts, Counts { finished: 1, read: 1, ..Counts::default() });
    chip.read(0x06, ms(943 * 4));
    assert_eq!(chip.counts, Counts { finished: 4, read: 1, ..Counts::default() });
}

#[test]
fn power_is_the_mean_of_products() {
    // Bursts on 1 Ω: 9 W half of the time; the product of the means is 9.5 V × 0.5 A.
    let current = |t: f64| {
        if t.rem_euclid(0.028_672) < 0.014_336 { 1.0 } else { 0.0 }
    };
    let load = Load { source: 10.0, resistance: 1.0, current: Box::new(current) };
    let mut chip = Chip::exact(load);
    chip.write(0x00, 0x6E07, ms(0)); // 1024 × 280 µs
    assert!(chip.read(0x03, ms(290)).abs_diff(450) <= 1);
}

#[test]
fn overflow_leaves_other_registers_valid() {
    let mut chip = Chip::exact(Load::steady(36.0, 15.0));
    assert_eq!(chip.read(0x06, ms(3)) & 0x000C, 0x000C);
    assert_eq!((chip.read(0x02, ms(3)), chip.read(0x01, ms(3))), (28_800, 12_000));
    assert_eq!(chip.read(0x03, ms(3)), 41_943);
}

#[test]
fn latched_alert_lasts_until_read() {
    let current = |t: f64| if t < 0.005 { 5.0 } else { 1.0 };
    let mut chip = Chip::exact(Load { source: 5.0, resistance: 0.0, current: Box::new(current) });
    chip.write(0x07, 1600, ms(0)); // 2 A
    chip.write(0x06, 0x8001, ms(0));
    chip.read(0x01, ms(3));
    assert_eq!(chip.read(0x06, ms(8)) & 0x0010, 0x0010);
    assert_eq!(chip.read(0x06, ms(12)) & 0x0010, 0);
}

#[test]
fn reset_restores_power_on_values() {
    let mut chip = Chip::exact(Load::steady(5.0, 1.0));
    chip.write(0x00, 0x6007, ms(0));
    chip.write(0x06, 0x0001, ms(0));
    chip.write(0x00, 0x8000, ms(1));
    let registers = [Register::Configuration, Register::MaskEnable, Register::AlertLimit];
    assert_eq!(registers.map(|r| chip.read(r as u8, ms(1))), [0x6127, 0, 0]);
}

#[test]
fn slower_clock_restarts_the_cycle() {
    let mut chip = Chip::exact(Load::steady(5.0, 1.0));
    chip.slow_down(1.1, ms(1000));
    assert_eq!(chip.read(0x06, ms(1001)) & 0x0008, 0x0008); // from before the change
    assert_eq!(chip.read(0x06, ms(1002)) & 0x0008, 0);
    assert_eq!(chip.read(0x06, ms(1003)) & 0x0008, 0x0008); // 2.42 ms after the change
}

/// Returns current, voltage and power of a chip with averaging 1024 after one cycle.
fn words_after_a_cycle(mut chip: Chip) -> [u16; 3] {
    chip.write(0x00, 0x6E9F, ms(0)); // 942.08 ms
    [Register::Current, Register::BusVoltage, Register::Power].map(|r| chip.read(r as u8, ms(943)))
}

#[test]
fn power_register_averages_magnitudes_or_products() {
    let current = |t: f64| {
        if t.rem_euclid(0.00736) < 0.00368 { 3.0 } else { -2.9 }
    };
    let load = || Load { source: 12.0, resistance: 0.0, current: Box::new(current) };
    // The mean is 50 mA: 0.6 W. The mean of the magnitudes is 2.95 A: 35.4 W.
    assert_eq!(words_after_a_cycle(Chip::exact(load())), [40, 9600, 3540]);
    let mut signed = Chip::exact(load());
    signed.has_signed_power = true;
    assert_eq!(words_after_a_cycle(signed), [40, 9600, 60]);
}

#[test]
fn conversions_have_noise_and_offsets() {
    // No load at 24 V: offsets of 0.8 and -2 steps. The mean of the magnitudes of a noise of 2
    // steps with an offset of 0.8 is 1 + 0.8²/4 = 1.16 steps of current, 35 mW.
    let [current, voltage, power] = words_after_a_cycle(Chip::new(Load::steady(24.0, 0.0)));
    assert_eq!((current, voltage), (1, 19_198));
    assert!((3..=4).contains(&power), "{power}");
}

#[test]
fn comparator_sees_each_conversion_as_it_ends() {
    let current = |t: f64| if (0.5..0.502).contains(&t) { -1.0 } else { 1.0 };
    let mut chip = Chip::new(Load { source: 5.0, resistance: 0.0, current: Box::new(current) });
    chip.write(0x07, 0xFFF8, ms(0));
    chip.write(0x06, 0x4001, ms(0));
    chip.write(0x00, 0x6E9F, ms(0));
    let alerts = [499, 503, 504].map(|at| chip.read(0x06, ms(at)) & 0x0018);
    assert_eq!(alerts, [0, 0x0010, 0], "before the cycle ends");
}

#[test]
fn corruption_replaces_words_of_a_register() {
    let clock = Arc::new(crate::clock::SimulatedClock::default());
    let board = Board::new(clock, 400_000);
    board.plug(None, Address(0x40), Chip::new(Load::steady(5.0, 1.0)));
    for skipped in [1, 2] {
        board.corrupt(skipped, Address(0x40), Register::DieId, 0xFFFF);
    }
    let mut bus = board.clone();
    let dies = [(); 4].map(|()| bus.read_word(Address(0x40), 0xFF).unwrap());
    assert_eq!(dies, [0x2270, 0xFFFF, 0xFFFF, 0x2270]);
    board.inject(Fault::Corrupt);
    let words = [(); 2].map(|()| bus.read_word(Address(0x40), 0x01).unwrap());
    assert_eq!(words, [0xFFFF, 0x0000]);
}
