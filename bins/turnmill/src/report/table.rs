//! Answers for a terminal.

use std::io::{Result, Write};

use turnmill_analytics::{Answer, Row, Series, Table, Value};

use super::counts;
use super::numbers::{change, measure, unit};
use crate::output::{cell, grid};

/// Eighths of a character's height.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Eighths of a character's width; none for no part.
const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
/// Characters of the longest bar.
const LONGEST: usize = 24;

/// Writes all answers, with sparklines of series and bars of counts if the terminal can show them.
/// Anything else gets the numbers of each bucket.
pub(crate) fn write(out: &mut impl Write, draws: bool, answers: &[Answer]) -> Result<()> {
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
        if draws {
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
        for table in answer.tables.iter().filter(|table| !table.rows.is_empty()) {
            writeln!(out, "  {}:", table.name)?;
            let bars = if draws { bars(&counts(table)) } else { Vec::new() };
            let (mut columns, rows) = with_values(table);
            if bars.is_empty() {
                grid(out, "    ", &columns, &rows)?;
                continue;
            }
            columns.push("");
            let rows: Vec<Row> = rows
                .iter()
                .zip(bars)
                .map(|(row, bar)| row.iter().cloned().chain([Value::Text(bar)]).collect())
                .collect();
            grid(out, "    ", &columns, &rows)?;
        }
    }
    Ok(())
}

/// Returns the columns that have a value in some row, and the rows without the others: those of a
/// comparison, if none was asked for.
fn with_values(table: &Table) -> (Vec<&'static str>, Vec<Row>) {
    let has_value = |column: usize| {
        table.rows.iter().any(|row| row.get(column).is_some_and(|value| *value != Value::Null))
    };
    let kept: Vec<usize> = (0..table.columns.len()).filter(|column| has_value(*column)).collect();
    let columns = kept.iter().filter_map(|column| table.columns.get(*column).copied()).collect();
    let row = |row: &Row| kept.iter().filter_map(|column| row.get(*column).cloned()).collect();
    (columns, table.rows.iter().map(row).collect())
}

/// Returns a bar for each count, the longest for the greatest.
fn bars(counts: &[Option<i64>]) -> Vec<String> {
    let greatest = counts.iter().flatten().max().copied().unwrap_or(0).max(1);
    let bar = |count: &Option<i64>| {
        let eighths = count.unwrap_or(0) as f64 / greatest as f64 * (LONGEST * 8) as f64;
        let eighths = eighths.round() as usize;
        let part = eighths.checked_rem(8).and_then(|part| PARTS.get(part)).copied().unwrap_or_default();
        format!("{}{part}", "█".repeat(eighths / 8))
    };
    counts.iter().map(bar).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_counts() {
        let drawn = bars(&[Some(24), Some(12), Some(1), Some(0), None]);
        assert_eq!(drawn, ["█".repeat(24), "█".repeat(12), "█".to_owned(), String::new(), String::new()]);
        assert_eq!(bars(&[Some(192), Some(4)])[1], "▌");
        assert_eq!(bars(&[Some(0)]), [""]);
    }
}
