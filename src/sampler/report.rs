//! What the chip says, in the meter's terms.

use crate::bus::ErrorKind;
use crate::clock::Clock;
use crate::ina260::{Error, Measurement};
use crate::meter::{Failure, Raw, Reading};

pub(super) fn transfer_failure(kind: ErrorKind) -> Failure {
    match kind {
        ErrorKind::Nack => Failure::Nack,
        ErrorKind::Timeout => Failure::Timeout,
        ErrorKind::Arbitration => Failure::Arbitration,
        ErrorKind::Io => Failure::Io,
    }
}

/// The kind of a failure that is not a failed transfer.
pub(super) fn own_failure(error: &Error) -> Option<Failure> {
    match error {
        Error::Read { .. } | Error::Write { .. } => None,
        Error::Owned(_) => Some(Failure::Io),
        Error::NotAnIna260 { .. } => Some(Failure::Identity),
        Error::NotKept { .. } => Some(Failure::Settings),
    }
}

pub(super) fn reading(measurement: Measurement, clock: &dyn Clock) -> Reading {
    let voltage = measurement.voltage();
    Reading {
        at: clock.now(),
        wall: clock.wall(),
        voltage,
        current: measurement.current(),
        power: measurement.power(),
        raw: measurement.power_register_milliwatts().map(|power| Raw {
            voltage: voltage.0,
            current: measurement.current_milliamperes(),
            power,
        }),
        overflows: [
            measurement.overflow,
            measurement.current_saturated(),
            measurement.voltage_saturated(),
        ],
    }
}
