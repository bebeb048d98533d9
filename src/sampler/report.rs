//! Errors of a poll, and what is counted of it.

use std::error::Error as _;

use crate::i2c::{self, ErrorKind, mux};
use crate::ina260::{self, Measurement};
use crate::meter::Failure;
use crate::units::Quantity;

/// A failed poll.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// A chip, or the transfer to it.
    #[error(transparent)]
    Chip(#[from] ina260::Error),
    /// A mux upstream of the chip.
    #[error(transparent)]
    Mux(#[from] mux::Error),
}

impl Error {
    /// Returns whether the bus is stuck.
    pub fn is_timeout(&self) -> bool {
        self.transfer().is_some_and(i2c::Error::is_timeout)
    }

    /// Returns the failed transfer, if that is the cause.
    pub(super) fn transfer(&self) -> Option<&i2c::Error> {
        self.source()?.downcast_ref()
    }

    /// Returns the kind to count the error as; `None` for failed transfers to the chip, which are
    /// counted one by one.
    pub(super) fn failure(&self) -> Option<Failure> {
        use ina260::Error as Chip;

        match self {
            Self::Chip(Chip::Read { .. } | Chip::Write { .. }) => None,
            Self::Chip(Chip::Bound(_)) => Some(Failure::Io),
            Self::Chip(Chip::InUse(_) | Chip::NotAnIna260 { .. }) => Some(Failure::Identity),
            Self::Chip(Chip::RegisterMismatch { .. } | Chip::NotContinuous(_)) => {
                Some(Failure::Settings)
            }
            Self::Mux(_) => Some(Failure::Mux),
        }
    }
}

/// Returns the kind to count a failed transfer as.
pub(super) fn transfer_failure(kind: ErrorKind) -> Failure {
    match kind {
        ErrorKind::Nack => Failure::Nack,
        ErrorKind::Timeout | ErrorKind::Busy | ErrorKind::Hung => Failure::Timeout,
        ErrorKind::Arbitration => Failure::Arbitration,
        ErrorKind::Closed | ErrorKind::Io => Failure::Io,
    }
}

/// Returns the quantities of a measurement that are out of range.
pub(super) fn overflows(measurement: &Measurement) -> impl Iterator<Item = Quantity> {
    let out_of_range = [
        (Quantity::Power, measurement.overflow),
        (Quantity::Current, measurement.current_saturated()),
        (Quantity::Voltage, measurement.voltage_saturated()),
    ];
    out_of_range.into_iter().filter_map(|(quantity, is_out)| is_out.then_some(quantity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturated_quantities_are_overflows() {
        let measurement = Measurement {
            voltage_word: 0x7FFF,
            current_word: 0x8000,
            power_word: None,
            overflow: false,
        };
        let found: Vec<Quantity> = overflows(&measurement).collect();
        assert_eq!(found, [Quantity::Current, Quantity::Voltage]);
    }
}
