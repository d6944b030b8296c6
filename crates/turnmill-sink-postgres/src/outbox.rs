//! Sinks and their outbox.
//!
//! A transaction takes its number from one row, which it locks last and holds until the commit. So
//! no other transaction takes the next number before the commit is visible. Numbers have no gaps
//! and are in commit order, and no entry becomes visible before one with a smaller number.

use std::time::Duration;

use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Error, Row};
use turnmill_model::tables::{ColumnType, Table};
use turnmill_sink::StoreError;
use turnmill_sink::outbox::{
    ChangeValue, Outbox, OutboxEntry, Scope, SinkPosition, SinkSpec, SinkState, SinkStep, SnapshotCursor,
    Wanted, columns,
};
use turnmill_sql::SqlType;
use turnmill_sql::outbox::{NEW_HEAD, OutboxSql, PRUNE};

use crate::PostgresStore;
use crate::connect::{Connection, RollBack};
use crate::failure::Failure;
use crate::patterns::CHANGE_PATTERNS;
use crate::steps::Step;
use crate::value::{Array, integer, micros};

/// Maximum number of bytes or entries of a request. Sums of it do not overflow.
const MOST: i64 = 1 << 50;

/// Begins a move of a position. The commit does not wait for the disk: if the server crashes before
/// it is written, the position and the entries are as before, and the batches are repeated.
const BEGIN_MOVE: &str = "BEGIN; SET LOCAL synchronous_commit = off";

/// Facts about the sinks that a transaction needs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SinkFacts {
    pub(crate) wanted: Wanted,
    /// Whether the lag of a sink exceeds its bound.
    beyond: bool,
}

impl SinkFacts {
    /// Reads the result of a transaction's first statement, after the patterns' revision.
    pub(crate) fn read(connection: &Connection, rows: &[Row]) -> Result<Self, StoreError> {
        let Some(row) = rows.first() else { return Ok(Self::default()) };
        let facts = row.try_get(1).and_then(|scope: Option<&str>| Ok((scope, row.try_get::<_, i64>(2)?)));
        let (scope, beyond) = facts.map_err(|error| connection.fail(error, "reading sinks"))?;
        Ok(Self { wanted: Wanted::by(scope.map(Scope::parse).transpose()?), beyond: beyond > 0 })
    }
}

/// The statements that write an entry.
pub(crate) fn steps(sql: &OutboxSql, entry: &[u8], sinks: SinkFacts) -> Vec<Step> {
    let length = Array::of(SqlType::Integer, [integer(entry.len() as u64)]);
    let mut steps = vec![
        Step::arrays("_turnmill_outbox_head", &sql.take_number, vec![length])
            .must_find(1, "_turnmill_outbox_head has no row"),
        Step::arrays("_turnmill_outbox", &sql.insert, vec![Array::of(SqlType::Bytes, [entry])]),
    ];
    if sinks.beyond {
        let remark = Array::of(SqlType::Text, [SinkState::BEYOND_BOUND]);
        steps.push(Step::arrays("_turnmill_sink", &sql.drop_beyond, vec![remark]));
        steps.push(Step::plain("pruning the outbox", PRUNE));
    }
    steps
}

/// A timestamp in PostgreSQL's binary format.
struct Since2000(i64);

impl<'a> FromSql<'a> for Since2000 {
    fn from_sql(_: &Type, bytes: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(bytes.try_into()?)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMP
    }
}

impl PostgresStore {
    /// Executes statements in their own transaction, each with its parameters. Returns the number
    /// of rows that the first one changed.
    async fn alone(
        &mut self,
        doing: &str,
        begin: &str,
        statements: &[(&str, &[&(dyn ToSql + Sync)])],
    ) -> Result<u64, StoreError> {
        if self.settings.read_only {
            return Err(self.reading_only());
        }
        let connection = self.connected().await?;
        let texts: Vec<&str> = statements.iter().map(|(sql, _)| *sql).collect();
        connection.prepare(&texts).await?;
        let connection = &*connection;
        let mut guard = RollBack::new(connection);
        let fail = |error| connection.fail(error, doing);
        connection.batch_execute(begin).await.map_err(fail)?;
        let mut first = None;
        for (sql, parameters) in statements {
            let touched = connection.execute(connection.statement(sql)?, parameters).await.map_err(fail)?;
            first.get_or_insert(touched);
        }
        connection.batch_execute("COMMIT").await.map_err(fail)?;
        guard.ended();
        Ok(first.unwrap_or_default())
    }

