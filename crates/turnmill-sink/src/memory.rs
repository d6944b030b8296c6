//! A store in memory: for tests, for embedders that keep the rows themselves, and as the plainest example of the contract.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use turnmill_engine::Checkpoint;
use turnmill_model::tables::{
    EVENT_ERROR, PUBLIC, RASA_EVENT, RASA_PATTERNS, RASA_SENDER, RASA_SESSION, RASA_USER, Table, Value,
};
use turnmill_model::{Changes, EventId, EventTime, Key, Micros, SenderId, SessionId, Settings, TableChanges};
use uuid::Uuid;

use crate::digest::Digests;
use crate::{
    Batch, Chunk, Claim, Counts, DeadLetter, HistoryPage, HistoryRequest, Inspect, Locked, Opened,
    PatternSet, PositionKey, RebuildState, Store, StoreError, StoredPattern, Transaction, Upkeep,
};

/// A value of a kept row.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnedValue {
    /// NULL
    Null,
    /// A UUID or a text.
    Text(Box<str>),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// A time.
    DateTime(Micros),
    /// A truth value.
    Boolean(bool),
}

impl From<Value<'_>> for OwnedValue {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Id(id) => Self::Text(id.to_string().into()),
            Value::Text(text) => Self::Text(text.into()),
            Value::Integer(number) => Self::Integer(number),
            Value::Float(number) => Self::Float(number),
            Value::DateTime(time) => Self::DateTime(time),
            Value::Boolean(truth) => Self::Boolean(truth),
        }
    }
}

impl OwnedValue {
    /// The value, borrowed.
    #[must_use]
    pub fn as_value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Text(text) => Value::Text(text),
            Self::Integer(number) => Value::Integer(*number),
            Self::Float(number) => Value::Float(*number),
            Self::DateTime(time) => Value::DateTime(*time),
            Self::Boolean(truth) => Value::Boolean(*truth),
        }
    }
}

/// The rows of one table, by primary key.
pub type Rows = BTreeMap<Box<str>, Vec<OwnedValue>>;

/// A store in memory. Clones are handles of the same store, as connections are of a database.
///
/// ```
/// use turnmill_sink::{MemoryStore, Store};
/// # pollster::block_on(async {
/// let mut store = MemoryStore::default();
/// let opened = store.open(&turnmill_model::Settings::default()).await?;
/// assert!(opened.positions.is_empty());
/// # Ok::<(), turnmill_sink::StoreError>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    /// Statements after which writing fails, for tests.
    fail_after: Option<u64>,
    /// A message text that this store refuses, for tests.
    refused_text: Option<Box<str>>,
}

#[derive(Debug, Default)]
struct State {
    busy: bool,
    settings: Option<Settings>,
    /// The settings of a rebuild under way, and the last sender that is done.
    rebuild: Option<(Settings, Option<SenderId>)>,
    patterns: PatternSet,
    swept_patterns: u64,
    tables: BTreeMap<&'static str, Rows>,
    timelines: BTreeMap<SenderId, (u64, Vec<u8>)>,
    history: BTreeMap<(SenderId, u64), Chunk>,
    checkpoints: BTreeMap<(SenderId, EventTime), Vec<u8>>,
    positions: BTreeMap<PositionKey, String>,
    ledger: BTreeMap<String, Counts>,
    dead_letters: BTreeMap<u64, DeadLetter>,
    last_dead_letter: u64,
}

/// How to take back one step of a transaction.
#[derive(Debug)]
enum Undo {
    Row(&'static str, Box<str>, Option<Vec<OwnedValue>>),
    Timeline(SenderId, Option<(u64, Vec<u8>)>),
    Chunk((SenderId, u64), Option<Chunk>),
    Checkpoint((SenderId, EventTime), Option<Vec<u8>>),
    Position(PositionKey, Option<String>),
    Ledger(String, Option<Counts>),
    DeadLetter(u64, Option<DeadLetter>),
    Rebuild(Option<(Settings, Option<SenderId>)>),
}

impl MemoryStore {
    /// Makes every transaction from now on fail after so many changed rows; `None` ends that. For tests of whoever uses a
    /// store.
    pub fn fail_after(&mut self, statements: Option<u64>) {
        self.fail_after = statements;
    }

