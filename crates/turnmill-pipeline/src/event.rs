//! What a pipeline tells, and how it ends.

use std::time::Duration;

use turnmill_ingest::{CacheUsage, Report};
use turnmill_model::{PartitionId, Refused};
use turnmill_sink::StoreError;
use turnmill_source::{Assignment, Opened, Position, RecordBatch, SourceError};

use crate::limits::TooManyDeadLetters;

/// Something worth telling an operator.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// A batch was committed.
    Committed {
        /// Its records; their parts say where the source stands now.
        batch: &'e RecordBatch,
        /// What became of it.
        report: &'e Report,
        /// Which of its records could not be decoded, ascending, and why.
        refused: &'e [(usize, Refused)],
        /// How long it took, from the first attempt to the end of the commit.
        took: Duration,
        /// The timelines in memory.
        cached: CacheUsage,
    },
    /// A partition was not opened where it was left: see [`Opened`].
    Opened {
        /// Which one.
        partition: &'e PartitionId,
        /// How.
        opened: Opened,
    },
    /// The group handed out partitions, which are read from their stored positions on.
    Assigned {
        /// Which ones.
        assignment: &'e Assignment,
        /// Where they begin, in the same order; none: at their earliest record.
        positions: &'e [Option<Position>],
    },
    /// The group took the partitions away.
    Revoked {
        /// Whether without asking.
        lost: bool,
    },
    /// A batch of partitions that were taken away meanwhile was dropped; whoever has them now reads it again.
    Dropped {
        /// Number of records.
        records: usize,
    },
    /// A transaction failed and is tried again.
    Retrying {
        /// Why.
        error: &'e StoreError,
        /// After how long.
        pause: Duration,
    },
    /// Another writer has moved on; the source starts again at the stored position.
    Fenced {
        /// What differed.
        error: &'e StoreError,
    },
}

/// Receives what happens in a pipeline, for logs and metrics.
///
/// [`observe`](Self::observe) is called between transactions, in the order in which things happen, on the task that runs the
/// pipeline, which waits until it returns. It cannot stop the pipeline ([`Stop`](crate::Stop) does that) and cannot fail.
/// After [`Event::Committed`] the batch is durable; a batch that is tried again is committed once. A closure is an observer:
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
    /// Notes one event.
    fn observe(&mut self, event: &Event<'_>);
}

impl<F: FnMut(&Event<'_>)> Observer for F {
    fn observe(&mut self, event: &Event<'_>) {
        self(event);
    }
}

/// Why a pipeline ended before its source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The store cannot go on.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The source cannot go on.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Too much of what is read becomes dead letters. Nothing of the batch in question was committed.
    #[error(transparent)]
    DeadLetters(#[from] TooManyDeadLetters),
    /// The source reads another partition than the stored position is of, so no batch of it could ever be committed.
    #[error("the source reads {found}, and the position it was opened at is {}", of(.expected.as_ref()))]
    Position {
        /// What the position is of; none for a source that should have none.
        expected: Option<PartitionId>,
        /// What is read.
        found: PartitionId,
    },
    /// The thread that reads could not be started.
    #[error("cannot start the reading thread")]
    Thread(#[source] std::io::Error),
}

fn of(key: Option<&PartitionId>) -> String {
    key.map_or_else(|| "of no partition".into(), |key| format!("of {key}"))
}

/// What a [`Pipeline::drain`](crate::Pipeline::drain) or [`Pipeline::serve`](crate::Pipeline::serve) did.
#[derive(Clone, Debug, Default)]
pub struct Drained {
    /// What became of the records read in it: the sum of the batches' reports.
    pub report: Report,
    /// Uncompressed bytes read.
    pub bytes: u64,
    /// Whether it ended because stopping was asked for.
    pub stopped: bool,
}

impl Drained {
    /// Adds another source's.
    pub fn add(&mut self, other: &Self) {
        self.report += &other.report;
        self.bytes += other.bytes;
        self.stopped |= other.stopped;
    }
}
