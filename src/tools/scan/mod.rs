//! `scan`: who answers on which bus. Identity registers are read; only multiplexers are written, and only when asked.

use std::time::Duration;

use super::service::Service;
use super::switch::{Neighbour, Switch, neighbours};
use super::{Caller, Failure, Progress, source};
use crate::bus::adapters::{Adapter, adapters};
use crate::bus::mux::Channel;
use crate::bus::{Address, Bus};
use crate::config::{self, Loaded, Plan, ScanFlags};
use crate::station::{Place as Socket, Source};
use crate::tools::place::Place;

mod json;
mod probe;
mod table;
#[cfg(test)]
mod tests;
mod toml;

pub use probe::{Answer, Ended, Found, probe};

/// What was found on a bus.
#[derive(Debug)]
pub struct Report {
    /// Which.
    pub adapter: Adapter,
    /// Who uses it, if somebody does.
    pub in_use: Option<String>,
    /// Who answers.
    pub found: Vec<Found>,
    /// What stood in the way; each sentence says what to do next.
    pub problems: Vec<String>,
}

impl Report {
    fn new(adapter: Adapter) -> Self {
        Self {
            adapter,
            in_use: None,
            found: Vec::new(),
            problems: Vec::new(),
        }
    }
}

/// Looks on every bus, or the one that was named, and writes what it found.
///
/// # Errors
/// [`Failure::Nothing`] where there is no bus, or no INA260 on any.
pub fn run(flags: &ScanFlags, caller: Caller<'_>) -> Result<(), Failure> {
    // A scan is also for whoever has no configuration that works yet.
    let loaded = config::load(&flags.of_the_daemon(), config::environment());
    let (loaded, problems) = match loaded {
        Ok(loaded) => (loaded, None),
        Err(problems) => (config::load_alone(&simulated(flags))?, Some(problems)),
    };
    let mut source = source(&loaded.plan)?;
    let buses = buses(flags.bus, &source, &loaded.plan);
    let mut progress = Progress::new(caller.progress);
    let mut reports = Vec::new();
    let mut ended = false;
    let count = buses.len();
    for (index, adapter) in buses.into_iter().enumerate() {
        if ended {
            break;
        }
        let bus = adapter.number;
        let mut step = |what: String| {
            progress.show(&format!("bus {bus} ({} of {count}): {what}", index + 1));
            ended = ended || (caller.stop)(Duration::ZERO);
            !ended
        };
        reports.push(look(
            adapter,
            flags.mux,
            &mut source,
            &loaded.plan,
            &mut step,
        ));
    }
    drop(progress);
    if problems.is_none() {
        name(&mut reports, &loaded.plan);
    }
    if flags.json {
        json::write(&reports, caller.output)?;
    } else if flags.toml {
        toml::write(&reports, flags, &loaded, caller.output)?;
    } else {
        table::write(&reports, caller.output)?;
    }
    if ended {
        return Ok(());
    }
    verdict(&reports, flags, problems.is_some())
}

fn simulated(flags: &ScanFlags) -> config::Flags {
    config::Flags {
        config: None,
        ..flags.of_the_daemon()
    }
}

/// The buses to look on. One that was named is looked for, whether or not the kernel lists it.
fn buses(only: Option<u8>, source: &Source, plan: &Plan) -> Vec<Adapter> {
    let mut buses = if source.is_simulated() {
        let mut numbers: Vec<u8> = plan.sensors.iter().map(|sensor| sensor.bus).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let simulated = |number| Adapter {
            number,
            name: "simulated".to_owned(),
        };
        numbers.into_iter().map(simulated).collect()
    } else {
        adapters()
    };
    if let Some(number) = only {
        buses.retain(|adapter| adapter.number == number);
        if buses.is_empty() {
            buses.push(Adapter {
                number,
                name: String::new(),
            });
        }
    }
    buses
}

