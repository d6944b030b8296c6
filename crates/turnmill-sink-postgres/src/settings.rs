//! Where the database is and how to use it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, LoadBalanceHosts, SslNegotiation, TargetSessionAttrs};
use turnmill_sink::StoreError;
use turnmill_sql::References;

/// Bytes that a name may have; PostgreSQL cuts longer ones.
const LONGEST_NAME: usize = 63;

/// The first version that can declare a foreign key without enforcing it.
const NOT_ENFORCED: u32 = 180_000;

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
    pub(crate) hosts: Vec<(String, u16)>,
    /// Their addresses, if names are not to be looked up.
    pub(crate) host_addresses: Vec<IpAddr>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) options: Option<String>,
    pub(crate) application_name: String,
    pub(crate) connect_timeout: Duration,
    pub(crate) keepalives: bool,
    pub(crate) keepalives_idle: Duration,
    pub(crate) keepalives_interval: Duration,
    pub(crate) keepalives_count: u32,
    pub(crate) tcp_user_timeout: Option<Duration>,
    pub(crate) target_session_attrs: TargetSessionAttrs,
    pub(crate) channel_binding: ChannelBinding,
    pub(crate) load_balance_hosts: LoadBalanceHosts,
    pub(crate) ssl_negotiation: SslNegotiation,
    pub(crate) ssl_mode: Option<SslMode>,
    pub(crate) ssl_root_cert: Option<RootCert>,
    pub(crate) ssl_cert: Option<PathBuf>,
    pub(crate) ssl_key: Option<PathBuf>,
    pub(crate) schema: String,
    pub(crate) statement_timeout: Duration,
    pub(crate) lock_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) migrations: bool,
    pub(crate) foreign_keys: ForeignKeys,
    pub(crate) read_only: bool,
}

/// Whether the connection is encrypted, and what is checked, with the meaning that libpq gives these words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted only if the server insists.
    Allow,
    /// Encrypted if the server can.
    #[default]
    Prefer,
    /// Always encrypted; the server's certificate is checked only if there is a root certificate to check it with.
    Require,
    /// Always encrypted, and the certificate comes from a trusted authority, whatever name it has.
    VerifyCa,
    /// Always encrypted, and the certificate comes from a trusted authority and names the host.
    VerifyFull,
}

impl SslMode {
    pub(crate) const ALL: [(Self, &'static str); 6] = [
        (Self::Disable, "disable"),
        (Self::Allow, "allow"),
        (Self::Prefer, "prefer"),
        (Self::Require, "require"),
        (Self::VerifyCa, "verify-ca"),
        (Self::VerifyFull, "verify-full"),
    ];

    /// As `sslmode` spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(mode, _)| *mode == self).map_or("prefer", |(_, name)| name)
    }
}

impl std::str::FromStr for SslMode {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text).map(|(mode, _)| *mode);
        found.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|(_, name)| *name).collect();
            SettingsError::value("sslmode", text, &names.join(", "))
        })
    }
}

/// Whom to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCert {
    /// The authorities in a PEM file.
    File(PathBuf),
    /// Those that the operating system trusts.
    System,
}

/// How the references between the tables are kept. They hold in any case, and the rows are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForeignKeys {
    /// PostgreSQL 18 and newer: declared for tools that read them, but not enforced, which costs nothing. Before: not declared.
    #[default]
    Auto,
    /// Declared, and PostgreSQL checks every row: writing takes about three times as long.
    Declared,
    /// Not declared.
    None,
}

