//! The trait that every source implements.

use std::path::PathBuf;

use turnmill_text::{escaped, redact};

use crate::{Compression, Foreign, PartitionId, RecordBatch};

/// When a batch is full; whichever limit is reached first ends it.
///
/// A batch ends only between records (in tracker dumps: between whole trackers), so the last record may pass the
/// limit, and a batch takes at least one record.
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

/// What comes after a batch. A batch may hold records whatever comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There may be more: call again.
    More,
    /// Nothing more for now, only while following: wait a little, then call again.
    Idle,
    /// Nothing more will come.
    End,
}

/// How a file was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// From the start, without a stored position.
    Fresh,
    /// At the stored position.
    Resumed,
    /// From the start, because the file is not the one that the position is of: another one took its place, or it
    /// was truncated. Records that were read before count as duplicates.
    Replaced,
    /// From the start, because the log does not hold the record that was read last before the stored position: it was
    /// made anew, or truncated, and has grown past the position since. Records that were read before count as duplicates.
    Rewritten,
    /// Behind the stored position, because records that were never read are gone: a log's retention was shorter
    /// than the pause.
    Gap {
        /// How many offsets are missing, at most as many records.
        missing: u64,
    },
}

impl Opened {
    /// Whether reading does not go on exactly where it was left, which is worth a warning.
    #[must_use]
    pub fn moved(self) -> bool {
        !matches!(self, Self::Fresh | Self::Resumed)
    }
}

/// Delivers the records of one partition in order.
pub trait Source: Send {
    /// The partition that is read.
    fn partition(&self) -> &PartitionId;

    /// Empties `out` and fills it with the next records.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if the source cannot be read. What could be read before the fault was delivered by the calls
    /// before; a source may be opened again at the last batch's position.
    fn next_batch(&mut self, limits: &BatchLimits, out: &mut RecordBatch) -> Result<Progress, SourceError>;
}

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The file cannot be opened.
    #[error("cannot open `{}`", escaped(&redact(&path.to_string_lossy())))]
    Open {
        /// The file as it was named.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Reading or decompressing failed.
    #[error("cannot read `{path}` behind uncompressed byte {offset}")]
    Read {
        /// The file.
        path: String,
        /// How many uncompressed bytes could be read.
        offset: u64,
        /// Why.
        source: std::io::Error,
    },
    /// A line (or tracker dump) is larger than memory may be used for.
    #[error(
        "record at byte {offset} of `{path}` is larger than `max_record_bytes` = {limit}; if it is one object around many \
         records, take them out of it, one a line, as with `jq -c`"
    )]
    RecordTooLarge {
        /// The file.
        path: String,
        /// Uncompressed byte offset at which the record begins.
        offset: u64,
        /// The limit.
        limit: usize,
    },
    /// The file is compressed in a way that this build cannot read.
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
    #[error("cannot follow `{path}`: it is compressed with {compression}")]
    FollowCompressed {
        /// The file.
        path: String,
        /// Its compression.
        compression: Compression,
    },
    /// The file is a database, not a file of lines.
    #[error("`{path}` is an SQLite database: read it as a tracker store")]
    Database {
        /// The file.
        path: String,
    },
    /// A file in UTF-16 cannot be followed.
    #[error("cannot follow `{path}`: it is UTF-16; write it as UTF-8, or read it without following")]
    FollowUtf16 {
        /// The file.
        path: String,
    },
    /// The file holds no records that can be read.
    #[error("`{path}` looks like {foreign}")]
    Foreign {
        /// The file.
        path: String,
        /// What it is.
        foreign: Foreign,
    },
    /// A source of another crate failed.
    #[error("cannot read {partition}")]
    Other {
        /// What was read.
        partition: PartitionId,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
