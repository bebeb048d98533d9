//! A look for the sensors at start, and for what else is there if they are not.

use std::collections::BTreeSet;

use tracing::debug;

use super::{NothingToMeasure, Sensor, Station};
use crate::bus::mux::Multiplexers;
use crate::bus::{Address, Bus};
use crate::config::SensorPlan;
use crate::ina260;

impl Station {
    /// Looks for the sensors, before anything is started. Something else at an address, or a kernel driver, is an answer: who put it
    /// there can take it away.
    ///
    /// # Errors
    /// [`NothingToMeasure`] if nobody answers; it tells who does elsewhere.
    pub fn survey(&mut self) -> Result<(), NothingToMeasure> {
        let mut messages = Vec::new();
        let mut stuck = BTreeSet::new();
        for sensor in &self.sensors {
            let number = sensor.plan.bus;
            let Some(bus) = self
                .opened
                .get_mut(&number)
                .filter(|_| !stuck.contains(&number))
            else {
                continue;
            };
            let bus = bus.as_mut();
            let mut multiplexers = multiplexers(&self.sensors, number);
            let mut attempt = || identify(bus, &mut multiplexers, &sensor.plan);
            match attempt().or_else(|failure| {
                if failure.stuck {
                    Err(failure)
                } else {
                    attempt()
                }
            }) {
                Ok(()) => return Ok(()),
                Err(failure) => {
                    messages.push(format!("{}: {}", self.name(&sensor.plan), failure.why));
                    // Each further question would cost the adapter's timeout.
                    if failure.stuck {
                        stuck.insert(number);
                    }
                }
            }
        }
        for (number, bus) in &mut self.opened {
            messages.push(if stuck.contains(number) {
                format!("bus {number} is stuck; nobody else was looked for on it")
            } else {
                match answering(bus.as_mut()) {
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
fn multiplexers(sensors: &[Sensor], bus: u8) -> Multiplexers {
    let on_bus = sensors.iter().filter(|sensor| sensor.plan.bus == bus);
    Multiplexers::new(on_bus.filter_map(|sensor| sensor.plan.mux))
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
        && let Err(failure) = multiplexers.close(bus)
    {
        debug!("bus {}: {failure}", sensor.bus);
    }
    outcome
}

fn ask(
    bus: &mut dyn Bus,
    multiplexers: &mut Multiplexers,
    sensor: &SensorPlan,
) -> Result<(), Unidentified> {
    if let Some(channel) = sensor.mux {
        multiplexers
            .select(bus, channel)
            .map_err(|failure| Unidentified {
                why: failure.to_string(),
                stuck: failure.is_timeout(),
            })?;
    }
    ina260::identify(bus, sensor.address)
        .map(drop)
        .or_else(|error| {
            if error.is_an_answer() {
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
fn answering(bus: &mut dyn Bus) -> Vec<String> {
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