    async fn states(&mut self) -> Result<Vec<SinkState>, StoreError> {
        let sql = self.sql.outbox.states.clone();
        let connection = self.connected().await?;
        let rows = connection.query(&sql, &[]).await;
        let states: Result<Vec<_>, Failure> =
            rows.and_then(|rows| Ok(rows.iter().map(state).collect::<Result<_, Error>>()?));
        states.map_err(|error| connection.fail(error, "reading sinks"))?.into_iter().collect()
    }

    async fn state(&mut self, name: &str) -> Result<Option<SinkState>, StoreError> {
        Ok(self.states().await?.into_iter().find(|state| state.name == name))
    }
}

fn state(row: &Row) -> Result<Result<SinkState, StoreError>, Error> {
    let number =
        |column: usize| row.try_get(column).map(|number: i64| u64::try_from(number).unwrap_or_default());
    let scope: &str = row.try_get(1)?;
    let snapshot: Option<&str> = row.try_get(3)?;
    let max_bytes: Option<i64> = row.try_get(4)?;
    let state = SinkState {
        name: row.try_get(0)?,
        scope: Scope::All,
        position: SinkPosition { number: number(2)?, snapshot: snapshot.map(SnapshotCursor::parse) },
        max_bytes: max_bytes.map(|bytes| u64::try_from(bytes).unwrap_or_default()),
        head: number(5)?,
        lag_bytes: number(6)?,
        skipped: number(7)?,
        error: row.try_get(8)?,
        owner: row.try_get(9)?,
    };
    Ok(Scope::parse(scope).map(|scope| SinkState { scope, ..state }))
}

/// Reads a value of a row.
fn value(row: &Row, index: usize, ty: ColumnType) -> Result<ChangeValue<'static>, Error> {
    let value = match ty {
        ColumnType::Id | ColumnType::Varchar(_) | ColumnType::Text => {
            row.try_get::<_, Option<String>>(index)?.map(|text| ChangeValue::Text(text.into()))
        }
        ColumnType::Integer => row.try_get::<_, Option<i64>>(index)?.map(ChangeValue::Integer),
        ColumnType::Float => row.try_get::<_, Option<f64>>(index)?.map(ChangeValue::Float),
        ColumnType::DateTime => {
            row.try_get::<_, Option<Since2000>>(index)?.map(|time| ChangeValue::DateTime(micros(time.0)))
        }
        ColumnType::Boolean => row.try_get::<_, Option<bool>>(index)?.map(ChangeValue::Boolean),
    };
    Ok(value.unwrap_or(ChangeValue::Null))
}

fn cursor(position: &SinkPosition) -> Option<String> {
    position.snapshot.as_ref().map(ToString::to_string)
}

impl Outbox for PostgresStore {
    async fn put_sink(&mut self, spec: &SinkSpec) -> Result<SinkState, StoreError> {
        let known = self.state(&spec.name).await?;
        let is_known = known.is_some_and(|state| state.scope == spec.scope);
        // A new sink waits for the open transactions, which do not know it.
        let begin = if is_known { "BEGIN".to_owned() } else { format!("BEGIN; {CHANGE_PATTERNS}") };
        let sql = self.sql.outbox.clone();
        let (name, scope, cursor) = (spec.name.as_str(), spec.scope.as_str(), cursor(&spec.begin(0)));
        let bound = spec.max_bytes.map(integer);
        let statements: [(&str, &[&(dyn ToSql + Sync)]); 4] = [
            (NEW_HEAD, &[]),
            (&sql.forget_other_scope, &[&name, &scope]),
            (&sql.put, &[&name, &scope, &cursor, &bound]),
            (PRUNE, &[]),
        ];
        self.alone("adding a sink", &begin, &statements).await?;
        self.state(&spec.name).await?.ok_or_else(|| StoreError::sink_moved(&spec.name))
    }

    async fn remove_sink(&mut self, name: &str) -> Result<bool, StoreError> {
        let sql = self.sql.outbox.remove.clone();
        let statements: [(&str, &[&(dyn ToSql + Sync)]); 2] = [(&sql, &[&name]), (PRUNE, &[])];
        Ok(self.alone("removing a sink", "BEGIN", &statements).await? > 0)
    }

    async fn reset_sink(&mut self, name: &str) -> Result<bool, StoreError> {
        let sql = self.sql.outbox.reset.clone();
        let statements: [(&str, &[&(dyn ToSql + Sync)]); 2] = [(&sql, &[&name]), (PRUNE, &[])];
        Ok(self.alone("resetting a sink", "BEGIN", &statements).await? > 0)
    }

