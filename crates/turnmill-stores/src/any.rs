//! The store of any kind.

use std::fmt;

use turnmill_model::{SenderId, Settings};
use turnmill_sink::digest::Digests;
use turnmill_sink::{
    Claim, CountCheck, DeadLetter, Examination, Examine, Inspect, LedgerEntry, Opened, PatternSet, Store,
    StoreError, StoredPosition, StoredSender,
};
#[cfg(feature = "postgres")]
use turnmill_sink_postgres::{PostgresSettings, PostgresStore};
use turnmill_sink_sqlite::SqliteStore;
use turnmill_text::{escaped, redact};

use crate::transaction::AnyTransaction;
use crate::unknown::UnknownStore;

/// A store of any kind.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there are few stores, and they are seldom moved")]
pub enum AnyStore {
    /// A SQLite file.
    Sqlite(SqliteStore),
    /// PostgreSQL. It must be used inside a tokio runtime with time and I/O enabled.
    #[cfg(feature = "postgres")]
    Postgres(Box<PostgresStore>),
}

/// Forwards a call. `sqlite` and `postgres` are the expressions for the store of that kind.
macro_rules! each {
    ($store:expr, $name:ident => $do:expr) => {
        match $store {
            AnyStore::Sqlite($name) => $do,
            #[cfg(feature = "postgres")]
            AnyStore::Postgres($name) => $do,
        }
    };
}
pub(crate) use each;

