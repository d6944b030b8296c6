//! Answers as one page of HTML that needs no other file and no script.
//!
//! The page goes to people who have no turnmill. Its policy forbids scripts and requests, and every
//! text of the data is escaped, so a message with markup is shown and does nothing.

use std::fmt::{self, Display};
use std::io::{Result, Write};

use turnmill_analytics::{Answer, Measure, Range, Series, Table, Value};
use turnmill_text::escaped;

use super::numbers::{change, measure, unit};

/// Width and height of a chart, in the units of its own.
const CHART: (f64, f64) = (600.0, 60.0);
const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin:2.5rem 0 0}p{margin:.3rem 0}\
table{border-collapse:collapse;margin:.6rem 0;font-variant-numeric:tabular-nums}\
caption{text-align:left;font-weight:600}\
th,td{text-align:left;padding:.15rem .8rem .15rem 0;border-bottom:1px solid #8884;vertical-align:top;\
overflow-wrap:anywhere}\
td.n,th.n{text-align:right}.dim{opacity:.7}\
td.bar{width:12rem}td.bar span{display:block;height:.7rem;background:#4a7ebb}\
svg{width:100%;height:4rem;background:#8881}svg rect{fill:#4a7ebb}\
pre{overflow-x:auto;background:#8882;padding:.6rem}";

/// A text between tags or in an attribute.
struct Html<'t>(&'t str);

impl Display for Html<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in escaped(self.0).to_string().chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => fmt::Write::write_char(f, c)?,
            }
        }
        Ok(())
    }
}

pub(crate) fn write(out: &mut impl Write, answers: &[Answer]) -> Result<()> {
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Conversations</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>Conversations</h1>"
    )?;
    if let Some(answer) = answers.first() {
        about(out, answer)?;
    }
    answers.iter().try_for_each(|answer| section(out, answer))?;
    writeln!(out, "</body>\n</html>")
}

/// Writes what was asked, which is the same for all answers.
fn about(out: &mut impl Write, answer: &Answer) -> Result<()> {
    // The filters serialise by the names that they have in the JSON of an answer.
    let asked = serde_json::to_value(&answer.asked)?;
    for (name, value) in asked.as_object().into_iter().flatten() {
        let text = match value {
            serde_json::Value::Null => continue,
            serde_json::Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        writeln!(out, "<p><span class=\"dim\">{}</span> {}</p>", Html(name), Html(&text))?;
    }
    let newest = answer.newest.map_or_else(|| "none".to_owned(), |time| format!("{time} UTC"));
    writeln!(out, "<p><span class=\"dim\">newest event</span> {newest}</p>")
}

fn section(out: &mut impl Write, answer: &Answer) -> Result<()> {
    let (title, id) = (answer.metric.title, answer.metric.id);
    writeln!(out, "<section id=\"{id}\">\n<h2>{} <span class=\"dim\">{id}</span></h2>", Html(title))?;
    writeln!(out, "<p class=\"dim\">{}</p>", Html(answer.metric.definition))?;
    values(out, answer)?;
    answer.series.iter().try_for_each(|series| chart(out, answer, series))?;
    answer.tables.iter().try_for_each(|table| list(out, table))?;
    writeln!(out, "<details><summary>SQL</summary>\n<pre>")?;
    for query in &answer.queries {
        writeln!(out, "-- {}", query.name)?;
        for (number, value) in query.values.iter().enumerate() {
            let value = serde_json::to_string(value)?;
            writeln!(out, "-- value {}: {}", number + 1, Html(&value))?;
        }
        for line in query.sql.lines() {
            writeln!(out, "{}", Html(line))?;
        }
    }
    writeln!(out, "</pre>\n</details>\n</section>")
}

fn values(out: &mut impl Write, answer: &Answer) -> Result<()> {
    if answer.values.is_empty() {
        return Ok(());
    }
    let compared = answer.values.iter().any(|value| value.compared.is_some());
    let more = if compared { "<th class=\"n\">was</th><th class=\"n\">change</th>" } else { "" };
    writeln!(out, "<table>\n<tr><th>number</th><th class=\"n\">value</th>{more}</tr>")?;
    for value in &answer.values {
        let unit = unit(answer, value.name);
        write!(out, "<tr><td>{}</td><td class=\"n\">{}</td>", value.name, measure(value.measure, unit))?;
        if let Some((was, changed)) = &value.compared {
            let change = change(value.measure, changed);
            write!(out, "<td class=\"n\">{}</td><td class=\"n\">{change}</td>", measure(*was, unit))?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</table>")
}

/// Writes bars of a series, and its numbers as a table.
fn chart(out: &mut impl Write, answer: &Answer, series: &Series) -> Result<()> {
    let unit = unit(answer, series.name);
    let name = match &series.group {
        Some(group) => format!("{} {}", series.name, cell(group)),
        None => series.name.to_owned(),
    };
    let value = |point: &(Range, Measure)| point.1.value().unwrap_or_default().max(0.0);
    let greatest = series.points.iter().map(value).fold(0.0, f64::max);
    let (width, height) = CHART;
    writeln!(
        out,
        "<p>{}</p>\n<svg viewBox=\"0 0 {width} {height}\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
        Html(&name)
    )?;
    let step = width / series.points.len().max(1) as f64;
    for (number, point) in series.points.iter().enumerate() {
        let tall = if greatest > 0.0 { value(point) / greatest * height } else { 0.0 };
        writeln!(
            out,
            "<rect x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{tall:.2}\"/>",
            step * number as f64,
            height - tall,
            step * 0.9
        )?;
    }
    writeln!(out, "</svg>\n<details><summary>numbers</summary>\n<table>")?;
    writeln!(out, "<tr><th>from (UTC)</th><th class=\"n\">{}</th></tr>", Html(&name))?;
    for (range, number) in &series.points {
        writeln!(out, "<tr><td>{}</td><td class=\"n\">{}</td></tr>", range.from, measure(*number, unit))?;
    }
    writeln!(out, "</table>\n</details>")
}

/// Writes a list, with bars of its first column of counts.
fn list(out: &mut impl Write, table: &Table) -> Result<()> {
    if table.rows.is_empty() {
        return Ok(());
    }
    let counts = super::counts(table);
    let greatest = counts.iter().flatten().max().copied().unwrap_or(0);
    write!(out, "<table>\n<caption>{}</caption>\n<tr>", Html(table.name))?;
    for (column, name) in table.columns.iter().enumerate() {
        let class = if is_number(table, column) { " class=\"n\"" } else { "" };
        write!(out, "<th{class}>{}</th>", Html(name))?;
    }
    writeln!(out, "{}</tr>", if counts.is_empty() { "" } else { "<th></th>" })?;
    for (number, row) in table.rows.iter().enumerate() {
        write!(out, "<tr>")?;
        for (column, value) in row.iter().enumerate() {
            let class = if is_number(table, column) { " class=\"n\"" } else { "" };
            write!(out, "<td{class}>{}</td>", Html(&cell(value)))?;
        }
        if let Some(count) = counts.get(number) {
            let share = count.unwrap_or(0) as f64 / greatest.max(1) as f64 * 100.0;
            write!(out, "<td class=\"bar\"><span style=\"width:{share:.1}%\"></span></td>")?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</table>")
}

fn is_number(table: &Table, column: usize) -> bool {
    let mut cells = table.rows.iter().filter_map(|row| row.get(column));
    cells.all(|cell| matches!(cell, Value::Integer(_) | Value::Float(_) | Value::Null))
}

/// Returns a cell, not escaped yet.
fn cell(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        value => crate::output::cell(value),
    }
}
