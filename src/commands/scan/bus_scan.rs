//! Scan of a bus: its devices, those downstream of its muxes, and those of a running service.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::clock::SystemClock;
use crate::commands::mux_guard::{MuxGuard, probe_muxes};
use crate::commands::running_exporter::RunningExporter;
use crate::i2c::adapters::{Adapters, KernelMux};
use crate::i2c::mux::Channel;
use crate::i2c::{self, Address, Bus, BusName, ErrorKind, Location, Retry};
use crate::ina260::{self, Error};

/// A device that responds, or is claimed by a kernel driver.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) location: Location,
    pub(super) kind: DeviceKind,
    /// Name in the configuration or in the service's metrics.
    pub(super) name: Option<String>,
}

#[derive(Debug, strum::Display)]
pub(super) enum DeviceKind {
    #[strum(to_string = "INA260, die {die:#06x}")]
    Ina260 { die: u16 },
    /// Downstream of a mux, according to the metrics of the service.
    #[strum(to_string = "INA260, responds to the service")]
    Served,
    #[strum(to_string = "INA260, does not respond to the service")]
    ServedDown,
    /// Another chip, an INA260 claimed by a kernel driver, or a failure other than no acknowledge.
    #[strum(to_string = "{0}")]
    Unusable(Error),
}

/// Reason why a scan ended early.
enum Stopped {
    /// The bus is stuck: each further transfer would cost the adapter's timeout.
    Stuck,
    /// The user asked for it.
    Requested,
}

const STUCK: &str = " is stuck (a transfer timed out); disconnect its chips one by one, including \
                     unpowered ones";

/// Called before each address. Returns whether to go on.
type Step<'a> = &'a mut dyn FnMut(Location) -> bool;

/// Probes every address that an INA260 can have, and adds the `devices` found.
fn probe(
    bus: &mut dyn Bus,
    name: BusName,
    mux: Option<Channel>,
    devices: &mut Vec<Device>,
    step: Step,
) -> Result<(), Stopped> {
    for address in ina260::ADDRESSES.map(Address) {
        let location = Location { bus: name, mux, address };
        if !step(location) {
            return Err(Stopped::Requested);
        }
        let kind = match ina260::identify(bus, address) {
            Ok(die) => DeviceKind::Ina260 { die },
            Err(error) if i2c::is_timeout(&error) => return Err(Stopped::Stuck),
            Err(Error::Read { source, .. }) if source.kind == ErrorKind::Nack => continue,
            Err(error) => DeviceKind::Unusable(error),
        };
        devices.push(Device { location, kind, name: None });
    }
    Ok(())
}

#[derive(Debug)]
pub(super) struct BusReport {
    pub(super) bus: BusName,
    /// Name of the adapter.
    pub(super) name: String,
    /// Name of the program that uses the bus.
    pub(super) in_use: Option<String>,
    pub(super) devices: Vec<Device>,
    pub(super) problems: Vec<String>,
}

impl BusReport {
    pub(super) fn new(bus: BusName, name: String) -> Self {
        Self { bus, name, in_use: None, devices: Vec::new(), problems: Vec::new() }
    }

    pub(super) fn add_problem(&mut self, after_bus: &str) {
        self.problems.push(format!("bus {}{after_bus}", self.bus));
    }

    /// Scans the bus and, `with_mux`, downstream of its muxes, unless a service uses it. If `step`
    /// ends the scan, the devices found until then are kept.
    pub(super) fn scan(
        &mut self,
        bus: &mut dyn Bus,
        with_mux: bool,
        service: Option<&RunningExporter>,
        step: Step,
    ) {
        let bus = &mut Retry::new(bus, &SystemClock, Instant::now());
        match probe(bus, self.bus, None, &mut self.devices, step) {
            Ok(()) => {}
            Err(Stopped::Requested) => return,
            Err(Stopped::Stuck) => {
                self.devices.clear();
                return self.add_problem(STUCK);
            }
        }
        if let Some(service) = service {
            self.in_use = Some(service.name.clone());
            self.add_served(service);
            self.problems.extend(with_mux.then(|| service.refusal(self.bus)));
        } else if with_mux && let Err(problem) = self.scan_muxes(bus, step) {
            self.add_problem(&problem);
        }
    }

