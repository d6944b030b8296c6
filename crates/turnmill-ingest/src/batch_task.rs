//! A batch to ingest, and what of it an attempt is about.

use std::collections::{BTreeMap, HashSet};

use turnmill_model::Refused;
use turnmill_sink::{Advance, Batch, Counts};

use crate::accounting::Accounting;
use crate::arrivals::{Arrivals, MakeDeadLetter};
use crate::groups::{Group, grouped};
use crate::report::Report;

/// What an attempt is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Purpose<'p> {
    /// Write everything and commit.
    Commit,
    /// Only see whether the rows of these records would be accepted.
    Probe(&'p [usize]),
}

/// A batch to ingest.
pub(crate) struct BatchTask<'t, 'a> {
    pub(crate) arrivals: &'t Arrivals<'a>,
    pub(crate) advances: &'t [Advance],
    pub(crate) accounting: &'t Accounting<'t>,
    pub(crate) letters: &'t dyn MakeDeadLetter,
    /// Records that the store refuses.
    pub(crate) excluded: BTreeMap<usize, Refused>,
}

impl<'t, 'a> BatchTask<'t, 'a> {
    /// The events by sender and key.
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

    /// Whether these are all of the batch's records.
    pub(crate) fn is_whole(&self, purpose: Purpose<'_>) -> bool {
        purpose == Purpose::Commit && self.excluded.is_empty()
    }

    /// Adds the counts to the ledger.
    pub(crate) fn account(&self, batch: &mut Batch, report: &mut Report) {
        for (_, refused) in
            self.arrivals.refused.iter().map(|(record, refused)| (record, refused)).chain(&self.excluded)
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
            // The record is counted already, as a dead letter.
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
