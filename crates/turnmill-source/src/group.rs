//! Sources whose partitions are assigned by a consumer group.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::{BatchLimits, PartitionId, Position, RecordBatch, SourceError};

/// Limits at which a [`GroupSource`] delivers a batch. The first one that is reached ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLimits {
    /// Number of records.
    pub records: usize,
    /// Number of bytes of records.
    pub bytes: usize,
    /// Maximum time a record waits before its batch is delivered, counted from the batch's first
    /// record.
    pub linger: Duration,
    /// Maximum time to wait for a first record before [`GroupProgress::Idle`] is returned.
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

/// What a call of [`GroupSource::next`] resulted in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupProgress {
    /// The batch was filled. It holds records, or only advances positions past offsets without
    /// records.
    Batch,
    /// The group assigned these partitions. They replace all earlier ones. No record of them is
    /// read before [`GroupControl::start`].
    Assigned(Assignment),
    /// The group revokes the partitions of this generation, and no batch of it follows. The source
    /// holds them back for a while until [`GroupControl::released`], so that batches in flight can
    /// be committed.
    Revoked {
        /// The generation.
        generation: u64,
        /// Whether the partitions are already lost. Another member may be reading them, so batches
        /// in flight need not be finished.
        lost: bool,
    },
    /// No records at present: call again.
    Idle,
    /// No more records will come. The ends that were seen at the start are reached, or the source
    /// was closed.
    End,
}

/// Partitions that a group assigned to this member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Number of the assignment. It grows.
    pub generation: u64,
    /// The partitions. There are none if the group has more members than partitions.
    pub partitions: Vec<AssignedPartition>,
}

/// A partition that the group assigned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssignedPartition {
    /// The partition.
    pub partition: PartitionId,
    /// Offset of the first record in the log, if known.
    pub begin: Option<u64>,
    /// Offset after the last record of the log, if known.
    pub end: Option<u64>,
    /// Offset that the group has committed, if known. It only informs: the store's position
    /// decides.
    pub committed: Option<u64>,
    /// Whether another program committed that offset. Then it is not overwritten.
    pub foreign: bool,
}

