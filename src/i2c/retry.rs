//! One more attempt at a transfer that failed, and a note of each failure.

use tracing::trace;

use super::{Address, BoundDriver, Bus, Error, ErrorKind};

/// A bus for the length of one visit.
pub struct Retry<'a> {
    bus: &'a mut dyn Bus,
    /// Every failure, those included that the second attempt made good.
    pub failures: Vec<ErrorKind>,
}

impl<'a> Retry<'a> {
    pub fn new(bus: &'a mut dyn Bus) -> Self {
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
    fn bound_driver(&self, address: Address) -> Option<BoundDriver> {
        self.bus.bound_driver(address)
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
