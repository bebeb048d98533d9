//! Faults to inject: of the wiring, of the supply, or by another I2C master.

use std::str::FromStr;
use std::time::Duration;

use strum::{EnumString, VariantNames};

use crate::i2c::Address;

/// Kind of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum Fault {
    /// The chip does not acknowledge its address.
    NoAnswer,
    /// The bus is stuck: transfers fail after the adapter's timeout of one second.
    Timeout,
    /// Another master wins the bus.
    ArbitrationLost,
    /// Another chip responds.
    WrongIdentity,
    /// The supply dips: all registers get their power-on values. Happens once.
    BrownOut,
    /// Another master writes the configuration. Happens once.
    ForeignWrite,
    /// The power exceeds its register.
    Overflow,
    /// A transfer blocks.
    Hang,
    /// The chip's clock is 10 % slow.
    SlowClock,
    /// The next read of the current register returns 0xFFFF. Happens once.
    Corrupt,
}

/// A fault and the time at which it occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduledFault {
    /// Kind of the fault.
    pub fault: Fault,
    /// Chip that is affected; `None` for all.
    pub address: Option<Address>,
    /// Start, as time since the bus was created.
    pub from: Duration,
    /// End; `None` if the fault lasts.
    pub until: Option<Duration>,
}

impl ScheduledFault {
    /// Returns whether the chip at `address` is affected at `now`.
    pub(super) fn affects(&self, address: Address, now: Duration) -> bool {
        self.address.is_none_or(|only| only == address)
            && now >= self.from
            && self.until.is_none_or(|until| now < until)
    }
}

/// Faults to inject, parsed from `KIND@START[+DURATION]` in seconds; commas separate several.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults(pub Vec<ScheduledFault>);

/// Text that is not a fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid fault \"{}\"; expected KIND@START or KIND@START+DURATION in seconds, with KIND \
     one of {}",
    .0, Fault::VARIANTS.join(", ")
)]
pub struct InvalidFault(String);

impl FromStr for Faults {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        text.split(',')
            .filter(|item| !item.is_empty())
            .map(|item| parse(item).ok_or_else(|| InvalidFault(item.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn parse(item: &str) -> Option<ScheduledFault> {
    let seconds = |text: &str| {
        let number = text.strip_suffix('s').unwrap_or(text).parse().ok()?;
        Duration::try_from_secs_f64(number).ok()
    };
    let (name, time) = item.split_once('@')?;
    let (from, until) = match time.split_once('+') {
        Some((start, duration)) => {
            let from = seconds(start)?;
            (from, Some(from.saturating_add(seconds(duration)?)))
        }
        None => (seconds(time)?, None),
    };
    Some(ScheduledFault { fault: name.parse().ok()?, address: None, from, until })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_parsed_with_times() {
        let faults = "no-answer@10s+5s,brown-out@1.5".parse::<Faults>().unwrap().0;
        assert_eq!(faults[0].fault, Fault::NoAnswer);
        assert_eq!(faults[0].until, Some(Duration::from_secs(15)));
        assert_eq!(
            (faults[1].fault, faults[1].from),
            (Fault::BrownOut, Duration::from_millis(1500))
        );
        assert_eq!("".parse(), Ok(Faults::default()));
    }

    #[test]
    fn invalid_fault_lists_valid_kinds() {
        for text in ["fire@1", "hang", "hang@", "hang@-1", "hang@1+x", "hang@1e99"] {
            assert_eq!(
                text.parse::<Faults>().unwrap_err().to_string(),
                format!(
                    "invalid fault \"{text}\"; expected KIND@START or KIND@START+DURATION in \
                     seconds, with KIND one of no-answer, timeout, arbitration-lost, \
                     wrong-identity, brown-out, foreign-write, overflow, hang, slow-clock, corrupt"
                )
            );
        }
    }
}
