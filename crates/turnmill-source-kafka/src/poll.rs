//! The thread that polls Kafka. The only place that talks to a consumer.

pub(crate) mod membership;
mod message;
mod range;
mod trouble;
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
use crate::group::{Ask, Say, Shared, State};
use crate::merge::Lane;
use crate::{KafkaError, KafkaSettings};

/// How long a poll waits for something to come; asks of the other threads wait as long.
const TICK: Duration = Duration::from_millis(20);
/// How long a broker may take to answer a question.
const ANSWER: Duration = Duration::from_secs(3);
/// The same for a question that can do without an answer.
const HASTE: Duration = Duration::from_millis(500);
/// How often ends of paused partitions are asked for.
const LOOK_AHEAD: Duration = Duration::from_secs(5);
/// How often stored positions are mirrored to the group.
const MIRROR: Duration = Duration::from_secs(3);
/// How long a partition must have been at its end before its position moves past offsets without records: longer than
/// two rounds of statistics, so that what they say is of now.
const SETTLED: Duration = Duration::from_millis(2500);
/// Polls in a row that must have waited in vain before the queue counts as empty.
const QUIET_POLLS: u32 = 3;

/// What the thread is doing.
#[derive(Debug)]
enum Phase {
    /// Nothing was handed out, or it was handed back.
    Unassigned,
    /// The assignment was reported and not yet started.
    Assigned,
    /// Positions came, and have to be compared with the log.
    Starting(HashMap<PartitionId, Option<Position>>),
    Reading,
    /// Until when the partitions are kept back.
    Revoked(Instant),
}

pub(crate) struct Poller {
    settings: KafkaSettings,
    consumer: BaseConsumer<Context>,
    shared: Arc<Shared>,
    cluster: Option<String>,
    phase: Phase,
    partitions: Vec<TopicPartition>,
    /// First and next offset of each partition.
    watermarks: HashMap<TopicPartition, (u64, u64)>,
    /// Number of each partition's lane.
    lanes: HashMap<String, HashMap<i32, usize>>,
    /// Where the partitions ended when they were first seen.
    stops: HashMap<TopicPartition, u64>,
    /// Stored positions that are not of the logs that are there now.
    rewritten: HashMap<PartitionId, Position>,
    /// Whether the group's offsets are ours to write.
    mirroring: membership::Mirroring,
    /// Where a range begins.
    begins: HashMap<TopicPartition, u64>,
    /// Lanes that may move past offsets without records: number, offset expected, and where to.
    settling: Vec<(usize, u64, u64)>,
    /// Polls in a row that waited in vain.
    quiet: u32,
    mirrored: Instant,
    looked_ahead: Instant,
    /// Not before then are brokers asked again.
    patience: Instant,
    /// When the group is to be joined, if it is not yet.
    join: Option<Instant>,
    /// When we were fenced last.
    fenced: Option<Instant>,
}

