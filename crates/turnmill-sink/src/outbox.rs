//! The outbox: changes that a store keeps for its sinks.
//!
//! A store with sinks writes the changes of every transaction to the outbox, as a numbered entry in
//! the same transaction. A runner uses [`Outbox`] to list the sinks, to read the entries that a
//! sink does not have yet, and to move the position of a sink. Entries that every sink has are
//! deleted.
//!
//! # Encoding
//!
//! An entry contains the names of its tables and columns, so every later version can read it.
//! [`ChangeBatch::from_bytes`] reads it. A [`ChangeBatch`] serialises as JSON.
//!
//! ```text
//! entry     = version: 1 byte (1)  codec: 1 byte  body
//! codec     = 0: plain | 1: LZ4 block, preceded by its size
//! body      = operation*
//! operation = kind: 1 byte (0 reset, 1 clear, 2 put, 3 merge, 4 set, 5 delete)
//!             table: text  columns: varint, text*  rows: varint, value* (row by row)
//! text      = length: varint  UTF-8
//! value     = 0 NULL | 1 text | 2 UUID of 16 bytes | 3 integer: zigzag varint
//!           | 4 float: 8 bytes, little-endian | 5 microseconds since 1970: zigzag varint
//!           | 6 false | 7 true | 8 length: varint, bytes
//! varint    = LEB128
//! ```

mod batch;
mod change;
mod encoding;
mod position;
mod reader;
mod snapshot;

use std::future::Future;
use std::time::Duration;

use turnmill_model::tables::Table;

pub use self::batch::{ChangeBatch, RowChange, TableOperation};
pub use self::change::{ChangeValue, DEAD_LETTER_COLUMNS, DEAD_LETTERS, Operation, Origin, columns};
pub use self::encoding::{VERSION, encode, encode_patterns, read_headers};
pub use self::position::{SinkPosition, SnapshotCursor};
pub use self::snapshot::snapshot_page;
use crate::{Inspect, Store, StoreError};

/// Which changes a sink receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The rows of all public tables, and dead letters.
    All,
    /// Dead letters only. Rows are then not written to the outbox, unless another sink needs them.
    DeadLetters,
}

