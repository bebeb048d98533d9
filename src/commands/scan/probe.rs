//! Devices at the addresses of INA260s, by their identity registers.

use std::fmt;

use crate::i2c::mux::Channel;
use crate::i2c::{Address, Bus, BusName, ErrorKind, Location};
use crate::ina260::{self, Error};

/// A device that responds, or is claimed by a kernel driver.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) location: Location,
    pub(super) kind: DeviceKind,
    /// Name in the configuration or in the service's metrics.
    pub(super) name: Option<String>,
}

#[derive(Debug)]
pub(super) enum DeviceKind {
    Ina260 {
        die: u16,
    },
    /// An INA260 downstream of a mux, according to the metrics of the service.
    Served {
        up: bool,
    },
    /// Another chip, an INA260 claimed by a kernel driver, or a transfer that failed other than for
    /// a missing acknowledge.
    Unusable(Error),
}

impl DeviceKind {
    pub(super) fn is_working_ina260(&self) -> bool {
        matches!(self, Self::Ina260 { .. } | Self::Served { up: true })
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ina260 { die } => write!(f, "INA260, die {die:#06x}"),
            Self::Served { up: true } => f.write_str("INA260, responds to the service"),
            Self::Served { up: false } => f.write_str("INA260, does not respond to the service"),
            Self::Unusable(error) => error.fmt(f),
        }
    }
}

/// Reason why a scan ended early.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The bus is stuck: each further transfer would cost the adapter's timeout.
    Stuck,
    /// The user asked for it.
    Requested,
}

/// Called before each address. Returns whether to go on.
pub(super) type Step<'a> = &'a mut dyn FnMut(Location) -> bool;

/// Probes every address that an INA260 can have.
pub(super) fn probe(
    bus: &mut dyn Bus,
    name: BusName,
    mux: Option<Channel>,
    step: Step,
) -> Result<Vec<Device>, Stopped> {
    let mut devices = Vec::new();
    for address in ina260::ADDRESSES.map(Address) {
        let location = Location { bus: name, mux, address };
        if !step(location) {
            return Err(Stopped::Requested);
        }
        let kind = match ina260::identify(bus, address) {
            Ok(die) => DeviceKind::Ina260 { die },
            Err(error) if error.is_timeout() => return Err(Stopped::Stuck),
            Err(Error::Read { source, .. }) if source.kind == ErrorKind::Nack => continue,
            Err(error) => DeviceKind::Unusable(error),
        };
        devices.push(Device { location, kind, name: None });
    }
    Ok(devices)
}
