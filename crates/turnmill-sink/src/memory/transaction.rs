//! A transaction of the memory store, which is undone unless it is committed.

use std::collections::BTreeMap;
use std::ops::Bound;

use turnmill_engine::Checkpoint;
use turnmill_model::tables::{EVENT_ERROR, Owner, PUBLIC, RASA_EVENT, RASA_SESSION, RASA_USER, Table};
use turnmill_model::{
    Changes, EventId, EventKey, EventTime, Key, PartitionId, SenderId, SessionId, Settings, TableChanges,
};
use uuid::Uuid;

use super::{MemoryStore, OwnedValue, Rows, State};
use crate::{
    Batch, Chunk, Claim, Counts, DeadLetter, EventLookup, HistoryPage, HistoryRequest, HistoryStretch,
    Locked, StoreError, StoredCopies, StoredPosition, Transaction, outbox,
};

/// The inverse of one step of a transaction.
#[derive(Debug)]
enum Undo {
    Row(&'static str, Box<str>, Option<Vec<OwnedValue>>),
    Timeline(SenderId, Option<(u64, Vec<u8>)>),
    Chunk((SenderId, u64), Option<Chunk>),
    Checkpoint((SenderId, EventTime), Option<Vec<u8>>),
    Position(PartitionId, Option<String>),
    Ledger(String, Option<Counts>),
    DeadLetter(u64, Option<Box<DeadLetter>>),
    Rebuild(Option<(Settings, Option<SenderId>)>),
    /// The newest entry of the outbox goes.
    Entry,
}
/// A transaction of a [`MemoryStore`], which has at most one at a time.
#[derive(Debug)]
pub struct MemoryTransaction<'s> {
    store: &'s MemoryStore,
    claim: &'s Claim,
    settings: Settings,
    patterns: u64,
    undo: Vec<Undo>,
    committed: bool,
}

impl<'s> MemoryTransaction<'s> {
    /// Begins a transaction, unless another one is under way or a position is not as claimed.
    pub(super) fn begin(store: &'s MemoryStore, claim: &'s Claim) -> Result<Self, StoreError> {
        let (settings, patterns) = store.with(|state| {
            let Some(settings) = state.row_settings() else {
                let detail = "the store in memory is not open".into();
                return Err(StoreError::Unusable { detail, source: None });
            };
            if state.busy {
                return Err(StoreError::Unavailable {
                    detail: "another transaction is open".into(),
                    source: None,
                });
            }
            for advance in &claim.advances {
                advance.check(state.positions.get(&advance.key).map(String::as_str))?;
            }
            state.busy = true;
            Ok((settings, state.patterns.revision))
        })?;
        Ok(MemoryTransaction { store, claim, settings, patterns, undo: Vec::new(), committed: false })
    }

    /// Does one step, and notes its inverse.
    fn step(&mut self, step: impl FnOnce(&mut State) -> Undo) -> Result<(), StoreError> {
        if self.store.fail_after.is_some_and(|limit| self.undo.len() as u64 >= limit) {
            return Err(StoreError::Unavailable { detail: "fail point".into(), source: None });
        }
        let undo = self.store.with(step);
        self.undo.push(undo);
        Ok(())
    }

    fn put(
        &mut self,
        table: &'static Table,
        key: &str,
        row: Option<Vec<OwnedValue>>,
    ) -> Result<(), StoreError> {
        self.step(|state| {
            let rows = state.tables.entry(table.name).or_default();
            let before = match row {
                Some(row) => rows.insert(key.into(), row),
                None => rows.remove(key),
            };
            Undo::Row(table.name, key.into(), before)
        })
    }

    fn get(&self, table: &Table, key: &str) -> Option<Vec<OwnedValue>> {
        self.store.with(|state| state.tables.get(table.name)?.get(key).cloned())
    }

