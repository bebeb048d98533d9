//! The edges at which a chip finishes its results: tracked, not chased.
//!
//! The chip has a clock of its own, up to 10 % slow. Looking in small steps until a result is there shows an edge between two
//! looks, a *bracket*. From brackets follow the chip's period and phase, and from these, without looking, when results were
//! finished: each is then read with one look, and one that nobody read is counted. Brackets are taken anew at growing
//! distances, for the further two of them lie apart, the better the period is known.

use std::time::{Duration, Instant};

use bracket::Bracket;
use chip_clock::ChipClock;
use gaps::Gaps;

use crate::meter::Cycle;

mod bracket;
mod chip_clock;
mod gaps;

/// A look at the flags: the chip gave them at some time in it, and a thread may be woken late after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) begun: Instant,
    pub(super) ended: Instant,
}

/// The edges of one chip.
#[derive(Clone, Debug)]
pub(super) struct CycleTracker {
    clock: ChipClock,
    /// The last edge that was seen before the phase was lost.
    anchor: Option<Bracket>,
    gaps: Gaps,
    /// Of the last result that was found.
    index: u64,
    /// It may have been a later one.
    needs_deselect: bool,
    /// Results told of so far, found or missed. An index that turns out to have been one too many is made up for at the next miss.
    told: u64,
    /// Of the next edge to be bracketed.
    next_bracket: u64,
    /// The earliest that the last look can have been answered: the next edge comes after that.
    not_before: Option<Instant>,
    /// What the last look took, and the shortest.
    latency: Duration,
    shortest: Duration,
    looks: u32,
    due: Instant,
    /// The next edge, and the uncertainty of its prediction.
    certain: Instant,
}

impl CycleTracker {
    /// Looks in a period while an edge is looked for.
    const STEPS: f64 = 16.0;
    /// A result is looked at so long after its predicted edge, or a quarter of a period, if that is shorter.
    const MARGIN: f64 = 0.005;
    /// Results from one bracket to the next, at the most.
    const DISTANCE: u64 = 256;
    /// Looks of which the shortest may still have taken longer than the transfer.
    const FEW: u32 = 16;
    /// A prediction that is more uncertain than this part of the period needs a new bracket.
    const VAGUE: f64 = 0.15;
    /// A prediction tells results apart while it is less uncertain than this part of the period.
    const TELLS: f64 = 0.25;
    /// The widest bracket on either side of its middle, as a part of the period.
    const WIDEST: f64 = 1.0 / 3.0;

    /// Of conversions that were started over in the transfer `start`, or at an unknown time before, and prepared `now`. To prepare them
    /// clears the flag of what was finished until then.
    pub(super) fn new(nominal: Duration, start: Option<Look>, now: Instant) -> Self {
        let period = nominal.as_secs_f64();
        let start = start.map(|write| {
            let gap = write.ended.duration_since(write.begun);
            Bracket {
                at: write.begun + gap / 2,
                uncertainty: gap.as_secs_f64() / 2.0,
                index: 0,
            }
        });
        let first = seconds(period * (1.0 - ChipClock::UNKNOWN));
        let needs_deselect =
            start.is_some_and(|start| start.at + first < now + seconds(start.uncertainty));
        let mut edges = Self {
            clock: ChipClock::new(period, start),
            anchor: None,
            gaps: Gaps::default(),
            index: 0,
            needs_deselect,
            told: 0,
            next_bracket: 1,
            not_before: None,
            latency: Duration::ZERO,
            shortest: Duration::MAX,
            looks: 0,
            due: now,
            certain: now,
        };
        edges.plan(now);
        edges
    }

    /// When the conversions were started over, if the last edge known is that.
    pub(super) fn started(&self) -> Option<Instant> {
        self.clock.latest().map(|start| start.at)
    }

    /// When to look next.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// From when on the next look finds a result for certain: somewhat before it is due, for whoever is awake anyway.
    pub(super) fn ready_from(&self) -> Instant {
        self.due.min(self.certain)
    }

    /// The chip's period: nominal, until it was measured.
    pub(super) fn cycle(&self) -> Duration {
        Duration::from_secs_f64(self.clock.period())
    }

