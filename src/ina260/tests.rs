//! Register traces of the driver, with the words of the data sheet.

use std::time::Duration;

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

/// A bus that accepts exactly these transfers, in this order.
struct Script(std::vec::IntoIter<Transfer>);

impl Script {
    fn new(transfers: impl IntoIterator<Item = Transfer>) -> Self {
        Self(transfers.into_iter().collect::<Vec<_>>().into_iter())
    }

    fn finish(mut self) {
        assert_eq!(self.0.next(), None, "not used");
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
        unreachable!("the INA260 has no byte transfers")
    }

    fn receive_byte(&mut self, _: Address) -> Result<u8, i2c::Error> {
        unreachable!("the INA260 has no byte transfers")
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
    power_guard: true,
};

/// The registers of [`CHIP`] after its configuration.
const CONFIGURED: RegisterDump =
    RegisterDump { configuration: 0x6E9F, mask_enable: MaskEnable(0x0001), alert_limit: 0x0000 };

#[test]
fn identify_accepts_every_die_revision() {
    for die in [0x2270, 0x227F] {
        let mut bus = Script::new([Read(0xFF, Ok(die)), Read(0xFE, Ok(0x5449))]);
        assert_eq!(identify(&mut bus, CHIP.address), Ok(die));
        bus.finish();
    }
}

/// IDs of the data sheets: SBOS547B (INA226), SBOS576 (INA3221), SBOSA20 (INA228), SBOS448
/// (INA219).
#[test]
fn other_chips_are_named_by_their_registers() {
    for (die, manufacturer, more, message) in [
        (0x2270, 0x0054, &[(0x3E, 0), (0x00, 0x6127)][..], "not an INA260 (manufacturer 0x0054, "),
        (0x2260, 0x5449, &[], "an INA226, not an INA260 (manufacturer 0x5449, die 0x2260)"),
        (0x3220, 0x5449, &[], "an INA3221, not an INA260 (manufacturer 0x5449, die 0x3220)"),
        (0x2281, 0x5449, &[], "an INA228, not an INA260 "),
        (0x0000, 0x0000, &[(0x3E, 0x5449), (0x3F, 0x2281)], "an INA228, not an INA260 "),
        (0x0000, 0x0000, &[(0x3E, 0x5449), (0x3F, 0x2381)], "an INA238, not an INA260 "),
        (0xFFFF, 0xFFFF, &[(0x3E, 0xFFFF), (0x00, 0x399F)], "an INA219, not an INA260 "),
        (0x1E1E, 0x0000, &[(0x3E, 0x5449), (0x3F, 0x1234)], "not an INA260 (manufacturer 0x0000"),
    ] {
        let ids = [Read(0xFF, Ok(die)), Read(0xFE, Ok(manufacturer))];
        let more = more.iter().map(|(register, word)| Read(*register, Ok(*word)));
        let mut bus = Script::new(ids.into_iter().chain(ids).chain(more));
        let error = identify(&mut bus, CHIP.address).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
        bus.finish();
    }
}

#[test]
fn corrupted_identity_is_read_again() {
    for (die, manufacturer) in [(0x2260, 0x5449), (0x2270, 0x5448)] {
        let first = [Read(0xFF, Ok(die)), Read(0xFE, Ok(manufacturer))];
        let second = [Read(0xFF, Ok(0x2271)), Read(0xFE, Ok(0x5449))];
        let mut bus = Script::new(first.into_iter().chain(second));
        assert_eq!(identify(&mut bus, CHIP.address), Ok(0x2271));
        bus.finish();
    }
}

#[test]
fn humidity_sensor_is_not_reset() {
    // 0xFE is its reset command; it does not acknowledge 0xFF.
    let mut bus = Script::new([Read(0xFF, Err(121))]);
    assert!(matches!(identify(&mut bus, CHIP.address), Err(Error::Read { .. })));
    bus.finish();
}

/// A bus on which a kernel driver has claimed the chip.
struct Claimed(Script, &'static str, &'static str);

impl Bus for Claimed {
    fn bound_driver(&self, _: Address) -> Option<i2c::BoundDriver> {
        Some(i2c::BoundDriver {
            driver: self.1.to_owned(),
            device: self.2.to_owned(),
            unbind: "echo 1-0041 > unbind".to_owned(),
            children: Vec::new(),
        })
    }

    fn read_word(&mut self, address: Address, register: u8) -> Result<u16, i2c::Error> {
        self.0.read_word(address, register)
    }

    fn write_word(&mut self, _: Address, _: u8, _: u16) -> Result<(), i2c::Error> {
        panic!("a claimed chip is not written")
    }