    fn write_table(&mut self, changes: &TableChanges<'_>) -> Result<(), StoreError> {
        let table = changes.table;
        let rows = |view: turnmill_model::RowView<'_>| -> Vec<Vec<OwnedValue>> {
            let row = |row| (0..table.columns.len()).map(|column| view.value(row, column).into()).collect();
            (0..view.len()).map(row).collect()
        };
        for mut row in rows(changes.inserts) {
            if let (Some(refused), "rasa_user_message") = (&self.store.refused_text, table.name)
                && row.contains(&OwnedValue::Text(refused.clone()))
            {
                return Err(StoreError::Refused {
                    detail: format!("{} does not take `{refused}`", table.name),
                });
            }
            let key = key_of(&row);
            let stored = self.get(table, &key);
            if *table == RASA_USER {
                widen(&mut row, stored.as_deref());
            } else if stored.is_some() && table.name != "rasa_session_slot_state" {
                return Err(StoreError::Fenced {
                    detail: format!("{} has the row {key} already", table.name),
                });
            }
            self.put(table, &key, Some(row))?;
        }
        for row in rows(changes.updates) {
            let key = key_of(&row);
            self.stored(table, &key)?;
            self.put(table, &key, Some(row))?;
        }
        for end in changes.ends {
            let key = end.id.to_string();
            let mut row = self.stored(table, &key)?;
            if let Some(value) = table.column("end_sequence_number").and_then(|column| row.get_mut(column)) {
                *value = OwnedValue::Integer(end.end_sequence_number);
            }
            self.put(table, &key, Some(row))?;
        }
        Ok(())
    }

    fn delete_rows(&mut self, changes: &Changes) -> Result<(), StoreError> {
        let mut deletes = Vec::new();
        changes.for_each_table(|changes| {
            for key in changes.deletes {
                let key = match key {
                    Key::Id(id) => id.to_string(),
                    Key::Path(path) => changes.texts.get(*path).to_owned(),
                };
                deletes.push((changes.table, key));
            }
        });
        for (table, key) in deletes.into_iter().rev() {
            self.stored(table, &key)?;
            self.put(table, &key, None)?;
        }
        Ok(())
    }

    /// Deletes the sender's rows and checkpoints.
    fn clear_sender(&mut self, sender: SenderId) -> Result<(), StoreError> {
        let id = OwnedValue::Text(sender.to_string().into());
        // From the last table to the first: some rows lead to their sender through rows of an
        // earlier table.
        for table in PUBLIC.into_iter().chain([&EVENT_ERROR]).rev() {
            let Some(owner) = table.owner() else { continue };
            let mine: Vec<Box<str>> = self.store.with(|state| {
                let owned = |row: &[OwnedValue], column: usize, by: &'static Table| {
                    let key = match row.get(column) {
                        Some(OwnedValue::Text(key)) => key,
                        _ => return false,
                    };
                    let owner = state.tables.get(by.name).and_then(|rows| rows.get(key));
                    owner.and_then(|row| row.get(1)) == Some(&id)
                };
                let is_mine = |row: &[OwnedValue]| match owner {
                    Owner::Sender(column) => row.get(column) == Some(&id),
                    Owner::Session(column) => owned(row, column, &RASA_SESSION),
                    Owner::Event(column) => owned(row, column, &RASA_EVENT),
                };
                let rows = state.tables.get(table.name).into_iter().flatten();
                rows.filter(|(_, row)| is_mine(row)).map(|(key, _)| key.clone()).collect()
            });
            mine.iter().try_for_each(|key| self.put(table, key, None))?;
        }
        let checkpoints = self.store.with(|state| {
            state.checkpoints.keys().filter(|(owner, _)| *owner == sender).copied().collect::<Vec<_>>()
        });
        for key in checkpoints {
            self.step(|state| Undo::Checkpoint(key, state.checkpoints.remove(&key)))?;
        }
        Ok(())
    }

    fn stored(&self, table: &Table, key: &str) -> Result<Vec<OwnedValue>, StoreError> {
        let missing = || StoreError::Damaged { detail: format!("{} has no row {key}", table.name) };
        self.get(table, key).ok_or_else(missing)
    }
}

fn key_of(row: &[OwnedValue]) -> Box<str> {
    match row.first() {
        Some(OwnedValue::Text(key)) => key.clone(),
        _ => "".into(),
    }
}
/// Widens a row of `rasa_user`: least `first_seen`, greatest `last_seen`.
fn widen(row: &mut [OwnedValue], stored: Option<&[OwnedValue]>) {
    if let (Some(stored), [_, _, first, last]) = (stored, row)
        && let [_, _, OwnedValue::DateTime(stored_first), OwnedValue::DateTime(stored_last)] = stored
        && let (OwnedValue::DateTime(first), OwnedValue::DateTime(last)) = (first, last)
    {
        *first = (*first).min(*stored_first);
        *last = (*last).max(*stored_last);
    }
}

impl Drop for MemoryTransaction<'_> {
    fn drop(&mut self) {
        let undo = if self.committed { Vec::new() } else { std::mem::take(&mut self.undo) };
        self.store.with(|state| {
            for step in undo.into_iter().rev() {
                state.take_back(step);
            }
            state.busy = false;
        });
    }
}

