//! Opening a file for reading without leaving other files beside it.
//!
//! A file in write-ahead mode cannot be read without its log and its index. SQLite creates them if
//! they are missing, and deletes them when the last connection closes. Only a connection that may
//! write can do so.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Error, ErrorCode, MAIN_DB, OpenFlags};

/// Opens a file for reading. Its content does not change, even if a killed writer left a log beside
/// it.
pub(crate) fn open(path: &Path, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    let left_over = log_of(path).exists();
    match open_and_read(path, OpenFlags::SQLITE_OPEN_READ_WRITE, busy_timeout) {
        Ok(connection) if !connection.is_readonly(MAIN_DB)? => {
            connection.pragma_update(None, "query_only", true)?;
            if left_over {
                connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            }
            return Ok(connection);
        }
        // The file is not writable.
        Ok(_) => {}
        Err(error) if is_denied(&error) => {}
        Err(error) => return Err(error),
    }
    if left_over {
        // The log is a part of the content.
        return open_and_read(path, OpenFlags::SQLITE_OPEN_READ_ONLY, busy_timeout);
    }
    // This user cannot write to the file or its folder, and no other process has it open. Read the
    // file alone.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    open_and_read(&immutable(path), flags, busy_timeout)
}

/// Opens the file and reads a page, because SQLite opens files only then.
fn open_and_read(path: &Path, flags: OpenFlags, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(busy_timeout)?;
    connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
    Ok(connection)
}

fn is_denied(error: &Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied)
    )
}

fn log_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push("-wal");
    name.into()
}

/// Returns the path as the URI of a file that does not change while it is read.
fn immutable(path: &Path) -> PathBuf {
    let mut uri = "file://".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    uri.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_no_part_of_the_question() {
        assert_eq!(
            immutable(Path::new("/a b/50%?x=1#y.sqlite")),
            Path::new("file:///a%20b/50%25%3Fx%3D1%23y.sqlite?immutable=1")
        );
    }
}
