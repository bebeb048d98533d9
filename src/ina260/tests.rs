//! The driver's traces on the wire, word for word as the datasheet has them.

use super::*;
use crate::i2c;
use crate::ina260::settings::{Averaging, ConversionTime};

/// One expected transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transfer {
    Read(u8, Result<u16, i32>),
    Write(u8, u16),
}
use Transfer::{Read, Write};

/// A bus that expects exactly these transfers, in this order.
struct Script(std::vec::IntoIter<Transfer>);

impl Script {
    fn new(transfers: impl IntoIterator<Item = Transfer>) -> Self {
        Self(transfers.into_iter().collect::<Vec<_>>().into_iter())
    }

    fn finish(mut self) {
        assert_eq!(self.0.next(), None, "left over");
    }
}

impl Bus for Script {
    fn read_word(&mut self, address: Address, register: u8) -> Result<u16, i2c::Error> {
        assert_eq!(address, Address(0x41));
        match self.0.next() {
            Some(Read(expected, word)) if expected == register => {
                word.map_err(i2c::Error::from_errno)
            }
            other => panic!("read of {register:#04x}, expected {other:?}"),
        }
    }

    fn write_word(&mut self, address: Address, register: u8, word: u16) -> Result<(), i2c::Error> {
        assert_eq!(address, Address(0x41));
        assert_eq!(self.0.next(), Some(Write(register, word)));
        Ok(())
    }

    fn send_byte(&mut self, _: Address, _: u8) -> Result<(), i2c::Error> {
        unreachable!("the INA260 has no single bytes")
    }

    fn receive_byte(&mut self, _: Address) -> Result<u8, i2c::Error> {
        unreachable!("the INA260 has no single bytes")
    }
}

/// 1024 × (588 + 332) µs: configuration word 0x6E9F.
const CHIP: Ina260 = Ina260 {
    address: Address(0x41),
    settings: Settings {
        averaging: Averaging::X1024,
        voltage_conversion_time: ConversionTime::Us332,
        current_conversion_time: ConversionTime::Us588,
    },
    alert: None,
    configure: true,
};

fn prepared(adopted: bool) -> Configured {
    let words = Words {
        configuration: 0x6E9F,
        mask_enable: 0x0001,
        alert_limit: 0x0000,
    };
    Configured {
        words,
        settings: CHIP.settings,
        adopted,
    }
}

#[test]
fn identify_accepts_every_revision_of_the_die() {
    for die in [0x2270, 0x227F] {
        let mut bus = Script::new([Read(0xFE, Ok(0x5449)), Read(0xFF, Ok(die))]);
        assert_eq!(identify(&mut bus, CHIP.address), Ok(Identity { die }));
        bus.finish();
    }
}

#[test]
fn identify_refuses_a_chip_with_a_foreign_manufacturer_or_die_id() {
    for (manufacturer, die, message) in [
        (
            0x0054,
            0x2270,
            "not an INA260: manufacturer 0x0054, die 0x2270",
        ),
        (
            0x5449,
            0x2260,
            "not an INA260: manufacturer 0x5449, die 0x2260",
        ),
    ] {
        let mut bus = Script::new([Read(0xFE, Ok(manufacturer)), Read(0xFF, Ok(die))]);
        assert_eq!(
            identify(&mut bus, CHIP.address).unwrap_err().to_string(),
            message
        );
        bus.finish();
    }
}

#[test]
fn prepare_writes_limit_mask_and_configuration_and_reads_them_back() {
    let mut bus = Script::new([
        Read(0x00, Ok(0x6127)),
        Write(0x07, 0x0000),
        Write(0x06, 0x0001),
        Write(0x00, 0x6E9F),
        Read(0x07, Ok(0x0000)),
        Read(0x06, Ok(0x0009)), // the ready flag is not ours
        Read(0x00, Ok(0x6E9F)),
    ]);
    let mut around_start = 0;
    assert_eq!(
        CHIP.configure(&mut bus, || around_start += 1),
        Ok(prepared(false))
    );
    assert_eq!(around_start, 2, "before and after");
    bus.finish();
}

#[test]
fn prepare_leaves_a_configuration_that_is_right() {
    let mut bus = Script::new([
        Read(0x00, Ok(0x6E9F)),
        Write(0x07, 0x0000),
        Write(0x06, 0x0001),
        Read(0x07, Ok(0x0000)),
        Read(0x06, Ok(0x0001)),
        Read(0x00, Ok(0x6E9F)),
    ]);
    assert_eq!(CHIP.configure(&mut bus, || ()), Ok(prepared(true)));
    bus.finish();
}

#[test]
fn prepare_names_the_register_that_did_not_keep_its_word() {
    let mut bus = Script::new([
        Read(0x00, Ok(0x6127)),
        Write(0x07, 0x0000),
        Write(0x06, 0x0001),
        Write(0x00, 0x6E9F),
        Read(0x07, Ok(0x0000)),
        Read(0x06, Ok(0x0001)),
        Read(0x00, Ok(0x6127)),
    ]);
    let error = CHIP.configure(&mut bus, || ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "register Configuration holds 0x6127, not 0x6e9f"
    );
    bus.finish();
}

