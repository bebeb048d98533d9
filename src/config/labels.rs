//! Further labels of a sensor.

use super::node::{Node, one_line};
use super::read::{Invalid, every, text};

/// Labels in the order of their names.
pub(super) fn read(node: &Node) -> Result<Vec<(String, String)>, Invalid> {
    let table = node
        .as_table()
        .ok_or_else(|| node.invalid("is not a table of labels like { rail = \"12V\" }"))?;
    every(table.iter().map(|(name, value)| {
        let refused = |why: String| Invalid(vec![format!(".{} {why}", one_line(name))]);
        if !is_label_name(name) {
            Err(refused(
                "is not a label's name: letters, digits and underscores, no digit first".to_owned(),
            ))
        } else if name.starts_with("__") || RESERVED_LABELS.contains(&name.as_str()) {
            Err(refused(
                "is a label that Prometheus or this exporter uses; choose another name".to_owned(),
            ))
        } else {
            match text(value) {
                Ok(text) => Ok((name.clone(), text)),
                Err(Invalid(why)) => Err(refused(why.concat().trim_start().to_owned())),
            }
        }
    }))
}

/// Of the Prometheus data model, colons aside, which are for recording rules only.
fn is_label_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Ours, those of histograms and summaries, and the two that a scrape adds.
const RESERVED_LABELS: [&str; 21] = [
    "address",
    "averaging",
    "bus",
    "cause",
    "current_conversion_time",
    "device",
    "die",
    "direction",
    "hostname",
    "instance",
    "interval",
    "job",
    "kind",
    "le",
    "mux",
    "on",
    "quantile",
    "quantity",
    "revision",
    "version",
    "voltage_conversion_time",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_name_is_what_prometheus_takes_for_one() {
        for name in ["a", "_a", "A1", "rail_12V", "_"] {
            assert!(is_label_name(name), "{name}");
        }
        for name in ["", "1a", "a-b", "a:b", "a b", "é", "a\n"] {
            assert!(!is_label_name(name), "{name}");
        }
    }
}
