//! Numbers as people read them.

use std::time::Duration;

/// What a unit is multiplied by, and how that is written.
type Prefix = (f64, &'static str);

/// The prefix that leaves a value few digits before its point. Rounded to four digits the value decides, not before.
fn prefix(value: f64) -> Prefix {
    match value.abs() {
        m if m >= 999_950.0 => (1e6, "M"),
        m if m >= 999.95 => (1e3, "k"),
        m if (0.000_05..0.999_95).contains(&m) => (1e-3, "m"),
        _ => (1.0, ""),
    }
}

/// The number in front of a prefix.
fn scaled(value: f64, (factor, _): Prefix) -> String {
    let scaled = value / factor;
    let decimals = match scaled.abs() {
        s if s >= 99.995 => 1,
        s if s >= 9.9995 => 2,
        _ => 3,
    };
    let number = format!("{scaled:.decimals$}");
    // A nothing is not negative.
    match number.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| c == '0' || c == '.') => rest.to_owned(),
        _ => number,
    }
}

/// Four digits, with the prefix that makes them so: `9.330 W`, `186.4 mA`, `1.234 kWh`.
pub(super) fn si(value: f64, unit: &str) -> String {
    let prefix = prefix(value);
    format!("{} {}{unit}", scaled(value, prefix), prefix.1)
}

/// Two values with one unit, which is that of the greater: `-0.100` and `2.800 A`.
pub(super) fn both(low: f64, high: f64, unit: &str) -> (String, String) {
    let prefix = prefix(low.abs().max(high.abs()));
    let high = format!("{} {}{unit}", scaled(high, prefix), prefix.1);
    (scaled(low, prefix), high)
}

/// Joules as what is paid for.
pub(super) fn energy(joules: f64) -> String {
    si(joules / 3600.0, "Wh")
}

/// What energy costs, in the currency of the price for a kilowatt-hour.
pub(super) fn cost(joules: f64, price: f64) -> String {
    let cost = joules / 3.6e6 * price;
    if cost.abs() < 1.0 {
        format!("{cost:.4}")
    } else {
        format!("{cost:.2}")
    }
}

/// `42 s`, `3 min 20 s`, `2 h 5 min`, `9 d 3 h`: what matters of a time.
pub(super) fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    let two = |a, unit_a, b, unit_b| match b {
        0 => format!("{a} {unit_a}"),
        b => format!("{a} {unit_a} {b} {unit_b}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds / 60 % 60, "min"),
        _ => two(seconds / 86_400, "d", seconds / 3_600 % 24, "h"),
    }
}

/// `1 sensor`, `2 sensors`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_has_four_digits_and_a_prefix() {
        for (value, told) in [
            (9.33, "9.330 W"),
            (0.1864, "186.4 mW"),
            (0.0125, "12.50 mW"),
            (0.999_96, "1.000 W"),
            (999.96, "1.000 kW"),
            (419.43, "419.4 W"),
            (36.0, "36.00 W"),
            (-1.5, "-1.500 W"),
            (1_234_567.0, "1.235 MW"),
            (0.0, "0.000 W"),
            (-0.0, "0.000 W"),
            (-0.000_01, "0.000 W"),
        ] {
            assert_eq!(si(value, "W"), told);
        }
    }

    #[test]
    fn two_values_share_the_unit_of_the_greater() {
        let told = |low, high| both(low, high, "A");
        assert_eq!(told(-0.1, 2.8), ("-0.100".to_owned(), "2.800 A".to_owned()));
        assert_eq!(told(0.1, 0.9), ("100.0".to_owned(), "900.0 mA".to_owned()));
        assert_eq!(
            told(-12.0, 0.5),
            ("-12.00".to_owned(), "0.500 A".to_owned())
        );
    }

    #[test]
    fn energy_costs_its_price_for_a_kilowatt_hour() {
        assert_eq!(energy(3.6e6), "1.000 kWh");
        assert_eq!(cost(3.6e6, 0.35), "0.3500");
        assert_eq!(cost(3.6e7, 0.35), "3.50");
    }

    #[test]
    fn a_time_has_its_two_greatest_units() {
        for (seconds, told) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (200, "3 min 20 s"),
            (7_500, "2 h 5 min"),
            (788_400, "9 d 3 h"),
        ] {
            assert_eq!(time(Duration::from_secs(seconds)), told);
        }
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!(
            [0, 1, 2].map(|n| counted(n, "host")),
            ["0 hosts", "1 host", "2 hosts"]
        );
    }
}
