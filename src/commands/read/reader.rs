//! Reads sensors: from their chips, or from the service that uses the bus.

use std::collections::btree_map::{BTreeMap, Entry};

use super::Stop;
use super::sensor_report::{ChipState, SensorReport};
use crate::commands::describe_open_error;
use crate::commands::mux_guard::MuxGuard;
use crate::commands::running_exporter::RunningExporter;
use crate::config::{Plan, SensorPlan};
use crate::i2c::adapters::Adapters;
use crate::i2c::{Bus, BusName, Location, mux, retry_once};
use crate::ina260;
use crate::supervisor::BusProvider;

/// Reason why a sensor was not read, with what to do next.
#[derive(Debug, thiserror::Error)]
pub(in crate::commands) enum Error {
    #[error("{}{}", .0, after_chip_error(.0))]
    Chip(ina260::Error),
    #[error("{}{}", .0, after_mux_error(.0))]
    Mux(mux::Error),
    /// The bus cannot be opened, or a service uses it.
    #[error("{0}")]
    Bus(String),
}

const STUCK: &str = "; the bus is stuck: disconnect its chips one by one, including unpowered ones";

fn after_chip_error(error: &ina260::Error) -> &'static str {
    match error {
        // Its message has the command.
        ina260::Error::Bound(_) => "",
        error if error.is_other_chip() => "; `ina260-exporter scan` lists the devices",
        error if error.is_timeout() => STUCK,
        _ => "; check wiring and supply (`ina260-exporter scan` lists the devices that respond)",
    }
}

fn after_mux_error(error: &mux::Error) -> &'static str {
    match error {
        // Its message has the buses to use instead.
        mux::Error::Bound(..) => "",
        error if error.is_timeout() => STUCK,
        mux::Error::Unreachable(..) => {
            "; check wiring, supply and address (`ina260-exporter scan --mux` lists the devices \
             on each channel)"
        }
        mux::Error::ControlMismatch { .. } => "; stop the other program that switches it",
    }
}

/// Reads sensors on buses that are opened once.
pub(in crate::commands) struct Reader {
    pub(in crate::commands) provider: BusProvider,
    locations: Vec<Location>,
    opened: BTreeMap<BusName, Box<dyn Bus>>,
    /// Whether a mux was named on the command line.
    is_mux_named: bool,
}

impl Reader {
    pub(in crate::commands) fn new(plan: &Plan, provider: BusProvider, is_mux_named: bool) -> Self {
        let locations = plan.sensors.iter().map(|it| it.location).collect();
        Self { provider, locations, opened: BTreeMap::new(), is_mux_named }
    }

    /// Reads a sensor: its chip, unless a service uses the bus and the chip is downstream of a mux.
    pub(super) fn read(&mut self, sensor: &SensorPlan, stop: Stop) -> Result<SensorReport, Error> {
        let Location { bus, mux, .. } = sensor.location;
        match RunningExporter::find(bus, &self.provider) {
            Some(service) if self.is_mux_named => Err(Error::Bus(service.refusal(bus))),
            Some(service) if mux.is_some() => read_via_service(&service, sensor),
            Some(service) => read_shared(&service, self.open(bus)?, sensor),
            None => self.on_chip(sensor.location, |bus| SensorReport::read(bus, sensor, stop)),
        }
    }

    /// Accesses a chip on a bus that no other program uses, through its mux if it has one.
    pub(in crate::commands) fn on_chip<T>(
        &mut self,
        location: Location,
        mut access: impl FnMut(&mut dyn Bus) -> Result<T, ina260::Error>,
    ) -> Result<T, Error> {
        // All muxes: sensors downstream of a selected channel of another would respond as well.
        let on_bus = self.locations.iter().filter(|it| it.bus == location.bus);
        let muxes = on_bus.filter_map(|it| Some(it.mux?.multiplexer)).collect();
        let bus = self.open(location.bus)?;
        let mut access = |bus: &mut dyn Bus| retried(|| access(bus));
        let Some(channel) = location.mux else { return access(bus) };
        MuxGuard::new(bus, &muxes)
            .and_then(|mut guard| guard.on_channel(channel, access))
            .map_err(Error::Mux)?
    }

    fn open(&mut self, name: BusName) -> Result<&mut dyn Bus, Error> {
        let bus = match self.opened.entry(name) {
            Entry::Occupied(opened) => opened.into_mut(),
            Entry::Vacant(vacant) => {
                let opened = self.provider.open(name, self.locations.iter().copied());
                let described = |error| Error::Bus(describe_open_error(&error, &Adapters::read()));
                vacant.insert(opened.map_err(described)?)
            }
        };
        Ok(bus.as_mut())
    }
}

/// Reads the data of a sensor on a bus that the service uses, and takes its state from the service.
pub(super) fn read_shared(
    service: &RunningExporter,
    bus: &mut dyn Bus,
    sensor: &SensorPlan,
) -> Result<SensorReport, Error> {
    let state = service.sensor(sensor.location).and_then(|served| {
        ChipState::from_service(served).ok_or_else(|| "the chip was not identified".to_owned())
    });
    let state = state.map_err(|reason| format!("settings and alert are not read: {reason}"));
    retried(|| SensorReport::read_data(bus, sensor, state.clone()))
}

/// Takes the result of a sensor downstream of a mux from the service, which alone may switch it.
pub(super) fn read_via_service(
    service: &RunningExporter,
    sensor: &SensorPlan,
) -> Result<SensorReport, Error> {
    let served = service
        .sensor(sensor.location)
        .map_err(|reason| Error::Bus(format!("{reason}; stop it to read downstream of the mux")))?;
    SensorReport::from_service(served)
        .ok_or_else(|| Error::Bus(format!("does not respond to {}; see its log", service.name)))
}

/// Reads a sensor, and once more if a transfer fails, unless the bus is stuck.
fn retried<T>(read: impl FnMut() -> Result<T, ina260::Error>) -> Result<T, Error> {
    retry_once(read, ina260::Error::is_timeout).map_err(Error::Chip)
}
