//! Sensors at one address downstream of muxes: values are never those of another sensor.

use super::*;
use crate::i2c::mux::Channel;
use crate::simulated::ScheduledFault;

fn channel(multiplexer: u8, channel: u8) -> Channel {
    Channel { multiplexer: Address(multiplexer), channel }
}

/// Returns a scene with a sensor at 0x40 on each channel, each with its own voltage: 1 V, 2 V, ...
fn downstream(channels: &[Channel], interval: Duration) -> Scene {
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    let mut setups = Vec::new();
    for (channel, volts) in channels.iter().zip(1_u32..) {
        board.plug(Some(*channel), FIRST, Chip::new(Load::steady(f64::from(volts), 1.0)));
        board.write_as_other_master(0, channel.multiplexer, 0xFF); // as another master may leave it
        setups.push(Setup { channel: Some(*channel), ..setup(FIRST, interval) });
    }
    scene_of(clock, board, setups)
}

fn assert_each_has_its_own_voltage(scene: &Scene) {
    for (meter, volts) in scene.meters.iter().zip(1_u32..) {
        let last = meter.lock().last.expect("a result");
        // The offset is 2 steps, the noise of a mean of 256 conversions less than one.
        let error = last.measured.voltage.0 - f64::from(volts);
        assert!(error.abs() <= 3.0 * 0.00125, "{error} V");
    }
}

#[test]
fn eight_channels_at_10_hz_miss_nothing() {
    let channels: Vec<Channel> = (0..8).map(|n| channel(0x70, n)).collect();
    let mut scene = downstream(&channels, Duration::from_millis(100));
    scene.run(secs(120));
    assert_each_has_its_own_voltage(&scene);
    let missed: u64 = (0..8).map(|sensor| scene.totals(sensor).missed).sum();
    assert_eq!(missed, 0);
}

#[test]
fn at_most_one_channel_is_selected() {
    let channels = [channel(0x70, 0), channel(0x71, 0), channel(0x70, 7), channel(0x77, 3)];
    let mut scene = downstream(&channels, Duration::from_millis(100));
    for _ in 0..5_000 {
        let due = scene.sampler.poll_due();
        scene.clock.advance_to(due);
        let selected =
            [0x70, 0x71, 0x77].map(|at| scene.board.control(Address(at)).unwrap().count_ones());
        assert!(selected.iter().sum::<u32>() <= 1, "{selected:?}");
    }
    assert_each_has_its_own_voltage(&scene);
}

#[test]
fn foreign_selection_never_mixes_sensors() {
    let channels: Vec<Channel> = (0..4).map(|n| channel(0x70, n)).collect();
    let mut scene = downstream(&channels, Duration::from_millis(100));
    scene.run(secs(5));
    for pass in 0..2_000_u32 {
        let due = scene.sampler.poll_due();
        scene.clock.advance_to(due);
        if pass % 7 == 0 {
            scene.board.write_as_other_master(
                u64::from(pass % 5),
                Address(0x70),
                1 << (pass / 7 % 8),
            );
        }
        assert_each_has_its_own_voltage(&scene);
    }
    let failures: u64 = (0..4).map(|sensor| scene.failures(sensor, Failure::Mux)).sum();
    assert!(failures > 10, "{failures}");
    scene.run(secs(40));
    assert!((0..4).all(|sensor| scene.up(sensor)));
}

#[test]
fn foreign_extra_channels_never_mix_sensors() {
    let channels: Vec<Channel> = (0..4).map(|n| channel(0x70, n)).collect();
    let mut scene = downstream(&channels, Duration::from_millis(100));
    scene.run(secs(5));
    for pass in 0..2_000_u32 {
        let due = scene.sampler.poll_due();
        scene.clock.advance_to(due);
        if pass % 7 == 0 {
            scene.board.write_as_other_master(u64::from(pass % 5), Address(0x70), 0b0000_1111);
        }
        assert_each_has_its_own_voltage(&scene);
    }
    let failures: u64 = (0..4).map(|sensor| scene.failures(sensor, Failure::Mux)).sum();
    assert!(failures > 10, "{failures}");
}

#[test]
fn foreign_select_on_another_mux_never_mixes_sensors() {
    let channels = [channel(0x70, 0), channel(0x70, 1), channel(0x71, 0), channel(0x71, 1)];
    let mut scene = downstream(&channels, Duration::from_millis(100));
    scene.run(secs(5));
    for pass in 0..2_000_u32 {
        let due = scene.sampler.poll_due();
        scene.clock.advance_to(due);
        if pass % 7 == 0 {
            let (transfers, mux) = (pass % 5, if pass % 2 == 0 { 0x70 } else { 0x71 });
            scene.board.write_as_other_master(transfers.into(), Address(mux), 1 << (pass / 7 % 3));
        }
        assert_each_has_its_own_voltage(&scene);
    }
    scene.run(secs(40));
    assert!((0..4).all(|sensor| scene.up(sensor)));
}

