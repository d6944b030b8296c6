//! Sinks and their outbox.
//!
//! SQLite has one writer at a time, so numbers are assigned in commit order.

use std::time::Duration;

use rusqlite::{Connection, Params, Row};
use turnmill_model::tables::Table;
use turnmill_sink::StoreError;
use turnmill_sink::outbox::{
    ChangeValue, Outbox, OutboxEntry, Scope, SinkPosition, SinkSpec, SinkState, SinkStep, SnapshotCursor,
    Wanted,
};
use turnmill_sql::outbox::{FACTS, NEW_HEAD, PRUNE};

use crate::store::roll_back;
use crate::{SqliteStore, value};

/// Maximum number of bytes or entries of a request. Sums of it do not overflow.
const MOST: i64 = 1 << 50;

/// Facts about the sinks that a transaction needs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SinkFacts {
    pub(crate) wanted: Wanted,
    /// Whether the lag of a sink exceeds its bound.
    beyond: bool,
}

impl SqliteStore {
    /// Reads the facts about sinks that the current transaction needs.
    pub(crate) fn sink_facts(&self, connection: &Connection) -> Result<SinkFacts, StoreError> {
        let facts = connection
            .prepare_cached(FACTS)
            .and_then(|mut query| query.query_row([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?))));
        let (scope, beyond): (Option<String>, _) =
            facts.map_err(|error| self.error(error, "reading sinks"))?;
        let scope = scope.map(|scope| Scope::parse(&scope)).transpose()?;
        Ok(SinkFacts { wanted: Wanted::by(scope), beyond: beyond > 0 })
    }

    /// Writes an entry in the current transaction.
    pub(crate) fn put_entry(
        &self,
        connection: &Connection,
        entry: &[u8],
        sinks: SinkFacts,
    ) -> Result<(), StoreError> {
        let sql = &self.sql.outbox;
        let length = i64::try_from(entry.len()).unwrap_or(i64::MAX);
        let doing = "writing the outbox";
        self.execute_once(connection, &sql.take_number, [length], doing)?;
        self.execute_once(connection, &sql.insert, [entry], doing)?;
        if sinks.beyond {
            self.execute_once(connection, &sql.drop_beyond, [SinkState::BEYOND_BOUND], doing)?;
            self.execute_once(connection, PRUNE, [], doing)?;
        }
        Ok(())
    }

    fn execute_once(
        &self,
        connection: &Connection,
        sql: &str,
        parameters: impl Params,
        doing: &str,
    ) -> Result<usize, StoreError> {
        connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(parameters))
            .map_err(|error| self.error(error, doing))
    }

    /// Runs `work` in its own transaction.
    fn alone<T>(
        &self,
        doing: &str,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.read_only {
            return Err(self.reading_only());
        }
        let connection = self.connection()?;
        // An earlier rollback may have failed.
        roll_back(Some(connection));
        connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| self.error(error, doing))?;
        let done = work(connection);
        let done = done.and_then(|value| {
            connection.execute_batch("COMMIT").map_err(|error| self.error(error, doing))?;
            Ok(value)
        });
        if done.is_err() {
            roll_back(Some(connection));
        }
        done
    }

    fn states(&self, connection: &Connection) -> Result<Vec<SinkState>, StoreError> {
        let doing = "reading sinks";
        let fail = |error| self.error(error, doing);
        let mut query = connection.prepare_cached(&self.sql.outbox.states).map_err(fail)?;
        let states: Vec<_> = query.query_map([], state).and_then(Iterator::collect).map_err(fail)?;
        states.into_iter().collect()
    }

    fn state(&self, connection: &Connection, name: &str) -> Result<Option<SinkState>, StoreError> {
        Ok(self.states(connection)?.into_iter().find(|state| state.name == name))
    }
}

fn state(row: &Row<'_>) -> rusqlite::Result<Result<SinkState, StoreError>> {
    let scope: String = row.get(1)?;
    let snapshot: Option<String> = row.get(3)?;
    let state = SinkState {
        name: row.get(0)?,
        scope: Scope::All,
        position: SinkPosition {
            number: row.get(2)?,
            snapshot: snapshot.as_deref().map(SnapshotCursor::parse),
        },
        max_bytes: row.get(4)?,
        head: row.get(5)?,
        lag_bytes: row.get(6)?,
        skipped: row.get(7)?,
        error: row.get(8)?,
        owner: row.get(9)?,
    };
    Ok(Scope::parse(&scope).map(|scope| SinkState { scope, ..state }))
}

