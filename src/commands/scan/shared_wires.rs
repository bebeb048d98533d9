//! Chips that respond on several buses: a mux that the kernel controls joins the wires of its
//! selected channel to those upstream.

use std::collections::BTreeSet;

use super::bus_scan::{BusReport, DeviceKind};
use crate::i2c::Location;
use crate::i2c::adapters::KernelMux;
use crate::ina260::Error;

/// Keeps each chip once, on the bus downstream; a chip that responds on all channels of a mux is
/// upstream of it.
pub(super) fn keep_once(reports: &mut [BusReport], muxes: &[KernelMux]) {
    // Locations to remove: on the bus upstream if the chip is downstream, and the reverse.
    let (mut surplus, mut repeated) = (BTreeSet::new(), BTreeSet::new());
    let mut notes = Vec::new();
    for KernelMux { name, bus, channels, disconnects } in muxes {
        let scanned = reports.iter().filter(|report| channels.contains(&report.bus));
        let scanned: Vec<&BusReport> = scanned.collect();
        let Some(upstream) = reports.iter().find(|report| report.bus == *bus) else { continue };
        for device in upstream.devices.iter().filter(|device| device.location.mux.is_none()) {
            let downstream = scanned.iter().flat_map(|report| &report.devices);
            let downstream: Vec<Location> = downstream
                .map(|it| it.location)
                .filter(|it| *it == Location { bus: it.bus, ..device.location })
                .collect();
            if downstream.is_empty() {
                continue;
            }
            let is_known = *disconnects
                || matches!(device.kind, DeviceKind::Unusable(Error::Bound(_) | Error::InUse(_)))
                || repeated.contains(&device.location);
            let on_all = downstream.len() > 1 && downstream.len() == scanned.len();
            if !is_known && !on_all {
                surplus.insert(device.location);
                continue;
            }
            if !is_known {
                let note = format!(
                    "{}: also responds on all channels of mux {name}; if each channel has its own \
                     chip, write -2 to /sys/bus/i2c/devices/{name}/idle_state and scan again",
                    device.location
                );
                notes.push((*bus, note));
            }
            repeated.extend(downstream);
        }
    }
    surplus.append(&mut repeated);
    for report in reports {
        report.devices.retain(|device| !surplus.contains(&device.location));
        let notes = notes.iter().filter(|(bus, _)| *bus == report.bus);
        report.problems.extend(notes.map(|(_, note)| note.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::bus_scan::Device;
    use super::*;
    use crate::i2c::{Address, BusName};

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

    /// Returns the buses that are left of those on which a chip responds.
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
    fn chips_on_channels_that_are_not_selected_are_all_listed() {
        assert_eq!(left(false, &[2, 3]), [2, 3]);
        assert_eq!(left(false, &[1]), [1]);
    }
}