#[test]
fn unplugged_mux_does_not_disturb_another() {
    let mut scene = downstream(&[channel(0x70, 0), channel(0x71, 0)], Duration::from_millis(100));
    scene.run(secs(5));
    scene.board.schedule(crate::simulated::ScheduledFault {
        fault: Fault::NoAnswer,
        address: Some(Address(0x71)),
        from: scene.clock.elapsed(),
        until: Some(scene.clock.elapsed() + secs(30)),
    });
    for _ in 0..300 {
        scene.run(Duration::from_millis(100));
        assert!(scene.up(0));
    }
    assert!(!scene.up(1));
    scene.run(secs(40));
    assert!(scene.up(1));
    assert_each_has_its_own_voltage(&scene);
}

#[test]
fn misdirected_settings_are_not_accepted() {
    let (ours, other) = (channel(0x70, 0), channel(0x70, 1));
    // The other master writes before each word of the poll in turn.
    for words in 1..30 {
        let mut scene = downstream(&[ours], secs(1));
        let foreign = Chip::new(Load::steady(5.0, 1.0));
        scene.board.plug(Some(other), FIRST, foreign);
        scene.run(secs(5));
        let due = scene.sampler.poll_due();
        scene.clock.advance_to(due);
        let now = scene.clock.elapsed();
        scene.board.chip(Some(ours), FIRST, |chip| chip.power_on(now));
        scene.board.write_as_other_master(words, Address(0x70), 0x02);
        scene.sampler.poll_due();
        let now = scene.clock.elapsed();
        let configuration = scene.board.chip(Some(ours), FIRST, |chip| chip.read(0x00, now));
        assert!(
            configuration == 0x6E9F || !scene.up(0),
            "before word {words}: up, with {configuration:#06x}"
        );
    }
}

#[test]
fn single_channel_is_selected_once() {
    let mut scene = downstream(&[channel(0x70, 2)], Duration::from_millis(100));
    scene.run(secs(10));
    let switches = scene.board.control_writes();
    scene.run(secs(60));
    assert_eq!(scene.board.control_writes(), switches);
}

#[test]
fn missing_mux_is_an_outage_of_its_sensors() {
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    board.plug(None, Address(0x41), Chip::new(Load::steady(9.0, 1.0)));
    let missing = Setup { channel: Some(channel(0x70, 0)), ..setup(FIRST, secs(1)) };
    let mut scene = scene_of(clock, board, vec![missing, setup(Address(0x41), secs(1))]);
    scene.run(secs(30));
    assert!(!scene.up(0) && scene.failures(0, Failure::Mux) >= 4);
    assert!(scene.up(1), "the sensor upstream is not disturbed");
}

#[test]
fn release_deselects_every_mux() {
    let mut scene = downstream(&[channel(0x70, 0), channel(0x71, 5)], Duration::from_millis(100));
    scene.run(secs(5));
    scene.sampler.replace(Vec::new());
    assert_eq!([0x70, 0x71].map(|at| scene.board.control(Address(at))), [Some(0), Some(0)]);
    for channel in [channel(0x70, 0), channel(0x71, 5)] {
        let mask = scene.board.chip(Some(channel), FIRST, |chip| chip.read(0x06, secs(5)));
        assert_eq!(mask & 0x0001, 0, "alerts are disabled");
    }
}

/// The supervisor waits for 1.5 s.
#[test]
fn stop_on_a_stuck_bus_costs_one_timeout() {
    let mut scene = downstream(&[channel(0x70, 0), channel(0x71, 3)], secs(1));
    scene.run(secs(5));
    scene.board.inject(Fault::Timeout);
    scene.run(secs(5));
    let transfers = scene.board.transfers();
    scene.sampler.replace(Vec::new());
    assert_eq!(scene.board.transfers() - transfers, 1);
}

#[test]
fn one_timeout_leaves_no_channel_selected() {
    let (first, second) = (channel(0x70, 0), channel(0x71, 3));
    for keeps_second in [false, true] {
        let mut scene = downstream(&[first, second], secs(1));
        scene.run(secs(5));
        let from = scene.clock.elapsed();
        let until = Some(from + Duration::from_millis(900));
        let fault = Fault::Timeout;
        scene.board.schedule(ScheduledFault { fault, address: Some(FIRST), from, until });
        let kept = Setup { channel: Some(second), ..setup(FIRST, secs(1)) };
        scene.sampler.replace(if keeps_second { vec![kept] } else { Vec::new() });
        assert_eq!(scene.board.control(Address(0x70)), Some(0));
        assert_eq!(scene.board.control(Address(0x71)), Some(0));
    }
}

