//! Finds the muxes of a bus that no other program uses, and restores them after use.

use std::collections::BTreeSet;

use crate::i2c::mux::{self, Channel, Multiplexers};
use crate::i2c::{Address, Bus, Error, ErrorKind, retry_once};

/// Finds the muxes of a bus. Also returns a message for each other chip at the addresses of muxes:
/// a chip of a kernel driver, which is not accessed, a chip that cannot be read, or one that is not
/// a mux. The last may be left with 0 or 1 in a register: only writing distinguishes it from a
/// mux. Fails only on a timeout: the bus is stuck.
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
            Err(error) if error.kind == ErrorKind::Nack => {}
            Err(error) => others.push(format!("{address}: {error}")),
        }
    }
    Ok((muxes, others))
}

/// Returns whether the chip's only register retains what is written to it. Its original value is
/// written first and last, so that a mux is left unchanged.
fn retains_writes(bus: &mut dyn Bus, address: Address, control: u8) -> Result<bool, Error> {
    for byte in [control, 0x00, 0x01, control] {
        let retained = bus.send_byte(address, byte).and_then(|()| bus.receive_byte(address));
        if retained != Ok(byte) {
            restore(bus, address, control);
            return match retained {
                Err(error) if error.is_timeout() => Err(error),
                Ok(_) | Err(_) => Ok(false),
            };
        }
    }
    Ok(true)
}

fn restore(bus: &mut dyn Bus, address: Address, control: u8) {
    // A mux that repeatedly fails to respond has lost power; at power-on it selects no channel.
    let _ = retry_once(|| bus.send_byte(address, control), |_| false);
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
            restore(self.bus, *mux, *control);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::{Clock as _, SimulatedClock};
    use crate::i2c::Retry;
    use crate::simulated::{Board, Chip, Load};

    /// A board on which the n-th byte transfer fails, before or after the chip has accepted it.
    struct FailsOnce {
        board: Arc<Board>,
        left: usize,
        is_accepted: bool,
        errno: i32,
    }

    impl FailsOnce {
        fn transfer<T>(
            &mut self,
            transfer: impl FnOnce(&mut dyn Bus) -> Result<T, Error>,
        ) -> Result<T, Error> {
            let fails = self.left == 1;
            self.left = self.left.saturating_sub(1);
            let failure = Err(Error::from_errno(self.errno));
            if fails && !self.is_accepted {
                return failure;
            }
            let done = transfer(&mut self.board);
            if fails { failure } else { done }
        }
    }

    impl Bus for FailsOnce {
        fn read_word(&mut self, _: Address, _: u8) -> Result<u16, Error> {
            unreachable!("a mux has no word transfers")
        }

        fn write_word(&mut self, _: Address, _: u8, _: u16) -> Result<(), Error> {
            unreachable!("a mux has no word transfers")
        }

        fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), Error> {
            self.transfer(|bus| bus.send_byte(address, byte))
        }

        fn receive_byte(&mut self, address: Address) -> Result<u8, Error> {
            self.transfer(|bus| bus.receive_byte(address))
        }
    }

    #[test]
    fn failed_transfer_leaves_no_mux_changed() {
        const MUX: Address = Address(0x70);
        let channel = Channel { multiplexer: MUX, channel: 3 };
        let clock = Arc::new(SimulatedClock::default());
        let board = Board::new(clock.clone(), 400_000);
        board.plug(Some(channel), Address(0x40), Chip::new(Load::steady(5.0, 1.0)));
        board.write_as_other_master(0, MUX, 0x08);
        // No acknowledge, and a timeout.
        for (errno, is_accepted) in [(121, false), (121, true), (110, false), (110, true)] {
            for n in 1..=30 {
                let mut bus = FailsOnce { board: board.clone(), left: n, is_accepted, errno };
                let mut bus = Retry::new(&mut bus, clock.as_ref(), clock.now());
                if let Ok((muxes, others)) = probe_muxes(&mut bus) {
                    assert_eq!((muxes.len(), others.len()), (1, 0), "{n}");
                    if let Ok(mut guard) = MuxGuard::new(&mut bus, &muxes) {
                        let _ = guard.on_channel(channel, |_| ());
                    }
                }
                assert_eq!(board.control(MUX), Some(0x08), "transfer {n}, errno {errno}");
            }
        }
    }
}
