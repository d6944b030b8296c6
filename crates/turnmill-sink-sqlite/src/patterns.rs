//! The patterns of markers.

use rusqlite::{Connection, OptionalExtension as _, Row};
use turnmill_model::Micros;
use turnmill_sink::outbox::encode_patterns;
use turnmill_sink::{PatternSet, StoreError, StoredPattern};
use turnmill_sql::{Dialect, meta, patterns};
use uuid::Uuid;

use crate::SqliteStore;
use crate::store::roll_back;

const REVISION: &str = "SELECT value FROM _turnmill_meta WHERE name = ?1";

/// A pattern, and its scopes as text.
type Found = (StoredPattern, String);

impl SqliteStore {
    /// Returns the revision of the patterns.
    pub(crate) fn patterns_revision(&self, connection: &Connection) -> Result<u64, StoreError> {
        let fail = |error| self.error(error, "reading the patterns' revision");
        let text: Option<String> = connection
            .prepare_cached(REVISION)
            .and_then(|mut query| query.query_row([meta::PATTERNS_REVISION], |row| row.get(0)).optional())
            .map_err(fail)?;
        text.map_or(Ok(0), |text| meta::patterns_revision(&text))
    }

    pub(crate) fn read_patterns(&self) -> Result<PatternSet, StoreError> {
        self.at_one_moment(|connection| {
            let revision = self.patterns_revision(connection)?;
            let fail = |error| self.error(error, "reading patterns");
            let mut query = connection.prepare_cached(&patterns::select(Dialect::Sqlite)).map_err(fail)?;
            let found: Vec<Found> = query.query_map([], found).and_then(Iterator::collect).map_err(fail)?;
            let pattern = |(pattern, scopes): Found| {
                Ok(StoredPattern { scopes: patterns::read_scopes(&scopes)?, ..pattern })
            };
            let patterns = found.into_iter().map(pattern).collect::<Result<_, StoreError>>()?;
            Ok(PatternSet { revision, patterns })
        })
    }

    pub(crate) fn replace_patterns(&self, from: u64, set: &PatternSet) -> Result<(), StoreError> {
        let connection = self.connection()?;
        let fail = |error| self.error(error, "writing patterns");
        connection.execute_batch("BEGIN IMMEDIATE").map_err(fail)?;
        let written = self.put_patterns(connection, from, set);
        let written = written.and_then(|()| connection.execute_batch("COMMIT").map_err(fail));
        if written.is_err() {
            roll_back(Some(connection));
        }
        written
    }

    fn put_patterns(&self, connection: &Connection, from: u64, set: &PatternSet) -> Result<(), StoreError> {
        let found = self.patterns_revision(connection)?;
        if found != from {
            return Err(StoreError::patterns_changed(found, from));
        }
        let fail = |error| self.error(error, "writing patterns");
        let mut put = connection.prepare_cached(&self.sql.put_pattern).map_err(fail)?;
        let mut own = connection.prepare_cached(&self.sql.put_own_pattern).map_err(fail)?;
        for (number, pattern) in set.patterns.iter().enumerate() {
            let id = pattern.id.to_string();
            let (created_at, updated_at) = (pattern.created_at.to_string(), pattern.updated_at.to_string());
            let (name, description, config) = (&pattern.name, &pattern.description, &pattern.config);
            put.execute((&id, name, description, config, pattern.is_active, created_at, updated_at))
                .and_then(|_| own.execute((&id, number, patterns::write_scopes(&pattern.scopes))))
                .map_err(fail)?;
        }
        connection
            .execute(&self.sql.put_meta, [meta::PATTERNS_REVISION, &set.revision.to_string()])
            .map_err(fail)?;
        let sinks = self.sink_facts(connection)?;
        let entry = encode_patterns(set, sinks.wanted);
        entry.map_or(Ok(()), |entry| self.put_entry(connection, &entry, sinks))
    }
}

fn found(row: &Row<'_>) -> rusqlite::Result<Found> {
    let pattern = StoredPattern {
        id: parsed(row, 0, |text| Uuid::parse_str(text).ok())?,
        name: row.get(1)?,
        description: row.get(2)?,
        config: row.get(3)?,
        is_active: row.get(4)?,
        created_at: parsed(row, 5, Micros::parse)?,
        updated_at: parsed(row, 6, Micros::parse)?,
        scopes: Vec::new(),
    };
    Ok((pattern, row.get(7)?))
}

fn parsed<T>(row: &Row<'_>, column: usize, parse: fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    let ty = rusqlite::types::Type::Text;
    parse(&text).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(column, ty, format!("unreadable: {text}").into())
    })
}
