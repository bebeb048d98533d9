//! Reads sensors: from their chips, or from the service that uses the bus.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::sensor_report::{ChipState, SensorReport};
use super::{Row, Stop};
use crate::commands::describe_open_error;
use crate::commands::mux_guard::MuxGuard;
use crate::commands::running_exporter::RunningExporter;
use crate::config::{Plan, SensorPlan};
use crate::i2c::adapters::Adapters;
use crate::i2c::{Address, Bus, BusName, Location, mux, retry_once};
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
        _ => "; check wiring and supply, `ina260-exporter scan` lists the devices that respond",
    }
}

fn after_mux_error(error: &mux::Error) -> &'static str {
    match error {
        // Its message has the buses to use instead.
        mux::Error::Bound(..) => "",
        error if error.is_timeout() => STUCK,
        mux::Error::Unreachable(..) => {
            "; check wiring, supply and address, `ina260-exporter scan --mux` lists the devices \
             on each channel"
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
        Self {
            provider,
            locations: plan.sensors.iter().map(|it| it.location).collect(),
            opened: BTreeMap::new(),
            is_mux_named,
        }
    }

    pub(super) fn row<'a>(&mut self, sensor: &'a SensorPlan, stop: Stop) -> Row<'a> {
        let outcome = self.read(sensor, &mut |time| _ = stop(time));
        Row { sensor, outcome }
    }

    fn read(
        &mut self,
        sensor: &SensorPlan,
        pause: &mut dyn FnMut(Duration),
    ) -> Result<SensorReport, Error> {
        let bus = sensor.location.bus;
        match RunningExporter::find(bus, &self.provider) {
            Some(service) if self.is_mux_named => Err(Error::Bus(service.refusal(bus))),
            Some(service) if sensor.location.mux.is_some() => read_via_service(&service, sensor),
            Some(service) => read_shared(&service, self.open(bus)?, sensor),
            None => {
                let muxes = self.muxes(bus);
                read_exclusive(self.open(bus)?, sensor, &muxes, pause)
            }
        }
    }

    /// Accesses a chip on a bus that no other program uses.
    pub(in crate::commands) fn on_chip<T>(
        &mut self,
        location: Location,
        access: impl FnMut(&mut dyn Bus) -> Result<T, ina260::Error>,
    ) -> Result<T, Error> {
        let muxes = self.muxes(location.bus);
        on_chip(self.open(location.bus)?, location, &muxes, access)
    }

    /// Returns all known muxes of a bus: sensors downstream of a selected channel of another mux
    /// would respond as well.
    fn muxes(&self, bus: BusName) -> Vec<Address> {
        let on_bus = self.locations.iter().filter(|location| location.bus == bus);
        let muxes = on_bus.filter_map(|location| Some(location.mux?.multiplexer));
        muxes.collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn open(&mut self, name: BusName) -> Result<&mut dyn Bus, Error> {
        let bus =
            match self.opened.entry(name) {
                Entry::Occupied(opened) => opened.into_mut(),
                Entry::Vacant(vacant) => {
                    let bus = self.provider.open(name, self.locations.iter().copied());
                    vacant.insert(bus.map_err(|error| {
                        Error::Bus(describe_open_error(&error, &Adapters::read()))
                    })?)
                }
            };
        Ok(bus.as_mut())
    }
}

/// Reads a sensor on a bus that no other program uses.
pub(super) fn read_exclusive(
    bus: &mut dyn Bus,
    sensor: &SensorPlan,
    muxes: &[Address],
    pause: &mut dyn FnMut(Duration),
) -> Result<SensorReport, Error> {
    let (address, calibration) = (sensor.location.address, &sensor.calibration);
    on_chip(bus, sensor.location, muxes, |bus| SensorReport::read(bus, address, calibration, pause))
}

/// Accesses a chip on a bus that no other program uses, through its mux if it has one.
fn on_chip<T>(
    bus: &mut dyn Bus,
    location: Location,
    muxes: &[Address],
    mut access: impl FnMut(&mut dyn Bus) -> Result<T, ina260::Error>,
) -> Result<T, Error> {
    let mut access = |bus: &mut dyn Bus| retried(|| access(bus));
    let Some(channel) = location.mux else {
        return access(bus);
    };
    MuxGuard::new(bus, muxes)
        .and_then(|mut guard| guard.on_channel(channel, access))
        .map_err(Error::Mux)?
}

/// Reads the data of a sensor on a bus that the service uses, and takes its state from the service.
pub(super) fn read_shared(
    service: &RunningExporter,
    bus: &mut dyn Bus,
    sensor: &SensorPlan,
) -> Result<SensorReport, Error> {
    let served = service.sensor(sensor.location);
    let state = match served.map(|served| served.and_then(ChipState::from_service)) {
        Ok(Some(state)) => Ok(state),
        Ok(None) => Err(format!(
            "settings and alert are not read: the bus is in use by {}, which does not measure \
             this sensor",
            service.name()
        )),
        Err(error) => Err(format!("settings and alert are not read: the bus is in use ({error})")),
    };
    let (address, calibration) = (sensor.location.address, &sensor.calibration);
    retried(|| SensorReport::read_data(bus, address, calibration, state.clone()))
}

/// Takes the result of a sensor downstream of a mux from the service, which alone may switch it.
pub(super) fn read_via_service(
    service: &RunningExporter,
    sensor: &SensorPlan,
) -> Result<SensorReport, Error> {
    let user = service.name();
    let reason = match service.sensor(sensor.location) {
        Ok(Some(served)) => match SensorReport::from_service(served) {
            Some(report) => return Ok(report),
            None => format!("does not respond to {user}; see its log"),
        },
        Ok(None) => format!(
            "bus {} is in use by {user}, which does not measure this sensor; stop it to read \
             downstream of the mux",
            sensor.location.bus
        ),
        Err(error) => format!(
            "only the service may switch the mux, and its metrics are not available ({error})"
        ),
    };
    Err(Error::Bus(reason))
}

/// Reads a sensor, and once more if a transfer fails, unless the bus is stuck.
fn retried<T>(read: impl FnMut() -> Result<T, ina260::Error>) -> Result<T, Error> {
    retry_once(read, ina260::Error::is_timeout).map_err(Error::Chip)
}
