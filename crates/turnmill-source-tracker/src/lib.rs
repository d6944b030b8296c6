//! Records from the databases that Rasa writes: tracker stores and SQL event brokers, in SQLite
//! files and in PostgreSQL.
//!
//! What is absent here: writing, decoding of events, async, a clock, and other databases. Files and
//! transactions are opened read-only, also while Rasa writes.
//!
//! Both kinds have a table `events`. A `SQLTrackerStore` has the columns `type_name` and
//! `timestamp`, and bodies without a sender. A `SQLEventBroker` has only `id`, `sender_id` and
//! `data`. Rows are read in the order of `id`, one page at a time. No lock is held between pages.
//!
//! ```
//! use turnmill_source::{BatchLimits, Progress, RecordBatch, Source};
//! use turnmill_source_tracker::{TrackerOptions, TrackerSource, is_sqlite};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("events.db");
//! rusqlite::Connection::open(&path)?.execute_batch(
//!     r#"CREATE TABLE events (id INTEGER PRIMARY KEY, sender_id VARCHAR(255), data TEXT);
//!        INSERT INTO events (sender_id, data) VALUES ('u1', '{"sender_id": "u1", "event": "restart"}');"#,
//! )?;
//!
//! assert!(is_sqlite(&path)?);
//! let mut source = TrackerSource::open(&path, TrackerOptions::default(), None)?;
//! let mut batch = RecordBatch::new();
//! assert_eq!(source.next_batch(&BatchLimits::default(), &mut batch)?, Progress::End);
//! assert_eq!(batch.get(0).and_then(|record| record.sender), Some("u1"));
//! assert_eq!(batch.to().map(|position| position.offset), Some(1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! - `postgres` (on by default): [`PostgresTracker`], a table in PostgreSQL, with TLS by rustls.

#[cfg(feature = "postgres")]
mod postgres;
mod sqlite;

#[cfg(feature = "postgres")]
pub use postgres::{PostgresTracker, PostgresTrackerError};
pub use sqlite::{Shape, TrackerError, TrackerOptions, TrackerSource, is_sqlite};
