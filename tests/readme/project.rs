//! Exit codes, versions, commands and paths: the documents against the files that decide them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::documents::{Set, first_spans, man, read, root, rows, section, spans};

const DOCUMENTS: [&str; 5] = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/fleet.md",
    "docs/settings.md",
    "tests/system/README.md",
];

#[test]
fn the_exit_codes_are_those_of_the_code_the_manual_and_the_unit() {
    let rows = rows("### Exit codes");
    let told: BTreeMap<&str, bool> = rows
        .iter()
        .map(|row| (row[0].as_str(), row[2].starts_with("starts again")))
        .collect();
    let codes: Set = told.keys().map(ToString::to_string).collect();

    let main = read("src/main.rs");
    let constants = main.lines().filter(|line| line.starts_with("const "));
    let mut in_code: Set = constants
        .filter_map(|line| line.split_once(": u8 = ")?.1.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    in_code.insert("0".to_owned());
    assert_eq!(codes, in_code);
    assert_eq!(
        codes,
        man("docs/man/ina260-exporter.8", "EXIT STATUS", ".It ")
    );

    let unit = read("systemd/ina260-exporter.service");
    let mut lines = unit.lines();
    let no_restart = lines.find_map(|line| line.strip_prefix("RestartPreventExitStatus="));
    let stays = told
        .iter()
        .filter(|(code, again)| !**again && **code != "0");
    let stays: Vec<&str> = stays.map(|(code, _)| *code).collect();
    assert_eq!(no_restart, Some(stays.join(" ").as_str()));
}

#[test]
fn the_version_is_the_same_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    let lock = read("Cargo.lock");
    let ours = lock
        .split("name = \"ina260-exporter\"\nversion = \"")
        .nth(1);
    assert_eq!(ours.and_then(|o| o.split('"').next()), Some(version));
    let debian = read("debian/changelog");
    assert_eq!(debian.split(['(', ')']).nth(1), Some(version));
    let changelog = read("CHANGELOG.md");
    let headings = changelog.lines().filter_map(|l| l.strip_prefix("## ["));
    let releases: Vec<&str> = headings.filter_map(|l| l.split(']').next()).collect();
    assert_eq!(releases[..2], ["Unreleased", version]);
}

#[test]
fn the_rust_version_is_the_same_everywhere() {
    let rust = env!("CARGO_PKG_RUST_VERSION");
    let told = section("## Try it");
    assert!(told.contains(&format!("Rust {rust} or newer")), "{told}");
    let control = read("debian/control");
    let needed: Vec<&str> = control
        .lines()
        .filter(|line| line.contains("cargo") || line.contains("rust"))
        .filter_map(|line| line.split("(>= ").nth(1)?.split(')').next())
        .collect();
    assert_eq!(needed, [rust; 3], "debian/control");
}

#[test]
fn the_first_commands_of_the_readme_are_make_run_and_make_test() {
    let readme = read("README.md");
    let blocks = readme.split("\n```").skip(1).step_by(2);
    let mut shell = blocks.filter_map(|block| block.strip_prefix("sh\n"));
    assert_eq!(shell.next(), Some("make run\nmake test"));
}

#[test]
fn every_make_command_of_the_documents_exists() {
    let makefile = read("Makefile");
    for path in DOCUMENTS {
        let text = read(path).replace('\n', "`");
        let is_target = |c: &char| c.is_ascii_lowercase() || *c == '-';
        for command in text.split("`make ").skip(1) {
            let target: String = command.chars().take_while(is_target).collect();
            let exists = makefile.contains(&format!("\n{target}:"));
            assert!(exists || target.is_empty(), "{path}: make {target}");
        }
    }
}

#[test]
fn every_path_and_link_of_the_documents_exists() {
    for path in DOCUMENTS {
        let directory = Path::new(path).parent().unwrap();
        let text = read(path);
        let links = text.split("](").skip(1).filter_map(|l| l.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                Path::new(path).to_owned()
            } else {
                directory.join(file)
            };
            assert!(root(target.to_str().unwrap()).exists(), "{path}: {link}");
            if !anchor.is_empty() {
                let text = read(target.to_str().unwrap());
                let headings = text.lines().filter(|line| line.starts_with('#'));
                let mut anchors = headings.map(|line| {
                    line.trim_start_matches(['#', ' '])
                        .to_lowercase()
                        .replace(':', "")
                        .replace(' ', "-")
                });
                assert!(anchors.any(|known| known == anchor), "{path}: {link}");
            }
        }
    }
    for path in rows("## Layout")
        .iter()
        .flat_map(|row| spans(&row.concat()))
    {
        let module = root("src").join(&path);
        let command = path.starts_with("make ");
        let exists =
            root(&path).exists() || module.exists() || module.with_extension("rs").exists();
        assert!(
            exists || command || path.starts_with("--"),
            "README.md: {path}"
        );
    }
}

#[test]
fn every_picture_tells_a_screen_reader_what_it_shows_and_has_a_dark_variant() {
    let mut pictures = 0;
    for entry in fs::read_dir(root("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "svg") {
            continue;
        }
        let picture = fs::read_to_string(&path).unwrap();
        for part in [
            "role=\"img\" aria-labelledby=\"title desc\"",
            "<title id=\"title\">",
            "<desc id=\"desc\">",
            "@media (prefers-color-scheme: dark)",
        ] {
            assert!(picture.contains(part), "{}: {part}", path.display());
        }
        let link = format!("](docs/{})", path.file_name().unwrap().display());
        assert!(read("README.md").contains(&link), "README.md: {link}");
        pictures += 1;
    }
    assert!(pictures >= 2);
}

#[test]
fn every_module_is_in_the_readmes_layout() {
    let told = first_spans("## Layout");
    for entry in fs::read_dir(root("src")).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            module == "lib" || told.iter().any(|m| m == module),
            "{module}"
        );
    }
}
