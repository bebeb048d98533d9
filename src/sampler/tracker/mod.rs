//! Tracks when conversion cycles end, so that each result is read with one poll.
//!
//! The end of a cycle is called an *edge*. Polling in small steps until a result is ready shows
//! that an edge lies between two flag reads: a *bracket*. Brackets give the chip's period and
//! phase, and these the times of all further edges; see `docs/architecture.md`.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "cycles are counted from the last start: less than 2^53, and casts make negatives 0"
)]

use std::time::{Duration, Instant};

use crate::ina260::registers::MaskEnable;
use crate::meter::Cycle;
use chip_clock::{Bracket, ChipClock, Gaps};

mod chip_clock;

/// One mask/enable read: start and end time, between which the flags were sampled, and the flags.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlagRead {
    pub(super) begun: Instant,
    pub(super) ended: Instant,
    pub(super) flags: MaskEnable,
}

#[derive(Clone, Debug)]
pub(super) struct CycleTracker {
    clock: ChipClock,
    /// Last bracket before the phase was lost, or the time of an edge to within a period.
    anchor: Option<Bracket>,
    /// Results that were certainly missed since then; they have been counted.
    missed_since: u64,
    gaps: Gaps,
    /// Index of the edge of the last result found.
    index: u64,
    /// Whether `index` may be too small.
    is_ambiguous: bool,
    /// Results counted, read or missed. If it is one too many, the next missed one is not counted.
    counted: u64,
    /// Results found and rejected since the last that was not; `None` if unknown.
    rejected: Option<u64>,
    /// Missed results that have not been returned.
    missed: u64,
    /// Index of the next edge to bracket.
    next_bracket: u64,
    /// Earliest time at which the last flags can have been sampled: the next edge is later.
    pub(super) not_before: Option<Instant>,
    /// Duration of the last flag read, and of the shortest.
    latency: Duration,
    pub(super) shortest: Duration,
    polls: u32,
    /// When to poll next: just after the next edge or, to bracket it, in steps around it.
    pub(super) due: Instant,
    /// Earliest time at which a poll surely finds a result, or `due`: for a thread that is awake.
    pub(super) ready_from: Instant,
}

impl CycleTracker {
    /// Maximum distance between two brackets, in cycles.
    const MAX_DISTANCE: u64 = 256;
    /// Flag reads after which the shortest is taken as the time of the transfer alone.
    const MIN_POLLS: u32 = 16;
    /// Uncertainty of a prediction, in periods, above which a new bracket is taken.
    const REBRACKET_LIMIT: f64 = 0.15;
    /// Uncertainty of a prediction, in periods, below which an index is inferred from it.
    const INFER_LIMIT: f64 = 0.25;
    /// Uncertainty of a bracket, in periods, from which on it may contain another edge.
    const MAX_BRACKET: f64 = 1.0 / 3.0;
    /// Polls per period while an edge is bracketed.
    const STEPS: f64 = 16.0;
    /// Maximum time in seconds from a predicted edge to the poll; at most a quarter of a period.
    const MARGIN: f64 = 0.005;

    /// Returns a tracker of a chip that was configured `now`, which cleared its ready flag. `start`
    /// has the times around the write that restarted the conversions, if there was one.
    pub(super) fn new(nominal: Duration, start: &[Instant], now: Instant) -> Self {
        let period = nominal.as_secs_f64();
        let start = start.first().zip(start.last());
        let start = start.map(|(begun, ended)| Bracket::between(*begun, *ended, 0));
        let first = seconds(period * (1.0 - ChipClock::INITIAL_TOLERANCE));
        let is_ambiguous =
            start.is_some_and(|start| start.at + first < now + seconds(start.uncertainty));
        let mut tracker = Self {
            clock: ChipClock::new(period, start),
            anchor: None,
            missed_since: 0,
            gaps: Gaps::default(),
            index: 0,
            is_ambiguous,
            counted: 0,
            rejected: Some(0),
            missed: 0,
            next_bracket: 1,
            not_before: None,
            latency: Duration::ZERO,
            shortest: Duration::MAX,
            polls: 0,
            due: now,
            ready_from: now,
        };
        tracker.plan(now);
        tracker
    }