impl Outbox for SqliteStore {
    async fn put_sink(&mut self, spec: &SinkSpec) -> Result<SinkState, StoreError> {
        let (sql, doing) = (&self.sql.outbox, "adding a sink");
        self.alone(doing, |connection| {
            self.execute_once(connection, NEW_HEAD, [], doing)?;
            let scope = spec.scope.as_str();
            self.execute_once(connection, &sql.forget_other_scope, [&spec.name, scope], doing)?;
            let cursor = spec.begin(0).snapshot.map(|cursor| cursor.to_string());
            self.execute_once(connection, &sql.put, (&spec.name, scope, cursor, spec.max_bytes), doing)?;
            self.execute_once(connection, PRUNE, [], doing)?;
            self.state(connection, &spec.name)?.ok_or_else(|| StoreError::sink_moved(&spec.name))
        })
    }

    async fn remove_sink(&mut self, name: &str) -> Result<bool, StoreError> {
        let doing = "removing a sink";
        self.alone(doing, |connection| {
            let removed = self.execute_once(connection, &self.sql.outbox.remove, [name], doing)?;
            self.execute_once(connection, PRUNE, [], doing)?;
            Ok(removed > 0)
        })
    }

    async fn reset_sink(&mut self, name: &str) -> Result<bool, StoreError> {
        let doing = "resetting a sink";
        self.alone(doing, |connection| {
            let reset = self.execute_once(connection, &self.sql.outbox.reset, [name], doing)?;
            self.execute_once(connection, PRUNE, [], doing)?;
            Ok(reset > 0)
        })
    }

    async fn sinks(&mut self) -> Result<Vec<SinkState>, StoreError> {
        self.states(self.connection()?)
    }

    async fn lease_sink(
        &mut self,
        name: &str,
        owner: &str,
        lease: Duration,
    ) -> Result<Option<SinkState>, StoreError> {
        let doing = "leasing a sink";
        self.alone(doing, |connection| {
            let parameters = (name, owner, lease.as_secs_f64());
            match self.execute_once(connection, &self.sql.outbox.lease, parameters, doing)? {
                0 => Ok(None),
                _ => self.state(connection, name),
            }
        })
    }

    async fn advance_sink(&mut self, step: &SinkStep<'_>) -> Result<(), StoreError> {
        let doing = "moving a sink's position";
        let cursor = |position: &SinkPosition| position.snapshot.as_ref().map(ToString::to_string);
        self.alone(doing, |connection| {
            let parameters = (
                step.name,
                step.owner,
                step.from.number,
                cursor(step.from),
                step.to.number,
                cursor(step.to),
                step.skipped,
                step.error,
            );
            if self.execute_once(connection, &self.sql.outbox.advance, parameters, doing)? == 0 {
                return Err(StoreError::sink_moved(step.name));
            }
            self.execute_once(connection, PRUNE, [], doing).map(drop)
        })
    }

    async fn release_sink(&mut self, name: &str, owner: &str) -> Result<(), StoreError> {
        let doing = "ending the lease of a sink";
        self.alone(doing, |connection| {
            self.execute_once(connection, &self.sql.outbox.release, [name, owner], doing).map(drop)
        })
    }

    async fn outbox(
        &mut self,
        after: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let fail = |error| self.error(error, "reading the outbox");
        let count = |number: usize| i64::try_from(number).map_or(MOST, |number| number.min(MOST));
        let mut query = self.connection()?.prepare_cached(&self.sql.outbox.entries).map_err(fail)?;
        let entry = |row: &Row<'_>| Ok(OutboxEntry { number: row.get(0)?, bytes: row.get(1)? });
        query.query_map((after, count(limit), count(bytes)), entry).and_then(Iterator::collect).map_err(fail)
    }

    async fn rows_after(
        &mut self,
        table: &'static Table,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Vec<ChangeValue<'static>>>, StoreError> {
        let doing = format!("reading {}", table.name);
        let fail = |error| self.error(error, &doing);
        let unknown = || StoreError::Unusable {
            detail: format!("bug in turnmill: rows of an unknown table {}", table.name),
            source: None,
        };
        let sql = self.sql.tables.get(table.name).ok_or_else(unknown)?;
        let mut query = self.connection()?.prepare_cached(&sql.select_after).map_err(fail)?;
        let mut rows = query.query((after, limit)).map_err(fail)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(fail)? {
            let mut values = Vec::with_capacity(sql.types_after.len());
            for (column, ty) in sql.types_after.iter().enumerate() {
                let stored = row.get_ref(column).map_err(fail)?;
                let value = value::read(stored, *ty).ok_or_else(|| StoreError::Damaged {
                    detail: format!("{} has a value that does not fit its column", table.name),
                })?;
                values.push(ChangeValue::from(value).into_owned());
            }
            found.push(values);
        }
        Ok(found)
    }
}