#[test]
fn a_look_is_one_word_and_knows_our_settings() {
    let mut bus = Script::new([Read(0x06, Ok(0x000D))]);
    let flags = CHIP.look(&mut bus).unwrap();
    assert!(flags.ready() && flags.overflow() && prepared(true).words.matches_flags(flags));
    assert!(!prepared(true).words.matches_flags(MaskEnable(0x0008))); // the latch is gone: a brown-out
    assert!(!prepared(true).words.matches_flags(MaskEnable(0x8009))); // an alert function that we did not set
    bus.finish();
}

#[test]
fn check_tells_a_brown_out_from_another_master() {
    for (configuration, limit, flags, expected) in [
        (0x6E9F, 0x0000, 0x0009, None),
        (0x6127, 0x0000, 0x0008, Some(Reset::BrownOut)),
        (0x6127, 0x0000, 0x0009, Some(Reset::Foreign)),
        (0x6E9F, 0x0001, 0x0001, Some(Reset::Foreign)),
        (0x6E9F, 0x0000, 0x8001, Some(Reset::Foreign)),
        (0x6007, 0x0000, 0x0001, Some(Reset::Foreign)),
    ] {
        let mut bus = Script::new([Read(0x00, Ok(configuration)), Read(0x07, Ok(limit))]);
        assert_eq!(
            CHIP.check(&mut bus, &prepared(true).words, MaskEnable(flags)),
            Ok(expected),
            "{configuration:#06x}"
        );
        bus.finish();
    }
}

#[test]
fn measure_reads_the_power_register_only_when_asked() {
    let mut bus = Script::new([Read(0x01, Ok(800)), Read(0x02, Ok(9600))]);
    let measurement = CHIP.measure(&mut bus, MaskEnable(0x0009), false).unwrap();
    assert_eq!(measurement.power_word, None);
    bus.finish();

    let mut bus = Script::new([
        Read(0x01, Ok(800)),
        Read(0x02, Ok(9600)),
        Read(0x03, Ok(1200)),
    ]);
    let measurement = CHIP.measure(&mut bus, MaskEnable(0x000D), true).unwrap();
    assert_eq!(
        measurement,
        Measurement {
            voltage_word: 9600,
            current_word: 800,
            power_word: Some(1200),
            overflow: true
        }
    );
    bus.finish();
}

#[test]
fn a_failed_read_names_the_register_and_keeps_its_source() {
    let mut bus = Script::new([Read(0x01, Err(121))]);
    let error = CHIP
        .measure(&mut bus, MaskEnable(0x0009), false)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read register Current: no answer (errno 121)"
    );
    bus.finish();
}

#[test]
fn release_switches_the_alerts_off_and_nothing_else() {
    let mut bus = Script::new([Write(0x06, 0x0000)]);
    CHIP.release(&mut bus).unwrap();
    bus.finish();
}

#[test]
fn an_alert_is_written_with_its_limit_and_the_latch() {
    let alert = Alert::new(
        alert::Function::OverCurrent,
        5.0,
        alert::Polarity::ActiveHigh,
        &calibration::Calibration::default(),
    );
    let chip = Ina260 {
        alert: alert.ok(),
        ..CHIP
    };
    let mut bus = Script::new([
        Read(0x00, Ok(0x6E9F)),
        Write(0x07, 4000),
        Write(0x06, 0x8003),
        Read(0x07, Ok(4000)),
        Read(0x06, Ok(0x8013)), // it tripped already
        Read(0x00, Ok(0x6E9F)),
    ]);
    let words = chip.configure(&mut bus, || ()).unwrap().words;
    assert!(words.matches_flags(MaskEnable(0x801B)) && !words.matches_flags(MaskEnable(0x0009)));
    bus.finish();
}

#[test]
fn a_chip_that_is_not_ours_to_configure_is_read_and_never_written() {
    let chip = Ina260 {
        configure: false,
        ..CHIP
    };
    let mut bus = Script::new([
        Read(0x00, Ok(0x6127)),
        Read(0x06, Ok(0x1008)),
        Read(0x07, Ok(3800)),
    ]);
    let prepared = chip.configure(&mut bus, || ()).unwrap();
    assert!(prepared.adopted && prepared.words.matches_flags(MaskEnable(0x1018)));
    assert_eq!(
        prepared.settings.cycle(),
        std::time::Duration::from_micros(2200)
    );
    chip.release(&mut bus).unwrap();
    bus.finish();

    let mut bus = Script::new([Read(0x00, Ok(0x6120)), Read(0x06, Ok(0)), Read(0x07, Ok(0))]);
    assert_eq!(
        chip.configure(&mut bus, || ()).unwrap_err().to_string(),
        "does not convert voltage and current continuously: configuration 0x6120"
    );
    bus.finish();
}
