//! Prometheus' text format, read: `name{label="value"} 1.5`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::describe::quote;

/// One series with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The metric.
    pub name: &'a str,
    /// Its labels, in the order in which they were written.
    pub labels: Vec<(&'a str, Cow<'a, str>)>,
    /// Its value.
    pub value: f64,
}

impl Sample<'_> {
    /// The value of a label; empty is the same as absent.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(label, _)| *label == name);
        found.map_or("", |(_, value)| value)
    }
}

/// Reads a whole scrape.
///
/// # Errors
/// A sentence on what it is instead.
pub fn parse(text: &str) -> Result<Vec<Sample<'_>>, String> {
    let mut samples = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let sample = sample(line);
        samples.push(sample.ok_or_else(|| what_it_is(text, number, line))?);
    }
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("the answer breaks off in the middle of a line".to_owned());
    }
    Ok(samples)
}

/// Reads what an INA260 exporter sends.
///
/// # Errors
/// A sentence on what it is instead.
pub fn parse_ours(text: &str) -> Result<Vec<Sample<'_>>, String> {
    let samples = parse(text)?;
    if samples.is_empty() {
        return Err("answers without a single metric".to_owned());
    }
    // An exporter whose sensors have not been looked for yet has only the latter.
    let is_ours =
        |sample: &Sample| sample.name == "ina260_up" || sample.name.starts_with("ina260_exporter_");
    if samples.iter().any(is_ours) {
        return Ok(samples);
    }
    if samples.iter().any(|sample| sample.name == "ina260_voltage") {
        return Err(
            "is the Python script, or another exporter of INA260s: there is no ina260_up"
                .to_owned(),
        );
    }
    let mut programs = BTreeMap::new();
    for sample in &samples {
        let program = sample.name.split('_').next().unwrap_or_default();
        *programs.entry(program).or_insert(0) += 1;
    }
    let of_most = programs.into_iter().max_by_key(|(_, count)| *count);
    let (program, _) = of_most.unwrap_or_default();
    Err(format!(
        "answers with {} metrics of another program, most of them {program}_…",
        samples.len()
    ))
}

fn what_it_is(text: &str, number: usize, line: &str) -> String {
    let start: String = text.trim_start().chars().take(9).collect();
    if start.starts_with('<') {
        let title = text
            .split_once("<title>")
            .and_then(|(_, rest)| rest.split_once("</title>"))
            .map(|(title, _)| format!(" {}", quote(title)));
        return format!(
            "answers with a web page{}, no metrics",
            title.unwrap_or_default()
        );
    }
    if start.starts_with(['{', '[']) {
        return format!("answers with JSON, no metrics: {}", quote(text));
    }
    format!("line {number} of the answer is no metric: {}", quote(line))
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let end = line.find(|c| !is_name(c))?;
    let (name, mut rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut labels = Vec::new();
    rest = rest.trim_start();
    if let Some(mut inner) = rest.strip_prefix('{') {
        loop {
            inner = inner.trim_start_matches([' ', '\t', ',']);
            if let Some(after) = inner.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = inner.split_once('=')?;
            let (value, after) = value(after.trim_start().strip_prefix('"')?)?;
            labels.push((label.trim_end(), value));
            inner = after;
        }
    }
    // A time may follow, which is that of the scrape to us.
    let mut words = rest.split_ascii_whitespace();
    let value = words.next()?.parse().ok()?;
    let is_time = |word: &str| word.parse::<f64>().is_ok();
    (words.all(is_time)).then_some(Sample {
        name,
        labels,
        value,
    })
}

/// A label's value up to its quote, and what follows it.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = text.find(['"', '\\'])?;
    if text.as_bytes()[end] == b'"' {
        return Some((Cow::Borrowed(&text[..end]), &text[end + 1..]));
    }
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((Cow::Owned(value), &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_labels_and_values_are_read_whatever_the_spelling() {
        let text = "# HELP a b\n\na 1\na:b_c{} -1.5e-3\nc { d = \"e\", f=\"\" , } +Inf 1700000000000\ng{h=\"i}\\\"\\\\\\nj,k=\\\"\"} NaN\n";
        let samples = parse(text).unwrap();
        let names: Vec<_> = samples.iter().map(|sample| sample.name).collect();
        assert_eq!(names, ["a", "a:b_c", "c", "g"]);
        assert_eq!((samples[0].value, samples[1].value), (1.0, -1.5e-3));
        assert_eq!((samples[2].label("d"), samples[2].label("f")), ("e", ""));
        assert_eq!(samples[2].value, f64::INFINITY);
        assert_eq!(samples[3].label("h"), "i}\"\\\nj,k=\"");
        assert!(samples[3].value.is_nan());
    }

    #[test]
    fn every_line_of_a_scrape_is_read() {
        let text = include_str!("../../tests/exposition/alert-and-multiplexer.prom");
        let samples = parse_ours(text).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        assert_eq!(samples.len(), lines.count());
        let info = samples.iter().find(|s| s.name == "ina260_sensor_info");
        assert_eq!(info.unwrap().label("mux"), "0x70:3");
    }

    #[test]
    fn what_is_no_scrape_of_ours_is_said_to_be_what_it_is() {
        for (text, said) in [
            ("", "answers without a single metric"),
            ("# EOF\n", "answers without a single metric"),
            (
                "<!DOCTYPE html>\n<html><title>Pi-hole</title>",
                "answers with a web page \"Pi-hole\", no metrics",
            ),
            ("<html>", "answers with a web page, no metrics"),
            (
                "{\"error\": 1}",
                "answers with JSON, no metrics: \"{\"error\": 1}\"",
            ),
            (
                "hello world\n",
                "line 1 of the answer is no metric: \"hello world\"",
            ),
            (
                "a 1\na{b=\"c} 1\n",
                "line 2 of the answer is no metric: \"a{b=\"c} 1\"",
            ),
            (
                "a 1\nina260_up{a=\"b\"} 1",
                "the answer breaks off in the middle of a line",
            ),
            (
                "node_a 1\nnode_b 1\ngo_c 1\n",
                "answers with 3 metrics of another program, most of them node_…",
            ),
            (
                "ina260_voltage{hostname=\"a\"} 5\n",
                "is the Python script, or another exporter of INA260s: there is no ina260_up",
            ),
        ] {
            assert_eq!(parse_ours(text).unwrap_err(), said, "{text:?}");
        }
    }

    #[test]
    fn no_beginning_of_a_scrape_is_taken_for_a_whole_line() {
        let text = "ina260_up{hostname=\"a\",device=\"b\"} 1234\n";
        for end in 1..text.len() {
            assert!(parse(&text[..end]).is_err(), "{}", &text[..end]);
        }
        assert_eq!(parse(text).unwrap().len(), 1);
    }
}
