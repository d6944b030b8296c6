//! CSV.
//!
//! NULL is an empty cell and the empty text is `""`. A terminal gets control characters escaped; a
//! file or another program gets them as they are.

use std::io::{Result, Write};

use turnmill_analytics::Value;
use turnmill_text::escaped;

/// Writes one row.
pub(crate) fn row(
    out: &mut impl Write,
    terminal: bool,
    cells: impl IntoIterator<Item = String>,
) -> Result<()> {
    let line = cells.into_iter().collect::<Vec<_>>().join(",");
    if terminal { writeln!(out, "{}", escaped(&line)) } else { writeln!(out, "{line}") }
}

/// Returns a value as a cell.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Text(content) => text(content),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Time(time) => time.to_string(),
    }
}

/// Returns a text as a cell. A spreadsheet takes a text that begins with `=`, `+`, `-` or `@` for a
/// formula, so such a text gets an apostrophe in front.
pub(crate) fn text(content: &str) -> String {
    let formula = content.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let content = if formula { format!("'{content}") } else { content.to_owned() };
    if formula || content.is_empty() || content.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", content.replace('"', "\"\""));
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_no_formulas_and_stay_one_cell() {
        assert_eq!(text("greet"), "greet");
        assert_eq!(text("a,b"), "\"a,b\"");
        assert_eq!(text("say \"hi\""), "\"say \"\"hi\"\"\"");
        assert_eq!(text("=1+2"), "\"'=1+2\"");
        assert_eq!(text("@cmd"), "\"'@cmd\"");
        assert_eq!(cell(&Value::Integer(-3)), "-3", "a number is a number");
        assert_eq!((cell(&Value::Null), text("")), (String::new(), "\"\"".to_owned()));
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        let written = |terminal| {
            let mut out = Vec::new();
            row(&mut out, terminal, [text("\u{1b}[31m"), text("a\nb")]).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(true), "\\u{1b}[31m,\"a\\nb\"\n");
        assert_eq!(written(false), "\u{1b}[31m,\"a\nb\"\n");
    }
}
