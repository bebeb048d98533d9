//! When to poll next: just after the next edge or, to bracket it, in steps around it.

use std::time::{Duration, Instant};

use super::{CycleTracker, seconds};

impl CycleTracker {
    /// Polls per period while an edge is bracketed.
    const STEPS: f64 = 16.0;
    /// Time in seconds from a predicted edge to the poll; at most a quarter of a period.
    const MARGIN: f64 = 0.005;

    /// Returns when to poll next.
    pub(in crate::sampler) fn due(&self) -> Instant {
        self.due
    }

    /// Returns the earliest time at which a poll is certain to find a result: slightly before it is
    /// due, for a thread that is already awake.
    pub(in crate::sampler) fn ready_from(&self) -> Instant {
        self.due.min(self.certain)
    }

    /// Plans the next step after a poll that found no result.
    pub(super) fn plan_step(&mut self, now: Instant) {
        // On a slow bus the transfer itself is a step.
        let pause = self.step().checked_sub(self.latency);
        self.due = now + pause.unwrap_or_default();
        self.certain = self.due;
    }

    /// Plans the poll for the next result.
    pub(super) fn plan(&mut self, now: Instant) {
        let Some(next) = self.clock.edge(self.index + 1) else {
            self.due = now + self.step();
            self.certain = self.due;
            return;
        };
        let uncertainty = seconds(self.clock.uncertainty(next));
        let is_slow_bus = self.latency > self.step();
        // The chip sends its flags at the end of the transfer.
        let before = |at: Instant| at.checked_sub(self.latency).unwrap_or(now);
        if self.index + 1 >= self.next_bracket {
            let lead = uncertainty + self.step() / 2;
            let mut early = next.checked_sub(lead).unwrap_or(now);
            if is_slow_bus {
                // The last poll is the start of the bracket, if the next follows soon enough.
                early = early.min(now + seconds(self.clock.period() / 2.0));
            }
            self.due = before(early).max(now);
            self.certain = self.due;
        } else {
            let mut margin = seconds(Self::MARGIN.min(self.clock.period() / 4.0));
            if is_slow_bus {
                // A later poll would still read the registers at the next edge.
                margin = margin.min(uncertainty);
            }
            self.due = before(next + margin);
            self.certain = before(next + uncertainty);
        }
    }

    fn step(&self) -> Duration {
        seconds(self.clock.period() / Self::STEPS)
    }
}
