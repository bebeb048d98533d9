//! Alerts by the chip's comparator.

use super::*;
use crate::i2c;
use crate::ina260::alert::{Alert, Function, Polarity};
use crate::simulated::ScheduledFault;

/// Returns a scene with 20 ms of 5 A at 10 s: hidden in the mean of 942 ms, but not from the
/// comparator, whose limit is 3 A.
fn peak() -> Scene {
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    let current = |t: f64| if (10.0..10.02).contains(&t) { 5.0 } else { 1.0 };
    board.plug(
        None,
        FIRST,
        Chip::new(Load { source: 5.0, resistance: 0.0, current: Box::new(current) }),
    );
    let alert =
        Alert::new(Function::OverCurrent, 3.0, Polarity::ActiveLow, &Calibration::default());
    let mut setup = setup(FIRST, secs(1));
    setup.chip.alert = alert.ok();
    scene_of(clock, board, vec![setup])
}

/// Makes all chips unresponsive for a while.
fn disconnect(scene: &Scene, time: Duration) {
    let from = scene.clock.elapsed();
    let (fault, until) = (Fault::NoAnswer, Some(from + time));
    scene.board.schedule(ScheduledFault { fault, address: None, from, until });
}

#[test]
fn alert_is_active_while_limit_is_crossed() {
    let mut scene = peak();
    scene.run(secs(9));
    assert!(!scene.meters[0].lock().alert);
    scene.run(secs(2));
    assert_eq!(scene.meters[0].lock().alerts, 1);
    scene.run(secs(10));
    let meter = scene.meters[0].lock();
    assert!(!meter.alert && meter.alerts == 1);
}

#[test]
fn alert_before_an_outage_is_counted() {
    // The outage begins after the read of the flags, which clears the alert, and before that of the
    // data or the check of the settings.
    for micros in (150..700).step_by(50) {
        let mut scene = peak();
        scene.run(Duration::from_millis(10_100));
        let due = scene.sampler.poll_due();
        scene.clock.advance_to(due);
        let from = scene.clock.elapsed() + Duration::from_micros(micros);
        let (fault, until) = (Fault::NoAnswer, Some(from + secs(5)));
        scene.board.schedule(ScheduledFault { fault, address: None, from, until });
        scene.run(Duration::from_millis(1_500));
        let state = (scene.up(0), scene.meters[0].lock().alerts);
        assert_eq!(state, (false, 1), "after {micros} µs");
        scene.run(secs(30));
        let meter = scene.meters[0].lock();
        assert!(meter.up && !meter.alert && meter.alerts == 1);
    }
}

#[test]
fn alert_during_an_outage_is_counted() {
    // The last two are before and after the peak.
    for (begin, outage) in [(9, 2), (9, 20), (4, 2), (12, 2)] {
        let mut scene = peak();
        scene.run(secs(begin));
        disconnect(&scene, secs(outage));
        for _ in 0..60 {
            scene.run(secs(1));
            // Performs its conversions even while it is not polled.
            scene.board.chip(None, FIRST, |chip| chip.read(0x07, scene.clock.elapsed()));
        }
        let meter = scene.meters[0].lock();
        assert_eq!((meter.up, meter.alert, meter.alerts), (true, false, 1), "at {begin} s");
    }
}

#[test]
fn alert_during_an_outage_survives_a_failed_attempt() {
    for micros in (0..1_500).step_by(50) {
        let mut scene = peak();
        scene.run(secs(9));
        disconnect(&scene, secs(2));
        // Up to the first attempt after the outage.
        let end = scene.clock.now() + secs(2);
        while scene.clock.now() < end {
            let due = scene.sampler.poll_due();
            while scene.clock.now() < due {
                scene.clock.advance_to(due.min(scene.clock.now() + secs(1)));
                // Performs its conversions even while it is not polled.
                scene.board.chip(None, FIRST, |chip| chip.read(0x07, scene.clock.elapsed()));
            }
        }
        let from = scene.clock.elapsed() + Duration::from_micros(micros);
        let until = Some(from + Duration::from_micros(400));
        let fault = Fault::NoAnswer;
        scene.board.schedule(ScheduledFault { fault, address: None, from, until });
        scene.run(secs(60));
        let meter = scene.meters[0].lock();
        assert_eq!((meter.up, meter.alert, meter.alerts), (true, false, 1), "after {micros} µs");
    }
}

#[test]
fn chip_that_another_master_configures_keeps_no_alert() {
    let mut scene = peak();
    scene.run(secs(2));
    // Over-current function, active low, latched (SBOS656C, Mask/Enable register).
    assert_eq!(comparator(&scene).0, 0x8001);
    let mut setup = setup(FIRST, secs(1));
    (setup.meter, setup.chip.configure) = (scene.meters[0].clone(), false);
    scene.sampler.replace(vec![setup]);
    assert_eq!(comparator(&scene).0, 0x0000);
}

/// Nothing is written to a chip with `configure = false` after the reload.
#[test]
fn alert_that_could_not_be_disabled_is_left_alone() {
    let mut scene = peak();
    scene.run(secs(2));
    disconnect(&scene, secs(2));
    let mut setup = setup(FIRST, secs(1));
    (setup.meter, setup.chip.configure) = (scene.meters[0].clone(), false);
    scene.sampler.replace(vec![setup]);
    scene.run(secs(9));
    assert!(scene.up(0));
    scene.sampler.replace(Vec::new());
    assert_eq!(comparator(&scene).0, 0x8001);
}

#[test]
fn alert_is_disabled_during_an_outage() {
    let mut scene = peak();
    scene.run(secs(2));
    disconnect(&scene, secs(2));
    scene.run(Duration::from_millis(2_050));
    assert!(!scene.up(0));
    scene.sampler.replace(Vec::new());
    assert_eq!(comparator(&scene).0, 0x0000);
}