impl AnyStore {
    /// Returns the store that `url` names, without connecting.
    ///
    /// URLs are `sqlite:PATH`, a path that ends in `.sqlite`, `.sqlite3` or `.db`, and
    /// `postgresql://…`. PostgreSQL's may also be `postgres://…` and SQLAlchemy's
    /// `postgresql+psycopg2://…`.
    ///
    /// ```
    /// use turnmill_stores::{AnyStore, UnknownStore};
    /// assert!(AnyStore::from_url("sqlite:rasa.sqlite").is_ok());
    /// assert!(AnyStore::from_url("rasa.sqlite").is_ok());
    /// assert_eq!(AnyStore::from_url("sqlite:").err(), Some(UnknownStore::NoPath));
    /// let redshift = AnyStore::from_url("redshift://rasa:secret@db/rasa").err().map(|error| error.to_string());
    /// assert!(redshift.is_some_and(|text| text.contains("`redshift` are not supported yet") && !text.contains("secret")));
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnknownStore`], which never contains a password.
    pub fn from_url(url: &str) -> Result<Self, UnknownStore> {
        if let Some(path) = path_of_file(url)? {
            return SqliteStore::from_url(&format!("sqlite:{path}"))
                .map(Self::Sqlite)
                .ok_or(UnknownStore::NoPath);
        }
        let scheme = url.trim().split_once(':').map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
        match scheme.split('+').next().unwrap_or_default() {
            // Two slashes, as in the URL of a server. A path of SQLAlchemy has three.
            "sqlite" if url.contains("://") && !url.contains(":///") => {
                Err(UnknownStore::Scheme { scheme: escaped(&redact(url)).to_string() })
            }
            "sqlite" => SqliteStore::from_url(url).map(Self::Sqlite).ok_or(UnknownStore::NoPath),
            #[cfg(feature = "postgres")]
            "postgresql" | "postgres" => {
                let settings: PostgresSettings = url.parse()?;
                Ok(PostgresStore::new(settings).into())
            }
            #[cfg(not(feature = "postgres"))]
            "postgresql" | "postgres" => Err(UnknownStore::LeftOut { scheme, feature: "postgres" }),
            "redshift" | "file" => Err(UnknownStore::NotYet { scheme }),
            _ => Err(UnknownStore::Scheme { scheme: escaped(&redact(url)).to_string() }),
        }
    }

    /// Sets the schema of a store in PostgreSQL. Other stores have none.
    #[must_use]
    pub fn with_schema(self, schema: Option<&str>) -> Self {
        match (self, schema) {
            #[cfg(feature = "postgres")]
            (Self::Postgres(store), Some(schema)) => {
                PostgresStore::new(store.settings().clone().with_schema(schema)).into()
            }
            (store, _) => store,
        }
    }

    /// Takes the password that a PostgreSQL URL lacks from `TURNMILL_DB_PASSWORD`, `PGPASSWORD` or
    /// PostgreSQL's password file.
    #[must_use]
    pub fn with_password_of_process(self) -> Self {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => {
                let passwords = turnmill_sink_postgres::Passwords::of_process();
                PostgresStore::new(store.settings().clone().or_password_from(&passwords)).into()
            }
            store => store,
        }
    }

    /// Makes the store read-only. [`open`](Store::open) then creates and migrates nothing, and
    /// there are no transactions. For tools that only read.
    #[must_use]
    pub fn read_only(self) -> Self {
        match self {
            Self::Sqlite(store) => Self::Sqlite(store.read_only()),
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => PostgresStore::new(store.settings().clone().with_read_only(true)).into(),
        }
    }

    /// Sets a listener for the steps of slow schema migrations in PostgreSQL.
    #[must_use]
    pub fn with_notices(self, listener: impl Fn(&str) + Send + Sync + 'static) -> Self {
        match self {
            Self::Sqlite(store) => {
                drop(listener);
                Self::Sqlite(store)
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.with_notices(listener).into(),
        }
    }

    /// Opens an existing store with any settings, and returns these. Creates, migrates and compares
    /// nothing. For tools that only read.
    ///
    /// # Errors
    ///
    /// Fatal if the store is missing, not turnmill's, or of another schema version. Retryable if
    /// the server cannot be reached.
    pub async fn open_as_it_is(&mut self) -> Result<Settings, StoreError> {
        match self {
            Self::Sqlite(store) => store.open_as_it_is(),
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.open_as_it_is().await,
        }
    }

    /// Returns the settings that a store was filled with, even if its schema is older. The store is
    /// not changed or opened. For a rebuild of all rows.
    ///
    /// # Errors
    ///
    /// Fatal if the store is missing, not turnmill's, or of a newer schema version. Retryable if
    /// the server cannot be reached.
    pub async fn stored_settings(&self) -> Result<Settings, StoreError> {
        match self {
            Self::Sqlite(store) => store.stored_settings(),
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.stored_settings().await,
        }
    }

    /// Returns the number of rows of each public table, all of one snapshot.
    ///
    /// # Errors
    ///
    /// Errors of reading.
    pub async fn row_counts(&mut self) -> Result<Vec<(&'static str, u64)>, StoreError> {
        match self {
            Self::Sqlite(store) => store.row_counts(),
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.row_counts().await,
        }
    }

    /// Closes the store. A SQLite store is then one file that can be copied.
    ///
    /// # Errors
    ///
    /// Retryable if another process is using a SQLite file at that moment. Nothing is lost.
    pub fn finish(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.finish(),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Ok(()),
        }
    }
}

impl fmt::Display for AnyStore {
    /// The location of the store, without its password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(store) => match store.path() {
                Some(path) => write!(f, "sqlite:{}", path.display()),
                None => f.write_str("sqlite in memory"),
            },
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => write!(f, "{}", store.settings()),
        }
    }
}

impl From<SqliteStore> for AnyStore {
    fn from(store: SqliteStore) -> Self {
        Self::Sqlite(store)
    }
}

#[cfg(feature = "postgres")]
impl From<PostgresStore> for AnyStore {
    fn from(store: PostgresStore) -> Self {
        Self::Postgres(Box::new(store))
    }
}

impl Store for AnyStore {
    type Tx<'s> = AnyTransaction<'s>;

    async fn open(&mut self, settings: &Settings) -> Result<Opened, StoreError> {
        each!(self, store => store.open(settings).await)
    }

    async fn patterns(&mut self) -> Result<PatternSet, StoreError> {
        each!(self, store => store.patterns().await)
    }

    async fn begin<'s>(&'s mut self, claim: &'s Claim) -> Result<AnyTransaction<'s>, StoreError> {
        match self {
            Self::Sqlite(store) => store.begin(claim).await.map(AnyTransaction::Sqlite),
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.begin(claim).await.map(AnyTransaction::from),
        }
    }
}

impl Examine for AnyStore {
    async fn integrity(&mut self, thorough: bool) -> Result<Examination, StoreError> {
        each!(self, store => store.integrity(thorough).await)
    }

    async fn references(&mut self) -> Result<Examination, StoreError> {
        each!(self, store => store.references().await)
    }

    async fn equal_numbers(&mut self) -> Result<Vec<CountCheck>, StoreError> {
        each!(self, store => store.equal_numbers().await)
    }

    async fn kept(
        &mut self,
        after: Option<SenderId>,
        limit: usize,
    ) -> Result<Vec<(SenderId, StoredSender)>, StoreError> {
        each!(self, store => store.kept(after, limit).await)
    }
}

impl Inspect for AnyStore {
    async fn digests(&mut self) -> Result<Digests, StoreError> {
        each!(self, store => store.digests().await)
    }

    async fn ledger(&mut self) -> Result<Vec<LedgerEntry>, StoreError> {
        each!(self, store => store.ledger().await)
    }

    async fn dead_letters(&mut self, after: u64, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        each!(self, store => store.dead_letters(after, limit).await)
    }

    async fn positions(&mut self) -> Result<Vec<StoredPosition>, StoreError> {
        each!(self, store => store.positions().await)
    }
}

/// Returns the path, if `url` is that of a SQLite file without the prefix `sqlite:`.
fn path_of_file(url: &str) -> Result<Option<&str>, UnknownStore> {
    let scheme = url.trim().split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
    if url == ":memory:"
        || scheme.as_ref().is_some_and(|(scheme, rest)| scheme == "sqlite" && rest.ends_with(":memory:"))
    {
        return Err(UnknownStore::Memory);
    }
    // SQLAlchemy writes an empty host between the second and the third slash. With two slashes the
    // file would be a host.
    let slashes = |rest: &str| rest.starts_with("//") && !rest.starts_with("///");
    if scheme.as_ref().is_some_and(|(scheme, rest)| scheme == "sqlite" && slashes(rest)) {
        // This may also be the address of a server with a misspelt scheme.
        let shown = redact(url.trim());
        let path = shown.split_once("://").map_or("PATH", |(_, path)| path);
        return Err(UnknownStore::Spelling { right: format!("sqlite:{}", escaped(path)) });
    }
    let end = url.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
    let is_path = !url.contains(':') && matches!(end.as_deref(), Some("sqlite" | "sqlite3" | "db"));
    Ok(is_path.then_some(url))
}
