//! Requests of tools: digests, the ledger, dead letters.

use rusqlite::{Connection, Row};
use turnmill_model::tables::{PUBLIC, Table};
use turnmill_model::{PartitionId, Reason, Settings};
use turnmill_sink::digest::Digests;
use turnmill_sink::{Counts, DeadLetter, Inspect, LedgerEntry, StoreError, StoredPosition};
use turnmill_sql::{facts, headers};

use crate::sql::{DEAD_LETTERS, LEDGER};
use crate::store::{Versions, roll_back};
use crate::{SqliteStore, connect, value};

/// Findings about a file, which was only read.
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    /// Settings that filled the store.
    pub settings: Settings,
    /// Migrations that opening the store will apply, each with its number, its name and what it
    /// does.
    pub pending: Vec<String>,
    /// Why the rows cannot be added to, with the remedy.
    pub problem: Option<String>,
}

impl SqliteStore {
    /// Opens an existing store with any settings, and returns these. Creates, migrates and compares
    /// nothing. For tools that only read.
    ///
    /// # Errors
    ///
    /// Fatal if the file is missing, not turnmill's, or of another schema version.
    pub fn open_as_it_is(&mut self) -> Result<Settings, StoreError> {
        self.connection = None;
        self.versions = Versions::default();
        let (connection, settings) = connect::open_as_it_is(self)?;
        self.connection = Some(connection);
        self.opened = self.file_id();
        self.row_settings = settings.clone();
        Ok(settings)
    }

    /// Returns the settings that a store was filled with, even if its schema is older. The store is
    /// not changed or opened. For a rebuild of all rows.
    ///
    /// # Errors
    ///
    /// Fatal if the file is missing, not turnmill's, or of a newer schema version.
    pub fn stored_settings(&self) -> Result<Settings, StoreError> {
        connect::stored_settings(self)
    }

    /// Reads what opening the store will find and do. Changes nothing.
    ///
    /// # Errors
    ///
    /// Fatal if the file is missing, not turnmill's, or of a newer schema version.
    pub fn survey(&self) -> Result<Survey, StoreError> {
        connect::survey(self)
    }

    /// Returns the number of rows of each public table, without reading them.
    ///
    /// # Errors
    ///
    /// Errors of reading.
    pub fn row_counts(&mut self) -> Result<Vec<(&'static str, u64)>, StoreError> {
        self.at_one_moment(|connection| {
            let count = |table: &&'static Table| {
                let sql = format!("SELECT count(*) FROM {}", table.name);
                let rows = connection.query_row(&sql, [], |row| row.get(0));
                Ok((
                    table.name,
                    rows.map_err(|error| self.error(error, &format!("counting {}", table.name)))?,
                ))
            };
            PUBLIC.iter().map(count).collect()
        })
    }

    /// Runs several queries on the same snapshot of the database.
    pub(crate) fn at_one_moment<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = self.connection()?;
        // End what a failed rollback may have left open.
        roll_back(Some(connection));
        connection.execute_batch("BEGIN").map_err(|error| self.error(error, "beginning to read"))?;
        let result = read(connection);
        roll_back(Some(connection));
        result
    }

    fn digest(
        &self,
        connection: &Connection,
        table: &'static Table,
        digests: &mut Digests,
    ) -> Result<(), StoreError> {
        let doing = format!("reading {}", table.name);
        let fail = |error| self.error(error, &doing);
        let Some(sql) = self.sql.tables.get(table.name) else { return Ok(()) };
        let mut query = connection.prepare(&sql.select).map_err(fail)?;
        let mut rows = query.query([]).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            let mut values = Vec::with_capacity(sql.types.len());
            for (column, ty) in sql.types.iter().enumerate() {
                let stored = row.get_ref(column).map_err(fail)?;
                let Some(value) = value::read(stored, *ty) else {
                    let name = table.columns.get(column).map_or("?", |column| column.name);
                    let detail = format!(
                        "{}.{name} holds a value that cannot be one of the column's ({})",
                        table.name,
                        stored.data_type()
                    );
                    return Err(StoreError::Damaged { detail });
                };
                values.push(value);
            }
            digests.add(table, values);
        }
        Ok(())
    }
}

fn ledger_entry(row: &Row<'_>) -> rusqlite::Result<LedgerEntry> {
    let counts = Counts {
        records: row.get(1)?,
        events: row.get(2)?,
        duplicates: row.get(3)?,
        anonymised: row.get(4)?,
        dead_letters: row.get(5)?,
        skipped: row.get(6)?,
        changed: row.get(7)?,
        parts: row.get(8)?,
    };
    Ok(LedgerEntry { source: row.get(0)?, counts })
}

fn dead_letter(row: &Row<'_>) -> rusqlite::Result<Result<DeadLetter, StoreError>> {
    let (reason, written_headers): (String, String) = (row.get(4)?, row.get(11)?);
    let written_facts: Option<String> = row.get(13)?;
    let facts = facts::read(written_facts.as_deref());
    let (reason, headers, facts) = match (reason.parse::<Reason>(), headers::read(&written_headers), facts) {
        (Ok(reason), Ok(headers), Ok(facts)) => (reason, headers, facts),
        (Err(error), ..) => return Ok(Err(StoreError::Damaged { detail: error.to_string() })),
        (_, Err(error), _) | (.., Err(error)) => return Ok(Err(error)),
    };
    Ok(Ok(DeadLetter {
        id: row.get(0)?,
        key: PartitionId { source: row.get(1)?, partition: row.get(2)? },
        place: row.get(3)?,
        reason,
        detail: row.get(5)?,
        payload: row.get(6)?,
        sender: row.get(7)?,
        time: row.get(8)?,
        environment: row.get(9)?,
        row: row.get(12)?,
        facts,
        record_key: row.get(10)?,
        headers,
    }))
}

impl Inspect for SqliteStore {
    /// Streams each table once, in constant memory.
    async fn digests(&mut self) -> Result<Digests, StoreError> {
        self.at_one_moment(|connection| {
            let mut digests = Digests::default();
            PUBLIC.into_iter().try_for_each(|table| self.digest(connection, table, &mut digests))?;
            Ok(digests)
        })
    }

    async fn ledger(&mut self) -> Result<Vec<LedgerEntry>, StoreError> {
        let fail = |error| self.error(error, "reading the ledger");
        let mut query = self.connection()?.prepare_cached(LEDGER).map_err(fail)?;
        query.query_map([], ledger_entry).and_then(Iterator::collect).map_err(fail)
    }

    async fn dead_letters(&mut self, after: u64, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        let fail = |error| self.error(error, "reading dead letters");
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut query = self.connection()?.prepare_cached(DEAD_LETTERS).map_err(fail)?;
        let letters: Vec<_> =
            query.query_map([after, limit], dead_letter).and_then(Iterator::collect).map_err(fail)?;
        letters.into_iter().collect()
    }

    async fn positions(&mut self) -> Result<Vec<StoredPosition>, StoreError> {
        self.read_positions()
    }
}
