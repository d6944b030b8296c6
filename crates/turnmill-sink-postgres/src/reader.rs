//! A connection of its own that answers queries and changes nothing.

use std::error::Error;
use std::fmt;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use futures_util::TryStreamExt as _;
use futures_util::future::{Either, select};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Column, Row as WireRow, Statement};
use turnmill_analytics::{Query, QueryResult, ReadQueries, Row, Value};
use turnmill_sink::StoreError;
use turnmill_sql::Dialect;

use crate::connect::{Connection, RollBack};
use crate::failure::Failure;
use crate::migrate;
use crate::value::{EPOCH, WireTime};
use crate::{PostgresSettings, PostgresStore};

/// Answers queries of metrics from a store in PostgreSQL, beside its writers.
///
/// The server refuses to change anything: every transaction of the connection is read-only. A query
/// that takes longer than the time limit is ended by the server, and so is the one that runs when a
/// set of queries has taken that long. An error leaves the reader usable; where it costs the
/// connection, the next call connects again.
pub struct PostgresReader {
    settings: PostgresSettings,
    connection: Option<Connection>,
    interrupt: PostgresInterrupt,
}

/// Ends what a [`PostgresReader`] is asked, from any thread.
#[derive(Clone, Debug)]
pub struct PostgresInterrupt(Arc<watch::Sender<bool>>);

impl PostgresInterrupt {
    /// Makes the reader ask the server to end the query that runs. The reader refuses all later
    /// ones.
    pub fn interrupt(&self) {
        self.0.send_replace(true);
    }

    /// Waits until the reader is interrupted.
    async fn is_set(&self) {
        // The sender is in this value, so it cannot be gone.
        let _ = self.0.subscribe().wait_for(|is_set| *is_set).await;
    }
}

impl fmt::Debug for PostgresReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresReader")
            .field("settings", &self.settings)
            .field("open", &self.connection.is_some())
            .finish()
    }
}

impl PostgresStore {
    /// Returns a reader of this store, which ends a query after `limit`. It connects at its first
    /// call.
    #[must_use]
    pub fn reader(&self, limit: Duration) -> PostgresReader {
        let settings = self.settings().clone().with_read_only(true).with_statement_timeout(limit);
        let interrupt = PostgresInterrupt(Arc::new(watch::Sender::new(false)));
        PostgresReader { settings, connection: None, interrupt }
    }
}

impl PostgresReader {
    /// Connects, unless it is connected, and checks that there is a store of this version.
    ///
    /// # Errors
    ///
    /// Fatal if there is none. Retryable if the server cannot be reached.
    pub async fn connect(&mut self) -> Result<(), StoreError> {
        self.connected().await.map(drop)
    }

    /// Hands the rows of a query to `each` as they come, until it breaks. Returns the names of the
    /// columns.
    ///
    /// # Errors
    ///
    /// As [`read`](ReadQueries::read).
    pub async fn each_row(
        &mut self,
        query: &Query,
        each: &mut (dyn FnMut(&[String], Row) -> ControlFlow<()> + Send),
    ) -> Result<Vec<String>, StoreError> {
        let connection = self.connected().await?;
        let _reading = RollBack::reading_in_time(connection).await?;
        let columns = rows_of(connection, query, each).await;
        columns.map_err(|error| connection.fail(error, &format!("asking for {}", query.name)))
    }

    /// Runs one statement that a person wrote, and returns its first `most` rows. Values of types
    /// that turnmill's tables do not have come as texts.
    ///
    /// The server runs it in a read-only transaction, and refuses a second statement.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unusable`] with the server's own words if it refuses the statement or ends it
    /// at the time limit.
    pub async fn ask(&mut self, sql: &str, most: usize) -> Result<QueryResult, StoreError> {
        let limit = self.settings.statement_timeout;
        let connection = self.connected().await?;
        let _reading = RollBack::reading_in_time(connection).await?;
        let result = answer_of(connection, sql, most).await;
        result.map_err(|error| match error {
            Refusal::NoRows => refused("it returns no rows"),
            Refusal::Failed(Failure::Driver(error)) => match error.as_db_error() {
                Some(db) if db.code() == &SqlState::QUERY_CANCELED => {
                    let seconds = limit.as_secs_f64();
                    refused(&format!("it took longer than {seconds} s (--time-limit)"))
                }
                // The server refused the statement. Anything else is about the connection.
                Some(db) if !is_of_the_server_itself(db.code()) => refused(db.message()),
                _ => connection.fail(error, "asking"),
            },
            Refusal::Failed(failure) => connection.fail(failure, "asking"),
        })
    }

