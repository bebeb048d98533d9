//! What people run beside the daemon, on the same parts.

use std::io;

use crate::bus::Address;
use crate::config::Problems;

pub mod http;
pub mod metrics;
pub mod scan;
pub mod watch;

/// Where an INA260 can be: pins A0 and A1.
const ADDRESSES: std::ops::RangeInclusive<u8> = 0x40..=0x4F;

/// Why a tool could not do what it was asked for; each sentence says what to do next.
#[derive(Debug)]
pub enum Failure {
    /// Nothing is there that it could be done with; a sentence each.
    Nothing(Vec<String>),
    /// It was asked for something that can't be; exit code 2.
    Usage(String),
    /// The configuration is wrong.
    Configuration(Problems),
    /// What it found could not be written.
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Every address that an INA260 can have.
fn addresses() -> impl Iterator<Item = Address> {
    ADDRESSES.map(Address)
}
