//! Messages about invalid values, with the spelling that their author may have meant. Each one is
//! tried: only what the key accepts is suggested.

use super::value::{Value, parse_value, quoted};
use crate::printable::is_invisible;

/// Rows of spellings of a unit or word: ours, then others.
const SPELLINGS: &str = "s sec secs second seconds|m min mins minute minutes|h hr hrs hour hours|\
    ms msec msecs millisecond milliseconds|us usec usecs microsecond microseconds|\
    A amp amps ampere amperes|mA milliamp milliamps milliampere milliamperes|V volt volts|\
    mV millivolt millivolts|W watt watts|mW milliwatt milliwatts|\
    true 1 yes y on enable enabled|false 0 no n off disable disabled|warn warning|error err|\
    none 0 no off false null nil never disabled ~|0 none no off false null nil never disabled ~";

/// Returns the message about an invalid value; it continues after the key's name.
pub(super) fn message(value: &Value, expected: &str, accepts: &dyn Fn(&Value) -> bool) -> String {
    let meant = meant(value, expected, accepts).map_or(String::new(), |meant| {
        match value.to_string().parse::<u32>() {
            Ok(decimal) if meant.starts_with("0x") => {
                format!("; write {meant} (decimal {decimal} is {decimal:#x})")
            }
            _ => format!("; write {meant}"),
        }
    });
    let expected = match value {
        // Variables and flags have no quotes.
        Value::Untyped(_) => &expected.replace(", in quotes", "").replace('"', ""),
        _ => expected,
    };
    format!(" {value} is invalid; expected {expected}{meant}")
}

/// Returns the value that was probably meant, as it has to be written.
pub(super) fn meant(
    value: &Value,
    expected: &str,
    accepts: &dyn Fn(&Value) -> bool,
) -> Option<String> {
    const MAX_BYTES: usize = 256;
    let plain = ascii(value.written().filter(|text| text.len() <= MAX_BYTES)?);
    let plain = plain.trim_matches([' ', '"', '\'', '`']);
    // A key that accepts any text would also accept any spelling.
    let is_name = accepts(&Value::Text("?".to_owned()));
    let mut spellings = match plain {
        // Two settings on a line, perhaps.
        _ if is_name && plain.contains('"') => return None,
        "" if !expected.contains("none") => return None,
        _ if is_name => vec![plain.to_owned()],
        _ => spellings(plain),
    };
    if expected.starts_with("\"IP:PORT\"") {
        spellings.extend(addresses(plain));
    }
    if expected.starts_with("an integer from 0x") {
        let digits = plain.to_ascii_lowercase();
        spellings.push(format!("0x{}", digits.trim_start_matches("0x").trim_end_matches('h')));
    }
    spellings.into_iter().find_map(|spelling| {
        if matches!(value, Value::Untyped(_)) {
            return accepts(&Value::untyped(&spelling)).then_some(spelling);
        }
        if parse_value(&spelling).is_some_and(|bare| accepts(&bare)) {
            return Some(spelling);
        }
        let written = quoted(&spelling);
        accepts(&Value::Text(spelling)).then_some(written)
    })
}

/// Replaces characters that look like ASCII ones, and removes invisible ones.
pub(super) fn ascii(text: &str) -> String {
    let ascii = |c| match c {
        '“' | '”' | '„' | '‟' | '«' | '»' => '"',
        '‘' | '’' | '‚' | '‛' => '\'',
        '‐'..='―' | '−' => '-',
        'µ' | 'μ' => 'u',
        '！'..='～' => char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c),
        c if c.is_whitespace() => ' ',
        c => c,
    };
    text.chars().map(ascii).filter(|c| !is_invisible(*c)).collect::<String>().trim().to_owned()
}

