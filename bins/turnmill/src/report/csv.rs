//! Answers as CSV.

use std::io::{Result, Write};

use turnmill_analytics::statistics::Share;
use turnmill_analytics::{Answer, Measure, Range, Table, Value};

/// Writes one row for each number of each metric, then one for each number and bucket.
pub(crate) fn write(out: &mut impl Write, answers: &[Answer]) -> Result<()> {
    row(out, ["metric", "name", "group", "from", "to", "value", "n", "d", "was", "change"].map(text))?;
    for answer in answers {
        let id = answer.metric.id;
        for value in &answer.values {
            let (was, change) =
                value.compared.as_ref().map_or((None, None), |(was, change)| (was.value(), change.value));
            number(out, id, value.name, None, None, value.measure, (was, change))?;
        }
        for series in &answer.series {
            for (range, measure) in &series.points {
                number(out, id, series.name, series.group.as_ref(), Some(*range), *measure, (None, None))?;
            }
        }
    }
    Ok(())
}

/// Writes one list.
pub(crate) fn list(out: &mut impl Write, table: &Table) -> Result<()> {
    row(out, table.columns.iter().copied().map(text))?;
    table.rows.iter().try_for_each(|values| row(out, values.iter().map(cell)))
}

fn number(
    out: &mut impl Write,
    id: &str,
    name: &str,
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

fn row(out: &mut impl Write, cells: impl IntoIterator<Item = String>) -> Result<()> {
    writeln!(out, "{}", cells.into_iter().collect::<Vec<_>>().join(","))
}

fn cell(value: &Value) -> String {
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
fn text(content: &str) -> String {
    let formula = content.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let content = if formula { format!("'{content}") } else { content.to_owned() };
    if formula || content.contains([',', '"', '\n', '\r']) {
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
    }
}
