//! The store and its connection.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _};
use turnmill_model::{PartitionId, SenderId, Settings};
use turnmill_sink::{Claim, Opened, PatternSet, Store, StoreError, StoredPosition};

use crate::connect::{self, Purpose};
use crate::error::store_error;
use crate::outbox::SinkFacts;
use crate::sql::{POSITION, POSITIONS, Sql};
use crate::transaction::SqliteTransaction;

/// Time to wait for another writer before the store is reported as busy.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Number of timelines whose versions are remembered, about 50 bytes each.
const REMEMBERED: usize = 1 << 20;

/// A store in a SQLite file.
///
/// Creating the value does no I/O. [`open`](Store::open) creates the file, migrates its tables, and
/// refuses files that turnmill did not make. Any number of stores and processes may have one file
/// open. Their transactions wait for each other.
pub struct SqliteStore {
    pub(crate) location: DatabaseLocation,
    pub(crate) read_only: bool,
    pub(crate) foreign_keys: bool,
    pub(crate) busy_timeout: Duration,
    pub(crate) connection: Option<Connection>,
    /// Identity of the file that was opened.
    pub(crate) opened: Option<FileId>,
    /// The settings that the store was opened with.
    pub(crate) row_settings: Settings,
    pub(crate) sql: Sql,
    pub(crate) versions: Versions,
    pub(crate) gate: Gate,
}

/// Device and inode of a file.
type FileId = (u64, u64);

/// The location of a database.
#[derive(Clone, Debug)]
pub(crate) enum DatabaseLocation {
    File(PathBuf),
    Memory,
}

/// Known versions of stored timelines: those that this connection has read or committed. They are
/// valid until another connection writes.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    /// SQLite's `data_version`, which changes when another connection commits.
    data_version: Option<i64>,
    versions: HashMap<SenderId, u64>,
}

/// A fail point, for tests.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    limit: Option<u64>,
    passed: Cell<u64>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore")
            .field("location", &self.location)
            .field("read_only", &self.read_only)
            .field("open", &self.connection.is_some())
            .finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Returns the store in the file `path`. Its folder must exist.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::at(DatabaseLocation::File(path.into()))
    }

    /// Returns a store in memory. Dropping it deletes the content.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::at(DatabaseLocation::Memory)
    }

    fn at(location: DatabaseLocation) -> Self {
        Self {
            location,
            read_only: false,
            foreign_keys: true,
            busy_timeout: BUSY_TIMEOUT,
            connection: None,
            opened: None,
            row_settings: Settings::default(),
            sql: Sql::new(),
            versions: Versions::default(),
            gate: Gate::default(),
        }
    }

    /// Makes the store read-only. [`open`](Store::open) then creates and migrates nothing, and
    /// there are no transactions. For tools that only read.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { read_only: true, ..self }
    }

    /// Sets whether the tables of a new file declare foreign keys. They do by default.
    #[must_use]
    pub fn foreign_keys(self, declared: bool) -> Self {
        Self { foreign_keys: declared, ..self }
    }

    /// Sets how long a transaction waits for another writer before it fails with a retryable error;
    /// 10 seconds by default.
    #[must_use]
    pub fn busy_timeout(self, timeout: Duration) -> Self {
        Self { busy_timeout: timeout, ..self }
    }

    /// Returns the file; `None` for a store in memory.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.location {
            DatabaseLocation::File(path) => Some(path),
            DatabaseLocation::Memory => None,
        }
    }

    /// Moves everything from the write-ahead log to the file and closes it. The store is then one
    /// file that can be copied.
    ///
    /// # Errors
    ///
    /// Retryable if another connection is reading or writing at that moment. Nothing is lost, but
    /// the log belongs to the store until the last connection closes.
    pub fn finish(mut self) -> Result<(), StoreError> {
        let Some(connection) = self.connection.take() else { return Ok(()) };
        if !self.read_only {
            let busy: i64 = connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
                .map_err(|error| self.error(error, "emptying the write-ahead log"))?;
            if busy != 0 {
                let detail = format!("`{}` is in use, so its write-ahead log cannot be emptied", self.name());
                return Err(StoreError::Unavailable { detail, source: None });
            }
        }
        connection.close().map_err(|(_, error)| self.error(error, "closing"))
    }

    /// Makes every later transaction fail after this number of statements; `None` ends that. For
    /// tests of code that uses a store.
    #[doc(hidden)]
    pub fn fail_after(&mut self, statements: Option<u64>) {
        self.gate.limit = statements;
    }

    /// Returns the identity of the file that is at the path now. `None` if there is none, or if the
    /// system has no inodes.
    pub(crate) fn file_id(&self) -> Option<FileId> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            let file = std::fs::metadata(self.path()?).ok()?;
            Some((file.dev(), file.ino()))
        }
        #[cfg(not(unix))]
        None
    }

    /// Fails if the file was deleted or replaced. Its content would vanish with the last
    /// connection, without an error from SQLite.
    fn is_still_there(&self) -> Result<(), StoreError> {
        if self.opened.is_none() || self.opened == self.file_id() {
            return Ok(());
        }
        let detail = format!(
            "`{}` was deleted or replaced while it was open, and what is written now would be lost: restore \
             the file, or start again to fill a new one",
            self.name()
        );
        Err(StoreError::Unusable { detail, source: None })
    }

    /// Returns the location, for messages.
    pub(crate) fn name(&self) -> String {
        match &self.location {
            DatabaseLocation::File(path) => path.display().to_string(),
            DatabaseLocation::Memory => ":memory:".into(),
        }
    }

    pub(crate) fn error(&self, error: rusqlite::Error, doing: &str) -> StoreError {
        store_error(error, &self.name(), doing)
    }

    pub(crate) fn reading_only(&self) -> StoreError {
        let detail = format!("`{}` was opened for reading only", self.name());
        StoreError::Unusable { detail, source: None }
    }

    pub(crate) fn connection(&self) -> Result<&Connection, StoreError> {
        let closed =
            || StoreError::Unusable { detail: format!("`{}` is not open", self.name()), source: None };
        self.connection.as_ref().ok_or_else(closed)
    }

    pub(crate) fn read_positions(&self) -> Result<Vec<StoredPosition>, StoreError> {
        let read = || {
            let mut statement = self
                .connection()?
                .prepare_cached(POSITIONS)
                .map_err(|e| self.error(e, "reading positions"))?;
            let rows = statement.query_map([], |row| {
                let key = PartitionId { source: row.get(0)?, partition: row.get(1)? };
                Ok(StoredPosition { key, position: row.get(2)? })
            });
            rows.and_then(Iterator::collect).map_err(|error| self.error(error, "reading positions"))
        };
        read()
    }

    /// Begins a transaction, checks the positions, and forgets versions if another connection has
    /// written. Returns the patterns' revision and which changes the sinks need.
    fn lock(&mut self, claim: &Claim) -> Result<(u64, SinkFacts), StoreError> {
        let doing = "beginning a transaction";
        self.is_still_there()?;
        let connection = self.connection()?;
        if self.read_only && !claim.advances.is_empty() {
            return Err(self.reading_only());
        }
        if !connection.is_autocommit() {
            // An earlier rollback has failed.
            connection.execute_batch("ROLLBACK").map_err(|error| self.error(error, doing))?;
        }
        self.gate.passed.set(0);
        self.gate.pass()?;
        let begin = if self.read_only { "BEGIN" } else { "BEGIN IMMEDIATE" };
        let begin = connection.prepare_cached(begin).and_then(|mut begin| begin.execute([]));
        begin.map_err(|error| self.error(error, doing))?;
        let checked = self.check_claim(claim);
        match checked {
            Ok((data_version, patterns, sinks)) => {
                self.versions.see(data_version);
                Ok((patterns, sinks))
            }
            Err(error) => {
                roll_back(self.connection.as_ref());
                Err(error)
            }
        }
    }

    fn check_claim(&self, claim: &Claim) -> Result<(i64, u64, SinkFacts), StoreError> {
        let connection = self.connection()?;
        for advance in &claim.advances {
            let key = &advance.key;
            self.gate.pass()?;
            let stored: Option<String> = connection
                .prepare_cached(POSITION)
                .and_then(|mut query| {
                    query.query_row([&key.source, &key.partition], |row| row.get(0)).optional()
                })
                .map_err(|error| self.error(error, "reading a position"))?;
            advance.check(stored.as_deref())?;
        }
        let data_version = connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut query| query.query_row([], |row| row.get(0)))
            .map_err(|error| self.error(error, "reading the data version"))?;
        Ok((data_version, self.patterns_revision(connection)?, self.sink_facts(connection)?))
    }
}

