//! Escaping of characters that a terminal interprets, or that hide other text.

use std::fmt;

/// A text for a terminal: see [`escaped`].
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'t> {
    bytes: &'t [u8],
    keeps_lines: bool,
}

/// Escapes characters that a terminal interprets or that disguise a text.
///
/// These are control characters (C0, DEL, C1), bidirectional marks, embeddings and isolates,
/// characters without width, and separators of lines and paragraphs. All others are kept, including
/// the backslash. A width in the format applies to the escaped text.
///
/// ```
/// use turnmill_text::escaped;
/// assert_eq!(escaped("caf\u{e9} \u{202e}x\r\n\u{9b}1m").to_string(), r"café \u{202e}x\r\n\u{9b}1m");
/// assert_eq!(format!("{:<8}|", escaped("a\tb")), r"a\tb    |");
/// ```
#[must_use]
pub fn escaped(text: &str) -> Escaped<'_> {
    Escaped { bytes: text.as_bytes(), keeps_lines: false }
}

/// Like [`escaped`], but keeps line feeds and tabs. For messages of turnmill with several lines.
/// Escape data with [`escaped`] before you insert it, so that none of its lines looks like a
/// message.
#[must_use]
pub fn escaped_lines(text: &str) -> Escaped<'_> {
    Escaped { bytes: text.as_bytes(), keeps_lines: true }
}

/// Like [`escaped_lines`], with every line after the first indented. So no line of the data looks
/// like a message of its own.
///
/// ```
/// use turnmill_text::escaped_message;
/// assert_eq!(escaped_message("two problems:\n  one\nERROR two"), "two problems:\n  one\n  ERROR two");
/// ```
#[must_use]
pub fn escaped_message(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(number, line)| {
            let indent = if number > 0 && !line.starts_with("  ") { "  " } else { "" };
            format!("{indent}{}", escaped_lines(line))
        })
        .collect();
    lines.join("\n")
}

/// Like [`escaped`], for bytes that may not be text. Invalid UTF-8 appears as `\x` and two digits.
///
/// ```
/// use turnmill_text::escaped_bytes;
/// assert_eq!(escaped_bytes(b"{\"a\":1}\xff\x1b").to_string(), r#"{"a":1}\xff\u{1b}"#);
/// ```
#[must_use]
pub fn escaped_bytes(bytes: &[u8]) -> Escaped<'_> {
    Escaped { bytes, keeps_lines: false }
}

/// Returns whether a terminal must not receive this character.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

impl Escaped<'_> {
    fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        for chunk in self.bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\n' | '\t' if self.keeps_lines => out.write_char(c)?,
                    '\n' => out.write_str("\\n")?,
                    '\r' => out.write_str("\\r")?,
                    '\t' => out.write_str("\\t")?,
                    c if is_hidden(c) => write!(out, "{}", c.escape_unicode())?,
                    c => out.write_char(c)?,
                }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(out, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.width().is_none() && f.precision().is_none() {
            return self.write(f);
        }
        let mut text = String::new();
        self.write(&mut text)?;
        f.pad(&text)
    }
}
