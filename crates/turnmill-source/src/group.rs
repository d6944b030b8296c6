//! Sources whose partitions are handed out by a group.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::{BatchLimits, PartitionId, Position, RecordBatch, SourceError};

/// When a [`GroupSource`] hands a batch over; whichever is reached first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLimits {
    /// Number of records.
    pub records: usize,
    /// Bytes of records.
    pub bytes: usize,
    /// How long a record may wait for others, counted from when the first one of the batch arrived.
    pub linger: Duration,
    /// How long to wait for a first one before [`GroupProgress::Idle`] is said.
    pub wait: Duration,
}

impl Default for GroupLimits {
    /// 10,000 records or 8 MiB, a linger of 200 ms, a wait of 200 ms.
    fn default() -> Self {
        let BatchLimits { records, bytes } = BatchLimits::default();
        let moment = Duration::from_millis(200);
        Self { records, bytes, linger: moment, wait: moment }
    }
}

/// What a [`GroupSource`] has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupProgress {
    /// The batch was filled. It holds records, or only moves positions on, past offsets that hold none.
    Batch,
    /// These partitions were handed out, and nothing else is read any more. Nothing is read of them before
    /// [`GroupControl::start`].
    Assigned(Assignment),
    /// The partitions of this generation are taken away; no batch of it follows. They are kept back until
    /// [`GroupControl::released`] for a while, so that what is in flight can still be committed.
    Revoked {
        /// Which generation.
        generation: u64,
        /// They are gone already: another member may be reading them, and there is no use in hurrying.
        lost: bool,
    },
    /// Nothing for now: call again.
    Idle,
    /// Nothing more will come: the ends that were seen at the start are reached, or the source was closed.
    End,
}

/// Partitions handed out by a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Number of the assignment; grows.
    pub generation: u64,
    /// The partitions. None, if there are more members than partitions.
    pub partitions: Vec<AssignedPartition>,
}

/// A partition that was handed out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssignedPartition {
    /// Which one.
    pub partition: PartitionId,
    /// Offset of the first record that its log still has, if known.
    pub begin: Option<u64>,
    /// Offset behind the last record of its log, if known.
    pub end: Option<u64>,
    /// Where the group itself stands, if known. Informs only: the store's position is what counts.
    pub committed: Option<u64>,
    /// Whether another program committed that offset. It is left alone.
    pub foreign: bool,
}

/// A source whose partitions are handed out by a group and may be taken away again, as by Kafka's consumer groups.
///
/// The order of what it says is: `Assigned`, then batches of that generation once it was started, then `Revoked`, or
/// the next `Assigned` if nothing is to be handed back ([`GroupControl::restart`]).
///
/// Positions are those behind which is read: [`Position::offset`] is the next record's offset.
pub trait GroupSource: Send {
    /// Waits for something to hand over, at most about `limits.wait` and, once there is a record, `limits.linger`.
    /// Empties and fills `out` if it is a batch. To be called again and again on the reading thread; a source stays a
    /// member of its group also while it is not called. Past its end it says so again, unless it was
    /// [restarted](GroupControl::restart).
    ///
    /// # Errors
    ///
    /// [`SourceError`] if the source cannot go on by itself, as after a refused log-in. What passes, like a broker
    /// that is away, is no error: see [`GroupStats::last_error`].
    fn next(&mut self, limits: &GroupLimits, out: &mut RecordBatch) -> Result<GroupProgress, SourceError>;

    /// What the one who commits needs, on another thread.
    fn control(&self) -> Arc<dyn GroupControl>;
}

/// The other end of a [`GroupSource`], for the one who commits its batches. No call waits.
pub trait GroupControl: Send + Sync + Debug {
    /// Generation of the present assignment, 0 before the first: a batch of an older one is not to be committed.
    fn generation(&self) -> u64;

    /// Begins to read an assignment behind these positions, and from the earliest record where there is none. Ignored
    /// for a generation that has passed.
    fn start(&self, generation: u64, positions: Vec<(PartitionId, Option<Position>)>);

    /// Nothing of the revoked generation is in flight any more: the partitions can be handed back.
    fn released(&self, generation: u64);

    /// Forgets what was read ahead, and reports the present assignment again under a new generation: for when another
    /// writer turned out to have moved on. Does nothing without an assignment.
    fn restart(&self);

    /// These positions are stored. They are told to the group, for tools that watch its lag, at leisure.
    fn committed(&self, positions: &[(PartitionId, Position)]);

    /// How far behind each assigned partition is.
    fn lag(&self) -> Vec<PartitionLag>;

    /// What happened so far.
    fn stats(&self) -> GroupStats;

    /// Leaves the group, and hands its partitions back at once; [`GroupSource::next`] says `End` soon.
    fn close(&self);
}

/// How far behind a partition is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartitionLag {
    /// Which one.
    pub partition: PartitionId,
    /// The next offset to hand over, once reading has begun.
    pub next: Option<u64>,
    /// Offset behind the log's last record, as far as known.
    pub end: Option<u64>,
    /// Time of the record that was handed over last, in Unix seconds.
    pub time: Option<f64>,
}

impl PartitionLag {
    /// Offsets still to be handed over.
    ///
    /// ```
    /// use turnmill_source::PartitionLag;
    /// let lag = PartitionLag { next: Some(78), end: Some(80), ..PartitionLag::default() };
    /// assert_eq!(lag.offsets(), Some(2));
    /// ```
    #[must_use]
    pub fn offsets(&self) -> Option<u64> {
        Some(self.end?.saturating_sub(self.next?))
    }
}

/// What happened to a [`GroupSource`] so far, and what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupStats {
    /// Assignments by the group.
    pub rebalances: u64,
    /// Assignments that were lost without having been asked back.
    pub lost: u64,
    /// Partitions that were read from their earliest record because their log is not the one that the stored position is of.
    pub resets: u64,
    /// Offsets that were gone before they could be read.
    pub gaps: u64,
    /// Offsets passed that hold no record: transaction markers, aborted and compacted records.
    pub passed: u64,
    /// Times that reading paused because enough was read ahead.
    pub pauses: u64,
    /// Partitions that are not read at the moment because enough was read ahead.
    pub paused_partitions: u64,
    /// Records read ahead and not yet handed over.
    pub buffered_records: u64,
    /// Their bytes.
    pub buffered_bytes: u64,
    /// Errors that pass by themselves.
    pub errors: u64,
    /// The last of them.
    pub last_error: Option<String>,
}
