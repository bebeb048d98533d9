//! The multiplexers of a bus that nobody else uses, switched and left as they were found.

use crate::i2c::mux::{self, Channel, Multiplexers};
use crate::i2c::{Address, BoundDriver, Bus, Error, ErrorKind};

/// Where a TCA9548A can be: pins A0 to A2.
const ADDRESSES: std::ops::RangeInclusive<u8> = 0x70..=0x77;

/// What is at the address of a multiplexer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MuxProbe {
    /// A multiplexer.
    Multiplexer,
    /// Another chip: it does not keep what a multiplexer keeps.
    Other,
    /// A chip that a kernel driver has; it was not touched.
    Driver(BoundDriver),
}

/// Looks for multiplexers. Of what is none, the register that it may have taken the bytes for is 0 or 1 now: nobody can tell without
/// writing.
///
/// # Errors
/// A bus that is stuck.
pub(super) fn probe_muxes(bus: &mut dyn Bus) -> Result<Vec<(Address, MuxProbe)>, Error> {
    let mut found = Vec::new();
    for address in ADDRESSES.map(Address) {
        if let Some(owner) = bus.bound_driver(address) {
            found.push((address, MuxProbe::Driver(owner)));
            continue;
        }
        match bus.receive_byte(address) {
            Ok(before) => {
                let neighbour = if retains_writes(bus, address, before)? {
                    MuxProbe::Multiplexer
                } else {
                    MuxProbe::Other
                };
                found.push((address, neighbour));
            }
            Err(error) if error.kind == ErrorKind::Timeout => return Err(error),
            Err(_) => {}
        }
    }
    Ok(found)
}

/// Whether the chip's only register keeps what is written to it: first what it held, so that a multiplexer stays as it is.
fn retains_writes(bus: &mut dyn Bus, address: Address, before: u8) -> Result<bool, Error> {
    for byte in [before, 0x00, 0x01, before] {
        let kept = bus
            .send_byte(address, byte)
            .and_then(|()| bus.receive_byte(address));
        match kept {
            Ok(kept) if kept == byte => {}
            Err(error) if error.kind == ErrorKind::Timeout => return Err(error),
            Ok(_) | Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// Multiplexers that are as they were found again when this is closed.
pub(super) struct MuxGuard {
    multiplexers: Multiplexers,
    before: Vec<(Address, u8)>,
}

impl MuxGuard {
    /// Takes over multiplexers with what they held, and closes all of them.
    fn new(bus: &mut dyn Bus, before: Vec<(Address, u8)>) -> Result<Self, mux::Error> {
        let channels = before.iter().map(|(multiplexer, _)| Channel {
            multiplexer: *multiplexer,
            channel: 0,
        });
        let mut multiplexers = Multiplexers::new(channels);
        let closed = multiplexers.deselect_all(bus);
        let mut switch = Self {
            multiplexers,
            before,
        };
        match closed {
            Ok(()) => Ok(switch),
            Err(failure) => {
                switch.restore(bus);
                Err(failure)
            }
        }
    }

    /// Takes over these multiplexers. Others on the bus are unknown and stay as they are.
    pub(super) fn of(bus: &mut dyn Bus, multiplexers: &[Address]) -> Result<Self, mux::Error> {
        let mut before = Vec::new();
        for &multiplexer in multiplexers {
            if let Some(owner) = bus.bound_driver(multiplexer) {
                return Err(mux::Error::Bound(multiplexer, owner));
            }
            let control = bus
                .receive_byte(multiplexer)
                .map_err(|error| mux::Error::Unreachable(multiplexer, error))?;
            before.push((multiplexer, control));
        }
        Self::new(bus, before)
    }

    /// Does something behind a channel, and makes sure that it was that channel.
    pub(super) fn behind<T>(
        &mut self,
        bus: &mut dyn Bus,
        channel: Channel,
        visit: impl FnOnce(&mut dyn Bus) -> T,
    ) -> Result<T, mux::Error> {
        self.multiplexers.select(bus, channel)?;
        let seen = visit(bus);
        self.multiplexers.verify(bus)?;
        Ok(seen)
    }

    /// Leaves everything as it was found.
    pub(super) fn restore(&mut self, bus: &mut dyn Bus) {
        self.multiplexers.forget();
        for (multiplexer, control) in &self.before {
            // One that went away meanwhile is closed when it comes back.
            let _ = bus.send_byte(*multiplexer, *control);
        }
    }
}