/// Rolls a transaction back. If that fails, the next transaction tries again, and so does SQLite on
/// closing.
pub(crate) fn roll_back(connection: Option<&Connection>) {
    if let Some(connection) = connection
        && !connection.is_autocommit()
    {
        let _ = connection.execute_batch("ROLLBACK");
    }
}

impl Versions {
    fn see(&mut self, data_version: i64) {
        if self.data_version != Some(data_version) {
            self.versions.clear();
            self.data_version = Some(data_version);
        }
    }

    /// Returns the stored version, if it is known.
    pub(crate) fn get(&self, sender: SenderId) -> Option<u64> {
        self.versions.get(&sender).copied()
    }

    pub(crate) fn learn(&mut self, sender: SenderId, version: u64) {
        if self.versions.len() >= REMEMBERED {
            self.versions.clear();
        }
        self.versions.insert(sender, version);
    }

    pub(crate) fn forget(&mut self) {
        self.versions.clear();
    }
}

impl Gate {
    /// Counts a statement that is about to be executed.
    pub(crate) fn pass(&self) -> Result<(), StoreError> {
        let passed = self.passed.get();
        if self.limit.is_some_and(|limit| passed >= limit) {
            return Err(StoreError::Unavailable { detail: "fail point".into(), source: None });
        }
        self.passed.set(passed + 1);
        Ok(())
    }
}

impl Store for SqliteStore {
    type Tx<'s> = SqliteTransaction<'s>;

    async fn open(&mut self, settings: &Settings) -> Result<Opened, StoreError> {
        if self.connection.take_if(|_| matches!(self.location, DatabaseLocation::File(_))).is_none()
            && self.connection.is_some()
        {
            // Opening it again would delete its content.
            return Err(StoreError::Unusable {
                detail: "the store in memory is open already".into(),
                source: None,
            });
        }
        self.versions = Versions::default();
        let connection = connect::open(self, settings, Purpose::Fill)?;
        self.connection = Some(connection);
        self.opened = self.file_id();
        self.row_settings = settings.clone();
        Ok(Opened { positions: self.read_positions()? })
    }

    async fn patterns(&mut self) -> Result<PatternSet, StoreError> {
        self.read_patterns()
    }

    async fn begin<'s>(&'s mut self, claim: &'s Claim) -> Result<SqliteTransaction<'s>, StoreError> {
        let (patterns, sinks) = self.lock(claim)?;
        Ok(SqliteTransaction::new(self, claim, patterns, sinks))
    }
}
