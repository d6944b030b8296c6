//! Parses database URLs.

use std::path::PathBuf;

use turnmill_postgres::PostgresAddress;

/// The database that holds the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "a process has one value of it")]
pub enum DatabaseTarget {
    /// A PostgreSQL server.
    Postgres(PostgresAddress),
    /// A SQLite file.
    Sqlite {
        /// The URL as given, `sqlite:PATH`.
        url: String,
        /// The path in the URL.
        path: PathBuf,
    },
}

/// Parses a database URL. Errors repeat nothing of it but the scheme and the names of parameters.
pub(crate) fn parse(url: &str) -> Result<DatabaseTarget, String> {
    // As for the tools: in any case, and with SQLAlchemy's driver.
    let is_sqlite =
        |scheme: &str| scheme.split('+').next().is_some_and(|dialect| dialect.eq_ignore_ascii_case("sqlite"));
    if let Some((_, path)) = url.split_once(':').filter(|(scheme, _)| is_sqlite(scheme)) {
        let path = path.strip_prefix("///").unwrap_or(path);
        if path.is_empty() || path.starts_with("//") {
            return Err("expected sqlite:PATH".into());
        }
        return Ok(DatabaseTarget::Sqlite { url: url.to_owned(), path: PathBuf::from(path) });
    }
    if PostgresAddress::is_url(url) {
        let address: PostgresAddress = url.parse().map_err(|error| format!("{error}"))?;
        if address.database().is_none() {
            return Err(
                "the URL names no database: expected postgresql://user:password@host:port/database".into()
            );
        }
        return Ok(DatabaseTarget::Postgres(address));
    }
    let Some((scheme, _)) = url.split_once("://") else {
        return Err("expected postgresql://user:password@host:port/database or sqlite:PATH".into());
    };
    match scheme.to_ascii_lowercase().as_str() {
        "redshift" | "redshift+psycopg2" => {
            Err("Redshift is not supported yet; use PostgreSQL and replicate from there".into())
        }
        "file" => Err("the service does not write files yet; expected postgresql://… or sqlite:PATH".into()),
        // Anything but letters may be a password, so the message does not repeat it.
        other if other.len() < 20 && other.chars().all(|c| c.is_ascii_alphabetic() || c == '+') => {
            Err(format!("`{other}` is not supported; expected postgresql://… or sqlite:PATH"))
        }
        _ => Err("expected postgresql://… or sqlite:PATH".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlite_file_is_spelled_as_for_the_tools() {
        for (url, expected) in [
            ("sqlite:rasa.sqlite", "rasa.sqlite"),
            ("SQLite:///rasa.sqlite", "rasa.sqlite"),
            ("sqlite+aiosqlite:////var/rasa.sqlite", "/var/rasa.sqlite"),
        ] {
            let Ok(DatabaseTarget::Sqlite { path, .. }) = parse(url) else { panic!("{url}") };
            assert_eq!(path, PathBuf::from(expected));
        }
        assert!(parse("sqlite://host/rasa.sqlite").is_err());
    }
}
