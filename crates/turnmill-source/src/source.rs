//! The trait of a source with one partition.

use std::path::PathBuf;

use turnmill_text::{escaped, redact};

use crate::{Compression, Foreign, PartitionId, RecordBatch};

/// Limits at which a batch is full. The first one that is reached ends it.
///
/// A batch ends only between records, and between whole trackers of a dump. So the last record may
/// pass the limit, and a batch takes at least one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Number of records.
    pub records: usize,
    /// Number of uncompressed input bytes.
    pub bytes: usize,
}

impl Default for BatchLimits {
    /// 10,000 records or 8 MiB.
    fn default() -> Self {
        Self { records: 10_000, bytes: 8 << 20 }
    }
}

/// What follows a batch. The batch may hold records in each case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There may be more records: call again.
    More,
    /// There are no more records at present: wait a little, then call again. Only while following.
    Idle,
    /// There will be no more records.
    End,
}

/// How a file was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// From the start, without a stored position.
    Fresh,
    /// At the stored position.
    Resumed,
    /// From the start, because the file is not the one of the position: it was replaced or
    /// truncated. Records that were read before count as duplicates.
    Replaced,
    /// From the start, because the log lacks the record that was read last. The topic was
    /// recreated, or truncated, and has grown past the position since. Records that were read
    /// before count as duplicates.
    Rewritten,
    /// After the stored position, because records between were deleted before they were read. The
    /// retention of the log was shorter than the pause.
    Gap {
        /// Number of missing offsets. At most as many records are missing.
        missing: u64,
    },
}

impl Opened {
    /// Returns whether reading does not continue exactly at the stored position. Worth a warning.
    #[must_use]
    pub fn moved(self) -> bool {
        !matches!(self, Self::Fresh | Self::Resumed)
    }
}

/// Delivers the records of one partition in order.
///
/// # Protocol
///
/// - The source is opened at the position that the store holds, or at the start without one.
/// - The caller then calls [`next_batch`](Self::next_batch) until it returns [`Progress::End`].
///   After [`Progress::Idle`] it waits first.
/// - The caller writes the batch's rows and its position [`to`](RecordBatch::to) in one
///   transaction. If that fails, the source is opened again at the stored position.
/// - A batch's [`from`](RecordBatch::from) is the [`to`](RecordBatch::to) of the batch before.
/// - An error ends the source. Opening it again at the last position delivers the same records.
/// - A call may block on I/O, but does not wait for new records.
///
/// ```
/// use turnmill_source::{BatchLimits, NewRecord, PartitionId, Position, Progress, RecordBatch, Source, SourceError};
///
/// /// Event bodies in memory. The position counts them.
/// struct Bodies {
///     partition: PartitionId,
///     bodies: Vec<String>,
///     next: usize,
/// }
///
/// impl Source for Bodies {
///     fn partition(&self) -> &PartitionId {
///         &self.partition
///     }
///
///     fn next_batch(
///         &mut self,
///         limits: &BatchLimits,
///         out: &mut RecordBatch,
///     ) -> Result<Progress, SourceError> {
///         let position = |next: usize| Position::at(next as u64);
///         let from = (self.next > 0).then(|| position(self.next));
///         out.start(&self.partition, from.as_ref());
///         for body in self.bodies.iter().skip(self.next).take(limits.records) {
///             let offset = self.next as u64;
///             out.push(&NewRecord { payload: Some(body.as_bytes()), offset, ..NewRecord::default() });
///             self.next += 1;
///         }
///         out.finish(Some(position(self.next)));
///         Ok(if self.next < self.bodies.len() { Progress::More } else { Progress::End })
///     }
/// }
///
/// let bodies = vec![r#"{"sender_id": "u1", "event": "restart"}"#.to_owned(); 3];
/// let mut source = Bodies { partition: PartitionId::new("memory", "bodies"), bodies, next: 0 };
/// let (limits, mut batch) = (BatchLimits { records: 2, ..BatchLimits::default() }, RecordBatch::new());
/// assert_eq!(source.next_batch(&limits, &mut batch)?, Progress::More);
/// assert_eq!((batch.len(), batch.to()), (2, Some(&Position::at(2))));
/// assert_eq!(source.next_batch(&limits, &mut batch)?, Progress::End);
/// assert_eq!((batch.len(), batch.from()), (1, Some(&Position::at(2))));
/// # Ok::<(), SourceError>(())
/// ```
pub trait Source: Send {
    /// Returns the partition that is read.
    fn partition(&self) -> &PartitionId;

    /// Returns the name of the decoder that the records need. `None`: the one that the caller's
    /// facts about the source name, else the default one.
    fn decoder(&self) -> Option<&str> {
        None
    }

    /// Returns whether the records are out of their envelopes already. If not, the caller takes
    /// them out, if their decoder has an [`Unwrapper`](turnmill_model::Unwrapper).
    fn is_unwrapped(&self) -> bool {
        false
    }

    /// Empties `out` and fills it with the next records.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if the source cannot be read. Earlier calls have delivered all records
    /// before the fault. The source may be opened again at the last batch's position.
    fn next_batch(&mut self, limits: &BatchLimits, out: &mut RecordBatch) -> Result<Progress, SourceError>;
}

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The file cannot be opened.
    #[error("cannot open `{}`", escaped(&redact(&path.to_string_lossy())))]
    Open {
        /// The path as it was given.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Reading or decompressing failed.
    #[error("cannot read `{path}` past uncompressed byte {offset}")]
    Read {
        /// The file.
        path: String,
        /// Number of uncompressed bytes that were read.
        offset: u64,
        /// The cause.
        source: std::io::Error,
    },
    /// A line or tracker dump exceeds the limit for one record.
    #[error(
        "record at byte {offset} of `{path}` is larger than `max_record_bytes` = {limit}; if one object wraps many \
         records, write one record per line, for example with `jq -c`"
    )]
    RecordTooLarge {
        /// The file.
        path: String,
        /// Uncompressed byte offset at which the record begins.
        offset: u64,
        /// The limit.
        limit: usize,
    },
    /// The file has a compression that this build cannot read.
    #[error(
        "`{path}` is compressed with {compression}, which this build cannot read: enable the feature `{compression}`"
    )]
    Unsupported {
        /// The file.
        path: String,
        /// Its compression.
        compression: Compression,
    },
    /// A compressed file cannot be followed.
    #[error("cannot follow `{path}`: it is compressed with {compression}; read it without following")]
    FollowCompressed {
        /// The file.
        path: String,
        /// Its compression.
        compression: Compression,
    },
    /// The file is a database, not a file of records.
    #[error("`{path}` is an SQLite database: read it as a tracker store")]
    Database {
        /// The file.
        path: String,
    },
    /// A file whose records are in envelopes cannot be followed.
    #[error(
        "cannot follow `{path}`: logs in this format are read to their end; read it again later, and known \
         records count as duplicates"
    )]
    FollowUnwrapped {
        /// The file.
        path: String,
    },
    /// A file in UTF-16 cannot be followed.
    #[error("cannot follow `{path}`: it is UTF-16; write it as UTF-8, or read it without following")]
    FollowUtf16 {
        /// The file.
        path: String,
    },
    /// The file has no readable records.
    #[error("`{path}` looks like {foreign}")]
    Foreign {
        /// The file.
        path: String,
        /// What the file is, with a remedy.
        foreign: Foreign,
    },
    /// A source of another crate failed. The cause names what cannot be read.
    #[error("{source}")]
    Other {
        /// The partition.
        partition: PartitionId,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
