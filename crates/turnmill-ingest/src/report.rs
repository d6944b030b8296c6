//! Reports what became of a batch.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use turnmill_model::{Changes, Reason};
use turnmill_sink::Counts;

/// Reports what became of a batch.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The batch's counts, as they were added to the ledger.
    pub counts: Counts,
    /// Of the counts: dead letters by reason.
    pub dead_letters: BTreeMap<Reason, u64>,
    /// Number of late events: new ones older than their sender's newest event.
    pub late: u64,
    /// Number of replays of a stretch of history, restarts included.
    pub replays: u64,
    /// Number of pieces in which row changes were written before the batch, because a late event
    /// changed very many rows.
    pub pieces: u64,
    /// The row changes, by table.
    pub rows: Vec<RowCounts>,
    /// Time that the store took to commit.
    pub commit: Duration,
}

/// Counts the rows of a table that a batch changed.
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
    /// Counts the rows of each table that `changes` touches.
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

    /// Adds `more` to `counts`, table by table.
    pub(crate) fn add(counts: &mut Vec<Self>, more: &[Self]) {
        for rows in more {
            match counts.iter_mut().find(|known| known.table == rows.table) {
                None => counts.push(*rows),
                Some(known) => {
                    known.inserts += rows.inserts;
                    known.updates += rows.updates;
                    known.deletes += rows.deletes;
                }
            }
        }
    }
}

impl AddAssign<&Self> for Report {
    /// Adds the report of another batch.
    fn add_assign(&mut self, other: &Self) {
        self.counts += other.counts;
        self.late += other.late;
        self.replays += other.replays;
        self.commit += other.commit;
        for (reason, letters) in &other.dead_letters {
            *self.dead_letters.entry(*reason).or_default() += letters;
        }
        self.pieces += other.pieces;
        RowCounts::add(&mut self.rows, &other.rows);
    }
}
