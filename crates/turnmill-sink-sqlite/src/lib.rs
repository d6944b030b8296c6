//! turnmill's store in one SQLite file.
//!
//! What is absent here: threads, and an async runtime. SQLite's calls block, so every future of
//! [`SqliteStore`] does its whole work in its first poll. Give the store its own thread if other
//! tasks must not wait. The only files are the database and the two that SQLite keeps beside it
//! (`-wal`, `-shm`) while it is open.
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
//! # Writing
//!
//! - Each batch is one transaction, begun with `BEGIN IMMEDIATE`. A deferred transaction that reads
//!   first and writes later cannot wait for another writer; it fails.
//! - The write-ahead log has `synchronous = NORMAL`: a commit is not forced to disk, so a power
//!   failure may take the last transactions. Rows, ledger and the source's position are in the same
//!   transactions. They are lost together, and the same records are read again. A crash of the
//!   process loses nothing.
//! - Foreign keys are declared, so that tools see them and `PRAGMA foreign_key_check` can prove
//!   them. They are not enforced on writing: rows follow them by construction, and the documented
//!   tables have no indexes for the check on deletion.
//! - Rows are inserted one by one with prepared statements. Several rows per statement were not
//!   faster, as there is no network. Neither were tables without row ids, nor larger pages. A large
//!   write-ahead log is faster, because each checkpoint copies the pages that every batch changes.
//!   At SQLite's 4 MB commits take twice as long as at 64 MB, and the 256 MB used here load a
//!   seventh faster still. The example `insert_rate` compares the store with plain statements.
//! - Ids are text in the public tables, which people query, and 16 bytes in the internal ones.

mod connect;
mod error;
mod examine;
mod inspect;
mod outbox;
mod patterns;
mod read_only;
mod reader;
mod sql;
mod store;
mod transaction;
mod upkeep;
mod url;
mod value;
mod write;

pub use inspect::Survey;
pub use reader::{SqliteInterrupt, SqliteReader};
pub use store::SqliteStore;
pub use transaction::SqliteTransaction;
