//! Buses as the configuration names them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;

use serde::{Serialize, Serializer};

/// A bus as the configuration names it. Its adapter is looked up each time the bus is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BusName {
    /// The N of `/dev/i2c-N`.
    Number(u8),
    /// Path of a device node, or of a link to one.
    Path(&'static str),
    /// Beginning of an adapter's name.
    Adapter(&'static str),
}

/// The text names no bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {}", BusName::EXPECTED)]
pub struct InvalidBusName;

impl BusName {
    /// Description of the values that are parsed.
    pub const EXPECTED: &str = "an integer from 0 to 255, a path such as \"/dev/i2c-power\", or \
                                \"name:\" and the start of an adapter's name";
    const ADAPTER: &str = "name:";

    /// Returns a short name, without slashes and prefix.
    pub(super) fn short(self) -> String {
        match self {
            Self::Number(number) => format!("i2c-{number}"),
            Self::Path(path) => path.rsplit('/').next().unwrap_or(path).to_owned(),
            Self::Adapter(name) => name.to_owned(),
        }
    }
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
        let unprintable = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
        if text.len() > MAX_BYTES || text.contains(unprintable) {
            return Err(InvalidBusName);
        }
        match text.strip_prefix(Self::ADAPTER).map(str::trim) {
            Some("") => Err(InvalidBusName),
            Some(name) => Ok(Self::Adapter(interned(name))),
            None if text.starts_with('/') && !text.ends_with('/') => Ok(Self::Path(interned(text))),
            None => Err(InvalidBusName),
        }
    }
}

impl fmt::Display for BusName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Path(path) => f.write_str(path),
            Self::Adapter(name) => write!(f, "{}{name}", Self::ADAPTER),
        }
    }
}

impl Serialize for BusName {
    /// Serialises a number as such, and the others as text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u8(*number),
            named => serializer.collect_str(named),
        }
    }
}

/// Returns a text that is never freed, so that locations can be copied. A process sees a handful of
/// different ones, however often it reloads its configuration.
fn interned(text: &str) -> &'static str {
    static TEXTS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut texts = TEXTS.lock().expect("no thread panics while it holds the lock");
    if let Some(known) = texts.get(text) {
        return known;
    }
    let leaked: &'static str = Box::leak(text.into());
    texts.insert(leaked);
    leaked
}

#[cfg(test)]
mod tests {
    use super::*;

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
        {
            assert_eq!(parse(text), Err(InvalidBusName), "{text}");
        }
    }
}
