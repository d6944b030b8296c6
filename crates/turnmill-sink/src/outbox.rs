//! The outbox: what sinks are given, and how a store keeps it for them.
//!
//! A store with sinks writes the changes of every transaction to the outbox, in that transaction and under a number.
//! [`Outbox`] is what a runner asks of the store: which sinks there are, what a sink has not been given yet, and to move its
//! position. The entries that every sink has been given go.
//!
//! # Encoding
//!
//! An entry can be read by every later version: it names its tables and columns. [`ChangeBatch::from_bytes`] reads it, and a
//! [`ChangeBatch`] serialises as JSON.
//!
//! ```text
//! entry     = version: 1 byte (1)  codec: 1 byte (0: plain, 1: LZ4 block with its size in front)  body
//! body      = operation*
//! operation = kind: 1 byte (0 reset, 1 clear, 2 put, 3 merge, 4 set, 5 delete)
//!             table: text  columns: varint, text*  rows: varint, value* (row by row)
//! text      = length: varint  UTF-8
//! value     = 0 NULL | 1 text | 2 UUID of 16 bytes | 3 integer: zigzag varint | 4 float: 8 bytes, little-endian
//!           | 5 microseconds since 1970: zigzag varint | 6 false | 7 true | 8 length: varint, bytes
//! varint    = LEB128
//! ```

mod change;
mod encoding;
mod position;
mod snapshot;

use std::future::Future;
use std::time::Duration;

use turnmill_model::tables::Table;

pub use self::change::{
    ChangeBatch, ChangeValue, DEAD_LETTER_COLUMNS, DEAD_LETTERS, Operation, Origin, RowChange,
    TableOperation, columns,
};
pub use self::encoding::{VERSION, encode, encode_patterns, read_headers};
pub use self::position::{SinkPosition, SnapshotCursor};
pub use self::snapshot::snapshot_page;
use crate::{Inspect, Store, StoreError};

/// What a sink wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The rows of all public tables, and dead letters.
    All,
    /// Dead letters alone. Rows are then not written to the outbox, unless another sink wants them.
    DeadLetters,
}

impl Scope {
    /// As a store keeps it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::DeadLetters => "dead_letters",
        }
    }

    /// Reads what [`as_str`](Self::as_str) gives.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if it is something else.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        match text {
            "all" => Ok(Self::All),
            "dead_letters" => Ok(Self::DeadLetters),
            _ => Err(StoreError::Damaged { detail: format!("`{text}` is no scope of a sink") }),
        }
    }
}

/// What of a transaction's changes goes to the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Changes of rows.
    pub rows: bool,
    /// New dead letters, and those that were retried.
    pub dead_letters: bool,
}

impl Wanted {
    /// What sinks of these scopes want together.
    #[must_use]
    pub fn by(scopes: impl IntoIterator<Item = Scope>) -> Self {
        scopes.into_iter().fold(Self::default(), |wanted, scope| Self {
            rows: wanted.rows || scope == Scope::All,
            dead_letters: true,
        })
    }

    /// Whether it is anything.
    #[must_use]
    pub fn any(self) -> bool {
        self.rows || self.dead_letters
    }
}

/// A sink, as the store is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSpec {
    /// Its name; the sink is known by it across restarts.
    pub name: String,
    /// What it wants.
    pub scope: Scope,
    /// Where it begins if the store does not know it yet.
    pub start: SinkStart,
    /// Bytes of the outbox that it may be behind. Beyond that it loses its place and begins again with a snapshot, so that the
    /// outbox stays bounded whatever becomes of the sink. `None`: without a bound.
    pub max_bytes: Option<u64>,
}

impl SinkSpec {
    /// Bytes that a sink may be behind, unless set otherwise: 1 GiB.
    pub const MAX_BYTES: u64 = 1 << 30;

