//! The reference of all metrics in Markdown, from their descriptions.

use std::fmt::Write as _;

use turnmill_sql::Dialect;

use crate::business::Business;
use crate::catalogue::METRICS;
use crate::funnel::{Funnel, Step};
use crate::metric::Metric;
use crate::names::StoreNames;
use crate::question::Question;
use crate::scope::Scope;
use crate::value::Query;
use crate::view::{Results, View};

/// Columns of a line of text.
const WIDTH: usize = 100;

/// Returns the reference: a table of all metrics, then each with its definition, its numbers, its
/// lists and its SQL. The SQL is that of a question without filters and range, to a store with a
/// few names, with a text to search for and a slot of ratings.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from("| metric | title | unit | counted |\n| --- | --- | --- | --- |\n");
    for metric in METRICS {
        let anchor = metric.id.to_lowercase();
        // Writing to a text cannot fail.
        let _ = writeln!(
            out,
            "| [`{}`](#{anchor}) | {} | {} | {} |",
            metric.id,
            metric.title,
            metric.unit.name(),
            metric.counted.name()
        );
    }
    METRICS.iter().for_each(|metric| describe(&mut out, metric));
    out
}

fn describe(out: &mut String, metric: &Metric) {
    let charts: Vec<&str> = metric.charts.iter().map(|chart| chart.name()).collect();
    let sources: Vec<&str> = metric.sources.iter().map(|source| source.name()).collect();
    let text = wrapped(&format!("**{}.** {}", metric.title, metric.definition), WIDTH);
    // Writing to a text cannot fail.
    let _ = write!(
        out,
        "\n### {}\n\n{text}\n\n- charts: {}\n- sources: {}\n",
        metric.id,
        charts.join(", "),
        sources.join(", "),
    );
    if !metric.figures.is_empty() {
        out.push_str("\n| number | unit | what | of |\n| --- | --- | --- | --- |\n");
        for figure in metric.figures {
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {} |",
                figure.name,
                figure.unit.name(),
                figure.numerator,
                figure.denominator.unwrap_or_default()
            );
        }
    }
    let scope = scope(Dialect::Postgres);
    let nothing = Results::default();
    let lists = (metric.tables)(&scope, &View::whole(&nothing, None));
    if !lists.is_empty() {
        out.push('\n');
        for list in lists {
            let columns: Vec<String> = list.columns.iter().map(|column| format!("`{column}`")).collect();
            out.push_str(&wrapped_item(&format!("list `{}`: {}", list.name, columns.join(", "))));
        }
    }
    let [postgres, sqlite] =
        [Dialect::Postgres, Dialect::Sqlite].map(|dialect| (metric.plan)(&self::scope(dialect)));
    let plain = |queries: &[Query]| -> Vec<String> {
        queries.iter().map(|query| query.sql.replace('?', "$")).collect()
    };
    if plain(&postgres) == plain(&sqlite) {
        show(out, "SQL; SQLite writes ?1 for $1", &postgres);
    } else {
        show(out, "SQL for PostgreSQL", &postgres);
        show(out, "SQL for SQLite", &sqlite);
    }
}

fn show(out: &mut String, title: &str, queries: &[Query]) {
    // Writing to a text cannot fail.
    let _ = write!(out, "\n<details><summary>{title}</summary>\n\n```sql\n");
    for (number, query) in queries.iter().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        show_query(out, query);
    }
    out.push_str("```\n\n</details>\n");
}

fn show_query(out: &mut String, query: &Query) {
    // Writing to a text cannot fail.
    let _ = writeln!(out, "-- {}", query.name);
    for (number, value) in query.values.iter().enumerate() {
        let value = serde_json::to_string(value).unwrap_or_default();
        let _ = writeln!(out, "-- value {}: {value}", number + 1);
    }
    let _ = writeln!(out, "{};", query.sql);
}

/// Returns a question to a store with a few names.
fn scope(dialect: Dialect) -> Scope {
    let name = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let time = |text| turnmill_model::Micros::parse(text).unwrap_or_default();
    let names = StoreNames {
        extent: Some(crate::range::Extent {
            first: time("2026-11-20 09:00:00.000000"),
            newest: time("2026-11-20 10:00:00.000000"),
        }),
        intents: name(&["greet", "talk_to_human"]),
        first_responses: name(&["utter_default", "utter_greet"]),
        has_ledger: true,
        ..StoreNames::default()
    };
    let steps = vec![Step::Intent("greet".into()), Step::Response("utter_greet".into())];
    let funnel = Funnel { steps, ..Funnel::default() };
    let business = Business { rating_slot: Some("rating".into()), ..Business::default() };
    let question = Question { funnel, business, text: Some("parcel".into()), ..Question::default() };
    Scope::new(&question, &names, dialect)
}

/// Breaks a text into lines.
fn wrapped(text: &str, width: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.join("\n")
}

/// Breaks an item of a list into lines.
fn wrapped_item(text: &str) -> String {
    format!("- {}\n", wrapped(text, WIDTH - 2).replace('\n', "\n  "))
}
