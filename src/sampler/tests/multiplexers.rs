//! Sensors at one address behind multiplexers: never a value of the wrong one.

use super::*;
use crate::i2c::mux::Channel;

fn channel(multiplexer: u8, channel: u8) -> Channel {
    Channel {
        multiplexer: Address(multiplexer),
        channel,
    }
}

/// A sensor at 0x40 behind each channel, each with a voltage of its own: 1 V, 2 V and so on.
fn behind(channels: &[Channel], interval: Duration) -> Scene {
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    let mut setups = Vec::new();
    for (channel, volts) in channels.iter().zip(1_u32..) {
        board.plug_at(
            Some(*channel),
            FIRST,
            Chip::new(Load::steady(f64::from(volts), 1.0)),
        );
        board.set_control(channel.multiplexer, 0xFF); // however somebody left it
        setups.push(Setup {
            channel: Some(*channel),
            ..setup(FIRST, interval)
        });
    }
    scene_of(clock, board, setups)
}

fn assert_each_has_its_own_voltage(scene: &Scene) {
    for (meter, volts) in scene.meters.iter().zip(1_u32..) {
        let last = meter.lock().last.expect("a result");
        assert_eq!(last.measured.voltage.0, f64::from(volts));
    }
}

#[test]
fn eight_behind_one_multiplexer_at_ten_hertz_miss_nothing() {
    let channels: Vec<Channel> = (0..8).map(|n| channel(0x70, n)).collect();
    let mut scene = behind(&channels, Duration::from_millis(100));
    scene.run(secs(120));
    assert_each_has_its_own_voltage(&scene);
    let missed: u64 = (0..8).map(|sensor| scene.totals(sensor).missed).sum();
    assert_eq!(missed, 0);
}

#[test]
fn opening_a_multiplexer_closes_the_others() {
    let channels = [
        channel(0x70, 0),
        channel(0x71, 0),
        channel(0x70, 7),
        channel(0x77, 3),
    ];
    let mut scene = behind(&channels, Duration::from_millis(100));
    for _ in 0..5_000 {
        let due = scene.sampler.round();
        scene.clock.advance_to(due);
        let open =
            [0x70, 0x71, 0x77].map(|at| scene.board.control(Address(at)).unwrap().count_ones());
        assert!(open.iter().sum::<u32>() <= 1, "{open:?}");
    }
    assert_each_has_its_own_voltage(&scene);
}

#[test]
fn a_multiplexer_that_somebody_else_switches_costs_results_and_never_gives_a_wrong_one() {
    let channels: Vec<Channel> = (0..4).map(|n| channel(0x70, n)).collect();
    let mut scene = behind(&channels, Duration::from_millis(100));
    scene.run(secs(5));
    for round in 0..2_000_u32 {
        let due = scene.sampler.round();
        scene.clock.advance_to(due);
        if round % 7 == 0 {
            scene.board.write_as_other_master(
                u64::from(round % 5),
                Address(0x70),
                1 << (round / 7 % 8),
            );
        }
        assert_each_has_its_own_voltage(&scene);
    }
    let failures: u64 = (0..4)
        .map(|sensor| scene.failures(sensor, Failure::Mux))
        .sum();
    assert!(failures > 10, "{failures}");
    scene.run(secs(40));
    assert!((0..4).all(|sensor| scene.up(sensor)));
}

#[test]
fn channels_that_somebody_else_opens_beside_ours_never_mix_two_sensors() {
    let channels: Vec<Channel> = (0..4).map(|n| channel(0x70, n)).collect();
    let mut scene = behind(&channels, Duration::from_millis(100));
    scene.run(secs(5));
    for round in 0..2_000_u32 {
        let due = scene.sampler.round();
        scene.clock.advance_to(due);
        if round % 7 == 0 {
            scene
                .board
                .write_as_other_master(u64::from(round % 5), Address(0x70), 0b0000_1111);
        }
        assert_each_has_its_own_voltage(&scene);
    }
    let failures: u64 = (0..4)
        .map(|sensor| scene.failures(sensor, Failure::Mux))
        .sum();
    assert!(failures > 10, "{failures}");
}

#[test]
fn a_chip_is_not_taken_for_restored_by_settings_that_went_to_another() {
    let (ours, strangers) = (channel(0x70, 0), channel(0x70, 1));
    // Whatever word of the visit the other master comes before.
    for words in 1..30 {
        let mut scene = behind(&[ours], secs(1));
        let stranger = Chip::new(Load::steady(5.0, 1.0));
        scene.board.plug_at(Some(strangers), FIRST, stranger);
        scene.run(secs(5));
        let due = scene.sampler.round();
        scene.clock.advance_to(due);
        let now = scene.clock.elapsed();
        scene
            .board
            .chip_at(Some(ours), FIRST, |chip| chip.power_on(now));
        scene
            .board
            .write_as_other_master(words, Address(0x70), 0x02);
        scene.sampler.round();
        let now = scene.clock.elapsed();
        let configuration = scene
            .board
            .chip_at(Some(ours), FIRST, |chip| chip.read(0x00, now));
        assert!(
            configuration == 0x6E9F || !scene.up(0),
            "before word {words}: up, with {configuration:#06x}"
        );
    }
}

#[test]
fn a_sensor_on_the_trunk_and_one_channel_need_no_switching() {
    let mut scene = behind(&[channel(0x70, 2)], Duration::from_millis(100));
    scene.run(secs(10));
    let switches = scene.board.control_writes();
    scene.run(secs(60));
    assert_eq!(scene.board.control_writes(), switches);
}

