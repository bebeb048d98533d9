//! Probes the sensors at start-up.

use std::collections::BTreeSet;

use tracing::debug;

use super::{NothingToMeasure, Supervisor};
use crate::config::SensorPlan;
use crate::i2c::mux::Multiplexers;
use crate::i2c::{Address, Bus, retry_once};
use crate::ina260;
use crate::sampler::Error;

impl Supervisor {
    /// Probes the sensors until one responds, before any thread starts. A different chip at the
    /// address, or one claimed by a kernel driver, counts: its cause can be removed at run time.
    ///
    /// # Errors
    /// [`NothingToMeasure`] if no sensor responds, with the addresses at which other INA260s do.
    pub fn probe_at_startup(&mut self) -> Result<(), NothingToMeasure> {
        let mut messages = Vec::new();
        let mut stuck = BTreeSet::new();
        let sensors = self.plan.sensors.iter();
        let sensors: Vec<_> = sensors.map(|sensor| (sensor, self.sensor_name(sensor))).collect();
        for (sensor, name) in sensors {
            let number = sensor.location.bus;
            let Some(open) = self.opened.get_mut(&number).filter(|_| !stuck.contains(&number))
            else {
                continue;
            };
            let on_bus = self.plan.sensors.iter().map(|sensor| sensor.location);
            let channels = on_bus.filter(|on| on.bus == number).filter_map(|on| on.mux);
            let mut multiplexers = Multiplexers::new(channels);
            let probed = retry_once(
                || probe(open.bus.as_mut(), &mut multiplexers, sensor),
                Error::is_timeout,
            );
            match probed {
                Ok(()) => return Ok(()),
                Err(error) => {
                    messages.push(format!("{name}: {error}"));
                    // Each further transfer would take the adapter's timeout.
                    if error.is_timeout() {
                        stuck.insert(number);
                    }
                }
            }
        }
        for (number, open) in &mut self.opened {
            messages.push(if stuck.contains(number) {
                format!("bus {number} is stuck; not scanned")
            } else {
                match responding(open.bus.as_mut()) {
                    others if others.is_empty() => {
                        format!("no INA260 responds on bus {number} at 0x40-0x4f")
                    }
                    others => format!("INA260s respond on bus {number} at {}", others.join(", ")),
                }
            });
        }
        Err(NothingToMeasure(messages))
    }
}

/// Probes one sensor. No mux channel stays selected, unless the bus is stuck: chips downstream of
/// it would respond to later probes of the bus itself.
fn probe(
    bus: &mut dyn Bus,
    multiplexers: &mut Multiplexers,
    sensor: &SensorPlan,
) -> Result<(), Error> {
    let result = identify(bus, multiplexers, sensor);
    if !result.as_ref().is_err_and(Error::is_timeout)
        && let Err(error) = multiplexers.deselect_all(bus)
    {
        debug!("bus {}: {error}", sensor.location.bus);
    }
    result
}

fn identify(
    bus: &mut dyn Bus,
    multiplexers: &mut Multiplexers,
    sensor: &SensorPlan,
) -> Result<(), Error> {
    if let Some(channel) = sensor.location.mux {
        multiplexers.select(bus, channel)?;
    }
    match ina260::identify(bus, sensor.location.address) {
        Err(error) if !error.is_acknowledged() => Err(error.into()),
        _ => Ok(()),
    }
}

/// Returns the addresses at which INA260s respond; stops at a timeout.
fn responding(bus: &mut dyn Bus) -> Vec<String> {
    let mut found = Vec::new();
    for address in ina260::ADDRESSES.map(Address) {
        match ina260::identify(bus, address) {
            Ok(_) => found.push(address.to_string()),
            Err(error) if error.is_timeout() => break,
            Err(_) => {}
        }
    }
    found
}
