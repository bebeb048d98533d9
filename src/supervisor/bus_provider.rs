//! Opens buses: the kernel's, or simulated ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::SystemClock;
use crate::i2c::adapters::Adapters;
use crate::i2c::linux::{Claim, LinuxBus};
use crate::i2c::{Bus, BusName, Location, OpenError};
use crate::simulated::{Board, Chip, Faults, Load};

/// Clock of a simulated bus: I2C fast mode.
const SIMULATED_HERTZ: u32 = 400_000;

/// Opens buses by their names in the configuration.
#[derive(Clone)]
pub enum BusProvider {
    /// Opens the adapters of the kernel, and claims them.
    Linux(Option<Claim>),
    /// Opens simulated buses, with these faults on each.
    Simulated {
        /// Faults to inject.
        faults: Faults,
        /// The simulated buses that have been opened.
        boards: BTreeMap<BusName, Arc<Board>>,
    },
}

impl BusProvider {
    /// Returns simulated buses where `simulate` asks for them, else the kernel's.
    pub fn new(simulate: Option<&Faults>) -> Self {
        simulate.map_or(Self::Linux(None), |faults| Self::Simulated {
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
        name: BusName,
        locations: impl IntoIterator<Item = Location>,
    ) -> Result<Box<dyn Bus>, OpenError> {
        match self {
            Self::Linux(claim) => Ok(Box::new(LinuxBus::closed(name, claim.clone()).open()?)),
            Self::Simulated { faults, boards } => {
                let board = boards.entry(name).or_insert_with(|| {
                    let board = Board::new(Arc::new(SystemClock), SIMULATED_HERTZ);
                    for fault in &faults.0 {
                        board.schedule(*fault);
                    }
                    board
                });
                for location in locations {
                    if location.bus == name {
                        populate(board, &location);
                    }
                }
                Ok(Box::new(board.bus()))
            }
        }
    }

    /// Returns the adapters of the machine; simulated buses have none.
    pub(crate) fn adapters(&self) -> Adapters {
        if self.is_simulated() { Adapters::default() } else { Adapters::read() }
    }

    pub(super) fn existing(&self) -> Vec<BusName> {
        match self {
            Self::Linux(_) => Adapters::read().iter().map(|it| it.number.into()).collect(),
            Self::Simulated { boards, .. } => boards.keys().copied().collect(),
        }
    }

    /// Returns a provider that claims no adapter.
    pub(super) fn unclaimed(&self) -> Self {
        if let Self::Linux(_) = self { Self::Linux(None) } else { self.clone() }
    }

    /// Returns a bus that is opened at its first transfer.
    pub(super) fn closed(&self, name: BusName) -> Box<dyn Bus> {
        let claim = if let Self::Linux(claim) = self { claim.clone() } else { None };
        Box::new(LinuxBus::closed(name, claim))
    }

    /// Returns whether the buses are simulated.
    pub fn is_simulated(&self) -> bool {
        matches!(self, Self::Simulated { .. })
    }

    /// Returns the prefix of bus names in messages.
    pub(super) fn name_prefix(&self) -> &'static str {
        if self.is_simulated() { "simulated " } else { "" }
    }
}

/// Places a simulated chip at a location that has none.
fn populate(board: &Board, location: &Location) {
    let Location { bus, mux, address } = *location;
    let channel = mux.map_or(0, |channel| u32::from(channel.channel) + 1);
    let bus = if let BusName::Number(number) = bus { u32::from(number) } else { 1 };
    let load = Load::board(bus * 16 + u32::from(address.0 & 0x0F) + channel);
    board.plug(mux, address, Chip::new(load));
}
