//! One bus: who is on it, who is behind its multiplexers, and what the service says that uses it.

use super::{Answer, Ended, Found, Report, probe};
use crate::commands::mux_guard::{MuxGuard, MuxProbe, probe_muxes};
use crate::commands::running_exporter::RunningExporter;
use crate::i2c::Location;
use crate::i2c::mux::Channel;
use crate::i2c::{Address, Bus};

/// All that can be seen on one bus.
pub(super) fn scan_bus(
    report: &mut Report,
    bus: &mut dyn Bus,
    with_mux: bool,
    service: Option<&RunningExporter>,
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
fn served(report: &mut Report, service: &RunningExporter) {
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
    for sensor in sensors {
        let Some(Location {
            bus,
            mux: channel,
            address,
        }) = sensor.location()
        else {
            continue;
        };
        if bus != number {
            continue;
        }
        if channel.is_none() {
            for found in &mut report.found {
                if found.address == address {
                    found.device = Some(sensor.label("device").to_owned());
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
            answer: Answer::ScrapedSensor { up: sensor.up },
            device: Some(sensor.label("device").to_owned()),
        });
    }
    report
        .found
        .sort_by_key(|found| (found.channel, found.address));
}

/// Looks behind each channel of each multiplexer, and leaves them as they were.
fn behind(report: &mut Report, bus: &mut dyn Bus, step: &mut dyn FnMut(String) -> bool) {
    let number = report.adapter.number;
    let neighbours = match probe_muxes(bus) {
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
            MuxProbe::Multiplexer => multiplexers.push(address),
            MuxProbe::Other => report.problems.push(format!(
                "bus {number}: the chip at {address} is not a TCA9548A; it does not keep what is written to it"
            )),
            MuxProbe::Driver(owner) => report
                .problems
                .push(format!("bus {number}, multiplexer {address}: {owner}")),
        }
    }
    let mut switch = match MuxGuard::of(bus, &multiplexers) {
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
    switch: &mut MuxGuard,
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
