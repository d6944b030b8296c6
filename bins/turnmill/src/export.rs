//! `turnmill export`.

use std::io::{BufWriter, IsTerminal as _, Write};
use std::ops::ControlFlow;
use std::time::Duration;

use clap::ValueEnum;
use turnmill_analytics::{Query, Row, Value};
use turnmill_model::tables::{ColumnType, PUBLIC, public};
use turnmill_sql::views;

use crate::failure::Failure;
use crate::output::{csv, json_line};
use crate::store_args::StoreOptions;

/// Bytes that are written at once.
const BUFFER: usize = 1 << 16;

/// Arguments of `turnmill export`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "turnmill export [OPTIONS] [STORE] <TABLE|VIEW>")]
pub(crate) struct Args {
    /// Store, if not the configured one, then a table or view: `rasa_event`, `ext_session`,
    /// `turnmill_session`, ...
    #[arg(value_name = "[STORE] TABLE|VIEW", num_args = 1..=2, required = true)]
    names: Vec<String>,
    #[command(flatten)]
    store: StoreOptions,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Seconds after which the database ends the export
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    time_limit: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The names of the columns, then one line a row. NULL is an empty cell, the empty text `""`.
    /// Texts that a spreadsheet would calculate get an apostrophe in front
    Csv,
    /// One JSON object a line, with the columns in their order
    Jsonl,
}

/// A table or view, by its columns.
struct Exported {
    name: &'static str,
    columns: Vec<Column>,
}

struct Column {
    name: &'static str,
    is_truth: bool,
    is_time: bool,
}

/// Writes all rows, ordered by their ids. So two stores with the same rows give the same output.
pub(crate) async fn run(args: &Args) -> Result<bool, Failure> {
    let (url, name) = match args.names.as_slice() {
        [store, name] => (Some(store.as_str()), name.as_str()),
        [name] => (None, name.as_str()),
        // clap has refused other numbers.
        _ => return Ok(false),
    };
    let exported = exported(name).ok_or_else(|| no_such(name))?;
    let choice = args.store.choice(url);
    let mut reader = choice.reader(Duration::from_secs(args.time_limit)).await?;
    let names: Vec<String> = exported.columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
    let query =
        Query::new("export", format!("SELECT {} FROM {} ORDER BY 1", names.join(", "), exported.name));
    let stdout = std::io::stdout();
    let terminal = stdout.is_terminal();
    let mut out = BufWriter::with_capacity(BUFFER, stdout);
    if args.format == Format::Csv {
        csv::row(&mut out, terminal, exported.columns.iter().map(|column| csv::text(column.name)))?;
    }
    let mut written = Ok(());
    let mut each = |_: &[String], row: Row| {
        let row: Vec<Value> =
            row.into_iter().zip(&exported.columns).map(|(value, column)| typed(value, column)).collect();
        written = match args.format {
            Format::Csv => csv::row(&mut out, terminal, row.iter().map(csv::cell)),
            Format::Jsonl => json_line(&mut out, &Object { columns: &exported.columns, row: &row }),
        };
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    reader.each_row(&query, &mut each).await.map_err(|error| choice.gave_up(error))?;
    written?;
    out.flush()?;
    Ok(true)
}

/// Returns the table or view called `name`. What is turnmill's own has no name here.
fn exported(name: &str) -> Option<Exported> {
    let table = PUBLIC.iter().copied().find(|table| table.view == Some(name)).or_else(|| public(name));
    if let Some(table) = table {
        let column = |column: &'static turnmill_model::tables::Column| Column {
            name: column.name,
            is_truth: column.ty == ColumnType::Boolean,
            is_time: column.ty == ColumnType::DateTime,
        };
        return Some(Exported { name: table.name, columns: table.columns.iter().map(column).collect() });
    }
    let view = views::ALL.iter().find(|view| view.name == name)?;
    let column = |column: &'static views::ViewColumn| Column {
        name: column.name,
        is_truth: column.is_truth(),
        is_time: false,
    };
    Some(Exported { name: view.name, columns: view.columns.iter().map(column).collect() })
}

fn no_such(name: &str) -> Failure {
    let names = PUBLIC.iter().map(|table| table.name).chain(views::ALL.iter().map(|view| view.name));
    let hint = format!(": use {}", names.collect::<Vec<_>>().join(", "));
    Failure::NoSuchThing { what: "table or view", name: name.to_owned(), hint }
}

/// Returns the value in the type of its column, for databases that have no such type.
fn typed(value: Value, column: &Column) -> Value {
    match value {
        Value::Integer(number) if column.is_truth => Value::Boolean(number != 0),
        Value::Text(_) if column.is_time => value.time().map_or(value, Value::Time),
        value => value,
    }
}

/// A row as an object.
struct Object<'r> {
    columns: &'r [Column],
    row: &'r [Value],
}

impl serde::Serialize for Object<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.columns.iter().map(|column| column.name).zip(self.row))
    }
}
