//! `turnmill report`.

mod csv;
mod html;
mod json;
mod markdown;
mod numbers;
mod table;

use std::io::{IsTerminal as _, Write};
use std::time::Duration;

use clap::ValueEnum;
use turnmill_analytics::{Answer, METRICS, Metric, Row, Table, Value, answer, metric};
use turnmill_text::escaped;

use crate::failure::Failure;
use crate::question::{MetricArgs, SelectionArgs};
use crate::store_args::StoreOptions;

/// Metrics of the overview, which are reported unless others are named.
const OVERVIEW: [&str; 12] = [
    "R1_conversations",
    "R2_users",
    "R3_sessions",
    "R4_channels",
    "R5_user_sessions",
    "R6_top_intents",
    "R7_response_time",
    "R8_containment",
    "R9_abandonment",
    "R10_escalation",
    "three_ways_to_end",
    "X24_fallback",
];

/// Arguments of `turnmill report`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Store and metrics: `sqlite:PATH` or `postgresql://USER@HOST:PORT/DATABASE` if not
    /// the configured store, then ids of metrics
    #[arg(value_name = "STORE|METRIC")]
    names: Vec<String>,
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    metric: MetricArgs,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Print this list of a metric instead of its numbers, in CSV
    #[arg(long, value_name = "NAME")]
    list: Option<String>,
    /// Seconds after which the database ends a question
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    time_limit: u64,
}

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a terminal
    Table,
    /// One row for each number, or for each number and bucket
    Csv,
    /// One object a line for each metric
    Json,
    /// Tables of Markdown
    Markdown,
    /// One page that needs no other file and no script
    Html,
}

/// Asks the store and prints the answers.
pub(crate) async fn run(args: &Args) -> Result<bool, Failure> {
    let (url, metrics) = split(&args.names)?;
    let question = args.metric.of(args.selection.question(args.store.analytics()?)?)?;
    let choice = args.store.choice(url);
    let mut reader = choice.reader(Duration::from_secs(args.time_limit)).await?;
    let answers =
        answer(&mut reader, &metrics, &question).await.map_err(|error| choice.not_answered(error))?;
    let mut out = std::io::stdout().lock();
    let terminal = std::io::stdout().is_terminal();
    if let Some(list) = &args.list {
        for answer in &answers {
            let table = answer.table(list).ok_or_else(|| no_list(answer, list))?;
            csv::list(&mut out, terminal, table)?;
        }
        return Ok(true);
    }
    match args.format {
        Format::Table => table::write(&mut out, terminal && can_draw(), &answers)?,
        Format::Csv => csv::write(&mut out, terminal, &answers)?,
        Format::Json => json::write(&mut out, &answers)?,
        Format::Markdown => markdown::write(&mut out, &answers)?,
        Format::Html => html::write(&mut out, &answers)?,
    }
    out.flush()?;
    Ok(true)
}

/// Splits arguments into an optional store and metrics. Ids of metrics have neither `:` nor `.`.
fn split(names: &[String]) -> Result<(Option<&str>, Vec<&'static Metric>), Failure> {
    let is_store = |name: &&String| name.contains([':', '.', '/']);
    let store = names.first().filter(is_store).map(String::as_str);
    let ids: Vec<&str> = names.iter().skip(usize::from(store.is_some())).map(String::as_str).collect();
    let ids = if ids.is_empty() { OVERVIEW.to_vec() } else { ids };
    Ok((store, ids.into_iter().map(known).collect::<Result<_, _>>()?))
}

/// Returns the metric that `id` names.
pub(crate) fn known(id: &str) -> Result<&'static Metric, Failure> {
    metric(id).ok_or_else(|| {
        let all: Vec<&str> = METRICS.iter().map(|metric| metric.id).collect();
        Failure::Question(format!("`{}` is no metric: use {}", escaped(id), all.join(", ")))
    })
}

/// Returns whether the terminal shows bars: it has fonts with them, and the language of the process
/// is written in UTF-8.
fn can_draw() -> bool {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let language = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable).unwrap_or_default();
    let language = language.to_ascii_lowercase();
    let is_plain = variable("TERM").is_none_or(|kind| matches!(kind.as_str(), "dumb" | "linux"));
    !is_plain && (language.contains("utf-8") || language.contains("utf8"))
}

/// Returns the first column of counts of a list, after its first column. Bars show it. Empty for a
/// list without counts.
fn counts(table: &Table) -> Vec<Option<i64>> {
    let of_column = |column: usize| -> Option<Vec<Option<i64>>> {
        let count = |row: &Row| match row.get(column)? {
            Value::Integer(count) if *count >= 0 => Some(Some(*count)),
            Value::Null => Some(None),
            _ => None,
        };
        table.rows.iter().map(count).collect()
    };
    (1..table.columns.len()).find_map(of_column).unwrap_or_default()
}

fn no_list(answer: &Answer, list: &str) -> Failure {
    let names: Vec<&str> = answer.tables.iter().map(|table| table.name).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Failure::Question(format!("{} has no list `{list}`: it has {names}", answer.metric.id))
}
