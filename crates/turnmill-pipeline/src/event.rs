//! Events, errors and results of a pipeline.

use std::time::Duration;

use turnmill_ingest::{CacheUsage, RefusedRecord, Report};
use turnmill_model::{PartitionId, Refused};
use turnmill_sink::StoreError;
use turnmill_source::{Assignment, Opened, Position, RecordBatch, SourceError};

use crate::limits::TooManyDeadLetters;

/// Something that operators want to know.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// A batch was committed.
    Committed {
        /// Its records. Their parts have the new positions.
        batch: &'e RecordBatch,
        /// What became of the batch.
        report: &'e Report,
        /// The records that could not be decoded, ascending, with the reasons.
        refused: &'e [RefusedRecord],
        /// Time from the first attempt to the end of the commit.
        took: Duration,
        /// The timelines in memory.
        cached: CacheUsage,
    },
    /// A partition was not opened where it was left, see [`Opened`].
    Opened {
        /// Which one.
        partition: &'e PartitionId,
        /// How.
        opened: Opened,
    },
    /// The group assigned partitions, which are read from their stored positions on.
    Assigned {
        /// Which ones.
        assignment: &'e Assignment,
        /// Where they begin, in the same order; `None`: at the earliest record.
        positions: &'e [Option<Position>],
    },
    /// The group revoked the partitions.
    Revoked {
        /// Whether they were lost, without time for a last commit.
        lost: bool,
    },
    /// A batch of partitions that were revoked meanwhile was dropped. The member that has them now
    /// reads it again.
    Dropped {
        /// Number of records.
        records: usize,
    },
    /// A transaction failed and is retried.
    Retrying {
        /// Why.
        error: &'e StoreError,
        /// The pause before the next attempt.
        pause: Duration,
    },
    /// Another writer has committed meanwhile. The source starts again at the stored position.
    Fenced {
        /// What differed.
        error: &'e StoreError,
    },
}

/// Receives what happens in a pipeline, for logs and metrics.
///
/// [`observe`](Self::observe) is called between transactions, in the order of events. It runs on
/// the task of the pipeline, which waits until it returns. It cannot stop the pipeline
/// ([`Stop`](crate::Stop) does that) and cannot fail. At [`Event::Committed`] the batch is durable;
/// a batch that is retried is committed once. A closure is an observer:
///
/// ```
/// use turnmill_pipeline::{Event, Observer};
///
/// let mut batches = 0;
/// let mut count = |event: &Event<'_>| batches += u32::from(matches!(event, Event::Committed { .. }));
/// count.observe(&Event::Revoked { lost: false });
/// assert_eq!(batches, 0);
/// ```
pub trait Observer {
    /// Receives one event.
    fn observe(&mut self, event: &Event<'_>);
}

impl<F: FnMut(&Event<'_>)> Observer for F {
    fn observe(&mut self, event: &Event<'_>) {
        self(event);
    }
}

/// The reason why a pipeline ended before its source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The store cannot go on.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The source cannot go on.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Too many records become dead letters. Nothing of the batch in question was committed.
    #[error(transparent)]
    DeadLetters(#[from] TooManyDeadLetters),
    /// The source reads another partition than that of the stored position, so none of its batches
    /// could be committed.
    #[error("the source reads {found}, and the position it was opened at is {}", of(.expected.as_ref()))]
    Position {
        /// The partition of the position; `None` for a source that should have none.
        expected: Option<PartitionId>,
        /// The partition that is read.
        found: PartitionId,
    },
    /// The source needs a decoder that the pipeline does not have. Nothing was read.
    #[error("cannot read the source: {}", .0.detail)]
    Decoder(Refused),
    /// The reading thread could not be started.
    #[error("cannot start the reading thread")]
    Thread(#[source] std::io::Error),
}

fn of(key: Option<&PartitionId>) -> String {
    key.map_or_else(|| "of no partition".into(), |key| format!("of {key}"))
}

/// The result of a [`Pipeline::drain`](crate::Pipeline::drain) or
/// [`Pipeline::serve`](crate::Pipeline::serve).
#[derive(Clone, Debug, Default)]
pub struct Drained {
    /// The sum of the reports of all batches.
    pub report: Report,
    /// Uncompressed bytes read.
    pub bytes: u64,
    /// Whether it ended because it was stopped.
    pub stopped: bool,
}

impl Drained {
    /// Adds the result of another source.
    pub fn add(&mut self, other: &Self) {
        self.report += &other.report;
        self.bytes += other.bytes;
        self.stopped |= other.stopped;
    }
}