impl ForeignKeys {
    /// What that means for a server of this version, as in `server_version_num`.
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
    /// It is no PostgreSQL URL.
    #[error("the database URL must begin with `postgresql://` or `postgres://`, not with `{scheme}`")]
    Scheme {
        /// What it begins with.
        scheme: String,
    },
    /// A part of the URL cannot be read.
    #[error("the database URL has {problem}: write user and password with %XX for special characters")]
    Malformed {
        /// What is wrong.
        problem: String,
    },
    /// A parameter that nobody knows.
    #[error("the database URL has the unknown parameter `{name}`; known are {known}")]
    UnknownParameter {
        /// Its name.
        name: String,
        /// All that there are.
        known: String,
    },
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

impl Default for PostgresSettings {
    /// The database of one's own name on this machine.
    fn default() -> Self {
        Self {
            hosts: vec![("localhost".into(), 5432)],
            host_addresses: Vec::new(),
            user: None,
            password: None,
            database: None,
            options: None,
            application_name: "turnmill".into(),
            connect_timeout: Duration::from_secs(10),
            keepalives: true,
            keepalives_idle: Duration::from_secs(30),
            keepalives_interval: Duration::from_secs(10),
            keepalives_count: 3,
            tcp_user_timeout: None,
            target_session_attrs: TargetSessionAttrs::Any,
            channel_binding: ChannelBinding::Prefer,
            load_balance_hosts: LoadBalanceHosts::Disable,
            ssl_negotiation: SslNegotiation::Postgres,
            ssl_mode: None,
            ssl_root_cert: None,
            ssl_cert: None,
            ssl_key: None,
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
        Self { ssl_mode: Some(mode), ..self }
    }

    /// Takes the place of the URL's `sslrootcert`.
    #[must_use]
    pub fn with_ssl_root_cert(self, root: RootCert) -> Self {
        Self { ssl_root_cert: Some(root), ..self }
    }

    /// The mode if the URL has none.
    #[must_use]
    pub fn or_ssl_mode(self, mode: SslMode) -> Self {
        Self { ssl_mode: self.ssl_mode.or(Some(mode)), ..self }
    }

    /// Whom to trust if the URL does not say.
    #[must_use]
    pub fn or_ssl_root_cert(self, root: RootCert) -> Self {
        Self { ssl_root_cert: self.ssl_root_cert.or(Some(root)), ..self }
    }

    /// The password if the URL has none.
    #[must_use]
    pub fn or_password(self, password: impl Into<String>) -> Self {
        Self { password: self.password.or_else(|| Some(password.into())), ..self }
    }

    /// The one server to connect to, where there is no URL.
    #[must_use]
    pub fn with_host(self, host: impl Into<String>, port: u16) -> Self {
        Self { hosts: vec![(host.into(), port)], host_addresses: Vec::new(), ..self }
    }

    /// The user, where there is no URL.
    #[must_use]
    pub fn with_user(self, user: impl Into<String>) -> Self {
        Self { user: Some(user.into()), ..self }
    }

    /// The database, where there is no URL.
    #[must_use]
    pub fn with_database(self, database: impl Into<String>) -> Self {
        Self { database: Some(database.into()), ..self }
    }

    /// Whether opening brings the schema up to date; it does by default. Without that the schema is not touched, and what
    /// is missing is an error.
    #[must_use]
    pub fn with_migrations(self, migrations: bool) -> Self {
        Self { migrations, ..self }
    }

    /// How references are kept in a new store, and in one that is brought up to date from before version 2.
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
        self.ssl_mode.unwrap_or_default()
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The database, if the URL names one; otherwise it is that of the user's name.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// How long connecting may take, greeting and log-in included, before it is given up; as long as it likes if
    /// `connect_timeout` is 0.
    pub(crate) fn connecting_limit(&self) -> Option<Duration> {
        let hosts = u32::try_from(self.hosts.len().max(1)).unwrap_or(1);
        // The driver's own limit is for each address, and a name may have several.
        (!self.connect_timeout.is_zero()).then(|| self.connect_timeout * hosts + Duration::from_secs(5))
    }

    /// Whether PostgreSQL can have a schema of this name.
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

    /// What the driver is to do. Whether to encrypt is decided by attempt.
    pub(crate) fn driver(&self) -> Config {
        let mut config = Config::new();
        for (host, port) in &self.hosts {
            config.host(host).port(*port);
        }
        for address in &self.host_addresses {
            config.hostaddr(*address);
        }
        if let Some(user) = &self.user {
            config.user(user);
        }
        if let Some(password) = &self.password {
            config.password(password);
        }
        if let Some(database) = &self.database {
            config.dbname(database);
        }
        if let Some(options) = &self.options {
            config.options(options);
        }
        if let Some(timeout) = self.tcp_user_timeout {
            config.tcp_user_timeout(timeout);
        }
        config
            .application_name(&self.application_name)
            .connect_timeout(self.connect_timeout)
            .keepalives(self.keepalives)
            .keepalives_idle(self.keepalives_idle)
            .keepalives_interval(self.keepalives_interval)
            .keepalives_retries(self.keepalives_count)
            .target_session_attrs(self.target_session_attrs)
            .channel_binding(self.channel_binding)
            .load_balance_hosts(self.load_balance_hosts)
            .ssl_negotiation(self.ssl_negotiation);
        config
    }
}

impl fmt::Display for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgresql://")?;
        if let Some(user) = &self.user {
            let password = if self.password.is_some() { ":***" } else { "" };
            write!(f, "{user}{password}@")?;
        }
        for (number, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            match host.contains(':') {
                true => write!(f, "{comma}[{host}]:{port}")?,
                false => write!(f, "{comma}{host}:{port}")?,
            }
        }
        write!(f, "/{}", self.database.as_deref().unwrap_or_default())?;
        if self.schema == "public" { Ok(()) } else { write!(f, " (schema {})", self.schema) }
    }
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSettings")
            .field("url", &self.to_string())
            .field("ssl_mode", &self.ssl_mode())
            .field("ssl_root_cert", &self.ssl_root_cert)
            .field("migrations", &self.migrations)
            .field("foreign_keys", &self.foreign_keys)
            .field("statement_timeout", &self.statement_timeout)
            .field("lock_timeout", &self.lock_timeout)
            .finish_non_exhaustive()
    }
}
