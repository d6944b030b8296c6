//! The contract between turnmill and the stores and sinks that take its rows.
//!
//! What is absent here: this crate never opens a connection or a file, and knows no async runtime
//! and no database. Its futures run on any executor.
//!
//! - A [`Store`] holds the truth. Everything that a batch of records changes is written in one
//!   [`Transaction`]: rows, senders' states, history, dead letters, the ledger, and the source's
//!   position. A crash at any moment leaves either all of it or nothing.
//! - A [`Sink`] receives the row changes of every transaction. It has one method. A store keeps the
//!   changes for its sinks in an [`outbox`].
//! - [`MemoryStore`] is a store without a database.
//!
//! The crate `turnmill-ingest` takes decoded records through a transaction. It also has the
//! conformance suite that every store passes.

mod batch;
mod error;
mod examine;
mod memory;
mod patterns;
mod sink;
mod store;

pub mod digest;
pub mod outbox;

pub use batch::{
    Advance, Batch, CheckpointWrite, Chunk, Claim, Counts, DeadLetter, EventLookup, HistoryStretch,
    HistoryWrite, LedgerEntry, Locked, SenderClaim, StoredCopies, StoredPosition, TimelineWrite,
};
pub use error::{Class, StoreError};
pub use examine::{CountCheck, Examination, Examine, StoredSender};
pub use memory::{MemoryStore, MemoryTransaction, OwnedValue, Rows};
pub use patterns::{PatternSet, StoredPattern};
pub use sink::{Sink, SinkError};
pub use store::{
    HistoryPage, HistoryRequest, Inspect, Opened, RebuildState, Store, Transaction, Upkeep, check_settings,
};
