//! `turnmill sql`.

use std::io::{IsTerminal as _, Write};
use std::time::Duration;

use clap::ValueEnum;
use turnmill_analytics::{Plan, Query, QueryResult, ReadQueries as _, StoreNames, Value, metric};
use turnmill_text::escaped_lines;

use crate::console;
use crate::failure::Failure;
use crate::output::{csv, grid, json_line};
use crate::question::{MetricArgs, SelectionArgs};
use crate::report::known;
use crate::store_args::{StoreChoice, StoreOptions};

/// Arguments of `turnmill sql`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "turnmill sql [OPTIONS] [STORE] <METRIC|SQL>")]
pub(crate) struct Args {
    /// Store, if not the configured one, then the id of a metric, or one statement in SQL
    #[arg(value_name = "[STORE] METRIC|SQL", num_args = 1..=2, required = true)]
    names: Vec<String>,
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    metric: MetricArgs,
    /// Form of the rows of a statement
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Maximum number of rows of a statement
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// Seconds after which the database ends a question
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    time_limit: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a terminal
    Table,
    /// The names of the columns, then one line a row
    Csv,
    /// One object with `columns`, `rows`, and `is_cut` if there are more rows
    Json,
}

/// Prints the SQL of a metric, or the rows of a statement.
pub(crate) async fn run(args: &Args) -> Result<bool, Failure> {
    let (url, what) = match args.names.as_slice() {
        [store, what] => (Some(store.as_str()), what.as_str()),
        [what] => (None, what.as_str()),
        // clap has refused other numbers.
        _ => return Ok(false),
    };
    let choice = args.store.choice(url);
    let limit = Duration::from_secs(args.time_limit);
    // A statement has more than one word.
    if metric(what).is_some() || !what.trim().contains(char::is_whitespace) {
        print(args, choice, what, limit).await?;
    } else {
        let mut reader = choice.reader(limit).await?;
        let result = reader.ask(what, args.limit).await.map_err(|error| choice.gave_up(error))?;
        write(args.format, &result)?;
        if result.is_cut {
            let rows = result.rows.len();
            console::message(&format!("there are more than these {rows} rows (--limit)"));
        }
    }
    Ok(true)
}

/// Prints the queries of a metric as this store is asked them, with their values beside them.
async fn print(args: &Args, choice: StoreChoice<'_>, id: &str, limit: Duration) -> Result<(), Failure> {
    let metric = known(id)?;
    let question = args.metric.of(args.selection.question(args.store.analytics()?)?)?;
    let mut reader = choice.reader(limit).await?;
    let dialect = reader.dialect();
    let names = reader.read(&StoreNames::queries(dialect)).await.map_err(|error| choice.gave_up(error))?;
    let plan = Plan::new(metric, &question, &StoreNames::read(&names), dialect)
        .map_err(|error| Failure::Metrics(error.to_string()))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "-- {}: {}", metric.id, metric.title)?;
    plan.queries.iter().try_for_each(|query| write_query(&mut out, query))?;
    out.flush()?;
    Ok(())
}

fn write_query(out: &mut impl Write, query: &Query) -> std::io::Result<()> {
    writeln!(out, "\n-- {}", query.name)?;
    for (number, value) in query.values.iter().enumerate() {
        write!(out, "-- value {}: ", number + 1)?;
        json_line(out, value)?;
    }
    // Names of the data are bound and not in the text.
    writeln!(out, "{};", escaped_lines(&query.sql))
}

fn write(format: Format, result: &QueryResult) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let terminal = std::io::stdout().is_terminal();
    match format {
        Format::Table => {
            let name = |name: &String| crate::output::cell(&Value::Text(name.clone()));
            let columns: Vec<String> = result.columns.iter().map(name).collect();
            grid(&mut out, "", &columns, &result.rows)?;
        }
        Format::Csv => {
            csv::row(&mut out, terminal, result.columns.iter().map(|name| csv::text(name)))?;
            for row in &result.rows {
                csv::row(&mut out, terminal, row.iter().map(csv::cell))?;
            }
        }
        Format::Json => json_line(&mut out, result)?,
    }
    out.flush()?;
    Ok(())
}
