//! Links, anchors, paths, commands and pictures.

use std::fs;
use std::path::Path;

use crate::documents::{all, headings, prose, read, root};

/// Link to the releases, relative to the page that shows the README.
const RELEASES: &str = "../../releases";

/// Returns the targets of a document's links and pictures.
fn links(document: &str) -> Vec<String> {
    let text: Vec<&str> = prose(document).map(|(_, line)| line).collect();
    let text = text.join("\n");
    let links = text.split("](").skip(1).filter_map(|l| l.split(')').next());
    links.map(str::to_owned).collect()
}

/// Returns the anchor that GitHub gives to a heading.
fn anchor(heading: &str) -> String {
    let letters = heading.to_lowercase().chars().collect::<Vec<_>>();
    let kept = letters.into_iter().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_and_anchor_exists() {
    let mut broken = Vec::new();
    for path in all() {
        let directory = Path::new(&path).parent().unwrap();
        for link in links(&read(&path)) {
            if link.contains("://") || link == RELEASES {
                continue;
            }
            let (file, wanted) = link.split_once('#').unwrap_or((&link, ""));
            let target =
                if file.is_empty() { Path::new(&path).to_owned() } else { directory.join(file) };
            let target = target.to_str().unwrap();
            let exists = root(target).exists()
                && (wanted.is_empty()
                    || headings(&read(target)).any(|heading| anchor(heading) == wanted));
            if !exists {
                broken.push(format!("{path}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_page_is_linked_from_the_readme() {
    let readme = links(&read("README.md"));
    for path in all() {
        let is_own = path == "README.md" || path.starts_with("tests/");
        assert!(is_own || readme.contains(&path), "README.md: no link to {path}");
    }
}

#[test]
fn every_make_command_exists() {
    let makefile = read("Makefile");
    for path in all() {
        let text = read(&path).replace('\n', "`");
        let is_target = |c: &char| c.is_ascii_lowercase() || *c == '-';
        for command in text.split("`make ").skip(1) {
            let target: String = command.chars().take_while(is_target).collect();
            let exists = makefile.contains(&format!("\n{target}:"));
            assert!(exists || target.is_empty(), "{path}: make {target}");
        }
    }
}

/// Returns whether a word in backticks is a path of the repository.
fn is_path(word: &str) -> bool {
    let folders = ["src/", "tests/", "benches/", "config/", "docs/", "systemd/", "debian/", ".ci/"];
    folders.iter().any(|folder| word.starts_with(folder)) && !word.contains(['*', ' ', '…', '<'])
}

#[test]
fn every_path_in_backticks_exists() {
    let mut missing = Vec::new();
    for path in all() {
        // Old releases may name files that are gone.
        if path == "CHANGELOG.md" {
            continue;
        }
        for word in crate::documents::spans(&read(&path).replace("```", "")) {
            let file = word.split("::").next().unwrap_or(&word);
            if is_path(&word) && !root(file).exists() {
                missing.push(format!("{path}: {word}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_picture_is_linked_and_accessible() {
    let linked: Vec<String> = all()
        .iter()
        .flat_map(|path| {
            let directory = Path::new(path).parent().unwrap();
            let links = links(&read(path)).into_iter();
            links.map(|link| directory.join(link).display().to_string())
        })
        .collect();
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
        let name = format!("docs/{}", path.file_name().unwrap().display());
        assert!(linked.contains(&name), "no link to {name}");
        pictures += 1;
    }
    assert!(pictures >= 3);
}
