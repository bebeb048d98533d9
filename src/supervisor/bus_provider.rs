//! Opens buses: simulated ones, or the kernel's, which are claimed for this process and locked.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Instant;

use tracing::{info, warn};

use super::{bus_lock, locations};
use crate::clock::{LogRateLimit, SystemClock};
use crate::config::{Listen, Plan};
use crate::i2c::adapters::Adapters;
use crate::i2c::linux::{Claim, LinuxBus, LockFile};
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

/// The adapters that this process has claimed, each for a single bus, with their lock files.
///
/// Adapters can appear after the configuration was checked. Of buses with chips on the same wires,
/// the last opened has precedence, even while closed: its mux channel may still be selected.
pub(super) struct Claims {
    /// Name of the subcommand, which claims no bus that is in use; `None`: the daemon.
    command: Option<&'static str>,
    listen: Listen,
    /// Where lock files may be.
    directories: Vec<PathBuf>,
    pub(super) locations: Vec<Location>,
    /// By the kernel's number: the bus that claimed the adapter last, and what its claim holds.
    adapters: BTreeMap<u32, (BusName, Weak<LockFile>)>,
    /// In the order of their last claims.
    buses: Vec<BusName>,
    log_limit: LogRateLimit,
}

impl Claims {
    pub(super) fn new(command: Option<&'static str>, plan: &Plan) -> Self {
        Self {
            command,
            listen: plan.server.listen.clone(),
            directories: bus_lock::own_directories(),
            locations: locations(plan).collect(),
            adapters: BTreeMap::new(),
            buses: Vec::new(),
            log_limit: LogRateLimit::default(),
        }
    }

    pub(super) fn claim(
        &mut self,
        bus: BusName,
        adapter: u32,
        adapters: &Adapters,
        last: Option<Arc<LockFile>>,
    ) -> Result<Arc<LockFile>, OpenError> {
        let known = self.adapters.get(&adapter);
        let is_known = |last: &Arc<LockFile>| {
            known.is_some_and(|(_, file)| file.as_ptr() == Arc::as_ptr(last))
        };
        let last = last.filter(is_known);
        if let Some((other, file)) = known
            && last.is_none()
            && file.strong_count() > 0
        {
            return Err(OpenError::Taken(bus, *other));
        }
        let since = self.buses.iter().position(|it| *it == bus).map_or(0, |at| at + 1);
        let (locations, rivals) = (&self.locations, &self.buses[since..]);
        for own in locations.iter().filter(|it| it.bus == bus) {
            for rival in locations.iter().filter(|it| rivals.contains(&it.bus)) {
                if let Some(conflict) = adapters.conflict(*own, *rival) {
                    return Err(OpenError::SameWires(*own, *rival, conflict));
                }
            }
        }
        let file = match last {
            Some(file) => file,
            None => Arc::new(Mutex::new(self.lock_file(bus, adapter)?)),
        };
        self.adapters.insert(adapter, (bus, Arc::downgrade(&file)));
        self.buses.retain(|it| *it != bus);
        self.buses.push(bus);
        Ok(file)
    }

    /// Updates the URL in the lock files, and tries again to create those that are missing or were
    /// deleted.
    pub(super) fn renew(&mut self, listen: &Listen) {
        let is_changed = self.listen != *listen;
        if is_changed {
            self.listen = listen.clone();
        }
        for (adapter, (_, file)) in &self.adapters {
            let Some(file) = file.upgrade() else { continue };
            let file = &mut *lock(&file);
            // logind deletes the runtime directory of a user who logs out.
            file.take_if(|file| file.metadata().is_ok_and(|it| it.nlink() == 0));
            if let Some(file) = file {
                if is_changed && let Err(error) = bus_lock::write_owner(file, &self.listen.url()) {
                    warn!("cannot write the lock file of bus {adapter}: {error}");
                }
            } else if let Ok(Ok(created)) = self.acquire(*adapter, 1) {
                *file = Some(created);
                info!("bus {adapter}: lock file created; `scan` and `read` see it as in use");
            }
        }
    }

    fn acquire(&self, adapter: u32, attempts: u32) -> io::Result<Result<File, String>> {
        let owner = self.command.map_or_else(|| self.listen.url(), str::to_owned);
        bus_lock::acquire(&self.directories, adapter, &owner, attempts)
    }

    /// Locks an adapter for a bus. The daemon measures it even if that fails, and logs why.
    fn lock_file(&mut self, bus: BusName, adapter: u32) -> Result<Option<File>, OpenError> {
        // A process that probes the lock holds it for some microseconds.
        match self.acquire(adapter, 10) {
            Ok(Ok(file)) => return Ok(Some(file)),
            Ok(Err(user)) if self.command.is_some() => return Err(OpenError::InUse(bus, user)),
            _ if !self.log_limit.allow(Instant::now()) => {}
            Ok(Err(user)) => warn!(
                "bus {adapter}: also in use by another process ({user}); results will be split \
                 between the two"
            ),
            Err(error) => info!(
                "cannot create a lock file for bus {adapter} ({error}); `scan` and `read` will \
                 not see it as in use"
            ),
        }
        Ok(None)
    }
}

pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().expect("no thread panics while it holds the lock")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::config::{self, Overrides};
    use crate::i2c::adapters::tests::Machine;
    use crate::logging::tests::CapturedLog;

    #[test]
    fn second_name_of_an_open_adapter_is_refused() {
        let plan = config::load_alone(&Overrides::default()).unwrap().plan;
        let mut claims = Claims::new(None, &plan);
        let mut claim = |bus, adapter| claims.claim(bus, adapter, &Adapters::default(), None);
        let (first, second) = (BusName::Path("/dev/i2c-power"), BusName::Number(251));
        let guard = claim(first, 1_000_251).unwrap();
        let refused = claim(second, 1_000_251).err();
        assert!(matches!(refused, Some(OpenError::Taken(_, other)) if other == first));
        let _other = claim(second, 1_000_252).unwrap();
        drop(guard);
        assert!(claim(second, 1_000_251).is_ok());
    }

    const BUS: BusName = BusName::Number(7);

    /// The claims of the daemon, or of a subcommand, with lock files in a directory.
    fn claims(command: Option<&'static str>, directory: &TempDir) -> Claims {
        let plan = config::load_alone(&Overrides::default()).unwrap().plan;
        let directories = vec![directory.path().to_owned()];
        Claims { directories, ..Claims::new(command, &plan) }
    }

    fn lock_file(directory: &TempDir) -> String {
        fs::read_to_string(directory.path().join("bus-7.lock")).unwrap()
    }

    #[test]
    fn lock_file_follows_the_listener() {
        let directory = tempfile::tempdir().unwrap();
        let mut claims = claims(None, &directory);
        let _claim = claims.claim(BUS, 7, &Adapters::default(), None).unwrap();
        assert_eq!(lock_file(&directory), "http://0.0.0.0:8000/metrics\n");
        claims.renew(&Listen::Unix("/a".into()));
        assert_eq!(lock_file(&directory), "unix:/a\n");
    }

    #[test]
    fn deleted_lock_file_is_created_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut claims = claims(None, &directory);
        let _claim = claims.claim(BUS, 7, &Adapters::default(), None).unwrap();
        fs::remove_file(directory.path().join("bus-7.lock")).unwrap();
        claims.renew(&Listen::Unix("/a".into()));
        assert_eq!(lock_file(&directory), "unix:/a\n");
    }

    #[test]
    fn bus_that_was_in_use_is_locked_later() {
        let directory = tempfile::tempdir().unwrap();
        let log = CapturedLog::start();
        let command = claims(Some("run"), &directory).claim(BUS, 7, &Adapters::default(), None);
        let mut claims = claims(None, &directory);
        // The daemon measures it all the same.
        let claim = claims.claim(BUS, 7, &Adapters::default(), None).unwrap();
        claims.renew(&Listen::Unix("/a".into()));
        assert_eq!(lock_file(&directory), "run\n");
        drop(command);
        claims.renew(&Listen::Unix("/a".into()));
        assert_eq!(lock_file(&directory), "unix:/a\n");
        let path = [directory.path().to_owned()];
        assert!(bus_lock::acquire(&path, 7, "", 1).unwrap().is_err(), "locked");
        drop(claim);
        // Another process can lock it while its adapter is gone.
        let _other = bus_lock::acquire(&path, 7, "other", 1).unwrap().unwrap();
        let _claim = claims.claim(BUS, 7, &Adapters::default(), None).unwrap();
        let text = log.text();
        let count =
            |user| text.matches(&format!("bus 7: also in use by another process {user}")).count();
        assert_eq!((count("(run)"), count("(other)")), (1, 1), "{text}");
    }

    #[test]
    fn subcommand_claims_no_bus_that_is_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let first = claims(Some("run"), &directory).claim(BUS, 7, &Adapters::default(), None);
        let mut second = claims(Some("watch"), &directory);
        let error = second.claim(BUS, 7, &Adapters::default(), None).err().unwrap().to_string();
        assert_eq!(error, "bus 7 is in use by another process (run); stop it first");
        drop(first);
        assert!(second.claim(BUS, 7, &Adapters::default(), None).is_ok());
    }

    #[test]
    fn closed_bus_stays_locked_until_its_adapter_changes() {
        let directory = tempfile::tempdir().unwrap();
        let (mut daemon, adapters) = (claims(None, &directory), Adapters::default());
        let claim = daemon.claim(BUS, 7, &adapters, None).unwrap();
        let path = [directory.path().to_owned()];
        let is_locked = |adapter| bus_lock::acquire(&path, adapter, "", 1).unwrap().is_err();
        // Opened again, while another name of the adapter is refused.
        assert!(daemon.claim(8.into(), 7, &adapters, None).is_err());
        assert!(daemon.claim(BUS, 7, &adapters, Some(claim.clone())).is_ok() && is_locked(7));
        let _claim = daemon.claim(BUS, 8, &adapters, Some(claim)).unwrap();
        assert!(!is_locked(7) && is_locked(8));
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
        let plan = config::load_alone(&Overrides::default()).unwrap().plan;
        let mut claims = Claims { locations: planned.to_vec(), ..Claims::new(None, &plan) };
        let claim = |claims: &mut Claims, bus: u8, machine: &Machine| {
            claims.claim(bus.into(), 1_000_300 + u32::from(bus), &machine.adapters(), None)
        };
        let claims = &mut claims;

        let first = claim(claims, 11, &before).unwrap();
        let message = claim(claims, 19, &after).err().unwrap().to_string();
        let expected = "bus 19, 0x40 duplicates the location of bus 11, 0x40: they are \
                        downstream of two muxes on one bus, 1-0071 and 1-0070, ";
        assert!(message.starts_with(expected), "{message}");
        // Even while the first is closed, since its channel stays selected.
        drop(first);
        assert!(claim(claims, 19, &after).is_err());
        drop(claim(claims, 11, &after).unwrap());
        // The first mux is removed and added again.
        drop(claim(claims, 19, &gone).unwrap());
        assert!(claim(claims, 11, &after).is_err());
        drop(claim(claims, 19, &after).unwrap());
        // A reload removes the sensor.
        claims.locations.pop();
        assert!(claim(claims, 11, &after).is_ok());
    }
}