#[test]
fn chip_on_foreign_channel_is_not_released() {
    let mut scene = downstream(&[channel(0x70, 0)], secs(1));
    let (ours, other) = (channel(0x70, 0), channel(0x70, 1));
    scene.board.plug(Some(other), FIRST, Chip::new(Load::steady(5.0, 1.0)));
    scene.board.chip(Some(other), FIRST, |chip| chip.write(0x06, 0x8001, Duration::ZERO));
    scene.run(secs(5));
    scene.board.write_as_other_master(0, Address(0x70), 0x02);
    scene.sampler.replace(Vec::new());
    let mask = |at| scene.board.chip(Some(at), FIRST, |chip| chip.read(0x06, secs(5)) & 0xFC03);
    assert_eq!((mask(ours), mask(other)), (0x0000, 0x8001));
}

#[test]
fn unused_mux_is_deselected() {
    let mut scene = downstream(&[channel(0x70, 0), channel(0x71, 0)], Duration::from_millis(100));
    let second =
        Setup { channel: Some(channel(0x71, 0)), ..setup(FIRST, Duration::from_millis(100)) };
    let meter = second.meter.clone();
    scene.sampler.replace(vec![Setup {
        channel: Some(channel(0x70, 0)),
        ..setup(FIRST, Duration::from_millis(100))
    }]);
    scene.run(secs(5));
    scene.sampler.replace(vec![second]);
    assert_eq!(scene.board.control(Address(0x70)), Some(0));
    scene.run(secs(5));
    let voltage = meter.lock().last.unwrap().measured.voltage.0;
    assert!((voltage - 2.0).abs() <= 3.0 * 0.00125, "{voltage} V");
    scene.sampler.replace(vec![]);
    assert_eq!(scene.board.control(Address(0x71)), Some(0));
}

#[test]
fn discarded_result_is_unmeasured_time() {
    let mut scene = downstream(&[channel(0x70, 0), channel(0x70, 1)], secs(1));
    scene.sampler.replace(vec![Setup {
        channel: Some(channel(0x70, 0)),
        meter: scene.meters[0].clone(),
        ..setup(FIRST, secs(1))
    }]);
    scene.run(secs(60));
    for pass in 0..40 {
        scene.board.write_as_other_master(pass % 9, Address(0x70), 2);
        scene.run(secs(3));
    }
    let totals = scene.totals(0);
    let covered = Duration::from_micros(942_080) * u32::try_from(totals.results).unwrap();
    assert!(scene.failures(0, Failure::Mux) > 5);
    assert!(totals.measured <= covered + secs(1), "{totals:?}");
}

#[test]
fn chip_on_foreign_channel_is_never_written() {
    let (ours, other) = (channel(0x70, 0), channel(0x70, 1));
    let neighbour = Setup { channel: Some(ours), ..setup(Address(0x41), secs(1)) };
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    for (channel, address) in [(ours, Address(0x41)), (other, FIRST)] {
        board.plug(Some(channel), address, Chip::new(Load::steady(5.0, 1.0)));
    }
    let missing = Setup { channel: Some(ours), ..setup(FIRST, secs(1)) };
    let mut scene = scene_of(clock, board, vec![neighbour, missing]);
    for _ in 0..100 {
        scene.board.write_as_other_master(0, Address(0x70), 0x02);
        let due = scene.sampler.poll_due();
        scene.clock.advance_to(due);
    }
    let configuration = scene.board.chip(Some(other), FIRST, |chip| chip.read(0x00, secs(100)));
    assert_eq!(configuration, 0x6127, "the power-on value");
    assert!(!scene.up(1));
}

#[test]
fn foreign_selection_loses_no_count() {
    // To the channel of the other sensor, and to an empty one; with the period unknown and known.
    for (other, settled) in [(1, secs(1) / 4), (1, secs(20)), (7, secs(1) / 4), (7, secs(20))] {
        let mut scene =
            downstream(&[channel(0x70, 0), channel(0x70, 1)], Duration::from_millis(100));
        scene.run(settled);
        let changes = scene.changes.load(Relaxed);
        for pass in 0..20 {
            scene.board.write_as_other_master(2 + pass % 5, Address(0x70), 1 << other);
            scene.run(Duration::from_millis(313));
        }
        scene.run(secs(60));
        assert_eq!(scene.changes.load(Relaxed), changes, "channel {other}");
        for sensor in 0..2 {
            let counts = scene.board.chip(Some(channel(0x70, sensor)), FIRST, |chip| chip.counts);
            let totals = scene.totals(usize::from(sensor));
            let counted = totals.results + totals.missed + counts.unconfigured;
            assert!(
                counted.abs_diff(counts.finished) <= 1,
                "channel {other}, sensor {sensor}: {totals:?}, {counts:?}"
            );
        }
    }
}
