//! Prometheus' text format: `name{label="value"} 1.5`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Error, quote};
use crate::printable::{escape, is_invisible};

/// Upper bound on the length of a line, in bytes.
pub(super) const MAX_LINE: usize = 64 << 10;
/// Upper bound on series plus labels that are kept: a thousand sensors have about 150,000.
const MAX_KEPT: usize = 200_000;
/// Upper bound on the length of their label values together, in bytes. These are escaped, which can
/// make them six times as long as in the response.
const MAX_LABELS: usize = 8 << 20;
/// Upper bound on the prefixes of names that are counted: a program has a few dozen.
const MAX_PREFIXES: usize = 1_000;

/// One series with its value.
#[derive(Debug)]
pub(super) struct Sample<'a> {
    pub(super) name: &'a str,
    pub(super) labels: Vec<(&'a str, Cow<'a, str>)>,
    pub(super) value: f64,
}

impl Sample<'_> {
    /// Returns the value of a label, empty if there is none.
    pub(super) fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(label, _)| *label == name);
        found.map_or("", |(_, value)| value)
    }
}

/// Parses the response of an INA260 exporter. Returns its series, except histogram buckets, and the
/// number of series that were left out.
pub(super) fn parse_ours(text: &str) -> Result<(Vec<Sample<'_>>, usize), Error> {
    let (mut samples, mut kept, mut length, mut left_out) = (Vec::new(), 0, 0, 0);
    let (mut count, mut prefixes) = (0, BTreeMap::new());
    for (number, line) in (1..).zip(text.lines()) {
        if line.len() > MAX_LINE {
            return Err(Error::LongLine(number));
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let sample = sample(line).ok_or_else(|| not_metrics(text, number, line))?;
        count += 1;
        let prefix = sample.name.split('_').next().unwrap_or_default();
        if prefixes.len() < MAX_PREFIXES || prefixes.contains_key(prefix) {
            *prefixes.entry(prefix).or_insert(0) += 1;
        }
        let is_own = sample.name.starts_with("ina260_") && !sample.name.ends_with("_bucket");
        if !is_own && sample.name != "process_start_time_seconds" {
            continue;
        }
        kept += 1 + sample.labels.len();
        length += sample.labels.iter().map(|(_, value)| value.len()).sum::<usize>();
        if kept > MAX_KEPT || length > MAX_LABELS {
            left_out += 1;
        } else {
            samples.push(sample);
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(Error::TruncatedLine);
    }
    // Without sensors, the metrics of the exporter itself identify this program.
    let is_ours =
        |sample: &Sample| sample.name == "ina260_up" || sample.name.starts_with("ina260_exporter_");
    if samples.iter().any(is_ours) {
        return Ok((samples, left_out));
    }
    if samples.iter().any(|sample| sample.name.starts_with("ina260_")) {
        return Err(Error::OtherExporter);
    }
    let most = prefixes.into_iter().max_by_key(|(_, count)| *count);
    let prefix = most.ok_or(Error::Empty)?.0.chars().take(100).collect();
    Err(Error::OtherProgram { count, prefix })
}

/// Returns what a response with this line is instead of metrics.
fn not_metrics(text: &str, number: usize, line: &str) -> Error {
    let start = text.trim_start();
    match start.chars().next() {
        Some('<') => {
            let title = start.split_once("<title>").and_then(|(_, it)| it.split_once("</title>"));
            Error::WebPage(quote(title.map_or(start, |(title, _)| title)))
        }
        Some('{' | '[') => Error::Json(quote(start)),
        _ => Error::Line(number, quote(line)),
    }
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let end = line.find(|c| !is_name(c))?;
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut labels = Vec::new();
    let mut rest = rest.trim_start();
    if let Some(mut inner) = rest.strip_prefix('{') {
        rest = loop {
            inner = inner.trim_start_matches([' ', '\t', ',']);
            if let Some(after) = inner.strip_prefix('}') {
                break after;
            }
            let (label, after) = inner.split_once('=')?;
            let label = label.trim_end();
            if !label.chars().all(is_name) {
                return None;
            }
            let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
            let is_safe = !value.contains(is_invisible);
            labels.push((label, if is_safe { value } else { escape(&value).into() }));
            inner = after;
        };
    }
    labels.shrink_to_fit();
    // An optional timestamp may follow the value.
    let mut words = rest.split_ascii_whitespace();
    let value = words.next()?.parse().ok()?;
    let is_timestamp = |word: &str| word.parse::<f64>().is_ok();
    words.all(is_timestamp).then_some(Sample { name, labels, value })
}

/// Returns a label value up to its closing quote, unescaped, and the rest of the line.
fn quoted(mut text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut value = Cow::Borrowed("");
    loop {
        let (plain, special) = text.split_at(text.find(['"', '\\'])?);
        value += plain;
        if let Some(rest) = special.strip_prefix('"') {
            return Some((value, rest));
        }
        let mut characters = special[1..].chars();
        let escaped = characters.next()?;
        value.to_mut().push(if escaped == 'n' { '\n' } else { escaped });
        text = characters.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_format_is_parsed() {
        let text = "# HELP a b\n\nina260_up 1\nina260_a:b_c{} -1.5e-3\n\
                    ina260_c { d = \"e\", f=\"\" , } +Inf 1700000000000\n\
                    ina260_g{h=\"i}\\\"\\\\\\nj,k=\\\"\"} NaN\n";
        let (samples, _) = parse_ours(text).unwrap();
        let names: Vec<_> = samples.iter().map(|sample| sample.name).collect();
        assert_eq!(names, ["ina260_up", "ina260_a:b_c", "ina260_c", "ina260_g"]);
        assert_eq!((samples[0].value, samples[1].value), (1.0, -1.5e-3));
        assert_eq!((samples[2].label("d"), samples[2].label("f")), ("e", ""));
        assert_eq!(samples[2].value, f64::INFINITY);
        assert_eq!(samples[3].label("h"), "i}\"\\\\nj,k=\"");
        assert!(samples[3].value.is_nan());
    }

    #[test]
    fn golden_scrape_is_parsed_whole() {
        let text = include_str!("../../tests/exposition/alert-and-multiplexer.prom");
        let (samples, left_out) = parse_ours(text).unwrap();
        assert_eq!(left_out, 0);
        let is_wanted = |line: &&str| line.starts_with("ina260_") && !line.contains("_bucket{");
        let lines = text.lines().filter(is_wanted);
        assert_eq!(samples.len(), lines.count());
        let info = samples.iter().find(|s| s.name == "ina260_sensor_info");
        assert_eq!(info.unwrap().label("mux"), "0x70:3");
    }

    #[test]
    fn other_responses_are_described() {
        for (text, message) in [
            ("", "response has no metrics"),
            ("# EOF\n", "response has no metrics"),
            (
                "<!DOCTYPE html>\n<html><title>Pi-hole</title>",
                "not metrics but a web page: \"Pi-hole\"",
            ),
            ("<html>", "not metrics but a web page: \"<html>\""),
            ("{\"error\": 1}", "not metrics but JSON: \"{\"error\": 1}\""),
            ("hello world\n", "line 1 of the response is not a metric: \"hello world\""),
            ("a 1\na{b=\"c} 1\n", "line 2 of the response is not a metric: \"a{b=\"c} 1\""),
            ("a 1\nina260_up{a=\"b\"} 1", "response ends in the middle of a line"),
            (
                "node_a 1\nnode_b 1\ngo_c 1\n",
                "metrics of another program: most of the 3 series are node_*",
            ),
            (
                "ina260_voltage{hostname=\"a\"} 5\n",
                "metrics of another INA260 exporter: ina260_up is missing",
            ),
            (
                "ina260_power_watts{device=\"a\"} 5\nina260_volts 5\nnode_a 1\n",
                "metrics of another INA260 exporter: ina260_up is missing",
            ),
        ] {
            let error = parse_ours(text).unwrap_err();
            assert_eq!(error.to_string(), message, "{text:?}");
        }
    }

    #[test]
    fn truncated_line_is_never_a_sample() {
        let text = "ina260_up{hostname=\"a\",device=\"b\"} 1234\n";
        for end in 1..text.len() {
            assert!(parse_ours(&text[..end]).is_err(), "{}", &text[..end]);
        }
        assert_eq!(parse_ours(text).unwrap().0.len(), 1);
    }

    #[test]
    fn series_and_labels_are_bounded_together() {
        let line = "ina260_up{a=\"\",b=\"\",c=\"\",d=\"\"} 1\n";
        let text = line.repeat(40_010);
        let (samples, left_out) = parse_ours(&text).unwrap();
        assert_eq!((samples.len(), left_out), (40_000, 10));
        let text = format!("ina260_up{{{}}} 1\n", "a=\"\",".repeat(MAX_LINE / 5));
        let error = parse_ours(&text).unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 1 of the response is longer than 64 KiB (not an exporter?)"
        );
        // Escaped, DEL takes six bytes: 8 MiB of labels are kept.
        let text = format!("ina260_up{{a=\"{}\"}} 1\n", "\u{7f}".repeat(50_000)).repeat(50);
        let (samples, left_out) = parse_ours(&text).unwrap();
        assert_eq!((samples.len(), left_out), (27, 23));
        // Series of another program are all counted.
        let error = parse_ours(&"node_x 1\n".repeat(600_000)).unwrap_err().to_string();
        assert!(error.contains("most of the 600000 series are node_*"), "{error}");
    }
}
