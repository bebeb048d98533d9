//! Keys, their defaults, and flags: the README, the manual and the shipped file against the code.

use std::collections::BTreeMap;

use ina260_exporter::config::{self, Overrides};

use crate::documents::{
    CONFIGURATION, CONFIGURATION_MANUAL, Set, first_spans, man, read, rows, spans,
};

const DAEMON: &str = "## Keys of the daemon";
const SENSOR: &str = "## Keys of a sensor";
const FILE: &str = "config/ina260-exporter.toml";

/// The effective configuration, or every problem, with one variable in the environment and no file.
fn load(key: &str, value: &str) -> Result<String, String> {
    let flags = Overrides {
        config: Some("/dev/null".into()),
        ..Overrides::default()
    };
    let environment = [(format!("INA260_EXPORTER_{key}"), value.to_owned())];
    config::load(&flags, environment)
        .map(|loaded| loaded.effective)
        .map_err(|problems| problems.to_string())
}

/// The keys that an unknown one is answered with.
fn known_keys(key: &str, value: &str) -> Set {
    let problem = load(key, value).unwrap_err();
    let (_, keys) = problem.split_once("keys are ").expect(&problem);
    keys.split(", ").map(str::to_owned).collect()
}

fn of_the_daemon() -> Set {
    known_keys("NONSENSE", "1")
}

fn of_a_sensor() -> Set {
    known_keys("SENSOR", r#"[{ device = "a", nonsense = 1 }]"#)
}

/// The commented settings of a text.
fn settings(text: &str) -> impl Iterator<Item = (String, String)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix('#'));
    lines
        .filter_map(|line| line.split_once(" = "))
        .filter(|(key, _)| !key.contains(' '))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
}

#[test]
fn every_key_is_documented() {
    let told = |heading| Set::from_iter(first_spans(CONFIGURATION, heading));
    assert_eq!(told(DAEMON), of_the_daemon());
    assert_eq!(told(SENSOR), of_a_sensor());
}

#[test]
fn every_key_is_in_the_manual() {
    let told = |section| man(CONFIGURATION_MANUAL, section, ".It Ic ");
    let mut daemon = told("KEYS OF THE DAEMON");
    // A section of its own.
    daemon.insert("sensor".to_owned());
    assert_eq!(daemon, of_the_daemon());
    assert_eq!(told("KEYS OF A SENSOR"), of_a_sensor());
}

#[test]
fn every_key_is_in_the_shipped_file() {
    let text = read(FILE);
    let (daemon, sensor) = text.split_once("#[[sensor]]").expect("a table");
    let keys = |text| settings(text).map(|(key, _)| key).collect::<Set>();
    let mut daemon = keys(daemon);
    daemon.insert("sensor".to_owned());
    assert_eq!(daemon, of_the_daemon());
    assert_eq!(keys(sensor), of_a_sensor());
}

/// Keys and values that nobody set.
fn defaults(effective: &str) -> BTreeMap<String, String> {
    let lines = effective.lines();
    lines
        .filter_map(|line| line.strip_suffix("# default")?.trim().split_once(" = "))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn documented_defaults_agree() {
    // Neither the machine's name nor what is set here is a default of ours.
    let mut daemon = defaults(&load("HOSTNAME", "pi4").unwrap());
    let sensors = load("SENSOR", r#"[{ device = "a" }]"#).unwrap();
    let (_, table) = sensors.split_once("[[sensor]]").unwrap();
    for (heading, defaults) in [(DAEMON, &daemon), (SENSOR, &self::defaults(table))] {
        assert!(defaults.len() > 4, "{defaults:?}");
        for row in rows(CONFIGURATION, heading) {
            let (key, told) = (spans(&row[0]).remove(0), spans(&row[1]));
            let default = defaults.get(&key).cloned();
            assert_eq!(told.first(), default.as_ref(), "{key}");
        }
    }
    daemon.insert("hostname".to_owned(), "\"pi4\"".to_owned());
    let text = read(FILE);
    let top = text.split("#[[sensor]]").next().unwrap();
    assert_eq!(settings(top).collect::<BTreeMap<_, _>>(), daemon);
}
