//! The thread that polls Kafka. No other code uses the consumer.
//!
//! One turn of [`Poller::poll_loop`] polls, handles the callbacks, runs the commands of the other
//! threads, and then does what is due. The phases of an assignment:
//!
//! ```text
//!              assigned            start              watermarks known
//! Unassigned ----------> Assigned -----> Starting -----------------> Reading
//!     ^                                                                 |
//!     |          released, or session_timeout / 2 later     revoked     |
//!     +----------------------- Revoked <--------------------------------+
//! ```
//!
//! A revocation leads to `Revoked` from every phase whose assignment the caller has seen. Lost
//! partitions lead to `Unassigned` at once. [`Poller::report_assignment`] leads back to `Assigned`
//! from `Starting` and `Reading`, under a new generation.

mod faults;
pub(crate) mod membership;
mod message;
mod range;
mod upkeep;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use turnmill_source::{AssignedPartition, Assignment, Opened, PartitionId, Position};

use crate::context::{Context, Notice, TopicPartition, lock};
use crate::error::explain;
use crate::group::{Command, GroupEvent, Shared, State};
use crate::merge::Lane;
use crate::{KafkaError, KafkaSettings};

/// Time a poll waits for a message. Commands of other threads wait as long.
const POLL_TIMEOUT: Duration = Duration::from_millis(20);
/// Timeout of a request to a broker.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// Timeout of a request whose answer is not essential.
const SHORT_TIMEOUT: Duration = Duration::from_millis(500);
/// Interval at which the ends of paused partitions are requested.
const PAUSED_ENDS_INTERVAL: Duration = Duration::from_secs(5);
/// Interval at which stored positions are committed to the group.
const MIRROR_INTERVAL: Duration = Duration::from_secs(3);
/// Time a partition must have been at its end before its position moves past offsets without
/// records. It exceeds two intervals of statistics, so the statistics are newer than the end.
const SETTLE_TIME: Duration = Duration::from_millis(2500);
/// Number of consecutive idle polls after which the client's queue counts as empty.
const IDLE_POLLS: u32 = 3;

/// The phase of the assignment.
#[derive(Debug)]
enum Phase {
    /// There is no assignment, or it was given back.
    Unassigned,
    /// The assignment was reported. Its positions have not arrived.
    Assigned,
    /// The positions have arrived. They must be compared with the logs.
    Starting(HashMap<PartitionId, Option<Position>>),
    Reading,
    /// The partitions are held until this time, or until they are released.
    Revoked(Instant),
}

pub(crate) struct Poller {
    settings: KafkaSettings,
    consumer: BaseConsumer<Context>,
    shared: Arc<Shared>,
    cluster: Option<String>,
    phase: Phase,
    partitions: Vec<TopicPartition>,
    /// First and next offset of each log.
    watermarks: HashMap<TopicPartition, (u64, u64)>,
    /// Index of each partition's lane.
    lanes: HashMap<String, HashMap<i32, usize>>,
    /// End of each partition when it was first seen.
    stops: HashMap<TopicPartition, u64>,
    /// Stored positions that do not belong to the present logs.
    rewritten: HashMap<PartitionId, Position>,
    /// Whether this process may commit the group's offsets.
    mirroring: membership::Mirroring,
    /// First offset of each partition in a range.
    begins: HashMap<TopicPartition, u64>,
    /// Lanes that may move past offsets without records: index, expected offset, new offset.
    settling: Vec<(usize, u64, u64)>,
    /// Number of consecutive idle polls.
    idle_polls: u32,
    mirrored: Instant,
    paused_ends_fetched: Instant,
    /// No broker is asked for watermarks before this time.
    retry_after: Instant,
    /// Time at which to join the group, if that is still to be done.
    join: Option<Instant>,
    fencing: faults::Fencing,
}

