//! TCA9548A mux (TI SCPS207): eight channels, selected by the bits of its only register.
//!
//! All INA260s return the same identity, so it does not prove the channel. The control registers
//! of the muxes are read back instead.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use super::{Address, BoundDriver, Bus, ErrorKind, is_timeout};

/// Addresses that a TCA9548A can have: pins A0 to A2.
pub(crate) const ADDRESSES: RangeInclusive<u8> = 0x70..=0x77;

/// A channel of a mux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel {
    /// Address of the mux, 0x70 to 0x77.
    pub multiplexer: Address,
    /// Number of the channel, 0 to 7.
    pub channel: u8,
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.multiplexer, self.channel)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// A kernel driver has claimed the mux, or another chip at its address.
    #[error("mux {}: {}", .0, describe(.1))]
    Bound(Address, BoundDriver),
    #[error("mux {0}: {1}")]
    Unreachable(Address, #[source] super::Error),
    #[error("mux {multiplexer}: control register is {read:#010b}, expected {wrote:#010b}")]
    ControlMismatch { multiplexer: Address, wrote: u8, read: u8 },
}

/// Advises unbinding the driver of a mux, which provides buses; another chip is left alone.
fn describe(driver: &BoundDriver) -> String {
    if driver.children.is_empty() {
        format!("in use by the kernel ({}), not a mux", driver.device)
    } else {
        driver.to_string()
    }
}

/// The muxes of one bus. At most one of their channels is selected.
#[derive(Debug, Default)]
pub(crate) struct Multiplexers {
    addresses: BTreeSet<Address>,
    /// Channel that is known to be selected; unknown after an error.
    pub(crate) selected: Option<Channel>,
    /// The other muxes that responded when they were deselected.
    deselected: BTreeSet<Address>,
    /// Another mux did not respond, so it may still have a channel selected; every select retries.
    needs_deselect: bool,
}

impl Multiplexers {
    /// Returns the muxes of these channels, in an unknown state.
    pub(crate) fn new(channels: impl IntoIterator<Item = Channel>) -> Self {
        let addresses = channels.into_iter().map(|it| it.multiplexer).collect();
        Self { addresses, ..Self::default() }
    }

    /// Deselects all channels of all muxes. After an error, deselects the remaining muxes, unless
    /// the bus is stuck, and returns the first.
    pub(crate) fn deselect_all(&mut self, bus: &mut dyn Bus) -> Result<(), Error> {
        self.selected = None;
        let mut outcome = Ok(());
        for &multiplexer in &self.addresses {
            let deselected = deselect(bus, multiplexer);
            let is_stuck = deselected.as_ref().is_err_and(is_timeout);
            outcome = outcome.and(deselected.map(|_| ()));
            if is_stuck {
                break;
            }
        }
        outcome
    }

    /// Selects a channel and deselects all others. Does nothing if it is selected already.
    pub(crate) fn select(&mut self, bus: &mut dyn Bus, channel: Channel) -> Result<(), Error> {
        if self.selected == Some(channel) && !self.needs_deselect {
            return Ok(());
        }
        let before = self.selected.take().map(|before| before.multiplexer);
        let multiplexer = channel.multiplexer;
        if before != Some(multiplexer)
            && let Some(driver) = bus.bound_driver(multiplexer)
        {
            return Err(Error::Bound(multiplexer, driver));
        }
        match before.filter(|_| !self.needs_deselect) {
            Some(before) if before == multiplexer => {}
            Some(other) => {
                self.record_deselected(other, send(bus, other, 0).map(|()| true))?;
                self.deselected.remove(&multiplexer);
            }
            None => self.deselect_others(bus, multiplexer)?,
        }
        send(bus, multiplexer, 1 << channel.channel)?;
        read_back(bus, multiplexer, 1 << channel.channel)?;
        self.selected = Some(channel);
        Ok(())
    }

    /// Reads the control registers back: proves that a poll reached only the intended sensor.
    pub(crate) fn verify(&mut self, bus: &mut dyn Bus) -> Result<(), Error> {
        let Some(channel) = self.selected.take() else {
            return Ok(());
        };
        read_back(bus, channel.multiplexer, 1 << channel.channel)?;
        for other in self.deselected.clone() {
            self.record_deselected(other, read_back(bus, other, 0).map(|()| true))?;
        }
        self.selected = Some(channel);
        Ok(())
    }

    fn deselect_others(&mut self, bus: &mut dyn Bus, selected: Address) -> Result<(), Error> {
        self.needs_deselect = false;
        self.deselected.clear();
        for other in self.addresses.clone().into_iter().filter(|it| *it != selected) {
            self.record_deselected(other, deselect(bus, other))?;
        }
        Ok(())
    }

