//! A connection of its own that answers queries and changes nothing.

use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use futures_util::future::{Either, select};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Column, Row as WireRow};
use turnmill_analytics::{Query, ReadQueries, Row, Value};
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
    /// Returns a handle that ends what this reader is asked.
    #[must_use]
    pub fn interrupt_handle(&self) -> PostgresInterrupt {
        self.interrupt.clone()
    }

    async fn connected(&mut self) -> Result<&Connection, StoreError> {
        if self.connection.as_ref().is_none_or(Connection::is_lost) {
            let connection = Connection::open(&self.settings).await?;
            migrate::up_to_date(&connection, &self.settings).await?;
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
        Type::TIMESTAMP => row.try_get::<_, Option<WireTime>>(number)?.map(|time| Value::Time(time.0)),
        // The driver refuses a type that is no text.
        _ => row.try_get::<_, Option<String>>(number)?.map(Value::Text),
    };
    Ok(value.unwrap_or(Value::Null))
}
