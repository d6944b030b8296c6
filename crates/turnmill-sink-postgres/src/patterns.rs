//! Reads and writes the patterns of markers.
//!
//! A transaction that writes rows holds a shared advisory lock, a change of the patterns the
//! exclusive one. So the patterns stay the same from a transaction's begin to its end, and no row
//! has to be written for that.

use tokio_postgres::{Error, Row};
use turnmill_model::Micros;
use turnmill_model::tables::{RASA_PATTERNS, Value};
use turnmill_sink::outbox::encode_patterns;
use turnmill_sink::{PatternSet, StoreError, StoredPattern};
use turnmill_sql::statements::{Input, OnConflict, Target};
use turnmill_sql::{Dialect, SqlType, internal, meta, patterns};
use uuid::Uuid;

use crate::PostgresStore;
use crate::connect::{Connection, Rivals, RollBack};
use crate::migrate::put_meta;
use crate::outbox::{self, SinkFacts};
use crate::steps::Step;
use crate::value::Array;

/// Waits for a running change of the patterns.
pub(crate) const SHARE_PATTERNS: &str =
    "SELECT pg_advisory_xact_lock_shared(1953845870, hashtext(current_schema()))";
/// Waits for the running transactions.
pub(crate) const CHANGE_PATTERNS: &str =
    "SELECT pg_advisory_xact_lock(1953845870, hashtext(current_schema()))";
/// Reads the patterns' revision.
pub(crate) const REVISION: &str = "SELECT value FROM _turnmill_meta WHERE name = 'patterns_revision'";

/// Converts what [`REVISION`] found, in the first column.
pub(crate) fn revision(connection: &Connection, rows: &[Row]) -> Result<u64, StoreError> {
    let Some(row) = rows.first() else { return Ok(0) };
    let text: Result<Option<&str>, Error> = row.try_get(0);
    let text = text.map_err(|error| connection.fail(error, "reading the patterns' revision"))?;
    text.map_or(Ok(0), meta::patterns_revision)
}

impl PostgresStore {
    pub(crate) async fn read_patterns(&mut self) -> Result<PatternSet, StoreError> {
        let connection = self.connected().await?;
        let _reading = RollBack::reading(connection).await?;
        let fail = |error| connection.fail(error, "reading patterns");
        let rows = connection.query(REVISION, &[]).await.map_err(fail)?;
        let revision = revision(connection, &rows)?;
        let select = patterns::select(Dialect::Postgres);
        let rows = connection.query(&select, &[]).await.map_err(fail)?;
        let mut patterns = Vec::with_capacity(rows.len());
        for row in &rows {
            patterns.push(found(row).map_err(|error| fail(error.into()))?.read()?);
        }
        Ok(PatternSet { revision, patterns })
    }

    pub(crate) async fn replace_patterns(&mut self, from: u64, set: &PatternSet) -> Result<(), StoreError> {
        let steps = steps(set);
        let statements: Vec<&str> = steps.iter().filter_map(Step::to_prepare).collect();
        self.connected().await?.prepare(&statements).await?;
        let (connection, outbox_sql) = (self.connection()?, &self.sql.outbox);
        let mut guard = RollBack::new(connection);
        let fail = |error| connection.fail(error, "writing patterns");
        connection.batch_execute(&format!("BEGIN; {CHANGE_PATTERNS}")).await.map_err(fail)?;
        let rows = connection.query(REVISION, &[]).await.map_err(fail)?;
        let found = revision(connection, &rows)?;
        if found != from {
            return Err(StoreError::patterns_changed(found, from));
        }
        connection.run(&steps, Rivals::Possible).await?;
        let rows = connection.query(&self.sql.revision_and_sinks, &[]).await.map_err(fail)?;
        let sinks = SinkFacts::read(connection, &rows)?;
        if let Some(entry) = encode_patterns(set, sinks.wanted) {
            outbox::put_entry(connection, outbox_sql, &entry, sinks).await?;
        }
        put_meta(connection, meta::PATTERNS_REVISION, &set.revision.to_string()).await?;
        connection.batch_execute("COMMIT").await.map_err(fail)?;
        guard.ended();
        Ok(())
    }
}