    fn send_byte(&mut self, _: Address, _: u8) -> Result<(), i2c::Error> {
        panic!("a claimed chip is not written")
    }

    fn receive_byte(&mut self, _: Address) -> Result<u8, i2c::Error> {
        panic!("an INA260 has no byte transfers")
    }
}

#[test]
fn chip_of_another_driver_is_not_accessed() {
    for (driver, device, message) in [
        ("ina3221", "ina3221", "in use by the kernel (ina3221), not an INA260"),
        ("pca9685-pwm", "pca9685", "in use by the kernel (pca9685), not an INA260"),
        ("sht21", "htu21", "in use by the kernel (htu21), not an INA260"),
    ] {
        let mut bus = Claimed(Script::new([]), driver, device);
        assert_eq!(identify(&mut bus, CHIP.address).unwrap_err().to_string(), message);
    }
}

#[test]
fn only_an_ina260_gets_the_advice_to_unbind() {
    for driver in ["ina2xx", "ina2xx_adc"] {
        for device in ["ina260", "ina226", "ina219"] {
            let ids = Script::new([Read(0xFF, Ok(0x2271)), Read(0xFE, Ok(0x5449))]);
            let error = identify(&mut Claimed(ids, driver, device), CHIP.address).unwrap_err();
            let message =
                format!("claimed by kernel driver {driver}; unbind it with `echo 1-0041 > unbind`");
            assert_eq!(error.to_string(), message);
        }
        let ids = [Read(0xFF, Ok(0x2260)), Read(0xFE, Ok(0x5449))];
        let ids = Script::new(ids.into_iter().chain(ids));
        let error = identify(&mut Claimed(ids, driver, "ina226"), CHIP.address).unwrap_err();
        assert_eq!(error.to_string(), "in use by the kernel (INA226), not an INA260");
    }
}

#[test]
fn configure_writes_and_reads_back() {
    let mut bus = Script::new([
        Read(0x00, Ok(0x6127)),
        Write(0x06, 0x0001),
        Write(0x07, 0x0000),
        Write(0x00, 0x6E9F),
        Read(0x07, Ok(0x0000)),
        Read(0x06, Ok(0x0009)), // with the conversion-ready flag
        Read(0x00, Ok(0x6E9F)),
    ]);
    let mut starts = 0;
    assert_eq!(CHIP.configure(&mut bus, || starts += 1), Ok(CONFIGURED));
    assert_eq!(starts, 2, "before and after");
    bus.finish();
}

#[test]
fn configure_keeps_a_matching_configuration() {
    let mut bus = Script::new([
        Read(0x00, Ok(0x6E9F)),
        Write(0x06, 0x0001),
        Write(0x07, 0x0000),
        Read(0x07, Ok(0x0000)),
        Read(0x06, Ok(0x0001)),
        Read(0x00, Ok(0x6E9F)),
    ]);
    let mut starts = 0;
    assert_eq!(CHIP.configure(&mut bus, || starts += 1), Ok(CONFIGURED));
    assert_eq!(starts, 0, "the conversions continue");
    bus.finish();
}

#[test]
fn configure_reports_a_register_mismatch() {
    let mut bus = Script::new([
        Read(0x00, Ok(0x6127)),
        Write(0x06, 0x0001),
        Write(0x07, 0x0000),
        Write(0x00, 0x6E9F),
        Read(0x07, Ok(0x0000)),
        Read(0x06, Ok(0x0001)),
        Read(0x00, Ok(0x6127)),
    ]);
    let error = CHIP.configure(&mut bus, || ()).unwrap_err();
    assert_eq!(error.to_string(), "register Configuration is 0x6127, expected 0x6e9f");
    bus.finish();
}

#[test]
fn flags_reveal_changed_settings() {
    let mut bus = Script::new([Read(0x06, Ok(0x000D))]);
    let flags = CHIP.read_flags(&mut bus).unwrap();
    assert!(flags.ready() && flags.overflow() && CONFIGURED.matches_flags(flags));
    assert!(!CONFIGURED.matches_flags(MaskEnable(0x0008))); // latch off: a brown-out
    assert!(!CONFIGURED.matches_flags(MaskEnable(0x8009))); // an alert function of another master
    bus.finish();
}

#[test]
fn check_recognises_power_on_values() {
    for (configuration, limit, flags, is_power_on) in [
        (0x6E9F, 0x0000, 0x0009, None),
        (0x6127, 0x0000, 0x0008, Some(true)),
        (0x6127, 0x0000, 0x0009, Some(false)),
        (0x6E9F, 0x0001, 0x0001, Some(false)),
        (0x6E9F, 0x0000, 0x8001, Some(false)),
        (0x6007, 0x0000, 0x0001, Some(false)),
    ] {
        let mut bus = Script::new([Read(0x00, Ok(configuration)), Read(0x07, Ok(limit))]);
        let found = CHIP.check(&mut bus, &CONFIGURED, MaskEnable(flags));
        assert_eq!(
            found.unwrap().map(|found| found.is_power_on()),
            is_power_on,
            "{configuration:#06x}"
        );
        bus.finish();
    }
}

#[test]
fn measure_reads_power_on_request() {
    let mut bus = Script::new([Read(0x01, Ok(800)), Read(0x02, Ok(9600))]);
    let measurement = measure(&mut bus, CHIP.address, false, false).unwrap();
    assert_eq!(measurement.power_word, None);
    bus.finish();

    let mut bus = Script::new([Read(0x01, Ok(800)), Read(0x02, Ok(9600)), Read(0x03, Ok(1200))]);
    let measurement = measure(&mut bus, CHIP.address, true, true).unwrap();
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
fn failed_read_names_register_and_cause() {
    let mut bus = Script::new([Read(0x01, Err(121))]);
    let error = measure(&mut bus, CHIP.address, false, false).unwrap_err();
    assert_eq!(error.to_string(), "cannot read register Current: no acknowledge (errno 121)");
    bus.finish();
}

#[test]
fn release_disables_the_alert_only() {
    let mut bus = Script::new([Write(0x06, 0x0000)]);
    CHIP.release(&mut bus).unwrap();
    bus.finish();
}

#[test]
fn alert_is_written_with_limit_and_latch() {
    let alert = Alert::new(
        alert::Function::OverCurrent,
        5.0,
        alert::Polarity::ActiveHigh,
        &calibration::Calibration::default(),
    );
    let chip = Ina260 { alert: alert.ok(), ..CHIP };
    let mut bus = Script::new([
        Read(0x00, Ok(0x6E9F)),
        Write(0x06, 0x0003), // no limit is combined with the function that the chip has had
        Write(0x07, 4000),
        Write(0x06, 0x8003),
        Read(0x07, Ok(4000)),
        Read(0x06, Ok(0x8013)), // tripped already
        Read(0x00, Ok(0x6E9F)),
    ]);
    let registers = chip.configure(&mut bus, || ()).unwrap();
    assert!(registers.matches_flags(MaskEnable(0x801B)));
    assert!(!registers.matches_flags(MaskEnable(0x0009)));
    bus.finish();
}

#[test]
fn read_only_mode_never_writes() {
    let chip = Ina260 { configure: false, ..CHIP };
    let mut bus =
        Script::new([Read(0x00, Ok(0x6127)), Read(0x06, Ok(0x1008)), Read(0x07, Ok(3800))]);
    let mut starts = 0;
    let registers = chip.configure(&mut bus, || starts += 1).unwrap();
    assert_eq!(starts, 0);
    assert!(registers.matches_flags(MaskEnable(0x1018)));
    assert_eq!(registers.settings().cycle(), Duration::from_micros(2200));
    bus.finish();

    let mut bus = Script::new([Read(0x00, Ok(0x6120)), Read(0x06, Ok(0)), Read(0x07, Ok(0))]);
    assert_eq!(
        chip.configure(&mut bus, || ()).unwrap_err().to_string(),
        "not in continuous current-and-voltage mode (configuration 0x6120)"
    );
    bus.finish();
}

#[test]
fn guard_never_has_the_limit_of_another() {
    use super::alert::Guard;

    let dump = |guard| CONFIGURED.with_guard(guard);
    let (forward, reverse) = (Some(Guard::Forward), Some(Guard::Reverse));
    for (from, to, transfers) in [
        (None, forward, &[Write(0x07, 0xFFF8), Write(0x06, 0x4001)][..]),
        (None, reverse, &[Write(0x07, 0x0008), Write(0x06, 0x8001)]),
        (forward, reverse, &[Write(0x06, 0x0001), Write(0x07, 0x0008), Write(0x06, 0x8001)]),
        (reverse, None, &[Write(0x06, 0x0001), Write(0x07, 0x0000)]),
    ] {
        let (from, to) = (dump(from), dump(to));
        let mut bus = Script::new(transfers.iter().copied());
        CHIP.set_comparator(&mut bus, Some(from.mask_enable), &to).unwrap();
        bus.finish();
    }
    assert!(dump(forward).is_guarded() && dump(reverse).is_guarded());
    assert!(!dump(None).is_guarded());
    assert!(dump(forward).matches_flags(MaskEnable(0x4019)));
}
