//! The two handles of a [`KafkaGroup`]: the reader's and the committing thread's.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use turnmill_source::{
    Assignment, GroupControl, GroupLimits, GroupProgress, GroupSource, GroupStats, PartitionId, PartitionLag,
    PartitionPosition, PartitionStart, RecordBatch, SourceError,
};

use crate::context::lock;
use crate::merge::{BufferSize, Due, Merge};
use crate::poll::Poller;
use crate::{KafkaError, KafkaSettings};

/// What the poll thread reports besides records.
#[derive(Debug)]
pub(crate) enum GroupEvent {
    Assigned(Assignment),
    Revoked { generation: u64, lost: bool },
    Failed(KafkaError),
}

/// What other threads ask the poll thread to do.
#[derive(Debug)]
pub(crate) enum Command {
    Start(u64, Vec<PartitionStart>),
    Released(u64),
    Restart,
}

/// State that the poll thread shares with the reader and the committing thread.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) generation: u64,
    pub(crate) merge: Merge,
    pub(crate) events: VecDeque<GroupEvent>,
    pub(crate) commands: Vec<Command>,
    /// Stored positions to commit to the group.
    pub(crate) mirror: HashMap<PartitionId, u64>,
    /// Offset after the last record of each log.
    pub(crate) ends: HashMap<PartitionId, u64>,
    pub(crate) stats: GroupStats,
    /// Amount of buffered records at which a waiting reader is woken.
    pub(crate) wanted: Option<BufferSize>,
    /// Whether reading stops at the ends that were seen first: replays.
    pub(crate) bounded: bool,
    pub(crate) started: bool,
    pub(crate) closing: bool,
    pub(crate) ended: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    pub(crate) ready: Condvar,
}

/// Topics that are read in a consumer group, or a range of them without a group.
///
/// A thread polls Kafka, so membership does not depend on how long a commit takes. It keeps trying
/// while there is no broker or no topic.
///
/// ```no_run
/// use turnmill_source::{GroupLimits, GroupProgress, GroupSource, PartitionStart, RecordBatch};
/// use turnmill_source_kafka::{KafkaGroup, KafkaSettings};
///
/// let mut group = KafkaGroup::start(&KafkaSettings::new("localhost:9092"))?;
/// let control = group.control();
/// let mut batch = RecordBatch::new();
/// loop {
///     match group.next(&GroupLimits::default(), &mut batch)? {
///         GroupProgress::Assigned(assignment) => {
///             let partitions = assignment.partitions.into_iter().map(|assigned| assigned.partition);
///             control.start(assignment.generation, partitions.map(PartitionStart::earliest).collect());
///         }
///         GroupProgress::Batch => println!("{} records", batch.len()),
///         GroupProgress::Revoked { generation, .. } => control.released(generation),
///         GroupProgress::Idle => {}
///         GroupProgress::End => break,
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct KafkaGroup {
    shared: Arc<Shared>,
    control: Arc<Control>,
    name: PartitionId,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for KafkaGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaGroup").field("name", &self.name).finish_non_exhaustive()
    }
}

impl KafkaGroup {
    /// Starts the poll thread, which joins the group or looks up the range.
    ///
    /// # Errors
    ///
    /// Errors of [`KafkaSettings::validate`], and [`KafkaError::Property`] if the client library
    /// refuses a property.
    pub fn start(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        settings.validate()?;
        let shared = Arc::new(Shared::default());
        let poller = Poller::new(settings, Arc::clone(&shared))?;
        let thread = std::thread::Builder::new()
            .name("turnmill-kafka".into())
            .spawn(move || poller.run())
            .map_err(|error| KafkaError::Failed {
                doing: "cannot start the poll thread",
                problem: error.to_string(),
            })?;
        let control = Arc::new(Control { shared: Arc::clone(&shared) });
        let name = PartitionId::new(settings.brokers.clone(), settings.topics.join(","));
        Ok(Self { shared, control, name, thread: Some(thread) })
    }
}