/// A source whose partitions a group assigns and revokes, as Kafka's consumer groups do.
///
/// # Protocol
///
/// - The reading thread calls [`next`](Self::next) again and again. The source stays a member of
///   its group between calls.
/// - After [`Assigned`](GroupProgress::Assigned) the caller looks up the stored positions and
///   passes them to [`GroupControl::start`]. Only then do batches of that generation arrive.
/// - After each commit, the committing thread calls [`GroupControl::committed`].
/// - After [`Revoked`](GroupProgress::Revoked) the caller finishes or drops batches in flight, then
///   calls [`GroupControl::released`].
/// - [`GroupControl::restart`] skips the revocation: the next `Assigned` has the same partitions
///   under a new generation.
///
/// Example: `Assigned(1)`, `start(1)`, `Batch`, `Batch`, `Revoked(1)`, `released(1)`,
/// `Assigned(2)`.
///
/// A [`Position::offset`] is the offset of the next record.
///
/// The only member of a group with one partition, which has two records:
///
/// ```
/// use std::sync::{Arc, Mutex, PoisonError};
///
/// use turnmill_source::{
///     AssignedPartition, Assignment, GroupControl, GroupLimits, GroupProgress, GroupSource, GroupStats, NewRecord,
///     PartitionId, PartitionLag, PartitionPosition, PartitionStart, Position, RecordBatch, SourceError,
/// };
///
/// const LOG: [&[u8]; 2] = [br#"{"event": "restart"}"#, br#"{"event": "restart"}"#];
///
/// /// What the reading and the committing thread share.
/// #[derive(Debug, Default)]
/// struct State {
///     generation: u64,
///     reported: u64,
///     position: Option<Position>,
///     closed: bool,
/// }
///
/// #[derive(Clone, Debug, Default)]
/// struct Member(Arc<Mutex<State>>);
///
/// impl Member {
///     fn with<T>(&self, use_state: impl FnOnce(&mut State) -> T) -> T {
///         use_state(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
///     }
/// }
///
/// fn partition() -> PartitionId {
///     PartitionId::new("example", "log/0")
/// }
///
/// impl GroupSource for Member {
///     fn next(&mut self, limits: &GroupLimits, out: &mut RecordBatch) -> Result<GroupProgress, SourceError> {
///         let progress = self.with(|state| {
///             if state.closed {
///                 return GroupProgress::End;
///             }
///             state.generation = state.generation.max(1);
///             if state.reported < state.generation {
///                 state.reported = state.generation;
///                 let partition = AssignedPartition { partition: partition(), ..AssignedPartition::default() };
///                 return GroupProgress::Assigned(Assignment {
///                     generation: state.generation,
///                     partitions: vec![partition],
///                 });
///             }
///             // No position yet: `start` was not called.
///             let Some(from) = state.position.clone() else { return GroupProgress::Idle };
///             let rest = (from.offset..).zip(LOG.into_iter().skip(from.offset as usize)).take(limits.records);
///             out.begin(state.generation);
///             let part = out.begin_part(&partition(), Some(&from));
///             let mut to = from;
///             for (offset, payload) in rest {
///                 out.push_to(part, &NewRecord { payload: Some(payload), offset, ..NewRecord::default() });
///                 to = Position::at(offset + 1);
///             }
///             out.end_part(part, Some(to.clone()));
///             state.position = Some(to);
///             if out.is_empty() { GroupProgress::Idle } else { GroupProgress::Batch }
///         });
///         if progress == GroupProgress::Idle {
///             std::thread::sleep(limits.wait);
///         }
///         Ok(progress)
///     }
///
///     fn control(&self) -> Arc<dyn GroupControl> {
///         Arc::new(self.clone())
///     }
/// }
///
/// impl GroupControl for Member {
///     fn generation(&self) -> u64 {
///         self.with(|state| state.generation)
///     }
///
///     fn start(&self, generation: u64, starts: Vec<PartitionStart>) {
///         self.with(|state| {
///             if generation == state.generation {
///                 let start = starts.into_iter().find(|start| start.partition == partition());
///                 let position = start.and_then(|start| start.position);
///                 state.position = Some(position.unwrap_or(Position::at(0)));
///             }
///         });
///     }
///
///     fn restart(&self) {
///         self.with(|state| (state.generation, state.position) = (state.generation + 1, None));
///     }
///
///     fn close(&self) {
///         self.with(|state| state.closed = true);
///     }
///
///     // No other member takes the partition, and no tool watches the group.
///     fn released(&self, _: u64) {}
///     fn committed(&self, _: &[PartitionPosition]) {}
///
///     fn lag(&self) -> Vec<PartitionLag> {
///         let next = self.with(|state| state.position.as_ref().map(|position| position.offset));
///         vec![PartitionLag { partition: partition(), next, end: Some(LOG.len() as u64), time: None }]
///     }
///
///     fn stats(&self) -> GroupStats {
///         GroupStats::default()
///     }
/// }
///
/// // The reading thread calls `next`. The committing thread has the control.
/// let (mut source, mut batch, limits) = (Member::default(), RecordBatch::new(), GroupLimits::default());
/// let control = source.control();
/// let GroupProgress::Assigned(assignment) = source.next(&limits, &mut batch)? else { panic!("no assignment") };
/// // The store has the position after the first record.
/// let start = PartitionStart { partition: partition(), position: Some(Position::at(1)) };
/// control.start(assignment.generation, vec![start]);
/// assert_eq!(source.next(&limits, &mut batch)?, GroupProgress::Batch);
/// assert_eq!((batch.generation(), batch.len()), (control.generation(), 1));
/// control.committed(&[PartitionPosition { partition: partition(), position: Position::at(2) }]);
/// assert_eq!(control.lag()[0].offsets(), Some(0));
/// // Another writer has moved the stored position: the same partitions come under a new generation.
/// control.restart();
/// assert!(matches!(source.next(&limits, &mut batch)?, GroupProgress::Assigned(again) if again.generation == 2));
/// control.close();
/// assert_eq!(source.next(&limits, &mut batch)?, GroupProgress::End);
/// # Ok::<(), SourceError>(())
/// ```
pub trait GroupSource: Send {
    /// Returns the name of the decoder that the records need. `None`: the one that the caller's
    /// facts about the source name, else the default one.
    fn decoder(&self) -> Option<&str> {
        None
    }

    /// Waits for the next result. Empties and fills `out` if it is a batch.
    ///
    /// Waits at most about `limits.wait`, and `limits.linger` once there is a record. After
    /// [`GroupProgress::End`] it returns `End` again, unless the source was
    /// [restarted](GroupControl::restart).
    ///
    /// # Errors
    ///
    /// [`SourceError`] if the source cannot recover by itself, for example after a refused login.
    /// Faults that pass, such as an unavailable broker, are no errors: see
    /// [`GroupStats::last_error`].
    fn next(&mut self, limits: &GroupLimits, out: &mut RecordBatch) -> Result<GroupProgress, SourceError>;

