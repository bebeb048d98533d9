//! Where buses come from: the kernel, or a simulation.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bus::linux::LinuxBus;
use crate::bus::mux::Channel;
use crate::bus::{Address, Bus, OpenError};
use crate::clock::SystemClock;
use crate::simulated::{Board, Chip, Injected, Load};

/// A bus clock that a Pi can be set to.
const SIMULATED_HERTZ: u32 = 400_000;

/// Where a sensor is on its bus.
pub(super) type Place = (Option<Channel>, Address);

/// Where buses come from.
pub enum Source {
    /// The kernel.
    Linux,
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
    pub(super) fn open(&mut self, number: u8, places: &[Place]) -> Result<Box<dyn Bus>, OpenError> {
        match self {
            Self::Linux => LinuxBus::open(number).map(|bus| Box::new(bus) as Box<dyn Bus>),
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

    pub(super) fn is_simulated(&self) -> bool {
        matches!(self, Self::Simulated { .. })
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
