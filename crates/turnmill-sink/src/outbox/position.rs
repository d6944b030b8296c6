//! How far a sink has come.

use std::fmt;

use super::{Scope, SinkSpec, SinkStart};
use crate::StoreError;
use crate::outbox::DEAD_LETTERS;

/// How far a sink has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkPosition {
    /// Number of the last entry that it needs no more.
    pub number: u64,
    /// How far its snapshot has come; `None` once it is complete.
    pub snapshot: Option<SnapshotCursor>,
}

/// How far a snapshot has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotCursor {
    /// Table and key of the last row; `None` before the first.
    pub(crate) after: Option<(Box<str>, Box<str>)>,
}

impl SnapshotCursor {
    /// The cursor after the row `key` of `table`.
    pub(crate) fn after(table: &str, key: &str) -> Self {
        Self { after: Some((table.into(), key.into())) }
    }

    /// Reads what its text form gives.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self { after: text.split_once(' ').map(|(table, key)| (table.into(), key.into())) }
    }
}

impl fmt::Display for SnapshotCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.after {
            None => Ok(()),
            Some((table, key)) => write!(f, "{table} {key}"),
        }
    }
}

impl fmt::Display for SinkPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.snapshot {
            None => write!(f, "{}", self.number),
            Some(cursor) => write!(f, "{} with a snapshot at `{cursor}`", self.number),
        }
    }
}

impl SinkSpec {
    /// Where the sink begins when the newest entry has the number `head`.
    #[must_use]
    pub fn begin(&self, head: u64) -> SinkPosition {
        let snapshot = match (self.start, self.scope) {
            (SinkStart::Now, _) => None,
            (SinkStart::DeadLettersAfter(letter), Scope::DeadLetters) => {
                Some(SnapshotCursor::after(DEAD_LETTERS, &letter.to_string()))
            }
            (SinkStart::Snapshot | SinkStart::DeadLettersAfter(_), _) => Some(SnapshotCursor::default()),
        };
        SinkPosition { number: head, snapshot }
    }
}

/// The error of a step from a position at which the sink does not stand.
impl StoreError {
    /// The sink `name` does not stand where its runner believes, or the runner has lost its lease.
    #[must_use]
    pub fn sink_moved(name: &str) -> Self {
        Self::Fenced { detail: format!("the sink `{name}` was moved, removed, or is fed by another process") }
    }
}
