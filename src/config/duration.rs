//! Durations with a unit: `100ms`, `1.5s`, `1m`.

use std::time::Duration;

/// Name of each unit and its length in nanoseconds, largest first.
const UNITS: [(&str, u128); 5] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
];

/// Parses a number and a unit, or `0`. Exact: a value that is not a whole number of nanoseconds is
/// rejected.
pub fn parse(text: &str) -> Option<Duration> {
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

/// Splits a number without a sign into its digits before and after the point.
pub(super) fn decimal(number: &str) -> Option<(&str, &str)> {
    let parts = number.split_once('.').unwrap_or((number, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    (is_digits(parts.0) && is_digits(parts.1)).then_some(parts)
}

/// Writes a duration in the largest unit that needs no fraction; [`parse`] gives the same duration.
pub(super) fn write(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0".to_owned();
    }
    for (name, nanos_per_unit) in UNITS {
        if nanos.is_multiple_of(nanos_per_unit) {
            return format!("{}{name}", nanos / nanos_per_unit);
        }
    }
    format!("{}.{:03}us", nanos / 1_000, nanos % 1_000)
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
            assert_eq!(parse(text), Some(Duration::from_nanos(nanos)), "{text}");
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
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn written_durations_parse_to_the_same(nanos: u64) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&write(duration)), Some(duration));
        }

        #[test]
        fn parsing_never_panics(text: String) {
            let _ = parse(&text);
        }
    }
}
