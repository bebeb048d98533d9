//! Reads the documents: Markdown's tables and code, mdoc(7)'s lists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) type Set = BTreeSet<String>;

pub(crate) fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The README's text below a heading, up to the next one.
pub(crate) fn section(heading: &str) -> String {
    below(&read("README.md"), heading)
}

/// A document's text below a heading, up to the next one.
fn below(document: &str, heading: &str) -> String {
    let lines = document.lines().skip_while(|line| *line != heading).skip(1);
    let text: Vec<&str> = lines.take_while(|line| !line.starts_with('#')).collect();
    assert!(!text.is_empty(), "there is no section {heading}");
    text.join("\n")
}

/// The rows of the tables of one of the README's sections, as cells, without their heads.
pub(crate) fn rows(heading: &str) -> Vec<Vec<String>> {
    table(&read("README.md"), heading)
}

/// The same of any document.
pub(crate) fn table(document: &str, heading: &str) -> Vec<Vec<String>> {
    let section = below(document, heading);
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

/// What stands in backticks.
pub(crate) fn spans(text: &str) -> Vec<String> {
    let parts = text.split('`').skip(1).step_by(2);
    parts.map(str::to_owned).collect()
}

/// What stands in backticks in the first column of a section's tables.
pub(crate) fn first_spans(heading: &str) -> Vec<String> {
    let rows = rows(heading);
    rows.iter().flat_map(|row| spans(&row[0])).collect()
}

/// The first word after `prefix` on each line of a manual page's section that begins with it.
pub(crate) fn man(page: &str, section: &str, prefix: &str) -> Set {
    let text = read(page);
    let heading = format!(".Sh {section}");
    let lines = text.lines().skip_while(|line| *line != heading).skip(1);
    let lines = lines.take_while(|line| !line.starts_with(".Sh "));
    lines
        .filter_map(|line| line.strip_prefix(prefix)?.split(' ').next())
        .map(str::to_owned)
        .collect()
}
