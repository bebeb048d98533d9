//! Chips whose conversions were running before the sampler started.

use super::*;

/// Returns a scene with a chip that was configured for `interval` at time 0; the sampler starts at
/// `late`.
fn scene_of_running(interval: Duration, load: Load, late: Duration, setup: Setup) -> Scene {
    let settings = Settings::for_interval(interval, PartialSettings::default()).unwrap();
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    let mut chip = Chip::new(load);
    chip.write(0x00, settings.word(), Duration::ZERO);
    board.plug(None, FIRST, chip);
    clock.advance_to(clock.now() + late);
    scene_of(clock, board, vec![setup])
}

/// Returns a load of 10 V, with 2 A until `end` and none afterwards.
fn load_until(end: f64) -> Load {
    Load {
        source: 10.0,
        resistance: 0.0,
        current: Box::new(move |at| if at < end { 2.0 } else { 0.0 }),
    }
}

#[test]
fn energy_before_first_poll_is_not_counted() {
    let (late, setup) = (Duration::from_millis(100_500), setup(FIRST, secs(1)));
    let mut scene = scene_of_running(secs(1), load_until(100.4), late, setup);
    scene.run(secs(10));
    let totals = scene.totals(0);
    assert!(totals.results >= 10, "{totals:?}");
    assert_eq!(totals.energy.whole(), [0, 0]);
    // The time since the last result is not counted yet.
    let accounted = totals.measured + totals.unmeasured;
    assert!(accounted > secs(9) && accounted < secs(10), "{totals:?}");
    assert!(totals.unmeasured < secs(1), "{totals:?}");
}

#[test]
fn first_result_is_shown_without_energy() {
    let (late, setup) = (Duration::from_millis(100_500), setup(FIRST, secs(1)));
    let mut scene = scene_of_running(secs(1), Load::steady(5.0, 1.0), late, setup);
    scene.run(secs(1));
    assert_eq!(scene.results(0), 1);
    assert!(scene.meters[0].lock().last.is_some());
}

#[test]
fn power_register_depends_on_effective_cycle() {
    for (effective, configured, is_read) in [(2_200, 1_000_000, false), (1_000_000, 2_200, true)] {
        let mut setup = setup(FIRST, Duration::from_micros(configured));
        setup.chip.configure = false;
        setup.always_power = false;
        let interval = Duration::from_micros(effective);
        let mut scene = scene_of_running(interval, Load::steady(5.0, 1.0), secs(1), setup);
        scene.run(secs(5));
        let reading = scene.meters[0].lock().last.unwrap();
        assert_eq!(reading.raw.is_some(), is_read, "{interval:?}");
    }
}

#[test]
fn unpowered_rail_costs_no_extra_words() {
    let words_per_result = |volts| {
        let mut setup = setup(FIRST, Duration::from_millis(1));
        setup.always_power = false;
        let load = Load::steady(volts, 0.0);
        let mut scene = scene_of_running(Duration::from_millis(1), load, secs(1), setup);
        scene.run(secs(10));
        let (words, results) = (scene.board.transfers(), scene.results(0));
        scene.run(secs(60));
        (scene.board.transfers() - words) * 100 / (scene.results(0) - results)
    };
    assert_eq!(words_per_result(0.0), words_per_result(5.0));
}

#[test]
fn brown_out_in_read_only_mode_is_adopted() {
    for (configure, next) in [(true, "reconfiguring\n"), (false, "adopting them\n")] {
        let mut setup = setup(FIRST, secs(1));
        setup.chip.configure = configure;
        let mut scene = scene_of_running(secs(1), Load::steady(5.0, 1.0), secs(1), setup);
        scene.run(secs(5));
        scene.board.inject(Fault::BrownOut);
        let text = scene.run_logged(secs(5));
        assert!(text.lines().count() == 1 && text.ends_with(next), "{text}");
        assert_eq!(scene.meters[0].lock().resets, [1, 0]);
    }
}

#[test]
fn read_only_chip_is_never_written() {
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    let mut chip = Chip::new(Load::steady(5.0, 1.0));
    chip.write(0x00, 0x6E9F, Duration::ZERO);
    board.plug(None, FIRST, chip);
    let mut setup = setup(FIRST, Duration::from_millis(100));
    setup.chip.configure = false;
    let mut scene = scene_of(clock, board, vec![setup]);
    scene.run(secs(60));
    assert!(scene.results(0) > 60, "{:?}", scene.totals(0));
    // Its master changes the settings: they are adopted.
    let now = scene.clock.elapsed();
    scene.board.chip(None, FIRST, |chip| chip.write(0x00, 0x6807, now));
    scene.run(secs(60));
    assert!(scene.results(0) > 60 + 60 * 12 && scene.up(0), "{:?}", scene.totals(0));
    scene.sampler.replace(Vec::new());
    assert_eq!(scene.board.chip(None, FIRST, |chip| chip.writes), 2);
}
