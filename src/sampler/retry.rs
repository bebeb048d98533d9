//! One more attempt at a transfer that failed, and a note of each failure.

use tracing::trace;

use crate::bus::{Address, Bus, Error, ErrorKind, Owner};

/// A bus for the length of one visit.
pub(super) struct Retry<'a> {
    bus: &'a mut dyn Bus,
    /// Every failure, those included that the second attempt made good.
    pub(super) failures: Vec<ErrorKind>,
}

impl<'a> Retry<'a> {
    pub(super) fn new(bus: &'a mut dyn Bus) -> Self {
        Self {
            bus,
            failures: Vec::new(),
        }
    }

    /// A timeout has cost a second already; a second one would tell nothing new.
    fn attempt<T>(
        &mut self,
        mut transfer: impl FnMut(&mut dyn Bus) -> Result<T, Error>,
    ) -> Result<T, Error> {
        transfer(self.bus).or_else(|error| {
            self.failures.push(error.kind);
            if error.kind == ErrorKind::Timeout {
                return Err(error);
            }
            transfer(self.bus).inspect_err(|error| self.failures.push(error.kind))
        })
    }
}

impl Bus for Retry<'_> {
    fn owner(&self, address: Address) -> Option<Owner> {
        self.bus.owner(address)
    }

    fn read_word(&mut self, address: Address, register: u8) -> Result<u16, Error> {
        let word = self.attempt(|bus| bus.read_word(address, register));
        trace!("{address}: register {register:#04x} reads {word:x?}");
        word
    }

    fn write_word(&mut self, address: Address, register: u8, word: u16) -> Result<(), Error> {
        trace!("{address}: register {register:#04x} is written {word:#06x}");
        self.attempt(|bus| bus.write_word(address, register, word))
    }

    fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), Error> {
        self.attempt(|bus| bus.send_byte(address, byte))
    }

    fn receive_byte(&mut self, address: Address) -> Result<u8, Error> {
        self.attempt(|bus| bus.receive_byte(address))
    }
}