    async fn sinks(&mut self) -> Result<Vec<SinkState>, StoreError> {
        self.states().await
    }

    async fn lease_sink(
        &mut self,
        name: &str,
        owner: &str,
        lease: Duration,
    ) -> Result<Option<SinkState>, StoreError> {
        let sql = self.sql.outbox.lease.clone();
        let seconds = lease.as_secs_f64();
        let statements: [(&str, &[&(dyn ToSql + Sync)]); 1] = [(&sql, &[&name, &owner, &seconds])];
        match self.alone("leasing a sink", "BEGIN", &statements).await? {
            0 => Ok(None),
            _ => self.state(name).await,
        }
    }

    async fn advance_sink(&mut self, step: &SinkStep<'_>) -> Result<(), StoreError> {
        let SinkStep { name, owner, from, to, skipped, error } = step;
        let sql = self.sql.outbox.advance.clone();
        let (before, after) = (cursor(from), cursor(to));
        let (from, to, skipped) = (integer(from.number), integer(to.number), integer(*skipped));
        let advance: &[&(dyn ToSql + Sync)] = &[name, owner, &from, &before, &to, &after, &skipped, error];
        let statements = [(sql.as_str(), advance), (PRUNE, &[])];
        let moved = self.alone("moving a sink's position", BEGIN_MOVE, &statements).await?;
        if moved == 0 { Err(StoreError::sink_moved(name)) } else { Ok(()) }
    }

    async fn release_sink(&mut self, name: &str, owner: &str) -> Result<(), StoreError> {
        let sql = self.sql.outbox.release.clone();
        let statements: [(&str, &[&(dyn ToSql + Sync)]); 1] = [(&sql, &[&name, &owner])];
        self.alone("ending the lease of a sink", "BEGIN", &statements).await.map(drop)
    }

    async fn outbox(
        &mut self,
        after: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let sql = self.sql.outbox.entries.clone();
        let count = |number: usize| integer(number as u64).min(MOST);
        let connection = self.connected().await?;
        connection.prepare(&[&sql]).await?;
        let parameters: [&(dyn ToSql + Sync); 3] = [&integer(after), &count(limit), &count(bytes)];
        let rows = connection.query(connection.statement(&sql)?, &parameters).await;
        let entry = |row: &Row| {
            let number: i64 = row.try_get(0)?;
            Ok(OutboxEntry { number: u64::try_from(number).unwrap_or_default(), bytes: row.try_get(1)? })
        };
        rows.and_then(|rows| Ok(rows.iter().map(entry).collect::<Result<_, Error>>()?))
            .map_err(|error| connection.fail(error, "reading the outbox"))
    }

    async fn rows_after(
        &mut self,
        table: &'static Table,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Vec<ChangeValue<'static>>>, StoreError> {
        let names: Vec<String> = columns(table).map(|(_, column)| format!("\"{}\"", column.name)).collect();
        let key = names.first().map_or("\"id\"", |key| key);
        let sql = format!(
            "SELECT {} FROM {} WHERE {key} > $1::text COLLATE \"C\" ORDER BY {key} LIMIT $2",
            names.join(", "),
            table.name
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let connection = self.connected().await?;
        let rows = connection.query(&sql, &[&after, &limit]).await;
        let read = |row: &Row| {
            columns(table).enumerate().map(|(index, (_, column))| value(row, index, column.ty)).collect()
        };
        rows.and_then(|rows| Ok(rows.iter().map(read).collect::<Result<_, Error>>()?))
            .map_err(|error| connection.fail(error, &format!("reading {}", table.name)))
    }
}

/// Writes an entry in the current transaction.
pub(crate) async fn put_entry(
    connection: &Connection,
    sql: &OutboxSql,
    entry: &[u8],
    sinks: SinkFacts,
) -> Result<(), StoreError> {
    let fail = |error| connection.fail(error, "writing the outbox");
    let length = vec![integer(entry.len() as u64)];
    connection.execute(&sql.take_number, &[&length]).await.map_err(fail)?;
    connection.execute(&sql.insert, &[&vec![entry]]).await.map_err(fail)?;
    if sinks.beyond {
        connection.execute(&sql.drop_beyond, &[&vec![SinkState::BEYOND_BOUND]]).await.map_err(fail)?;
        connection.batch_execute(PRUNE).await.map_err(fail)?;
    }
    Ok(())
}
