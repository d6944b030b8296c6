//! Maps PostgreSQL's errors to store errors, by SQLSTATE.

use std::error::Error as _;
use std::{fmt, io};

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity};
use turnmill_model::tables::{EVENT_ERROR, PUBLIC, RASA_PATTERNS, RASA_SESSION, RASA_USER};
use turnmill_sink::StoreError;
use turnmill_sql::{Dialect, References, indexes, internal};

use crate::failure::Failure;

/// Names the setting that holds the database URL, for messages.
const URL: &str = "the database URL (`RASA_ANALYTICS_DB_URL`)";
const PASSWORD: &str = "the password (`TURNMILL_DB_PASSWORD`, `PGPASSWORD` or `PGPASSFILE`)";

/// Remedy for a pooler that gives connections to other clients between transactions or statements.
pub(crate) const SESSION_POOLER: &str = "connect to PostgreSQL itself, or through a pooler that keeps the session (PgBouncer: \
     `pool_mode = session`)";

/// Converts a failure to a store's error. `place` is the database, `doing` what was attempted.
pub(crate) fn store_error(failure: Failure, place: &str, doing: &str) -> StoreError {
    let error = match failure {
        Failure::Driver(error) => error,
        silent @ Failure::Silent(_) => {
            let detail = format!("`{place}`, {doing}: {silent}");
            return StoreError::Unavailable { detail, source: None };
        }
    };
    let Some(db) = error.as_db_error() else { return driver_error(error, place, doing) };
    let detail = format!("`{place}`, {doing}: {}", describe(db));
    let code = db.code().code();
    match code {
        "23505" if is_ours(db) => StoreError::Fenced { detail },
        "08P01" if db.message().contains("pooling mode") => {
            unusable(format!("{detail}: {SESSION_POOLER}"), error)
        }
        // The connection goes through a pooler that changes server processes between transactions.
        "26000" | "42P05" => unusable(format!("{detail}: {SESSION_POOLER}"), error),
        // The code stands for a time limit and for a statement that a user cancelled. Only the text
        // tells them apart, in the server's language. An unknown text counts as a time limit.
        "57014" if !db.message().contains("user request") => StoreError::TimeLimit {
            detail: format!(
                "{detail}: raise `TURNMILL_DB_STATEMENT_TIMEOUT_SECS`, or find out what makes the database slow"
            ),
        },
        // The plan is older than a change of its table.
        "0A000" if db.message().contains("cached plan") => unavailable(detail, error),
        "25006" | "25P02" | "25P03" | "40001" | "40P01" | "40003" | "55P03" | "58030" => {
            unavailable(detail, error)
        }
        _ if is_class(code, &["08", "53", "57"]) => unavailable(detail, error),
        // P0 is an exception that a trigger raises without a code, 54 a row too large for an index.
        _ if is_class(code, &["22", "23", "44", "54", "P0"]) => {
            StoreError::Refused { detail: format!("{doing}: {}", describe(db)) }
        }
        _ if is_class(code, &["28"]) => unusable(
            format!("{detail}: name the user in {URL}, set {PASSWORD}, and allow the user in pg_hba.conf"),
            error,
        ),
        "3D000" => unusable(format!("{detail}: create the database, or name another in {URL}"), error),
        "3F000" => unusable(format!("{detail}: set `TURNMILL_DB_SCHEMA` to an existing schema"), error),
        "42501" => unusable(
            format!("{detail}: grant the user of {URL} the privilege, or name another user there"),
            error,
        ),
        "XX001" | "XX002" => StoreError::Damaged { detail },
        _ if is_class(code, &["42"]) => unusable(
            format!(
                "{detail}: the tables are not as turnmill made them; set `TURNMILL_DB_SCHEMA` to another schema and fill it from the events"
            ),
            error,
        ),
        _ => unusable(detail, error),
    }
}

/// Returns whether a row was refused because its key is taken, in a table to which only the holder
/// of a sender's lock adds rows.
///
/// Two senders may race for a session that both name, and for the row of a user that both name.
/// They write those rows before all others.
pub(crate) fn is_taken_under_lock(failure: &Error) -> bool {
    let shared = [RASA_SESSION.name, RASA_USER.name, RASA_PATTERNS.name];
    failure.as_db_error().is_some_and(|db| {
        let is_shared = db.table().is_none_or(|table| shared.contains(&table));
        db.code().code() == "23505" && is_ours(db) && !is_shared
    })
}

/// Returns the error for a key that is taken although no other writer can have taken it.
pub(crate) fn contradiction(failure: &Error, place: &str, doing: &str) -> StoreError {
    let text = failure.as_db_error().map_or_else(|| failure.to_string(), describe);
    let detail =
        format!("`{place}`, {doing}: {text}; the row exists, but the state of its sender does not know it");
    StoreError::Damaged { detail }
}

