//! Probes the sensors at start-up, before any thread starts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::{BusProvider, NothingToMeasure, Supervisor, buses, locations, sensor_name};
use crate::config::Plan;
use crate::i2c::mux::Multiplexers;
use crate::i2c::{self, Address, Bus, BusName, Location, retry_once};
use crate::ina260;
use crate::sampler::Error;

/// Timeout of the probe if the daemon may start without a sensor: about that of two stuck buses.
const TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) any_responds: bool,
    /// Reasons why sensors do not respond, except where another chip does (see `others`).
    pub(super) failures: Vec<String>,
    /// Other chips in place of sensors, and INA260s that respond and are not in the plan.
    pub(super) others: Vec<String>,
    /// Buses on which no INA260 responds, or that are stuck.
    pub(super) empty: Vec<String>,
}

impl Supervisor {
    /// Probes the sensors. Logs other chips in their place, and INA260s that are not in the plan.
    ///
    /// # Errors
    /// [`NothingToMeasure`] if no sensor responds, unless the plan says to wait for one.
    pub fn probe_at_startup(&self) -> Result<(), NothingToMeasure> {
        let preflight = self.preflight();
        let waits = self.plan.wait_for_sensor;
        let findings = if waits { preflight.run_within(TIMEOUT) } else { preflight.run() };
        if waits || findings.any_responds {
            // The bus threads log the failures.
            findings.others.iter().for_each(|message| warn!("{message}"));
            return Ok(());
        }
        let Findings { failures, others, empty, .. } = findings;
        Err(NothingToMeasure([self.unopened.clone(), failures, others, empty].concat()))
    }

    pub(super) fn preflight(&self) -> Preflight {
        Preflight {
            plan: self.plan.clone(),
            provider: BusProvider { claim: None, ..self.provider.clone() },
            buses: BTreeMap::new(),
            findings: Findings::default(),
            deadline: None,
        }
    }
}

/// The probe. It opens the buses itself, without claiming them.
pub(super) struct Preflight {
    plan: Plan,
    provider: BusProvider,
    /// The buses that have been opened; `None`: a bus is stuck.
    buses: BTreeMap<BusName, Option<Box<dyn Bus>>>,
    findings: Findings,
    /// Time after which no further transfer is made.
    deadline: Option<Instant>,
}

impl Preflight {
    /// Runs the probe in a thread for at most `timeout`: a blocked transfer cannot be aborted.
    fn run_within(mut self, timeout: Duration) -> Findings {
        self.deadline = Some(Instant::now() + timeout);
        let (done, findings) = mpsc::channel();
        let thread = thread::Builder::new().name("probe".to_owned());
        // Without a thread nothing is found, and the bus threads log what fails.
        let _ = thread.spawn(move || done.send(self.run()));
        findings.recv_timeout(timeout).unwrap_or_default()
    }

    pub(super) fn run(mut self) -> Findings {
        let mut to_scan = BTreeSet::new();
        for sensor in self.plan.sensors.clone() {
            let location = sensor.location;
            match self.probe(location) {
                None => continue,
                Some(Ok(_)) => {
                    self.findings.any_responds = true;
                    continue;
                }
                Some(Err(Error::Chip(chip))) if chip.is_other_chip() => {
                    // Such as "0x40 on bus 1 is an INA226, not an INA260".
                    let text = location.to_string();
                    let (bus, address) = text.rsplit_once(", ").unwrap_or_default();
                    self.findings.others.push(format!("{address} on {bus} is {chip}"));
                }
                Some(Err(error)) => {
                    let name = sensor_name(&sensor, &self.provider);
                    self.findings.failures.push(format!("{name}: {error}"));
                }
            }
            to_scan.insert(location.bus);
        }
        self.scan(to_scan);
        self.findings
    }

    /// Reads the identity of a sensor, unless its bus cannot be opened or is stuck.
    fn probe(&mut self, location: Location) -> Option<Result<u16, Error>> {
        let on_bus = locations(&self.plan).filter(|it| it.bus == location.bus);
        let mut multiplexers = Multiplexers::new(on_bus.filter_map(|it| it.mux));
        let bus = self.open(location.bus)?;
        let attempt = || {
            let selected = location.mux.map_or(Ok(()), |channel| multiplexers.select(bus, channel));
            let identified = selected
                .map_err(Error::from)
                .and_then(|()| Ok(ina260::identify(bus, location.address)?));
            // Chips downstream of a selected channel would respond to later probes of the bus.
            if !identified.as_ref().is_err_and(i2c::is_timeout)
                && let Err(error) = multiplexers.deselect_all(bus)
            {
                debug!("bus {}: {error}", location.bus);
            }
            identified
        };
        let probed = retry_once(attempt, i2c::is_timeout);
        // Each further transfer would take the adapter's timeout.
        if probed.as_ref().is_err_and(i2c::is_timeout) {
            self.buses.insert(location.bus, None);
        }
        Some(probed)
    }

    /// Reports INA260s that are not configured on these buses, or on all if no sensor responds.
    fn scan(&mut self, mut names: BTreeSet<BusName>) {
        let adapters = self.provider.adapters();
        if !self.findings.any_responds {
            names.extend(buses(&self.plan));
            names.extend(adapters.0.iter().map(|it| BusName::from(it.number)));
            names.extend(self.provider.boards.keys());
        }
        let planned: BTreeSet<Location> =
            locations(&self.plan).map(|it| adapters.numbered(it)).collect();
        // An adapter that has two names is scanned once.
        let number = |name| adapters.resolve(name).map_or(name, |it| it.number.into());
        let numbers: BTreeSet<BusName> = names.into_iter().map(number).collect();
        let (mut found, mut scanned) = (Vec::new(), Vec::new());
        for number in numbers {
            let is_open = self.open(number).is_some();
            for address in ina260::ADDRESSES.map(Address) {
                let Some(bus) = self.open(number) else { break };
                let location = Location { bus: number, mux: None, address };
                match ina260::identify(bus, address) {
                    Ok(_) if !planned.contains(&location) => found.push(location.to_string()),
                    Err(error) if i2c::is_timeout(&error) => _ = self.buses.insert(number, None),
                    Ok(_) | Err(_) => {}
                }
            }
            if let Some(None) = self.buses.get(&number) {
                self.findings.empty.push(format!("bus {number} is stuck; not scanned"));
            } else if is_open {
                scanned.push(number.to_string());
            }
        }
        if !found.is_empty() {
            let found = format!("INA260s respond at {}", found.join("; "));
            match self.findings.others.last_mut() {
                Some(message) => *message = format!("{message}; {found}"),
                None => self.findings.others.push(found),
            }
        } else if !scanned.is_empty() {
            let plural = if scanned.len() == 1 { "" } else { "es" };
            let list = scanned.join(", ");
            let message = format!("no INA260 responds on bus{plural} {list} at 0x40-0x4f");
            self.findings.empty.push(message);
        }
    }

    /// Returns a bus, opened at its first use, unless it cannot be opened or is stuck.
    fn open(&mut self, name: BusName) -> Option<&mut dyn Bus> {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return None;
        }
        if !self.buses.contains_key(&name) {
            let bus = self.provider.open(name, locations(&self.plan)).ok()?;
            self.buses.insert(name, Some(bus));
        }
        self.buses.get_mut(&name)?.as_mut().map(|bus| bus.as_mut() as _)
    }
}
