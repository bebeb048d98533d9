//! The TCA9548A multiplexer (TI SCPS207): eight buses behind one address, opened by the bits of its only register.
//!
//! All INA260s answer alike, so an identity does not prove the channel: the control register is read back instead.

use std::fmt;

use super::{Address, Bus, Error, Owner};

/// One of the buses behind a multiplexer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel {
    /// 0x70 to 0x77.
    pub multiplexer: Address,
    /// 0 to 7.
    pub channel: u8,
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.multiplexer, self.channel)
    }
}

impl Channel {
    const fn control(self) -> u8 {
        1 << self.channel
    }
}

/// The multiplexers of one bus, of which at most one channel is open.
#[derive(Debug, Default)]
pub struct Multiplexers {
    all: Vec<Address>,
    /// What is open for certain; unknown after any error.
    open: Option<Channel>,
}

/// What a multiplexer failed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A kernel driver has it to itself.
    Owned(Address, Owner),
    /// It could not be reached.
    Unreachable(Address, Error),
    /// It has other channels open than it was told.
    Differs {
        /// Which.
        multiplexer: Address,
        /// What it was told.
        wrote: u8,
        /// What it says.
        read: u8,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owned(multiplexer, owner) => write!(f, "multiplexer {multiplexer}: {owner}"),
            Self::Unreachable(multiplexer, source) => {
                write!(f, "multiplexer {multiplexer}: {source}")
            }
            Self::Differs {
                multiplexer,
                wrote,
                read,
            } => {
                write!(
                    f,
                    "multiplexer {multiplexer} has {read:#010b} open, not {wrote:#010b}"
                )
            }
        }
    }
}

impl Failure {
    /// Whether the bus is stuck.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Unreachable(_, error) if error.kind == super::ErrorKind::Timeout)
    }
}

impl Multiplexers {
    /// The multiplexers that lead to these channels. Nothing is known of them yet.
    #[must_use]
    pub fn new(channels: impl IntoIterator<Item = Channel>) -> Self {
        let mut all: Vec<Address> = channels
            .into_iter()
            .map(|channel| channel.multiplexer)
            .collect();
        all.sort_unstable();
        all.dedup();
        Self { all, open: None }
    }

    /// Which channel is open, if one is for certain.
    #[must_use]
    pub fn open_channel(&self) -> Option<Channel> {
        self.open
    }

    /// Closes every channel of every multiplexer.
    ///
    /// # Errors
    /// The first failure; the others are closed all the same, unless the bus is stuck.
    pub fn close(&mut self, bus: &mut dyn Bus) -> Result<(), Failure> {
        self.open = None;
        let mut outcome = Ok(());
        for &multiplexer in &self.all {
            // A kernel driver remembers what it opened; to switch behind its back would mislead it.
            if bus.owner(multiplexer).is_some() {
                continue;
            }
            if let Err(error) = bus.send_byte(multiplexer, 0) {
                outcome = outcome.and(Err(Failure::Unreachable(multiplexer, error)));
                if error.kind == super::ErrorKind::Timeout {
                    break;
                }
            }
        }
        outcome
    }

    /// Opens a channel, and closes whatever else is open; does nothing where it is open already.
    ///
    /// # Errors
    /// A multiplexer that can't be reached or does not do as it is told.
    pub fn select(&mut self, bus: &mut dyn Bus, channel: Channel) -> Result<(), Failure> {
        if self.open == Some(channel) {
            return Ok(());
        }
        let before = self.open.take();
        let unreachable = |error| Failure::Unreachable(channel.multiplexer, error);
        match before {
            Some(before) if before.multiplexer == channel.multiplexer => {}
            Some(before) => bus
                .send_byte(before.multiplexer, 0)
                .map_err(|error| Failure::Unreachable(before.multiplexer, error))?,
            // A neighbour that is gone can't have a channel open; one that is not, and fails, shows in what is read back.
            None => {
                if let Some(owner) = bus.owner(channel.multiplexer) {
                    return Err(Failure::Owned(channel.multiplexer, owner));
                }
                self.close_others(bus, channel.multiplexer)?;
            }
        }
        bus.send_byte(channel.multiplexer, channel.control())
            .map_err(unreachable)?;
        self.open = Some(channel);
        self.verify(bus)
    }

    /// Reads back what is open: the proof that a visit reached the sensor it was meant for.
    ///
    /// # Errors
    /// A multiplexer that can't be reached or has something else open.
    pub fn verify(&mut self, bus: &mut dyn Bus) -> Result<(), Failure> {
        let Some(channel) = self.open else {
            return Ok(());
        };
        let multiplexer = channel.multiplexer;
        self.open = None;
        match bus.receive_byte(multiplexer) {
            Ok(read) if read == channel.control() => {
                self.open = Some(channel);
                Ok(())
            }
            Ok(read) => Err(Failure::Differs {
                multiplexer,
                wrote: channel.control(),
                read,
            }),
            Err(error) => Err(Failure::Unreachable(multiplexer, error)),
        }
    }

    /// After an error nothing is certain.
    pub fn forget(&mut self) {
        self.open = None;
    }

    fn close_others(&self, bus: &mut dyn Bus, but: Address) -> Result<(), Failure> {
        for &multiplexer in self.all.iter().filter(|multiplexer| **multiplexer != but) {
            if bus.owner(multiplexer).is_some() {
                continue;
            }
            match bus.send_byte(multiplexer, 0) {
                Err(error) if error.kind != super::ErrorKind::Nack => {
                    return Err(Failure::Unreachable(multiplexer, error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