#[test]
fn one_failed_transfer_leaves_no_alert() {
    let mut scene = peak();
    scene.run(secs(2));
    disconnect(&scene, Duration::from_micros(200));
    scene.sampler.replace(Vec::new());
    assert_eq!(comparator(&scene).0, 0x0000);
}

#[test]
fn alert_that_was_never_set_is_not_reported() {
    for fault in [Fault::NoAnswer, Fault::WrongIdentity] {
        let mut scene = peak();
        scene.board.inject(fault);
        scene.run(secs(5));
        let log = logged(|| scene.sampler.replace(Vec::new()));
        assert_eq!(log, "", "{fault:?}");
    }
    let mut scene = peak();
    scene.run(secs(2));
    scene.board.inject(Fault::NoAnswer);
    let log = logged(|| scene.sampler.replace(Vec::new()));
    assert!(log.contains("cannot disable the alert: "), "{log}");
}

#[test]
fn another_chip_at_the_address_is_not_written() {
    let mut scene = peak();
    scene.run(secs(2));
    scene.board.inject(Fault::NoAnswer);
    scene.run(secs(2));
    scene.board.clear_faults();
    scene.board.inject(Fault::WrongIdentity);
    scene.sampler.replace(Vec::new());
    assert_eq!(comparator(&scene).0, 0x8001);
}

#[test]
fn disabled_alert_keeps_its_polarity() {
    let mut scene = peak();
    let mut setup = setup(FIRST, secs(1));
    setup.chip.alert =
        Alert::new(Function::OverCurrent, 3.0, Polarity::ActiveHigh, &Calibration::default()).ok();
    scene.sampler.replace(vec![setup]);
    scene.run(secs(2));
    assert_eq!(comparator(&scene).0, 0x8003);
    scene.sampler.replace(Vec::new());
    // An active-high pin would go high with bit 1, as for an alert.
    assert_eq!(comparator(&scene).0, 0x0002);
}

/// A poll for the check of a long cycle reads, and so clears, the alert before its result.
#[test]
fn alert_without_its_result_is_counted() {
    type Event = fn(&mut Scene);
    let slow = |scene: &Scene| {
        let mut chip = scene.sampler.sensors[0].setup.chip;
        chip.settings = setup(FIRST, secs(10)).chip.settings;
        let meter = scene.meters[0].clone();
        Setup { chip, meter, ..setup(FIRST, secs(10)) }
    };
    let events: [Event; 4] = [
        |scene| scene.board.inject(Fault::BrownOut),
        |scene| {
            let mut changed = scene.sampler.sensors[0].setup.clone();
            changed.chip.settings = setup(FIRST, secs(1)).chip.settings;
            scene.sampler.replace(vec![changed]);
        },
        |scene| scene.sampler.replace(Vec::new()),
        |scene| scene.board.inject(Fault::NoAnswer),
    ];
    for (index, event) in events.into_iter().enumerate() {
        let mut scene = peak();
        let setup = slow(&scene);
        scene.sampler.replace(vec![setup]);
        scene.run(Duration::from_millis(11_200));
        assert_eq!(scene.meters[0].lock().alerts, 0);
        event(&mut scene);
        scene.run(secs(3));
        assert_eq!(scene.meters[0].lock().alerts, 1, "event {index}");
    }
}

/// A bus whose chip's comparator trips between its flags and its data, once per request. The next
/// read of the flags shows and clears it.
struct Trips {
    bus: Arc<Board>,
    requested: Arc<AtomicU32>,
    latched: bool,
}

impl Bus for Trips {
    fn read_word(&mut self, address: Address, register: u8) -> Result<u16, i2c::Error> {
        let word = self.bus.read_word(address, register)?;
        match register {
            0x01 if self.requested.swap(0, Relaxed) > 0 => self.latched = true,
            0x06 if std::mem::take(&mut self.latched) => return Ok(word | 0x0010),
            _ => {}
        }
        Ok(word)
    }

    fn write_word(&mut self, address: Address, register: u8, word: u16) -> Result<(), i2c::Error> {
        self.bus.write_word(address, register, word)
    }

    fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), i2c::Error> {
        self.bus.send_byte(address, byte)
    }

    fn receive_byte(&mut self, address: Address) -> Result<u8, i2c::Error> {
        self.bus.receive_byte(address)
    }
}

#[test]
fn alert_in_flag_read_after_data_is_kept() {
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    board.plug(None, FIRST, Chip::new(Load::steady(5.0, 1.0)));
    let mut setup = setup(FIRST, Duration::from_millis(100));
    let alert =
        Alert::new(Function::OverCurrent, 3.0, Polarity::ActiveLow, &Calibration::default());
    setup.chip.alert = alert.ok();
    let meter = setup.meter.clone();
    let requested = Arc::new(AtomicU32::new(0));
    let bus = Trips { bus: board.clone(), requested: requested.clone(), latched: false };
    let mut sampler = Sampler::new(
        "bus 1".to_owned(),
        Box::new(bus),
        vec![setup],
        clock.clone(),
        Arc::new(|| ()),
    );
    let mut passes = |count: u32| {
        for _ in 0..count {
            let due = sampler.poll_due();
            clock.advance_to(due);
        }
    };
    passes(100);
    for alerts in 1..=5 {
        // After such a delay the flags are read again after the data.
        clock.advance_to(clock.now() + Duration::from_millis(60));
        requested.store(1, Relaxed);
        passes(20);
        let meter = meter.lock();
        assert_eq!((meter.alerts, meter.alert), (alerts, false));
    }
}
