//! Scan of one bus: its devices, those downstream of its muxes, and those of a running service.

use super::probe::{Device, DeviceKind, Step, Stopped, probe};
use crate::commands::mux_guard::{MuxGuard, probe_muxes};
use crate::commands::running_exporter::RunningExporter;
use crate::i2c::adapters::Adapters;
use crate::i2c::mux::Channel;
use crate::i2c::{Bus, BusName};

/// Result of the scan of one bus.
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

    /// Scans the bus and, `with_mux`, downstream of its muxes, unless a service uses it.
    pub(super) fn scan(
        &mut self,
        bus: &mut dyn Bus,
        with_mux: bool,
        service: Option<&RunningExporter>,
        step: Step,
    ) {
        let number = self.bus;
        match probe(bus, number, None, step) {
            Ok(devices) => self.devices = devices,
            Err(Stopped::Stuck) => {
                return self.problems.push(format!(
                    "bus {number} is stuck (a transfer timed out); disconnect its chips one by \
                     one, including unpowered ones"
                ));
            }
            Err(Stopped::Requested) => return,
        }
        if let Some(service) = service {
            self.in_use = Some(service.name());
            self.add_served(service);
            if with_mux {
                self.problems.push(service.refusal(number));
            }
        } else if with_mux {
            self.scan_muxes(bus, step);
        }
    }

    /// Names the service's sensors, and adds those downstream of its muxes. The channel that the
    /// service has selected at the moment makes its devices appear on the bus itself; these are
    /// removed.
    fn add_served(&mut self, service: &RunningExporter) {
        let number = self.bus;
        let sensors = match &service.sensors {
            Ok(sensors) => sensors,
            Err(error) => {
                return self
                    .problems
                    .push(format!("bus {number}: sensors of the service are unknown ({error})"));
            }
        };
        let adapters = Adapters::read();
        for sensor in sensors {
            let location = sensor.location().map(|location| adapters.numbered(location));
            let Some(location) = location.filter(|it| it.bus == number) else {
                continue;
            };
            let name = Some(sensor.label("device").to_owned());
            if location.mux.is_none() {
                let mut devices = self.devices.iter_mut();
                if let Some(device) = devices.find(|it| it.location == location) {
                    device.name = name;
                }
                continue;
            }
            self.devices
                .retain(|it| it.location.mux.is_some() || !it.location.is_joined_to(&location));
            self.devices.push(Device {
                location,
                kind: DeviceKind::Served { up: sensor.up },
                name,
            });
        }
        self.devices.sort_by_key(|device| device.location);
    }

    /// Scans downstream of each channel of each mux, and restores the muxes.
    fn scan_muxes(&mut self, bus: &mut dyn Bus, step: Step) {
        let number = self.bus;
        let (muxes, others) = match probe_muxes(bus) {
            Ok(found) => found,
            Err(error) => {
                let problem = format!("bus {number}: cannot probe for muxes: {error}");
                return self.problems.push(problem);
            }
        };
        self.problems.extend(others.iter().map(|other| format!("bus {number}, {other}")));
        let mut guard = match MuxGuard::new(bus, &muxes) {
            Ok(guard) => guard,
            Err(error) => return self.problems.push(format!("bus {number}, {error}")),
        };
        // Devices that respond with all channels deselected are upstream; the first probe may also
        // have found some downstream of a selected channel.
        let Ok(devices) = probe(guard.bus(), number, None, step) else {
            return;
        };
        self.devices = devices;
        let channels =
            muxes.iter().flat_map(|&multiplexer| (0..8).map(move |channel| (multiplexer, channel)));
        for (multiplexer, channel) in channels {
            let channel = Channel { multiplexer, channel };
            if !self.scan_channel(&mut guard, channel, step) {
                break;
            }
        }
    }

    /// Scans downstream of a channel. Returns whether to go on.
    fn scan_channel(&mut self, guard: &mut MuxGuard, channel: Channel, step: Step) -> bool {
        let number = self.bus;
        let probed = guard.on_channel(channel, |bus| probe(bus, number, Some(channel), step));
        let (problem, go_on) = match probed {
            Ok(Ok(mut devices)) => {
                // A device upstream responds on every channel.
                devices.retain(|device| {
                    let is_upstream = |it: &Device| it.location.is_joined_to(&device.location);
                    !self.devices.iter().any(is_upstream)
                });
                self.devices.append(&mut devices);
                return true;
            }
            Ok(Err(Stopped::Requested)) => return false,
            Ok(Err(Stopped::Stuck)) => {
                let cause = "a transfer timed out; a chip downstream of this channel holds the bus";
                (cause.to_owned(), true)
            }
            Err(error) => (format!("not scanned ({error})"), !error.is_timeout()),
        };
        self.problems.push(format!("bus {number}, mux {channel}: {problem}"));
        go_on
    }
}
