//! Naming a database.

use std::path::PathBuf;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::secret::Secret;

/// How the connection to PostgreSQL is encrypted, as libpq names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Not at all.
    Disable,
    /// If the server insists.
    Allow,
    /// If the server can.
    Prefer,
    /// Always; who the server is, is not checked.
    Require,
    /// Always, and the certificate must be vouched for.
    VerifyCa,
    /// Always, and the certificate must be the host's.
    VerifyFull,
}

impl SslMode {
    const ALL: [Self; 6] =
        [Self::Disable, Self::Allow, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    /// As libpq spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == name)
    }
}

/// A PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresTarget {
    /// Hosts and ports, tried in order; one, nearly always.
    pub hosts: Vec<(String, u16)>,
    /// User, percent-decoded.
    pub user: Option<String>,
    /// Password, percent-decoded.
    pub password: Option<Secret>,
    /// Name of the database, percent-decoded.
    pub database: String,
    /// Encryption; none leaves it to the store.
    pub ssl_mode: Option<SslMode>,
    /// File with the certificates that vouch for the server; none leaves it to the store.
    pub ssl_root_cert: Option<PathBuf>,
    /// What else stood behind the `?`, percent-decoded; the store knows which there are.
    pub parameters: Vec<(String, Secret)>,
}

/// Everything but what may stand unescaped in any part of a URL.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl PostgresTarget {
    /// All of it as one `postgresql://` URL, with `sslmode` and `sslrootcert` as libpq spells them.
    #[must_use]
    pub fn url(&self) -> Secret {
        let escape = |text: &str| utf8_percent_encode(text, ESCAPED).to_string();
        let mut url = "postgresql://".to_owned();
        if let Some(user) = &self.user {
            url.push_str(&escape(user));
            if let Some(password) = &self.password {
                url.extend([":", &escape(password.expose())]);
            }
            url.push('@');
        }
        let host = |(host, port): &(String, u16)| match host {
            v6 if v6.contains(':') => format!("[{v6}]:{port}"),
            path if path.starts_with('/') => format!("{}:{port}", escape(path)),
            name => format!("{name}:{port}"),
        };
        url.push_str(&self.hosts.iter().map(host).collect::<Vec<_>>().join(","));
        url.extend(["/", &escape(&self.database)]);
        let mode = self.ssl_mode.map(|mode| ("sslmode", mode.as_str().to_owned()));
        let cert =
            self.ssl_root_cert.as_ref().map(|path| ("sslrootcert", path.to_string_lossy().into_owned()));
        let others = self.parameters.iter().map(|(name, value)| (name.as_str(), value.expose().to_owned()));
        for (number, (name, value)) in mode.into_iter().chain(cert).chain(others).enumerate() {
            let before = if number == 0 { "?" } else { "&" };
            url.extend([before, &escape(name), "=", &escape(&value)]);
        }
        Secret::new(url)
    }
}

/// Where the tables go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatabaseTarget {
    /// A PostgreSQL server.
    Postgres(PostgresTarget),
    /// A SQLite file.
    Sqlite {
        /// The URL as given, `sqlite:PATH`.
        url: String,
        /// Its path.
        path: PathBuf,
    },
}

/// Reads a database URL. Errors never repeat any of it but the scheme and names of parameters.
pub(crate) fn parse(url: &str) -> Result<DatabaseTarget, String> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.strip_prefix("///").unwrap_or(path);
        if path.is_empty() || path.starts_with("//") {
            return Err("expected sqlite:PATH".into());
        }
        return Ok(DatabaseTarget::Sqlite { url: url.to_owned(), path: PathBuf::from(path) });
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err("expected postgresql://user:password@host:port/database or sqlite:PATH".into());
    };
    match scheme {
        "postgresql" | "postgres" | "postgresql+psycopg2" | "postgresql+psycopg" | "postgresql+asyncpg" => {}
        "redshift" | "redshift+psycopg2" => {
            return Err("Redshift is not supported yet; use PostgreSQL and stream from there".into());
        }
        "file" => {
            return Err("the service does not write files yet; expected postgresql://… or sqlite:PATH".into());
        }
        // Somebody's password might stand there, were there more than letters.
        other if other.chars().all(|c| c.is_ascii_alphabetic() || c == '+') => {
            return Err(format!("`{other}` is not supported; expected postgresql://… or sqlite:PATH"));
        }
        _ => return Err("expected postgresql://… or sqlite:PATH".into()),
    }
    postgres(rest)
}

fn decode(text: &str, what: &str) -> Result<String, String> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(format!("the {what} of the URL is not UTF-8 once its % escapes are undone")),
    }
}

fn postgres(rest: &str) -> Result<DatabaseTarget, String> {
    let (place, query) = match rest.split_once('?') {
        // One of them is part of the password, and where that ends is anybody's guess.
        Some((_, query)) if query.contains('@') => {
            return Err("the URL has a `?` before its last `@`: write `?` in the password as %3F, `@` elsewhere as %40".into());
        }
        Some((place, query)) => (place, query),
        None => (rest, ""),
    };
    let (login, place) = match place.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, place),
    };
    let (hosts, database) = place.split_once('/').unwrap_or((place, ""));
    let (mut user, mut password) = (None, None);
    if let Some(login) = login {
        let (name, secret) =
            login.split_once(':').map_or((login, None), |(name, secret)| (name, Some(secret)));
        user = Some(decode(name, "user")?).filter(|name| !name.is_empty());
        password = secret.map(|secret| decode(secret, "password")).transpose()?.map(Secret::new);
    }
    if database.is_empty() {
        return Err(
            "the URL names no database: expected postgresql://user:password@host:port/database".into()
        );
    }
    let mut target = PostgresTarget {
        hosts: hosts.split(',').map(host).collect::<Result<_, _>>()?,
        user,
        password,
        database: decode(database, "database")?,
        ssl_mode: None,
        ssl_root_cert: None,
        parameters: Vec::new(),
    };
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let Some((name, value)) = parameter.split_once('=') else {
            return Err("a parameter of the URL has no value: expected ?name=value&name=value".into());
        };
        let value = decode(value, "parameters")?;
        match name {
            "sslmode" => {
                let names = SslMode::ALL.map(SslMode::as_str).join(", ");
                let mode =
                    SslMode::named(&value).ok_or_else(|| format!("sslmode: expected one of {names}"))?;
                target.ssl_mode = Some(mode);
            }
            "sslrootcert" => target.ssl_root_cert = Some(PathBuf::from(value)),
            "user" => target.user = Some(value),
            "password" => target.password = Some(Secret::new(value)),
            _ => target.parameters.push((decode(name, "parameters")?, Secret::new(value))),
        }
    }
    Ok(DatabaseTarget::Postgres(target))
}

/// `name`, `name:port`, `[v6]:port`, or nothing for this machine.
fn host(text: &str) -> Result<(String, u16), String> {
    let wrong = || "the port of the URL is no number from 1 to 65535".to_owned();
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, rest)) => (v6, rest.strip_prefix(':')),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        None | Some("") => 5432,
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?,
    };
    let host = if host.is_empty() { "localhost".to_owned() } else { decode(host, "host")? };
    Ok((host, port))
}
