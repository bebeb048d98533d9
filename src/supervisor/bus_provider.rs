//! Opens buses: the kernel's, or simulated ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::SystemClock;
use crate::i2c::adapters::adapters;
use crate::i2c::linux::LinuxBus;
use crate::i2c::{Bus, Location, OpenError};
use crate::simulated::{Board, Chip, Faults, Load};

/// Clock of a simulated bus: I2C fast mode.
const SIMULATED_HERTZ: u32 = 400_000;

/// Opens buses by number.
#[derive(Clone)]
pub enum BusProvider {
    /// Opens `/dev/i2c-N`.
    Linux,
    /// Opens simulated buses, with these faults on each.
    Simulated {
        /// Faults to inject.
        faults: Faults,
        /// The boards so far, by bus number.
        boards: BTreeMap<u8, Arc<Board>>,
    },
}

impl BusProvider {
    /// Returns simulated buses where `simulate` asks for them, else the kernel's.
    pub fn new(simulate: Option<&Faults>) -> Self {
        simulate.map_or(Self::Linux, |faults| Self::Simulated {
            faults: faults.clone(),
            boards: BTreeMap::new(),
        })
    }

    /// Opens a bus. On a simulated one, chips are placed at those of the `locations` that are on
    /// it.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do.
    pub fn open(
        &mut self,
        number: u8,
        locations: impl IntoIterator<Item = Location>,
    ) -> Result<Box<dyn Bus>, OpenError> {
        match self {
            Self::Linux => Ok(Box::new(LinuxBus::open(number)?)),
            Self::Simulated { faults, boards } => {
                let board = boards.entry(number).or_insert_with(|| {
                    let board = Board::new(Arc::new(SystemClock), SIMULATED_HERTZ);
                    for fault in &faults.0 {
                        board.schedule(*fault);
                    }
                    board
                });
                for location in locations {
                    if location.bus == number {
                        populate(board, &location);
                    }
                }
                Ok(Box::new(board.bus()))
            }
        }
    }

    /// Returns the numbers of the buses that exist.
    pub(super) fn existing(&self) -> Vec<u8> {
        match self {
            Self::Linux => adapters().into_iter().map(|adapter| adapter.number).collect(),
            Self::Simulated { boards, .. } => boards.keys().copied().collect(),
        }
    }

    /// Returns whether the buses are simulated.
    pub fn is_simulated(&self) -> bool {
        matches!(self, Self::Simulated { .. })
    }
}

/// Places a simulated chip at a location that has none.
fn populate(board: &Board, location: &Location) {
    let Location { bus, mux, address } = *location;
    if !board.has_chip(mux, address) {
        let channel = mux.map_or(0, |channel| u32::from(channel.channel) + 1);
        let load = Load::board(u32::from(bus) * 16 + u32::from(address.0 & 0x0F) + channel);
        board.plug_at(mux, address, Chip::new(load));
    }
}