/// The driver's error as the source of a store's error. The store's message has the server's text
/// already, which the driver would repeat in other words ("db error: FATAL: ...").
#[derive(Debug)]
struct DriverError(Error);

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_db_error() {
            Some(db) => f.write_str(&describe(db)),
            None => self.0.fmt(f),
        }
    }
}

impl std::error::Error for DriverError {}

/// Returns whether the server itself reported the error.
pub(crate) fn is_of_the_server(error: &StoreError) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<DriverError>());
    source.is_some_and(|DriverError(error)| error.as_db_error().is_some())
}

/// Returns whether a new connection is needed after `failure`.
pub(crate) fn is_connection_lost(failure: &Failure) -> bool {
    let Failure::Driver(error) = failure else { return true };
    let Some(db) = error.as_db_error() else { return true };
    let fatal = matches!(db.parsed_severity(), Some(Severity::Fatal | Severity::Panic));
    // The server became a standby, or prepared statements no longer fit.
    fatal || is_class(db.code().code(), &["08"]) || matches!(db.code().code(), "25006" | "26000" | "0A000")
}

/// Returns whether a connection attempt without TLS may succeed where one with it has failed, or
/// the other way round.
pub(crate) fn is_about_encryption(error: &Error) -> bool {
    match error.as_db_error() {
        Some(db) => db.code().code() == "28000",
        None => is_tls(error),
    }
}

fn is_tls(error: &Error) -> bool {
    tls_error(error).is_some() || error.to_string().contains("TLS handshake")
}

/// Returns the TLS error that an I/O error wraps.
fn tls_error(error: &Error) -> Option<&rustls::Error> {
    error.source().and_then(|source| {
        let inner = source.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner.and_then(|inner| inner.downcast_ref()).or_else(|| source.downcast_ref())
    })
}

fn is_class(code: &str, classes: &[&str]) -> bool {
    classes.iter().any(|class| code.starts_with(class))
}

/// Returns whether the violated unique constraint is turnmill's own, not one that the operator has
/// added.
fn is_ours(db: &DbError) -> bool {
    let (Some(table), Some(constraint)) = (db.table(), db.constraint()) else { return false };
    if constraint == format!("{table}_pkey") {
        return PUBLIC.iter().map(|table| table.name).chain([EVENT_ERROR.name]).any(|name| name == table)
            || internal::ALL.iter().any(|ours| ours.name == table);
    }
    // Checked references have all indexes of the other kinds, and more.
    let mut ours = indexes::all(Dialect::Postgres, References::Checked).into_iter();
    ours.any(|index| index.table == table && index.name == constraint)
}

fn describe(db: &DbError) -> String {
    let mut text = db.message().to_owned();
    for part in [db.detail(), db.hint()].into_iter().flatten() {
        text.push_str("; ");
        text.push_str(part);
    }
    if let Some(table) = db.table().filter(|table| !text.contains(table)) {
        text.push_str(&format!("; table {table}"));
    }
    format!("{text} (SQLSTATE {})", db.code().code())
}

fn driver_error(error: Error, place: &str, doing: &str) -> StoreError {
    let mut detail = format!("`{place}`, {doing}: {error}");
    let mut cause = error.source();
    while let Some(source) = cause {
        let text = source.to_string();
        if !detail.contains(&text) {
            detail.push_str(&format!(": {text}"));
        }
        cause = source.source();
    }
    if is_tls(&error) {
        // A connection that breaks off during the handshake says nothing about certificates.
        let broken = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        if tls_error(&error).is_none() && broken.is_some() {
            return unavailable(detail, error);
        }
        return unusable(
            format!("{detail}: check `sslmode`, `sslrootcert`, `sslcert` and `sslkey` of {URL}"),
            error,
        );
    }
    let text = error.to_string();
    // The server demands a password or another kind of authentication.
    if text.contains("authentication") || text.contains("invalid configuration") {
        return unusable(format!("{detail}: name the user in {URL}, and set {PASSWORD}"), error);
    }
    // A column has another type than turnmill's: it was changed from outside.
    if ["serializing", "deserializing", "column", "parameters", "number of rows"]
        .iter()
        .any(|part| text.contains(part))
    {
        return StoreError::Damaged { detail };
    }
    unavailable(detail, error)
}

fn unavailable(detail: String, source: Error) -> StoreError {
    StoreError::Unavailable { detail, source: Some(Box::new(DriverError(source))) }
}

fn unusable(detail: String, source: Error) -> StoreError {
    StoreError::Unusable { detail, source: Some(Box::new(DriverError(source))) }
}