#[test]
fn a_multiplexer_that_does_not_answer_is_an_outage_of_its_sensors() {
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    board.plug(Address(0x41), Chip::new(Load::steady(9.0, 1.0)));
    let lost = Setup {
        channel: Some(channel(0x70, 0)),
        ..setup(FIRST, secs(1))
    };
    let mut scene = scene_of(clock, board, vec![lost, setup(Address(0x41), secs(1))]);
    scene.run(secs(30));
    assert!(!scene.up(0) && scene.failures(0, Failure::Mux) >= 4);
    assert!(scene.up(1), "the one on the trunk is not disturbed");
}

#[test]
fn every_multiplexer_is_closed_at_the_end() {
    let mut scene = behind(
        &[channel(0x70, 0), channel(0x71, 5)],
        Duration::from_millis(100),
    );
    scene.run(secs(5));
    scene.sampler.release();
    assert_eq!(
        [0x70, 0x71].map(|at| scene.board.control(Address(at))),
        [Some(0), Some(0)]
    );
    for channel in [channel(0x70, 0), channel(0x71, 5)] {
        let mask = scene
            .board
            .chip_at(Some(channel), FIRST, |chip| chip.read(0x06, secs(5)));
        assert_eq!(mask & 0x0001, 0, "alerts are off");
    }
}

#[test]
fn a_multiplexer_that_nobody_uses_any_more_is_closed() {
    let mut scene = behind(
        &[channel(0x70, 0), channel(0x71, 0)],
        Duration::from_millis(100),
    );
    let stays = Setup {
        channel: Some(channel(0x71, 0)),
        ..setup(FIRST, Duration::from_millis(100))
    };
    let meter = stays.meter.clone();
    scene.sampler.replace(vec![Setup {
        channel: Some(channel(0x70, 0)),
        ..setup(FIRST, Duration::from_millis(100))
    }]);
    scene.run(secs(5));
    scene.sampler.replace(vec![stays]);
    assert_eq!(scene.board.control(Address(0x70)), Some(0));
    scene.run(secs(5));
    assert_eq!(meter.lock().last.unwrap().measured.voltage.0, 2.0);
    scene.sampler.replace(vec![]);
    assert_eq!(scene.board.control(Address(0x71)), Some(0));
}

#[test]
fn a_result_thrown_away_is_no_measured_time() {
    let mut scene = behind(&[channel(0x70, 0), channel(0x70, 1)], secs(1));
    scene.sampler.replace(vec![Setup {
        channel: Some(channel(0x70, 0)),
        meter: scene.meters[0].clone(),
        ..setup(FIRST, secs(1))
    }]);
    scene.run(secs(60));
    for round in 0..40 {
        scene
            .board
            .write_as_other_master(round % 9, Address(0x70), 2);
        scene.run(secs(3));
    }
    let totals = scene.totals(0);
    let covered = Duration::from_micros(942_080) * u32::try_from(totals.results).unwrap();
    assert!(scene.failures(0, Failure::Mux) > 5);
    assert!(totals.measured <= covered + secs(1), "{totals:?}");
}

#[test]
fn a_chip_behind_a_channel_that_somebody_else_opened_is_never_written() {
    let (ours, strangers) = (channel(0x70, 0), channel(0x70, 1));
    let neighbour = Setup {
        channel: Some(ours),
        ..setup(Address(0x41), secs(1))
    };
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    for (channel, address) in [(ours, Address(0x41)), (strangers, FIRST)] {
        board.plug_at(Some(channel), address, Chip::new(Load::steady(5.0, 1.0)));
    }
    let lost = Setup {
        channel: Some(ours),
        ..setup(FIRST, secs(1))
    };
    let mut scene = scene_of(clock, board, vec![neighbour, lost]);
    for _ in 0..100 {
        scene.board.set_control(Address(0x70), 0x02);
        let due = scene.sampler.round();
        scene.clock.advance_to(due);
    }
    let configuration = scene
        .board
        .chip_at(Some(strangers), FIRST, |chip| chip.read(0x00, secs(100)));
    assert_eq!(configuration, 0x6127, "it has its power-on value");
    assert!(!scene.up(1));
}

#[test]
fn what_somebody_else_switches_costs_no_count_and_no_outage() {
    // Onto the other sensor, and onto a channel with nothing behind it; as soon as there are results, and when the chip's period is known.
    for (other, settled) in [
        (1, secs(1) / 4),
        (1, secs(20)),
        (7, secs(1) / 4),
        (7, secs(20)),
    ] {
        let mut scene = behind(
            &[channel(0x70, 0), channel(0x70, 1)],
            Duration::from_millis(100),
        );
        scene.run(settled);
        let changes = scene.changes.load(Relaxed);
        for round in 0..20 {
            scene
                .board
                .write_as_other_master(2 + round % 5, Address(0x70), 1 << other);
            scene.run(Duration::from_millis(313));
        }
        scene.run(secs(60));
        assert_eq!(scene.changes.load(Relaxed), changes, "channel {other}");
        for sensor in 0..2 {
            let counts = scene
                .board
                .chip_at(Some(channel(0x70, sensor)), FIRST, |chip| chip.counts);
            let totals = scene.totals(usize::from(sensor));
            let counted = totals.results + totals.missed + counts.unconfigured;
            assert!(
                counted.abs_diff(counts.finished) <= 1,
                "channel {other}, sensor {sensor}: {totals:?}, {counts:?}"
            );
        }
    }
}