    /// Records whether another mux is deselected, or does not respond.
    fn record_deselected(
        &mut self,
        other: Address,
        is_deselected: Result<bool, Error>,
    ) -> Result<(), Error> {
        match is_deselected {
            Ok(true) => _ = self.deselected.insert(other),
            Ok(false) => {}
            Err(Error::Unreachable(_, source)) if source.kind == ErrorKind::Nack => {
                self.needs_deselect = true;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Deselects all channels of a mux, unless a kernel driver has claimed it. Returns whether it did.
fn deselect(bus: &mut dyn Bus, multiplexer: Address) -> Result<bool, Error> {
    // The driver caches the selected channel: a write would invalidate its cache.
    let is_ours = bus.bound_driver(multiplexer).is_none();
    if is_ours {
        send(bus, multiplexer, 0)?;
    }
    Ok(is_ours)
}

fn send(bus: &mut dyn Bus, multiplexer: Address, control: u8) -> Result<(), Error> {
    bus.send_byte(multiplexer, control).map_err(|error| Error::Unreachable(multiplexer, error))
}

fn read_back(bus: &mut dyn Bus, multiplexer: Address, wrote: u8) -> Result<(), Error> {
    let read = bus.receive_byte(multiplexer);
    match read.map_err(|error| Error::Unreachable(multiplexer, error))? {
        read if read == wrote => Ok(()),
        read => Err(Error::ControlMismatch { multiplexer, wrote, read }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i2c;

    /// Two muxes, of which a kernel driver has claimed the second, and the bytes written to them.
    #[derive(Default)]
    struct ClaimedMux(Vec<(Address, u8)>);

    impl Bus for ClaimedMux {
        fn bound_driver(&self, address: Address) -> Option<BoundDriver> {
            (address == Address(0x71)).then(|| BoundDriver {
                driver: "pca954x".to_owned(),
                device: "pca9548".to_owned(),
                unbind: "echo 1-0071 > /sys/bus/i2c/drivers/pca954x/unbind".to_owned(),
                children: vec![11, 12],
            })
        }

        fn read_word(&mut self, _: Address, _: u8) -> Result<u16, i2c::Error> {
            unreachable!("a mux has no word transfers")
        }

        fn write_word(&mut self, _: Address, _: u8, _: u16) -> Result<(), i2c::Error> {
            unreachable!("a mux has no word transfers")
        }

        fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), i2c::Error> {
            self.0.push((address, byte));
            Ok(())
        }

        fn receive_byte(&mut self, address: Address) -> Result<u8, i2c::Error> {
            let sent = self.0.iter().rev().find(|(to, _)| *to == address);
            Ok(sent.map_or(0, |(_, byte)| *byte))
        }
    }

    const fn channel(multiplexer: u8, channel: u8) -> Channel {
        Channel { multiplexer: Address(multiplexer), channel }
    }

    #[test]
    fn claimed_mux_is_never_written() {
        let mut bus = ClaimedMux::default();
        let (ours, claimed) = (channel(0x70, 2), channel(0x71, 2));
        let mut multiplexers = Multiplexers::new([ours, claimed]);
        multiplexers.deselect_all(&mut bus).unwrap();
        multiplexers.select(&mut bus, ours).unwrap();
        let refused = multiplexers.select(&mut bus, claimed).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "mux 0x71: claimed by kernel driver pca954x; unbind it with \
             `echo 1-0071 > /sys/bus/i2c/drivers/pca954x/unbind`, \
             or use the buses it provides: 11, 12"
        );
        multiplexers.deselect_all(&mut bus).unwrap();
        assert!(bus.0.iter().all(|(to, _)| *to == Address(0x70)), "{:?}", bus.0);
    }

    #[test]
    fn second_selected_channel_fails_verification() {
        let mut bus = ClaimedMux::default();
        let mut multiplexers = Multiplexers::new([channel(0x70, 2)]);
        multiplexers.select(&mut bus, channel(0x70, 2)).unwrap();
        bus.send_byte(Address(0x70), 0b1000_0100).unwrap(); // by another master
        let refused = multiplexers.verify(&mut bus).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "mux 0x70: control register is 0b10000100, expected 0b00000100"
        );
        assert_eq!(multiplexers.selected, None, "is selected again");
    }

    #[test]
    fn channel_of_another_mux_fails_verification() {
        let (first, second) = (channel(0x70, 2), channel(0x72, 5));
        for (selected, other, before) in
            [(first, 0x72, None), (second, 0x70, Some(first)), (first, 0x72, Some(second))]
        {
            let mut bus = ClaimedMux::default();
            let mut multiplexers = Multiplexers::new([first, channel(0x71, 1), second]);
            for channel in before.into_iter().chain([selected]) {
                multiplexers.select(&mut bus, channel).unwrap();
                multiplexers.verify(&mut bus).unwrap();
            }
            bus.send_byte(Address(other), 0b0000_0100).unwrap(); // by another master
            let refused = multiplexers.verify(&mut bus).unwrap_err().to_string();
            let expected = "control register is 0b00000100, expected 0b00000000";
            assert_eq!(refused, format!("mux {other:#04x}: {expected}"));
        }
    }
}
