//! Muxes that the kernel controls: each channel is an adapter of its own, on the same wires as the
//! adapter upstream.

use super::adapters::{Adapters, Upstream};
use super::mux::Channel;
use super::{BusName, Location};

/// A mux channel on the way to a chip.
#[derive(PartialEq)]
enum Step<'a> {
    /// Channel of a mux that the exporter switches; it stays selected.
    Own(Channel),
    Kernel(&'a Upstream),
}

impl Step<'_> {
    fn name(&self) -> String {
        match self {
            Self::Own(channel) => channel.to_string(),
            Self::Kernel(upstream) => upstream.mux.clone(),
        }
    }

    /// Returns whether only one of the two channels is selected at a time.
    fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Own(_), Self::Own(_)) => true,
            (Self::Kernel(a), Self::Kernel(b)) => a.mux == b.mux && a.channel != b.channel,
            _ => false,
        }
    }
}

/// Reason why two chips with one address respond to the same transfer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "described by the messages")]
pub enum Conflict {
    #[error("both buses are the same adapter")]
    Same,
    #[error(
        "one is upstream, the other downstream of mux {0}, on the same wires; keep the one \
         downstream"
    )]
    Upstream(String),
    #[error(
        "they are downstream of two muxes on one bus, {0}, whose channels stay selected, so that \
         both respond; let the kernel deselect them (write -2 to idle_state of each, e.g. \
         `echo -2 | sudo tee /sys/bus/i2c/devices/{1}/idle_state`), or unbind the kernel's driver \
         and set `mux` for both"
    )]
    StaySelected(String, String),
}

/// A mux that the kernel controls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelMux {
    /// Its device: `1-0070`.
    pub name: String,
    /// The bus that it is on.
    pub bus: BusName,
    /// The buses downstream.
    pub channels: Vec<BusName>,
    /// Whether all channels are deselected after each transfer.
    pub disconnects: bool,
}

impl Adapters {
    /// Returns the muxes that the kernel controls.
    pub fn kernel_muxes(&self) -> Vec<KernelMux> {
        let mut muxes: Vec<KernelMux> = Vec::new();
        for adapter in self.iter() {
            let Some(upstream) = &adapter.upstream else { continue };
            let Some(parent) = self.by_kernel_number(upstream.parent) else { continue };
            let channel = adapter.number.into();
            match muxes.iter_mut().find(|mux| mux.name == upstream.mux) {
                Some(mux) => mux.channels.push(channel),
                None => muxes.push(KernelMux {
                    name: upstream.mux.clone(),
                    bus: parent.number.into(),
                    channels: vec![channel],
                    disconnects: upstream.disconnects,
                }),
            }
        }
        muxes
    }

