//! The installed shell completions, `docs/completions/`, against the command line.
//!
//! `UPDATE_GOLDEN=1 cargo test --test completions` writes them.

use std::process::Command;
use std::{env, fs};

use clap::CommandFactory;
use clap_complete::{Shell, generate};
use ina260_exporter::cli::CommandLine;

const NAME: &str = "ina260-exporter";

fn assert_generated(file: &str, shell: Shell) {
    let mut generated = Vec::new();
    generate(shell, &mut CommandLine::command(), NAME, &mut generated);
    if shell == Shell::Bash {
        generated = with_one_name(&generated);
    }
    let path = format!("docs/completions/{file}");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        // In one step: another test reads the file at the same time.
        let new = format!("{path}.new");
        fs::write(&new, &generated).unwrap();
        fs::rename(&new, &path).unwrap();
    }
    assert!(
        fs::read(&path).unwrap() == generated,
        "{path} differs from the command line; run make docs"
    );
}

/// Unifies the program's name: for Bash, `clap_complete` writes its hyphen in two ways, and no flag
/// of a subcommand would be completed.
fn with_one_name(script: &[u8]) -> Vec<u8> {
    let script = str::from_utf8(script).unwrap();
    let script = script.replace("ina260__subcmd__exporter", "ina260__exporter");
    script.into_bytes()
}

#[test]
fn completions_match_the_command_line() {
    assert_generated("ina260-exporter.bash", Shell::Bash);
    assert_generated("_ina260-exporter", Shell::Zsh);
    assert_generated("ina260-exporter.fish", Shell::Fish);
}

#[test]
fn bash_completes_flags_and_commands() {
    for (typed, completed) in [
        ("ina260-exporter --check", "--check-config"),
        ("ina260-exporter sc", "scan"),
        ("ina260-exporter scan --to", "--toml"),
        ("ina260-exporter read --fol", "--follow"),
        ("ina260-exporter watch --pri", "--price"),
        ("ina260-exporter help wa", "watch"),
    ] {
        let script = format!(
            "source docs/completions/ina260-exporter.bash; \
             COMP_WORDS=({typed}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _ina260__exporter ina260-exporter \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; \
             echo \"${{COMPREPLY[@]}}\""
        );
        let bash = Command::new("bash").args(["-c", &script]).output().unwrap();
        assert_eq!(
            String::from_utf8(bash.stdout).unwrap().trim(),
            completed,
            "{typed}: {}",
            String::from_utf8_lossy(&bash.stderr)
        );
    }
}
