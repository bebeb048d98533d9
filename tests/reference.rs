//! The generated reference: lists of keys, metrics and options in the documentation, the manual
//! pages and the shipped configuration file.
//!
//! `UPDATE_GOLDEN=1 cargo test --test reference` writes it; the test fails if it differs.

use std::collections::{BTreeMap, BTreeSet};
use std::{env, fs};

use clap::CommandFactory;
use clap::{Arg, Command};
use ina260_exporter::cli::CommandLine;
use ina260_exporter::config::keys::{self, KeyInfo};
use ina260_exporter::config::{Overrides, load};
use ina260_exporter::exposition::{METRICS, Metric};
use ina260_exporter::ina260::alert::Function;

const CONFIGURATION: &str = "config/ina260-exporter.toml";
const MANUAL: &str = "docs/man/ina260-exporter.8";
const CONFIGURATION_MANUAL: &str = "docs/man/ina260-exporter.toml.5";
const WIDTH: usize = 100;

/// Compares the text between two lines of a file, or after one, with the generated text, or writes
/// it.
fn assert_generated(path: &str, begin: &str, end: Option<&str>, generated: &str) {
    let text = fs::read_to_string(path).unwrap();
    let (before, rest) =
        text.split_once(&format!("{begin}\n")).unwrap_or_else(|| panic!("{path}: no line {begin}"));
    let (committed, after) = rest.split_at(end.map_or(rest.len(), |end| rest.find(end).unwrap()));
    if committed != generated && env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, [before, begin, "\n", generated, after].concat()).unwrap();
        return;
    }
    assert!(
        committed == generated,
        "{path} differs from the source below {begin}; run make docs. Expected:\n{generated}"
    );
}

fn assert_markdown(path: &str, name: &str, generated: &str) {
    let begin = format!("<!-- generated: {name} -->");
    assert_generated(path, &begin, Some("<!-- end -->"), generated);
}

fn assert_manual(path: &str, name: &str, generated: &str) {
    let begin = format!(".\\\" generated: {name}");
    let list = format!(".Bl -tag -width Ds\n{generated}.El\n");
    assert_generated(path, &begin, Some(".\\\" end\n"), &list);
}

