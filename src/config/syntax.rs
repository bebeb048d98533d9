//! Messages about text that is not TOML; they suggest the line that was probably meant.

use toml_edit::TomlError;

use super::keys::{self, KeyInfo};
use super::spelling;
use super::value::{Value, one_line, position};

/// Returns the message about text that is not TOML; it continues after the file's name.
pub(super) fn message(text: &str, error: &TomlError) -> String {
    let before = text.get(..error.span().unwrap_or_default().start).unwrap_or_default();
    let (above, line_before) = before.rsplit_once('\n').unwrap_or(("", before));
    let words = one_line(&error.message().replace('\n', "; "));
    let line = text[before.len() - line_before.len()..].lines().next().unwrap_or_default();
    // An unclosed array at the end of the text is reported after it, on an empty line.
    let line = if line.trim().is_empty() { above.lines().last().unwrap_or_default() } else { line };
    let what = match text[before.len()..].chars().next() {
        Some(c) if !c.is_ascii() => format!("U+{:04X} is not allowed here", u32::from(c)),
        _ => "invalid TOML".to_owned(),
    };
    let (setting, key) = setting(line).unwrap_or_default();
    let advice = match (setting, key) {
        (Some(setting), _) if setting != line.trim_matches([' ', '\t', '\r']) => {
            format!("{what}; write {setting}")
        }
        _ if words.starts_with("duplicate key") => format!("{words}; remove one of them"),
        (_, Some(KeyInfo { name, expected, .. })) => {
            format!("{what} ({words}); expected {name} = {expected}")
        }
        _ => format!(
            "{what} ({words}); expected key = value, with text in quotes, or a comment after #"
        ),
    };
    format!("{}: {advice}", position(before))
}

/// Returns the line that was probably meant, and its key.
fn setting(line: &str) -> Option<(Option<String>, Option<&'static KeyInfo>)> {
    let line = spelling::ascii(line);
    let (item, line) = match line.strip_prefix("- ") {
        Some(rest) => ("[[sensor]] on a line of its own, then ", rest),
        None => ("", line.as_str()),
    };
    let header = line.trim_matches(['[', ']', ':', ' ', '-']).to_ascii_lowercase();
    if header == "sensor" || header == "sensors" {
        return Some((Some("[[sensor]]".to_owned()), None));
    }
    let (name, value) = line.split_once(['=', ':']).or_else(|| line.split_once(' '))?;
    let name = name.trim_matches([' ', '"', '\'']).to_ascii_lowercase().replace('-', "_");
    let key = keys::at_top().chain(keys::in_sensor()).find(|key| key.name == name)?;
    let value = value.trim_start_matches(['=', ':', '>', ' ']).split(" #").next()?;
    let value = value.split(" //").next()?.trim().trim_end_matches([';', ',']);
    let text = Value::Text(value.to_owned());
    let meant = spelling::meant(&text, key.expected, &key.accepts).filter(|_| !value.is_empty());
    Some((meant.map(|meant| format!("{item}{name} = {meant}")), Some(key)))
}
