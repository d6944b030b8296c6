//! Rows in columns, for a terminal.

use std::io::{Result, Write};

use turnmill_analytics::{Row, Value};

use super::short;

/// Writes rows under the names of their columns, each line after `indent`. Columns of numbers are
/// aligned at their ends.
pub(crate) fn grid<C: AsRef<str>>(
    out: &mut impl Write,
    indent: &str,
    columns: &[C],
    rows: &[Row],
) -> Result<()> {
    let texts: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(short).collect()).collect();
    let width = |column: usize| {
        let cells = texts.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        let name = columns.get(column).map_or(0, |name| name.as_ref().chars().count());
        cells.chain([name]).max().unwrap_or(0)
    };
    let numeric = |column: usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(column));
        cells.all(|cell| matches!(cell, Value::Integer(_) | Value::Float(_) | Value::Null))
    };
    let widths: Vec<(usize, bool)> =
        (0..columns.len()).map(|column| (width(column), numeric(column))).collect();
    let line = |out: &mut dyn Write, cells: &mut dyn Iterator<Item = &str>| -> Result<()> {
        let mut text = indent.to_owned();
        for (cell, (width, right)) in cells.zip(&widths) {
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            text.push_str(&if *right { format!("{pad}{cell}  ") } else { format!("{cell}{pad}  ") });
        }
        writeln!(out, "{}", text.trim_end())
    };
    line(out, &mut columns.iter().map(AsRef::as_ref))?;
    texts.iter().try_for_each(|row| line(out, &mut row.iter().map(String::as_str)))
}