    /// Returns when the conversions were restarted, if that is the last edge known.
    pub(super) fn started(&self) -> Option<Instant> {
        self.clock.latest.map(|start| start.at)
    }

    /// Returns the chip's period: nominal until it was measured.
    pub(super) fn period(&self) -> Duration {
        seconds(self.clock.period)
    }

    /// Records a flag read that found no result.
    pub(super) fn not_ready(&mut self, read: FlagRead) {
        self.record_latency(read);
        // Polls that are not for a result can come earlier.
        if read.ended >= self.due {
            // On a slow bus the transfer itself is a step.
            self.due = read.ended + self.step().saturating_sub(self.latency);
            self.ready_from = self.due;
        }
    }

    /// Records a flag read that found no further result, after one was read: that was the last one.
    /// Corrects its cycle, if more results were missed than was certain before.
    pub(super) fn confirm_last(&mut self, read: FlagRead, cycle: &mut Cycle) {
        self.record_latency(read);
        if let Some((from, to)) = self.index_range(read).filter(|_| self.is_ambiguous) {
            self.index = from.max(self.index);
            self.is_ambiguous = to > self.index;
            cycle.end = self.clock.edge(self.index).map_or(cycle.end, |end| end.min(read.begun));
        }
        let missed = self.index.saturating_sub(self.counted);
        self.counted += missed;
        cycle.missed += missed;
    }

    /// Records a flag read that found a result. Returns the cycle of the result.
    pub(super) fn ready(&mut self, read: FlagRead) -> Cycle {
        let bracket = self.not_before.map(|it| Bracket::between(it, read.ended, self.index + 1));
        let limit = Self::MAX_BRACKET * self.clock.period;
        // The read clears the flag: the next edge comes after it began.
        self.record_latency(read);
        let range = self.index_range(read);
        let (edge, elapsed) = match (bracket, range) {
            (Some(bracket), _) if bracket.uncertainty < limit => self.record_edge(bracket),
            (Some(bracket), Some((_, to))) if to <= self.index => {
                self.record_contradiction(bracket)
            }
            _ => self.infer_index(read, range),
        };
        self.count_certain(self.earliest(read));
        self.plan(read.ended);
        self.counted += 1;
        let missed = self.index.saturating_sub(self.counted);
        self.counted += missed;
        let missed = missed + self.take_missed();
        let elapsed = self.rejected.replace(0).and_then(|rejected| Some(elapsed? + rejected));
        Cycle { end: edge.min(read.ended), elapsed, missed, period: self.period() }
    }

    /// Counts the result that was found last as missed.
    pub(super) fn reject(&mut self, cycle: &Cycle) {
        self.rejected = cycle.elapsed.filter(|&elapsed| elapsed > 0);
        self.missed += cycle.missed + 1;
    }

    /// Returns the missed results that were not returned with a result.
    pub(super) fn take_missed(&mut self) -> u64 {
        std::mem::take(&mut self.missed)
    }

    /// While the phase is lost, counts the results that were certainly missed.
    fn count_certain(&mut self, at: Instant) {
        let Some(anchor) = self.anchor else { return };
        let found = self.index.saturating_sub(anchor.index);
        let missed = self.clock.min_edges(anchor, at).saturating_sub(found);
        self.missed += missed.saturating_sub(self.missed_since);
        self.missed_since = self.missed_since.max(missed);
    }

    /// Discards a prediction that is too uncertain. The number of cycles since the last bracket can
    /// only be determined after the next one, if at all.
    fn lose_tracking(&mut self) {
        self.anchor = self.anchor.or(self.clock.latest);
        self.clock.lose_phase();
        self.is_ambiguous = false;
        self.gaps.is_continuous = false;
    }