fn restore<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, before: Option<V>) {
    match before {
        Some(before) => map.insert(key, before),
        None => map.remove(&key),
    };
}

impl State {
    /// Returns the settings of the rows that are written now; `None` before the store is opened.
    fn row_settings(&self) -> Option<Settings> {
        self.rebuild.as_ref().map(|(target, _)| target).or(self.settings.as_ref()).cloned()
    }

    pub(super) fn stored_positions(&self) -> Vec<StoredPosition> {
        let stored = |(key, position): (&PartitionId, &String)| StoredPosition {
            key: key.clone(),
            position: position.clone(),
        };
        self.positions.iter().map(stored).collect()
    }

    fn take_back(&mut self, step: Undo) {
        match step {
            Undo::Row(table, key, before) => restore(self.tables.entry(table).or_default(), key, before),
            Undo::Timeline(key, before) => restore(&mut self.timelines, key, before),
            Undo::Chunk(key, before) => restore(&mut self.history, key, before),
            Undo::Checkpoint(key, before) => restore(&mut self.checkpoints, key, before),
            Undo::Position(key, before) => restore(&mut self.positions, key, before),
            Undo::Ledger(key, before) => restore(&mut self.ledger, key, before),
            Undo::DeadLetter(key, before) => {
                restore(&mut self.dead_letters, key, before.map(|letter| *letter));
            }
            Undo::Rebuild(before) => self.rebuild = before,
            Undo::Entry => self.outbox.take_back(),
        }
    }

    /// Returns a page of a sender's history.
    fn page(&self, request: &HistoryRequest) -> HistoryPage {
        let HistoryRequest { sender, since, skip, limit } = *request;
        let mine = self.checkpoints.iter().filter(|((owner, _), _)| *owner == sender);
        let (before, after): (Vec<_>, Vec<_>) = mine
            .map(|((_, time), state)| Checkpoint { time: *time, state: state.clone() })
            .partition(|checkpoint| since.is_some_and(|since| checkpoint.time <= since));
        let start = before.into_iter().next_back();
        let from = start.as_ref().map(|start| start.time);
        let mut chunks: Vec<_> = self
            .history
            .range((sender, 0)..=(sender, u64::MAX))
            .map(|(_, chunk)| chunk)
            .filter(|chunk| from.is_none_or(|from| chunk.greatest >= from))
            .collect();
        chunks.sort_by_key(|chunk| (chunk.least, chunk.number));
        HistoryPage {
            start,
            checkpoints: if skip == 0 { after } else { Vec::new() },
            next: chunks.get(skip + limit).map(|chunk| chunk.least),
            chunks: chunks.into_iter().skip(skip).take(limit).cloned().collect(),
        }
    }
}

