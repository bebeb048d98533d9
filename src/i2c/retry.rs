//! One immediate retry of failed transfers; `sampler` decides what follows a second failure.

use std::time::Duration;

use tracing::trace;

use super::{Address, BoundDriver, Bus, Error, ErrorKind};
use crate::clock::Clock;

/// Runs `attempt` and, if it fails, once more, unless `is_final` returns true for the error.
///
/// # Errors
/// The error of the last attempt.
pub(crate) fn retry_once<T, E>(
    mut attempt: impl FnMut() -> Result<T, E>,
    is_final: impl FnOnce(&E) -> bool,
) -> Result<T, E> {
    attempt().or_else(|error| if is_final(&error) { Err(error) } else { attempt() })
}

/// A bus for one poll of a sensor. Retries each failed transfer once, except timeouts: the first
/// has cost a second already, and a stuck bus stays stuck. Nor is a bus opened twice in a row.
pub(crate) struct Retry<'a> {
    bus: &'a mut dyn Bus,
    clock: &'a dyn Clock,
    /// Every failed attempt, including those whose retry succeeded.
    pub(crate) failures: Vec<ErrorKind>,
    /// Time of the fastest word read; the slower ones also waited for the processor.
    pub(crate) fastest_word: Option<Duration>,
}

impl<'a> Retry<'a> {
    pub(crate) fn new(bus: &'a mut dyn Bus, clock: &'a dyn Clock) -> Self {
        Self { bus, clock, failures: Vec::new(), fastest_word: None }
    }

    fn attempt<T>(
        &mut self,
        mut transfer: impl FnMut(&mut dyn Bus) -> Result<T, Error>,
    ) -> Result<T, Error> {
        retry_once(
            || transfer(self.bus).inspect_err(|error| self.failures.push(error.kind)),
            |error| matches!(error.kind, ErrorKind::Timeout | ErrorKind::Closed),
        )
    }
}

impl Bus for Retry<'_> {
    fn bound_driver(&self, address: Address) -> Option<BoundDriver> {
        self.bus.bound_driver(address)
    }

    fn read_word(&mut self, address: Address, register: u8) -> Result<u16, Error> {
        let start = self.clock.now();
        let word = self.attempt(|bus| bus.read_word(address, register));
        if word.is_ok() {
            let elapsed = self.clock.now().duration_since(start);
            let fastest = self.fastest_word.get_or_insert(elapsed);
            *fastest = elapsed.min(*fastest);
        }
        trace!("{address}: read register {register:#04x}: {word:x?}");
        word
    }

    fn write_word(&mut self, address: Address, register: u8, word: u16) -> Result<(), Error> {
        trace!("{address}: write register {register:#04x}: {word:#06x}");
        self.attempt(|bus| bus.write_word(address, register, word))
    }

    fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), Error> {
        self.attempt(|bus| bus.send_byte(address, byte))
    }

    fn receive_byte(&mut self, address: Address) -> Result<u8, Error> {
        self.attempt(|bus| bus.receive_byte(address))
    }
}
