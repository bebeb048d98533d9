//! Numbers with a unit: durations such as `100ms`; currents, voltages and powers such as `500mA`.

use std::time::Duration;

/// Name of each unit of time and its length in nanoseconds, largest first.
const UNITS: [(&str, u128); 5] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
];

/// Parses a number and a unit of time, or `0`. Rejects fractions of a nanosecond.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let number = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let unit = &text[number.len()..];
    let (_, nanos_per_unit) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = decimal(number)?;
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scaled = digits.checked_mul(nanos_per_unit)?;
    let nanos = u64::try_from(scaled / scale).ok().filter(|_| scaled.is_multiple_of(scale))?;
    Some(Duration::from_nanos(nanos))
}

/// Writes a duration in the largest unit that needs no fraction; [`duration`] parses it again.
pub(super) fn write(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let is_whole = |(_, nanos_per_unit): &(_, u128)| nanos.is_multiple_of(*nanos_per_unit);
    match UNITS.into_iter().find(is_whole) {
        _ if nanos == 0 => "0".to_owned(),
        Some((name, nanos_per_unit)) => format!("{}{name}", nanos / nanos_per_unit),
        None => format!("{}.{:03}us", nanos / 1_000, nanos % 1_000),
    }
}

/// A number with a base unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Amount {
    pub(crate) number: f64,
    /// `A`, `V` or `W`.
    pub(crate) unit: &'static str,
    pub(super) as_written: String,
}

/// Parses a decimal number and a unit to the nearest float: `0.3mA` and `0.0003A` are equal.
pub(crate) fn parse(text: &str) -> Option<Amount> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let name = &text[number.len()..];
    let (name, exponent) = name.strip_prefix('m').map_or((name, 0), |base| (base, -3));
    let unit = ["A", "V", "W"].into_iter().find(|unit| *unit == name)?;
    decimal(number.strip_prefix('-').unwrap_or(number))?;
    let number: f64 = format!("{number}e{exponent}").parse().ok()?;
    number.is_finite().then(|| Amount { number, unit, as_written: text.to_owned() })
}

/// Splits a number without a sign into its digits before and after the point.
fn decimal(number: &str) -> Option<(&str, &str)> {
    let parts = number.split_once('.').unwrap_or((number, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    (is_digits(parts.0) && is_digits(parts.1)).then_some(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_and_fractions_are_exact() {
        for (text, nanos) in [
            ("1s", 1_000_000_000),
            ("100ms", 100_000_000),
            ("1.5s", 1_500_000_000),
            ("500us", 500_000),
            ("0.3ms", 300_000),
            ("1m", 60_000_000_000),
            ("1h", 3_600_000_000_000),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn malformed_durations_are_rejected() {
        for text in [
            "",
            "1",
            "00",
            "s",
            "1.s",
            ".5s",
            "-1s",
            "+1s",
            "1 s",
            "1S",
            "1min",
            "1e3s",
            "1,5s",
            "1.0000000001s",
            "99999999999999999999999999h",
            "9999999999999h",
            "1.1.1s",
            "١s",
            "1sms",
            "µs",
            "1µ",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn every_unit_gives_the_nearest_float() {
        for (text, number, unit) in [
            ("5A", 5.0, "A"),
            ("500mA", 0.5, "A"),
            ("-3.5mA", -0.0035, "A"),
            ("0.3mA", 0.0003, "A"),
            ("12.6V", 12.6, "V"),
            ("4750mV", 4.75, "V"),
            ("10W", 10.0, "W"),
            ("1500mW", 1.5, "W"),
            ("419.43W", 419.43, "W"),
        ] {
            let seen = parse(text).unwrap();
            assert_eq!((seen.number, seen.unit), (number, unit), "{text}");
            assert_eq!(seen.as_written, text);
        }
    }

    #[test]
    fn malformed_quantities_are_rejected() {
        for text in [
            "", "5", "A", "5 A", "5a", "5kW", "+5A", "--5A", "5.A", ".5A", "5e1A", "infA", "nanV",
            "5,5A", "5AA", "5µA", "٥A", "1.1.1V", "0x5A", "5Am",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&format!("{}A", "9".repeat(400))), None);
    }

    proptest! {
        #[test]
        fn written_durations_parse_to_the_same(nanos: u64) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(super::duration(&write(duration)), Some(duration));
        }

        #[test]
        fn parsing_never_panics(text: String) {
            let _ = (duration(&text), parse(&text));
        }
    }
}