    /// Returns why two chips respond to the same transfer, if they do.
    pub fn conflict(&self, a: Location, b: Location) -> Option<Conflict> {
        if a.address != b.address {
            return None;
        }
        let ((root_a, steps_a), (root_b, steps_b)) = (self.way(a)?, self.way(b)?);
        if root_a != root_b {
            return None;
        }
        let common = steps_a.iter().zip(&steps_b).take_while(|(a, b)| a == b).count();
        let (a, b) = (&steps_a[common..], &steps_b[common..]);
        let (Some(first_a), Some(first_b)) = (a.first(), b.first()) else {
            return Some(match a.first().or(b.first()) {
                Some(step) => Conflict::Upstream(step.name()),
                None => Conflict::Same,
            });
        };
        let disconnects = |step: &Step<'_>| matches!(step, Step::Kernel(it) if it.disconnects);
        let stays_selected = |way: &[Step<'_>]| !way.iter().any(disconnects);
        if first_a.excludes(first_b) || !stays_selected(a) && !stays_selected(b) {
            return None;
        }
        let names = format!("{} and {}", first_a.name(), first_b.name());
        let kernel = if let Step::Kernel(_) = first_a { first_a } else { first_b };
        Some(Conflict::StaySelected(names, kernel.name()))
    }

    /// Returns the adapter at the root and the mux channels on the way to a chip.
    fn way(&self, location: Location) -> Option<(u32, Vec<Step<'_>>)> {
        /// More than any bus can drive; sysfs has no loops, but a container may provide a fake one.
        const MAX_DEPTH: usize = 16;
        // A module that is not loaded yet does not hide a conflict.
        let by_number = || self.iter().find(|it| location.bus == it.number.into());
        let adapter = self.resolve(location.bus).ok().or_else(by_number)?;
        let mut steps: Vec<Step<'_>> = location.mux.map(Step::Own).into_iter().collect();
        let mut root = adapter.kernel_number;
        while let Some(upstream) = self.by_kernel_number(root).and_then(|it| it.upstream.as_ref())
            && steps.len() < MAX_DEPTH
        {
            steps.push(Step::Kernel(upstream));
            root = upstream.parent;
        }
        steps.reverse();
        Some((root, steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i2c::adapters::tests::Machine;

    /// Two muxes on bus 1: 1-0070 with buses 11 and 12, 1-0071 with bus 19; on bus 11 another one,
    /// 11-0072, with bus 30.
    fn machine(idle_states: [&str; 3]) -> Adapters {
        let machine = Machine::new(&[
            (1, "bcm2835 (i2c@7e804000)"),
            (11, "i2c-1-mux (chan_id 0)"),
            (12, "i2c-1-mux (chan_id 1)"),
            (19, "i2c-1-mux (chan_id 0)"),
            (30, "i2c-11-mux (chan_id 0)"),
        ]);
        for (adapter, mux, state) in
            [(11, "1-0070", 0), (19, "1-0071", 1), (30, "11-0072", 2), (12, "1-0070", 0)]
        {
            machine.add_channel(adapter, mux, idle_states[state]);
        }
        machine.adapters()
    }

    fn conflict(adapters: &Adapters, [a, b]: [(&str, &str); 2]) -> Option<Conflict> {
        let location = |(bus, mux)| Location::from_labels(bus, mux, "0x40").unwrap();
        let found = adapters.conflict(location(a), location(b));
        assert_eq!(adapters.conflict(location(b), location(a)).is_some(), found.is_some());
        found
    }

    const AS_IS: [&str; 3] = ["-1", "-1", "-1"];

    #[test]
    fn two_kernel_muxes_on_one_bus_conflict_unless_both_disconnect() {
        let at_both = [("11", ""), ("19", "")];
        for (idle_states, is_conflict) in [
            (AS_IS, true),
            (["-2", "-1", "-1"], true),
            (["-1", "-2", "-1"], true),
            (["0", "3", "-1"], true),
            (["-2", "-2", "-1"], false),
        ] {
            let found = conflict(&machine(idle_states), at_both);
            assert_eq!(found.is_some(), is_conflict, "{idle_states:?}");
        }
        let message = conflict(&machine(AS_IS), at_both).unwrap().to_string();
        for part in ["1-0070 and 1-0071", "-2 to idle_state", "set `mux` for both"] {
            assert!(message.contains(part), "{message}");
        }
        let elsewhere = Location::from_labels("19", "", "0x41").unwrap();
        let found = machine(AS_IS).conflict(elsewhere, Location { bus: 11.into(), ..elsewhere });
        assert!(found.is_some(), "the same address");
        let other_address = Location::from_labels("11", "", "0x40").unwrap();
        assert_eq!(machine(AS_IS).conflict(elsewhere, other_address), None);
    }

    #[test]
    fn channels_of_one_mux_exclude_each_other() {
        let adapters = machine(AS_IS);
        assert_eq!(conflict(&adapters, [("11", ""), ("12", "")]), None);
        assert_eq!(conflict(&adapters, [("30", ""), ("12", "")]), None);
        assert_eq!(conflict(&adapters, [("1", "0x74:0"), ("1", "0x75:1")]), None);
    }

    #[test]
    fn kernel_mux_and_its_parent_are_one_set_of_wires() {
        for idle_states in [AS_IS, ["-2", "-2", "-2"]] {
            let adapters = machine(idle_states);
            for buses in [["1", "11"], ["1", "30"], ["11", "30"]] {
                let found = conflict(&adapters, buses.map(|bus| (bus, "")));
                assert!(matches!(found, Some(Conflict::Upstream(_))), "{buses:?}: {found:?}");
            }
        }
    }

    #[test]
    fn nested_mux_that_disconnects_ends_the_path() {
        let nested = [("30", ""), ("19", "")];
        assert!(conflict(&machine(AS_IS), nested).is_some());
        assert_eq!(conflict(&machine(["-2", "-2", "-1"]), nested), None);
        assert_eq!(conflict(&machine(["-1", "-2", "-2"]), nested), None);
    }

    #[test]
    fn own_mux_next_to_a_kernel_mux_conflicts() {
        let both = [("1", "0x72:0"), ("11", "")];
        assert!(conflict(&machine(["-2", "-2", "-2"]), both).is_some(), "ours stays selected");
    }

    #[test]
    fn mux_is_known_by_the_name_of_its_adapter_alone() {
        let adapters = Machine::new(&[
            (2, "gpio"),
            (3, "i2c-2-mux (chan_id 0)"),
            (4, "i2c-2-mux (chan_id 1)"),
        ])
        .adapters();
        assert!(conflict(&adapters, [("2", ""), ("3", "")]).is_some());
        assert_eq!(conflict(&adapters, [("3", ""), ("4", "")]), None);
        let muxes = adapters.kernel_muxes();
        assert_eq!((muxes.len(), muxes[0].bus), (1, 2.into()));
        assert_eq!(muxes[0].channels, [3.into(), 4.into()]);
    }
}