impl Poller {
    pub(crate) fn new(settings: &KafkaSettings, shared: Arc<Shared>) -> Result<Self, KafkaError> {
        let consumer = faults::consumer(settings)?;
        lock(&shared.state).bounded = settings.until_end || settings.range.is_some();
        let now = Instant::now();
        Ok(Self {
            settings: settings.clone(),
            consumer,
            shared,
            cluster: None,
            phase: Phase::Unassigned,
            partitions: Vec::new(),
            watermarks: HashMap::new(),
            lanes: HashMap::new(),
            stops: HashMap::new(),
            rewritten: HashMap::new(),
            mirroring: membership::Mirroring::default(),
            begins: HashMap::new(),
            settling: Vec::new(),
            idle_polls: 0,
            mirrored: now,
            paused_ends_fetched: now,
            retry_after: now,
            join: None,
            fencing: faults::Fencing::default(),
        })
    }

    pub(crate) fn run(mut self) {
        if let Err(error) = self.poll_loop() {
            lock(&self.shared.state).events.push_back(GroupEvent::Failed(error));
        }
        self.mirror(true);
        {
            let mut state = lock(&self.shared.state);
            state.started = false;
            state.merge.reset(Vec::new());
            state.ended = true;
        }
        self.shared.ready.notify_all();
        self.consumer.context().closing.store(true, Ordering::Release);
        // Dropping the consumer leaves the group.
    }

    fn poll_loop(&mut self) -> Result<(), KafkaError> {
        while !lock(&self.shared.state).closing {
            if self.cluster.is_none() {
                self.find_cluster()?;
            }
            if self.join.is_some_and(|at| at <= Instant::now()) {
                self.join()?;
            }
            let began = Instant::now();
            let idle = !self.poll(POLL_TIMEOUT)? && began.elapsed() >= POLL_TIMEOUT;
            self.idle_polls = if idle { self.idle_polls + 1 } else { 0 };
            // Take what else has arrived, but run commands regularly and respect the buffer limits.
            for _ in 0..(self.settings.buffer_records / 8).clamp(1, 1000) {
                if !self.poll(Duration::ZERO)? || self.buffer_is_full() {
                    break;
                }
            }
            self.reassign_rewritten_logs();
            self.run_commands();
            self.advance_phase()?;
            self.settle();
            self.pause_and_resume();
            self.fetch_paused_ends();
            self.mirror(false);
        }
        Ok(())
    }

    /// Fetches the cluster's id. It names the partitions, so nothing is read before it is known.
    fn find_cluster(&mut self) -> Result<(), KafkaError> {
        self.cluster = self.consumer.client().fetch_cluster_id(Duration::from_millis(500));
        if self.cluster.is_none() {
            return Ok(());
        }
        if self.settings.range.is_some() {
            return self.assign_range();
        }
        self.join = Some(Instant::now());
        Ok(())
    }

    fn join(&mut self) -> Result<(), KafkaError> {
        self.join = None;
        self.refuse_foreign_members()?;
        let topics: Vec<&str> = self.settings.topics.iter().map(String::as_str).collect();
        self.consumer.subscribe(&topics).map_err(|error| KafkaError::failed("cannot subscribe", &error))
    }

    fn partition(&self, (topic, number): &TopicPartition) -> PartitionId {
        PartitionId::new(self.cluster.clone().unwrap_or_default(), format!("{topic}/{number}"))
    }

    /// Polls once and returns whether anything arrived.
    fn poll(&mut self, wait: Duration) -> Result<bool, KafkaError> {
        // The message borrows the consumer, so errors are handled after it is dropped.
        let mut failure = None;
        let mut any = false;
        match self.consumer.poll(wait) {
            Some(Ok(message)) => {
                any = true;
                if matches!(self.phase, Phase::Reading) {
                    message::take(&self.shared, &self.lanes, &message);
                }
            }
            Some(Err(ClientError::PartitionEOF(number))) => {
                any = true;
                self.reached_end(number);
            }
            Some(Err(error)) => {
                any = true;
                failure = Some(error);
            }
            None => {}
        }
        if let Some(error) = failure {
            self.handle_poll_error(&error)?;
        }
        for notice in self.consumer.context().take() {
            match notice {
                Notice::Assigned(partitions) => self.handle_assigned(partitions)?,
                Notice::Revoked { lost } => self.handle_revoked(lost),
                Notice::Stats(ends) => self.record_statistics(&ends),
                Notice::Error(code, reason) => self.note_error(code, reason)?,
            }
        }
        Ok(any)
    }