    fn record_latency(&mut self, read: FlagRead) {
        let latency = read.ended.saturating_duration_since(read.begun);
        self.latency = latency.min(self.period());
        self.shortest = self.shortest.min(latency);
        self.polls = self.polls.saturating_add(1);
        self.not_before = Some(self.earliest(read));
    }

    /// Returns the earliest time at which the flags can have been sampled: the chip is addressed in
    /// the first 29 of the 47 clocks of a transfer.
    fn earliest(&self, read: FlagRead) -> Instant {
        if self.polls < Self::MIN_POLLS {
            return read.begun; // Each transfer may have been delayed.
        }
        read.ended.min(read.begun + self.shortest / 2)
    }

    /// Counts an edge that was bracketed, and updates period and phase. It is the next one, unless
    /// an unambiguous prediction shows that there were others before it, or that one too many was
    /// counted. Returns when it was, as far as it is known, and the number of cycles.
    fn record_edge(&mut self, mut bracket: Bracket) -> (Instant, Option<u64>) {
        let (at, next) = (bracket.at, bracket.index);
        let is_certain = self.clock.uncertainty(at) + bracket.uncertainty < self.clock.period / 2.0;
        let predicted =
            self.clock.periods_to(at).filter(|_| is_certain).map(|periods| periods.round() as u64);
        let is_lost = predicted.is_none() && self.is_ambiguous;
        if is_lost {
            self.lose_tracking();
        }
        bracket.index = predicted.unwrap_or(next);
        let elapsed = if self.begun_before() { 0 } else { bracket.index.max(next) - self.index };
        self.index = bracket.index;
        self.is_ambiguous = false;
        let is_consistent = self.clock.learn(&mut bracket);
        let missed = std::mem::take(&mut self.missed_since);
        let anchor = self.anchor.take();
        // An anchor that was not bracketed could never resolve its gap.
        let limit = Self::MAX_BRACKET * self.clock.period;
        if let Some(anchor) = anchor.filter(|it| it.uncertainty < limit) {
            self.gaps.add(anchor, bracket, missed);
        }
        self.gaps.is_continuous &= is_consistent;
        self.missed += self.gaps.resolve(&self.clock);
        let margin = Self::REBRACKET_LIMIT - bracket.uncertainty / self.clock.period;
        let distance = ((margin / self.clock.tolerance()) as u64).clamp(1, Self::MAX_DISTANCE);
        self.next_bracket = bracket.index + distance;
        (bracket.at, (!is_lost).then_some(elapsed))
    }

    /// Counts a result that was found before the earliest predicted edge, which shows that the chip
    /// has become faster: the next one, since the last was found less than a period before. Returns
    /// the same as [`Self::record_edge`].
    fn record_contradiction(&mut self, bracket: Bracket) -> (Instant, Option<u64>) {
        self.index = bracket.index;
        self.clock.restart(bracket);
        self.gaps.is_continuous = false;
        (bracket.at + seconds(bracket.uncertainty), Some(1))
    }

    /// Counts a result whose edge was not bracketed: the last certainly completed when the read
    /// began. The next read shows a later one. Returns the same as [`Self::record_edge`].
    fn infer_index(&mut self, read: FlagRead, range: Option<(u64, u64)>) -> (Instant, Option<u64>) {
        let Some((from, to)) = range else {
            let elapsed = self.begun_before().then_some(0);
            self.lose_tracking();
            self.index += 1;
            // The last edge was at most a period ago.
            let begin = read.ended.checked_sub(self.period()).unwrap_or(read.ended);
            self.anchor.get_or_insert(Bracket::between(begin, read.ended, self.index));
            return (read.ended, elapsed);
        };
        let before = self.index;
        self.index = from.max(before + 1);
        self.is_ambiguous = to > self.index;
        let edge = self.clock.edge(self.index).unwrap_or(read.ended);
        (edge, (!self.is_ambiguous).then(|| self.index - before))
    }

