//! Currents, voltages and powers with a unit: `5A`, `500mA`, `12.6V`.

use super::duration::decimal;

/// A number with a base unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Quantity {
    pub(super) number: f64,
    /// `A`, `V` or `W`.
    pub(super) unit: &'static str,
    pub(super) as_written: String,
}

/// Parses a decimal number and a unit with nothing between them, to the nearest float: `0.3mA` and
/// `0.0003A` are equal.
pub(super) fn parse(text: &str) -> Option<Quantity> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let name = &text[number.len()..];
    let (name, exponent) = name.strip_prefix('m').map_or((name, 0), |base| (base, -3));
    let unit = ["A", "V", "W"].into_iter().find(|unit| *unit == name)?;
    decimal(number.strip_prefix('-').unwrap_or(number))?;
    let number: f64 = format!("{number}e{exponent}").parse().ok()?;
    number.is_finite().then(|| Quantity { number, unit, as_written: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        fn parsing_never_panics(text: String) {
            let _ = parse(&text);
        }
    }
}
