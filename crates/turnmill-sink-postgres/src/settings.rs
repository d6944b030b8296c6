//! Settings of the store: where the database is and how it is used.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use turnmill_postgres::{AddressError, Passwords, PostgresAddress, RootCert, SslMode};
use turnmill_sink::StoreError;
use turnmill_sql::References;

/// Maximum bytes of a name; PostgreSQL truncates longer ones.
const LONGEST_NAME: usize = 63;

/// First version that can declare a foreign key without enforcing it.
const NOT_ENFORCED: u32 = 180_000;

/// Where the database is and how it is used: a URL, and what the URL cannot say.
///
/// ```
/// use std::time::Duration;
/// use turnmill_sink_postgres::{PostgresSettings, SslMode};
/// let settings: PostgresSettings = "postgresql://rasa:p%40ss@db.example:5433/analytics?sslmode=require".parse()?;
/// assert_eq!((settings.ssl_mode(), settings.database()), (SslMode::Require, Some("analytics")));
/// let settings = settings.with_schema("turnmill").with_lock_timeout(Duration::from_secs(5));
/// assert_eq!(settings.to_string(), "postgresql://rasa:***@db.example:5433/analytics (schema turnmill)");
/// # Ok::<(), turnmill_sink_postgres::SettingsError>(())
/// ```
///
/// Neither `Display` nor `Debug` shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresSettings {
    pub(crate) address: PostgresAddress,
    pub(crate) schema: String,
    pub(crate) statement_timeout: Duration,
    pub(crate) lock_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) migrations: bool,
    pub(crate) foreign_keys: ForeignKeys,
    pub(crate) read_only: bool,
}

/// How the references between the tables are kept. References hold in any case, and the rows are
/// the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForeignKeys {
    /// Declares references without enforcing them on PostgreSQL 18 and newer: tools can read them,
    /// and they cost nothing. Does not declare them on older versions.
    #[default]
    Auto,
    /// Declares references, and PostgreSQL checks every row. Writing takes about three times as
    /// long.
    Declared,
    /// Declares no references.
    None,
}

impl ForeignKeys {
    /// Returns the kind of references on a server of this version, as in `server_version_num`.
    pub(crate) fn on(self, version: u32) -> References {
        match self {
            Self::Auto if version >= NOT_ENFORCED => References::Declared,
            Self::Auto | Self::None => References::None,
            Self::Declared => References::Checked,
        }
    }
}

impl std::str::FromStr for ForeignKeys {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        match text {
            "auto" => Ok(Self::Auto),
            "declared" => Ok(Self::Declared),
            "none" => Ok(Self::None),
            _ => Err(SettingsError::value("foreign_keys", text, "auto, declared, none")),
        }
    }
}

/// Why settings cannot be used. No message holds a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The address cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A value that a setting cannot have.
    #[error("`{name}` cannot be `{value}`: {expected}")]
    Value {
        /// The setting.
        name: String,
        /// Its value.
        value: String,
        /// What it may be.
        expected: String,
    },
}

impl SettingsError {
    pub(crate) fn value(name: &str, value: &str, expected: &str) -> Self {
        Self::Value {
            name: name.into(),
            value: value.into(),
            expected: format!("expected one of {expected}"),
        }
    }
}

impl FromStr for PostgresSettings {
    type Err = SettingsError;

    fn from_str(url: &str) -> Result<Self, SettingsError> {
        Ok(url.parse::<PostgresAddress>()?.into())
    }
}

impl From<PostgresAddress> for PostgresSettings {
    fn from(address: PostgresAddress) -> Self {
        Self { address: address.or_application_name("turnmill"), ..Self::default() }
    }
}

impl Default for PostgresSettings {
    /// Returns the settings for the database of the user's name on this machine.
    fn default() -> Self {
        Self {
            address: PostgresAddress::default().or_application_name("turnmill"),
            schema: "public".into(),
            statement_timeout: Duration::from_secs(60),
            lock_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(20),
            migrations: true,
            foreign_keys: ForeignKeys::default(),
            read_only: false,
        }
    }
}

impl PostgresSettings {
    /// Returns whether `url` has the scheme of a PostgreSQL database: `postgresql://` or
    /// `postgres://`, also with the name of a Python driver as in `postgresql+psycopg2://`.
    ///
    /// ```
    /// use turnmill_sink_postgres::PostgresSettings;
    /// assert!(PostgresSettings::is_url("postgresql+psycopg2://db/rasa"));
    /// assert!(!PostgresSettings::is_url("redshift://db/rasa"));
    /// ```
    #[must_use]
    pub fn is_url(url: &str) -> bool {
        PostgresAddress::is_url(url)
    }

    /// Sets the schema; `public` by default. Opening creates it if it is missing.
    #[must_use]
    pub fn with_schema(self, schema: impl Into<String>) -> Self {
        Self { schema: schema.into(), ..self }
    }

    /// Sets the maximum time of a statement; 60 seconds by default, 0 for no limit.
    #[must_use]
    pub fn with_statement_timeout(self, timeout: Duration) -> Self {
        Self { statement_timeout: timeout, ..self }
    }

