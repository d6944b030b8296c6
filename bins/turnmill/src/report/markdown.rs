//! Answers as tables of Markdown.

use std::io::{Result, Write};

use turnmill_analytics::Answer;

use super::numbers::{change, measure, unit};
use crate::output::cell;

pub(crate) fn write(out: &mut impl Write, answers: &[Answer]) -> Result<()> {
    for (number, answer) in answers.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        writeln!(out, "## {}\n\n{}", answer.metric.title, answer.metric.definition)?;
        if !answer.values.is_empty() {
            let compared = answer.values.iter().any(|value| value.compared.is_some());
            let mut columns = vec!["number", "value"];
            if compared {
                columns.extend(["was", "change"]);
            }
            let rows = answer.values.iter().map(|value| {
                let unit = unit(answer, value.name);
                let mut row = vec![value.name.to_owned(), measure(value.measure, unit)];
                if let Some((was, changed)) = &value.compared {
                    row.extend([measure(*was, unit), change(value.measure, changed)]);
                }
                row
            });
            table(out, &columns, rows)?;
        }
        for series in &answer.series {
            let unit = unit(answer, series.name);
            let name = series.group.as_ref().map_or_else(|| series.name.to_owned(), cell);
            let rows = series
                .points
                .iter()
                .map(|(range, value)| vec![range.from.to_string(), measure(*value, unit)]);
            table(out, &["from", &name], rows)?;
        }
        for list in &answer.tables {
            writeln!(out, "\n{}:", list.name)?;
            table(out, &list.columns, list.rows.iter().map(|row| row.iter().map(cell).collect()))?;
        }
    }
    Ok(())
}

fn table(out: &mut impl Write, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Result<()> {
    let line = |cells: Vec<String>| {
        let cells: Vec<String> = cells.iter().map(|cell| plain(cell)).collect();
        format!("| {} |", cells.join(" | "))
    };
    writeln!(out, "\n{}", line(columns.iter().map(|name| (*name).to_owned()).collect()))?;
    writeln!(out, "|{}", " --- |".repeat(columns.len()))?;
    rows.map(line).try_for_each(|line| writeln!(out, "{line}"))
}

/// Returns a text in which nothing is markup: neither Markdown's own nor HTML's.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => plain.push_str("&lt;"),
            '&' => plain.push_str("&amp;"),
            '\\' | '|' | '`' | '[' | '!' => plain.extend(['\\', c]),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_text_is_no_markup() {
        assert_eq!(plain("talk_to_human"), "talk_to_human");
        assert_eq!(
            plain("<script>a|b</script> ![x](y) `c`"),
            "&lt;script>a\\|b&lt;/script> \\!\\[x](y) \\`c\\`"
        );
    }
}