impl Scope {
    /// Returns the stored form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::DeadLetters => "dead_letters",
        }
    }

    /// Parses the result of [`as_str`](Self::as_str).
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::Damaged`] for any other text.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        match text {
            "all" => Ok(Self::All),
            "dead_letters" => Ok(Self::DeadLetters),
            _ => Err(StoreError::Damaged { detail: format!("`{text}` is not a scope of a sink") }),
        }
    }
}

/// Which changes of a transaction are written to the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Changes of rows.
    pub rows: bool,
    /// New and retried dead letters.
    pub dead_letters: bool,
}

impl Wanted {
    /// Returns the changes that sinks of these scopes need together.
    #[must_use]
    pub fn by(scopes: impl IntoIterator<Item = Scope>) -> Self {
        scopes.into_iter().fold(Self::default(), |wanted, scope| Self {
            rows: wanted.rows || scope == Scope::All,
            dead_letters: true,
        })
    }

    /// Returns whether any changes are written.
    #[must_use]
    pub fn any(self) -> bool {
        self.rows || self.dead_letters
    }
}

/// Definition of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSpec {
    /// Name, which identifies the sink across restarts.
    pub name: String,
    /// Which changes it receives.
    pub scope: Scope,
    /// Where it starts if it is new.
    pub start: SinkStart,
    /// Maximum lag in bytes of the outbox. If the lag exceeds it, the sink loses its position and
    /// starts again with a snapshot, so the outbox stays bounded. `None`: no limit.
    pub max_bytes: Option<u64>,
}

impl SinkSpec {
    /// Default of the maximum lag: 1 GiB.
    pub const MAX_BYTES: u64 = 1 << 30;

    /// Returns the definition of a sink that receives all changes, starting with a snapshot.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            scope: Scope::All,
            start: SinkStart::Snapshot,
            max_bytes: Some(Self::MAX_BYTES),
        }
    }
}

/// Where a new sink starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkStart {
    /// With a snapshot of the stored rows.
    Snapshot,
    /// With the stored dead letters after this number; only for [`Scope::DeadLetters`].
    DeadLettersAfter(u64),
    /// With the next transaction.
    Now,
}

/// State of a sink.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkState {
    /// Name.
    pub name: String,
    /// Which changes it receives.
    pub scope: Scope,
    /// Position.
    pub position: SinkPosition,
    /// Maximum lag in bytes of the outbox.
    pub max_bytes: Option<u64>,
    /// Number of the newest entry of the outbox.
    pub head: u64,
    /// Lag in bytes: size of the entries after the position.
    pub lag_bytes: u64,
    /// Number of refused changes that were skipped.
    pub skipped: u64,
    /// Last error, for operators.
    pub error: Option<String>,
    /// The runner that has the lease.
    pub owner: Option<String>,
}

impl SinkState {
    /// Error of a sink that has lost its position.
    pub const BEYOND_BOUND: &'static str =
        "the lag of the sink exceeded its bound; the sink starts again with a snapshot";

    /// Returns the lag in entries: the number of entries after the position.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.head.saturating_sub(self.position.number)
    }
}

/// An entry of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Number.
    pub number: u64,
    /// The changes; see [`ChangeBatch::from_bytes`].
    pub bytes: Vec<u8>,
}

/// A move of a sink's position.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkStep<'s> {
    /// The sink.
    pub name: &'s str,
    /// Owner of the lease.
    pub owner: &'s str,
    /// Expected position.
    pub from: &'s SinkPosition,
    /// New position.
    pub to: &'s SinkPosition,
    /// Number of changes skipped between them.
    pub skipped: u64,
    /// Error to store for operators; `None` clears it.
    pub error: Option<&'s str>,
}

/// A store that keeps an outbox.
///
/// Sinks are identified by their names. Once [`put_sink`](Self::put_sink) has returned, the
/// transactions of all processes write to the outbox. They stop when the last sink is removed.
pub trait Outbox: Store + Inspect {
    /// Adds a sink, or changes the bound of an existing one, and returns its state. Waits for open
    /// transactions, so that every later one writes to the outbox. A sink with another scope starts
    /// from the beginning.
    fn put_sink(&mut self, spec: &SinkSpec) -> impl Future<Output = Result<SinkState, StoreError>> + Send;

    /// Removes a sink and the entries that only it needs. Returns whether it existed.
    fn remove_sink(&mut self, name: &str) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Lets a sink start again with a snapshot of the stored rows, under its scope and bound. Its
    /// runner notices and continues there. Returns whether the sink exists.
    fn reset_sink(&mut self, name: &str) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Returns the sinks, ordered by name.
    fn sinks(&mut self) -> impl Future<Output = Result<Vec<SinkState>, StoreError>> + Send;

    /// Gives `owner` the lease of the sink `name` for the duration `lease`, unless another owner
    /// has it. Returns the state of the sink, or `None` if another owner has the lease or there is
    /// no such sink.
    fn lease_sink(
        &mut self,
        name: &str,
        owner: &str,
        lease: Duration,
    ) -> impl Future<Output = Result<Option<SinkState>, StoreError>> + Send;

    /// Moves the position of a sink, and deletes the entries that every sink has.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::Fenced`] if the sink is not at `from`, if `owner` has lost the lease,
    /// or if the sink was removed.
    fn advance_sink(&mut self, step: &SinkStep<'_>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends the lease of `owner`, if it has one.
    fn release_sink(
        &mut self,
        name: &str,
        owner: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the entries after the number `after`, in order: at most `limit`, and no more once
    /// they have `bytes` together. No entry with a smaller number can be committed later.
    fn outbox(
        &mut self,
        after: u64,
        limit: usize,
        bytes: usize,
    ) -> impl Future<Output = Result<Vec<OutboxEntry>, StoreError>> + Send;

    /// Returns at most `limit` rows of a public table with keys greater than `after`, ordered by
    /// key, with the columns of [`columns`].
    fn rows_after(
        &mut self,
        table: &'static Table,
        after: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Vec<ChangeValue<'static>>>, StoreError>> + Send;
}
