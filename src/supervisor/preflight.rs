//! A look for the sensors at start, and for what else is there if they are not.

use std::collections::BTreeSet;

use tracing::debug;

use super::{NothingToMeasure, Supervisor};
use crate::config::SensorPlan;
use crate::i2c::mux::Multiplexers;
use crate::i2c::{Address, Bus, retry_once};
use crate::ina260;

impl Supervisor {
    /// Looks for the sensors, before anything is started. Something else at an address, or a kernel driver, is an answer: who put it
    /// there can take it away.
    ///
    /// # Errors
    /// [`NothingToMeasure`] if nobody answers; it tells who does elsewhere.
    pub fn probe_at_startup(&mut self) -> Result<(), NothingToMeasure> {
        let mut messages = Vec::new();
        let mut stuck = BTreeSet::new();
        let names: Vec<String> = self
            .sensors()
            .map(|(sensor, _)| self.sensor_name(sensor))
            .collect();
        let Self { plan, opened, .. } = self;
        for (sensor, name) in plan.sensors.iter().zip(names) {
            let number = sensor.location.bus;
            let Some(bus) = opened.get_mut(&number).filter(|_| !stuck.contains(&number)) else {
                continue;
            };
            let bus = bus.bus.as_mut();
            let mut multiplexers = multiplexers(&plan.sensors, number);
            match retry_once(
                || identify(bus, &mut multiplexers, sensor),
                |failure| failure.stuck,
            ) {
                Ok(()) => return Ok(()),
                Err(failure) => {
                    messages.push(format!("{}: {}", name, failure.why));
                    // Each further question would cost the adapter's timeout.
                    if failure.stuck {
                        stuck.insert(number);
                    }
                }
            }
        }
        for (number, bus) in opened {
            messages.push(if stuck.contains(number) {
                format!("bus {number} is stuck; nobody else was looked for on it")
            } else {
                match responding(bus.bus.as_mut()) {
                    others if others.is_empty() => {
                        format!("no INA260 answers on bus {number}, from 0x40 to 0x4f")
                    }
                    others => format!("on bus {number} there are INA260s at {}", others.join(", ")),
                }
            });
        }
        Err(NothingToMeasure(messages))
    }
}

/// Why a sensor could not be identified, and whether that is because the bus is stuck.
struct Unidentified {
    why: String,
    stuck: bool,
}

/// Those of one bus.
fn multiplexers(sensors: &[SensorPlan], bus: u8) -> Multiplexers {
    let on_bus = sensors.iter().filter(|sensor| sensor.location.bus == bus);
    Multiplexers::new(on_bus.filter_map(|sensor| sensor.location.mux))
}

/// Asks one sensor who it is. Unless the bus is stuck, nothing stays open: what is behind a channel would answer the next question,
/// too, as if it were on the bus.
fn identify(
    bus: &mut dyn Bus,
    multiplexers: &mut Multiplexers,
    sensor: &SensorPlan,
) -> Result<(), Unidentified> {
    let outcome = ask(bus, multiplexers, sensor);
    if !outcome.as_ref().is_err_and(|failure| failure.stuck)
        && let Err(failure) = multiplexers.deselect_all(bus)
    {
        debug!("bus {}: {failure}", sensor.location.bus);
    }
    outcome
}

fn ask(
    bus: &mut dyn Bus,
    multiplexers: &mut Multiplexers,
    sensor: &SensorPlan,
) -> Result<(), Unidentified> {
    if let Some(channel) = sensor.location.mux {
        multiplexers
            .select(bus, channel)
            .map_err(|failure| Unidentified {
                why: failure.to_string(),
                stuck: failure.is_timeout(),
            })?;
    }
    ina260::identify(bus, sensor.location.address)
        .map(drop)
        .or_else(|error| {
            if error.is_acknowledged() {
                Ok(())
            } else {
                Err(error)
            }
        })
        .map_err(|error| Unidentified {
            why: error.to_string(),
            stuck: error.is_timeout(),
        })
}

/// Where INA260s answer; a stuck bus is not asked sixteen times.
fn responding(bus: &mut dyn Bus) -> Vec<String> {
    let mut found = Vec::new();
    for address in (0x40..=0x4F).map(Address) {
        match ina260::identify(bus, address) {
            Ok(_) => found.push(address.to_string()),
            Err(error) if error.is_timeout() => break,
            Err(_) => {}
        }
    }
    found
}