    /// Returns a handle that ends what this reader is asked.
    #[must_use]
    pub fn interrupt_handle(&self) -> PostgresInterrupt {
        self.interrupt.clone()
    }

    async fn connected(&mut self) -> Result<&Connection, StoreError> {
        if self.connection.as_ref().is_none_or(Connection::is_lost) {
            let connection = Connection::open(&self.settings).await?;
            migrate::readable(&connection, &self.settings).await?;
            self.connection = Some(connection);
        }
        let lost = || StoreError::Unusable { detail: "there is no connection".into(), source: None };
        self.connection.as_ref().ok_or_else(lost)
    }
}

impl ReadQueries for PostgresReader {
    type Error = StoreError;

    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn read(&mut self, queries: &[Query]) -> Result<Vec<Vec<Row>>, StoreError> {
        let limit = self.settings.statement_timeout;
        let interrupt = self.interrupt.clone();
        let connection = self.connected().await?;
        let _reading = RollBack::reading_in_time(connection).await?;
        let deadline = (!limit.is_zero()).then(|| Instant::now() + limit);
        let mut results = Vec::with_capacity(queries.len());
        for query in queries {
            let name = query.name;
            let reading = pin!(rows(connection, query));
            let rows = match select(pin!(over(&interrupt, deadline)), reading).await {
                Either::Right((rows, _)) => {
                    rows.map_err(|error| connection.fail(error, &format!("asking for {name}")))?
                }
                Either::Left((why, _)) => {
                    connection.cancel().await;
                    return Err(why.error(name, limit));
                }
            };
            results.push(rows);
        }
        Ok(results)
    }
}

/// Why a query is ended before it has its rows.
enum Over {
    Interrupted,
    Late,
}

impl Over {
    fn error(&self, name: &str, limit: Duration) -> StoreError {
        let detail = match self {
            Self::Interrupted => format!("the query {name} was interrupted"),
            Self::Late => format!(
                "the query {name} took longer than {} s: ask for a shorter range, or raise the limit",
                limit.as_secs_f64()
            ),
        };
        StoreError::Unusable { detail, source: None }
    }
}

/// Waits until a query has to end.
async fn over(interrupt: &PostgresInterrupt, deadline: Option<Instant>) -> Over {
    let Some(deadline) = deadline else {
        interrupt.is_set().await;
        return Over::Interrupted;
    };
    match select(pin!(interrupt.is_set()), pin!(sleep_until(deadline))).await {
        Either::Left(_) => Over::Interrupted,
        Either::Right(_) => Over::Late,
    }
}

async fn rows(connection: &Connection, query: &Query) -> Result<Vec<Row>, Failure> {
    let bound: Vec<Bound<'_>> = query.values.iter().map(Bound).collect();
    let parameters: Vec<&(dyn ToSql + Sync)> =
        bound.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
    let rows = connection.query(query.sql.as_str(), &parameters).await?;
    rows.iter().map(read).collect()
}

async fn rows_of(
    connection: &Connection,
    query: &Query,
    each: &mut (dyn FnMut(&[String], Row) -> ControlFlow<()> + Send),
) -> Result<Vec<String>, Failure> {
    let statement = connection.answer(Box::pin(connection.client().prepare(&query.sql))).await?;
    let columns: Vec<String> = statement.columns().iter().map(|column| column.name().to_owned()).collect();
    let bound: Vec<Bound<'_>> = query.values.iter().map(Bound).collect();
    let parameters = bound.iter().map(|value| value as &(dyn ToSql + Sync));
    let rows = connection.answer(Box::pin(connection.client().query_raw(&statement, parameters))).await?;
    let mut rows = pin!(rows);
    while let Some(row) = connection.answer(rows.try_next()).await? {
        if each(&columns, read(&row)?).is_break() {
            break;
        }
    }
    Ok(columns)
}

/// Why a statement that a person wrote has no answer.
enum Refusal {
    NoRows,
    Failed(Failure),
}

impl<F: Into<Failure>> From<F> for Refusal {
    fn from(error: F) -> Self {
        Self::Failed(error.into())
    }
}

async fn answer_of(connection: &Connection, sql: &str, most: usize) -> Result<QueryResult, Refusal> {
    let prepare = async |sql: &str| -> Result<Statement, Failure> {
        connection.answer(Box::pin(connection.client().prepare(sql))).await
    };
    let own = prepare(sql).await?;
    // `COPY ... TO PROGRAM` and `DO` return nothing, and a read-only transaction allows them.
    if own.columns().is_empty() {
        return Err(Refusal::NoRows);
    }
    let columns: Vec<String> = own.columns().iter().map(|column| column.name().to_owned()).collect();
    // Other statements cannot be part of one: `EXPLAIN` and `SHOW` have short results, and what
    // writes is refused when it runs.
    let statement = if is_a_query(sql) { prepare(&bounded(sql, &own, most)).await? } else { own };
    let rows = connection.query(&statement, &[]).await?;
    let mut rows: Vec<Row> = rows.iter().map(read).collect::<Result<_, _>>()?;
    let is_cut = rows.len() > most;
    rows.truncate(most);
    Ok(QueryResult { columns, rows, is_cut })
}

