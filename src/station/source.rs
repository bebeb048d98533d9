//! Where buses come from: the kernel, or a simulation.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bus::linux::LinuxBus;
use crate::bus::mux::Channel;
use crate::bus::{Address, Bus, Error, OpenError, Owner};
use crate::clock::SystemClock;
use crate::lock::Lock;
use crate::simulated::{Board, Chip, Injected, Load};

/// A bus clock that a Pi can be set to.
const SIMULATED_HERTZ: u32 = 400_000;

/// Where a sensor is on its bus.
pub type Place = (Option<Channel>, Address);

/// Where buses come from.
pub enum Source {
    /// The kernel.
    Linux {
        /// Where this process serves what it measures: each bus is marked as in use with it. Without, none is.
        serves: Option<String>,
    },
    /// Simulated boards, one a bus, with these faults.
    Simulated {
        /// To be injected in each.
        faults: Vec<Injected>,
        /// The boards made so far.
        boards: BTreeMap<u8, Arc<Board>>,
    },
}

impl Source {
    /// Opens a bus, on which sensors are looked for at these places.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do about it.
    pub fn open(&mut self, number: u8, places: &[Place]) -> Result<Box<dyn Bus>, OpenError> {
        match self {
            Self::Linux { serves } => {
                LinuxBus::open(number).map(|bus| marked(serves.as_deref(), number, bus))
            }
            Self::Simulated { faults, boards } => {
                let board = boards.entry(number).or_insert_with(|| {
                    let board = Board::new(Arc::new(SystemClock), SIMULATED_HERTZ);
                    for fault in faults.iter() {
                        board.schedule(*fault);
                    }
                    board
                });
                populate(board, number, places);
                Ok(Box::new(board.bus()))
            }
        }
    }

    /// A bus that is opened at its first transfer.
    pub(super) fn closed(&self, number: u8) -> Box<dyn Bus> {
        match self {
            Self::Linux { serves } => marked(serves.as_deref(), number, LinuxBus::closed(number)),
            // A simulation can always be opened.
            Self::Simulated { .. } => Box::new(LinuxBus::closed(number)),
        }
    }

    /// Whether nothing of it is real.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        matches!(self, Self::Simulated { .. })
    }
}

/// A bus that others see is in use, for as long as it is.
struct Marked {
    bus: LinuxBus,
    _lock: Option<Lock>,
}

fn marked(serves: Option<&str>, number: u8, bus: LinuxBus) -> Box<dyn Bus> {
    match serves {
        Some(url) => Box::new(Marked {
            bus,
            _lock: Lock::take(number, url),
        }),
        None => Box::new(bus),
    }
}

impl Bus for Marked {
    fn owner(&self, address: Address) -> Option<Owner> {
        self.bus.owner(address)
    }

    fn read_word(&mut self, address: Address, register: u8) -> Result<u16, Error> {
        self.bus.read_word(address, register)
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

/// Plugs a simulated chip in wherever one is expected.
fn populate(board: &Board, number: u8, places: &[Place]) {
    for (channel, address) in places {
        if !board.has(*channel, *address) {
            let behind = channel.map_or(0, |channel| u32::from(channel.channel) + 1);
            let load = Load::board(u32::from(number) * 16 + u32::from(address.0 & 0x0F) + behind);
            board.plug_at(*channel, *address, Chip::new(load));
        }
    }
}