/// Breaks text into lines of at most `width` columns, each with a prefix.
fn wrap(text: &str, prefix: &str, width: usize) -> String {
    let mut lines = vec![prefix.to_owned()];
    for word in text.split(' ') {
        let line = lines.last_mut().unwrap();
        if line.len() + 1 + word.len() > width && line.len() > prefix.len() {
            lines.push(format!("{prefix}{word}"));
        } else {
            if line.len() > prefix.len() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

/// Returns the default in the daemon's table, or in that of a sensor, as code or in words.
fn default(key: &KeyInfo, in_sensor: bool) -> String {
    if in_sensor && key.name == "device" {
        "required".to_owned()
    } else if key.described_default.is_empty() {
        format!("`{}`", key.default)
    } else {
        key.described_default.to_owned()
    }
}

/// Returns the meaning of a key in whole sentences of Markdown.
fn meaning(key: &KeyInfo, in_sensor: bool) -> String {
    let mut meaning = format!("{}.", key.help);
    if !in_sensor && keys::SINGLE_SENSOR.iter().any(|other| other.name == key.name) {
        meaning += " Only for a single sensor.";
    }
    meaning
}

/// Returns the allowed values as Markdown, with code in backticks.
fn values(key: &KeyInfo) -> String {
    let (mut markdown, mut rest) = (String::new(), key.expected);
    while let Some(begin) = rest.find(['"', '[', '{']) {
        let closing = match &rest[begin..] {
            tables if tables.starts_with("[[") => "]]",
            array if array.starts_with('[') => "]",
            table if table.starts_with('{') => "}",
            _ => "\"",
        };
        let end = begin + 1 + rest[begin + 1..].find(closing).unwrap() + closing.len();
        markdown.extend([&rest[..begin], "`", &rest[begin..end], "`"]);
        rest = &rest[end..];
    }
    markdown + rest
}

fn key_table(keys: impl Iterator<Item = &'static KeyInfo>, in_sensor: bool) -> String {
    let rows = keys.map(|key| {
        let (default, values) = (default(key, in_sensor), values(key));
        let meaning = meaning(key, in_sensor);
        format!("| `{}` | {default} | {values} | {meaning} |\n", key.name)
    });
    "| key | default | values | meaning |\n| --- | --- | --- | --- |\n".to_owned()
        + &rows.collect::<String>()
}

#[test]
fn configuration_page_lists_the_keys() {
    let path = "docs/configuration.md";
    assert_markdown(path, "daemon keys", &key_table(keys::at_top(), false));
    assert_markdown(path, "sensor keys", &key_table(keys::in_sensor(), true));
}

/// Converts a line of Markdown to roff: code in quotes, dashes of flags, no control characters.
fn roff(markdown: &str) -> String {
    let mut text = String::new();
    for (index, part) in markdown.split('`').enumerate() {
        let part = part.replace('\\', "\\e").replace("--", "\\-\\-");
        let part = part.replace("e.g. ", "e.g.\\& ");
        if index % 2 == 0 {
            text += &part;
        } else {
            text.extend(["\\(oq", &part.replace(' ', "\\~"), "\\(cq"]);
        }
    }
    let lines = wrap(&text, "", 78);
    let guarded = lines.lines().map(|line| match line.chars().next() {
        Some('.' | '\'') => format!("\\&{line}\n"),
        _ => format!("{line}\n"),
    });
    guarded.collect()
}

fn key_list(keys: impl Iterator<Item = &'static KeyInfo>, in_sensor: bool) -> String {
    let items = keys.map(|key| {
        let meaning = roff(&meaning(key, in_sensor));
        let values = roff(&format!("Value: {}.", values(key)));
        let default = match default(key, in_sensor).as_str() {
            "required" => "Required.\n".to_owned(),
            default => roff(&format!("Default: {default}.")),
        };
        format!(".It Ic {}\n{meaning}{values}{default}", key.name)
    });
    items.collect()
}

#[test]
fn manual_page_lists_the_keys() {
    let path = CONFIGURATION_MANUAL;
    assert_manual(path, "daemon keys", &key_list(keys::at_top(), false));
    assert_manual(path, "sensor keys", &key_list(keys::in_sensor(), true));
}

fn option(argument: &Arg) -> String {
    let name = argument.get_long().unwrap();
    let values = argument.get_value_names().filter(|_| {
        let range = argument.get_num_args();
        range.is_none_or(|range| range.takes_values())
    });
    let value = match values.and_then(|names| names.first()) {
        Some(value) if argument.is_require_equals_set() => format!(" Ns Op = Ns Ar {value}"),
        Some(value) => format!(" Ar {value}"),
        None => String::new(),
    };
    let help = match name {
        "help" => "Print help".to_owned(),
        "version" => "Print the version".to_owned(),
        _ => argument.get_help().unwrap().to_string(),
    };
    let help = match help.split_once(" [default: ") {
        Some((help, default)) => format!("{help}. Default: {}.", default.trim_end_matches(']')),
        None => format!("{help}."),
    };
    format!(".It Fl \\-{name}{value}\n{}", roff(&help))
}

fn options(command: &Command) -> String {
    command.get_arguments().filter(|argument| !argument.is_positional()).map(option).collect()
}

#[test]
fn manual_page_lists_the_options() {
    let mut command = CommandLine::command();
    command.build();
    assert_manual(MANUAL, "daemon options", &options(&command));
    let subcommands = command.get_subcommands();
    for subcommand in subcommands.filter(|subcommand| subcommand.get_name() != "help") {
        let name = format!("{} options", subcommand.get_name());
        assert_manual(MANUAL, &name, &options(subcommand));
    }
}

#[test]
fn configuration_file_shows_the_defaults() {
    let setting = |key: &KeyInfo, in_sensor: bool| {
        let mut texts = vec![meaning(key, in_sensor)];
        if key.expected != "true or false" {
            texts.push(format!("Value: {}.", key.expected));
        }
        let default = default(key, in_sensor);
        if default == "required" {
            texts.push("Required.".to_owned());
        } else if !default.starts_with('`') {
            texts.push(format!("Default: {default}."));
        }
        let comments = texts.iter().map(|text| wrap(&text.replace('`', ""), "# ", WIDTH));
        let comments: String = comments.collect();
        format!("\n{comments}#{} = {}\n", key.name, key.default)
    };
    let top = keys::at_top().filter(|key| key.name != "sensor");
    let top: String = top.map(|key| setting(key, false)).collect();
    let sensor: String = keys::in_sensor().map(|key| setting(key, true)).collect();
    let tables = wrap(
        "Several sensors, or one with more settings: a table for each, instead of device, bus, \
         address and mux above. Only device is required.",
        "# ",
        WIDTH,
    );
    let generated = format!("{top}\n{tables}#[[sensor]]\n{sensor}");
    assert_generated(CONFIGURATION, "# Keys and their defaults:", None, &generated);
}

/// Returns the names of a metric's own labels in the expected scrapes, without those that all
/// series have.
fn scraped_labels(metric: &str) -> Vec<String> {
    let mut labels = Vec::new();
    for entry in fs::read_dir("tests/exposition").unwrap() {
        let scrape = fs::read_to_string(entry.unwrap().path()).unwrap();
        let series = scrape.lines().filter_map(|line| {
            let (name, rest) = line.split_once('{')?;
            (name == metric).then_some(rest)
        });
        for label in series.flat_map(|rest| rest.split("\",")) {
            let name = label.split("=\"").next().unwrap();
            let is_own = !["hostname", "device", "rail"].contains(&name) && !name.starts_with('}');
            if is_own && !labels.iter().any(|other| other == name) {
                labels.push(name.to_owned());
            }
        }
    }
    labels
}

fn labels(metric: &Metric) -> String {
    let with_values = |label: &str, values: &[&str]| {
        let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
        format!("`{label}`: {} ", values.join(", "))
    };
    if let Some((label, values)) = metric.label {
        return with_values(label, values);
    }
    if let Some(unit) = metric.name.strip_prefix("ina260_alert_limit_") {
        let units = BTreeMap::from([("amperes", "A"), ("volts", "V"), ("watts", "W")]);
        let functions = Function::ALL.iter().copied();
        let functions = functions.filter(|function| function.unit() == units[unit]);
        return with_values("on", &functions.map(Function::name).collect::<Vec<_>>());
    }
    let labels = scraped_labels(metric.name);
    let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
    labels.join(", ") + if labels.is_empty() { "" } else { " " }
}

#[test]
fn metrics_page_lists_the_metrics() {
    let rows = METRICS.iter().map(|metric| {
        let Metric { name, help, .. } = metric;
        format!("| `{name}` | {} | {}| {help} |\n", metric.kind(), labels(metric))
    });
    let head = "| metric | type | additional labels | meaning |\n| --- | --- | --- | --- |\n";
    assert_markdown("docs/metrics.md", "metrics", &(head.to_owned() + &rows.collect::<String>()));
}

/// Returns the problems with one environment variable.
fn problems(variable: &str, value: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let overrides = Overrides { config: Some(file.path().into()), ..Overrides::default() };
    let environment = [(format!("INA260_EXPORTER_{variable}"), value.to_owned())];
    load(&overrides, environment).map_or_else(|problems| problems.to_string(), |_| String::new())
}

#[test]
fn own_labels_are_reserved() {
    let labels: BTreeSet<String> = METRICS
        .iter()
        .flat_map(|metric| {
            let labels = labels(metric);
            let names: Vec<_> = match labels.split_once(':') {
                Some((label, _)) => vec![label.to_owned()],
                None => labels.split(", ").map(str::to_owned).collect(),
            };
            names.into_iter().map(|name| name.trim_matches(['`', ' ']).to_owned())
        })
        .filter(|label| !label.is_empty())
        .collect();
    assert!(labels.len() > 10, "{labels:?}");
    for label in labels {
        let sensor = format!("[{{ device = \"a\", labels = {{ {label} = \"x\" }} }}]");
        let problems = problems("SENSOR", &sensor);
        assert!(problems.contains("is reserved"), "{label}: {problems}");
    }
}

#[test]
fn flags_set_keys_or_are_known_not_to() {
    let mut command = CommandLine::command();
    command.build();
    let with_flag = |flag: &str| keys::at_top().find(|key| key.flag == flag);
    for argument in command.get_arguments() {
        let long = argument.get_long().unwrap();
        if ["help", "version"].contains(&long) {
            continue;
        }
        let Some(key) = with_flag(&format!("--{long}")) else {
            let problems = problems(&long.replace('-', "_").to_uppercase(), "x");
            let known =
                problems.contains("is a flag") || problems.contains("port \"x\" is invalid");
            assert!(known, "{long}: {problems}");
            continue;
        };
        // The default in the help is that of the table.
        let help = argument.get_help().unwrap().to_string();
        if let Some((_, default)) = help.split_once("[default: ") {
            let expected = self::default(key, false);
            let expected = expected.trim_matches(['`', '"']);
            assert_eq!(default.trim_end_matches(']'), expected, "--{long}");
        }
    }
    let known: Vec<_> = command.get_arguments().filter_map(Arg::get_long).collect();
    for key in keys::at_top().filter(|key| !key.flag.is_empty()) {
        assert!(known.contains(&&key.flag[2..]), "{} is not a flag", key.flag);
    }
}
