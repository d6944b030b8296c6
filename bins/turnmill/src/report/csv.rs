//! Answers as CSV.

use std::io::{Result, Write};

use turnmill_analytics::statistics::Share;
use turnmill_analytics::{Answer, Measure, Range, Table, Value};

use crate::output::csv::{cell, row, text};

/// Writes one row for each number of each metric, then one for each number and bucket.
pub(crate) fn write(out: &mut impl Write, terminal: bool, answers: &[Answer]) -> Result<()> {
    row(
        out,
        terminal,
        ["metric", "name", "group", "from", "to", "value", "n", "d", "was", "change"].map(text),
    )?;
    for answer in answers {
        let id = answer.metric.id;
        for value in &answer.values {
            let (was, change) =
                value.compared.as_ref().map_or((None, None), |(was, change)| (was.value(), change.value));
            number(out, terminal, (id, value.name), None, None, value.measure, (was, change))?;
        }
        for series in &answer.series {
            for (range, measure) in &series.points {
                number(
                    out,
                    terminal,
                    (id, series.name),
                    series.group.as_ref(),
                    Some(*range),
                    *measure,
                    (None, None),
                )?;
            }
        }
    }
    Ok(())
}

/// Writes one list.
pub(crate) fn list(out: &mut impl Write, terminal: bool, table: &Table) -> Result<()> {
    row(out, terminal, table.columns.iter().copied().map(text))?;
    table.rows.iter().try_for_each(|values| row(out, terminal, values.iter().map(cell)))
}

fn number(
    out: &mut impl Write,
    terminal: bool,
    (id, name): (&str, &str),
    group: Option<&Value>,
    range: Option<Range>,
    measure: Measure,
    (was, change): (Option<f64>, Option<f64>),
) -> Result<()> {
    let float = |number: Option<f64>| number.map_or_else(String::new, |number| number.to_string());
    let (n, d) = match measure {
        Measure::Share(Share { n, d }) | Measure::Ratio(Share { n, d }) => (n.to_string(), d.to_string()),
        Measure::Mean { count, .. } | Measure::Percentile { count, .. } => (count.to_string(), String::new()),
        Measure::Count(_) | Measure::Number(_) => (String::new(), String::new()),
    };
    row(
        out,
        terminal,
        [
            text(id),
            text(name),
            group.map_or_else(String::new, cell),
            range.map_or_else(String::new, |range| range.from.to_string()),
            range.map_or_else(String::new, |range| range.to.to_string()),
            float(measure.value()),
            n,
            d,
            float(was),
            float(change),
        ],
    )
}
