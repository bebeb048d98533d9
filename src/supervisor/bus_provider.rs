//! Opens buses: simulated ones, or the kernel's, which are claimed for this process and locked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use super::bus_lock;
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
    pub(crate) claim: Option<Claim>,
}

impl BusProvider {
    /// Clock of a simulated bus: I2C fast mode.
    const SIMULATED_HERTZ: u32 = 400_000;

    /// Returns simulated buses where `simulate` asks for them, else the kernel's.
    pub fn new(simulate: Option<&Faults>) -> Self {
        Self { faults: simulate.cloned(), ..Self::default() }
    }

    /// Opens a bus. A simulated one gets chips at those of the `locations` that are on it.
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
        Ok(Box::new(board.clone()))
    }

    pub(super) fn closed(&self, name: BusName) -> Box<dyn Bus> {
        Box::new(LinuxBus::closed(name, self.claim.clone()))
    }

    pub(crate) fn adapters(&self) -> Adapters {
        if self.is_simulated() { Adapters::default() } else { Adapters::read() }
    }

    pub(crate) fn is_simulated(&self) -> bool {
        self.faults.is_some()
    }

    pub(super) fn name_prefix(&self) -> &'static str {
        if self.is_simulated() { "simulated " } else { "" }
    }
}

pub(super) type Locations = Arc<Mutex<Vec<Location>>>;

#[derive(Default)]
struct Claims {
    /// By the kernel's number: the bus that claimed the adapter last, and a token that its claim
    /// holds.
    adapters: BTreeMap<u32, (BusName, Weak<()>)>,
    /// In the order of their last claims.
    buses: Vec<BusName>,
}

/// Returns a function that claims adapters for this process, each for a single bus, and creates
/// their lock files, which contain `url`.
///
/// Adapters can appear after the configuration was checked. Of buses whose chips are on the same
/// wires, the bus that was opened last keeps its claim, even while it is closed: its mux channel
/// may still be selected.
pub(super) fn claims(url: String, locations: Locations) -> Claim {
    let claims = Mutex::<Claims>::default();
    Arc::new(move |bus, adapter, adapters| {
        let Claims { adapters: claimed, buses } = &mut *lock(&claims);
        if let Some((other, token)) = claimed.get(&adapter)
            && token.strong_count() > 0
        {
            return Err(OpenError::Taken(bus, *other));
        }
        let locations = lock(&locations);
        let since = buses.iter().position(|it| *it == bus).map_or(0, |at| at + 1);
        for own in locations.iter().filter(|it| it.bus == bus) {
            for rival in locations.iter().filter(|it| buses[since..].contains(&it.bus)) {
                if let Some(conflict) = adapters.conflict(*own, *rival) {
                    return Err(OpenError::SameWires(*own, *rival, conflict));
                }
            }
        }
        buses.retain(|it| *it != bus);
        buses.push(bus);
        let token = Arc::new(());
        let is_new = claimed.insert(adapter, (bus, Arc::downgrade(&token))).is_none();
        // Dropped in this order: the lock is released before the claim.
        Ok(Box::new((bus_lock::acquire(adapter, &url, is_new), token)))
    })
}

pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().expect("no thread panics while it holds the lock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i2c::adapters::tests::Machine;

    #[test]
    fn second_name_of_an_open_adapter_is_refused() {
        let claim = claims("unix:/a".to_owned(), Locations::default());
        let claim = |bus, adapter| claim(bus, adapter, &Adapters::default());
        let (first, second) = (BusName::Path("/dev/i2c-power"), BusName::Number(251));
        let guard = claim(first, 1_000_251).unwrap();
        let refused = claim(second, 1_000_251).err();
        assert!(matches!(refused, Some(OpenError::Taken(_, other)) if other == first));
        let _other = claim(second, 1_000_252).unwrap();
        drop(guard);
        assert!(claim(second, 1_000_251).is_ok());
    }

    /// Two muxes on bus 1, of which the second appears after the start.
    #[test]
    fn late_bus_on_the_same_wires_is_refused() {
        let names = [(1, "bcm2835"), (11, "i2c-1-mux (chan_id 0)")];
        let late = (19, "i2c-1-mux (chan_id 0)");
        let before = Machine::new(&names);
        let after = Machine::new(&[names[0], names[1], late]);
        let gone = Machine::new(&[names[0], late]);
        for machine in [&before, &after] {
            machine.add_channel(11, "1-0070", "-1");
        }
        for machine in [&after, &gone] {
            machine.add_channel(19, "1-0071", "-1");
        }
        let at = |bus: u8, address| Location::from_labels(&bus.to_string(), "", address).unwrap();
        let planned = [at(11, "0x40"), at(19, "0x41"), at(19, "0x40")];
        let locations = Arc::new(Mutex::new(planned.to_vec()));
        let claim = claims("unix:/a".to_owned(), locations.clone());
        let claim = |bus: u8, machine: &Machine| {
            claim(bus.into(), 1_000_300 + u32::from(bus), &machine.adapters())
        };
        let refused = |bus, machine| claim(bus, machine).err().map(|error| error.to_string());

        let first = claim(11, &before).unwrap();
        let message = refused(19, &after).unwrap();
        let expected = "bus 19, 0x40 duplicates the location of bus 11, 0x40: they are \
                        downstream of two muxes on one bus, 1-0071 and 1-0070, ";
        assert!(message.starts_with(expected), "{message}");
        // Even while the first is closed, since its channel stays selected.
        drop(first);
        assert!(refused(19, &after).is_some());
        drop(claim(11, &after).unwrap());
        // The first mux is removed and added again.
        drop(claim(19, &gone).unwrap());
        assert!(refused(11, &after).is_some());
        drop(claim(19, &after).unwrap());
        // A reload removes the sensor.
        locations.lock().unwrap().pop();
        assert!(claim(11, &after).is_ok());
    }
}
