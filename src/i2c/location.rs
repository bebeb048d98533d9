//! Locations of chips, with buses as the configuration names them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;

use serde::{Serialize, Serializer};

use super::Address;
use super::mux::Channel;
use crate::printable::is_invisible;

/// A bus as the configuration names it. Its adapter is looked up each time the bus is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::Display)]
pub enum BusName {
    /// The N of `/dev/i2c-N`.
    #[strum(to_string = "{0}")]
    Number(u8),
    /// Path of a device node, or of a link to one.
    #[strum(to_string = "{0}")]
    Path(&'static str),
    /// Beginning of an adapter's name.
    #[strum(to_string = "name:{0}")]
    Adapter(&'static str),
}

/// Error of a text that names no bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {}", BusName::EXPECTED)]
pub struct InvalidBusName;

impl BusName {
    /// Description of the values that are parsed.
    pub(crate) const EXPECTED: &str = "an integer from 0 to 255, a path such as \
                                       \"/dev/i2c-power\", or \"name:\" and the start of an \
                                       adapter's name";
}

impl Default for BusName {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl From<u8> for BusName {
    fn from(number: u8) -> Self {
        Self::Number(number)
    }
}

impl FromStr for BusName {
    type Err = InvalidBusName;

    fn from_str(text: &str) -> Result<Self, InvalidBusName> {
        const MAX_BYTES: usize = 255;
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(number));
        }
        if text.len() > MAX_BYTES || text.contains(is_invisible) {
            return Err(InvalidBusName);
        }
        match text.strip_prefix("name:").map(str::trim) {
            Some(name) if !name.is_empty() => Ok(Self::Adapter(interned(name))),
            None if text.starts_with('/') && !text.ends_with('/') => Ok(Self::Path(interned(text))),
            _ => Err(InvalidBusName),
        }
    }
}

impl Serialize for BusName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u8(*number),
            named => serializer.collect_str(named),
        }
    }
}

static TEXTS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// Returns a text that is never freed, so that locations can be copied. A process sees a handful of
/// different ones, however often it reloads its configuration.
fn interned(text: &str) -> &'static str {
    let mut texts = TEXTS.lock().expect("no thread panics while it holds the lock");
    texts.get(text).copied().unwrap_or_else(|| {
        let leaked: &'static str = Box::leak(text.into());
        texts.insert(leaked);
        leaked
    })
}

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
        let mux = self.mux.map_or(String::new(), |channel| format!("mux {channel}, "));
        write!(f, "bus {}, {mux}{}", self.bus, self.address)
    }
}

impl Location {
    /// Parses the labels of a metric; `mux` is empty for a chip on the bus itself.
    pub(crate) fn from_labels(bus: &str, mux: &str, address: &str) -> Option<Self> {
        let channel = |(multiplexer, channel): (&str, &str)| {
            let channel = channel.parse().ok()?;
            Some(Channel { multiplexer: hexadecimal(multiplexer)?, channel })
        };
        let mux = if mux.is_empty() { None } else { Some(mux.split_once(':').and_then(channel)?) };
        Some(Self { bus: bus.parse().ok()?, mux, address: hexadecimal(address)? })
    }

    /// Returns whether both chips respond to one address while a mux channel is selected: one is
    /// upstream of the mux, the other downstream.
    pub(crate) fn is_joined_to(&self, other: &Self) -> bool {
        (self.bus, self.address) == (other.bus, other.address)
            && (self.mux.is_none() || other.mux.is_none())
    }

    /// Returns a device name, made from the location, for a sensor that has none.
    pub(crate) fn device_name(&self) -> String {
        let bus = match self.bus {
            BusName::Number(number) => format!("i2c-{number}"),
            BusName::Path(path) => path.rsplit('/').next().unwrap_or(path).to_owned(),
            BusName::Adapter(name) => name.to_owned(),
        };
        let channel = self.mux.map_or(String::new(), |channel| {
            format!("-{}-{}", channel.multiplexer, channel.channel)
        });
        format!("{bus}{channel}-{}", self.address)
    }
}

fn hexadecimal(text: &str) -> Option<Address> {
    u8::from_str_radix(text.strip_prefix("0x")?, 16).ok().map(Address)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns whether a text is kept.
    pub(crate) fn is_interned(text: &str) -> bool {
        TEXTS.lock().is_ok_and(|texts| texts.contains(text))
    }

    #[test]
    fn bus_is_a_number_a_path_or_a_name() {
        let parse = |text: &str| text.parse::<BusName>();
        assert_eq!(parse("7"), Ok(BusName::Number(7)));
        assert_eq!(parse("/dev/i2c-power"), Ok(BusName::Path("/dev/i2c-power")));
        assert_eq!(parse("name: MCP2221 "), Ok(BusName::Adapter("MCP2221")));
        for text in ["7", "/dev/i2c-power", "name:i2c-1-mux (chan_id 0)"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        for text in
            ["", "256", "-1", "i2c-1", "dev/i2c-1", "/dev/", "name:", "name: ", "MCP2221", "/a\nb"]
                .into_iter()
                .chain(["/dev/i2c-1\u{200b}", "name:a\u{202e}", "/a\u{fffd}"])
        {
            assert_eq!(parse(text), Err(InvalidBusName), "{text}");
        }
    }

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