    /// A look found no result.
    pub(super) fn not_ready(&mut self, look: Look) {
        self.record_latency(look);
        if look.ended < self.due {
            return; // A look for another reason.
        }
        // On a slow bus a look is a step already.
        let pause = self.step().checked_sub(self.latency).unwrap_or_default();
        self.due = look.ended + pause;
        self.certain = self.due;
    }

    /// A look after the result was read found no other: it was the last one. Returns how many more were missed than was certain before.
    pub(super) fn looked_again(&mut self, look: Look) -> u64 {
        self.record_latency(look);
        if self.needs_deselect
            && let Some((from, to)) = self.indexes(look)
        {
            self.index = from.max(self.index);
            self.needs_deselect = to > self.index;
        }
        let missed = self.index.saturating_sub(self.told);
        self.told += missed;
        missed
    }

    /// A look found a result.
    pub(super) fn ready(&mut self, look: Look) -> Cycle {
        let bracket = self
            .not_before
            .and_then(|before| self.bracket(before, look.ended));
        // The look itself clears the flag: what comes next comes after it began.
        self.record_latency(look);
        let (edge, passed) = match bracket {
            Some(bracket) => self.record_edge(bracket),
            None => self.infer_index(look),
        };
        self.plan(look.ended);
        let missed = self.index.saturating_sub(self.told + 1);
        self.told += missed + 1;
        Cycle {
            end: edge.min(look.ended),
            elapsed: passed,
            missed: missed + self.gaps.take_missed(),
            period: self.cycle(),
        }
    }

    /// The prediction does not reach until now: how many results were finished meanwhile can only be told once an edge is seen again, if at
    /// all.
    fn lose_tracking(&mut self) {
        let (anchor, not_before) = (self.anchor.or(self.clock.latest()), self.not_before);
        self.lose_phase();
        (self.anchor, self.not_before) = (anchor, not_before);
    }

    fn record_latency(&mut self, look: Look) {
        let latency = look.ended.saturating_duration_since(look.begun);
        self.latency = latency.min(seconds(self.clock.period()));
        self.shortest = self.shortest.min(latency);
        self.looks = self.looks.saturating_add(1);
        self.not_before = Some(self.earliest(look));
    }

    /// When the chip gave its flags, at the earliest: 29 of the 47 clocks of a word ask for it.
    fn earliest(&self, look: Look) -> Instant {
        if self.looks < Self::FEW {
            return look.begun; // Each may have been held up.
        }
        look.ended.min(look.begun + self.shortest / 2)
    }

    /// Counts an edge that was seen, and learns from it. Nothing came until the one look and one result until the other: it is the next
    /// one, unless a prediction that is certain says that some were finished before, or that one too many was counted.
    fn record_edge(&mut self, (at, uncertainty): (Instant, f64)) -> (Instant, Option<u64>) {
        let next = self.index + 1;
        let certain = self.clock.uncertainty(at) + uncertainty < self.clock.period() / 2.0;
        let predicted = self
            .clock
            .periods_to(at)
            .filter(|_| certain)
            .map(|periods| count(periods.round()));
        let lost = predicted.is_none() && self.needs_deselect;
        if lost {
            self.lose_tracking();
        }
        let index = predicted.unwrap_or(next);
        let passed = (!lost).then(|| {
            if self.begun_before() {
                0
            } else {
                index.max(next) - self.index
            }
        });
        self.index = index;
        self.needs_deselect = false;
        let edge = self.learn(Bracket {
            at,
            uncertainty,
            index,
        });
        (edge, passed)
    }

    /// Counts a result whose edge nobody saw: what was finished for certain when the look began. If there was one more, the next look
    /// shows it.
    fn infer_index(&mut self, look: Look) -> (Instant, Option<u64>) {
        let Some((from, to)) = self.indexes(look) else {
            let passed = self.begun_before().then_some(0);
            self.lose_tracking();
            self.index += 1;
            return (look.ended, passed);
        };
        let before = self.index;
        self.index = from.max(before + 1);
        self.needs_deselect = to > self.index;
        let edge = self.clock.edge(self.index).unwrap_or(look.ended);
        (edge, (!self.needs_deselect).then(|| self.index - before))
    }

