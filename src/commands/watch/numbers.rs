//! Formatting of numbers with SI prefixes, costs and durations.

use std::time::Duration;

/// Returns factor and symbol of the SI prefix for one to three digits before the decimal point.
// The limits are those after rounding to four digits: 0.99996 W is 1.000 W, not 1000.0 mW.
fn prefix(value: f64) -> (f64, &'static str) {
    match value.abs() {
        m if m >= 999_950.0 => (1e6, "M"),
        m if m >= 999.95 => (1e3, "k"),
        m if (0.000_05..0.999_95).contains(&m) => (1e-3, "m"),
        _ => (1.0, ""),
    }
}

fn four_digits(scaled: f64) -> String {
    let decimals = match scaled.abs() {
        // More than any board draws; a faulty server may send it.
        s if s >= 999.95 => return format!("{scaled:.0e}"),
        s if s >= 99.995 => 1,
        s if s >= 9.9995 => 2,
        _ => 3,
    };
    // Without the minus sign of "-0.000".
    let scaled = if scaled.abs() < 0.0005 { 0.0 } else { scaled };
    format!("{scaled:.decimals$}")
}

/// Formats a value with four digits and an SI prefix: `9.330 W`, `186.4 mA`, `1.234 kWh`.
pub(super) fn si(value: f64, unit: &str) -> String {
    si_pair(value, value, unit).1
}

/// Formats two values in the unit of the larger one: `-0.100` and `2.800 A`.
pub(super) fn si_pair(low: f64, high: f64, unit: &str) -> (String, String) {
    let (factor, symbol) = prefix(low.abs().max(high.abs()));
    let high = format!("{} {symbol}{unit}", four_digits(high / factor));
    (four_digits(low / factor), high)
}

pub(super) fn watt_hours(joules: f64) -> String {
    si(joules / 3600.0, "Wh")
}

/// Formats the cost of an energy, in the currency of the price of a kilowatt-hour.
pub(super) fn cost(joules: f64, price: f64) -> String {
    let cost = joules / 3.6e6 * price;
    match cost.abs() {
        c if c < 1.0 => format!("{cost:.4}"),
        c if c < 999_999.995 => format!("{cost:.2}"),
        c if c < 999_999_999.5 => format!("{cost:.0}"),
        _ => format!("{cost:.3e}"),
    }
}

/// Formats the two largest units of a duration: `42 s`, `3 min 20 s`, `2 h 5 min`, `9 d 3 h`.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
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

/// Formats a number with its noun: `1 sensor`, `2 sensors`.
pub(super) fn plural(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_four_digits_and_a_prefix() {
        for (value, expected) in [
            (9.33, "9.330 W"),
            (0.1864, "186.4 mW"),
            (0.0125, "12.50 mW"),
            (0.999_96, "1.000 W"),
            (999.96, "1.000 kW"),
            (419.43, "419.4 W"),
            (36.0, "36.00 W"),
            (-1.5, "-1.500 W"),
            (1_234_567.0, "1.235 MW"),
            (1e9, "1e3 MW"),
            (f64::MIN, "-2e302 MW"),
            (0.0, "0.000 W"),
            (-0.0, "0.000 W"),
            (-0.000_01, "0.000 W"),
        ] {
            assert_eq!(si(value, "W"), expected);
        }
    }

    #[test]
    fn pair_shares_the_unit_of_the_larger_value() {
        let pair = |low, high| si_pair(low, high, "A");
        assert_eq!(pair(-0.1, 2.8), ("-0.100".to_owned(), "2.800 A".to_owned()));
        assert_eq!(pair(0.1, 0.9), ("100.0".to_owned(), "900.0 mA".to_owned()));
        assert_eq!(pair(-12.0, 0.5), ("-12.00".to_owned(), "0.500 A".to_owned()));
    }

    #[test]
    fn cost_is_energy_times_price() {
        assert_eq!(watt_hours(3.6e6), "1.000 kWh");
        assert_eq!(cost(3.6e6, 0.35), "0.3500");
        assert_eq!(cost(3.6e7, 0.35), "3.50");
        for (total, expected) in [
            (-0.01, "-0.0100"),
            (999_999.99, "999999.99"),
            (999_999.996, "1000000"),
            (999_999_999.0, "999999999"),
            (999_999_999.6, "1.000e9"),
            (f64::MAX, "1.798e308"),
        ] {
            assert_eq!(cost(3.6e6, total), expected);
        }
    }

    #[test]
    fn duration_has_its_two_largest_units() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (200, "3 min 20 s"),
            (7_500, "2 h 5 min"),
            (788_400, "9 d 3 h"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn one_is_singular() {
        assert_eq!([0, 1, 2].map(|n| plural(n, "host")), ["0 hosts", "1 host", "2 hosts"]);
    }
}