/// Returns the statement with one row more than `most`, and with texts for types that this crate
/// does not read. Columns get names of their own, because a statement may use one name twice.
fn bounded(sql: &str, statement: &Statement, most: usize) -> String {
    let names: Vec<String> = (0..statement.columns().len()).map(|number| format!("c{number}")).collect();
    let cells: Vec<String> =
        names
            .iter()
            .zip(statement.columns())
            .map(|(name, column)| {
                if is_read_as_it_is(column.type_()) { name.clone() } else { format!("CAST({name} AS text)") }
            })
            .collect();
    // The statement may end with a remark, which a line break ends.
    let sql = sql.trim().trim_end_matches(';');
    format!(
        "SELECT {} FROM (\n{sql}\n) AS question ({}) LIMIT {}",
        cells.join(", "),
        names.join(", "),
        most.saturating_add(1)
    )
}

/// Returns whether another statement can contain this one.
fn is_a_query(sql: &str) -> bool {
    let sql = sql.trim_start();
    let word: String = sql.chars().take_while(char::is_ascii_alphabetic).collect();
    let is_one = matches!(word.to_ascii_lowercase().as_str(), "select" | "with" | "values" | "table");
    is_one || sql.starts_with(['(', '-', '/'])
}

/// Returns whether this crate reads values of a type.
fn is_read_as_it_is(ty: &Type) -> bool {
    matches!(
        *ty,
        Type::BOOL
            | Type::INT2
            | Type::INT4
            | Type::INT8
            | Type::FLOAT4
            | Type::FLOAT8
            | Type::TIMESTAMP
            | Type::TIMESTAMPTZ
            | Type::TEXT
            | Type::VARCHAR
    )
}

/// Returns whether an error is about the server and not about a statement: it shuts down, or has no
/// resources.
fn is_of_the_server_itself(code: &SqlState) -> bool {
    ["08", "53", "57", "58", "XX"].iter().any(|class| code.code().starts_with(class))
}

fn refused(why: &str) -> StoreError {
    StoreError::Unusable { detail: format!("the question is refused: {why}"), source: None }
}

/// A value to bind, in the binary form of the type that the server infers.
#[derive(Debug)]
struct Bound<'v>(&'v Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self.0 {
            Value::Null => return Ok(IsNull::Yes),
            Value::Text(text) => {
                if *ty == Type::JSONB {
                    // The version of the binary form.
                    out.put_u8(1);
                }
                out.put_slice(text.as_bytes());
            }
            Value::Integer(number) if *ty == Type::INT4 => out.put_i32(i32::try_from(*number)?),
            Value::Integer(number) => out.put_i64(*number),
            Value::Float(number) => out.put_f64(*number),
            Value::Boolean(truth) => out.put_u8(u8::from(*truth)),
            Value::Time(time) => out.put_i64(time.0.saturating_sub(EPOCH)),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn read(row: &WireRow) -> Result<Row, Failure> {
    row.columns().iter().enumerate().map(|(number, column)| cell(row, number, column)).collect()
}

fn cell(row: &WireRow, number: usize, column: &Column) -> Result<Value, Failure> {
    let value = match *column.type_() {
        Type::BOOL => row.try_get::<_, Option<bool>>(number)?.map(Value::Boolean),
        Type::INT2 => row.try_get::<_, Option<i16>>(number)?.map(|number| Value::Integer(number.into())),
        Type::INT4 => row.try_get::<_, Option<i32>>(number)?.map(|number| Value::Integer(number.into())),
        Type::INT8 => row.try_get::<_, Option<i64>>(number)?.map(Value::Integer),
        Type::FLOAT4 => row.try_get::<_, Option<f32>>(number)?.map(|number| Value::Float(number.into())),
        Type::FLOAT8 => row.try_get::<_, Option<f64>>(number)?.map(Value::Float),
        Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            row.try_get::<_, Option<WireTime>>(number)?.map(|time| Value::Time(time.0))
        }
        // The driver refuses a type that is no text.
        _ => row.try_get::<_, Option<String>>(number)?.map(Value::Text),
    };
    Ok(value.unwrap_or(Value::Null))
}