    /// Whether the next result was begun before anybody looked.
    fn begun_before(&self) -> bool {
        self.index == 0 && self.clock.latest().is_none()
    }

    /// Which result was the last to be finished when the chip gave its flags, at least and at most, if the prediction tells.
    fn indexes(&self, look: Look) -> Option<(u64, u64)> {
        let uncertain = self.clock.uncertainty(look.ended) / self.clock.period();
        let from = self.clock.periods_to(self.earliest(look))?;
        let to = self.clock.periods_to(look.ended)?;
        (uncertain < Self::TELLS).then(|| (count(from - uncertain), count(to + uncertain)))
    }

    /// Whether an edge may have come between the look at `flags` and the end of the data at `now`, so that the registers are of
    /// two results.
    pub(super) fn may_tear(&self, flags: Instant, now: Instant) -> bool {
        let Some(next) = self.clock.edge(self.index + 1) else {
            return true;
        };
        let uncertainty = self.clock.uncertainty(next);
        let (earliest, latest) = (
            next.checked_sub(seconds(uncertainty)),
            next + seconds(uncertainty),
        );
        earliest.is_none_or(|earliest| earliest <= now) && latest >= flags
    }

    /// Nothing is known of the phase any more, for example after a suspend.
    pub(super) fn lose_phase(&mut self) {
        self.clock.lose_phase();
        self.anchor = None;
        self.needs_deselect = false;
        self.gaps.break_off();
        self.not_before = None;
    }

    /// The edge between two looks and its uncertainty, if they lie close enough together to tell one edge from the next.
    fn bracket(&self, before: Instant, now: Instant) -> Option<(Instant, f64)> {
        let gap = now.duration_since(before);
        let (edge, uncertainty) = (before + gap / 2, gap.as_secs_f64() / 2.0);
        (uncertainty < Self::WIDEST * self.clock.period()).then_some((edge, uncertainty))
    }

    /// Learns from an edge that was seen. Returns when it was, as far as is known now.
    fn learn(&mut self, bracket: Bracket) -> Instant {
        let (bracket, goes_together) = self.clock.learn(bracket);
        if let Some(anchor) = self.anchor.take() {
            self.gaps.add(anchor, bracket);
        }
        if !goes_together {
            self.gaps.break_off();
        }
        let (period, tolerance) = (self.clock.period(), self.clock.tolerance());
        self.gaps.close(period, tolerance, bracket);
        let room = (Self::VAGUE - bracket.uncertainty / period) / tolerance;
        self.next_bracket = bracket.index + count(room).clamp(1, Self::DISTANCE);
        bracket.at
    }

    /// Plans the next look.
    fn plan(&mut self, now: Instant) {
        let Some(next) = self.clock.edge(self.index + 1) else {
            self.due = now + self.step();
            self.certain = self.due;
            return;
        };
        let uncertainty = seconds(self.clock.uncertainty(next));
        // What counts is when the chip puts its flags on the wire.
        let before = |at: Instant| at.checked_sub(self.latency).unwrap_or(now);
        if self.index + 1 >= self.next_bracket {
            let lead = uncertainty + self.step() / 2;
            let early = next.checked_sub(lead).unwrap_or(now);
            // On a slow bus the last look serves as the one before the edge, if the next comes soon enough.
            let soon = now + seconds(self.clock.period() / 2.0);
            let early = if self.latency > self.step() {
                early.min(soon)
            } else {
                early
            };
            self.due = before(early).max(now);
            self.certain = self.due;
        } else {
            let margin = seconds(Self::MARGIN.min(self.clock.period() / 4.0));
            // On a slow bus there is no time to lose, if the next edge is not to fall into the data.
            let margin = if self.latency > self.step() {
                margin.min(uncertainty)
            } else {
                margin
            };
            self.due = before(next + margin);
            self.certain = before(next + uncertainty);
        }
    }

    fn step(&self) -> Duration {
        seconds(self.clock.period() / Self::STEPS)
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole and not negative"
)]
fn count(whole: f64) -> u64 {
    whole.max(0.0) as u64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "results are counted from the last start, and not for a million years"
)]
fn to_f64(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests;
