//! Every result and all time is counted.

use proptest::prelude::*;

use super::*;
use crate::meter::Flow;
use crate::simulated::ScheduledFault;

/// Asserts that |read + missed - completed| is at most 1 for every sensor.
fn assert_counted(scene: &Scene) {
    for (sensor, setup) in scene.meters.iter().enumerate() {
        let address = Address(0x40 + u8::try_from(sensor).unwrap());
        let now = scene.clock.elapsed();
        let completed = scene.board.chip(None, address, |chip| {
            chip.read(0x07, now); // updates the chip
            chip.counts.finished
        });
        let totals = setup.lock().accumulator.totals(scene.clock.now());
        let before = completed_before_configuration(address, scene);
        let counted = totals.results + totals.missed + before;
        assert!(
            counted.abs_diff(completed) <= 1,
            "{address}: {totals:?} of {completed}, {before} before"
        );
    }
}

/// Returns the results that the chip completed with its power-on settings.
fn completed_before_configuration(address: Address, scene: &Scene) -> u64 {
    scene.board.chip(None, address, |chip| chip.counts.unconfigured)
}

/// Returns the net flow in whole units, with its fraction.
fn base_units(flow: Flow) -> f64 {
    (flow.forward as f64 - flow.reverse as f64) / 1e18
}

fn fast(interval: Duration, always_power: bool) -> Scene {
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    board.plug(None, FIRST, Chip::new(Load::steady(5.0, 1.0)));
    scene_of(clock, board, vec![Setup { always_power, ..setup(FIRST, interval) }])
}

#[test]
fn fast_result_costs_three_words() {
    let mut scene = fast(Duration::from_millis(10), false);
    scene.run(secs(60)); // the period is known by now
    let (words, results) = (scene.board.transfers(), scene.results(0));
    scene.run(secs(60));
    let (words, results) = (scene.board.transfers() - words, scene.results(0) - results);
    // In addition: two per second check the settings, and a few per 256 results bracket an edge.
    assert!(words - 3 * results <= 2 * 60 + results / 20, "{words} words for {results} results");
    assert_eq!(scene.totals(0).missed, 0);
}

#[test]
fn nothing_is_missed_within_bus_capacity() {
    for (micros, always_power) in [(2_200, true), (1_000, false), (700, false), (500, false)] {
        let mut scene = fast(Duration::from_micros(micros), always_power);
        scene.run(secs(60));
        let totals = scene.totals(0);
        let per_mille = totals.missed * 1_000 / totals.results;
        assert!(per_mille <= 2, "{micros} us: {totals:?}");
        assert_counted(&scene);
    }
}

#[test]
fn late_wake_up_rarely_costs_a_result() {
    // Of a cycle of 2.2 ms, reading the result takes 0.47 ms, and reading the flags again 0.12 ms.
    let mut scene = fast(Duration::from_micros(2_200), true);
    scene.run(secs(60)); // the period is known by now
    let missed = scene.totals(0).missed;
    for pass in 0..20_000_u32 {
        let late = Duration::from_micros(if pass.is_multiple_of(10) { 1_100 } else { 0 });
        let due = scene.sampler.poll_due();
        scene.clock.advance_to(due + late);
    }
    // Where an edge is bracketed, the poll has to be in time.
    let missed = scene.totals(0).missed - missed;
    assert!(missed < 20, "{missed} of 2,000");
    assert_counted(&scene);
}

#[test]
fn results_are_read_where_flags_fit_only_once() {
    // Flags and three registers take 1.88 ms at 100 kHz, and 0.47 ms at 400 kHz.
    for (hertz, micros) in [(100_000, 2_200), (100_000, 2_000), (400_000, 600), (400_000, 550)] {
        let clock = Arc::new(SimulatedClock::default());
        let board = Board::new(clock.clone(), hertz);
        board.plug(None, FIRST, Chip::new(Load::steady(5.0, 1.0)));
        let mut scene = scene_of(clock, board, vec![setup(FIRST, Duration::from_micros(micros))]);
        scene.run(secs(30));
        let cycle = scene.board.chip(None, FIRST, |chip| chip.cycle());
        let completed = u64::try_from(secs(30).as_nanos() / cycle.as_nanos()).unwrap();
        let results = scene.results(0);
        assert!(results >= completed - completed / 100, "{cycle:?}: {results} of {completed}");
        assert_counted(&scene);
    }
}

