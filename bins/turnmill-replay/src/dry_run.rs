//! `--dry-run`: reading and decoding without a store.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use turnmill_model::{Decoder, Reason};
use turnmill_sink::ingest::Arrivals;
use turnmill_source::{RecordBatch, RecordOutcome};

use crate::progress::grouped;

/// What the inputs hold.
#[derive(Debug, Default)]
pub(crate) struct Found {
    records: u64,
    events: BTreeMap<String, u64>,
    refused: BTreeMap<Reason, u64>,
    skipped: u64,
}

impl Found {
    /// Adds what a batch holds.
    pub(crate) fn add(&mut self, batch: &RecordBatch, decoder: &dyn Decoder) {
        let mut arrivals = Arrivals::default();
        for record in batch.iter() {
            match record.outcome {
                RecordOutcome::Body => arrivals.push(decoder, record.record()),
                RecordOutcome::Refused(refused) => {
                    arrivals.push_refused(record.record(), refused.clone());
                }
                RecordOutcome::Skipped => arrivals.push_skipped(),
            }
        }
        self.records += arrivals.len() as u64;
        self.skipped += arrivals.skipped() as u64;
        for event in arrivals.events() {
            *self.events.entry(event.event_type.clone().into_owned()).or_default() += 1;
        }
        for (_, refused) in arrivals.refused() {
            *self.refused.entry(refused.reason).or_default() += 1;
        }
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut lines =
            vec![format!("{} records; nothing was written\n", grouped(self.records)), "Events".into()];
        let mut row = |name: &str, count: u64| lines.push(format!("  {name:<28} {:>12}", grouped(count)));
        self.events.iter().for_each(|(name, count)| row(name, *count));
        if self.skipped > 0 {
            row("(skipped)", self.skipped);
        }
        if !self.refused.is_empty() {
            lines.push("\nWould be dead letters".into());
            for (reason, count) in &self.refused {
                lines.push(format!("  {:<28} {:>12}", reason.as_str(), grouped(*count)));
            }
        }
        lines.push(String::new());
        lines.join("\n")
    }

    /// For programs.
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
        })
    }
}
