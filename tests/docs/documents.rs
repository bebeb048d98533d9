//! Reads the documents: Markdown's headings, tables and code, and the lists of mdoc(7).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) type Set = BTreeSet<String>;

pub(crate) const README: &str = "README.md";
pub(crate) const CONFIGURATION: &str = "docs/configuration.md";
pub(crate) const METRICS_PAGE: &str = "docs/metrics.md";
pub(crate) const COMMANDS: &str = "docs/commands.md";
pub(crate) const TROUBLESHOOTING: &str = "docs/troubleshooting.md";
pub(crate) const SETTINGS: &str = "docs/settings.md";
pub(crate) const MANUAL: &str = "docs/man/ina260-exporter.8";
pub(crate) const CONFIGURATION_MANUAL: &str = "docs/man/ina260-exporter.toml.5";

/// Returns the path of a file of the repository.
pub(crate) fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the paths of all Markdown documents.
pub(crate) fn all() -> Vec<String> {
    let mut paths = vec!["tests/system/README.md".to_owned()];
    for directory in ["", "docs/"] {
        for entry in fs::read_dir(root(directory)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if Path::new(&name).extension().is_some_and(|it| it == "md") {
                paths.push(format!("{directory}{name}"));
            }
        }
    }
    paths.sort();
    assert!(paths.len() > 12, "{paths:?}");
    paths
}

/// Returns the lines outside of code blocks, with their numbers from 1.
pub(crate) fn prose(document: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    (1..).zip(document.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// Returns the headings of a document, without their marks.
pub(crate) fn headings(document: &str) -> impl Iterator<Item = &str> {
    let lines = prose(document).filter(|(_, line)| line.starts_with('#'));
    lines.map(|(_, line)| line.trim_start_matches('#').trim())
}

/// Returns a document's text outside of code, from a heading to the next one.
pub(crate) fn section(path: &str, heading: &str) -> String {
    let document = read(path);
    let lines = prose(&document).map(|(_, line)| line);
    let lines = lines.skip_while(|line| *line != heading).skip(1);
    let text: Vec<&str> = lines.take_while(|line| !line.starts_with('#')).collect();
    assert!(!text.is_empty(), "{path} has no section {heading}");
    text.join("\n")
}

/// Returns the rows of a section's tables as cells, without the table heads.
pub(crate) fn rows(path: &str, heading: &str) -> Vec<Vec<String>> {
    let section = section(path, heading);
    let lines: Vec<&str> = section.lines().filter(|l| l.starts_with('|')).collect();
    let is_rule = |index: usize| lines.get(index).is_some_and(|l| l.starts_with("| ---"));
    let cells = |line: &str| {
        let cells = line.trim_end_matches('|').split('|').skip(1);
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    (0..lines.len())
        .filter(|index| !is_rule(*index) && !is_rule(index + 1))
        .map(|index| cells(lines[index]))
        .collect()
}

/// Returns the texts in backticks.
pub(crate) fn spans(text: &str) -> Vec<String> {
    let parts = text.split('`').skip(1).step_by(2);
    parts.map(str::to_owned).collect()
}

/// Returns the texts in backticks in the first column of a section's tables.
pub(crate) fn first_spans(path: &str, heading: &str) -> Vec<String> {
    let rows = rows(path, heading);
    rows.iter().flat_map(|row| spans(&row[0])).collect()
}

/// Returns the code blocks of a language, without their indentation, each with the text after it.
pub(crate) fn blocks(document: &str, language: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = document.lines().collect();
    let mut blocks = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let text = line.trim_start();
        if text.strip_prefix("```") != Some(language) {
            continue;
        }
        let indentation = &line[..line.len() - text.len()];
        let inside =
            lines[index + 1..].iter().map(|line| line.strip_prefix(indentation).unwrap_or(line));
        let block: Vec<&str> = inside.take_while(|line| *line != "```").collect();
        let after = lines[(index + block.len() + 2).min(lines.len())..].join("\n");
        blocks.push((block.join("\n") + "\n", after));
    }
    blocks
}

/// Returns the first word after `prefix` on each line of a manual page's section that has it.
pub(crate) fn man(page: &str, section: &str, prefix: &str) -> Set {
    let text = read(page);
    let is_heading = |line: &&str| line.starts_with(".Sh ") || line.starts_with(".Ss ");
    let lines = text.lines().skip_while(|line| !is_heading(line) || line[4..] != *section).skip(1);
    lines
        .take_while(|line| !is_heading(line))
        .filter_map(|line| line.strip_prefix(prefix)?.split(' ').next())
        .map(str::to_owned)
        .collect()
}
