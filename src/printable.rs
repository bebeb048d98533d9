//! Escapes text from outside the program, for terminals, the log and messages, and aligns it.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

/// Returns whether a character is invisible or changes how others are displayed: control and format
/// characters, all white space except the space, and replacements for bytes that are not text.
pub fn is_invisible(c: char) -> bool {
    // Default_Ignorable_Code_Point and Bidi_Control of Unicode 16, controls of hieroglyphs, blank
    // characters, and the block Specials.
    let is_ignorable = matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    is_ignorable || c.is_control() || (c.is_whitespace() && c != ' ')
}

/// Escapes invisible characters, so that text stays on one line and cannot control the terminal.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => escaped.extend(c.escape_default()),
            // Writing to a string never fails.
            _ if is_invisible(c) => _ = write!(escaped, "\\u{{{:x}}}", u32::from(c)),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Returns the number of columns that a text takes on a terminal.
pub(crate) fn columns(text: &str) -> usize {
    text.width()
}

/// Appends spaces to a text, up to this number of columns.
pub(crate) fn padded(text: &str, width: usize) -> String {
    text.to_owned() + &" ".repeat(width.saturating_sub(columns(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_escaped() {
        for (text, escaped) in [
            ("orin", "orin"),
            ("Küche 12 V – 日本 😀", "Küche 12 V – 日本 😀"),
            ("a\tb\r\nc", "a\\tb\\r\\nc"),
            ("\u{1b}[31m\u{7}\u{9b}", "\\u{1b}[31m\\u{7}\\u{9b}"),
            ("a\u{a0}b\u{202f}c\u{3000}d", "a\\u{a0}b\\u{202f}c\\u{3000}d"),
            (
                "\u{200b}\u{200d}\u{2060}\u{feff}\u{ad}",
                "\\u{200b}\\u{200d}\\u{2060}\\u{feff}\\u{ad}",
            ),
            ("\u{202e}\u{2066}\u{200f}\u{61c}", "\\u{202e}\\u{2066}\\u{200f}\\u{61c}"),
            ("❤\u{fe0f}\u{e0100}\u{e0041}", "❤\\u{fe0f}\\u{e0100}\\u{e0041}"),
            ("\u{3164}\u{2800}\u{115f}\u{fffd}", "\\u{3164}\\u{2800}\\u{115f}\\u{fffd}"),
        ] {
            assert_eq!(escape(text), escaped);
        }
    }
}
