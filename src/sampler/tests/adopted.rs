//! Chips that somebody set before, and whose conversions go on.

use super::*;

/// The settings of `interval`, made at time 0 by somebody else; the sampler begins at `late`.
fn scene_of_running(interval: Duration, load: Load, late: Duration, setup: Setup) -> Scene {
    let settings = Settings::for_interval(interval, PartialSettings::default()).unwrap();
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    let mut chip = Chip::new(load);
    chip.write(0x00, settings.word(), Duration::ZERO);
    board.plug(FIRST, chip);
    clock.advance_to(clock.now() + late);
    scene_of(clock, board, vec![setup])
}

/// 10 V, and 2 A until `end`.
fn load_until(end: f64) -> Load {
    Load {
        source: 10.0,
        resistance: 0.0,
        current: Box::new(move |at| if at < end { 2.0 } else { 0.0 }),
    }
}

#[test]
fn what_flowed_before_anybody_looked_is_not_counted() {
    let (late, setup) = (Duration::from_millis(100_500), setup(FIRST, secs(1)));
    let mut scene = scene_of_running(secs(1), load_until(100.4), late, setup);
    scene.run(secs(10));
    let totals = scene.totals(0);
    assert!(totals.results >= 10, "{totals:?}");
    assert_eq!(totals.energy.whole(), [0, 0]);
    // What the last result leaves is not accounted for yet.
    let life = totals.measured + totals.unmeasured;
    assert!(life > secs(9) && life < secs(10), "{totals:?}");
    assert!(totals.unmeasured < secs(1), "{totals:?}");
}

#[test]
fn the_first_result_is_shown_all_the_same() {
    let (late, setup) = (Duration::from_millis(100_500), setup(FIRST, secs(1)));
    let mut scene = scene_of_running(secs(1), Load::steady(5.0, 1.0), late, setup);
    scene.run(secs(1));
    assert_eq!(scene.results(0), 1);
    assert!(scene.meters[0].lock().last.is_some());
}

#[test]
fn the_power_register_is_read_as_the_chip_is_set_whatever_is_configured() {
    for (chip_has, configured, is_read) in [(2_200, 1_000_000, false), (1_000_000, 2_200, true)] {
        let mut setup = setup(FIRST, Duration::from_micros(configured));
        setup.chip.configure = false;
        setup.always_power = false;
        let interval = Duration::from_micros(chip_has);
        let mut scene = scene_of_running(interval, Load::steady(5.0, 1.0), secs(1), setup);
        scene.run(secs(5));
        let reading = scene.meters[0].lock().last.unwrap();
        assert_eq!(reading.raw.is_some(), is_read, "{interval:?}");
    }
}

#[test]
fn a_rail_that_is_off_costs_no_more_words_than_one_that_is_on() {
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
fn a_chip_that_is_not_ours_to_configure_is_never_written() {
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    let mut chip = Chip::new(Load::steady(5.0, 1.0));
    chip.write(0x00, 0x6E9F, Duration::ZERO);
    board.plug(FIRST, chip);
    let mut setup = setup(FIRST, Duration::from_millis(100));
    setup.chip.configure = false;
    let mut scene = scene_of(clock, board, vec![setup]);
    scene.run(secs(60));
    assert!(scene.results(0) > 60, "{:?}", scene.totals(0));
    // Its master changes its mind: the new settings are taken as they are.
    let now = scene.clock.elapsed();
    scene
        .board
        .chip(FIRST, |chip| chip.write(0x00, 0x6807, now));
    scene.run(secs(60));
    assert!(
        scene.results(0) > 60 + 60 * 12 && scene.up(0),
        "{:?}",
        scene.totals(0)
    );
    scene.sampler.release();
    assert_eq!(scene.board.chip(FIRST, |chip| chip.writes), 2);
}
