//! Servers that are not available, and tests that are skipped for that reason.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write as _;

/// Why there is no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// This machine lacks something that the server needs. Tests that need the server are skipped.
    #[error("{0}")]
    Missing(String),
    /// Everything is installed, but the server does not start. Tests that need it fail.
    #[error("{server}: {detail}")]
    Failed {
        /// The server.
        server: &'static str,
        /// The failure, with the end of the server's log.
        detail: String,
    },
}

impl Unavailable {
    pub(crate) fn failed(server: &'static str, detail: impl Display) -> Self {
        Self::Failed { server, detail: detail.to_string() }
    }
}

/// Returns the value, or `None` for a missing server, after [noting](skip) that the test is
/// skipped.
///
/// # Panics
///
/// If the server is installed and did not start.
#[track_caller]
pub fn or_skip<T>(result: Result<T, Unavailable>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Unavailable::Missing(reason)) => {
            skip(&reason);
            None
        }
        Err(failed @ Unavailable::Failed { .. }) => panic!("{failed}"),
    }
}

/// Notes that this thread's test is skipped: a line `TEST NAME: reason` on stderr and in the file
/// `$TURNMILL_TEST_SKIPS`.
///
/// # Panics
///
/// If that file cannot be written. A test that is skipped without a note looks like one that
/// passed.
#[track_caller]
pub fn skip(reason: &str) {
    // The test harness names threads after tests.
    let thread = std::thread::current();
    let line = format!("{}: {}\n", thread.name().unwrap_or("unnamed thread"), reason.replace('\n', " "));
    eprint!("skipped {line}");
    if let Some(path) = std::env::var_os("TURNMILL_TEST_SKIPS") {
        let mut options = OpenOptions::new();
        // A single short append is not torn by other processes.
        let written = options
            .append(true)
            .create(true)
            .open(&path)
            .and_then(|mut file| file.write_all(line.as_bytes()));
        if let Err(error) = written {
            panic!("noting a skipped test in `{}`: {error}", path.display());
        }
    }
}