    /// Makes every transaction from now on refuse rows of `rasa_user_message` with this text, as a CHECK of a database would.
    /// For tests.
    pub fn refuse_text(&mut self, text: Option<&str>) {
        self.refused_text = text.map(Into::into);
    }

    /// The rows of `table`, for tests and embedders.
    #[must_use]
    pub fn rows(&self, table: &str) -> Rows {
        self.with(|state| state.tables.get(table).cloned().unwrap_or_default())
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        // A panic elsewhere leaves the state as it was: transactions are undone on drop.
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store for MemoryStore {
    type Tx<'s> = MemoryTransaction<'s>;

    async fn open(&mut self, settings: &Settings) -> Result<Opened, StoreError> {
        self.with(|state| {
            match (&state.settings, &state.rebuild) {
                (Some(stored), Some((target, _))) if stored != target => {
                    return Err(StoreError::rebuild_under_way());
                }
                (Some(stored), _) => crate::check_settings(stored, settings)?,
                (None, _) => state.settings = Some(settings.clone()),
            }
            let positions = state.positions.iter().map(|(key, at)| (key.clone(), at.clone())).collect();
            Ok(Opened { positions })
        })
    }

    async fn patterns(&mut self) -> Result<PatternSet, StoreError> {
        Ok(self.with(|state| state.patterns.clone()))
    }

    async fn begin<'s>(&'s mut self, claim: &'s Claim) -> Result<Self::Tx<'s>, StoreError> {
        self.with(|state| {
            if state.busy {
                return Err(StoreError::Unavailable {
                    detail: "another transaction is open".into(),
                    source: None,
                });
            }
            for advance in &claim.advances {
                let stored = state.positions.get(&advance.key);
                if stored != advance.from.as_ref() {
                    let detail = format!("{} stands at {stored:?}, expected {:?}", advance.key, advance.from);
                    return Err(StoreError::Fenced { detail });
                }
            }
            state.busy = true;
            Ok(())
        })?;
        let patterns = self.with(|state| state.patterns.revision);
        Ok(MemoryTransaction { store: self, claim, patterns, undo: Vec::new(), committed: false })
    }
}

/// A transaction of a [`MemoryStore`]; only one at a time.
#[derive(Debug)]
pub struct MemoryTransaction<'s> {
    store: &'s MemoryStore,
    claim: &'s Claim,
    patterns: u64,
    undo: Vec<Undo>,
    committed: bool,
}

impl MemoryTransaction<'_> {
    /// Does one step and notes how to take it back.
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

