//! The examples for Prometheus and Grafana: every metric exists, every alert is documented and
//! tested both ways.

use ina260_exporter::exposition::METRICS;

use crate::documents::{TROUBLESHOOTING, headings, read, section};

const RUNBOOK: &str = "file:///usr/share/doc/ina260-exporter/docs/troubleshooting.md";
const EXAMPLES: [&str; 4] = [
    "config/grafana/ina260-exporter.json",
    "config/prometheus/rules.yml",
    "config/prometheus/alerts.yml",
    "config/prometheus/tests.yml",
];

/// Returns the text after `key` on the lines that begin with it.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = text.lines().map(str::trim);
    lines.filter_map(move |line| line.strip_prefix(key))
}

/// Returns the words of a text that look like one of our metrics.
fn metrics(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
    words.filter(|word| word.starts_with("ina260_"))
}

#[test]
fn every_metric_of_the_examples_exists() {
    for path in EXAMPLES {
        let text = read(path);
        let mut count = 0;
        // Names of recording rules begin with a metric's name.
        for name in metrics(&text.replace("device:ina260_", "device:")) {
            let whole = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|part| name.strip_suffix(part))
                .unwrap_or(name);
            assert!(METRICS.iter().any(|m| m.name == whole), "{path}: {name}");
            count += 1;
        }
        assert!(count > 3, "{path}");
    }
}

#[test]
fn every_alert_links_to_its_section() {
    let alerts = read("config/prometheus/alerts.yml");
    let names: Vec<&str> = values(&alerts, "- alert: ").collect();
    // Each link is on a line of its own.
    let links: Vec<&str> =
        alerts.lines().map(str::trim).filter(|line| line.starts_with(RUNBOOK)).collect();
    assert_eq!(names.len(), links.len());
    assert!(names.len() >= 11);
    for (name, link) in names.iter().zip(links) {
        assert_eq!(link, format!("{RUNBOOK}#{}", name.to_lowercase()));
        let text = section(TROUBLESHOOTING, &format!("### {name}"));
        assert!(text.len() > 80, "{name}");
    }
    let page = read(TROUBLESHOOTING);
    let documented: Vec<&str> =
        headings(&page).filter(|heading| heading.starts_with("Ina260")).collect();
    assert_eq!(documented, names);
}

#[test]
fn every_alert_has_a_summary_and_a_description() {
    let alerts = read("config/prometheus/alerts.yml");
    for alert in alerts.split("- alert: ").skip(1) {
        for key in ["summary: ", "description: ", "severity: "] {
            assert_eq!(alert.matches(key).count(), 1, "{key} of {alert}");
        }
    }
}

#[test]
fn every_alert_is_tested_both_ways() {
    let alerts = read("config/prometheus/alerts.yml");
    let tests = read("config/prometheus/tests.yml");
    for name in values(&alerts, "- alert: ") {
        let cases = tests.split("- alertname: ").skip(1);
        let cases = cases.filter(|case| case.lines().next() == Some(name));
        let (silent, firing): (Vec<&str>, Vec<&str>) =
            cases.partition(|case| case.contains("exp_alerts: []"));
        assert!(firing.iter().any(|case| case.contains("- exp_labels:")), "{name}");
        assert!(!silent.is_empty(), "{name}");
    }
}
