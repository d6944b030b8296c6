//! Servers that cannot be had, and the tests that are skipped for it.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write as _;

/// Why there is no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// This machine lacks what the server needs; a test that wants it is skipped.
    #[error("{0}")]
    Missing(String),
    /// All is installed, and the server does not start: a defect of something.
    #[error("{server}: {detail}")]
    Failed {
        /// Which server.
        server: &'static str,
        /// What happened, with the end of its log.
        detail: String,
    },
}

impl Unavailable {
    pub(crate) fn failed(server: &'static str, detail: impl Display) -> Self {
        Self::Failed { server, detail: detail.to_string() }
    }
}

/// The value; or `None` for a server that this machine cannot run, after [noting](skip) that the test is skipped.
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

/// Notes that the test of this thread is skipped: a line `TEST NAME: reason` on stderr, and in the file that
/// `TURNMILL_TEST_SKIPS` names.
///
/// # Panics
///
/// If that file cannot be written: a skipped test that nobody hears of looks like one that passed.
#[track_caller]
pub fn skip(reason: &str) {
    // The test harness names threads after tests.
    let thread = std::thread::current();
    let line = format!("{}: {}\n", thread.name().unwrap_or("unnamed thread"), reason.replace('\n', " "));
    eprint!("skipped {line}");
    if let Some(path) = std::env::var_os("TURNMILL_TEST_SKIPS") {
        let mut options = OpenOptions::new();
        // One write of a short line to the end is not torn by other processes.
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
