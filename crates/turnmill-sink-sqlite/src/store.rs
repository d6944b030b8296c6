//! The store and its connection.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _};
use turnmill_model::{PartitionId, SenderId, Settings};
use turnmill_sink::{Claim, Opened, PatternSet, Store, StoreError};

use crate::connect::{self, Purpose};
use crate::error::store_error;
use crate::outbox::SinkFacts;
use crate::sql::{POSITION, POSITIONS, Sql};
use crate::transaction::SqliteTransaction;

/// How long to wait for another writer before saying that the store is busy.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Versions of timelines to remember, about 50 bytes each.
const REMEMBERED: usize = 1 << 20;

/// A store in a SQLite file.
///
/// Making one touches nothing; [`open`](Store::open) creates the file, brings its tables up to date, and refuses files that
/// turnmill did not make. Any number of stores, in any number of processes, may be open on one file; their transactions wait
/// for each other.
pub struct SqliteStore {
    pub(crate) place: Place,
    pub(crate) read_only: bool,
    pub(crate) foreign_keys: bool,
    pub(crate) busy_timeout: Duration,
    pub(crate) connection: Option<Connection>,
    /// The file that was opened, as the system knows it.
    pub(crate) opened: Option<FileId>,
    pub(crate) sql: Sql,
    pub(crate) versions: Versions,
    pub(crate) gate: Gate,
}

/// Device and number of a file.
type FileId = (u64, u64);

/// Where the database is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    File(PathBuf),
    Memory,
}

/// What is known of the stored timelines' versions without asking: those that this connection has read or committed, as long
/// as no other connection has written.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    /// SQLite's number that moves when another connection has committed.
    data_version: Option<i64>,
    versions: HashMap<SenderId, u64>,
}

/// Fail points, for tests.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    limit: Option<u64>,
    passed: Cell<u64>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore")
            .field("place", &self.place)
            .field("read_only", &self.read_only)
            .field("open", &self.connection.is_some())
            .finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// The store in the file `path`, whose folder must be there.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::at(Place::File(path.into()))
    }

    /// A store in memory, gone when this value is.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::at(Place::Memory)
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            read_only: false,
            foreign_keys: true,
            busy_timeout: BUSY_TIMEOUT,
            connection: None,
            opened: None,
            sql: Sql::new(),
            versions: Versions::default(),
            gate: Gate::default(),
        }
    }

    /// Never writes: [`open`](Store::open) creates and migrates nothing, and there are no transactions. For tools that look.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { read_only: true, ..self }
    }

    /// Whether the tables of a new file declare foreign keys; they do by default.
    #[must_use]
    pub fn foreign_keys(self, declared: bool) -> Self {
        Self { foreign_keys: declared, ..self }
    }

    /// How long a transaction waits for another writer to end before it is an error to try again; 10 seconds by default.
    #[must_use]
    pub fn busy_timeout(self, timeout: Duration) -> Self {
        Self { busy_timeout: timeout, ..self }
    }

    /// The file; none for a store in memory.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path) => Some(path),
            Place::Memory => None,
        }
    }

    /// Moves everything from the write-ahead log to the file and closes it, so that the one file is all there is to copy.
    ///
    /// # Errors
    ///
    /// Retryable if another connection is reading or writing just then; nothing is lost, but the log beside the file is part
    /// of the store until the last connection closes.
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

    /// Makes every transaction from now on fail after so many statements; `None` ends that. For tests of whoever uses a
    /// store.
    #[doc(hidden)]
    pub fn fail_after(&mut self, statements: Option<u64>) {
        self.gate.limit = statements;
    }

    /// The file that is at the path now; none if there is none, or where the system does not number files.
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

    /// What is written to a file that was deleted goes with its last connection, and SQLite does not say so.
    fn is_still_there(&self) -> Result<(), StoreError> {
        if self.opened.is_none() || self.opened == self.file_id() {
            return Ok(());
        }
        let detail = format!(
            "`{}` was deleted or replaced while it was open, and what is written now would be lost: bring the file back, or \
             start again to fill a new one",
            self.name()
        );
        Err(StoreError::Unusable { detail, source: None })
    }

    /// The place, for messages.
    pub(crate) fn name(&self) -> String {
        match &self.place {
            Place::File(path) => path.display().to_string(),
            Place::Memory => ":memory:".into(),
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

    pub(crate) fn read_positions(&self) -> Result<Vec<(PartitionId, String)>, StoreError> {
        let read = || {
            let mut statement = self
                .connection()?
                .prepare_cached(POSITIONS)
                .map_err(|e| self.error(e, "reading positions"))?;
            let rows = statement.query_map([], |row| {
                Ok((PartitionId { source: row.get(0)?, partition: row.get(1)? }, row.get(2)?))
            });
            rows.and_then(Iterator::collect).map_err(|error| self.error(error, "reading positions"))
        };
        read()
    }

    /// Begins, checks the positions, and finds out whether others have written. Gives the patterns' revision, and what sinks want.
    fn lock(&mut self, claim: &Claim) -> Result<(u64, SinkFacts), StoreError> {
        let doing = "beginning a transaction";
        self.is_still_there()?;
        let connection = self.connection()?;
        if self.read_only && !claim.advances.is_empty() {
            return Err(self.reading_only());
        }
        if !connection.is_autocommit() {
            // An earlier roll-back has failed.
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

/// Ends a transaction without a trace. If that fails the next one tries again, and so does SQLite on closing.
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

    /// The stored version, if it is known.
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
        if self.connection.take_if(|_| matches!(self.place, Place::File(_))).is_none()
            && self.connection.is_some()
        {
            // Opening it again would empty it.
            return Err(StoreError::Unusable {
                detail: "the store in memory is open already".into(),
                source: None,
            });
        }
        self.versions = Versions::default();
        let connection = connect::open(self, settings, Purpose::Fill)?;
        self.connection = Some(connection);
        self.opened = self.file_id();
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
