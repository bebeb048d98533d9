//! The TCA9548A multiplexer (TI SCPS207): eight buses behind one address, opened by the bits of its only register.
//!
//! All INA260s answer alike, so an identity does not prove the channel: the control register is read back instead.

use std::fmt;

use super::{Address, BoundDriver, Bus, Error};

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
    /// A neighbour did not answer when it was to be closed: it is gone, or it still has a channel open. It is told each time.
    needs_deselect: bool,
}

/// What a multiplexer failed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A kernel driver has it to itself.
    Bound(Address, BoundDriver),
    /// It could not be reached.
    Unreachable(Address, Error),
    /// It has other channels open than it was told.
    ControlMismatch {
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
            Self::Bound(multiplexer, owner) => write!(f, "multiplexer {multiplexer}: {owner}"),
            Self::Unreachable(multiplexer, source) => {
                write!(f, "multiplexer {multiplexer}: {source}")
            }
            Self::ControlMismatch {
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
        Self {
            all,
            open: None,
            needs_deselect: false,
        }
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
            if bus.bound_driver(multiplexer).is_some() {
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
        if self.open == Some(channel) && !self.needs_deselect {
            return Ok(());
        }
        let before = self.open.take();
        let multiplexer = channel.multiplexer;
        if before.is_none_or(|before| before.multiplexer != multiplexer)
            && let Some(owner) = bus.bound_driver(multiplexer)
        {
            return Err(Failure::Bound(multiplexer, owner));
        }
        match before {
            Some(before) if before.multiplexer == multiplexer && !self.needs_deselect => {}
            Some(before) if !self.needs_deselect => bus
                .send_byte(before.multiplexer, 0)
                .map_err(|error| Failure::Unreachable(before.multiplexer, error))?,
            _ => self.close_others(bus, multiplexer)?,
        }
        bus.send_byte(multiplexer, channel.control())
            .map_err(|error| Failure::Unreachable(multiplexer, error))?;
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
            Ok(read) => Err(Failure::ControlMismatch {
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

    fn close_others(&mut self, bus: &mut dyn Bus, but: Address) -> Result<(), Failure> {
        self.needs_deselect = false;
        for &multiplexer in self.all.iter().filter(|multiplexer| **multiplexer != but) {
            if bus.bound_driver(multiplexer).is_some() {
                continue;
            }
            match bus.send_byte(multiplexer, 0) {
                Ok(()) => {}
                Err(error) if error.kind == super::ErrorKind::Nack => self.needs_deselect = true,
                Err(error) => return Err(Failure::Unreachable(multiplexer, error)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two multiplexers, the second of which the kernel has.
    #[derive(Default)]
    struct Kernels(Vec<(Address, u8)>);

    impl Bus for Kernels {
        fn bound_driver(&self, address: Address) -> Option<BoundDriver> {
            (address == Address(0x71)).then(|| BoundDriver {
                driver: "pca954x".to_owned(),
                unbind: "echo 1-0071 > /sys/bus/i2c/drivers/pca954x/unbind".to_owned(),
                children: vec![11, 12],
            })
        }

        fn read_word(&mut self, _: Address, _: u8) -> Result<u16, Error> {
            unreachable!("a multiplexer has no words")
        }

        fn write_word(&mut self, _: Address, _: u8, _: u16) -> Result<(), Error> {
            unreachable!("a multiplexer has no words")
        }

        fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), Error> {
            self.0.push((address, byte));
            Ok(())
        }

        fn receive_byte(&mut self, address: Address) -> Result<u8, Error> {
            let sent = self.0.iter().rev().find(|(to, _)| *to == address);
            Ok(sent.map_or(0, |(_, byte)| *byte))
        }
    }

    #[test]
    fn a_multiplexer_of_the_kernels_is_never_written_and_its_buses_are_named() {
        let mut bus = Kernels::default();
        let [ours, kernels] = [0x70, 0x71].map(|at| Channel {
            multiplexer: Address(at),
            channel: 2,
        });
        let mut multiplexers = Multiplexers::new([ours, kernels]);
        multiplexers.close(&mut bus).unwrap();
        multiplexers.select(&mut bus, ours).unwrap();
        let refused = multiplexers.select(&mut bus, kernels).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "multiplexer 0x71: the kernel driver pca954x has this chip; release it with \
             `echo 1-0071 > /sys/bus/i2c/drivers/pca954x/unbind`, or use the buses that it makes of it: 11, 12"
        );
        multiplexers.close(&mut bus).unwrap();
        assert!(
            bus.0.iter().all(|(to, _)| *to == Address(0x70)),
            "{:?}",
            bus.0
        );
    }

    #[test]
    fn a_channel_is_not_proven_while_another_is_open_beside_it() {
        let mut bus = Kernels::default();
        let ours = Channel {
            multiplexer: Address(0x70),
            channel: 2,
        };
        let mut multiplexers = Multiplexers::new([ours]);
        multiplexers.select(&mut bus, ours).unwrap();
        bus.send_byte(Address(0x70), 0b1000_0100).unwrap(); // another master's
        let refused = multiplexers.verify(&mut bus).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "multiplexer 0x70 has 0b10000100 open, not 0b00000100"
        );
        assert_eq!(multiplexers.open_channel(), None, "it is selected anew");
    }
}