    /// Handles the end of a partition with this number.
    ///
    /// librdkafka does not name the topic. With several topics, only lanes whose next offset is at
    /// the known end count.
    fn reached_end(&mut self, number: i32) {
        if !matches!(self.phase, Phase::Reading) {
            return;
        }
        let several = self.lanes.len() > 1;
        let mut state = lock(&self.shared.state);
        let now = Instant::now();
        for lane in self.lanes.values().filter_map(|numbers| numbers.get(&number)) {
            let State { merge, ends, .. } = &mut *state;
            let has_lag = merge
                .lanes
                .get(*lane)
                .is_some_and(|lane| ends.get(&lane.partition).is_none_or(|end| lane.expected < *end));
            if !(several && has_lag) {
                merge.reached_end(*lane, now);
            }
        }
        drop(state);
        self.shared.ready.notify_all();
    }

    fn handle_assigned(&mut self, partitions: Vec<TopicPartition>) -> Result<(), KafkaError> {
        lock(&self.shared.state).stats.rebalances += 1;
        self.refuse_foreign_members()?;
        self.partitions = partitions;
        self.mirroring = membership::Mirroring::default();
        self.report_assignment();
        Ok(())
    }

    /// Reports the assignment again if a log turned out to be another one than the stored
    /// position's. [`begin`](Self::begin) then reads that log from its earliest record.
    fn reassign_rewritten_logs(&mut self) {
        if !matches!(self.phase, Phase::Reading) {
            return;
        }
        let rewritten = lock(&self.shared.state).merge.rewritten();
        if !rewritten.is_empty() {
            self.rewritten.extend(rewritten);
            self.report_assignment();
        }
    }

    /// Stops reading, and reports the assignment under a new generation.
    ///
    /// Everything that belongs to the old generation is dropped here: lanes, buffered records,
    /// watermarks. The caller answers with the stored positions, as after a rebalance.
    fn report_assignment(&mut self) {
        let _ = self.consumer.unassign();
        self.lanes.clear();
        self.settling.clear();
        self.watermarks.clear();
        self.retry_after = Instant::now();
        let mut state = lock(&self.shared.state);
        state.generation += 1;
        state.started = false;
        state.merge.reset(Vec::new());
        drop(state);
        self.fetch_watermarks();
        let committed = self.committed();
        let foreign = |topic_partition: &TopicPartition| self.mirroring.is_foreign(topic_partition);
        let partitions = self.partitions.iter().map(|topic_partition| {
            let watermarks = self.watermarks.get(topic_partition);
            AssignedPartition {
                partition: self.partition(topic_partition),
                begin: watermarks.map(|(begin, _)| *begin),
                end: watermarks.map(|(_, end)| *end),
                committed: committed.get(topic_partition).copied(),
                foreign: foreign(topic_partition),
            }
        });
        let partitions: Vec<_> = partitions.collect();
        let mut state = lock(&self.shared.state);
        let generation = state.generation;
        state.events.push_back(GroupEvent::Assigned(Assignment { generation, partitions }));
        drop(state);
        self.phase = Phase::Assigned;
        self.shared.ready.notify_all();
    }

    /// Fetches missing watermarks and returns whether all are known now.
    fn fetch_watermarks(&mut self) -> bool {
        if Instant::now() < self.retry_after {
            return false;
        }
        for topic_partition in &self.partitions {
            if self.watermarks.contains_key(topic_partition) {
                continue;
            }
            match self.consumer.fetch_watermarks(&topic_partition.0, topic_partition.1, REQUEST_TIMEOUT) {
                Ok((begin, end)) => {
                    let known = (unsigned(begin), unsigned(end));
                    self.watermarks.insert(topic_partition.clone(), known);
                }
                Err(error) => {
                    let mut state = lock(&self.shared.state);
                    state.stats.errors += 1;
                    state.stats.last_error = Some(explain(&error));
                    drop(state);
                    // Keep polling between attempts.
                    self.retry_after = Instant::now() + Duration::from_millis(500);
                    return false;
                }
            }
        }
        true
    }