impl Poller {
    pub(crate) fn new(settings: &KafkaSettings, shared: Arc<Shared>) -> Result<Self, KafkaError> {
        let consumer = trouble::consumer(settings)?;
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
            quiet: 0,
            mirrored: now,
            looked_ahead: now,
            patience: now,
            join: None,
            fenced: None,
        })
    }

    pub(crate) fn run(mut self) {
        if let Err(error) = self.work() {
            lock(&self.shared.state).say.push_back(Say::Failed(error));
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

    fn work(&mut self) -> Result<(), KafkaError> {
        while !lock(&self.shared.state).closing {
            if self.cluster.is_none() {
                self.find_cluster()?;
            }
            if self.join.is_some_and(|at| at <= Instant::now()) {
                self.join()?;
            }
            let began = Instant::now();
            let vain = !self.poll(TICK)? && began.elapsed() >= TICK;
            self.quiet = if vain { self.quiet + 1 } else { 0 };
            // What came meanwhile, but not for ever, and not beyond what may be held.
            for _ in 0..(self.settings.buffer_records / 8).clamp(1, 1000) {
                if !self.poll(Duration::ZERO)? || self.full() {
                    break;
                }
            }
            self.read_rewritten_logs_anew();
            self.asks();
            self.advance_phase()?;
            self.settle();
            self.gate();
            self.look_ahead();
            self.mirror(false);
        }
        Ok(())
    }

    /// The cluster's id names the partitions; nothing is read before it is known.
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

    /// Polls once; whether there was a message.
    fn poll(&mut self, wait: Duration) -> Result<bool, KafkaError> {
        // Borrows the consumer, so what is done with it needs the other fields one by one.
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
            self.failed(&error)?;
        }
        for notice in self.consumer.context().take() {
            match notice {
                Notice::Assigned(partitions) => self.assigned(partitions)?,
                Notice::Revoked { lost } => self.revoked(lost),
                Notice::Stats(ends) => self.told(&ends),
                Notice::Error(code, reason) => self.trouble(code, reason)?,
            }
        }
        Ok(any)
    }

    /// All of the partitions with this number were read: which topic it is is not said, so that of several only those
    /// count whose next offset is at the end as far as known.
    fn reached_end(&mut self, number: i32) {
        if !matches!(self.phase, Phase::Reading) {
            return;
        }
        let several = self.lanes.len() > 1;
        let mut state = lock(&self.shared.state);
        let now = Instant::now();
        for lane in self.lanes.values().filter_map(|numbers| numbers.get(&number)) {
            let State { merge, ends, .. } = &mut *state;
            let behind = merge
                .lanes
                .get(*lane)
                .is_some_and(|lane| ends.get(&lane.partition).is_none_or(|end| lane.expected < *end));
            if !(several && behind) {
                merge.reached_end(*lane, now);
            }
        }
        drop(state);
        self.shared.ready.notify_all();
    }

    fn assigned(&mut self, partitions: Vec<TopicPartition>) -> Result<(), KafkaError> {
        lock(&self.shared.state).stats.rebalances += 1;
        self.refuse_foreign_members()?;
        self.partitions = partitions;
        self.mirroring = membership::Mirroring::default();
        self.again();
        Ok(())
    }

    /// Reports the assignment again if a log turned out not to be the one that its stored position is of. The next
    /// [`begin`](Self::begin) reads that one from its earliest record.
    fn read_rewritten_logs_anew(&mut self) {
        if !matches!(self.phase, Phase::Reading) {
            return;
        }
        let rewritten = lock(&self.shared.state).merge.rewritten();
        if !rewritten.is_empty() {
            self.rewritten.extend(rewritten);
            self.again();
        }
    }

    /// Reports the assignment under a new generation.
    fn again(&mut self) {
        let _ = self.consumer.unassign();
        self.lanes.clear();
        self.settling.clear();
        self.watermarks.clear();
        self.patience = Instant::now();
        let mut state = lock(&self.shared.state);
        state.generation += 1;
        state.started = false;
        state.merge.reset(Vec::new());
        drop(state);
        self.look_up();
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
        state.say.push_back(Say::Assigned(Assignment { generation, partitions }));
        drop(state);
        self.phase = Phase::Assigned;
        self.shared.ready.notify_all();
    }

    /// Asks where the logs begin and end, as far as that is not known; whether all is known now.
    fn look_up(&mut self) -> bool {
        if Instant::now() < self.patience {
            return false;
        }
        for topic_partition in &self.partitions {
            if self.watermarks.contains_key(topic_partition) {
                continue;
            }
            match self.consumer.fetch_watermarks(&topic_partition.0, topic_partition.1, ANSWER) {
                Ok((begin, end)) => {
                    let known = (unsigned(begin), unsigned(end));
                    self.watermarks.insert(topic_partition.clone(), known);
                }
                Err(error) => {
                    let mut state = lock(&self.shared.state);
                    state.stats.errors += 1;
                    state.stats.last_error = Some(explain(&error));
                    drop(state);
                    // Poll in between.
                    self.patience = Instant::now() + Duration::from_millis(500);
                    return false;
                }
            }
        }
        true
    }

    /// Offsets that the group has; also finds out whose they are.
    fn committed(&mut self) -> HashMap<TopicPartition, u64> {
        if self.settings.range.is_some() || self.partitions.is_empty() {
            return HashMap::new();
        }
        self.look_at_group_offsets().map(|list| offsets(&list)).unwrap_or_default()
    }

    fn list(
        &self,
        partitions: &[TopicPartition],
        offset: impl Fn(&TopicPartition) -> Offset,
    ) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for topic_partition in partitions {
            // Fails only for offsets that cannot be, which ours are not.
            let _ = list.add_partition_offset(&topic_partition.0, topic_partition.1, offset(topic_partition));
        }
        list
    }

    fn revoked(&mut self, lost: bool) {
        let mut state = lock(&self.shared.state);
        let generation = state.generation;
        state.started = false;
        state.merge.reset(Vec::new());
        state.stats.lost += u64::from(lost);
        if lost {
            // What is in flight is another member's by now.
            state.generation += 1;
        }
        if !matches!(self.phase, Phase::Unassigned) {
            // An assignment that nobody has heard of yet goes as silently.
            let unheard = state.say.iter().position(
                |say| matches!(say, Say::Assigned(assignment) if assignment.generation == generation),
            );
            match unheard {
                Some(at) => _ = state.say.remove(at),
                None => state.say.push_back(Say::Revoked { generation, lost }),
            }
            if !lost && unheard.is_none() {
                self.phase = Phase::Revoked(Instant::now() + self.settings.session_timeout / 2);
                drop(state);
                self.shared.ready.notify_all();
                return;
            }
        }
        drop(state);
        self.shared.ready.notify_all();
        // Who has lost its partitions has no say about their offsets either, and is fenced for trying.
        self.let_go();
    }

    fn hand_back(&mut self) {
        self.mirror(true);
        self.let_go();
    }

    fn let_go(&mut self) {
        let _ = self.consumer.unassign();
        self.partitions.clear();
        self.lanes.clear();
        self.phase = Phase::Unassigned;
    }

    fn asks(&mut self) {
        let mut state = lock(&self.shared.state);
        let (asks, generation) = (std::mem::take(&mut state.asks), state.generation);
        drop(state);
        for ask in asks {
            match ask {
                Ask::Start(of, positions) => {
                    if of == generation && matches!(self.phase, Phase::Assigned) {
                        self.phase = Phase::Starting(positions.into_iter().collect());
                    }
                }
                Ask::Released(of) => {
                    if of == generation && matches!(self.phase, Phase::Revoked(_)) {
                        self.hand_back();
                    }
                }
                Ask::Restart => {
                    if matches!(self.phase, Phase::Reading | Phase::Starting(_)) {
                        self.again();
                        // What was asked of the generation before is void.
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
            self.hand_back();
        }
        if matches!(self.phase, Phase::Starting(_)) && self.look_up() {
            let phase = std::mem::replace(&mut self.phase, Phase::Unassigned);
            if let Phase::Starting(positions) = phase {
                self.begin(positions)?;
            }
        }
        Ok(())
    }

    /// Assigns the partitions at their positions.
    fn begin(&mut self, positions: HashMap<PartitionId, Option<Position>>) -> Result<(), KafkaError> {
        // A position may be newer than what was known of the log's end.
        let beyond = |poller: &Self, topic_partition: &TopicPartition| {
            let stored = positions.get(&poller.partition(topic_partition)).and_then(Option::as_ref);
            let end = poller.watermarks.get(topic_partition).map(|(_, end)| *end);
            stored.zip(end).is_some_and(|(stored, end)| stored.offset > end)
        };
        let doubtful: Vec<_> =
            self.partitions.iter().filter(|topic_partition| beyond(self, topic_partition)).cloned().collect();
        for topic_partition in &doubtful {
            self.watermarks.remove(topic_partition);
        }
        if !self.look_up() {
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
                // Unless retention has deleted it.
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
        // The library keeps partitions paused that were assigned before; the lanes of those are gone, and nobody else
        // would read them on.
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

/// The offsets that a broker answered with, of those partitions that have one.
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
