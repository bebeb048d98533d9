//! Faults on demand: what a wire, a supply or another master does to a sensor.

use std::str::FromStr;
use std::time::Duration;

use crate::i2c::Address;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The chip does not acknowledge.
    NoAnswer,
    /// The bus is stuck: transfers end after the adapter's timeout of a second.
    Timeout,
    /// Another master wins the bus.
    ArbitrationLost,
    /// Another chip answers.
    WrongIdentity,
    /// The supply dips: power-on values everywhere. Happens once.
    BrownOut,
    /// Another master writes the configuration. Happens once.
    ForeignWrite,
    /// More power than the register holds.
    Overflow,
    /// A transfer does not come back.
    Hang,
    /// The chip's clock is 10 % slow.
    SlowClock,
}

impl Fault {
    const NAMES: [(&'static str, Self); 9] = [
        ("no-answer", Self::NoAnswer),
        ("timeout", Self::Timeout),
        ("arbitration-lost", Self::ArbitrationLost),
        ("wrong-identity", Self::WrongIdentity),
        ("brown-out", Self::BrownOut),
        ("foreign-write", Self::ForeignWrite),
        ("overflow", Self::Overflow),
        ("hang", Self::Hang),
        ("slow-clock", Self::SlowClock),
    ];

    /// Over in the moment that it begins.
    pub(super) const fn is_event(self) -> bool {
        matches!(self, Self::BrownOut | Self::ForeignWrite)
    }
}

/// A fault with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injected {
    /// What goes wrong.
    pub fault: Fault,
    /// With one chip; without an address, with all.
    pub address: Option<Address>,
    /// When it begins, after the bus was made.
    pub from: Duration,
    /// When it ends; without it, never.
    pub until: Option<Duration>,
}

impl Injected {
    /// Whether it is there at `now`, for the chip at `address`.
    pub(super) fn concerns(&self, address: Address, now: Duration) -> bool {
        self.address.is_none_or(|only| only == address)
            && now >= self.from
            && self.until.is_none_or(|until| now < until)
    }
}

/// Faults to inject, as `KIND@START[+DURATION]` in seconds, separated by commas; an empty text is no fault.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults(pub Vec<Injected>);

impl FromStr for Faults {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let faults = text.split(',').filter(|item| !item.is_empty());
        faults.map(parse_one).collect::<Result<_, _>>().map(Self)
    }
}

fn parse_one(item: &str) -> Result<Injected, String> {
    let wrong = || {
        let names: Vec<&str> = Fault::NAMES.iter().map(|(name, _)| *name).collect();
        format!(
            "\"{item}\" is not a fault: KIND@START or KIND@START+DURATION in seconds, KIND one of {}",
            names.join(", ")
        )
    };
    let seconds = |text: &str| {
        let number = text.strip_suffix('s').unwrap_or(text).parse().ok()?;
        Duration::try_from_secs_f64(number).ok()
    };
    let (name, time) = item.split_once('@').ok_or_else(wrong)?;
    let (_, fault) = Fault::NAMES
        .into_iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(wrong)?;
    let (start, duration) = match time.split_once('+') {
        Some((start, duration)) => (start, Some(seconds(duration).ok_or_else(wrong)?)),
        None => (time, None),
    };
    let from = seconds(start).ok_or_else(wrong)?;
    Ok(Injected {
        fault,
        address: None,
        from,
        until: duration.map(|d| from.saturating_add(d)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_faults_is_read_with_its_times() {
        let faults = "no-answer@10s+5s,brown-out@1.5"
            .parse::<Faults>()
            .unwrap()
            .0;
        assert_eq!(faults[0].fault, Fault::NoAnswer);
        assert_eq!(faults[0].until, Some(Duration::from_secs(15)));
        assert_eq!(
            (faults[1].fault, faults[1].from),
            (Fault::BrownOut, Duration::from_millis(1500))
        );
        assert_eq!("".parse(), Ok(Faults::default()));
    }

    #[test]
    fn what_is_no_fault_is_refused_with_what_is_allowed() {
        for text in [
            "fire@1",
            "hang",
            "hang@",
            "hang@-1",
            "hang@1+x",
            "hang@1e99",
        ] {
            assert!(
                text.parse::<Faults>()
                    .unwrap_err()
                    .starts_with(&format!("\"{text}\" is not a fault: "))
            );
        }
    }
}
