//! CSV as RFC 4180 has it, but for the ends of lines: a line feed.
//!
//! NULL is an empty field, and an empty text is `""`, as PostgreSQL's `COPY` reads and writes them.
//! Texts are data: a text that a spreadsheet takes for a formula is not changed.

use std::io::{Result, Write};

use turnmill_sink::outbox::ChangeValue;

use crate::columns::FileColumn;

pub(super) fn header(out: &mut impl Write, columns: &[FileColumn]) -> Result<()> {
    let names = columns.iter().map(|column| column.name).collect::<Vec<_>>().join(",");
    writeln!(out, "{names}")
}

pub(super) fn row(out: &mut impl Write, columns: usize, row: &[ChangeValue<'_>]) -> Result<()> {
    for index in 0..columns {
        if index > 0 {
            out.write_all(b",")?;
        }
        match row.get(index).unwrap_or(&ChangeValue::Null) {
            ChangeValue::Null => {}
            ChangeValue::Text(text) => field(out, text)?,
            ChangeValue::Integer(number) => write!(out, "{number}")?,
            // The shortest form that is read back as the same number, as in JSON.
            ChangeValue::Float(number) => serde_json::to_writer(&mut *out, number)?,
            ChangeValue::DateTime(time) => write!(out, "{time}")?,
            ChangeValue::Boolean(truth) => write!(out, "{truth}")?,
            bytes @ ChangeValue::Bytes(_) => {
                // Base64, which needs no quotes but those of JSON.
                let text = serde_json::to_string(bytes)?;
                out.write_all(text.trim_matches('"').as_bytes())?;
            }
        }
    }
    out.write_all(b"\n")
}

/// Writes a text, in quotes where it needs them.
fn field(out: &mut impl Write, text: &str) -> Result<()> {
    let needs_quotes = text.is_empty() || text.contains(['"', ',', '\n', '\r']);
    if !needs_quotes {
        return out.write_all(text.as_bytes());
    }
    write!(out, "\"{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_the_empty_text_differ() {
        let mut out = Vec::new();
        let text = |text: &'static str| ChangeValue::Text(text.into());
        let values = [text(""), ChangeValue::Null, text("a,\"b\"\n"), text("=1+1"), ChangeValue::Float(0.1)];
        row(&mut out, 6, &values).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "\"\",,\"a,\"\"b\"\"\n\",=1+1,0.1,\n");
    }
}