    /// Sets the maximum wait for another writer's lock; 30 seconds by default, 0 for no limit.
    #[must_use]
    pub fn with_lock_timeout(self, timeout: Duration) -> Self {
        Self { lock_timeout: timeout, ..self }
    }

    /// Sets the time without a statement after which the server ends a transaction and its
    /// connection; 20 seconds by default, 0 for never. So a suspended process loses its locks.
    #[must_use]
    pub fn with_idle_timeout(self, timeout: Duration) -> Self {
        Self { idle_timeout: timeout, ..self }
    }

    /// Replaces the URL's `sslmode`.
    #[must_use]
    pub fn with_ssl_mode(self, mode: SslMode) -> Self {
        Self { address: self.address.with_ssl_mode(mode), ..self }
    }

    /// Replaces the URL's `sslrootcert`.
    #[must_use]
    pub fn with_ssl_root_cert(self, root: RootCert) -> Self {
        Self { address: self.address.with_ssl_root_cert(root), ..self }
    }

    /// Sets the mode, unless the URL has one.
    #[must_use]
    pub fn or_ssl_mode(self, mode: SslMode) -> Self {
        Self { address: self.address.or_ssl_mode(mode), ..self }
    }

    /// Sets the trusted certificates, unless the URL names them.
    #[must_use]
    pub fn or_ssl_root_cert(self, root: RootCert) -> Self {
        Self { address: self.address.or_ssl_root_cert(root), ..self }
    }

    /// Sets the password, unless the URL has one.
    #[must_use]
    pub fn or_password(self, password: impl Into<String>) -> Self {
        Self { address: self.address.or_password(password), ..self }
    }

    /// Takes the password for this database from `passwords`, unless the URL has one.
    #[must_use]
    pub fn or_password_from(self, passwords: &Passwords) -> Self {
        Self { address: self.address.or_password_from(passwords), ..self }
    }

    /// Sets the one server to connect to, for callers without a URL.
    #[must_use]
    pub fn with_host(self, host: impl Into<String>, port: u16) -> Self {
        Self { address: self.address.with_host(host, port), ..self }
    }

    /// Sets the user, for callers without a URL.
    #[must_use]
    pub fn with_user(self, user: impl Into<String>) -> Self {
        Self { address: self.address.with_user(user), ..self }
    }

    /// Sets the database, for callers without a URL.
    #[must_use]
    pub fn with_database(self, database: impl Into<String>) -> Self {
        Self { address: self.address.with_database(database), ..self }
    }

    /// Sets whether opening migrates the schema; it does by default. Without it, opening changes
    /// nothing, and a missing migration is an error.
    #[must_use]
    pub fn with_migrations(self, migrations: bool) -> Self {
        Self { migrations, ..self }
    }

    /// Sets how references are kept in a new store, and in one that is migrated from a version
    /// before 2.
    #[must_use]
    pub fn with_foreign_keys(self, foreign_keys: ForeignKeys) -> Self {
        Self { foreign_keys, ..self }
    }

    /// Never writes: opening creates and migrates nothing, and transactions can only read. For
    /// tools that only read.
    #[must_use]
    pub fn with_read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    /// Returns whether and how the connection is encrypted.
    #[must_use]
    pub fn ssl_mode(&self) -> SslMode {
        self.address.ssl_mode()
    }

    /// Returns the schema.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Returns the database, or `None` if the URL names none: then it is that of the user's name.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        self.address.database()
    }

    /// Returns the maximum time of connecting, greeting and log-in included, or `None` if
    /// `connect_timeout` is 0.
    pub(crate) fn connecting_limit(&self) -> Option<Duration> {
        let hosts = u32::try_from(self.address.hosts().len().max(1)).unwrap_or(1);
        let driver = self.address.driver();
        // The driver's own limit is per address, and a name may have several addresses.
        let limit = driver.get_connect_timeout().filter(|limit| !limit.is_zero());
        limit.map(|limit| *limit * hosts + Duration::from_secs(5))
    }

    /// Checks that PostgreSQL can have a schema of this name.
    pub(crate) fn check_schema(&self) -> Result<(), StoreError> {
        let name = &self.schema;
        let problem = if name.is_empty() {
            "a schema needs a name"
        } else if name.starts_with("pg_") {
            "PostgreSQL keeps names that begin with `pg_` for itself"
        } else if name == "information_schema" {
            "PostgreSQL keeps it for itself"
        } else if name.len() > LONGEST_NAME {
            "PostgreSQL's names have at most 63 bytes"
        } else if name.contains('\0') {
            "a name has no NUL"
        } else {
            return Ok(());
        };
        let detail =
            format!("the schema cannot be `{name}`: {problem}; set `TURNMILL_DB_SCHEMA` to another name");
        Err(StoreError::Unusable { detail, source: None })
    }
}

impl fmt::Display for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        if self.schema == "public" { Ok(()) } else { write!(f, " (schema {})", self.schema) }
    }
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSettings")
            .field("url", &self.to_string())
            .field("ssl_mode", &self.ssl_mode())
            .field("ssl_root_cert", &self.address.ssl_root_cert())
            .field("migrations", &self.migrations)
            .field("foreign_keys", &self.foreign_keys)
            .field("statement_timeout", &self.statement_timeout)
            .field("lock_timeout", &self.lock_timeout)
            .finish_non_exhaustive()
    }
}