impl GroupSource for KafkaGroup {
    fn next(&mut self, limits: &GroupLimits, out: &mut RecordBatch) -> Result<GroupProgress, SourceError> {
        let give_up = Instant::now() + limits.wait;
        let mut state = lock(&self.shared.state);
        loop {
            match state.events.pop_front() {
                Some(GroupEvent::Assigned(assignment)) => return Ok(GroupProgress::Assigned(assignment)),
                Some(GroupEvent::Revoked { generation, lost }) => {
                    return Ok(GroupProgress::Revoked { generation, lost });
                }
                Some(GroupEvent::Failed(error)) => {
                    return Err(SourceError::Other { partition: self.name.clone(), source: error.into() });
                }
                None => {}
            }
            if state.ended {
                return Ok(GroupProgress::End);
            }
            let now = Instant::now();
            let due = if state.started { state.merge.due(limits, now) } else { Due::Never };
            let until = match due {
                Due::Now => {
                    let generation = state.generation;
                    state.merge.fill(limits, generation, now, out);
                    return Ok(GroupProgress::Batch);
                }
                // Buffered records have a deadline of their own.
                Due::At(at) => at,
                Due::Never if state.bounded && state.started && state.merge.ended() => {
                    return Ok(GroupProgress::End);
                }
                Due::Never if now >= give_up => return Ok(GroupProgress::Idle),
                Due::Never => give_up,
            };
            state.wanted = Some(BufferSize { records: limits.records, bytes: limits.bytes });
            let waited = self.shared.ready.wait_timeout(state, until.saturating_duration_since(now));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.wanted = None;
        }
    }

    fn control(&self) -> Arc<dyn GroupControl> {
        Arc::clone(&self.control) as Arc<dyn GroupControl>
    }
}

impl Drop for KafkaGroup {
    fn drop(&mut self) {
        self.control.close();
        if let Some(thread) = self.thread.take() {
            // A panic was already reported by the thread.
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Control {
    shared: Arc<Shared>,
}

impl Control {
    fn send(&self, command: Command) {
        lock(&self.shared.state).commands.push(command);
    }
}

impl GroupControl for Control {
    fn generation(&self) -> u64 {
        lock(&self.shared.state).generation
    }

    fn start(&self, generation: u64, starts: Vec<PartitionStart>) {
        self.send(Command::Start(generation, starts));
    }

    fn released(&self, generation: u64) {
        self.send(Command::Released(generation));
    }

    fn restart(&self) {
        let mut state = lock(&self.shared.state);
        // Deliver nothing more of this generation.
        state.started = false;
        state.merge.reset(Vec::new());
        state.commands.push(Command::Restart);
    }

    fn committed(&self, positions: &[PartitionPosition]) {
        let mut state = lock(&self.shared.state);
        for PartitionPosition { partition, position } in positions {
            state.mirror.insert(partition.clone(), position.offset);
        }
    }

    fn lag(&self) -> Vec<PartitionLag> {
        let state = lock(&self.shared.state);
        let lanes = state.merge.lanes.iter();
        lanes
            .map(|lane| PartitionLag {
                partition: lane.partition.clone(),
                next: Some(lane.next),
                end: state.ends.get(&lane.partition).map(|end| (*end).max(lane.expected)),
                time: lane.time,
            })
            .collect()
    }

    fn stats(&self) -> GroupStats {
        let state = lock(&self.shared.state);
        let buffered = state.merge.buffered();
        GroupStats {
            paused_partitions: state.merge.lanes.iter().filter(|lane| lane.paused).count() as u64,
            buffered_records: buffered.records as u64,
            buffered_bytes: buffered.bytes as u64,
            ..state.stats.clone()
        }
    }

    fn close(&self) {
        lock(&self.shared.state).closing = true;
    }
}
