//! Length of the README and of lines.

use std::fs;
use std::path::Path;

use crate::documents::{README, all, prose, read, root};

/// Columns of a line of prose, code or comment.
const COLUMNS: usize = 100;

#[test]
fn readme_has_at_most_1500_words() {
    let words = read(README).split_whitespace().count();
    assert!(words <= 1_500, "{words} words");
}

/// Returns whether a line of Markdown may be longer: tables, pictures, comments, and a single word.
fn is_exempt(line: &str) -> bool {
    let word = line.trim_start_matches(|c: char| c == '-' || c.is_whitespace());
    line.starts_with(['|', '!', '<']) || !word.contains(' ')
}

#[test]
fn prose_is_wrapped() {
    let mut long = Vec::new();
    for path in all() {
        for (number, line) in prose(&read(&path)) {
            if line.chars().count() > COLUMNS && !is_exempt(line) {
                long.push(format!("{path}:{number}"));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn code_is_wrapped() {
    let mut long = Vec::new();
    for directory in ["src", "tests", "benches", "config/prometheus"] {
        collect_long_lines(directory, &mut long);
    }
    assert!(long.is_empty(), "{long:#?}");
}

fn collect_long_lines(directory: &str, long: &mut Vec<String>) {
    for entry in fs::read_dir(root(directory)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let path = format!("{directory}/{name}");
        if root(&path).is_dir() {
            collect_long_lines(&path, long);
        } else if Path::new(&path).extension().is_some_and(|it| it == "rs" || it == "yml") {
            for (index, line) in read(&path).lines().enumerate() {
                if line.chars().count() > COLUMNS {
                    long.push(format!("{path}:{}", index + 1));
                }
            }
        }
    }
}