    /// Returns the handle for the thread that commits.
    fn control(&self) -> Arc<dyn GroupControl>;
}

/// Controls a [`GroupSource`] from the thread that commits its batches.
///
/// # Protocol
///
/// - [`start`](Self::start), once for each [`GroupProgress::Assigned`].
/// - [`committed`](Self::committed), after each commit.
/// - [`released`](Self::released), once for each [`GroupProgress::Revoked`].
/// - [`restart`](Self::restart), after a fence.
/// - [`close`](Self::close), once at the end.
///
/// Calls come while the reading thread is inside [`GroupSource::next`], so no call may block. None
/// returns an error: a source that cannot go on returns it from `next`. [`GroupSource`] has an
/// example.
pub trait GroupControl: Send + Sync + Debug {
    /// Returns the generation of the current assignment, 0 before the first. Do not commit a batch
    /// of an older one.
    fn generation(&self) -> u64;

    /// Starts to read an assignment at these positions; from the earliest record where there is
    /// none. Ignored if `generation` is no longer current.
    fn start(&self, generation: u64, starts: Vec<PartitionStart>);

    /// Declares that no batch of the revoked generation is in flight, so its partitions can be
    /// given back.
    fn released(&self, generation: u64);

    /// Discards what was read ahead and reports the current assignment again under a new
    /// generation. For the case that another writer has advanced the stored positions. Does nothing
    /// without an assignment.
    fn restart(&self);

    /// Declares that these positions are stored. The source commits them to the group later, for
    /// tools that watch the group's lag.
    fn committed(&self, positions: &[PartitionPosition]);

    /// Returns the lag of each assigned partition.
    fn lag(&self) -> Vec<PartitionLag>;

    /// Returns counters since the start.
    fn stats(&self) -> GroupStats;

    /// Leaves the group and gives its partitions back at once. [`GroupSource::next`] soon returns
    /// `End`.
    fn close(&self);
}

/// An assigned partition, and where to start reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStart {
    /// The partition.
    pub partition: PartitionId,
    /// Where to start; `None`: at the earliest record.
    pub position: Option<Position>,
}

impl PartitionStart {
    /// Starts at the earliest record.
    ///
    /// ```
    /// use turnmill_source::{PartitionId, PartitionStart};
    /// let start = PartitionStart::earliest(PartitionId::new("cluster", "rasa/0"));
    /// assert_eq!(start.position, None);
    /// ```
    #[must_use]
    pub fn earliest(partition: PartitionId) -> Self {
        Self { partition, position: None }
    }
}

/// A partition, and the position that is stored for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionPosition {
    /// The partition.
    pub partition: PartitionId,
    /// Position after the last stored record.
    pub position: Position,
}

/// The lag of a partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartitionLag {
    /// The partition.
    pub partition: PartitionId,
    /// Offset of the next record to deliver, once reading has begun.
    pub next: Option<u64>,
    /// Offset after the log's last record, as far as known.
    pub end: Option<u64>,
    /// Time of the last delivered record, in Unix seconds.
    pub time: Option<f64>,
}

impl PartitionLag {
    /// Returns the number of offsets that are still to be delivered.
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

/// Counters of a [`GroupSource`] since its start, and its present contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupStats {
    /// Number of assignments by the group.
    pub rebalances: u64,
    /// Number of assignments that were lost without a revocation.
    pub lost: u64,
    /// Number of partitions that were read from their earliest record, because the stored position
    /// is not of their log.
    pub resets: u64,
    /// Number of offsets that were deleted before they could be read.
    pub gaps: u64,
    /// Number of skipped offsets without a record: transaction markers, aborted and compacted
    /// records.
    pub passed: u64,
    /// Number of times that reading paused because enough was read ahead.
    pub pauses: u64,
    /// Number of partitions that are paused at present because enough was read ahead.
    pub paused_partitions: u64,
    /// Number of records that were read ahead and not delivered yet.
    pub buffered_records: u64,
    /// Their bytes.
    pub buffered_bytes: u64,
    /// Number of errors that passed by themselves.
    pub errors: u64,
    /// The last of these errors.
    pub last_error: Option<String>,
}
