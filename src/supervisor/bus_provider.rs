//! Opens buses: the kernel's, or simulated ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::SystemClock;
use crate::i2c::adapters::Adapters;
use crate::i2c::linux::{Claim, LinuxBus};
use crate::i2c::{Bus, BusName, Location, OpenError};
use crate::simulated::{Board, Chip, Faults, Load};

/// Opens buses by their names in the configuration.
#[derive(Clone, Default)]
pub struct BusProvider {
    /// Faults to inject on each simulated bus; `None`: the buses are the kernel's.
    pub(crate) faults: Option<Faults>,
    /// The simulated buses that have been opened.
    pub boards: BTreeMap<BusName, Arc<Board>>,
    /// Claims the adapters of the kernel.
    pub(crate) claim: Option<Claim>,
}

impl BusProvider {
    /// Clock of a simulated bus: I2C fast mode.
    const SIMULATED_HERTZ: u32 = 400_000;

    /// Returns simulated buses where `simulate` asks for them, else the kernel's.
    pub fn new(simulate: Option<&Faults>) -> Self {
        Self { faults: simulate.cloned(), ..Self::default() }
    }

    /// Opens a bus. On a simulated one, chips are placed at those of the `locations` that are on
    /// it.
    pub(crate) fn open(
        &mut self,
        name: BusName,
        locations: impl Iterator<Item = Location>,
    ) -> Result<Box<dyn Bus>, OpenError> {
        let Some(faults) = &self.faults else {
            return Ok(Box::new(LinuxBus::closed(name, self.claim.clone()).open()?));
        };
        let board = self.boards.entry(name).or_insert_with(|| {
            let board = Board::new(Arc::new(SystemClock), Self::SIMULATED_HERTZ);
            faults.0.iter().for_each(|fault| board.schedule(*fault));
            board
        });
        let number = if let BusName::Number(number) = name { u32::from(number) } else { 1 };
        for Location { mux, address, .. } in locations.filter(|it| it.bus == name) {
            let channel = mux.map_or(0, |channel| u32::from(channel.channel) + 1);
            let load = Load::board(number * 16 + u32::from(address.0 & 0x0F) + channel);
            board.plug(mux, address, Chip::new(load));
        }
        Ok(Box::new(board.bus()))
    }

    /// Returns an adapter of the kernel that is opened at its first transfer.
    pub(super) fn closed(&self, name: BusName) -> Box<dyn Bus> {
        Box::new(LinuxBus::closed(name, self.claim.clone()))
    }

    /// Returns the adapters of the machine; simulated buses have none.
    pub(crate) fn adapters(&self) -> Adapters {
        if self.is_simulated() { Adapters::default() } else { Adapters::read() }
    }

    pub(crate) fn is_simulated(&self) -> bool {
        self.faults.is_some()
    }

    /// Returns the prefix of bus names in messages.
    pub(super) fn name_prefix(&self) -> &'static str {
        if self.is_simulated() { "simulated " } else { "" }
    }
}