/// Returns likely spellings, the closest first.
fn spellings(plain: &str) -> Vec<String> {
    if plain.is_empty() {
        return ["none", "0"].map(str::to_owned).into();
    }
    let lower = plain.to_ascii_lowercase();
    // What follows `unix:` or `name:` is case-sensitive.
    let (prefix, rest) = plain.split_once(':').unwrap_or_default();
    let with_lower_prefix = format!("{}:{}", prefix.to_ascii_lowercase(), rest.trim());
    let is_digit = |c: char| c.is_ascii_digit();
    let groups: Vec<&str> = plain.split(' ').collect();
    let is_list = plain.starts_with(['[', '{'])
        || groups.windows(2).any(|pair| {
            // Two groups of digits are two numbers, unless the second has three digits: `1 000`.
            let next = pair[1].trim_end_matches(|c| !is_digit(c));
            pair[0].ends_with(is_digit) && next.starts_with(is_digit) && next.len() != 3
        });
    let compact = if is_list { plain.to_owned() } else { plain.replace(' ', "") };
    let point = compact.replace(',', ".");
    let digits = point.trim_start_matches(['+', '0']);
    let is_empty = !point.contains(is_digit);
    let zero = if digits.starts_with(is_digit) || is_empty { "" } else { "0" };
    let number = format!("{zero}{digits}");
    let mut all = vec![
        plain.to_owned(),
        with_lower_prefix,
        lower.clone(),
        compact.clone(),
        compact.to_ascii_lowercase(),
        lower.replace([' ', '_'], "-"),
        point.clone(),
        number.trim_end_matches(".0").trim_end_matches('.').to_owned(),
    ];
    let end = point.find(|c: char| !"0123456789.+-".contains(c)).unwrap_or(point.len());
    let (value, unit) = point.split_at(end);
    if unit.is_empty() {
        all.extend([format!("{number}s"), format!("{number}us")]);
    }
    all.extend(ours(unit).map(|unit| format!("{value}{unit}")));
    all.extend(ours(&lower).map(str::to_owned));
    all.push(lower.replace("localhost", "127.0.0.1"));
    all.extend(lower.strip_prefix("i2c-").map(str::to_owned));
    // Lists and tables.
    let is_spaced = plain.starts_with('[') && !plain.contains([',', ';']);
    let separators: &[char] = if is_spaced { &[' '] } else { &[',', ';'] };
    let items = plain.trim_matches(['[', ']', '{', '}']).split(separators);
    let items: Vec<&str> = items.map(str::trim).filter(|item| !item.is_empty()).collect();
    let pair = |item: &&str| {
        let (name, value) = item.split_once(['=', ':'])?;
        Some(format!("{} = {}", name.trim_matches([' ', '"', '\'']), toml(value)))
    };
    all.push(format!("[{}]", items.iter().map(|item| toml(item)).collect::<Vec<_>>().join(", ")));
    if let Some(pairs) = items.iter().map(pair).collect::<Option<Vec<_>>>() {
        all.push(format!("{{ {} }}", pairs.join(", ")));
    }
    if let Some((address, channel)) = compact.split_once(':') {
        all.push(format!("{{ address = {}, channel = {} }}", toml(address), toml(channel)));
    }
    all
}

/// Returns likely addresses to listen on, the closest first.
fn addresses(plain: &str) -> Vec<String> {
    let lower = plain.replace(' ', "").to_ascii_lowercase();
    let host = lower.split_once("://").map_or(lower.as_str(), |(_, rest)| rest);
    let host = host.trim_end_matches("/metrics").trim_end_matches('/');
    let host = host.replace("localhost", "127.0.0.1").replace('*', "0.0.0.0");
    let bracketed = host.rsplit_once(':').map(|(ip, port)| format!("[{ip}]:{port}"));
    let mut all = vec![plain.trim_end_matches('/').to_owned()];
    all.extend([format!("0.0.0.0{host}"), format!("0.0.0.0:{host}")]);
    all.extend(bracketed);
    all.extend([format!("{host}:8000"), format!("[{host}]:8000"), format!("unix:{plain}"), host]);
    all
}

/// Returns our spellings of a unit or word.
fn ours(word: &str) -> impl Iterator<Item = &'static str> {
    let is_in = move |row: &&str| row.split(' ').any(|other| other.eq_ignore_ascii_case(word));
    SPELLINGS.split('|').filter(is_in).filter_map(|row| row.split(' ').next())
}

/// Writes an item of a list or table as TOML.
fn toml(item: &str) -> String {
    let item = item.trim_matches([' ', '"', '\'']);
    let bare = Value::Bare(item.to_ascii_lowercase());
    let is_bare = bare.as_bool().is_some() || bare.as_number().is_some();
    if is_bare { bare.to_string() } else { quoted(item) }
}