    /// Removes the sender's rows and checkpoints.
    fn clear_sender(&mut self, sender: SenderId) -> Result<(), StoreError> {
        let id = OwnedValue::Text(sender.to_string().into());
        for table in PUBLIC.into_iter().chain([&EVENT_ERROR]) {
            let column = if *table == RASA_SENDER { Some(0) } else { table.column("sender_id") };
            let Some(column) = column else { continue };
            let mine: Vec<Box<str>> = self.store.with(|state| {
                let rows = state.tables.get(table.name).into_iter().flatten();
                rows.filter(|(_, row)| row.get(column) == Some(&id)).map(|(key, _)| key.clone()).collect()
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

/// `rasa_user` rows: least `first_seen`, greatest `last_seen`.
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
    fn take_back(&mut self, step: Undo) {
        match step {
            Undo::Row(table, key, before) => restore(self.tables.entry(table).or_default(), key, before),
            Undo::Timeline(key, before) => restore(&mut self.timelines, key, before),
            Undo::Chunk(key, before) => restore(&mut self.history, key, before),
            Undo::Checkpoint(key, before) => restore(&mut self.checkpoints, key, before),
            Undo::Position(key, before) => restore(&mut self.positions, key, before),
            Undo::Ledger(key, before) => restore(&mut self.ledger, key, before),
            Undo::DeadLetter(key, before) => restore(&mut self.dead_letters, key, before),
            Undo::Rebuild(before) => self.rebuild = before,
        }
    }
}

impl Transaction for MemoryTransaction<'_> {
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

    async fn known(&mut self, ids: &[EventId]) -> Result<Vec<bool>, StoreError> {
        Ok(ids.iter().map(|id| self.get(&RASA_EVENT, &id.to_string()).is_some()).collect())
    }

    async fn session_owners(&mut self, ids: &[SessionId]) -> Result<Vec<Option<SenderId>>, StoreError> {
        let owner = |id: &SessionId| match self.get(&RASA_SESSION, &id.to_string())?.get(1)? {
            OwnedValue::Text(owner) => Uuid::parse_str(owner).ok().map(SenderId),
            _ => None,
        };
        Ok(ids.iter().map(owner).collect())
    }

    async fn history(&mut self, request: &HistoryRequest) -> Result<HistoryPage, StoreError> {
        Ok(self.store.with(|state| {
            let HistoryRequest { sender, since, skip, limit } = *request;
            let mine = state.checkpoints.iter().filter(|((owner, _), _)| *owner == sender);
            let (before, after): (Vec<_>, Vec<_>) = mine
                .map(|((_, time), state)| Checkpoint { time: *time, state: state.clone() })
                .partition(|checkpoint| since.is_some_and(|since| checkpoint.time <= since));
            let start = before.into_iter().next_back();
            let from = start.as_ref().map(|start| start.time);
            let mut chunks: Vec<_> = state
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
        }))
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
            self.step(|state| Undo::Chunk(key, state.history.insert(key, write.chunk.clone())))?;
        }
        for write in &batch.checkpoints {
            let (after, before) = write.stretch;
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
                    detail: format!("dead letter {id} has been retried elsewhere"),
                });
            }
            self.step(|state| Undo::DeadLetter(*id, state.dead_letters.remove(id)))?;
        }
        for letter in &batch.dead_letters {
            self.step(|state| {
                state.last_dead_letter += 1;
                let id = state.last_dead_letter;
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
        for advance in &self.claim.advances {
            let (key, to) = (advance.key.clone(), advance.to.clone());
            self.step(|state| Undo::Position(key.clone(), state.positions.insert(key, to)))?;
        }
        Ok(())
    }

    async fn commit(mut self) -> Result<(), StoreError> {
        self.committed = true;
        Ok(())
    }
}

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
            Ok(())
        })
    }

    async fn begin_rebuild(&mut self, settings: &Settings) -> Result<RebuildState, StoreError> {
        Ok(self.with(|state| {
            let stored = state.settings.get_or_insert_with(|| settings.clone()).clone();
            let under_way = state.rebuild.take().filter(|(target, _)| target == settings);
            let after = under_way.and_then(|(_, after)| after);
            state.rebuild = Some((settings.clone(), after));
            RebuildState { stored, after }
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

    async fn ledger(&mut self) -> Result<Vec<(String, Counts)>, StoreError> {
        Ok(self.with(|state| state.ledger.iter().map(|(source, counts)| (source.clone(), *counts)).collect()))
    }

    async fn dead_letters(&mut self, after: u64, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(self.with(|state| {
            state.dead_letters.range(after + 1..).take(limit).map(|(_, l)| l.clone()).collect()
        }))
    }

    async fn positions(&mut self) -> Result<Vec<(PositionKey, String)>, StoreError> {
        Ok(self.with(|state| state.positions.iter().map(|(key, at)| (key.clone(), at.clone())).collect()))
    }
}

/// The ids of events of which an effect could not be had.
impl MemoryStore {
    /// Ids of events with an error row, ascending.
    #[must_use]
    pub fn event_errors(&self) -> Vec<Box<str>> {
        self.rows(EVENT_ERROR.name).into_keys().collect()
    }
}
