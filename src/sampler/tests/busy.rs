//! A busy machine.

use super::*;

/// A clock on which one transfer in `one_in` waits for the processor before it starts, and one
/// after it has ended.
struct Busy {
    clock: SimulatedClock,
    one_in: u32,
    random: AtomicU32,
}

impl Clock for Busy {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn wall(&self) -> std::time::SystemTime {
        self.clock.wall()
    }

    fn booted(&self) -> Duration {
        self.clock.booted()
    }

    fn wait(&self, time: Duration) {
        // xorshift: the same stalls in each run
        let mut random = self.random.load(Relaxed);
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        self.random.store(random, Relaxed);
        let stall = Duration::from_micros(u64::from(random >> 16) % 6_000);
        match random % self.one_in {
            0 => self.clock.wait(stall + time),
            1 => {
                self.clock.wait(time);
                self.clock.wait(stall);
            }
            _ => self.clock.wait(time),
        }
    }
}

/// Returns a sampler of a sensor on a bus of `hertz`; the seed determines the stalls of its clock.
fn busy_sampler(
    (one_in, seed, hertz): (u32, u32, u32),
    setup: Setup,
) -> (Arc<Busy>, Arc<Board>, Sampler) {
    let random = AtomicU32::new(seed);
    let clock = Arc::new(Busy { clock: SimulatedClock::default(), one_in, random });
    let board = Board::new(clock.clone(), hertz);
    board.plug(None, FIRST, Chip::new(Load::steady(5.0, 1.0)));
    let (name, bus) = ("bus 1".to_owned(), Box::new(board.clone()));
    let sampler = Sampler::new(name, bus, vec![setup], clock.clone(), Arc::new(|| ()));
    (clock, board, sampler)
}

#[test]
fn missed_results_are_counted_on_busy_machine() {
    for (micros, one_in) in [(2_200, 100), (1_000, 100), (500, 300)] {
        for seed in 1..=4 {
            let setup =
                Setup { always_power: false, ..setup(FIRST, Duration::from_micros(micros)) };
            let meter = setup.meter.clone();
            let (clock, board, mut sampler) = busy_sampler((one_in, seed, 400_000), setup);
            let counted = || {
                let totals = meter.lock().accumulator.totals(clock.now());
                let finished = board.chip(None, FIRST, |chip| {
                    chip.read(0x07, clock.clock.elapsed()); // catches up
                    chip.counts.finished - chip.counts.unconfigured
                });
                (totals.results + totals.missed).abs_diff(finished) <= 1
            };
            let end = clock.now() + secs(60);
            // The results missed in a stall are known one poll after it.
            let late = end + Duration::from_millis(50);
            while clock.now() < end || !counted() {
                let due = sampler.poll_due();
                clock.clock.advance_to(due);
                let totals = meter.lock().accumulator.totals(clock.now());
                assert!(clock.now() < late, "{micros} us, seed {seed}: {totals:?}");
            }
        }
    }
}

#[test]
fn time_of_missed_results_is_unmeasured() {
    for (micros, one_in) in [(2_200, 100), (1_000, 100), (500, 300)] {
        let setup = setup(FIRST, Duration::from_micros(micros));
        let (meter, cycle) = (setup.meter.clone(), setup.chip.settings.cycle());
        let (clock, _, mut sampler) = busy_sampler((one_in, 1, 400_000), setup);
        let end = clock.now() + secs(60);
        while clock.now() < end {
            let due = sampler.poll_due();
            clock.clock.advance_to(due);
        }
        let Totals { measured, results, .. } = meter.lock().accumulator.totals(clock.now());
        let per_result = measured / u32::try_from(results).unwrap();
        assert!(per_result.abs_diff(cycle) < cycle / 100, "{micros} us: {per_result:?} {cycle:?}");
    }
}

#[test]
fn busy_machine_is_not_a_slow_bus() {
    for (hertz, one_in, expected) in [(400_000, 3, false), (10_000, 3, true)] {
        for seed in 1..=20 {
            let setup = setup(FIRST, Duration::from_millis(10));
            let (_, _, mut sampler) = busy_sampler((one_in, seed, hertz), setup);
            sampler.poll_due();
            assert_eq!(sampler.overload_logged, expected, "{hertz} Hz, seed {seed}");
        }
    }
}

