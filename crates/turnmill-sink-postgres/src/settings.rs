//! Where the database is and how to use it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use turnmill_postgres::{AddressError, Passwords, PostgresAddress, RootCert, SslMode};

/// Where the database is and how to use it: a URL, and what the URL cannot say.
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

/// Whether the tables that migrations create declare foreign keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForeignKeys {
    /// They do, and PostgreSQL checks every row: writing takes about three times as long.
    #[default]
    Declared,
    /// They do not. The rows are the same.
    None,
}

impl std::str::FromStr for ForeignKeys {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        match text {
            "declared" => Ok(Self::Declared),
            "none" => Ok(Self::None),
            _ => Err(SettingsError::value("foreign_keys", text, "declared, none")),
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
    /// The database of one's own name on this machine.
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
    /// Whether `url` is one of a PostgreSQL database, by its scheme: `postgresql://` or `postgres://`, also with the name of a
    /// Python driver as in `postgresql+psycopg2://`.
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

    /// The schema to use; `public` by default. It is created if it is missing.
    #[must_use]
    pub fn with_schema(self, schema: impl Into<String>) -> Self {
        Self { schema: schema.into(), ..self }
    }

    /// How long a statement may take; 60 seconds by default, 0 for as long as it likes.
    #[must_use]
    pub fn with_statement_timeout(self, timeout: Duration) -> Self {
        Self { statement_timeout: timeout, ..self }
    }

    /// How long to wait for another writer's lock; 30 seconds by default, 0 for ever.
    #[must_use]
    pub fn with_lock_timeout(self, timeout: Duration) -> Self {
        Self { lock_timeout: timeout, ..self }
    }

    /// After how long without a statement the server ends a transaction and its connection, so that a process that was
    /// suspended loses its locks; 20 seconds by default, 0 for never.
    #[must_use]
    pub fn with_idle_timeout(self, timeout: Duration) -> Self {
        Self { idle_timeout: timeout, ..self }
    }

    /// Takes the place of the URL's `sslmode`.
    #[must_use]
    pub fn with_ssl_mode(self, mode: SslMode) -> Self {
        Self { address: self.address.with_ssl_mode(mode), ..self }
    }

    /// Takes the place of the URL's `sslrootcert`.
    #[must_use]
    pub fn with_ssl_root_cert(self, root: RootCert) -> Self {
        Self { address: self.address.with_ssl_root_cert(root), ..self }
    }

    /// The mode if the URL has none.
    #[must_use]
    pub fn or_ssl_mode(self, mode: SslMode) -> Self {
        Self { address: self.address.or_ssl_mode(mode), ..self }
    }

    /// Whom to trust if the URL does not say.
    #[must_use]
    pub fn or_ssl_root_cert(self, root: RootCert) -> Self {
        Self { address: self.address.or_ssl_root_cert(root), ..self }
    }

    /// The password if the URL has none.
    #[must_use]
    pub fn or_password(self, password: impl Into<String>) -> Self {
        Self { address: self.address.or_password(password), ..self }
    }

    /// The password that `passwords` has for this database if the URL has none.
    #[must_use]
    pub fn or_password_from(self, passwords: &Passwords) -> Self {
        Self { address: self.address.or_password_from(passwords), ..self }
    }

    /// The one server to connect to, where there is no URL.
    #[must_use]
    pub fn with_host(self, host: impl Into<String>, port: u16) -> Self {
        Self { address: self.address.with_host(host, port), ..self }
    }

    /// The user, where there is no URL.
    #[must_use]
    pub fn with_user(self, user: impl Into<String>) -> Self {
        Self { address: self.address.with_user(user), ..self }
    }

    /// The database, where there is no URL.
    #[must_use]
    pub fn with_database(self, database: impl Into<String>) -> Self {
        Self { address: self.address.with_database(database), ..self }
    }

    /// Whether opening brings the schema up to date; it does by default. Without that the schema is not touched, and what
    /// is missing is an error.
    #[must_use]
    pub fn with_migrations(self, migrations: bool) -> Self {
        Self { migrations, ..self }
    }

    /// Whether the tables of a new store declare foreign keys.
    #[must_use]
    pub fn with_foreign_keys(self, foreign_keys: ForeignKeys) -> Self {
        Self { foreign_keys, ..self }
    }

    /// Never writes: opening creates and migrates nothing, and there are no transactions. For tools that look.
    #[must_use]
    pub fn with_read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    /// Whether and how the connection is encrypted.
    #[must_use]
    pub fn ssl_mode(&self) -> SslMode {
        self.address.ssl_mode()
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The database, if the URL names one; otherwise it is that of the user's name.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        self.address.database()
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
