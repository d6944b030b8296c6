//! Records of conversation events, from files: formats, compression, positions, follow mode.
//!
//! What is absent here: no decoding of events (a record's payload is handed on as it is), no threads, no async, no
//! sleeping, no clock, no database, no network, and no C compiler in the build. Nothing is ever left out: each line,
//! and each event of a tracker dump, becomes exactly one record, even if it is garbage.
//!
//! - A [`Source`] fills one [`RecordBatch`] after the other; a batch is one buffer with spans, used again and again.
//!   Other crates implement the trait for databases.
//! - A [`GroupSource`] has several partitions, handed out and taken away again by a group, as Kafka's consumers do.
//! - [`FileSource`] reads plain, gzip and Zstandard files, pipes and standard input, in any [`Format`]; what a file
//!   holds and how it is compressed is told from its content.
//! - A batch goes [from](RecordBatch::from) one [`Position`] [to](RecordBatch::to) the next; a store keeps the latter
//!   in the same transaction as what the records became. Opened there again, a source goes on with the next record.
//!   Several files are several sources.
//!
//! # Features
//!
//! `gzip` and `zstd` (both on by default) read compressed files, in pure Rust.
//!
//! ```
//! use turnmill_source::{BatchLimits, FileOptions, FileSource, PartitionId, RecordBatch, RecordOutcome, Source};
//!
//! let kcat = br#"{"topic": "rasa-events", "partition": 2, "offset": 78, "tstype": "create", "ts": 1656382549500,
//!     "headers": ["RASA_ENVIRONMENT", "production"], "key": "u1", "payload": "{\"event\": \"restart\"}"}"#;
//! let one_line = String::from_utf8_lossy(kcat).replace('\n', "");
//! let stream = Box::new(std::io::Cursor::new(one_line));
//! let mut source = FileSource::stream(PartitionId::new("example", "-"), stream, FileOptions::default())?;
//!
//! let mut batch = RecordBatch::new();
//! source.next_batch(&BatchLimits::default(), &mut batch)?;
//! for record in batch.iter() {
//!     assert_eq!(record.outcome, RecordOutcome::Body);
//!     assert_eq!(record.payload, br#"{"event": "restart"}"#);
//!     assert_eq!(record.environment, Some("production"));
//!     assert_eq!(record.time, Some(1656382549.5));
//! }
//! # Ok::<(), turnmill_source::SourceError>(())
//! ```

mod batch;
mod console;
mod detect;
mod envelope;
mod file;
mod foreign;
mod format;
mod group;
mod input;
mod position;
mod respell;
mod scan;
mod source;
mod table;
mod utf16;
mod values;

pub use batch::{
    ENVIRONMENT_HEADER, Headers, NewRecord, Origin, Part, RecordBatch, RecordOutcome, SourceRecord,
};
pub use file::{FileOptions, FileSource};
pub use foreign::Foreign;
pub use format::{Format, Layout, UnknownFormat};
pub use group::{
    AssignedPartition, Assignment, GroupControl, GroupLimits, GroupProgress, GroupSource, GroupStats,
    PartitionLag,
};
pub use input::Compression;
pub use position::{FINGERPRINT_BYTES, Fingerprint, InvalidPosition, LastRecord, Position};
pub use source::{BatchLimits, Opened, Progress, Source, SourceError};
pub use turnmill_model::PartitionId;
