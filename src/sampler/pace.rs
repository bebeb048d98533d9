//! When to look at a sensor.
//!
//! The chip finishes a result every cycle by its own clock, which may be 10 % slow. Looks begin before the next result can be
//! there and go on in small steps until it is: so each result is read once, soon after it was finished, and the chip's clock,
//! not ours, sets the pace. A late wake-up moves the next look, it does not double it.

use std::time::{Duration, Instant};

/// Looks at one sensor between two results, in steps of a sixteenth of a cycle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    nominal: Duration,
    due: Instant,
    /// The last look that found nothing, since the last result: the result was finished after it.
    not_before: Option<Instant>,
    /// The first edge of a run in which no result was skipped, and how many cycles ago it was.
    run: Option<(Instant, u32)>,
    measured: Duration,
    discard: bool,
}

impl Pace {
    const STEPS: u32 = 16;
    /// The first look, in parts of a cycle: the tolerance of the chip's clock, and then some.
    const EARLIEST: f64 = 0.85;
    /// Looks between two results, as a rule: those after the earliest, until it is there.
    pub(super) const LOOKS: u32 = 3;
    /// So many cycles make a measurement of the cycle; then it begins anew, to follow the temperature.
    const RUN: u32 = 256;

    /// Starts with the conversions of a sensor. If they did not start `now` but at an unknown time (`adopted`), the first
    /// result is of unknown age.
    pub(super) fn new(nominal: Duration, now: Instant, adopted: bool) -> Self {
        let wait = if adopted {
            nominal / Self::STEPS
        } else {
            nominal.mul_f64(Self::EARLIEST)
        };
        Self {
            nominal,
            due: now + wait,
            not_before: None,
            run: if adopted { None } else { Some((now, 0)) },
            measured: nominal,
            discard: adopted,
        }
    }

    /// When to look next.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// The cycle as measured; nominal, until it was.
    pub(super) fn cycle(&self) -> Duration {
        self.measured
    }

    /// A look at `now` found no result.
    pub(super) fn not_ready(&mut self, now: Instant) {
        self.not_before = Some(now);
        // A look for another reason comes earlier, and changes nothing.
        if now >= self.due {
            self.due = now + self.nominal / Self::STEPS;
        }
    }

    /// A look at `now` found a result. Tells whether it may be used.
    pub(super) fn ready(&mut self, now: Instant) -> bool {
        let step = self.nominal / Self::STEPS;
        // Finished between two looks that lie close together: the edge is known. Otherwise it lies anywhere in the past.
        if let Some(before) = self
            .not_before
            .take()
            .filter(|before| now.duration_since(*before) <= 2 * step)
        {
            let edge = before + now.duration_since(before) / 2;
            self.measure(edge);
            self.due = edge + self.nominal.mul_f64(Self::EARLIEST);
        } else {
            self.run = None;
            self.due = now + step;
        }
        !std::mem::take(&mut self.discard)
    }

    fn measure(&mut self, edge: Instant) {
        let Some((first, cycles)) = &mut self.run else {
            self.run = Some((edge, 0));
            return;
        };
        *cycles += 1;
        self.measured = edge.duration_since(*first) / *cycles;
        if *cycles == Self::RUN {
            self.run = Some((edge, 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CYCLE: Duration = Duration::from_millis(160);

    /// Plays a chip whose results are finished every `cycle`, looked at `late` after each look is due; counts what is read.
    fn play(cycle: Duration, late: Duration, seconds: u64) -> (Pace, u64) {
        let start = Instant::now();
        let mut pace = Pace::new(CYCLE, start, false);
        let (mut read, mut seen) = (0, 0);
        let mut now = start;
        while now < start + Duration::from_secs(seconds) {
            now = pace.due() + late;
            let finished = (now - start).as_nanos() / cycle.as_nanos();
            if finished > seen {
                seen = finished;
                read += u64::from(pace.ready(now));
            } else {
                pace.not_ready(now);
            }
        }
        (pace, read)
    }

    #[test]
    fn every_result_is_read_once_whatever_the_chips_clock() {
        for percent in [95, 100, 105, 110] {
            let cycle = CYCLE * percent / 100;
            let (pace, read) = play(cycle, Duration::from_micros(300), 160);
            let finished = 160_000 / u64::try_from(cycle.as_millis()).unwrap();
            assert!(
                read.abs_diff(finished) <= 1,
                "{percent} %: {read} of {finished}"
            );
            let error = pace.cycle().as_secs_f64() / cycle.as_secs_f64() - 1.0;
            assert!(
                error.abs() < 0.05,
                "{percent} %: measured {:?}",
                pace.cycle()
            );
        }
    }

    #[test]
    fn a_stall_is_followed_by_one_look_and_not_by_a_burst() {
        let start = Instant::now();
        let mut pace = Pace::new(CYCLE, start, false);
        let woken = start + Duration::from_secs(60);
        assert!(pace.ready(woken));
        assert_eq!(pace.due(), woken + CYCLE / 16);
    }

    #[test]
    fn a_result_of_unknown_age_is_thrown_away() {
        let start = Instant::now();
        let mut pace = Pace::new(CYCLE, start, true);
        assert!(!pace.ready(pace.due()));
        pace.not_ready(pace.due());
        assert!(pace.ready(pace.due()));
    }
}
