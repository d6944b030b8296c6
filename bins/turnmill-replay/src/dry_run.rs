//! `--dry-run`: reads and decodes without a store.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use turnmill_ingest::{Arrivals, RefusedRecord};
use turnmill_model::{Decoders, Reason};
use turnmill_source::{RecordBatch, RecordOutcome};

use crate::progress::{counted, grouped, without_events};
use crate::summary::{complaints, dead_letters};

/// Counts of the records in the inputs.
#[derive(Debug, Default)]
pub(crate) struct Found {
    records: u64,
    events: BTreeMap<String, u64>,
    refused: BTreeMap<Reason, u64>,
    skipped: u64,
    without_events: u64,
    refused_files: Vec<String>,
}

impl Found {
    /// Creates empty counts, with the error messages of skipped files.
    pub(crate) fn new(refused_files: Vec<String>) -> Self {
        Self { refused_files, ..Self::default() }
    }

    /// Counts the records of a batch.
    pub(crate) fn add(&mut self, batch: &RecordBatch, decoders: &Decoders) {
        let mut arrivals = Arrivals::default();
        for record in batch.iter() {
            match record.outcome {
                RecordOutcome::Body => arrivals.push(decoders, record.record()),
                RecordOutcome::Refused(refused) => {
                    arrivals.push_refused(record.record(), refused.clone());
                }
                RecordOutcome::Skipped => arrivals.push_skipped(),
            }
        }
        self.without_events += without_events(batch);
        self.records += arrivals.len() as u64;
        self.skipped += arrivals.skipped() as u64;
        for event in arrivals.events() {
            *self.events.entry(event.event_type.clone().into_owned()).or_default() += 1;
        }
        for RefusedRecord { refused, .. } in arrivals.refused() {
            *self.refused.entry(refused.reason).or_default() += 1;
        }
    }

    /// Returns the report as text.
    pub(crate) fn text(&self) -> String {
        let mut lines = complaints(&self.refused_files, self.without_events);
        if !self.refused.is_empty() {
            let count = self.refused.values().sum();
            lines.push(format!("{} would be {}", counted(count, "record"), dead_letters(count)));
            for (reason, count) in &self.refused {
                lines.push(format!("  {:<28} {:>12}", reason.as_str(), grouped(*count)));
            }
        }
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.push(format!("{}; nothing was written\n", counted(self.records, "record")));
        let mut row = |name: &str, count: u64| lines.push(format!("  {name:<28} {:>12}", grouped(count)));
        self.events.iter().for_each(|(name, count)| row(name, *count));
        if self.skipped > 0 {
            row("(skipped)", self.skipped);
        }
        lines.push(String::new());
        lines.join("\n")
    }

    /// Returns the report as JSON.
    pub(crate) fn json(&self) -> Value {
        let refused: BTreeMap<_, _> =
            self.refused.iter().map(|(reason, count)| (reason.as_str(), count)).collect();
        json!({
            "records": self.records,
            "events": self.events.values().sum::<u64>(),
            "events_by_type": self.events,
            "dead_letters": self.refused.values().sum::<u64>(),
            "dead_letters_by_reason": refused,
            "skipped": self.skipped,
            "trackers_without_events": self.without_events,
            "refused_files": self.refused_files,
        })
    }
}
