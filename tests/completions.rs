//! The shell completions that are installed, `docs/completions/`, against the command line that they complete.
//!
//! `UPDATE_GOLDEN=1 cargo test --test completions` writes them anew.

use std::process::Command;
use std::{env, fs};

use clap_complete::{Shell, generate};
use ina260_exporter::config;

const NAME: &str = "ina260-exporter";

fn assert_generated(file: &str, shell: Shell) {
    let mut generated = Vec::new();
    generate(shell, &mut config::command(), NAME, &mut generated);
    let path = format!("docs/completions/{file}");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    assert!(
        fs::read(&path).unwrap() == generated,
        "{path} completes another command line; UPDATE_GOLDEN=1 cargo test --test completions"
    );
}

#[test]
fn the_shells_complete_the_command_line_that_there_is() {
    assert_generated("ina260-exporter.bash", Shell::Bash);
    assert_generated("_ina260-exporter", Shell::Zsh);
    assert_generated("ina260-exporter.fish", Shell::Fish);
}

#[test]
fn bash_completes_a_flag() {
    let script = "\
        source docs/completions/ina260-exporter.bash; \
        COMP_WORDS=(ina260-exporter --check); COMP_CWORD=1; \
        _ina260__exporter ina260-exporter --check ina260-exporter; echo \"${COMPREPLY[@]}\"";
    let bash = Command::new("bash").args(["-c", script]).output().unwrap();
    assert_eq!(
        String::from_utf8(bash.stdout).unwrap().trim(),
        "--check-config",
        "{}",
        String::from_utf8_lossy(&bash.stderr)
    );
}
