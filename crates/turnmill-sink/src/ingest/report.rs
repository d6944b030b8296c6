//! What became of a batch.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use turnmill_engine::{Place, Timeline};
use turnmill_model::{Changes, Reason};

use super::Applied;
use super::groups::Group;
use crate::Counts;

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
    pub(super) fn of(changes: &Changes) -> Vec<Self> {
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

impl AddAssign<&Self> for Report {
    /// Adds what became of another batch.
    fn add_assign(&mut self, other: &Self) {
        self.counts += other.counts;
        self.late += other.late;
        self.replays += other.replays;
        self.commit += other.commit;
        for (reason, letters) in &other.dead_letters {
            *self.dead_letters.entry(*reason).or_default() += letters;
        }
        for rows in &other.rows {
            match self.rows.iter_mut().find(|known| known.table == rows.table) {
                None => self.rows.push(*rows),
                Some(known) => {
                    known.inserts += rows.inserts;
                    known.updates += rows.updates;
                    known.deletes += rows.deletes;
                }
            }
        }
    }
}

impl Report {
    pub(super) fn count(&mut self, group: &Group<'_, '_>, applied: &Applied, before: &Timeline) {
        let new = || group.items.iter().filter(|item| !item.is_known());
        let late = applied.late.as_ref();
        let removed = late.map_or(0, |late| late.removed);
        let events = new().count() as i64 - removed;
        self.late += new().filter(|item| before.place(&item.event) == Place::Behind).count() as u64;
        self.replays += late.map_or(0, |late| late.replays);
        self.counts += Counts {
            records: group.copies,
            events,
            // Every copy that is no event; and the stored events that an anonymised copy made duplicates.
            duplicates: group.copies - events,
            anonymised: group.anonymised + late.map_or(0, |late| late.anonymised),
            changed: group.changed + late.map_or(0, |late| late.changed),
            ..Counts::default()
        };
    }
}