/// Returns the steps that write the patterns. Only one pattern of a name may be active, so inactive
/// patterns come first.
fn steps(set: &PatternSet) -> Vec<Step> {
    let (active, ended): (Vec<(usize, &StoredPattern)>, Vec<_>) =
        set.patterns.iter().enumerate().partition(|(_, pattern)| pattern.is_active);
    [ended, active]
        .iter()
        .filter(|patterns| !patterns.is_empty())
        .flat_map(|patterns| put(patterns))
        .collect()
}

fn put(patterns: &[(usize, &StoredPattern)]) -> [Step; 2] {
    let rows: Vec<[Value<'_>; 7]> = patterns
        .iter()
        .map(|(_, pattern)| {
            [
                Value::Id(pattern.id),
                Value::Text(&pattern.name),
                pattern.description.as_deref().map_or(Value::Null, Value::Text),
                Value::Text(&pattern.config),
                Value::Boolean(pattern.is_active),
                Value::DateTime(pattern.created_at),
                Value::DateTime(pattern.updated_at),
            ]
        })
        .collect();
    let target = Target::with_stamps(&RASA_PATTERNS);
    let columns = target.columns().iter().enumerate();
    let columns = columns.map(|(column, (_, ty))| {
        Array::of(*ty, rows.iter().map(|row| row.get(column).copied().unwrap_or(Value::Null)))
    });
    let sql = target.insert(Dialect::Postgres, Input::Arrays, OnConflict::Replace);
    let public = Step::arrays(RASA_PATTERNS.name, &sql, columns.collect());
    let scopes: Vec<String> =
        patterns.iter().map(|(_, pattern)| patterns::write_scopes(&pattern.scopes)).collect();
    let columns = vec![
        Array::of(SqlType::IdText, patterns.iter().map(|(_, pattern)| pattern.id)),
        Array::of(SqlType::Integer, patterns.iter().map(|(number, _)| *number as u64)),
        Array::of(SqlType::Text, scopes.iter().map(String::as_str)),
    ];
    let sql = Target::from(&internal::PATTERN).insert(Dialect::Postgres, Input::Arrays, OnConflict::Replace);
    [public, Step::arrays(internal::PATTERN.name, &sql, columns)]
}

/// A pattern as it was read, with its order.
struct Found {
    id: String,
    created_at: String,
    updated_at: String,
    scopes: String,
    pattern: StoredPattern,
}

fn found(row: &Row) -> Result<Found, Error> {
    Ok(Found {
        id: row.try_get(0)?,
        created_at: row.try_get(5)?,
        updated_at: row.try_get(6)?,
        scopes: row.try_get(7)?,
        pattern: StoredPattern {
            id: Uuid::nil(),
            name: row.try_get(1)?,
            description: row.try_get(2)?,
            config: row.try_get(3)?,
            is_active: row.try_get(4)?,
            created_at: Micros(0),
            updated_at: Micros(0),
            scopes: Vec::new(),
        },
    })
}

impl Found {
    fn read(self) -> Result<StoredPattern, StoreError> {
        let damaged = |what: &str, text: &str| StoreError::Damaged {
            detail: format!("pattern `{}`: the {what} `{text}` cannot be read", self.id),
        };
        let time = |text: &str| Micros::parse(text).ok_or_else(|| damaged("time", text));
        Ok(StoredPattern {
            id: Uuid::parse_str(&self.id).map_err(|_| damaged("id", &self.id))?,
            created_at: time(&self.created_at)?,
            updated_at: time(&self.updated_at)?,
            scopes: patterns::read_scopes(&self.scopes)?,
            ..self.pattern
        })
    }
}
