//! Decides when the power guard is armed, and which results it covers.

use crate::ina260::Measurement;
use crate::ina260::alert::Guard;
use crate::ina260::registers::MaskEnable;

#[derive(Clone, Debug, Default)]
pub(super) struct PowerGuard {
    /// Direction that the comparator expects; `None` while it is not used.
    pub(super) armed: Option<Guard>,
    /// Direction to be written; `None`: the comparator is not to be used.
    pub(super) requested: Option<Guard>,
    /// Results in a row without a greater power register.
    without_greater: u32,
    /// Results in a row beyond the limit in the direction that is not expected.
    opposite: u32,
    /// Whether the comparator may have tripped in the conversions of the next result.
    next_is_tainted: bool,
    /// Whether it may have tripped in those of the last result found.
    is_tainted: bool,
    /// Results whose conversions may have begun before the comparator was written.
    unwatched: u32,
}

impl PowerGuard {
    /// Results without a greater register after which the guard is disarmed.
    const DISARM_AFTER: u32 = 100;
    /// Results in the other direction after which the guard changes its direction.
    const SWITCH_AFTER: u32 = 2;

    /// Records a read of the flags. A trip belongs to the next result or, if a result is ready, to
    /// this one and perhaps also to the next, whose conversions have begun.
    pub(super) fn record(&mut self, flags: MaskEnable) {
        if flags.ready() {
            self.is_tainted = self.next_is_tainted || flags.alert() || self.unwatched > 0;
            self.unwatched = self.unwatched.saturating_sub(1);
            self.next_is_tainted = flags.alert();
        } else {
            self.next_is_tainted |= flags.alert();
        }
    }

    /// Records that a tripped comparator may have been cleared unseen.
    pub(super) fn taint(&mut self) {
        self.next_is_tainted = true;
        self.is_tainted = true;
    }

    /// Returns whether a power register above voltage times current counts in the result found.
    pub(super) fn covers(&self, measurement: &Measurement) -> bool {
        !self.is_tainted && self.armed == Some(Guard::of(measurement.current_word))
    }

    /// Requests the change that the result shows to be necessary. `is_allowed` is whether the
    /// comparator may be used.
    pub(super) fn add(&mut self, measurement: &Measurement, is_allowed: bool) {
        let direction = Guard::of(measurement.current_word);
        let current = measurement.current_word.cast_signed();
        let is_opposite = self.armed.is_some_and(|armed| armed != direction)
            && current.unsigned_abs() > Guard::LIMIT.unsigned_abs();
        self.opposite = if is_opposite { self.opposite + 1 } else { 0 };
        let is_greater = measurement.has_greater_register();
        self.without_greater = if is_greater { 0 } else { self.without_greater.saturating_add(1) };
        if self.without_greater >= Self::DISARM_AFTER {
            self.requested = None;
        } else if self.opposite >= Self::SWITCH_AFTER
            || (is_greater && is_allowed && self.armed.is_none())
        {
            self.requested = Some(direction);
        }
    }

    /// Records that the comparator was written. The next `unwatched` results may have begun before.
    pub(super) fn written(&mut self, unwatched: u32) {
        self.armed = self.requested;
        self.unwatched = unwatched;
        self.opposite = 0;
    }
}