#[test]
fn wall_clock_jump_changes_no_result() {
    let run = |jumps: [u64; 4]| {
        let mut scene = scene(&[Duration::from_millis(100)]);
        for ahead in jumps {
            scene.clock.set_wall_ahead(ahead);
            scene.run(secs(20));
        }
        let last = scene.meters[0].lock().last.expect("a result");
        (scene.totals(0), scene.up(0), last.booted)
    };
    let (year, minute) = (31_536_000, 60);
    let jumped = run([minute, year, 0, minute]);
    assert_eq!(jumped, run([0; 4]));
    assert!(jumped.1);
}

#[test]
fn overloaded_bus_never_overcounts() {
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 100_000);
    board.plug(None, FIRST, Chip::new(Load::steady(5.0, 1.0)));
    let mut scene = scene_of(clock, board, vec![setup(FIRST, Duration::from_millis(1))]);
    let start = scene.clock.now();
    scene.run(secs(60));
    let totals = scene.totals(0);
    let finished = scene.board.chip(None, FIRST, |chip| chip.counts.finished);
    assert!(
        totals.results > 20_000 && totals.results + totals.missed <= finished + 1,
        "{totals:?}"
    );
    let elapsed = scene.clock.now() - start;
    assert!(
        elapsed - (totals.measured + totals.unmeasured) < Duration::from_millis(10),
        "{totals:?}"
    );
}

#[test]
fn overloaded_bus_counts_missed_results() {
    let us = Duration::from_micros;
    // Four transfers take 1.88 ms at 100 kHz, and 0.47 ms at 400 kHz.
    for (hertz, intervals, is_running) in [
        (100_000, vec![us(1_000)], false),
        (100_000, vec![us(1_000)], true),
        (400_000, vec![us(280), secs(1)], false),
        (400_000, vec![us(500), us(500), us(100_000)], true),
    ] {
        let clock = Arc::new(SimulatedClock::default());
        let board = Board::new(clock.clone(), hertz);
        let addresses = (0x40..).map(Address);
        let setups: Vec<Setup> = addresses.zip(&intervals).map(|(at, i)| setup(at, *i)).collect();
        for setup in &setups {
            let mut chip = Chip::new(Load::steady(5.0, 1.0));
            if is_running {
                chip.write(0x00, setup.chip.settings.word(), Duration::ZERO);
            }
            board.plug(None, setup.chip.address, chip);
        }
        clock.advance_to(clock.now() + Duration::from_millis(7));
        let mut scene = scene_of(clock, board, setups);
        scene.run(secs(60));
        for (sensor, interval) in intervals.iter().enumerate() {
            let address = Address(0x40 + u8::try_from(sensor).unwrap());
            let (cycle, counts) =
                scene.board.chip(None, address, |chip| (chip.cycle(), chip.counts));
            let completed = u64::try_from(secs(60).as_nanos() / cycle.as_nanos()).unwrap();
            let totals = scene.totals(sensor);
            let counted = totals.results + totals.missed;
            // The period may be 12 % longer than nominal, and 1 % more at another temperature.
            assert!(counted + 3 >= completed * 100 / 113, "{interval:?}: {totals:?}, {completed}");
            assert!(counted + counts.unconfigured <= counts.finished + 1, "{totals:?}, {counts:?}");
        }
    }
}

#[test]
fn mixed_rates_miss_nothing() {
    let ms = Duration::from_millis;
    let mut scene = scene(&[ms(5), ms(100), ms(100), ms(100), ms(20), secs(1), secs(1)]);
    scene.run(secs(120));
    for sensor in 0..7 {
        assert_eq!(scene.totals(sensor).missed, 0, "sensor {sensor}");
    }
    assert_counted(&scene);
}

#[test]
fn next_overwritten_result_is_read_first() {
    let (fast, slow) = (Duration::from_millis(20), secs(1));
    for intervals in [[fast, slow], [slow, fast]] {
        let mut scene = scene(&intervals);
        scene.run(secs(10));
        // After this stall both have a result.
        scene.clock.advance_to(scene.clock.now() + secs(3));
        scene.sampler.poll_due();
        let read_at = |sensor: usize| scene.meters[sensor].lock().last.unwrap().at;
        let [first, second] = if intervals[0] == fast { [0, 1] } else { [1, 0] };
        assert!(read_at(first) < read_at(second), "{intervals:?}");
    }
}