impl Transaction for MemoryTransaction<'_> {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn patterns_revision(&self) -> u64 {
        self.patterns
    }

    async fn timelines(&mut self) -> Result<Vec<Locked>, StoreError> {
        Ok(self.store.with(|state| {
            let locked = |claim: &crate::SenderClaim| match state.timelines.get(&claim.sender) {
                None => Locked::Absent,
                Some((version, _)) if Some(*version) == claim.cached => Locked::Current,
                Some((version, bytes)) => Locked::Loaded { version: *version, state: bytes.clone() },
            };
            self.claim.senders.iter().map(locked).collect()
        }))
    }

    async fn known(&mut self, events: &[EventLookup]) -> Result<Vec<StoredCopies>, StoreError> {
        let known = |rows: Option<&Rows>, sender: SenderId, key: EventKey| {
            let sender = OwnedValue::Text(sender.to_string().into());
            let (first, last) = (key.first().to_string(), key.last().to_string());
            let range = rows
                .into_iter()
                .flat_map(|rows| rows.range::<str, _>((Bound::Included(&*first), Bound::Included(&*last))));
            let mine = range.filter(|(_, row)| row.get(1) == Some(&sender));
            let ids = mine.filter_map(|(id, _)| Uuid::parse_str(id).ok().map(EventId)).collect();
            StoredCopies { ids }
        };
        Ok(self.store.with(|state| {
            let rows = state.tables.get(RASA_EVENT.name);
            events.iter().map(|event| known(rows, event.sender, event.key)).collect()
        }))
    }

    async fn session_owners(&mut self, ids: &[SessionId]) -> Result<Vec<Option<SenderId>>, StoreError> {
        let owner = |id: &SessionId| match self.get(&RASA_SESSION, &id.to_string())?.get(1)? {
            OwnedValue::Text(owner) => Uuid::parse_str(owner).ok().map(SenderId),
            _ => None,
        };
        Ok(ids.iter().map(owner).collect())
    }

    async fn histories(&mut self, requests: &[HistoryRequest]) -> Result<Vec<HistoryPage>, StoreError> {
        Ok(self.store.with(|state| requests.iter().map(|request| state.page(request)).collect()))
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        for sender in batch.cleared.iter().chain(&batch.forgotten) {
            self.clear_sender(*sender)?;
        }
        for sender in &batch.forgotten {
            self.step(|state| Undo::Timeline(*sender, state.timelines.remove(sender)))?;
            let chunks = self.store.with(|state| {
                state.history.keys().filter(|(owner, _)| owner == sender).copied().collect::<Vec<_>>()
            });
            for key in chunks {
                self.step(|state| Undo::Chunk(key, state.history.remove(&key)))?;
            }
        }
        if let Some(sender) = batch.rebuilt {
            self.step(|state| {
                let before = state.rebuild.clone();
                if let Some((_, after)) = &mut state.rebuild {
                    *after = Some(sender);
                }
                Undo::Rebuild(before)
            })?;
        }
        let mut result = Ok(());
        batch.changes.for_each_table(|changes| {
            if result.is_ok() {
                result = self.write_table(&changes);
            }
        });
        result?;
        self.delete_rows(&batch.changes)?;
        for timeline in &batch.timelines {
            let (sender, version) = (timeline.sender, timeline.version);
            let state = (version, timeline.state.clone());
            self.step(|store| Undo::Timeline(sender, store.timelines.insert(sender, state)))?;
        }
        for write in &batch.history {
            let key = (write.sender, write.chunk.number);
            if write.replaces && !self.store.with(|state| state.history.contains_key(&key)) {
                let detail = format!("chunk {} of sender {} is missing", write.chunk.number, write.sender);
                return Err(StoreError::Damaged { detail });
            }
            self.step(|state| Undo::Chunk(key, state.history.insert(key, write.chunk.clone())))?;
        }
        for write in &batch.checkpoints {
            let HistoryStretch { after, before } = write.stretch;
            let inside = |time: EventTime| {
                after.is_none_or(|after| time > after) && before.is_none_or(|before| time < before)
            };
            let gone: Vec<_> = self.store.with(|state| {
                state
                    .checkpoints
                    .keys()
                    .filter(|(s, time)| *s == write.sender && inside(*time))
                    .copied()
                    .collect()
            });
            for key in gone {
                self.step(|state| Undo::Checkpoint(key, state.checkpoints.remove(&key)))?;
            }
            for checkpoint in &write.checkpoints {
                let (key, state) = ((write.sender, checkpoint.time), checkpoint.state.clone());
                self.step(|store| Undo::Checkpoint(key, store.checkpoints.insert(key, state)))?;
            }
        }
        for id in &batch.retried {
            if !self.store.with(|state| state.dead_letters.contains_key(id)) {
                return Err(StoreError::Fenced {
                    detail: format!("dead letter {id} was retried by another process"),
                });
            }
            self.step(|state| Undo::DeadLetter(*id, state.dead_letters.remove(id).map(Box::new)))?;
        }
        let mut letters = Vec::with_capacity(batch.dead_letters.len());
        for letter in &batch.dead_letters {
            self.step(|state| {
                state.last_dead_letter += 1;
                let id = state.last_dead_letter;
                letters.push(id);
                state.dead_letters.insert(id, DeadLetter { id, ..letter.clone() });
                Undo::DeadLetter(id, None)
            })?;
        }
        for (source, counts) in &batch.ledger {
            self.step(|state| {
                let before = state.ledger.get(source).copied();
                *state.ledger.entry(source.clone()).or_default() += *counts;
                Undo::Ledger(source.clone(), before)
            })?;
        }
        let wanted = self.store.with(|state| state.outbox.wanted());
        if wanted.any()
            && let Some(entry) = outbox::encode(batch, wanted, &letters)
        {
            self.step(|state| {
                state.outbox.push(entry);
                Undo::Entry
            })?;
        }
        for advance in &self.claim.advances {
            let (key, to) = (advance.key.clone(), advance.to.clone());
            self.step(|state| Undo::Position(key.clone(), state.positions.insert(key, to)))?;
        }
        Ok(())
    }

    async fn commit(mut self) -> Result<(), StoreError> {
        self.committed = true;
        self.store.with(|state| state.outbox.drop_what_is_beyond_bounds());
        Ok(())
    }
}
