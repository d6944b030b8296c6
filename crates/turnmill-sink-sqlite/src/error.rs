//! Classification of SQLite's errors.

use rusqlite::ErrorCode;
use rusqlite::ffi;
use turnmill_sink::StoreError;

/// Returns whether a row was refused because the store has one with its key.
pub(crate) fn is_taken_key(error: &rusqlite::Error) -> bool {
    let extended = error.sqlite_error().map(|failure| failure.extended_code);
    matches!(
        extended,
        Some(
            ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID | ffi::SQLITE_CONSTRAINT_UNIQUE
        )
    )
}

/// Converts an error of SQLite. `file` is the file, `doing` the attempted action.
pub(crate) fn store_error(error: rusqlite::Error, file: &str, doing: &str) -> StoreError {
    let (code, extended) = match &error {
        rusqlite::Error::SqliteFailure(failure, _) => (failure.code, failure.extended_code),
        // The value has another type than the column, or is missing: the store did not write it.
        _ => return StoreError::Damaged { detail: format!("`{file}`, {doing}: {error}") },
    };
    match code {
        ErrorCode::ConstraintViolation => match extended {
            // Keys are derived from events, and rows of a batch are distinct. So another writer was
            // faster.
            ffi::SQLITE_CONSTRAINT_PRIMARYKEY
            | ffi::SQLITE_CONSTRAINT_UNIQUE
            | ffi::SQLITE_CONSTRAINT_ROWID => StoreError::Fenced { detail: format!("{doing}: {error}") },
            _ => StoreError::Refused { detail: format!("{doing}: {error}") },
        },
        ErrorCode::TooBig | ErrorCode::TypeMismatch => {
            StoreError::Refused { detail: format!("{doing}: {error}") }
        }
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::DiskFull
        | ErrorCode::SystemIoFailure
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::OutOfMemory
        | ErrorCode::OperationAborted
        | ErrorCode::OperationInterrupted => {
            StoreError::Unavailable { detail: format!("`{file}`, {doing}"), source: Some(Box::new(error)) }
        }
        ErrorCode::DatabaseCorrupt => StoreError::Damaged { detail: format!("`{file}`, {doing}: {error}") },
        ErrorCode::NotADatabase => {
            unusable(format!("`{file}` is not a SQLite database: name another file for the store"), error)
        }
        ErrorCode::ReadOnly => unusable(
            format!(
                "`{file}` is read-only: make the file and its folder writable for this user, or name another file"
            ),
            error,
        ),
        ErrorCode::CannotOpen => unusable(
            format!(
                "`{file}` cannot be opened: its folder must exist and be writable for this user, and it must be a file"
            ),
            error,
        ),
        ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied => unusable(
            format!("`{file}` may not be accessed: make the file and its folder accessible for this user"),
            error,
        ),
        ErrorCode::SchemaChanged | ErrorCode::Unknown => unusable(
            format!(
                "`{file}`, {doing}: its tables are not as turnmill made them; fill a new file from the events ({error})"
            ),
            error,
        ),
        _ => unusable(format!("`{file}`, {doing}: {error}"), error),
    }
}

fn unusable(detail: String, source: rusqlite::Error) -> StoreError {
    StoreError::Unusable { detail, source: Some(Box::new(source)) }
}

#[cfg(test)]
mod tests {
    use turnmill_sink::Class;

    use super::*;

    #[test]
    fn every_code_has_its_class() {
        let class = |code| {
            store_error(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None), "x.sqlite", "writing")
                .class()
        };
        let retryable = Class::Retryable { after: None };
        for (code, expected) in [
            (ffi::SQLITE_BUSY, retryable),
            (ffi::SQLITE_BUSY_SNAPSHOT, retryable),
            (ffi::SQLITE_LOCKED, retryable),
            (ffi::SQLITE_FULL, retryable),
            (ffi::SQLITE_IOERR_WRITE, retryable),
            (ffi::SQLITE_NOMEM, retryable),
            (ffi::SQLITE_PROTOCOL, retryable),
            (ffi::SQLITE_CONSTRAINT_CHECK, Class::Poison),
            (ffi::SQLITE_CONSTRAINT_TRIGGER, Class::Poison),
            (ffi::SQLITE_CONSTRAINT_NOTNULL, Class::Poison),
            (ffi::SQLITE_TOOBIG, Class::Poison),
            (ffi::SQLITE_CONSTRAINT_UNIQUE, Class::Fenced),
            (ffi::SQLITE_CONSTRAINT_PRIMARYKEY, Class::Fenced),
            (ffi::SQLITE_READONLY, Class::Fatal),
            (ffi::SQLITE_READONLY_DBMOVED, Class::Fatal),
            (ffi::SQLITE_CANTOPEN, Class::Fatal),
            (ffi::SQLITE_NOTADB, Class::Fatal),
            (ffi::SQLITE_PERM, Class::Fatal),
            (ffi::SQLITE_CORRUPT, Class::Fatal),
            (ffi::SQLITE_ERROR, Class::Fatal),
        ] {
            assert_eq!(class(code), expected, "code {code}");
        }
    }

    #[test]
    fn fatal_errors_name_the_file() {
        for code in [
            ffi::SQLITE_READONLY,
            ffi::SQLITE_CANTOPEN,
            ffi::SQLITE_NOTADB,
            ffi::SQLITE_PERM,
            ffi::SQLITE_CORRUPT,
        ] {
            let error = store_error(
                rusqlite::Error::SqliteFailure(ffi::Error::new(code), None),
                "x.sqlite",
                "writing",
            );
            assert!(error.to_string().contains("`x.sqlite`"), "{error}");
        }
    }
}