#[test]
fn sixteen_sensors_at_10_hz_miss_nothing() {
    let mut scene = scene(&[Duration::from_millis(100); 16]);
    scene.run(secs(120));
    let missed: u64 = (0..16).map(|sensor| scene.totals(sensor).missed).sum();
    assert_eq!(missed, 0);
    assert_counted(&scene);
}

#[test]
fn torn_read_is_discarded() {
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 100_000); // a read takes 1.4 ms of a cycle of 2.2 ms
    board.plug(None, FIRST, Chip::new(Load::steady(10.0, 1.0)));
    let setup = Setup { always_power: false, ..setup(FIRST, Duration::from_micros(2_300)) };
    let mut scene = scene_of(clock, board, vec![setup]);
    scene.run(Duration::from_millis(20));
    // From now on current and voltage change at each edge.
    scene.board.chip(None, FIRST, |chip| {
        let (start, cycle) = (chip.started.as_secs_f64(), chip.cycle().as_secs_f64());
        let current = move |t: f64| {
            if ((t - start) / cycle).floor() % 2.0 < 1.0 { 1.0 } else { 3.0 }
        };
        chip.load = Load { source: 10.0, resistance: 1.0, current: Box::new(current) };
    });
    scene.run(Duration::from_millis(20));
    for _ in 0..20_000 {
        let due = scene.sampler.poll_due();
        scene.clock.advance_to(due);
        if let Some(last) = scene.meters[0].lock().last {
            // The voltage is 10 V minus 1 ohm times the current. Offsets, noise and rounding of
            // both are less than 2 + 0.8 + 4 + 1 steps; a mix of two results is off by 2 V.
            let sum = last.measured.voltage.0 + last.measured.current.0;
            assert!((sum - 10.0).abs() < 8.0 * 0.00125, "{last:?}");
        }
    }
    assert!(scene.results(0) > 5_000);
    assert_counted(&scene);
}

#[test]
fn measured_and_unmeasured_add_up() {
    let mut scene = scene(&[Duration::from_millis(100)]);
    let start = scene.clock.now();
    scene.run(secs(20));
    scene.board.inject(Fault::NoAnswer);
    scene.run(secs(40));
    assert!(scene.totals(0).unmeasured >= secs(39), "unmeasured time grows during an outage");
    scene.board.clear_faults();
    scene.run(secs(60));
    scene.board.inject(Fault::BrownOut);
    scene.run(secs(20));
    scene.clock.advance_to(scene.clock.now() + secs(100)); // a stall
    scene.run(secs(20));
    scene.clock.suspend(secs(1_000)); // a suspend
    scene.run(secs(20));
    let totals = scene.totals(0);
    let elapsed = scene.clock.now() - start + secs(1_000);
    let sum = totals.measured + totals.unmeasured;
    assert!(elapsed - sum <= Duration::from_millis(200), "{sum:?} of {elapsed:?}");
    assert!(totals.unmeasured >= secs(1_000 + 100 + 39) - Duration::from_millis(300), "{totals:?}");
}

/// In a window of 60 s.
#[test]
fn window_covers_time_suspended() {
    for (suspended, expected) in [(7_200, [1.0, 1.0, 1.0]), (30, [5.0, 5.0, 1.0])] {
        let clock = Arc::new(SimulatedClock::default());
        let board = Board::new(clock.clone(), 400_000);
        let current = Box::new(|t| if t < 9.0 { 5.0 } else { 1.0 });
        board.plug(None, FIRST, Chip::exact(Load { current, ..Load::steady(5.0, 1.0) }));
        let mut scene = scene_of(clock.clone(), board, vec![setup(FIRST, secs(1))]);
        let mut max_after = |time: u64| {
            scene.run(secs(time));
            let extremes = scene.meters[0].lock().window.extremes(clock.now());
            extremes.unwrap().max.current.0.round()
        };
        assert_eq!(max_after(12), 5.0);
        clock.suspend(secs(suspended));
        // 17 s, 37 s and 41 s after the start, apart from the suspend.
        assert_eq!([5, 20, 4].map(max_after), expected, "{suspended} s");
    }
}

