//! The store: opening it, its connection, and its fail points.

use std::sync::atomic::{AtomicU64, Ordering};

use turnmill_model::{PartitionId, Settings};
use turnmill_sink::{Claim, Opened, PatternSet, Store, StoreError, StoredPosition};
use turnmill_sql::{Dialect, Schema};

use crate::arrange::Plan;
use crate::connect::Connection;
use crate::migrate::{self, Alone, Purpose};
use crate::notices::Notices;
use crate::settings::{ForeignKeys, PostgresSettings};
use crate::sql::{POSITIONS, Sql};
use crate::transaction::PostgresTransaction;

/// A store in a schema of a PostgreSQL database.
///
/// [`new`](Self::new) does not connect; [`open`](Store::open) connects and migrates the tables. Any
/// number of stores, in any number of processes, may be open on one schema. After a lost connection
/// the next transaction connects again.
///
/// Call all methods inside a tokio runtime with time and I/O enabled: the connection's traffic is a
/// task of that runtime.
pub struct PostgresStore {
    pub(crate) settings: PostgresSettings,
    pub(crate) connection: Option<Connection>,
    pub(crate) opened: bool,
    /// The settings that the store was opened with.
    pub(crate) row_settings: Settings,
    pub(crate) sql: Sql,
    pub(crate) gate: Gate,
    pub(crate) notices: Notices,
}

/// Fails transactions after a number of statements, for tests.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    limit: Option<u64>,
    passed: AtomicU64,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore")
            .field("settings", &self.settings)
            .field("connected", &self.connection.is_some())
            .finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Returns the store that `settings` describe. Does not connect.
    #[must_use]
    pub fn new(settings: PostgresSettings) -> Self {
        Self {
            settings,
            connection: None,
            opened: false,
            row_settings: Settings::default(),
            sql: Sql::new(),
            gate: Gate::default(),
            notices: Notices::default(),
        }
    }

    /// Sets how the store keeps references between tables.
    #[must_use]
    pub fn with_foreign_keys(self, foreign_keys: ForeignKeys) -> Self {
        Self { settings: self.settings.with_foreign_keys(foreign_keys), ..self }
    }

    /// Returns where the database is and how it is used.
    #[must_use]
    pub fn settings(&self) -> &PostgresSettings {
        &self.settings
    }

    /// Calls `listener` with one line for each step of a migration, which may take minutes.
    #[must_use]
    pub fn with_notices(self, listener: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { notices: Notices::to(listener), ..self }
    }

    /// Brings indexes and foreign keys of an existing store to what the settings ask for. Other
    /// clients can use the store meanwhile. Returns a description of each change, empty if there
    /// was none.
    ///
    /// # Errors
    ///
    /// Those of [`open_as_it_is`](Self::open_as_it_is); fatal if a row refers to another that does
    /// not exist.
    pub async fn arrange(&mut self) -> Result<Vec<String>, StoreError> {
        self.open_as_it_is().await?;
        let connection = self.connection()?;
        let alone = Alone::begin(connection, &self.settings, &self.notices).await?;
        let references = self.settings.foreign_keys.on(connection.version());
        let schema = Schema::new(Dialect::Postgres);
        let plan = Plan::new(connection, &schema, references).await?;
        let done = match plan.carry_out(connection, &self.notices).await {
            Ok(()) => alone.end().await,
            Err(error) => Err(error),
        };
        if done.is_err() {
            // The advisory lock is the session's, so it goes with the connection.
            self.connection = None;
        }
        done.map(|()| plan.describe())
    }

    /// Opens an existing store with the settings that filled it, and returns them. Creates,
    /// migrates and compares nothing: for tools that only read.
    ///
    /// # Errors
    ///
    /// Fatal if the schema is missing, not turnmill's, or of another version; retryable if the
    /// server cannot be reached.
    pub async fn open_as_it_is(&mut self) -> Result<Settings, StoreError> {
        (self.connection, self.opened) = (None, false);
        let connection = Connection::open(&self.settings).await?;
        let meta = migrate::up_to_date(&connection, &self.settings).await?;
        let settings = turnmill_sql::meta::settings(&meta)?;
        (self.connection, self.opened) = (Some(connection), true);
        self.row_settings = settings.clone();
        Ok(settings)
    }

    /// Returns the settings that a store was filled with, also if its schema has an older version.
    /// Does not open or close the store: for a caller that is about to rebuild all rows.
    ///
    /// # Errors
    ///
    /// Fatal if the schema is missing, not turnmill's, or of a newer version; retryable if the
    /// server cannot be reached.
    pub async fn stored_settings(&self) -> Result<Settings, StoreError> {
        let connection = Connection::open(&self.settings).await?;
        turnmill_sql::meta::settings(&migrate::of_any_version(&connection, &self.settings).await?)
    }

    /// Returns whether the server reports the connection as encrypted: for tools that check a
    /// configuration.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub async fn is_encrypted(&mut self) -> Result<bool, StoreError> {
        let connection = self.connected().await?;
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let answer = connection.query_one(sql, &[]).await.and_then(|row| Ok(row.try_get(0)?));
        answer.map_err(|error| connection.fail(error, "asking for the connection's encryption"))
    }

    /// Makes every later transaction fail after `statements` statements; `None` ends that. For
    /// tests of a store's callers.
    #[doc(hidden)]
    pub fn fail_after(&mut self, statements: Option<u64>) {
        self.gate.limit = statements;
    }

    /// Returns the connection. Connects again if it was lost.
    pub(crate) async fn connected(&mut self) -> Result<&mut Connection, StoreError> {
        if !self.opened {
            let detail = format!("`{}` is not open", self.settings);
            return Err(StoreError::Unusable { detail, source: None });
        }
        let connection = match self.connection.take() {
            Some(connection) if !connection.is_lost() => connection,
            _ => Connection::open(&self.settings).await?,
        };
        Ok(self.connection.insert(connection))
    }

    pub(crate) fn reading_only(&self) -> StoreError {
        let detail = format!("`{}` was opened for reading only", self.settings);
        StoreError::Unusable { detail, source: None }
    }

    /// Returns the connection as it is, lost or not.
    pub(crate) fn connection(&self) -> Result<&Connection, StoreError> {
        let closed =
            || StoreError::Unusable { detail: format!("`{}` is not open", self.settings), source: None };
        self.connection.as_ref().ok_or_else(closed)
    }

    pub(crate) async fn read_positions(&mut self) -> Result<Vec<StoredPosition>, StoreError> {
        let doing = "reading positions";
        let connection = self.connected().await?;
        connection.prepare(&[POSITIONS]).await?;
        let rows = connection.query(connection.statement(POSITIONS)?, &[]).await;
        let position = |row: tokio_postgres::Row| {
            let key = PartitionId { source: row.try_get(0)?, partition: row.try_get(1)? };
            Ok(StoredPosition { key, position: row.try_get(2)? })
        };
        rows.and_then(|rows| rows.into_iter().map(position).collect())
            .map_err(|error| connection.fail(error, doing))
    }
}