fn look(
    adapter: Adapter,
    with_mux: bool,
    source: &mut Source,
    plan: &Plan,
    step: &mut dyn FnMut(String) -> bool,
) -> Report {
    let number = adapter.number;
    let mut report = Report::new(adapter);
    let sockets: Vec<Socket> = plan
        .sensors
        .iter()
        .filter(|sensor| sensor.bus == number)
        .map(|sensor| (sensor.mux, sensor.address))
        .collect();
    let mut bus = match source.open(number, &sockets) {
        Ok(bus) => bus,
        Err(error) => {
            report.problems.push(error.to_string());
            return report;
        }
    };
    let service = if source.is_simulated() {
        None
    } else {
        Service::of(number)
    };
    look_around(&mut report, bus.as_mut(), with_mux, service.as_ref(), step);
    report
}

/// All that can be seen on one bus.
fn look_around(
    report: &mut Report,
    bus: &mut dyn Bus,
    with_mux: bool,
    service: Option<&Service>,
    step: &mut dyn FnMut(String) -> bool,
) {
    let number = report.adapter.number;
    match probe(bus, None, &mut |address| step(address.to_string())) {
        Ok(found) => report.found = found,
        Err(Ended::Stuck) => {
            report.problems.push(format!(
                "bus {number} is stuck: a transfer timed out; take chips off it one by one, an unpowered one holds it, too"
            ));
            return;
        }
        Err(Ended::Asked) => return,
    }
    if let Some(service) = service {
        report.in_use = Some(service.name());
        served(report, service);
        if with_mux {
            report.problems.push(service.refusal(number));
        }
    } else if with_mux {
        behind(report, bus, step);
    }
}

/// What the service says of its sensors. A channel that it has open shows its chips on the bus itself: these are the service's.
fn served(report: &mut Report, service: &Service) {
    let number = report.adapter.number;
    let sensors = match &service.sensors {
        Ok(sensors) => sensors,
        Err(why) => {
            report
                .problems
                .push(format!("the service's sensors are not known: {why}"));
            return;
        }
    };
    for sensor in sensors.iter().filter(|sensor| sensor.place.bus == number) {
        let Place {
            channel, address, ..
        } = sensor.place;
        if channel.is_none() {
            for found in &mut report.found {
                if found.address == address {
                    found.device = Some(sensor.device.clone());
                }
            }
            continue;
        }
        report
            .found
            .retain(|found| found.channel.is_some() || found.address != address);
        report.found.push(Found {
            channel,
            address,
            answer: Answer::Served { up: sensor.up },
            device: Some(sensor.device.clone()),
        });
    }
    report
        .found
        .sort_by_key(|found| (found.channel, found.address));
}

/// Looks behind each channel of each multiplexer, and leaves them as they were.
fn behind(report: &mut Report, bus: &mut dyn Bus, step: &mut dyn FnMut(String) -> bool) {
    let number = report.adapter.number;
    let neighbours = match neighbours(bus) {
        Ok(neighbours) => neighbours,
        Err(error) => {
            report
                .problems
                .push(format!("bus {number}, looking for multiplexers: {error}"));
            return;
        }
    };
    let mut multiplexers = Vec::new();
    for (address, neighbour) in neighbours {
        match neighbour {
            Neighbour::Multiplexer => multiplexers.push(address),
            Neighbour::Other => report.problems.push(format!(
                "bus {number}: the chip at {address} is not a TCA9548A; it does not keep what is written to it"
            )),
            Neighbour::Driver(owner) => report
                .problems
                .push(format!("bus {number}, multiplexer {address}: {owner}")),
        }
    }
    let mut switch = match Switch::of(bus, &multiplexers) {
        Ok(switch) => switch,
        Err(failure) => {
            report.problems.push(format!("bus {number}, {failure}"));
            return;
        }
    };
    // What answers with every channel closed hides what is behind them at its address. What does not was behind an open one.
    let trunk = probe(bus, None, &mut |address| step(address.to_string()));
    let channels = multiplexers.iter().flat_map(|multiplexer| {
        (0..8).map(|channel| Channel {
            multiplexer: *multiplexer,
            channel,
        })
    });
    if let Ok(found) = trunk {
        report.found = found;
        for channel in channels {
            if !look_behind(report, bus, &mut switch, channel, step) {
                break;
            }
        }
    }
    switch.restore(bus);
}

