//! Troubleshooting by message: each message on the page is in the code, and each warning and error
//! in the code is on the page.

use std::fs;
use std::path::Path;

use crate::documents::{TROUBLESHOOTING, first_spans, root, section};

const SECTIONS: [&str; 4] =
    ["## At start-up", "## While running", "## From run and calibrate", "## Configuration errors"];

/// Returns the code below a directory, with each string literal on one line.
fn code(directory: &Path) -> String {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let texts = paths.map(|path| {
        if path.ends_with("tests") || path.ends_with("tests.rs") {
            String::new()
        } else if path.is_dir() {
            code(&path)
        } else {
            fs::read_to_string(path).unwrap()
        }
    });
    let lines = texts.collect::<String>();
    let mut parts = lines.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start()).replace("\\\"", "\"")
}

/// Returns the parts of a message that do not vary: those between the gaps.
fn fixed_parts<'a>(message: &'a str, gaps: &'a [char]) -> impl Iterator<Item = &'a str> {
    let is_mark = |c: char| !c.is_alphanumeric();
    let parts = message.split(gaps).map(move |part| part.trim_matches(is_mark));
    parts.filter(|part| part.contains(char::is_alphabetic))
}

#[test]
fn documented_messages_are_in_the_code() {
    let code = code(&root("src"));
    let mut missing = Vec::new();
    for message in SECTIONS.into_iter().flat_map(|heading| first_spans(TROUBLESHOOTING, heading)) {
        for part in fixed_parts(&message, &['…', '(', ')']) {
            if !code.contains(part) {
                missing.push(format!("\"{part}\" of {message}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_warning_and_error_is_documented() {
    let page = SECTIONS.map(|heading| section(TROUBLESHOOTING, heading)).concat();
    let code = code(&root("src"));
    let macros = ["warn!(", "error!("];
    let (mut count, mut missing) = (0, Vec::new());
    for call in macros.iter().flat_map(|name| code.split(name).skip(1)) {
        let message = call.split('"').nth(1).unwrap_or_default();
        let longest = fixed_parts(message, &['{', '}']).filter(|part| part.contains(' '));
        let Some(longest) = longest.max_by_key(|part| part.len()) else {
            continue; // Created elsewhere, as an error.
        };
        if !page.contains(longest) {
            missing.push(longest.to_owned());
        }
        count += 1;
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(count > 5);
}
