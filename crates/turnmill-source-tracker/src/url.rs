//! The URL of a database, as Rasa and libpq write it.

use std::path::PathBuf;
use std::time::Duration;

use ::postgres::Config;
use ::postgres::config::{Host, SslMode as DriverMode};
use percent_encoding::percent_decode_str;

use crate::PostgresTrackerError;

/// What `sslmode` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SslMode {
    Disable,
    /// Encrypted if the server can; nothing is checked.
    Prefer,
    /// Encrypted; nothing is checked.
    Require,
    /// Encrypted, and it is the server that was meant.
    VerifyFull,
}

/// Where a database is and how to reach it.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) config: Config,
    pub(crate) mode: SslMode,
    /// File with the authorities' certificates; none: the system's.
    pub(crate) root: Option<PathBuf>,
    /// The address without user and password.
    pub(crate) name: String,
}

/// Whether `text` is the URL of a PostgreSQL database, also with the name of a Python driver.
pub(crate) fn is_postgres(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.split('+').next().unwrap_or_default());
    matches!(scheme, Some("postgresql" | "postgres"))
}

impl Address {
    /// Reads a URL. No error shows more of it than a parameter.
    pub(crate) fn parse(url: &str) -> Result<Self, PostgresTrackerError> {
        let bad = |problem: String| PostgresTrackerError::Url { problem };
        if !is_postgres(url) {
            return Err(bad("expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE".into()));
        }
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        // The last `@` separates, so a password may hold one as it is. What it cannot hold is a `?`.
        if !place.contains('@') && query.contains('@') {
            let problem = "special characters of user and password have to be percent-encoded, `?` as %3F and `@` as %40";
            return Err(bad(problem.into()));
        }
        let (login, place) =
            place.rsplit_once('@').map_or((None, place), |(login, place)| (Some(login), place));
        let (mut mode, mut root, mut others) = (SslMode::Prefer, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => {
                    mode = match value {
                        "disable" => SslMode::Disable,
                        "allow" | "prefer" => SslMode::Prefer,
                        "require" => SslMode::Require,
                        "verify-full" => SslMode::VerifyFull,
                        _ => {
                            let expected = "expected disable, prefer, require or verify-full";
                            return Err(bad(format!("`sslmode={value}` is not supported here: {expected}")));
                        }
                    };
                }
                Some(("sslrootcert", "system")) => root = None,
                Some(("sslrootcert", value)) => {
                    let path = percent_decode_str(value).decode_utf8();
                    let path = path.map_err(|_| bad("`sslrootcert` is not UTF-8".into()))?;
                    root = Some(PathBuf::from(path.as_ref()));
                }
                _ => others.push(pair),
            }
        }
        if root.is_some() && mode != SslMode::VerifyFull {
            return Err(bad("`sslrootcert` needs `sslmode=verify-full`".into()));
        }
        let plain = format!("postgresql://{place}?{}", others.join("&").replace('@', "%40"));
        let mut config: Config = plain.parse().map_err(|error: ::postgres::Error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            bad(cause.unwrap_or_else(|| error.to_string()))
        })?;
        if let Some(login) = login {
            let (user, password) =
                login.split_once(':').map_or((login, None), |(user, rest)| (user, Some(rest)));
            let plain = |text| percent_decode_str(text).decode_utf8();
            let not_utf8 = |_| bad("user and password are not UTF-8".into());
            if !user.is_empty() {
                config.user(&plain(user).map_err(not_utf8)?);
            }
            if let Some(password) = password {
                config.password(&*plain(password).map_err(not_utf8)?);
            }
        }
        config.ssl_mode(match mode {
            SslMode::Disable => DriverMode::Disable,
            SslMode::Prefer => DriverMode::Prefer,
            SslMode::Require | SslMode::VerifyFull => DriverMode::Require,
        });
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host("localhost");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(10));
        }
        if config.get_application_name().is_none() {
            config.application_name("turnmill-replay");
        }
        let name = name(&config);
        Ok(Self { config, mode, root, name })
    }
}

/// The same for every way to log in to a database.
fn name(config: &Config) -> String {
    let ports = config.get_ports();
    let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(index, host)| match host {
            Host::Tcp(host) => format!("{host}:{}", port(index)),
            #[cfg(unix)]
            Host::Unix(path) => format!("{}:{}", path.display(), port(index)),
        })
        .collect();
    let hosts = if hosts.is_empty() {
        config.get_hostaddrs().iter().map(|address| format!("{address}:{}", port(0))).collect()
    } else {
        hosts
    };
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("postgresql://{}/{database}", hosts.join(","))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_name_has_neither_user_nor_password() {
        for (url, name) in [
            ("postgresql://rasa:secret@db:5433/rasa?sslmode=require", "postgresql://db:5433/rasa"),
            ("postgres://rasa:secret@db/rasa", "postgresql://db:5432/rasa"),
            ("postgresql+psycopg2://db/rasa?connect_timeout=3", "postgresql://db:5432/rasa"),
            ("postgresql://rasa@/rasa", "postgresql://localhost:5432/rasa"),
        ] {
            assert_eq!(Address::parse(url).unwrap().name, name);
        }
        assert_eq!(Address::parse("postgres://db/r?sslmode=verify-full").unwrap().mode, SslMode::VerifyFull);
    }

    #[test]
    fn what_cannot_be_is_named_without_secrets() {
        for (url, part) in [
            ("mysql://rasa:secret@db/rasa", "expected postgresql://"),
            ("postgres://rasa:secret@db/rasa?sslmode=verify-ca", "sslmode=verify-ca"),
            ("postgres://rasa:secret@db/rasa?sslrootcert=/ca.pem", "sslmode=verify-full"),
            ("postgres://rasa:secret@db/rasa?nonsense=1", "nonsense"),
            ("postgres://rasa:secret@db:port/rasa", "port"),
            ("postgres://rasa:se?cret@db/rasa", "%3F"),
        ] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("secret") && !error.contains("cret"), "{error}");
        }
    }

    #[test]
    fn a_password_may_hold_anything_that_does_not_end_it() {
        for (url, password) in [
            ("postgresql://rasa:Zx@Qq81@127.0.0.1:1/rasa", "Zx@Qq81"),
            ("postgresql://rasa:Hm4/xT0#pL@127.0.0.1:1/rasa", "Hm4/xT0#pL"),
            ("postgresql://rasa:a%40b%25@127.0.0.1:1/rasa?application_name=a@b", "a@b%"),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!(address.config.get_password(), Some(password.as_bytes()));
            assert_eq!(
                (address.config.get_user(), address.name.as_str()),
                (Some("rasa"), "postgresql://127.0.0.1:1/rasa")
            );
        }
    }
}
