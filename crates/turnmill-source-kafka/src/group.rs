//! The two ends of a [`KafkaGroup`]: the one that reads and the one that commits.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use turnmill_source::{
    Assignment, GroupControl, GroupLimits, GroupProgress, GroupSource, GroupStats, PartitionId, PartitionLag,
    Position, RecordBatch, SourceError,
};

use crate::context::lock;
use crate::merge::{Due, Merge};
use crate::poll::Poller;
use crate::{KafkaError, KafkaSettings};

/// What the poll thread has to say besides records.
#[derive(Debug)]
pub(crate) enum Say {
    Assigned(Assignment),
    Revoked { generation: u64, lost: bool },
    Failed(KafkaError),
}

/// What the poll thread is asked to do.
#[derive(Debug)]
pub(crate) enum Ask {
    Start(u64, Vec<(PartitionId, Option<Position>)>),
    Released(u64),
    Restart,
}

/// What the threads share.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) generation: u64,
    pub(crate) merge: Merge,
    pub(crate) say: VecDeque<Say>,
    pub(crate) asks: Vec<Ask>,
    /// Stored positions to mirror.
    pub(crate) mirror: HashMap<PartitionId, u64>,
    /// Ends of the logs.
    pub(crate) ends: HashMap<PartitionId, u64>,
    pub(crate) stats: GroupStats,
    /// Records and bytes at which the reader wants to be woken, if it waits.
    pub(crate) wanted: Option<(usize, usize)>,
    /// Whether ends are final: replays.
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

/// Topics read in a consumer group, or a range of them without one.
///
/// A thread of its own polls Kafka, so that membership does not depend on how long a commit takes. It needs no broker
/// to begin with, and no topic: it keeps trying.
///
/// ```no_run
/// use turnmill_source::{GroupLimits, GroupProgress, GroupSource, RecordBatch};
/// use turnmill_source_kafka::{KafkaGroup, KafkaSettings};
///
/// let mut group = KafkaGroup::start(&KafkaSettings::new("localhost:9092"))?;
/// let control = group.control();
/// let mut batch = RecordBatch::new();
/// loop {
///     match group.next(&GroupLimits::default(), &mut batch)? {
///         GroupProgress::Assigned(assignment) => {
///             let positions = assignment.partitions.into_iter().map(|assigned| (assigned.partition, None));
///             control.start(assignment.generation, positions.collect());
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
    /// Begins to join the group (or to look up the range).
    ///
    /// # Errors
    ///
    /// What [`KafkaSettings::validate`] says, and [`KafkaError::Property`] for what only the client library knows.
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
            match state.say.pop_front() {
                Some(Say::Assigned(assignment)) => return Ok(GroupProgress::Assigned(assignment)),
                Some(Say::Revoked { generation, lost }) => {
                    return Ok(GroupProgress::Revoked { generation, lost });
                }
                Some(Say::Failed(error)) => {
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
                // Records have their own deadline.
                Due::At(at) => at,
                Due::Never if state.bounded && state.started && state.merge.ended() => {
                    return Ok(GroupProgress::End);
                }
                Due::Never if now >= give_up => return Ok(GroupProgress::Idle),
                Due::Never => give_up,
            };
            state.wanted = Some((limits.records, limits.bytes));
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
            // A thread that panicked has said so on its own.
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Control {
    shared: Arc<Shared>,
}

impl Control {
    fn ask(&self, ask: Ask) {
        lock(&self.shared.state).asks.push(ask);
    }
}

impl GroupControl for Control {
    fn generation(&self) -> u64 {
        lock(&self.shared.state).generation
    }

    fn start(&self, generation: u64, positions: Vec<(PartitionId, Option<Position>)>) {
        self.ask(Ask::Start(generation, positions));
    }

    fn released(&self, generation: u64) {
        self.ask(Ask::Released(generation));
    }

    fn restart(&self) {
        let mut state = lock(&self.shared.state);
        // Nothing more of this generation, from now on.
        state.started = false;
        state.merge.reset(Vec::new());
        state.asks.push(Ask::Restart);
    }

    fn committed(&self, positions: &[(PartitionId, Position)]) {
        let mut state = lock(&self.shared.state);
        for (partition, position) in positions {
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
        let (records, bytes) = state.merge.held();
        GroupStats {
            paused_partitions: state.merge.lanes.iter().filter(|lane| lane.paused).count() as u64,
            buffered_records: records as u64,
            buffered_bytes: bytes as u64,
            ..state.stats.clone()
        }
    }

    fn close(&self) {
        lock(&self.shared.state).closing = true;
    }
}
