//! Exit codes, versions and the first commands, against the files that decide them.

use std::collections::BTreeMap;
use std::fs;

use crate::documents::{
    MANUAL, README, Set, TROUBLESHOOTING, blocks, first_spans, man, read, root, rows, section,
};

#[test]
fn exit_codes_agree() {
    let rows = rows(TROUBLESHOOTING, "## Exit codes");
    let documented: BTreeMap<&str, bool> =
        rows.iter().map(|row| (row[0].as_str(), row[2].starts_with("is restarted"))).collect();
    let codes: Set = documented.keys().map(ToString::to_string).collect();

    let main = read("src/main.rs");
    let constants = main.lines().filter(|line| line.starts_with("const "));
    let mut in_code: Set = constants
        .filter_map(|line| line.split_once(": u8 = ")?.1.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    in_code.insert("0".to_owned());
    assert_eq!(codes, in_code);
    assert_eq!(codes, man(MANUAL, "EXIT STATUS", ".It "));

    let unit = read("systemd/ina260-exporter.service");
    let mut lines = unit.lines();
    let no_restart = lines.find_map(|line| line.strip_prefix("RestartPreventExitStatus="));
    let stays = documented.iter().filter(|(code, restarts)| !**restarts && **code != "0");
    let stays: Vec<&str> = stays.map(|(code, _)| *code).collect();
    assert_eq!(no_restart, Some(stays.join(" ").as_str()));
}

#[test]
fn versions_agree() {
    let version = env!("CARGO_PKG_VERSION");
    let lock = read("Cargo.lock");
    let ours = lock.split("name = \"ina260-exporter\"\nversion = \"").nth(1);
    assert_eq!(ours.and_then(|o| o.split('"').next()), Some(version));
    let debian = read("debian/changelog");
    assert_eq!(debian.split(['(', ')']).nth(1), Some(version));
    let changelog = read("CHANGELOG.md");
    let headings = changelog.lines().filter_map(|l| l.strip_prefix("## ["));
    let releases: Vec<&str> = headings.filter_map(|l| l.split(']').next()).collect();
    assert_eq!(releases[..2], ["Unreleased", version]);
}

#[test]
fn rust_versions_agree() {
    let rust = env!("CARGO_PKG_RUST_VERSION");
    let text = section(README, "## Try it").replace('\n', " ");
    assert!(text.contains(&format!("Rust {rust} or newer")), "{text}");
    let control = read("debian/control");
    let needed: Vec<&str> = control
        .lines()
        .filter(|line| line.contains("cargo") || line.contains("rust"))
        .filter_map(|line| line.split("(>= ").nth(1)?.split(')').next())
        .collect();
    assert_eq!(needed, [rust; 3], "debian/control");
}

#[test]
fn readme_starts_with_make_run_and_make_test() {
    let mut shell = blocks(&read(README), "sh").into_iter();
    let (first, _) = shell.next().unwrap();
    assert_eq!(first, "sudo apt install build-essential cargo-web\nmake run\n");
    let (second, _) = shell.next().unwrap();
    assert_eq!(second, "make test\n");
}

#[test]
fn every_module_is_in_the_architecture() {
    let documented = first_spans("docs/architecture.md", "## Modules");
    let mut modules = Set::new();
    for entry in fs::read_dir(root("src")).unwrap() {
        let path = entry.unwrap().path();
        modules.insert(path.file_stem().unwrap().to_str().unwrap().to_owned());
    }
    modules.remove("lib");
    assert_eq!(Set::from_iter(documented), modules);
}
