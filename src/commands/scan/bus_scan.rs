//! Scan of one bus: its devices, those downstream of its muxes, and those of a running service.

use super::probe::{Device, DeviceKind, Stopped, probe};
use crate::commands::mux_guard::{MuxGuard, MuxProbe, probe_muxes};
use crate::commands::running_exporter::RunningExporter;
use crate::i2c::adapters::Adapter;
use crate::i2c::mux::Channel;
use crate::i2c::{Bus, Location};

/// Result of the scan of one bus.
#[derive(Debug)]
pub(super) struct BusReport {
    pub(super) adapter: Adapter,
    /// Name of the program that uses the bus.
    pub(super) in_use: Option<String>,
    pub(super) devices: Vec<Device>,
    /// Messages, each with what to do next.
    pub(super) problems: Vec<String>,
}

impl BusReport {
    pub(super) fn new(adapter: Adapter) -> Self {
        Self {
            adapter,
            in_use: None,
            devices: Vec::new(),
            problems: Vec::new(),
        }
    }
}

/// Scan of one bus.
pub(super) struct BusScan<'a> {
    pub(super) report: &'a mut BusReport,
    pub(super) bus: &'a mut dyn Bus,
    /// Called before each address. Returns whether to go on.
    pub(super) step: &'a mut dyn FnMut(Location) -> bool,
}

impl BusScan<'_> {
    /// Scans the bus and, `with_mux`, downstream of its muxes, unless a service uses it.
    pub(super) fn run(&mut self, with_mux: bool, service: Option<&RunningExporter>) {
        let number = self.number();
        match self.probe() {
            Ok(devices) => self.report.devices = devices,
            Err(Stopped::Stuck) => {
                return self.problem(format!(
                    "bus {number} is stuck (a transfer timed out); disconnect its chips one by \
                     one, including unpowered ones"
                ));
            }
            Err(Stopped::Requested) => return,
        }
        if let Some(service) = service {
            self.report.in_use = Some(service.name());
            self.add_served(service);
            if with_mux {
                self.problem(service.refusal(number));
            }
        } else if with_mux {
            self.scan_muxes();
        }
    }

    fn number(&self) -> u8 {
        self.report.adapter.number
    }

    fn problem(&mut self, message: String) {
        self.report.problems.push(message);
    }

    fn probe(&mut self) -> Result<Vec<Device>, Stopped> {
        let number = self.number();
        probe(self.bus, number, None, self.step)
    }

    /// Names the service's sensors, and adds those downstream of its muxes. The channel that the
    /// service has selected at the moment makes its devices appear on the bus itself; these are
    /// removed.
    fn add_served(&mut self, service: &RunningExporter) {
        let number = self.number();
        let sensors = match &service.sensors {
            Ok(sensors) => sensors,
            Err(error) => {
                return self.problem(format!(
                    "bus {number}: sensors of the service are unknown ({error})"
                ));
            }
        };
        let devices = &mut self.report.devices;
        for sensor in sensors {
            let Some(location) = sensor.location().filter(|it| it.bus == number) else {
                continue;
            };
            let name = Some(sensor.label("device").to_owned());
            if location.mux.is_none() {
                let known = devices.iter_mut().find(|it| it.location == location);
                if let Some(device) = known {
                    device.name = name;
                }
                continue;
            }
            devices
                .retain(|it| it.location.mux.is_some() || it.location.address != location.address);
            devices.push(Device {
                location,
                kind: DeviceKind::Served { up: sensor.up },
                name,
            });
        }
        devices.sort_by_key(|device| device.location);
    }

    /// Scans downstream of each channel of each mux, and restores the muxes.
    fn scan_muxes(&mut self) {
        let number = self.number();
        let probed = match probe_muxes(self.bus) {
            Ok(probed) => probed,
            Err(error) => {
                return self.problem(format!("bus {number}: cannot probe for muxes: {error}"));
            }
        };
        let mut muxes = Vec::new();
        for (address, probed) in probed {
            match probed {
                MuxProbe::Mux => muxes.push(address),
                MuxProbe::Other => self.problem(format!(
                    "bus {number}, {address}: not a TCA9548A (does not retain what is written)"
                )),
                MuxProbe::Bound(driver) => {
                    self.problem(format!("bus {number}, mux {address}: {driver}"));
                }
            }
        }
        let mut guard = match MuxGuard::new(self.bus, &muxes) {
            Ok(guard) => guard,
            Err(error) => return self.problem(format!("bus {number}, {error}")),
        };
        // Devices that respond with all channels deselected are upstream; the first probe may also
        // have found some downstream of a selected channel.
        if let Ok(devices) = self.probe() {
            self.report.devices = devices;
            let channels = muxes.iter().flat_map(|&multiplexer| {
                (0..8).map(move |channel| Channel {
                    multiplexer,
                    channel,
                })
            });
            for channel in channels {
                if !self.scan_channel(&mut guard, channel) {
                    break;
                }
            }
        }
        guard.restore(self.bus);
    }

    /// Scans downstream of a channel. Returns whether to go on.
    fn scan_channel(&mut self, guard: &mut MuxGuard, channel: Channel) -> bool {
        let number = self.number();
        let step = &mut *self.step;
        let probed = guard.on_channel(self.bus, channel, |bus| {
            probe(bus, number, Some(channel), step)
        });
        match probed {
            Ok(Ok(mut devices)) => {
                let known = &mut self.report.devices;
                // A device upstream responds on every channel.
                devices.retain(|device| {
                    let is_upstream = |it: &Device| it.location.is_joined_to(&device.location);
                    !known.iter().any(is_upstream)
                });
                known.append(&mut devices);
                true
            }
            Ok(Err(Stopped::Requested)) => false,
            Ok(Err(Stopped::Stuck)) => {
                self.problem(format!(
                    "bus {number}, mux {channel}: a transfer timed out; a chip downstream of this \
                     channel holds the bus"
                ));
                true
            }
            Err(error) => {
                self.problem(format!(
                    "bus {number}, mux {channel}: not scanned ({error})"
                ));
                !error.is_timeout()
            }
        }
    }
}
