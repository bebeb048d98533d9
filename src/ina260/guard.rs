//! The power guard: the comparator shows whether the current changed its direction within a result.
//!
//! The power register may average magnitudes. If all conversions had the same sign, the mean of
//! magnitudes is the mean power; otherwise it is too high. See `docs/architecture.md`.

use super::RegisterDump;
use super::alert::Function;
use super::registers::MaskEnable;

/// Direction of the current that a guarded chip expects; the comparator trips on the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Trips on a conversion below -10 mA.
    Forward,
    /// Trips on a conversion above 10 mA.
    Reverse,
}

impl Guard {
    /// Limit in steps of the current register: 10 mA. Offset (±5 mA) and noise stay within it.
    pub(crate) const LIMIT: i16 = 8;

    /// Returns the direction of a word of the current register.
    pub(crate) const fn of(current_word: u16) -> Self {
        if current_word.cast_signed() < 0 { Self::Reverse } else { Self::Forward }
    }

    /// Returns the alert function and the limit register.
    const fn words(self) -> (u16, u16) {
        match self {
            Self::Forward => (Function::UnderCurrent as u16, (-Self::LIMIT).cast_unsigned()),
            Self::Reverse => (Function::OverCurrent as u16, Self::LIMIT.cast_unsigned()),
        }
    }
}

impl RegisterDump {
    /// Returns the registers with the comparator used by a guard, or unused.
    pub(crate) fn with_guard(self, guard: Option<Guard>) -> Self {
        let (function, alert_limit) = guard.map_or((0, 0), Guard::words);
        Self { mask_enable: MaskEnable(MaskEnable::LATCH | function), alert_limit, ..self }
    }

    /// Returns whether a guard uses the comparator.
    pub(crate) fn is_guarded(&self) -> bool {
        let uses = |guard| self.matches(&self.with_guard(Some(guard)));
        uses(Guard::Forward) || uses(Guard::Reverse)
    }
}