    /// A sink called `name` that wants everything, from a snapshot on.
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

/// Where a new sink begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkStart {
    /// With a snapshot of the rows that are there.
    Snapshot,
    /// With the dead letters that are there and have a greater number than this; only for [`Scope::DeadLetters`].
    DeadLettersAfter(u64),
    /// With the next transaction.
    Now,
}

/// A sink, as the store knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkState {
    /// Its name.
    pub name: String,
    /// What it wants.
    pub scope: Scope,
    /// How far it has come.
    pub position: SinkPosition,
    /// Bytes of the outbox that it may be behind.
    pub max_bytes: Option<u64>,
    /// Number of the newest entry of the outbox.
    pub head: u64,
    /// Bytes of the entries that it has not been given.
    pub lag_bytes: u64,
    /// Changes that it refused for good and that were skipped.
    pub skipped: u64,
    /// Why it does not go on, or what happened to it last; for people.
    pub error: Option<String>,
}

impl SinkState {
    /// The error of a sink that has lost its place.
    pub const BEYOND_BOUND: &'static str =
        "the sink was further behind than its bound, so it begins again with a snapshot";

    /// Number of entries that it has not been given.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.head.saturating_sub(self.position.number)
    }
}

/// An entry of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Its number.
    pub number: u64,
    /// The changes; see [`ChangeBatch::from_bytes`].
    pub bytes: Vec<u8>,
}

/// A step of a sink.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkStep<'s> {
    /// The sink.
    pub name: &'s str,
    /// Who holds the lease.
    pub owner: &'s str,
    /// Where the sink must stand now.
    pub from: &'s SinkPosition,
    /// Where it stands from now on.
    pub to: &'s SinkPosition,
    /// Changes that were skipped on the way.
    pub skipped: u64,
    /// What to remember for people; `None` clears it.
    pub error: Option<&'s str>,
}

/// A store that keeps an outbox.
///
/// Sinks are known by their names. Transactions write to the outbox as soon as [`put_sink`](Self::put_sink) has returned, of
/// whichever process they are, and stop when the last sink is removed.
pub trait Outbox: Store + Inspect {
    /// Makes a sink known, or changes the bound of one that is; says where it stands. Waits for transactions under way, so
    /// that every later one writes to the outbox. A sink whose scope differs begins anew.
    fn put_sink(&mut self, spec: &SinkSpec) -> impl Future<Output = Result<SinkState, StoreError>> + Send;

    /// Forgets a sink, and what was kept for it alone; says whether there was one.
    fn remove_sink(&mut self, name: &str) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// The sinks, in the order of their names.
    fn sinks(&mut self) -> impl Future<Output = Result<Vec<SinkState>, StoreError>> + Send;

    /// Gives `owner` the right to feed the sink `name` for this long from now on, unless another has it. Says where the sink
    /// stands, or `None` if another has the right or there is no such sink.
    fn lease_sink(
        &mut self,
        name: &str,
        owner: &str,
        lease: Duration,
    ) -> impl Future<Output = Result<Option<SinkState>, StoreError>> + Send;

    /// Moves the position of a sink, and removes the entries that every sink has been given.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fenced`] if the sink is not at `from`, or `owner` has lost the lease, or the sink is gone.
    fn advance_sink(&mut self, step: &SinkStep<'_>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends the lease of `owner`, if it has one.
    fn release_sink(
        &mut self,
        name: &str,
        owner: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The entries with a number above `after`, in order: at most `limit`, and no more after they have `bytes` together. All
    /// are settled: none with a lesser number can come any more.
    fn outbox(
        &mut self,
        after: u64,
        limit: usize,
        bytes: usize,
    ) -> impl Future<Output = Result<Vec<OutboxEntry>, StoreError>> + Send;

    /// The rows of a public table with a key above `after`, by ascending key, at most `limit`; with the columns of
    /// [`columns`].
    fn rows_after(
        &mut self,
        table: &'static Table,
        after: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Vec<ChangeValue>>, StoreError>> + Send;
}
