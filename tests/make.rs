//! What `make` prints where the Rust toolchain or the linker is missing or too old, and
//! `make install`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

const GET: &str = "sudo apt install build-essential cargo-web";
/// Programs used by the Makefile and .ci/check-toolchain, besides the toolchain.
const TOOLS: [&str; 7] = ["cut", "dpkg", "env", "git", "make", "sed", "sort"];

/// Creates a directory for PATH with `TOOLS`, and with scripts of the given names and outputs.
fn path(scripts: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for tool in TOOLS {
        let found = ["/usr/bin", "/bin"].map(|parent| Path::new(parent).join(tool));
        if let Some(program) = found.iter().find(|program| program.exists()) {
            symlink(program, directory.path().join(tool)).unwrap();
        }
    }
    for (name, output) in scripts {
        let script = directory.path().join(name);
        fs::write(&script, format!("#!/bin/sh\necho '{output}'\n")).unwrap();
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    }
    directory
}

/// Returns `make TARGET`, without the variables of an outer make, which would add its messages.
fn make(target: &str) -> Command {
    let mut make = Command::new("make");
    make.arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
    for variable in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS", "CARGO_TARGET_DIR"] {
        make.env_remove(variable);
    }
    make
}

/// Runs `make TARGET` with only these programs in PATH, and returns the first line on stderr.
fn failure(target: &str, path: &TempDir) -> String {
    let output = make(target).env("PATH", path.path()).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{stdout}{stderr}");
    // One line of ours, one of make.
    assert_eq!(stderr.lines().count(), 2, "{stderr}");
    stderr.lines().next().unwrap().to_owned()
}

#[test]
fn missing_cargo_is_reported_with_the_command() {
    let path = path(&[]);
    for target in ["build", "run", "test", "docs"] {
        let message = failure(target, &path);
        assert!(
            message.starts_with("make: cargo not found; Rust 1.89 or newer is required: "),
            "{message}"
        );
        assert!(message.contains(GET), "{message}");
    }
}

#[test]
fn old_rustc_is_reported_with_the_command() {
    let old = [("cargo", ""), ("rustc", "rustc 1.88.1 (0 2025-01-01)"), ("cc", "")];
    let message = failure("build", &path(&old));
    let expected = "make: rustc 1.88.1 is too old; Rust 1.89 or newer is required: ";
    assert!(message.starts_with(expected), "{message}");
    assert!(message.contains(GET), "{message}");
}

#[test]
fn missing_linker_is_reported_with_the_command() {
    let without_cc = [("cargo", ""), ("rustc", "rustc 1.89.0 (0 2025-01-01)")];
    let message = failure("run", &path(&without_cc));
    let expected =
        format!("make: no C compiler (cc) found; it is needed to link the program: {GET}");
    assert_eq!(message, expected);
}

#[test]
fn sufficient_toolchain_is_accepted() {
    let path = path(&[("cargo", ""), ("rustc", "rustc 1.100.0"), ("cc", "")]);
    let status = make("toolchain").env("PATH", path.path()).status().unwrap();
    assert!(status.success());
}

#[test]
fn cargo_builds_where_the_makefile_expects_it() {
    // In the script's quotes.
    let target = r#"'"$CARGO_TARGET_DIR"'"#;
    let path = path(&[("cargo", target), ("rustc", "rustc 1.89.0"), ("cc", "")]);
    let output = make("build").env("PATH", path.path()).output().unwrap();
    let expected = concat!(env!("CARGO_MANIFEST_DIR"), "/target\n");
    assert!(String::from_utf8(output.stdout).unwrap().ends_with(expected));
}

#[test]
fn install_accepts_spaces_in_paths() {
    let directory = TempDir::new().unwrap();
    let (root, program) = (directory.path().join("a tree"), directory.path().join("a program"));
    fs::write(&program, "").unwrap();
    let status = make("install")
        .arg("prefix=/usr")
        .arg(format!("DESTDIR={}", root.display()))
        .arg(format!("binary={}", program.display()))
        .status()
        .unwrap();
    assert!(status.success());
    for file in [
        "etc/ina260-exporter.toml",
        "usr/bin/ina260-exporter",
        "usr/lib/systemd/system/ina260-exporter.service",
        "usr/share/doc/ina260-exporter/docs/metrics.md",
        "usr/share/doc/ina260-exporter/examples/prometheus/alerts.yml",
    ] {
        assert!(root.join(file).is_file(), "{file}");
    }
}
