//! JSON, a value a line.

use std::io::{Result, Write};

use serde::Serialize;
use turnmill_text::escaped;

/// Writes a value on one line. Characters that a terminal interprets, or that hide other text, are
/// escaped as JSON does it, so the value stays the same.
pub(crate) fn line(out: &mut impl Write, value: &impl Serialize) -> Result<()> {
    writeln!(out, "{}", safe(serde_json::to_string(value)?))
}

fn safe(json: String) -> String {
    let is_hidden = |text: &str| escaped(text).to_string() != text;
    if !is_hidden(&json) {
        return json;
    }
    // Such characters are inside of strings only.
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        let mut units = [0; 2];
        if is_hidden(c.encode_utf8(&mut [0; 4])) {
            for unit in c.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_escaped_and_stay_themselves() {
        let text = "caf\u{e9} \u{1b}[2J \u{9b}1m \u{202e}x \u{e0001}";
        let mut out = Vec::new();
        line(&mut out, &text).unwrap();
        let json = String::from_utf8(out).unwrap();
        assert_eq!(json, "\"café \\u001b[2J \\u009b1m \\u202ex \\udb40\\udc01\"\n");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
