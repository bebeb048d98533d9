//! The layers: which module may use which, compared with the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules from the lowest to the highest, each with the paths of lower ones that it may use:
/// dependencies point downwards only, so there is no import cycle. Unit tests may use everything.
const LAYERS: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("clock", &[]),
    ("printable", &[]),
    ("signals", &[]),
    ("i2c", &["clock", "printable"]),
    ("ina260", &["i2c", "units"]),
    ("simulated", &["i2c", "clock", "ina260::registers", "ina260::settings", "units"]),
    (
        "config",
        &[
            "i2c::Address",
            "i2c::BusName",
            "i2c::Location",
            "i2c::adapters",
            "i2c::mux",
            "ina260::alert",
            "ina260::calibration",
            "ina260::settings",
            "printable",
            "simulated::Faults",
            "units",
        ],
    ),
    ("logging", &["config::LogLevel"]),
    ("meter", &["ina260::settings", "units"]),
    ("sampler", &["clock", "i2c", "ina260", "meter", "units"]),
    ("state", &["i2c::Location"]),
    ("scrape", &["config::Listen", "i2c::Location", "ina260::settings", "printable", "units"]),
    (
        "exposition",
        &["clock", "config::Listen", "config::ServerSettings", "meter", "scrape", "units"],
    ),
    (
        "supervisor",
        &[
            "clock",
            "config",
            "exposition::AlertView",
            "exposition::View",
            "i2c",
            "ina260",
            "meter",
            "printable",
            "sampler",
            "simulated",
            "state::SavedSensor",
        ],
    ),
    (
        "daemon",
        &[
            "clock::SystemClock",
            "config",
            "exposition",
            "logging",
            "meter::SharedMeter",
            "scrape::Url",
            "signals",
            "simulated::Faults",
            "state",
            "supervisor",
        ],
    ),
    (
        "commands",
        &[
            "clock::SystemClock",
            "config",
            "daemon::DaemonArgs",
            "exposition",
            "i2c",
            "ina260",
            "meter",
            "printable",
            "scrape",
            "signals",
            "simulated::Faults",
            "supervisor",
            "units",
        ],
    ),
    ("cli", &["commands", "daemon::DaemonArgs"]),
    ("main", &["cli", "commands", "daemon", "printable", "signals"]),
];

/// The only module that names each external crate, except for those that any module may name.
const CRATES: &[(&str, &str)] = &[
    ("figment", "config"),
    ("httparse", "scrape"),
    ("ipnet", "config"),
    ("metrics", "exposition"),
    ("metrics_exporter_prometheus", "exposition"),
    ("metrics_util", "exposition"),
    ("ratatui", "commands"),
    ("rppal", "i2c"),
    ("sd_notify", "daemon"),
    ("signal_hook", "signals"),
    ("tracing_journald", "logging"),
    ("tokio", "exposition"),
    ("toml_edit", "config"),
    ("tracing_subscriber", "logging"),
    ("unicode_width", "printable"),
];

/// Crates that any module may name.
const ANYWHERE: [&str; 7] =
    ["clap", "rustix", "serde", "serde_json", "strum", "thiserror", "tracing"];

#[test]
fn layers_are_listed_from_the_lowest_to_the_highest() {
    for (index, (module, allowed)) in LAYERS.iter().enumerate() {
        for path in *allowed {
            let name = path.split("::").next().unwrap();
            let lower = LAYERS[..index].iter().any(|(lower, _)| *lower == name);
            assert!(lower, "{module} uses {name}, which is not below it");
        }
    }
}

#[test]
fn file_names_are_unique() {
    let mut names = BTreeSet::new();
    for (file, _) in sources() {
        let name = file.file_name().unwrap().to_owned();
        assert!(name == "mod.rs" || names.insert(name), "{}", file.display());
    }
}

