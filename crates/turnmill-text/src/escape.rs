//! Characters that a terminal obeys, or that hide what is there.

use std::fmt;

/// A text for a terminal; see [`escaped`].
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'t> {
    bytes: &'t [u8],
    keeps_lines: bool,
}

/// Shows `text` with every character escaped that a terminal obeys or that makes a text look like another one: control
/// characters (C0, DEL, C1), bidirectional marks, embeddings and isolates, characters without width, and separators of lines
/// and paragraphs. All others stay as they are, the backslash too. A width in the format counts what is shown.
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

/// As [`escaped`], but line feeds and tabs stay: for a message of our own that has several lines. Data inside of such a message
/// is escaped before it is put there, so that no line of it can be taken for one of ours.
#[must_use]
pub fn escaped_lines(text: &str) -> Escaped<'_> {
    Escaped { bytes: text.as_bytes(), keeps_lines: true }
}

/// As [`escaped_lines`], with every line after the first indented: no text of the data inside of the message can be taken for a line
/// of its own.
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

/// As [`escaped`], for bytes that may be no text: those that are no UTF-8 show as `\x` and two digits.
///
/// ```
/// use turnmill_text::escaped_bytes;
/// assert_eq!(escaped_bytes(b"{\"a\":1}\xff\x1b").to_string(), r#"{"a":1}\xff\u{1b}"#);
/// ```
#[must_use]
pub fn escaped_bytes(bytes: &[u8]) -> Escaped<'_> {
    Escaped { bytes, keeps_lines: false }
}

/// Whether a terminal must not get this character as it is.
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
