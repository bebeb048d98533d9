//! What a word takes on the bus.

use std::time::Duration;

use crate::clock::Clock;
use crate::i2c::{Address, BoundDriver, Bus, Error};

/// A bus whose words are timed, for the length of one preparation.
pub(super) struct Timed<'a> {
    bus: &'a mut dyn Bus,
    clock: &'a dyn Clock,
    /// Of the words read: what longer ones took beyond it they waited for the processor, not for the bus.
    pub(super) shortest: Option<Duration>,
}

impl<'a> Timed<'a> {
    pub(super) fn new(bus: &'a mut dyn Bus, clock: &'a dyn Clock) -> Self {
        Self {
            bus,
            clock,
            shortest: None,
        }
    }
}

impl Bus for Timed<'_> {
    fn bound_driver(&self, address: Address) -> Option<BoundDriver> {
        self.bus.bound_driver(address)
    }

    fn read_word(&mut self, address: Address, register: u8) -> Result<u16, Error> {
        let begun = self.clock.now();
        let word = self.bus.read_word(address, register)?;
        let took = self.clock.now().duration_since(begun);
        self.shortest = Some(self.shortest.map_or(took, |shortest| shortest.min(took)));
        Ok(word)
    }

    fn write_word(&mut self, address: Address, register: u8, word: u16) -> Result<(), Error> {
        self.bus.write_word(address, register, word)
    }

    fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), Error> {
        self.bus.send_byte(address, byte)
    }

    fn receive_byte(&mut self, address: Address) -> Result<u8, Error> {
        self.bus.receive_byte(address)
    }
}