    /// Returns the group's committed offsets, and checks which program committed them.
    fn committed(&mut self) -> HashMap<TopicPartition, u64> {
        if self.settings.range.is_some() || self.partitions.is_empty() {
            return HashMap::new();
        }
        self.check_group_offsets().map(|list| offsets(&list)).unwrap_or_default()
    }

    fn list(
        &self,
        partitions: &[TopicPartition],
        offset: impl Fn(&TopicPartition) -> Offset,
    ) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for topic_partition in partitions {
            // Fails only for invalid offsets, which do not occur here.
            let _ = list.add_partition_offset(&topic_partition.0, topic_partition.1, offset(topic_partition));
        }
        list
    }

    fn handle_revoked(&mut self, lost: bool) {
        let mut state = lock(&self.shared.state);
        let generation = state.generation;
        state.started = false;
        state.merge.reset(Vec::new());
        state.stats.lost += u64::from(lost);
        if lost {
            // Batches in flight now belong to another member's partitions.
            state.generation += 1;
        }
        if !matches!(self.phase, Phase::Unassigned) {
            // The caller has not seen this assignment yet: withdraw it silently.
            let unseen = state.events.iter().position(
                |event| matches!(event, GroupEvent::Assigned(assignment) if assignment.generation == generation),
            );
            match unseen {
                Some(at) => _ = state.events.remove(at),
                None => state.events.push_back(GroupEvent::Revoked { generation, lost }),
            }
            if !lost && unseen.is_none() {
                self.phase = Phase::Revoked(Instant::now() + self.settings.session_timeout / 2);
                drop(state);
                self.shared.ready.notify_all();
                return;
            }
        }
        drop(state);
        self.shared.ready.notify_all();
        // Do not commit offsets for lost partitions: the coordinator would fence this member.
        self.unassign();
    }

    fn give_back_partitions(&mut self) {
        self.mirror(true);
        self.unassign();
    }

    fn unassign(&mut self) {
        let _ = self.consumer.unassign();
        self.partitions.clear();
        self.lanes.clear();
        self.phase = Phase::Unassigned;
    }

    fn run_commands(&mut self) {
        let mut state = lock(&self.shared.state);
        let (commands, generation) = (std::mem::take(&mut state.commands), state.generation);
        drop(state);
        for command in commands {
            match command {
                Command::Start(of, starts) => {
                    if of == generation && matches!(self.phase, Phase::Assigned) {
                        let starts = starts.into_iter().map(|start| (start.partition, start.position));
                        self.phase = Phase::Starting(starts.collect());
                    }
                }
                Command::Released(of) => {
                    if of == generation && matches!(self.phase, Phase::Revoked(_)) {
                        self.give_back_partitions();
                    }
                }
                Command::Restart => {
                    if matches!(self.phase, Phase::Reading | Phase::Starting(_)) {
                        self.report_assignment();
                        // Other commands were for the old generation.
                        return;
                    }
                }
            }
        }
    }

    fn advance_phase(&mut self) -> Result<(), KafkaError> {
        if let Phase::Revoked(until) = self.phase
            && Instant::now() >= until
        {
            self.give_back_partitions();
        }
        if matches!(self.phase, Phase::Starting(_)) && self.fetch_watermarks() {
            let phase = std::mem::replace(&mut self.phase, Phase::Unassigned);
            if let Phase::Starting(positions) = phase {
                self.begin(positions)?;
            }
        }
        Ok(())
    }

    /// Assigns the partitions at their positions.
    ///
    /// Each partition begins at one of these offsets, where `begin` and `end` are the log's:
    ///
    /// ```text
    /// stored position                            begins at   reported as
    /// none                                       begin       Fresh
    /// another log's (see `rewritten`)            begin       Rewritten
    /// past `end`                                 begin       Replaced
    /// before `begin`                             begin       Gap
    /// within the log                             stored      Resumed
    /// ```
    fn begin(&mut self, positions: HashMap<PartitionId, Option<Position>>) -> Result<(), KafkaError> {
        // A position may be newer than what was known of the log's end.
        let is_past_end = |poller: &Self, topic_partition: &TopicPartition| {
            let stored = positions.get(&poller.partition(topic_partition)).and_then(Option::as_ref);
            let end = poller.watermarks.get(topic_partition).map(|(_, end)| *end);
            stored.zip(end).is_some_and(|(stored, end)| stored.offset > end)
        };
        let past_end: Vec<_> = self
            .partitions
            .iter()
            .filter(|topic_partition| is_past_end(self, topic_partition))
            .cloned()
            .collect();
        for topic_partition in &past_end {
            self.watermarks.remove(topic_partition);
        }
        if !self.fetch_watermarks() {
            self.phase = Phase::Starting(positions);
            return Ok(());
        }
        let now = Instant::now();
        let mut lanes = Vec::new();
        let (mut resets, mut gaps) = (0, 0);
        self.lanes.clear();
        for topic_partition in &self.partitions {
            let partition = self.partition(topic_partition);
            let (begin, end) = self.watermarks.get(topic_partition).copied().unwrap_or_default();
            let position = positions.get(&partition).and_then(Option::as_ref);
            let stored = position.map(|position| position.offset);
            let fixed = self.begins.get(topic_partition).copied();
            let rewritten = position.is_some() && self.rewritten.get(&partition) == position;
            let (next, opened) = match (fixed, stored) {
                (Some(fixed), _) => (fixed.max(begin), Opened::Fresh),
                (None, None) => (begin, Opened::Fresh),
                (None, Some(_)) if rewritten => (begin, Opened::Rewritten),
                (None, Some(stored)) if stored > end => (begin, Opened::Replaced),
                (None, Some(stored)) if stored < begin => (begin, Opened::Gap { missing: begin - stored }),
                (None, Some(stored)) => (stored, Opened::Resumed),
            };
            match opened {
                Opened::Replaced | Opened::Rewritten => resets += 1,
                Opened::Gap { missing } => gaps += missing,
                Opened::Fresh | Opened::Resumed => {}
            }
            let mut lane = Lane::new(partition.clone(), position.cloned(), next, now);
            lane.positioned = fixed.is_none();
            lane.opened = Some(opened);
            if opened == Opened::Resumed {
                // Retention may have deleted the record.
                lane.expects =
                    position.and_then(|position| position.last).filter(|last| last.offset >= begin);
            }
            if self.settings.until_end {
                self.stops.entry(topic_partition.clone()).or_insert(end);
            }
            lane.stop = self.stops.get(topic_partition).copied();
            let numbers = self.lanes.entry(topic_partition.0.clone()).or_default();
            numbers.insert(topic_partition.1, lanes.len());
            lock(&self.shared.state).ends.insert(partition, end);
            lanes.push(lane);
        }
        let offsets: HashMap<_, _> = self.partitions.iter().zip(lanes.iter().map(Lane::first)).collect();
        let list = self.list(&self.partitions, |topic_partition| {
            Offset::Offset(signed(offsets.get(topic_partition).copied().unwrap_or_default()))
        });
        // librdkafka remembers paused partitions across a rebalance. The lanes that would resume
        // them are gone, so resume all.
        self.consumer.resume(&list).map_err(|error| KafkaError::failed("cannot resume", &error))?;
        self.consumer.assign(&list).map_err(|error| KafkaError::failed("cannot assign", &error))?;
        let mut state = lock(&self.shared.state);
        state.stats.resets += resets;
        state.stats.gaps += gaps;
        state.merge.reset(lanes);
        state.started = true;
        drop(state);
        self.phase = Phase::Reading;
        self.shared.ready.notify_all();
        Ok(())
    }
}

/// Returns the offsets of those partitions for which the broker knows one.
fn offsets(list: &TopicPartitionList) -> HashMap<TopicPartition, u64> {
    let elements = list.elements();
    let known = elements.iter().filter_map(|element| match (element.offset(), element.error()) {
        (Offset::Offset(offset), Ok(())) => {
            Some(((element.topic().to_owned(), element.partition()), unsigned(offset)))
        }
        _ => None,
    });
    known.collect()
}

fn unsigned(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}

fn signed(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
