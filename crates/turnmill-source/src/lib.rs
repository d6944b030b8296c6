//! Records of conversation events, from files: containers, compression, positions, follow mode.
//!
//! What is absent here: decoding of events (a record's payload is passed on unchanged), threads,
//! async, sleeping, a clock, a database, a network, and a C compiler in the build.
//!
//! No input is dropped: each line, and each event of a tracker dump, becomes exactly one record,
//! even if it is garbage.
//!
//! - A [`Source`] fills one [`RecordBatch`] after the other. A batch is one buffer with spans, and
//!   is reused. Other crates implement the trait for databases.
//! - A [`GroupSource`] has several partitions, which a group assigns and revokes as Kafka does.
//! - [`FileSource`] reads plain, gzip and Zstandard files, pipes and standard input, in any
//!   [`Container`]. It detects container and compression from the content.
//! - [`UnwrappedFile`] reads files whose records a decoder's
//!   [unwrapper](turnmill_model::Unwrapper) takes out of their envelopes.
//! - A batch extends [from](RecordBatch::from) one [`Position`] [to](RecordBatch::to) the next. A
//!   store keeps the latter in the same transaction as the rows. Opened there again, a source
//!   continues with the next record. Several files are several sources.
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
mod container;
mod detect;
mod envelope;
mod file;
mod foreign;
mod group;
mod input;
mod position;
mod respell;
mod scan;
mod source;
mod table;
mod unwrapped;
mod utf16;
mod values;

pub use batch::{
    ENVIRONMENT_HEADER, Headers, NewRecord, Origin, Part, RecordBatch, RecordOutcome, SourceRecord,
};
pub use container::{Container, Layout, UnknownContainer};
pub use file::{FileOptions, FileSource};
pub use foreign::Foreign;
pub use group::{
    AssignedPartition, Assignment, GroupControl, GroupLimits, GroupProgress, GroupSource, GroupStats,
    PartitionLag, PartitionPosition, PartitionStart,
};
pub use input::Compression;
pub use position::{FINGERPRINT_BYTES, Fingerprint, InvalidPosition, LastRecord, Position};
pub use source::{BatchLimits, Opened, Progress, Source, SourceError};
pub use turnmill_model::PartitionId;
pub use unwrapped::UnwrappedFile;
