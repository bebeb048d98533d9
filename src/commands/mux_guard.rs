//! Finds the muxes of a bus that no other program uses, and restores them after use.

use std::collections::BTreeSet;

use crate::i2c::mux::{self, Channel, Multiplexers};
use crate::i2c::{Address, Bus, Error};

/// Finds the muxes of a bus. Also returns a message for each other chip at the addresses of muxes:
/// a chip of a kernel driver, which is not accessed, or a chip that is not a mux. The latter may be
/// left with 0 or 1 in a register: only writing distinguishes it from a mux.
///
/// # Errors
/// A timeout: the bus is stuck.
pub(super) fn probe_muxes(bus: &mut dyn Bus) -> Result<(BTreeSet<Address>, Vec<String>), Error> {
    let (mut muxes, mut others) = (BTreeSet::new(), Vec::new());
    for address in mux::ADDRESSES.map(Address) {
        if let Some(driver) = bus.bound_driver(address) {
            others.push(mux::Error::Bound(address, driver).to_string());
            continue;
        }
        match bus.receive_byte(address) {
            Ok(control) if retains_writes(bus, address, control)? => _ = muxes.insert(address),
            Ok(_) => {
                others.push(format!("{address}: not a TCA9548A (does not retain what is written)"));
            }
            Err(error) if error.is_timeout() => return Err(error),
            Err(_) => {}
        }
    }
    Ok((muxes, others))
}

/// Returns whether the chip's only register retains what is written to it. Its original value is
/// written first and last, so that a mux is left unchanged.
fn retains_writes(bus: &mut dyn Bus, address: Address, control: u8) -> Result<bool, Error> {
    for byte in [control, 0x00, 0x01, control] {
        match bus.send_byte(address, byte).and_then(|()| bus.receive_byte(address)) {
            Ok(retained) if retained == byte => {}
            Err(error) if error.is_timeout() => return Err(error),
            Ok(_) | Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// Muxes of a bus. Their control registers are restored when this is dropped.
pub(super) struct MuxGuard<'a> {
    pub(super) bus: &'a mut dyn Bus,
    multiplexers: Multiplexers,
    /// The original control registers.
    controls: Vec<(Address, u8)>,
}

impl<'a> MuxGuard<'a> {
    /// Deselects all channels of these muxes. Other muxes on the bus are unknown and not changed.
    pub(super) fn new(bus: &'a mut dyn Bus, muxes: &BTreeSet<Address>) -> Result<Self, mux::Error> {
        let mut controls = Vec::new();
        for &mux in muxes {
            if let Some(driver) = bus.bound_driver(mux) {
                return Err(mux::Error::Bound(mux, driver));
            }
            let control = bus.receive_byte(mux);
            controls.push((mux, control.map_err(|error| mux::Error::Unreachable(mux, error))?));
        }
        let channels = muxes.iter().map(|&multiplexer| Channel { multiplexer, channel: 0 });
        let mut guard = Self { bus, multiplexers: Multiplexers::new(channels), controls };
        guard.multiplexers.deselect_all(guard.bus)?;
        Ok(guard)
    }

    /// Runs `access` with a channel selected, and verifies afterwards that it still is.
    pub(super) fn on_channel<T>(
        &mut self,
        channel: Channel,
        access: impl FnOnce(&mut dyn Bus) -> T,
    ) -> Result<T, mux::Error> {
        self.multiplexers.select(self.bus, channel)?;
        let result = access(self.bus);
        self.multiplexers.verify(self.bus)?;
        Ok(result)
    }
}

impl Drop for MuxGuard<'_> {
    fn drop(&mut self) {
        for (mux, control) in &self.controls {
            // A mux that no longer responds has lost its power; at power-on it selects no channel.
            let _ = self.bus.send_byte(*mux, *control);
        }
    }
}
