//! Who is at the addresses of a bus, by their identity registers.

use std::fmt;

use crate::i2c::mux::Channel;
use crate::i2c::{Address, BoundDriver, Bus, ErrorKind};
use crate::ina260::{self, Error};

/// Where an INA260 can be: pins A0 and A1.
const ADDRESSES: std::ops::RangeInclusive<u8> = 0x40..=0x4F;

/// Somebody who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is behind; `None`: nothing.
    pub channel: Option<Channel>,
    /// Where.
    pub address: Address,
    /// Who.
    pub answer: Answer,
    /// What the configuration, or the service, calls it.
    pub device: Option<String>,
}

/// What is at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An INA260.
    Ina260 {
        /// Its die identity register.
        die: u16,
    },
    /// An INA260 that the service measures; it alone can say whether it answers.
    ScrapedSensor {
        /// Whether it answers the service.
        up: bool,
    },
    /// Another chip.
    Other {
        /// What it holds in place of a manufacturer identity.
        manufacturer: u16,
        /// What it holds in place of a die identity.
        die: u16,
    },
    /// A chip that a kernel driver has; it was not asked.
    Driver(BoundDriver),
    /// A transfer failed otherwise than for want of an answer.
    Failed(Error),
}

impl Answer {
    /// Whether it is what is looked for.
    #[must_use]
    pub fn is_ina260(&self) -> bool {
        matches!(self, Self::Ina260 { .. } | Self::ScrapedSensor { up: true })
    }

    /// One word for it, for programs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ina260 { .. } | Self::ScrapedSensor { .. } => "ina260",
            Self::Other { .. } => "other",
            Self::Driver(_) => "kernel-driver",
            Self::Failed(_) => "error",
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ina260 { die } => write!(f, "INA260, die {die:#06x}"),
            Self::ScrapedSensor { up: true } => f.write_str("INA260, answers the service"),
            Self::ScrapedSensor { up: false } => f.write_str("INA260, does not answer the service"),
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

/// Why a bus is not asked any further.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is stuck, and each further question would cost the adapter's timeout.
    Stuck,
    /// Somebody asked to end.
    Asked,
}

/// Asks every address that an INA260 can have; `step` is told which, and whether to go on.
///
/// # Errors
/// [`Ended`], where it was not asked to the end.
pub fn probe(
    bus: &mut dyn Bus,
    channel: Option<Channel>,
    step: &mut dyn FnMut(Address) -> bool,
) -> Result<Vec<Found>, Ended> {
    let mut found = Vec::new();
    for address in ADDRESSES.map(Address) {
        if !step(address) {
            return Err(Ended::Asked);
        }
        let answer = match ina260::identify(bus, address) {
            Ok(die) => Answer::Ina260 { die },
            Err(Error::NotAnIna260 { manufacturer, die }) => Answer::Other { manufacturer, die },
            Err(Error::Bound(owner)) => Answer::Driver(owner),
            Err(error) if error.is_timeout() => return Err(Ended::Stuck),
            Err(Error::Read { source, .. }) if source.kind == ErrorKind::Nack => continue,
            Err(error) => Answer::Failed(error),
        };
        found.push(Found {
            channel,
            address,
            answer,
            device: None,
        });
    }
    Ok(found)
}