impl Gate {
    pub(crate) fn begin(&self) {
        self.passed.store(0, Ordering::Relaxed);
    }

    /// Returns how many of `wanted` further statements may be executed.
    pub(crate) fn allow(&self, wanted: usize) -> usize {
        let passed = self.passed.fetch_add(wanted as u64, Ordering::Relaxed);
        let left = self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(passed));
        usize::try_from(left).unwrap_or(usize::MAX).min(wanted)
    }

    /// Counts a statement that is about to be executed.
    pub(crate) fn pass(&self) -> Result<(), StoreError> {
        if self.allow(1) == 1 { Ok(()) } else { Err(Self::failure()) }
    }

    pub(crate) fn failure() -> StoreError {
        StoreError::Unavailable { detail: "fail point".into(), source: None }
    }
}

impl Store for PostgresStore {
    type Tx<'s> = PostgresTransaction<'s>;

    async fn open(&mut self, settings: &Settings) -> Result<Opened, StoreError> {
        (self.connection, self.opened) = (None, false);
        let connection = Connection::open(&self.settings).await?;
        migrate::open(&connection, &self.settings, settings, Purpose::Fill, &self.notices).await?;
        (self.connection, self.opened) = (Some(connection), true);
        self.row_settings = settings.clone();
        Ok(Opened { positions: self.read_positions().await? })
    }

    async fn patterns(&mut self) -> Result<PatternSet, StoreError> {
        self.read_patterns().await
    }

    async fn begin<'s>(&'s mut self, claim: &'s Claim) -> Result<PostgresTransaction<'s>, StoreError> {
        if self.settings.read_only {
            if !claim.advances.is_empty() {
                return Err(self.reading_only());
            }
            return PostgresTransaction::begin_to_read(self, claim).await;
        }
        PostgresTransaction::begin(self, claim).await
    }
}
