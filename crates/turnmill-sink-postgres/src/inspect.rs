//! Queries of tools: digests, the ledger, dead letters.

use futures_util::{TryStreamExt as _, pin_mut};
use tokio_postgres::binary_copy::{BinaryCopyOutRow, BinaryCopyOutStream};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use turnmill_model::tables::{PUBLIC, Table, Value};
use turnmill_model::{PartitionId, Reason};
use turnmill_sink::digest::Digests;
use turnmill_sink::{Counts, DeadLetter, Inspect, LedgerEntry, StoreError, StoredPosition};
use turnmill_sql::{SqlType, facts, headers};
use uuid::Uuid;

use crate::PostgresStore;
use crate::connect::{Connection, RollBack};
use crate::failure::Failure;
use crate::sql::{DEAD_LETTERS, LEDGER, TableSql};
use crate::value::{integer, micros};

impl PostgresStore {
    /// Returns the number of rows of each public table, all of the same moment.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub async fn row_counts(&mut self) -> Result<Vec<(&'static str, u64)>, StoreError> {
        let connection = self.connected().await?;
        let _reading = RollBack::reading(connection).await?;
        let mut counts = Vec::new();
        for table in PUBLIC {
            let sql = format!("SELECT count(*) FROM {}", table.name);
            let rows: Result<i64, Failure> =
                connection.query_one(&sql, &[]).await.and_then(|row| Ok(row.try_get(0)?));
            let rows = rows.map_err(|error| connection.fail(error, &format!("counting {}", table.name)))?;
            counts.push((table.name, u64::try_from(rows).unwrap_or_default()));
        }
        Ok(counts)
    }
}

/// Reads a table to its end, a row at a time.
async fn digest(
    connection: &Connection,
    sql: &TableSql,
    table: &'static Table,
    digests: &mut Digests,
) -> Result<(), Failure> {
    let types: Vec<Type> = sql.types.iter().map(|ty| wire_type(*ty)).collect();
    let stream = connection.answer(Box::pin(connection.client().copy_out(sql.copy_out.as_str()))).await?;
    let rows = BinaryCopyOutStream::new(stream, &types);
    pin_mut!(rows);
    while let Some(row) = connection.answer(rows.try_next()).await? {
        let mut values = Vec::with_capacity(types.len());
        for (column, ty) in sql.types.iter().enumerate() {
            values.push(value(&row, column, *ty)?);
        }
        digests.add(table, values);
    }
    Ok(())
}

/// Returns the type as which a column is read. Times are read as the number that is sent.
fn wire_type(ty: SqlType) -> Type {
    match ty {
        SqlType::IdText | SqlType::Varchar(_) | SqlType::Text => Type::TEXT,
        SqlType::Uuid => Type::UUID,
        SqlType::Integer | SqlType::Serial | SqlType::DateTime => Type::INT8,
        SqlType::Float => Type::FLOAT8,
        SqlType::Boolean => Type::BOOL,
        SqlType::Bytes => Type::BYTEA,
    }
}

fn value(row: &BinaryCopyOutRow, column: usize, ty: SqlType) -> Result<Value<'_>, Error> {
    Ok(match ty {
        SqlType::IdText | SqlType::Varchar(_) | SqlType::Text => {
            row.try_get::<Option<&str>>(column)?.map_or(Value::Null, Value::Text)
        }
        SqlType::Uuid => row.try_get::<Option<Uuid>>(column)?.map_or(Value::Null, Value::Id),
        SqlType::Integer | SqlType::Serial => {
            row.try_get::<Option<i64>>(column)?.map_or(Value::Null, Value::Integer)
        }
        SqlType::Float => row.try_get::<Option<f64>>(column)?.map_or(Value::Null, Value::Float),
        SqlType::DateTime => row
            .try_get::<Option<i64>>(column)?
            .map_or(Value::Null, |since_2000| Value::DateTime(micros(since_2000))),
        SqlType::Boolean => row.try_get::<Option<bool>>(column)?.map_or(Value::Null, Value::Boolean),
        // No public table has bytes.
        SqlType::Bytes => Value::Null,
    })
}

fn ledger_entry(row: &Row) -> Result<LedgerEntry, Error> {
    let counts = Counts {
        records: row.try_get(1)?,
        events: row.try_get(2)?,
        duplicates: row.try_get(3)?,
        anonymised: row.try_get(4)?,
        dead_letters: row.try_get(5)?,
        skipped: row.try_get(6)?,
        changed: row.try_get(7)?,
        parts: row.try_get(8)?,
    };
    Ok(LedgerEntry { source: row.try_get(0)?, counts })
}

fn dead_letter(row: &Row) -> Result<Result<DeadLetter, StoreError>, Error> {
    let (reason, written_headers): (&str, &str) = (row.try_get(4)?, row.try_get(11)?);
    let facts = facts::read(row.try_get(13)?);
    let (reason, headers, facts) = match (reason.parse::<Reason>(), headers::read(written_headers), facts) {
        (Ok(reason), Ok(headers), Ok(facts)) => (reason, headers, facts),
        (Err(error), ..) => return Ok(Err(StoreError::Damaged { detail: error.to_string() })),
        (_, Err(error), _) | (.., Err(error)) => return Ok(Err(error)),
    };
    let id: i64 = row.try_get(0)?;
    Ok(Ok(DeadLetter {
        id: u64::try_from(id).unwrap_or_default(),
        key: PartitionId { source: row.try_get(1)?, partition: row.try_get(2)? },
        place: row.try_get(3)?,
        reason,
        detail: row.try_get(5)?,
        payload: row.try_get(6)?,
        sender: row.try_get(7)?,
        time: row.try_get(8)?,
        environment: row.try_get(9)?,
        row: row.try_get(12)?,
        facts,
        record_key: row.try_get(10)?,
        headers,
    }))
}

impl Inspect for PostgresStore {
    /// Reads each table once, in constant memory.
    async fn digests(&mut self) -> Result<Digests, StoreError> {
        self.connected().await?;
        let connection = self.connection()?;
        let _reading = RollBack::reading(connection).await?;
        let mut digests = Digests::default();
        for table in PUBLIC {
            let Some(sql) = self.sql.tables.get(table.name) else { continue };
            let read = digest(connection, sql, table, &mut digests).await;
            read.map_err(|error| connection.fail(error, &format!("reading {}", table.name)))?;
        }
        Ok(digests)
    }

    async fn ledger(&mut self) -> Result<Vec<LedgerEntry>, StoreError> {
        let connection = self.connected().await?;
        let rows = connection.query(LEDGER, &[]).await;
        rows.and_then(|rows| Ok(rows.iter().map(ledger_entry).collect::<Result<_, Error>>()?))
            .map_err(|error| connection.fail(error, "reading the ledger"))
    }

    async fn dead_letters(&mut self, after: u64, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        let connection = self.connected().await?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = connection.query(DEAD_LETTERS, &[&integer(after), &limit]).await;
        let letters: Result<Vec<_>, Failure> =
            rows.and_then(|rows| Ok(rows.iter().map(dead_letter).collect::<Result<_, Error>>()?));
        let letters = letters.map_err(|error| connection.fail(error, "reading dead letters"))?;
        letters.into_iter().collect()
    }

    async fn positions(&mut self) -> Result<Vec<StoredPosition>, StoreError> {
        self.read_positions().await
    }
}
