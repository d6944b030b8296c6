//! Patterns, rebuilds and inspection of the memory store.

use std::collections::BTreeMap;

use turnmill_model::tables::{PUBLIC, RASA_PATTERNS};
use turnmill_model::{SenderId, Settings};

use super::{MemoryStore, OwnedValue};
use crate::digest::Digests;
use crate::{
    Counts, DeadLetter, Inspect, LedgerEntry, PatternSet, RebuildState, StoreError, StoredPattern,
    StoredPosition, Upkeep, outbox,
};

impl Upkeep for MemoryStore {
    async fn senders(&mut self, after: Option<SenderId>, limit: usize) -> Result<Vec<SenderId>, StoreError> {
        let later = |sender: &&SenderId| after.is_none_or(|after| **sender > after);
        Ok(self.with(|state| state.timelines.keys().filter(later).take(limit).copied().collect()))
    }

    async fn swept_patterns(&mut self) -> Result<u64, StoreError> {
        Ok(self.with(|state| state.swept_patterns))
    }

    async fn note_swept_patterns(&mut self, revision: u64) -> Result<(), StoreError> {
        self.with(|state| state.swept_patterns = revision);
        Ok(())
    }

    async fn write_patterns(&mut self, from: u64, set: &PatternSet) -> Result<(), StoreError> {
        self.with(|state| {
            if state.busy {
                return Err(StoreError::Unavailable {
                    detail: "another transaction is open".into(),
                    source: None,
                });
            }
            if state.patterns.revision != from {
                return Err(StoreError::patterns_changed(state.patterns.revision, from));
            }
            state.patterns = set.clone();
            let rows = state.tables.entry(RASA_PATTERNS.name).or_default();
            for pattern in &set.patterns {
                rows.insert(pattern.id.to_string().into(), pattern_row(pattern));
            }
            let wanted = state.outbox.wanted();
            if let Some(entry) = outbox::encode_patterns(set, wanted) {
                state.outbox.push(entry);
            }
            Ok(())
        })
    }

    async fn begin_rebuild(&mut self, settings: &Settings) -> Result<RebuildState, StoreError> {
        Ok(self.with(|state| {
            let stored = state.settings.get_or_insert_with(|| settings.clone()).clone();
            let under_way = state.rebuild.take().filter(|(target, _)| target == settings);
            let after = under_way.and_then(|(_, after)| after);
            state.rebuild = Some((settings.clone(), after));
            RebuildState { stored, assistant: None, after }
        }))
    }

    async fn end_rebuild(&mut self, settings: &Settings) -> Result<(), StoreError> {
        self.with(|state| {
            state.settings = Some(settings.clone());
            state.rebuild = None;
        });
        Ok(())
    }
}

impl Inspect for MemoryStore {
    async fn digests(&mut self) -> Result<Digests, StoreError> {
        Ok(self.with(|state| {
            let mut digests = Digests::default();
            for table in PUBLIC {
                for row in state.tables.get(table.name).into_iter().flat_map(BTreeMap::values) {
                    digests.add(table, row.iter().map(OwnedValue::as_value));
                }
            }
            digests
        }))
    }

    async fn ledger(&mut self) -> Result<Vec<LedgerEntry>, StoreError> {
        let entry =
            |(source, counts): (&String, &Counts)| LedgerEntry { source: source.clone(), counts: *counts };
        Ok(self.with(|state| state.ledger.iter().map(entry).collect()))
    }

    async fn dead_letters(&mut self, after: u64, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(self.with(|state| {
            state.dead_letters.range(after + 1..).take(limit).map(|(_, l)| l.clone()).collect()
        }))
    }

    async fn positions(&mut self) -> Result<Vec<StoredPosition>, StoreError> {
        Ok(self.with(|state| state.stored_positions()))
    }
}

fn pattern_row(pattern: &StoredPattern) -> Vec<OwnedValue> {
    let text = |text: &str| OwnedValue::Text(text.into());
    vec![
        text(&pattern.id.to_string()),
        text(&pattern.name),
        pattern.description.as_deref().map_or(OwnedValue::Null, text),
        text(&pattern.config),
        OwnedValue::Boolean(pattern.is_active),
        OwnedValue::DateTime(pattern.created_at),
        OwnedValue::DateTime(pattern.updated_at),
    ]
}
