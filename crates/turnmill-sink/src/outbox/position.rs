//! The position of a sink.

use std::fmt;

use super::{Scope, SinkSpec, SinkStart};
use crate::StoreError;
use crate::outbox::DEAD_LETTERS;

/// Position of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkPosition {
    /// Number of the last entry that the sink has.
    pub number: u64,
    /// Progress of the snapshot; `None` once it is complete.
    pub snapshot: Option<SnapshotCursor>,
}

/// Progress of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotCursor {
    /// Table and key of the last row; `None` before the first.
    pub(crate) after: Option<(Box<str>, Box<str>)>,
}

impl SnapshotCursor {
    /// Returns the cursor after the row `key` of `table`.
    pub(crate) fn after(table: &str, key: &str) -> Self {
        Self { after: Some((table.into(), key.into())) }
    }

    /// Parses the text form.
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
    /// Returns where the sink starts if the newest entry has the number `head`.
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

impl StoreError {
    /// Returns the error for a runner that has lost its lease, or that expects another position of
    /// the sink `name`.
    #[must_use]
    pub fn sink_moved(name: &str) -> Self {
        Self::Fenced { detail: format!("the sink `{name}` was moved, removed, or is fed by another process") }
    }
}
