//! Where a chip is, in one word for all tools.

use std::fmt;

use crate::bus::Address;
use crate::bus::mux::Channel;
use crate::config::SensorPlan;

/// A bus, the channel of a multiplexer on it, and an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The N of `/dev/i2c-N`.
    pub bus: u8,
    /// What it is behind; `None`: nothing.
    pub channel: Option<Channel>,
    /// 0x40 to 0x4f.
    pub address: Address,
}

impl From<&SensorPlan> for Place {
    fn from(sensor: &SensorPlan) -> Self {
        Self {
            bus: sensor.bus,
            channel: sensor.mux,
            address: sensor.address,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bus {}, ", self.bus)?;
        if let Some(channel) = self.channel {
            write!(f, "mux {channel}, ")?;
        }
        self.address.fmt(f)
    }
}

impl Place {
    /// A name for a sensor that nobody gave one: as unique as its place.
    #[must_use]
    pub fn name(&self) -> String {
        let channel = self.channel.map_or(String::new(), |channel| {
            format!("-{}-{}", channel.multiplexer, channel.channel)
        });
        format!("i2c-{}{channel}-{}", self.bus, self.address)
    }

    /// The place that the labels of an info series name; the mux is empty where there is none.
    pub(super) fn from_labels(bus: &str, mux: &str, address: &str) -> Option<Self> {
        let channel = match mux.split_once(':') {
            Some((multiplexer, channel)) => Some(Channel {
                multiplexer: hexadecimal(multiplexer)?,
                channel: channel.parse().ok()?,
            }),
            None => None,
        };
        Some(Self {
            bus: bus.parse().ok()?,
            channel,
            address: hexadecimal(address)?,
        })
    }
}

fn hexadecimal(text: &str) -> Option<Address> {
    let digits = text.strip_prefix("0x")?;
    u8::from_str_radix(digits, 16).ok().map(Address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_name_and_is_read_from_labels() {
        let behind = Place::from_labels("1", "0x70:3", "0x41").unwrap();
        assert_eq!(behind.to_string(), "bus 1, mux 0x70:3, 0x41");
        assert_eq!(behind.name(), "i2c-1-0x70-3-0x41");
        let trunk = Place::from_labels("11", "", "0x4f").unwrap();
        assert_eq!(
            (trunk.to_string().as_str(), trunk.name().as_str()),
            ("bus 11, 0x4f", "i2c-11-0x4f")
        );
        assert_eq!(Place::from_labels("simulated", "", "0x40"), None);
    }
}
