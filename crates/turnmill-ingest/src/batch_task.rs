//! A batch to ingest, and which of its records an attempt is about.
//!
//! ```text
//! batch:                          1 2 3 4
//! first attempt, Commit:          1 2 3 4     the store refuses a row and does not name the record
//! probes:                         1 2 3 4, 1 2, 3 4, 3, 4     record 3 is at fault
//! second attempt, Commit:         1 2 4       and a dead letter for 3
//! ```

use std::collections::{BTreeMap, HashSet};

use turnmill_model::Refused;
use turnmill_sink::{Advance, Batch, Counts};

use crate::accounting::Accounting;
use crate::arrivals::{Arrivals, MakeDeadLetter};
use crate::groups::{Group, grouped};
use crate::report::Report;

/// Tells an attempt that is to be committed from a probe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Purpose<'p> {
    /// Write the whole batch and commit.
    Commit,
    /// Write the rows of these records (their numbers in the batch), to see whether the store
    /// accepts them, and roll back. Positions and dead letters are left out.
    Probe(&'p [usize]),
}

/// Holds a batch to ingest. All attempts of the batch share it.
pub(crate) struct BatchTask<'t, 'a> {
    pub(crate) arrivals: &'t Arrivals<'a>,
    pub(crate) advances: &'t [Advance],
    pub(crate) accounting: &'t Accounting<'t>,
    pub(crate) letters: &'t dyn MakeDeadLetter,
    /// Records of which the store refuses a row, by number, as found by probes.
    pub(crate) excluded: BTreeMap<usize, Refused>,
}

impl<'t, 'a> BatchTask<'t, 'a> {
    /// Returns the events of this attempt by sender and key: without records excluded, and of a
    /// probe only those of its records.
    pub(crate) fn groups(&self, purpose: Purpose<'_>) -> Vec<Group<'t, 'a>> {
        let tried: Option<HashSet<usize>> = match purpose {
            Purpose::Commit => None,
            Purpose::Probe(records) => Some(records.iter().copied().collect()),
        };
        let taken = |arrival: &usize| {
            let record = self.arrivals.record_of[*arrival];
            tried.as_ref().is_none_or(|tried| tried.contains(&record)) && !self.excluded.contains_key(&record)
        };
        grouped(self.arrivals, taken)
    }

    /// Returns whether the attempt takes all of the batch's records. Only then are chunks that were
    /// packed ahead right.
    pub(crate) fn is_whole(&self, purpose: Purpose<'_>) -> bool {
        purpose == Purpose::Commit && self.excluded.is_empty()
    }

    /// Adds the batch's counts to the report and to the ledger.
    ///
    /// Invariant: `records = events + duplicates + dead_letters + skipped`. The counts of the
    /// senders are in `report` already; here come the records that gave no event.
    ///
    /// A retried dead letter is in the ledger already, as one record and one dead letter. If it
    /// lands, both are taken back, and it counts as the event or duplicate that it is now. If it is
    /// refused again nothing moves.
    pub(crate) fn account(&self, batch: &mut Batch, report: &mut Report) {
        for (_, refused) in self
            .arrivals
            .refused
            .iter()
            .map(|refused| (&refused.record, &refused.refused))
            .chain(&self.excluded)
        {
            *report.dead_letters.entry(refused.reason).or_default() += 1;
        }
        let refused = (self.arrivals.refused.len() + self.excluded.len()) as i64;
        let skipped = self.arrivals.skipped as i64;
        let rest = Counts { records: refused + skipped, dead_letters: refused, skipped, ..Counts::default() };
        report.counts += rest;
        match self.accounting {
            Accounting::Source(source) => {
                batch.ledger.insert((*source).to_owned(), report.counts);
            }
            // The record was counted as a dead letter when it first came.
            Accounting::Retry { source, .. } if report.counts.dead_letters == 0 => {
                let mut moved = report.counts;
                moved.records -= 1;
                moved.dead_letters -= 1;
                batch.ledger.insert((*source).to_owned(), moved);
            }
            Accounting::Retry { .. } => {}
        }
    }
}
