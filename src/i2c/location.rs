//! Location of a chip.

use std::fmt;

use super::mux::Channel;
use super::{Address, BusName};

/// Location of a chip: a bus, optionally a mux channel on it, and an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The bus, as the configuration names it.
    pub bus: BusName,
    /// Mux channel that the chip is downstream of; `None` if it is on the bus itself.
    pub mux: Option<Channel>,
    /// Address of the chip.
    pub address: Address,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bus {}, ", self.bus)?;
        if let Some(channel) = self.mux {
            write!(f, "mux {channel}, ")?;
        }
        self.address.fmt(f)
    }
}

impl Location {
    /// Parses the labels of a metric; `mux` is empty for a chip on the bus itself.
    pub fn from_labels(bus: &str, mux: &str, address: &str) -> Option<Self> {
        let mux = match mux.split_once(':') {
            Some((multiplexer, channel)) => Some(Channel {
                multiplexer: hexadecimal(multiplexer)?,
                channel: channel.parse().ok()?,
            }),
            None if mux.is_empty() => None,
            None => return None,
        };
        Some(Self { bus: bus.parse().ok()?, mux, address: hexadecimal(address)? })
    }

    /// Returns whether both chips respond to one address while a mux channel is selected: one is
    /// upstream of the mux, the other downstream.
    pub fn is_joined_to(&self, other: &Self) -> bool {
        (self.bus, self.address) == (other.bus, other.address)
            && (self.mux.is_none() || other.mux.is_none())
    }

    /// Returns a device name, made from the location, for a sensor that has none.
    pub fn device_name(&self) -> String {
        let channel = self.mux.map_or(String::new(), |channel| {
            format!("-{}-{}", channel.multiplexer, channel.channel)
        });
        format!("{}{channel}-{}", self.bus.short(), self.address)
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
    fn location_is_parsed_from_labels() {
        let downstream = Location::from_labels("1", "0x70:3", "0x41").unwrap();
        assert_eq!(downstream.to_string(), "bus 1, mux 0x70:3, 0x41");
        assert_eq!(downstream.device_name(), "i2c-1-0x70-3-0x41");
        let direct = Location::from_labels("11", "", "0x4f").unwrap();
        assert_eq!(direct.to_string(), "bus 11, 0x4f");
        let named = Location::from_labels("name:MCP2221", "", "0x40").unwrap();
        assert_eq!(named.to_string(), "bus name:MCP2221, 0x40");
        assert_eq!(named.device_name(), "MCP2221-0x40");
        let linked = Location::from_labels("/dev/i2c-power", "0x70:3", "0x40").unwrap();
        assert_eq!(linked.device_name(), "i2c-power-0x70-3-0x40");
        assert_eq!(Location::from_labels("simulated", "", "0x40"), None);
        assert_eq!(Location::from_labels("1", "0x70", "0x40"), None);
    }
}