    /// Names the service's sensors, and adds those downstream of its muxes. Devices on the channel
    /// that the service has selected at the moment also appear on the bus itself, and are removed.
    fn add_served(&mut self, service: &RunningExporter) {
        if let Err(error) = &service.sensors {
            self.add_problem(&format!(": sensors of the service are unknown ({error})"));
        }
        let adapters = Adapters::read();
        for sensor in service.sensors.iter().flatten() {
            let location = sensor.location().map(|it| adapters.numbered(it));
            let Some(location) = location.filter(|it| it.bus == self.bus) else { continue };
            let name = Some(sensor.label("device").to_owned());
            if location.mux.is_some() {
                self.devices.retain(|it| !it.location.is_joined_to(&location));
                let kind = if sensor.up { DeviceKind::Served } else { DeviceKind::ServedDown };
                self.devices.push(Device { location, kind, name });
            } else if let Some(device) = self.devices.iter_mut().find(|it| it.location == location)
            {
                device.name = name;
            }
        }
        self.devices.sort_by_key(|device| device.location);
    }

    /// Scans each channel of each mux and restores the muxes. Returns a problem that ends the scan.
    fn scan_muxes(&mut self, bus: &mut dyn Bus, step: Step) -> Result<(), String> {
        let number = self.bus;
        let (muxes, others) =
            probe_muxes(bus).map_err(|error| format!(": cannot probe for muxes: {error}"))?;
        self.problems.extend(others.iter().map(|other| format!("bus {number}, {other}")));
        let mut guard = MuxGuard::new(bus, &muxes).map_err(|error| format!(", {error}"))?;
        // Devices that respond with all channels deselected are upstream; the first probe may also
        // have found some downstream of a selected channel.
        let mut devices = Vec::new();
        match probe(guard.bus, number, None, &mut devices, step) {
            Ok(()) => self.devices = devices,
            Err(Stopped::Requested) => return Ok(()),
            Err(Stopped::Stuck) => return Err(STUCK.to_owned()),
        }
        let of_mux = |multiplexer| (0..8).map(move |channel| Channel { multiplexer, channel });
        for channel in muxes.into_iter().flat_map(of_mux) {
            let mut devices = Vec::new();
            let probe = |bus: &mut dyn Bus| probe(bus, number, Some(channel), &mut devices, step);
            let probed = guard.on_channel(channel, probe);
            if let Ok(Ok(()) | Err(Stopped::Requested)) = probed {
                // A device upstream responds on every channel.
                devices.retain(|device| {
                    !self.devices.iter().any(|it| it.location.is_joined_to(&device.location))
                });
                self.devices.append(&mut devices);
            }
            match probed {
                Ok(Ok(())) => {}
                Ok(Err(Stopped::Requested)) => break,
                Ok(Err(Stopped::Stuck)) => self.add_problem(&format!(
                    ", mux {channel}: a transfer timed out; a chip downstream of this channel \
                     holds the bus"
                )),
                Err(error) => {
                    let problem = format!(", mux {channel}: not scanned ({error})");
                    if i2c::is_timeout(&error) {
                        return Err(problem);
                    }
                    self.add_problem(&problem);
                }
            }
        }
        Ok(())
    }
}

