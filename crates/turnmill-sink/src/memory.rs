//! A store in memory: for tests, for embedders that keep the rows themselves, and as the simplest
//! example of the contract.

mod outbox;
mod transaction;
mod upkeep;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use turnmill_model::tables::{EVENT_ERROR, Value};
use turnmill_model::{EventTime, Micros, PartitionId, SenderId, Settings};

use crate::{Chunk, Claim, Counts, DeadLetter, Opened, PatternSet, Store, StoreError};

pub use self::transaction::MemoryTransaction;

/// A value of a stored row.
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
    /// Returns the value, borrowed.
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

/// A store in memory. Clones are handles of the same store, like connections of a database.
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
    /// Number of statements after which writing fails, for tests.
    fail_after: Option<u64>,
    /// A message text that this store refuses, for tests.
    refused_text: Option<Box<str>>,
}

#[derive(Debug, Default)]
struct State {
    busy: bool,
    settings: Option<Settings>,
    /// The settings of a rebuild under way, with the last sender that is done.
    rebuild: Option<(Settings, Option<SenderId>)>,
    patterns: PatternSet,
    swept_patterns: u64,
    tables: BTreeMap<&'static str, Rows>,
    timelines: BTreeMap<SenderId, (u64, Vec<u8>)>,
    history: BTreeMap<(SenderId, u64), Chunk>,
    checkpoints: BTreeMap<(SenderId, EventTime), Vec<u8>>,
    positions: BTreeMap<PartitionId, String>,
    ledger: BTreeMap<String, Counts>,
    dead_letters: BTreeMap<u64, DeadLetter>,
    last_dead_letter: u64,
    outbox: self::outbox::Kept,
}

impl MemoryStore {
    /// Makes every transaction from now on fail after this many changed rows; `None` ends that. For
    /// tests of a program that uses a store.
    pub fn fail_after(&mut self, statements: Option<u64>) {
        self.fail_after = statements;
    }

    /// Makes every transaction from now on refuse rows of `rasa_user_message` with this text, as a
    /// CHECK of a database would. `None` ends that. For tests.
    pub fn refuse_text(&mut self, text: Option<&str>) {
        self.refused_text = text.map(Into::into);
    }

    /// Returns the rows of `table`, for tests and embedders.
    #[must_use]
    pub fn rows(&self, table: &str) -> Rows {
        self.with(|state| state.tables.get(table).cloned().unwrap_or_default())
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        // A panic elsewhere leaves a consistent state, because transactions are undone on drop.
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the ids of events with an error row, ascending.
    #[must_use]
    pub fn event_errors(&self) -> Vec<Box<str>> {
        self.rows(EVENT_ERROR.name).into_keys().collect()
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
            Ok(Opened { positions: state.stored_positions() })
        })
    }

    async fn patterns(&mut self) -> Result<PatternSet, StoreError> {
        Ok(self.with(|state| state.patterns.clone()))
    }

    async fn begin<'s>(&'s mut self, claim: &'s Claim) -> Result<Self::Tx<'s>, StoreError> {
        MemoryTransaction::begin(self, claim)
    }
}