    /// Returns whether the conversions of the next result began before the first poll.
    fn begun_before(&self) -> bool {
        self.index == 0 && self.clock.latest.is_none()
    }

    /// Returns the range of the index of the last edge before the flags, if predicted well enough.
    fn index_range(&self, read: FlagRead) -> Option<(u64, u64)> {
        let uncertainty = self.clock.uncertainty(read.ended) / self.clock.period;
        let from = self.clock.periods_to(self.earliest(read))?;
        let to = self.clock.periods_to(read.ended)?;
        (uncertainty < Self::INFER_LIMIT)
            .then_some(((from - uncertainty) as u64, (to + uncertainty) as u64))
    }

    /// Returns the next edge as predicted, and its uncertainty.
    fn next_edge(&self) -> Option<(Instant, Duration)> {
        let next = self.clock.edge(self.index + 1)?;
        Some((next, seconds(self.clock.uncertainty(next))))
    }

    /// Returns whether an edge may lie between `flags`, the start of the flag read, and `now`, the
    /// end of the data, so that the registers may be those of two results.
    pub(super) fn may_tear(&self, flags: Instant, now: Instant) -> bool {
        self.next_edge().is_none_or(|(next, uncertainty)| {
            next.checked_sub(uncertainty).is_none_or(|earliest| earliest <= now)
                && next + uncertainty >= flags
        })
    }

    /// Returns whether `time` is left from `now` until the next edge, as far as that is known.
    pub(super) fn leaves_time(&self, now: Instant, time: Duration) -> bool {
        self.next_edge()
            .map_or(time < self.period() / 2, |(next, uncertainty)| now + time + uncertainty < next)
    }

    /// Returns whether a result was certainly completed before the flags were sampled.
    pub(super) fn is_due(&self, read: FlagRead) -> bool {
        self.index_range(read).is_some_and(|(from, _)| from > self.index)
    }

    /// Discards the phase, and with it the number of results completed since the last one.
    pub(super) fn lose_phase(&mut self) {
        self.lose_tracking();
        (self.anchor, self.not_before, self.rejected) = (None, None, None);
        self.missed_since = 0;
    }

    /// Plans the poll for the next result.
    fn plan(&mut self, now: Instant) {
        self.due = now + self.step();
        self.ready_from = self.due;
        let Some((next, uncertainty)) = self.next_edge() else { return };
        let is_slow_bus = self.latency > self.step();
        // The chip sends its flags at the end of the transfer.
        let before = |at: Instant| at.checked_sub(self.latency).unwrap_or(now);
        if self.index + 1 >= self.next_bracket {
            let mut early = next.checked_sub(uncertainty + self.step() / 2).unwrap_or(now);
            if is_slow_bus {
                // The last poll is the start of the bracket, if the next follows soon enough.
                early = early.min(now + seconds(self.clock.period / 2.0));
            }
            self.due = before(early).max(now);
            self.ready_from = self.due;
        } else {
            // For an edge later than predicted. On a slow bus, a later poll would still be reading
            // the registers at the next edge.
            let spare = if is_slow_bus { Duration::ZERO } else { self.step() };
            let margin =
                seconds(Self::MARGIN.min(self.clock.period / 4.0)).min(uncertainty + spare);
            self.due = before(next + margin);
            self.ready_from = self.due.min(before(next + uncertainty));
        }
    }

    fn step(&self) -> Duration {
        seconds(self.clock.period / Self::STEPS)
    }
}

/// Like `Duration::from_secs_f64`, which takes an eighth of the time of a poll; 0 if negative.
fn seconds(seconds: f64) -> Duration {
    Duration::from_nanos((seconds * 1e9 + 0.5) as u64)
}

#[cfg(test)]
mod tests;