/// Keeps each chip once: a mux that the kernel controls joins its selected channel to the wires
/// upstream. A chip is kept on the bus downstream, unless it responds on all channels.
pub(super) fn keep_once(reports: &mut [BusReport], muxes: &[KernelMux]) {
    // Locations to remove: on the bus upstream if the chip is downstream, and the reverse.
    let (mut surplus, mut repeated) = (BTreeSet::new(), BTreeSet::new());
    for KernelMux { name, bus, channels, disconnects } in muxes {
        let scanned = reports.iter().filter(|report| channels.contains(&report.bus));
        let count = scanned.clone().count();
        let found = scanned.flat_map(|report| &report.devices).map(|device| device.location);
        let found: Vec<Location> = found.collect();
        let upstream = reports.iter_mut().find(|report| report.bus == *bus);
        let Some(BusReport { devices, problems, .. }) = upstream else { continue };
        for device in devices.iter().filter(|device| device.location.mux.is_none()) {
            let is_same = |it: &&Location| **it == Location { bus: it.bus, ..device.location };
            let downstream: Vec<&Location> = found.iter().filter(is_same).collect();
            let is_upstream = *disconnects
                || matches!(device.kind, DeviceKind::Unusable(Error::Bound(_) | Error::InUse(_)))
                || repeated.contains(&device.location);
            let on_all = downstream.len() > 1 && downstream.len() == count;
            if on_all && !is_upstream {
                problems.push(format!(
                    "{}: also responds on all channels of mux {name}; if each channel has its own \
                     chip, write -2 to /sys/bus/i2c/devices/{name}/idle_state and scan again",
                    device.location
                ));
            }
            if is_upstream || on_all {
                repeated.extend(downstream);
            } else if !downstream.is_empty() {
                surplus.insert(device.location);
            }
        }
    }
    surplus.append(&mut repeated);
    for report in reports {
        report.devices.retain(|device| !surplus.contains(&device.location));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two muxes on bus 1, with buses 2 and 3 and with buses 4 and 5; one on bus 2, with bus 6.
    fn muxes(disconnects: bool) -> Vec<KernelMux> {
        let mux = |name: &str, bus: u8, channels: &[u8]| KernelMux {
            name: name.to_owned(),
            bus: bus.into(),
            channels: channels.iter().copied().map(BusName::from).collect(),
            disconnects,
        };
        vec![mux("1-0070", 1, &[2, 3]), mux("1-0071", 1, &[4, 5]), mux("2-0072", 2, &[6])]
    }

    /// Returns the buses on which a chip remains listed, of those on which it responds.
    fn left(disconnects: bool, responds: &[u8]) -> Vec<u8> {
        let mut reports: Vec<BusReport> = (1..=6)
            .map(|bus: u8| {
                let mut report = BusReport::new(bus.into(), String::new());
                if responds.contains(&bus) {
                    report.devices.push(Device {
                        location: Location { bus: bus.into(), mux: None, address: Address(0x40) },
                        kind: DeviceKind::Ina260 { die: 0x2270 },
                        name: None,
                    });
                }
                report
            })
            .collect();
        keep_once(&mut reports, &muxes(disconnects));
        (1..=6).zip(&reports).filter(|(_, it)| !it.devices.is_empty()).map(|(bus, _)| bus).collect()
    }

    #[test]
    fn chip_on_a_selected_channel_is_listed_downstream() {
        assert_eq!(left(false, &[1, 2]), [2]);
        assert_eq!(left(false, &[1, 2, 6]), [6], "nested");
        // The channel of the second mux was selected during the whole scan of the first.
        assert_eq!(left(false, &[1, 2, 3, 4]), [4]);
    }

    #[test]
    fn chip_upstream_of_a_kernel_mux_is_listed_upstream() {
        assert_eq!(left(false, &[1, 2, 3, 4, 5, 6]), [1]);
        assert_eq!(left(true, &[1, 2]), [1], "the mux disconnects");
    }

    #[test]
    fn chips_on_deselected_channels_are_all_listed() {
        assert_eq!(left(false, &[2, 3]), [2, 3]);
        assert_eq!(left(false, &[1]), [1]);
    }
}
