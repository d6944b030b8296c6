//! turnmill's store in one SQLite file.
//!
//! What is absent here: this crate starts no thread and knows no async runtime. SQLite's calls block, so every future of
//! [`SqliteStore`] does its whole work in its first poll and is then ready; give the store a thread of its own if others must
//! not wait. Nothing is written outside the one file and the two that SQLite keeps beside it (`-wal`, `-shm`) while it is
//! open.
//!
//! ```
//! use turnmill_model::Settings;
//! use turnmill_sink::{Inspect, Store};
//! use turnmill_sink_sqlite::SqliteStore;
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("rasa.sqlite");
//! # pollster::block_on(async {
//! let mut store = SqliteStore::file(path);
//! let opened = store.open(&Settings::default()).await?;
//! assert!(opened.positions.is_empty(), "the file is new");
//! assert_eq!(store.digests().await?.tables["rasa_event"].rows, 0);
//! store.finish()?; // now the file can be copied on its own
//! # Ok::<(), turnmill_sink::StoreError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it writes
//!
//! - One transaction per batch, begun with `BEGIN IMMEDIATE`: a deferred one that reads first and writes later cannot wait for
//!   another writer, it can only fail.
//! - Write-ahead log with `synchronous = NORMAL`: a commit is not forced to the disk, so a power failure may take the last
//!   transactions away. Since the rows, the ledger and the source's position are in the same transactions, they go together,
//!   and the same records are read again. A crash of the process alone loses nothing.
//! - Foreign keys are declared, so that tools see them and `PRAGMA foreign_key_check` can prove them, but not enforced on
//!   writing: they follow from how rows are made, and the documented tables have no indexes for the check on deletion.
//! - Rows are inserted one by one by statements that are prepared once. Several rows per statement were measured to be no faster
//!   (they save nothing where no network is between), nor were tables without row ids or larger pages. What did count is a
//!   large write-ahead log, because the pages that every batch touches are copied to the file each time: at SQLite's 4 MB
//!   commits take twice as long as at 64 MB, and at the 256 MB used here the whole load is a seventh quicker still. The
//!   example `insert_rate` measures it against plain statements.
//! - Ids are text in the public tables, which people query, and 16 bytes in the internal ones.

mod connect;
mod error;
mod examine;
mod inspect;
mod outbox;
mod patterns;
mod read_only;
mod sql;
mod store;
mod transaction;
mod upkeep;
mod url;
mod value;
mod write;

pub use store::SqliteStore;
pub use transaction::SqliteTransaction;
