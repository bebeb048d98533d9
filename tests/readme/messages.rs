//! Troubleshooting by message: each message in the README is one of the code's, each warning and error of the code is there.

use std::fs;
use std::path::Path;

use crate::documents::{first_spans, root, section};

const SECTIONS: [&str; 3] = [
    "### At the start",
    "### While it runs",
    "### Of the configuration",
];

/// The code, with each text in it on one line.
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
    parts
        .fold(first, |text, part| text + part.trim_start())
        .replace("\\\"", "\"")
}

/// What is the same in every message of a kind: what stands between the gaps.
fn fixed_parts<'a>(message: &'a str, gaps: &'a [char]) -> impl Iterator<Item = &'a str> {
    let is_mark = |c: char| !c.is_alphanumeric();
    let parts = message
        .split(gaps)
        .map(move |part| part.trim_matches(is_mark));
    parts.filter(|part| part.contains(char::is_alphabetic))
}

#[test]
fn every_message_of_the_readme_is_one_of_the_codes() {
    let code = code(&root("src"));
    for message in SECTIONS.into_iter().flat_map(first_spans) {
        for part in fixed_parts(&message, &['…', '(']) {
            assert!(code.contains(part), "\"{part}\" of {message}");
        }
    }
}

#[test]
fn every_warning_and_error_is_in_the_readme() {
    let told = SECTIONS.map(section).concat();
    let code = code(&root("src"));
    let macros = ["warn!(", "error!("];
    let mut count = 0;
    for call in macros.iter().flat_map(|name| code.split(name).skip(1)) {
        let message = call.split('"').nth(1).unwrap_or_default();
        let longest = fixed_parts(message, &['{', '}']).filter(|part| part.contains(' '));
        let Some(longest) = longest.max_by_key(|part| part.len()) else {
            continue; // Made elsewhere, as an error.
        };
        assert!(told.contains(longest), "\"{longest}\"");
        count += 1;
    }
    assert!(count > 5);
}
