//! Where a database is and how to reach it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use turnmill_text::{HIDDEN, Secret, escaped};

use crate::error::AddressError;
use crate::password::Passwords;

/// The address of a PostgreSQL database: hosts, log-in, database, encryption, and what else a URL says about a connection.
///
/// It is read by [`FromStr`] from a URL of libpq or SQLAlchemy: `postgresql://` or `postgres://` in any case, also with the name of
/// a Python driver as in `postgresql+psycopg2://`. The last `@` in front of the parameters ends the log-in, so that a password may
/// contain one.
///
/// Neither `Display` nor `Debug` shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresAddress {
    pub(crate) hosts: Vec<(String, u16)>,
    /// Their addresses, if names are not to be looked up.
    pub(crate) host_addresses: Vec<IpAddr>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) database: Option<String>,
    pub(crate) options: Option<String>,
    pub(crate) application_name: Option<String>,
    pub(crate) connect_timeout: Duration,
    pub(crate) keepalives: bool,
    pub(crate) keepalives_idle: Duration,
    pub(crate) keepalives_interval: Duration,
    pub(crate) keepalives_count: u32,
    pub(crate) tcp_user_timeout: Option<Duration>,
    pub(crate) target_session_attrs: SessionAttrs,
    pub(crate) channel_binding: Binding,
    pub(crate) balances_hosts: bool,
    pub(crate) negotiates_directly: bool,
    pub(crate) ssl_mode: Option<SslMode>,
    pub(crate) ssl_root_cert: Option<RootCert>,
    pub(crate) ssl_cert: Option<PathBuf>,
    pub(crate) ssl_key: Option<PathBuf>,
}

/// Which servers will do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SessionAttrs {
    #[default]
    Any,
    ReadWrite,
    ReadOnly,
}

/// Whether a log-in is bound to the encrypted connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Binding {
    Disable,
    #[default]
    Prefer,
    Require,
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

impl FromStr for SslMode {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text).map(|(mode, _)| *mode);
        found.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|(_, name)| *name).collect();
            AddressError::value("sslmode", text, &names.join(", "))
        })
    }
}

/// Which authorities are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCert {
    /// Those in a PEM file.
    File(PathBuf),
    /// Those that the operating system trusts.
    System,
}

impl Default for PostgresAddress {
    /// The database of the user's own name on this machine.
    fn default() -> Self {
        Self {
            hosts: vec![("localhost".into(), 5432)],
            host_addresses: Vec::new(),
            user: None,
            password: None,
            database: None,
            options: None,
            application_name: None,
            connect_timeout: Duration::from_secs(10),
            keepalives: true,
            keepalives_idle: Duration::from_secs(30),
            keepalives_interval: Duration::from_secs(10),
            keepalives_count: 3,
            tcp_user_timeout: None,
            target_session_attrs: SessionAttrs::Any,
            channel_binding: Binding::Prefer,
            balances_hosts: false,
            negotiates_directly: false,
            ssl_mode: None,
            ssl_root_cert: None,
            ssl_cert: None,
            ssl_key: None,
        }
    }
}

impl PostgresAddress {
    /// The one server, where there is no URL.
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

    /// Takes the place of `sslmode`.
    #[must_use]
    pub fn with_ssl_mode(self, mode: SslMode) -> Self {
        Self { ssl_mode: Some(mode), ..self }
    }

    /// Takes the place of `sslrootcert`.
    #[must_use]
    pub fn with_ssl_root_cert(self, root: RootCert) -> Self {
        Self { ssl_root_cert: Some(root), ..self }
    }

    /// The mode if the URL has none.
    #[must_use]
    pub fn or_ssl_mode(self, mode: SslMode) -> Self {
        Self { ssl_mode: self.ssl_mode.or(Some(mode)), ..self }
    }

    /// The trusted authorities if the URL names none.
    #[must_use]
    pub fn or_ssl_root_cert(self, root: RootCert) -> Self {
        Self { ssl_root_cert: self.ssl_root_cert.or(Some(root)), ..self }
    }

    /// The password if the URL has none.
    #[must_use]
    pub fn or_password(self, password: impl Into<String>) -> Self {
        Self { password: self.password.or_else(|| Some(Secret::new(password))), ..self }
    }

    /// The password that `passwords` has for this database if the URL has none.
    #[must_use]
    pub fn or_password_from(self, passwords: &Passwords) -> Self {
        match &self.password {
            Some(_) => self,
            None => Self { password: passwords.find(&self), ..self },
        }
    }

    /// What the server shows as the client's name if the URL does not say.
    #[must_use]
    pub fn or_application_name(self, name: &str) -> Self {
        Self { application_name: self.application_name.or_else(|| Some(name.into())), ..self }
    }

    /// Hosts and ports, tried in order.
    #[must_use]
    pub fn hosts(&self) -> &[(String, u16)] {
        &self.hosts
    }

    /// The user, if the URL names one.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password, if there is one.
    #[must_use]
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// The database, if the URL names one; otherwise it is that of the user's name.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// Whether and how the connection is encrypted.
    #[must_use]
    pub fn ssl_mode(&self) -> SslMode {
        self.ssl_mode.unwrap_or_default()
    }

    /// Whether the URL says how the connection is encrypted.
    #[must_use]
    pub fn has_ssl_mode(&self) -> bool {
        self.ssl_mode.is_some()
    }

    /// The trusted authorities, if they are named.
    #[must_use]
    pub fn ssl_root_cert(&self) -> Option<&RootCert> {
        self.ssl_root_cert.as_ref()
    }

    /// The address without log-in and parameters: the same for every way to log in to a database.
    #[must_use]
    pub fn name(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        let database = self.database.as_deref().or(self.user.as_deref()).unwrap_or_default();
        format!("postgresql://{}/{database}", hosts.join(","))
    }
}

impl fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgresql://")?;
        if let Some(user) = &self.user {
            // One with an `@` or a `:` may be a password that was split in the wrong place.
            // One alone may be a password without a user.
            let is_plain =
                self.password.is_some() && user.chars().all(|c| c.is_alphanumeric() || "_.- ".contains(c));
            let user = if is_plain { user } else { HIDDEN };
            let password = if self.password.is_some() { ":***" } else { "" };
            write!(f, "{user}{password}@")?;
        }
        for (number, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            match host.contains(':') {
                true => write!(f, "{comma}[{}]:{port}", escaped(host))?,
                false => write!(f, "{comma}{}:{port}", escaped(host))?,
            }
        }
        write!(f, "/{}", escaped(self.database.as_deref().unwrap_or_default()))
    }
}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresAddress")
            .field("url", &self.to_string())
            .field("ssl_mode", &self.ssl_mode())
            .field("ssl_root_cert", &self.ssl_root_cert)
            .finish_non_exhaustive()
    }
}
