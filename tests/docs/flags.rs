//! Flags: the tables and the manual page against the help of each command.

use std::process::Command;

use crate::documents::{COMMANDS, CONFIGURATION, MANUAL, Set, first_spans, man, rows, spans};

const SCAN_AND_READ: &str = "## Flags of scan and read";

/// Returns the flags that the help of a command lists.
fn flags(arguments: &[&str]) -> Set {
    let binary = env!("CARGO_BIN_EXE_ina260-exporter");
    let help = Command::new(binary).args(arguments).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let lines = help.lines().map(str::trim_start);
    let flags: Set = lines
        .filter(|line| line.starts_with('-'))
        .filter_map(|line| line.split("--").nth(1)?.split([' ', '[', '=']).next())
        .map(str::to_owned)
        .collect();
    assert!(flags.contains("help") && flags.len() > 4, "{flags:?}");
    flags
}

/// Returns the flags in the first column of a section's tables.
fn documented(path: &str, heading: &str) -> Set {
    let spans = first_spans(path, heading);
    let flags = spans.iter().filter_map(|span| span.strip_prefix("--"));
    flags.map(str::to_owned).collect()
}

#[test]
fn daemon_flags_are_documented() {
    let flags = flags(&["--help"]);
    assert_eq!(documented(CONFIGURATION, "## Flags"), flags);
    assert_eq!(man(MANUAL, "OPTIONS", ".It Fl \\-"), flags);
}

#[test]
fn scan_and_read_flags_are_documented() {
    let mut all = Set::new();
    for command in ["scan", "read"] {
        let flags = flags(&[command, "--help"]);
        for row in rows(COMMANDS, SCAN_AND_READ) {
            let applies = spans(&row[1]).iter().any(|name| name == command);
            for flag in spans(&row[0]) {
                let name = flag.replacen("--", "", 1);
                assert!(!applies || flags.contains(&name), "{command} has no {flag}");
            }
        }
        assert_eq!(man(MANUAL, command, ".It Fl \\-"), flags);
        all.extend(flags);
    }
    assert_eq!(documented(COMMANDS, SCAN_AND_READ), all);
}

#[test]
fn flags_of_other_commands_are_documented() {
    for command in ["watch", "run", "calibrate"] {
        let flags = flags(&[command, "--help"]);
        assert_eq!(documented(COMMANDS, &format!("## {command}")), flags);
        assert_eq!(man(MANUAL, command, ".It Fl \\-"), flags);
    }
}