#[test]
fn brown_out_during_a_poll_gives_no_result() {
    // At any time of a cycle of 88 ms, which has one poll.
    for micros in (0..88_000).step_by(50) {
        let clock = Arc::new(SimulatedClock::default());
        let board = Board::new(clock.clone(), 400_000);
        // Exact: the minimum is compared with a number.
        board.plug(None, FIRST, Chip::exact(Load::steady(12.0, 1.0)));
        let from = secs(2) + Duration::from_micros(micros);
        board.schedule(ScheduledFault {
            fault: Fault::BrownOut,
            address: None,
            from,
            until: Some(from + Duration::from_millis(1)),
        });
        let setup = setup(FIRST, Duration::from_millis(100));
        let mut scene = scene_of(clock, board, vec![setup]);
        scene.run(secs(3));
        let extremes = scene.meters[0].lock().window.extremes(scene.clock.now());
        assert_eq!(extremes.unwrap().min.power, Watts(12.0), "{micros} us");
    }
}

proptest! {
    #![proptest_config(cases(24))]

    /// Whatever fails, energy and charge are those of the measured time.
    #[test]
    fn energy_in_is_energy_out(
        amperes in -10.0..10.0_f64,
        millis in 3..1_500_u64,
        slow in any::<bool>(),
        is_exact in any::<bool>(),
        faults in prop::collection::vec((0..4_u8, 1..60_000_u64, 1..20_000_u64), 0..4),
        stalls in prop::collection::vec((0..60_u64, 1..5_000_u64), 0..4),
    ) {
        let clock = Arc::new(SimulatedClock::default());
        let board = Board::new(clock.clone(), 400_000);
        let load = Load::steady(12.0, amperes);
        board.plug(None, FIRST, if is_exact { Chip::exact(load) } else { Chip::new(load) });
        if slow {
            board.inject(Fault::SlowClock);
        }
        for (kind, from, length) in faults {
            let fault = [
                Fault::NoAnswer,
                Fault::BrownOut,
                Fault::ArbitrationLost,
                Fault::Timeout,
            ][usize::from(kind)];
            let from = Duration::from_millis(from);
            let until = Some(from + Duration::from_millis(length));
            board.schedule(ScheduledFault { fault, address: None, from, until });
        }
        let setup = setup(FIRST, Duration::from_millis(millis));
        let mut scene = scene_of(clock, board, vec![setup]);
        let start = scene.clock.now();
        for second in 0..60 {
            scene.run(secs(1));
            if let Some((_, stall)) = stalls.iter().find(|(at, _)| *at == second) {
                let stall = Duration::from_millis(*stall);
                scene.clock.advance_to(scene.clock.now() + stall);
            }
        }
        scene.run(secs(3));
        let totals = scene.totals(0);
        let last = scene.meters[0].lock().last;
        let Some(last) = last else { return Ok(()) };
        let seconds = totals.measured.as_secs_f64();
        let (joules, coulombs) = (base_units(totals.energy), base_units(totals.charge));
        // All results of an exact chip are equal. The other chip has offsets of -2 and 0.8 steps,
        // and noise and rounding add less than 2.5 steps to each result.
        let (power, current, errors) = if is_exact {
            (last.measured.power.0, last.measured.current.0, [0.0; 2])
        } else {
            let current = amperes + 0.8 * 0.00125;
            let error = 2.5 * 0.00125;
            (11.9975 * current, current, [error * (12.0 + current.abs() + error), error])
        };
        let [power_error, current_error] = errors.map(|error| (error + 1e-6) * seconds.max(1.0));
        prop_assert!((joules - power * seconds).abs() < power_error);
        prop_assert!((coulombs - current * seconds).abs() < current_error);
        let elapsed = (scene.clock.now() - start).as_secs_f64();
        let sum = seconds + totals.unmeasured.as_secs_f64();
        let cycle = scene.meters[0].lock().cycle.as_secs_f64();
        prop_assert!(
            sum <= elapsed + 1e-6 && elapsed - sum <= 2.5 * cycle + 0.01,
            "{sum} of {elapsed}, cycle {cycle}"
        );
    }
}