#[test]
fn overload_by_a_reload_is_logged() {
    // A result every 408 us: three transfers of 118 us each fit, four do not.
    let setup = Setup { always_power: false, ..setup(FIRST, Duration::from_micros(450)) };
    let more = Setup { always_power: true, ..setup.clone() };
    let clock = Arc::new(SimulatedClock::default());
    let board = Board::new(clock.clone(), 400_000);
    board.plug(None, FIRST, Chip::new(Load::steady(5.0, 1.0)));
    let mut scene = scene_of(clock, board, vec![setup.clone()]);
    scene.run(secs(1));
    for (setup, expected) in [(setup.clone(), false), (more, true), (setup, false)] {
        scene.sampler.replace(vec![setup]);
        scene.run(secs(1));
        assert_eq!(scene.sampler.overload_logged, expected);
    }
}

#[test]
fn torn_results_are_not_corrupt() {
    for seed in 1..=4 {
        let setup = setup(FIRST, Duration::from_millis(10));
        let meter = setup.meter.clone();
        let (clock, board, mut sampler) = busy_sampler((30, seed, 400_000), setup);
        sampler.poll_due();
        // Each result is far from the one before, so that words of two contradict each other.
        board.chip(None, FIRST, |chip| {
            let (start, cycle) = (chip.started.as_secs_f64(), chip.cycle().as_secs_f64());
            chip.load.current = Box::new(move |t| {
                let is_odd = ((t - start) / cycle).floor() % 2.0 < 1.0;
                if is_odd { 1.0 } else { 5.0 }
            });
        });
        let end = clock.now() + secs(60);
        while clock.now() < end {
            let due = sampler.poll_due();
            clock.clock.advance_to(due);
        }
        let meter = meter.lock();
        assert!(meter.accumulator.totals(end).results > 4_000);
        assert_eq!(meter.failures[Failure::Corrupt as usize], 0, "seed {seed}");
    }
}

#[test]
fn stalled_read_is_not_served_torn() {
    for (micros, hertz) in [(2_300, 400_000), (3_000, 400_000), (5_000, 400_000), (20_000, 100_000)]
    {
        for seed in 1..=4 {
            let setup = setup(FIRST, Duration::from_micros(micros));
            let meter = setup.meter.clone();
            let (clock, board, mut sampler) = busy_sampler((100, seed, hertz), setup);
            sampler.poll_due();
            // From now on current and voltage change at each edge.
            board.chip(None, FIRST, |chip| {
                let (start, cycle) = (chip.started.as_secs_f64(), chip.cycle().as_secs_f64());
                let current = move |t: f64| {
                    if ((t - start) / cycle).floor() % 2.0 < 1.0 { 1.0 } else { 3.0 }
                };
                chip.load = Load { source: 10.0, resistance: 1.0, current: Box::new(current) };
            });
            let start = clock.now();
            while clock.now() < start + secs(30) {
                let due = sampler.poll_due();
                clock.clock.advance_to(due);
                let last = meter.lock().last;
                if let Some(last) = last.filter(|it| it.at > start + Duration::from_millis(100)) {
                    // 10 V minus 1 ohm times the current, with offsets, noise and rounding; a mix
                    // of two results is off by 2 V.
                    let sum = last.measured.voltage.0 + last.measured.current.0;
                    assert!((sum - 10.0).abs() < 0.01, "{micros} us, seed {seed}: {last:?}");
                }
            }
        }
    }
}

#[test]
fn long_cycle_is_checked_on_an_overloaded_bus() {
    let fast = Duration::from_micros(280);
    let mut scene = scene(&[fast, fast, secs(20)]);
    let run = |scene: &mut Scene, time| {
        let end = scene.clock.now() + time;
        while scene.clock.now() < end {
            let due = scene.sampler.poll_due();
            scene.clock.advance_to(due);
        }
        scene.up(2)
    };
    assert!(run(&mut scene, secs(60)));
    scene.board.unplug(Address(0x42));
    // A check is due every second, and waits for other sensors at most as long.
    assert!(!run(&mut scene, Duration::from_millis(2_100)));
}
