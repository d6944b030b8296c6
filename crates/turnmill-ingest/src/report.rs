//! What became of a batch.

use std::collections::BTreeMap;
use std::time::Duration;

use turnmill_model::{Changes, Reason};
use turnmill_sink::Counts;

/// What became of a batch.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The batch's counts, as they went to the ledger.
    pub counts: Counts,
    /// Of the counts: dead letters by reason.
    pub dead_letters: BTreeMap<Reason, u64>,
    /// Events that came late, and so did not simply extend their sender's timeline.
    pub late: u64,
    /// Stretches of history that were replayed.
    pub replays: u64,
    /// The row changes, by table.
    pub rows: Vec<RowCounts>,
    /// How long the store took to make the written batch durable.
    pub commit: Duration,
}

/// How many rows of a table a batch changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowCounts {
    /// The table's name.
    pub table: &'static str,
    /// Rows inserted, or written by key.
    pub inserts: u64,
    /// Rows changed, ends of sessions, turns and frames among them.
    pub updates: u64,
    /// Rows deleted.
    pub deletes: u64,
}

impl RowCounts {
    /// Those of the tables that `changes` touches.
    pub(crate) fn of(changes: &Changes) -> Vec<Self> {
        let mut counts = Vec::new();
        changes.for_each_table(|rows| {
            let count = Self {
                table: rows.table.name,
                inserts: rows.inserts.len() as u64,
                updates: (rows.updates.len() + rows.ends.len()) as u64,
                deletes: rows.deletes.len() as u64,
            };
            if count.inserts + count.updates + count.deletes > 0 {
                counts.push(count);
            }
        });
        counts
    }
}