/// Tells whether to go on.
fn look_behind(
    report: &mut Report,
    bus: &mut dyn Bus,
    switch: &mut Switch,
    channel: Channel,
    step: &mut dyn FnMut(String) -> bool,
) -> bool {
    let number = report.adapter.number;
    let mut step = |address: Address| step(format!("mux {channel}, {address}"));
    let seen = switch.behind(bus, channel, |bus| probe(bus, Some(channel), &mut step));
    match seen {
        Ok(Ok(mut found)) => {
            let on_the_trunk = |found: &Found| {
                let hides =
                    |other: &Found| other.channel.is_none() && other.address == found.address;
                report.found.iter().any(hides)
            };
            found.retain(|found| !on_the_trunk(found));
            report.found.append(&mut found);
            true
        }
        Ok(Err(Ended::Asked)) => false,
        Ok(Err(Ended::Stuck)) => {
            report.problems.push(format!(
                "bus {number}, mux {channel}: a transfer timed out; what is behind this channel holds the bus"
            ));
            true
        }
        Err(failure) => {
            report
                .problems
                .push(format!("bus {number}, mux {channel}: {failure}"));
            !failure.is_timeout()
        }
    }
}

/// Gives what was found the names that it has in the configuration.
fn name(reports: &mut [Report], plan: &Plan) {
    for report in reports {
        let bus = report.adapter.number;
        for found in &mut report.found {
            let place = place(bus, found);
            let mut sensors = plan.sensors.iter();
            let known = sensors.find(|sensor| Place::from(*sensor) == place);
            if let (Some(known), None) = (known, &found.device) {
                found.device = Some(known.device.clone());
            }
        }
    }
}

fn place(bus: u8, found: &Found) -> Place {
    Place {
        bus,
        channel: found.channel,
        address: found.address,
    }
}

/// Whether what was asked for could be done.
fn verdict(reports: &[Report], flags: &ScanFlags, is_misconfigured: bool) -> Result<(), Failure> {
    let problems = reports.iter().flat_map(|report| &report.problems);
    let is_complete = problems.clone().next().is_none();
    // A table and JSON have them.
    let mut messages: Vec<String> = if flags.toml {
        problems.cloned().collect()
    } else {
        Vec::new()
    };
    if is_misconfigured {
        messages.push(
            "the configuration has problems, so that its sensors' names are not known; \
             `ina260-exporter --check-config` tells them"
                .to_owned(),
        );
    }
    let found = reports.iter().flat_map(|report| &report.found);
    if found.clone().any(|found| found.answer.is_ina260()) {
        // A bus that is not for us is no reason to complain, unless it was asked for.
        let is_asked = flags.bus.is_some() || flags.mux;
        return if is_misconfigured || (is_asked && !is_complete) {
            Err(Failure::Partly(messages))
        } else {
            Ok(())
        };
    }
    if reports.is_empty() {
        messages.push(
            "there is no I2C bus; enable I2C with `sudo raspi-config nonint do_i2c 0`, or with dtparam=i2c_arm=on in config.txt \
             and a reboot"
                .to_owned(),
        );
    } else if is_complete {
        let mux = if flags.mux {
            ""
        } else {
            "; if it is behind a TCA9548A, look there with `--mux`"
        };
        messages.push(format!(
            "no INA260 answers: check its supply (VS), ground, SDA and SCL{mux}"
        ));
    }
    Err(Failure::Nothing(messages))
}

/// A configuration that others can be added to, and places that are in it already.
fn known(loaded: &Loaded) -> Vec<Place> {
    if loaded.with_tables {
        loaded.plan.sensors.iter().map(Place::from).collect()
    } else {
        Vec::new()
    }
}