#[test]
fn files_of_a_module_have_no_import_cycle() {
    let mut imports: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
    let files: Vec<PathBuf> = sources().into_iter().map(|(file, _)| file).collect();
    for file in files.iter().filter(|file| !file.ends_with("mod.rs")) {
        let source = without_tests(&code(&fs::read_to_string(file).unwrap()));
        let siblings = files.iter().filter(|other| {
            let name = other.file_stem().unwrap().to_str().unwrap();
            other.parent() == file.parent()
                && *other != file
                && *name != *"mod"
                && paths(&source, "super").iter().any(|path| path.split("::").next() == Some(name))
        });
        imports.insert(file.clone(), siblings.cloned().collect());
    }
    // Files that import none of the rest are removed repeatedly; what remains is a cycle.
    loop {
        let left: BTreeSet<PathBuf> = imports.keys().cloned().collect();
        imports.retain(|_, imported| imported.iter().any(|file| left.contains(file)));
        if imports.len() == left.len() {
            break;
        }
    }
    assert!(imports.is_empty(), "{imports:#?}");
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let mut seen = BTreeSet::new();
    for (file, module) in sources() {
        if module == "lib" {
            continue;
        }
        let source = without_tests(&code(&fs::read_to_string(&file).unwrap()));
        let depth = file.strip_prefix("src").unwrap().components().count();
        // src/a.rs and src/a/mod.rs are one level below the root, src/a/b.rs is two.
        let depth = depth - usize::from(file.ends_with("mod.rs"));
        let forbidden = forbidden(&module, &source, depth);
        assert!(forbidden.is_empty(), "{}: {forbidden:#?}", file.display());
        seen.insert(module);
    }
    let known: BTreeSet<_> = LAYERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(seen, known, "modules in src, and in the table");
}

#[test]
fn each_crate_is_named_in_one_module() {
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let crates = dependencies();
    for (file, module) in sources() {
        let source = without_tests(&code(&fs::read_to_string(&file).unwrap()));
        for name in &crates {
            if !paths(&source, name).is_empty() {
                named.entry(name.clone()).or_default().insert(module.clone());
            }
        }
    }
    named.retain(|name, _| !ANYWHERE.contains(&name.as_str()));
    let table = CRATES.iter().map(|(name, module)| {
        let module = BTreeSet::from([(*module).to_owned()]);
        ((*name).to_owned(), module)
    });
    assert_eq!(named, table.collect(), "crates with their modules, and the table");
}

/// Returns every source file with its top-level module, without test files.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") {
                walk(&path, files);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(Path::new("src"), &mut files);
    files.retain(|file| !file.ends_with("tests.rs"));
    let module = |file: &Path| {
        let first = file.components().nth(1).unwrap().as_os_str();
        Path::new(first).file_stem().unwrap().to_str().unwrap().to_owned()
    };
    files.into_iter().map(|file| (file.clone(), module(&file))).collect()
}

/// Returns the names in `[dependencies]` as written in sources.
fn dependencies() -> Vec<String> {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let (_, section) = manifest.split_once("[dependencies]\n").unwrap();
    let section = section.split("\n[").next().unwrap();
    let lines = section.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.split_once(" = ")?.0.replace('-', "_"))).collect()
}

/// Returns the paths in `source` that a module may not use, written as in the table.
fn forbidden(module: &str, source: &str, depth: usize) -> Vec<String> {
    let (_, allowed) = LAYERS
        .iter()
        .find(|(name, _)| *name == module)
        .unwrap_or_else(|| panic!("{module} is not in the table"));
    let root = if module == "main" { "ina260_exporter" } else { "crate" };
    let may = |path: &String| {
        let is_within = |whole: &str| path == whole || path.starts_with(&format!("{whole}::"));
        is_within(module) || allowed.iter().any(|allowed| is_within(allowed))
    };
    let mut found = paths(source, root);
    found.retain(|path| !may(path));
    // A path that reaches the root can lead anywhere.
    let up = "super::".repeat(depth);
    if source.contains(&up) {
        found.push(up);
    }
    found
}

