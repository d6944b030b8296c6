//! Answers for a terminal.

use std::io::{Result, Write};

use turnmill_analytics::{Answer, Series, Table, Value};

use super::numbers::{cell, change, measure, unit};

/// Eighths of a character's height.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Widest cell of a list; longer texts are cut.
const WIDEST: usize = 60;

/// Writes all answers. Sparklines are for terminals; a pipe gets the numbers of each bucket.
pub(crate) fn write(out: &mut impl Write, answers: &[Answer], terminal: bool) -> Result<()> {
    for (number, answer) in answers.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{} ({})", answer.metric.title, answer.metric.id)?;
        let width = answer.values.iter().map(|value| value.name.len()).max().unwrap_or(0);
        for value in &answer.values {
            let unit = unit(answer, value.name);
            write!(out, "  {:width$}  {}", value.name, measure(value.measure, unit))?;
            if let Some((was, changed)) = &value.compared {
                write!(out, "  was {}  {}", measure(*was, unit), change(value.measure, changed))?;
            }
            writeln!(out)?;
        }
        if terminal {
            for series in answer.series.iter().filter(|series| series.points.len() > 1) {
                writeln!(out, "  {}  {}", name(series), sparkline(series))?;
            }
        } else {
            for series in &answer.series {
                let unit = unit(answer, series.name);
                for (range, value) in &series.points {
                    writeln!(out, "  {}  {}  {}", name(series), range.from, measure(*value, unit))?;
                }
            }
        }
        for table in &answer.tables {
            list(out, table)?;
        }
    }
    Ok(())
}

fn name(series: &Series) -> String {
    series
        .group
        .as_ref()
        .map_or_else(|| series.name.to_owned(), |group| format!("{} {}", series.name, cell(group)))
}

/// Returns bars from zero to the greatest value. A bucket without a value is a space.
fn sparkline(series: &Series) -> String {
    let values: Vec<Option<f64>> = series.points.iter().map(|(_, value)| value.value()).collect();
    let greatest = values.iter().flatten().fold(0.0_f64, |greatest, value| greatest.max(*value));
    let bar = |value: &Option<f64>| {
        let Some(value) = value else { return ' ' };
        let height = if greatest > 0.0 { (value / greatest * 7.0).round() as usize } else { 0 };
        BARS.get(height).copied().unwrap_or(' ')
    };
    values.iter().map(bar).collect()
}

fn list(out: &mut impl Write, table: &Table) -> Result<()> {
    if table.rows.is_empty() {
        return Ok(());
    }
    let rows: Vec<Vec<String>> = table.rows.iter().map(|row| row.iter().map(short).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([table.columns.get(column).map_or(0, |name| name.len())]).max().unwrap_or(0)
    };
    let numeric = |column: usize| {
        let mut cells = table.rows.iter().filter_map(|row| row.get(column));
        cells.all(|cell| matches!(cell, Value::Integer(_) | Value::Float(_) | Value::Null))
    };
    let widths: Vec<(usize, bool)> =
        (0..table.columns.len()).map(|column| (width(column), numeric(column))).collect();
    let line = |out: &mut dyn Write, cells: &mut dyn Iterator<Item = &str>| -> Result<()> {
        let mut text = String::from("   ");
        for (cell, (width, right)) in cells.zip(&widths) {
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            text.push_str(&if *right { format!(" {pad}{cell} ") } else { format!(" {cell}{pad} ") });
        }
        writeln!(out, "{}", text.trim_end())
    };
    writeln!(out, "  {}:", table.name)?;
    line(out, &mut table.columns.iter().copied())?;
    for row in &rows {
        line(out, &mut row.iter().map(String::as_str))?;
    }
    Ok(())
}

fn short(value: &Value) -> String {
    let text = cell(value);
    if text.chars().count() <= WIDEST {
        return text;
    }
    text.chars().take(WIDEST - 1).chain(['…']).collect()
}
