//! A chip with a clock of its own, played against the tracker.

use proptest::prelude::*;

use super::*;

const NOMINAL: Duration = Duration::from_millis(160);

/// A chip with its own period, and a daemon that is late by what `jitter` says, round after round.
struct Play {
    start: Instant,
    now: Instant,
    period: f64,
    edges: CycleTracker,
    seen: u64,
    read: u64,
    missed: u64,
    unknown: u64,
    looks: u64,
}

impl Play {
    fn new(period: f64) -> Self {
        let start = Instant::now();
        let edges = CycleTracker::new(
            NOMINAL,
            Some(Look {
                begun: start,
                ended: start,
            }),
            start,
        );
        Self {
            start,
            now: start,
            period,
            edges,
            seen: 0,
            read: 0,
            missed: 0,
            unknown: 0,
            looks: 0,
        }
    }

    fn finished(&self) -> u64 {
        count((self.now - self.start).as_secs_f64() / self.period)
    }

    fn look(&mut self, late: Duration) {
        self.look_and_wake(late, Duration::ZERO);
    }

    /// Begins `late`, and wakes up with the answer some time after the chip gave it.
    fn look_and_wake(&mut self, late: Duration, after: Duration) {
        let begun = self.edges.due().max(self.now) + late;
        self.now = begun + Duration::from_micros(118);
        self.looks += 1;
        let finished = self.finished();
        let look = Look {
            begun,
            ended: self.now + after,
        };
        self.now = look.ended;
        if finished == self.seen {
            self.edges.not_ready(look);
            return;
        }
        self.seen = finished;
        let Cycle {
            elapsed, missed, ..
        } = self.edges.ready(look);
        self.read += 1;
        self.missed += missed;
        self.unknown += u64::from(elapsed.is_none());
    }

    fn run(&mut self, seconds: u64, late: Duration) {
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end {
            self.look(late);
        }
    }
}

#[test]
fn every_result_is_read_with_one_look_whatever_the_chips_clock() {
    for percent in [90, 95, 100, 103, 110] {
        let mut play = Play::new(0.160 * f64::from(percent) / 100.0);
        play.run(1_600, Duration::from_micros(300));
        assert!(
            play.finished() - play.read <= 1,
            "{percent} %: {} of {}",
            play.read,
            play.finished()
        );
        assert_eq!((play.missed, play.unknown), (0, 0), "{percent} %");
        assert!(
            play.looks < play.read + play.read / 20,
            "{percent} %: {} looks",
            play.looks
        );
        let error = play.edges.cycle().as_secs_f64() / play.period - 1.0;
        assert!(error.abs() < 2e-4, "{percent} %: off by {error}");
    }
}

#[test]
fn results_that_nobody_read_are_counted_after_a_stall() {
    let mut play = Play::new(0.1655);
    play.run(600, Duration::from_micros(300));
    for stall in [1, 2, 5, 10, 20] {
        play.look(Duration::from_secs(stall));
        play.run(60, Duration::from_micros(300));
        let counted = play.read + play.missed;
        assert!(
            counted.abs_diff(play.finished()) <= 1,
            "{stall} s: {counted} of {}",
            play.finished()
        );
    }
    assert_eq!(play.unknown, 0);
}

#[test]
fn results_of_a_stall_that_nothing_could_tell_are_counted_once_the_period_is_known() {
    for stall in [1, 3, 10] {
        let mut play = Play::new(0.1655);
        play.look(Duration::from_secs(stall));
        assert_eq!((play.unknown, play.missed), (1, 0));
        play.run(2, Duration::from_micros(300));
        play.look(Duration::from_secs(stall));
        play.run(600, Duration::from_micros(300));
        let counted = play.read + play.missed;
        assert!(
            counted.abs_diff(play.finished()) <= 1,
            "{stall} s: {counted} of {}",
            play.finished()
        );
    }
}

#[test]
fn a_stall_too_long_to_tell_is_no_guess_and_followed_by_no_burst() {
    let mut play = Play::new(0.1655);
    play.run(600, Duration::from_micros(300));
    let missed = play.missed;
    play.look(Duration::from_secs(3_600));
    assert_eq!((play.unknown, play.missed), (1, missed));
    let looks = play.looks;
    play.run(10, Duration::from_micros(300));
    assert!(play.looks - looks < 110, "{}", play.looks - looks);
    assert!(play.unknown <= 2, "the phase is known again");
}

#[test]
fn a_read_that_an_edge_may_fall_into_is_torn() {
    let mut play = Play::new(0.160);
    play.run(600, Duration::from_micros(300));
    let next = play.edges.clock.edge(play.edges.index + 1).unwrap();
    let ms = Duration::from_millis;
    assert!(!play.edges.may_tear(next - ms(100), next - ms(60)));
    assert!(play.edges.may_tear(next - ms(100), next + ms(1)));
    assert!(play.edges.may_tear(next - ms(1), next + ms(1)));
    play.edges.lose_phase();
    assert!(play.edges.may_tear(next - ms(100), next - ms(60)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn read_and_missed_are_what_the_chip_finished(
        tolerance in 0.90..1.10_f64,
        jitter in prop::collection::vec(0..20_000_u64, 50),
        wakes in prop::collection::vec((0..400_usize, 0..40_000_u64), 0..8),
        stalls in prop::collection::vec((100..400_u64, 200..8_000_u64), 0..6),
    ) {
        let mut play = Play::new(0.160 * tolerance);
        let mut short_for = 0;
        for round in 0..2_000_usize {
            let late = Duration::from_micros(jitter[round % jitter.len()]);
            let stall = stalls.iter().find(|(at, _)| *at == round as u64);
            let late = late + Duration::from_millis(stall.map_or(0, |(_, ms)| *ms));
            let wake = wakes.iter().find(|(at, _)| *at == round % 400);
            play.look_and_wake(late, Duration::from_micros(wake.map_or(0, |(_, micros)| *micros)));
            let counted = play.read + play.missed;
            let told = format!("round {round}: {} read, {} missed of {}", play.read, play.missed, play.seen);
            prop_assert!(counted <= play.seen + 1, "{told}");
            let certain = play.edges.anchor.is_none() && !play.edges.needs_deselect;
            // What a look that was late did not tell for certain, the next ones do.
            let short = certain && play.edges.gaps.open.is_empty() && play.seen > counted + 1;
            short_for = if short { short_for + 1 } else { 0 };
            prop_assert!(short_for <= 2, "{told}");
        }
    }
}