/// Returns every path in `source` that begins at `root`, without it. `use crate::a::{b, c::d}`
/// gives `a::b` and `a::c::d`.
fn paths(source: &str, root: &str) -> Vec<String> {
    let begins = |at: usize| {
        let before = &source[..at];
        // `::metrics` is the crate where a module has that name, too.
        let absolute =
            before.strip_suffix("::").filter(|path| !path.ends_with(|c| is_word(c) || c == '>'));
        let before = absolute.unwrap_or(before).chars().next_back();
        let after = source[at + root.len()..].chars().next();
        !before.is_some_and(|c| is_word(c) || c == ':' || c == '.') && !after.is_some_and(is_word)
    };
    let mut found = Vec::new();
    for (at, _) in source.match_indices(root).filter(|(at, _)| begins(*at)) {
        let rest = &source[at + root.len()..];
        if let Some(rest) = rest.strip_prefix("::") {
            tree(rest, "", &mut found);
        } else if source[..at].ends_with("use ") {
            found.push(String::new());
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Reads one path, or a tree of them. Returns the text after it.
fn tree<'a>(text: &'a str, prefix: &str, found: &mut Vec<String>) -> &'a str {
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = tree(rest.trim_start(), prefix, found).trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
            if let Some(rest) = rest.strip_prefix('}') {
                return rest;
            }
            assert!(!rest.is_empty(), "unclosed brace");
        }
    }
    let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end.max(usize::from(text.starts_with('*'))));
    let path = match name {
        "self" | "*" | "" => prefix.to_owned(),
        name if prefix.is_empty() => name.to_owned(),
        name => format!("{prefix}::{name}"),
    };
    match rest.strip_prefix("::") {
        Some(rest) if rest.starts_with(|c| is_word(c) || c == '{' || c == '*') => {
            tree(rest, &path, found)
        }
        _ => {
            found.push(path);
            // `as` and the new name, inside a tree.
            let other = rest.strip_prefix(" as ").map(|name| name.trim_start_matches(is_word));
            other.unwrap_or(rest)
        }
    }
}

/// Returns a source without comments. Strings are treated as code, which errs on the safe side.
fn code(source: &str) -> String {
    let lines = source.lines().map(|line| match line.find("//") {
        // Not the two of a URL.
        Some(at) if !line[..at].ends_with(':') => &line[..at],
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns a formatted source without its inline tests, which end with the file.
fn without_tests(source: &str) -> String {
    source.split("mod tests {").next().unwrap_or_default().to_owned()
}

/// Tests of the checks above with sources that break the rules.
mod checker {
    use super::*;

    #[test]
    fn forbidden_paths_are_found() {
        let units = "use crate::meter::Meter;\nfn f() -> crate::clock::SystemClock {}";
        assert_eq!(forbidden("units", units, 1), ["meter::Meter", "clock::SystemClock"]);
        let config =
            "use crate::i2c::{Address, Bus};\nuse crate::ina260::{self, settings::Settings};";
        assert_eq!(forbidden("config", config, 2), ["i2c::Bus", "ina260"]);
        let sampler = "use crate::i2c::Bus;\nuse crate::{clock::Clock, config::Plan as P, meter};";
        assert_eq!(forbidden("sampler", sampler, 2), ["config::Plan"]);
        let main = "use ina260_exporter::i2c::linux::LinuxBus;\nuse ina260_exporter::exposition;";
        assert_eq!(forbidden("main", main, 1), ["i2c::linux::LinuxBus", "exposition"]);
        assert_eq!(forbidden("meter", "use super::units::Volts;", 1), ["super::"]);
        assert_eq!(forbidden("meter", "use super::Sensor;", 2), [""; 0]);
        assert_eq!(forbidden("meter", "use super::super::units;", 2), ["super::super::"]);
    }

    #[test]
    fn names_are_found_only_as_paths() {
        assert_eq!(paths("use rppal::i2c::I2c;", "rppal"), ["i2c::I2c"]);
        assert_eq!(paths("fn f() { metrics::with_local(1); }", "metrics"), ["with_local"]);
        assert_eq!(paths("pub use rppal;", "rppal"), [""]);
        for other in [
            "let metrics = 1;",
            "use metrics_util::Kind;",
            "use crate::metrics::Metric;",
            "self.metrics::<u8>()",
        ] {
            assert_eq!(paths(other, "metrics"), [""; 0], "{other}");
        }
    }

    #[test]
    fn comments_and_tests_are_ignored() {
        let source = "use crate::a; // use crate::b;\n//! crate::c\n\
                      let url = \"http://crate::d\";\n\
                      #[cfg(test)]\nmod tests {\n    use crate::e;\n}\n";
        assert_eq!(paths(&without_tests(&code(source)), "crate"), ["a", "d"]);
    }
}
