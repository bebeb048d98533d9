//! Who is at the addresses of a bus, by their identity registers.

use std::fmt;

use crate::bus::{Address, Bus, Error as BusError, ErrorKind, Owner};
use crate::ina260::{self, Error};
use crate::tools::addresses;

/// Somebody who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub address: Address,
    /// Who.
    pub answer: Answer,
}

/// What is at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An INA260.
    Ina260 {
        /// Its die identity register.
        die: u16,
    },
    /// Another chip.
    Other {
        /// What it holds in place of a manufacturer identity.
        manufacturer: u16,
        /// What it holds in place of a die identity.
        die: u16,
    },
    /// A chip that a kernel driver has; it was not asked.
    Driver(Owner),
    /// A transfer failed otherwise than for want of an answer.
    Failed(Error),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ina260 { die } => write!(f, "INA260, die {die:#06x}"),
            Self::Other { manufacturer, die } => Error::NotAnIna260 {
                manufacturer: *manufacturer,
                die: *die,
            }
            .fmt(f),
            Self::Driver(owner) => owner.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// Asks every address that an INA260 can have.
///
/// # Errors
/// The transfer that timed out: the bus is stuck, and each further question would cost the adapter's timeout.
pub fn probe(bus: &mut dyn Bus) -> Result<Vec<Found>, BusError> {
    let mut found = Vec::new();
    for address in addresses() {
        let answer = match ina260::identify(bus, address) {
            Ok(identity) => Answer::Ina260 { die: identity.die },
            Err(Error::NotAnIna260 { manufacturer, die }) => Answer::Other { manufacturer, die },
            Err(Error::Owned(owner)) => Answer::Driver(owner),
            Err(Error::Read { source, .. }) if source.kind == ErrorKind::Timeout => {
                return Err(source);
            }
            Err(Error::Read { source, .. }) if source.kind == ErrorKind::Nack => continue,
            Err(error) => Answer::Failed(error),
        };
        found.push(Found { address, answer });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::clock::SimulatedClock;
    use crate::simulated::{Board, Chip, Fault, Injected, Load};

    fn board() -> Arc<Board> {
        let board = Board::new(Arc::new(SimulatedClock::default()), 400_000);
        for address in [0x40, 0x44, 0x4F] {
            board.plug(Address(address), Chip::new(Load::steady(5.0, 1.0)));
        }
        board.schedule(Injected {
            fault: Fault::WrongIdentity,
            address: Some(Address(0x44)),
            from: Duration::ZERO,
            until: None,
        });
        board
    }

    #[test]
    fn every_chip_is_named_and_none_is_written() {
        let board = board();
        let found = probe(&mut board.bus()).unwrap();
        let told: Vec<String> = found
            .iter()
            .map(|found| format!("{} {}", found.address, found.answer))
            .collect();
        assert_eq!(
            told,
            [
                "0x40 INA260, die 0x2270",
                "0x44 not an INA260: manufacturer 0x5449, die 0x2260",
                "0x4f INA260, die 0x2270",
            ]
        );
        assert_eq!(board.chip(Address(0x40), |chip| chip.writes), 0);
    }

    #[test]
    fn a_stuck_bus_is_asked_once() {
        let board = board();
        board.inject(Fault::Timeout);
        let error = probe(&mut board.bus()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Timeout);
        assert_eq!(board.words(), 1);
    }
}
