//! Buffered records of several partitions, merged in the order of record times. No I/O and no
//! clock.
//!
//! Each partition has a [`Lane`], a queue of records in the order of its log. [`Merge::fill`]
//! always takes the oldest first record among the lanes. So a backlog of many partitions is read
//! roughly in the order of time:
//!
//! ```text
//! lane 0: 10:00 10:02 10:07
//! lane 1: 10:01 10:03          (not at its end: the next one may be of 10:04)
//! batch:  10:00 10:01 10:02 10:03, then wait for lane 1
//! ```
//!
//! Order across partitions only keeps late events rare. Results do not depend on it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use turnmill_source::{GroupLimits, LastRecord, NewRecord, Opened, PartitionId, Position, RecordBatch};

/// Number of records after which the next chunk is begun. A chunk's memory is reused when it is
/// empty.
const CHUNK_RECORDS: usize = 512;
/// Number of bytes after which the next chunk is begun.
const CHUNK_BYTES: usize = 256 << 10;
/// Maximum number of empty chunks that are kept.
const SPARE: usize = 16;
/// Time without new records, with every partition at its end, after which a batch is delivered
/// early.
const QUIET: Duration = Duration::from_millis(10);
/// Time a partition with lag and few buffered records is given to bring more. Otherwise the batch
/// would end where that partition runs out of records.
const GATHER: Duration = Duration::from_millis(5);
/// Time of records without one: they come first.
const TIMELESS: i64 = i64::MIN;

/// An amount of buffered records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BufferSize {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct Chunk {
    records: RecordBatch,
    /// Time of each record in milliseconds.
    times: Vec<i64>,
    head: usize,
    arrived: Instant,
}

/// The buffer and the state of one partition.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) partition: PartitionId,
    /// The position after everything that was delivered.
    pub(crate) from: Option<Position>,
    /// The last delivered record, or the one before the stored position.
    last: Option<LastRecord>,
    /// The record that the log must have before the stored position. Until it was seen, nothing is
    /// taken. If it is missing, the log is not the stored position's.
    pub(crate) expects: Option<LastRecord>,
    /// Another record was found instead, so this is another log.
    pub(crate) rewritten: bool,
    /// Whether batches of this lane have positions. Those of a range with a fixed start have none.
    pub(crate) positioned: bool,
    /// Next offset to deliver.
    pub(crate) next: u64,
    /// Next offset to read.
    pub(crate) expected: u64,
    /// Offset at which to stop.
    pub(crate) stop: Option<u64>,
    /// Time since which there is nothing more to read.
    pub(crate) at_end: Option<Instant>,
    /// Offset to move to although no record precedes it.
    pub(crate) advance: Option<u64>,
    pub(crate) opened: Option<Opened>,
    /// Time of the last delivered record.
    pub(crate) time: Option<f64>,
    pub(crate) paused: bool,
    /// Time since which the buffer is empty although the log may have more.
    starved: Option<Instant>,
    chunks: VecDeque<Chunk>,
    records: usize,
    bytes: usize,
}

impl Lane {
    /// Returns the lane of a partition that is read from `next` on. The store holds `from`.
    pub(crate) fn new(partition: PartitionId, from: Option<Position>, next: u64, now: Instant) -> Self {
        Self {
            partition,
            last: from.as_ref().and_then(|from| from.last),
            from,
            expects: None,
            rewritten: false,
            positioned: true,
            next,
            expected: next,
            stop: None,
            at_end: None,
            advance: None,
            opened: None,
            time: None,
            paused: false,
            starved: Some(now),
            chunks: VecDeque::new(),
            records: 0,
            bytes: 0,
        }
    }

    /// Returns whether all records up to the stop were read.
    pub(crate) fn is_done(&self) -> bool {
        self.expects.is_none() && self.stop.is_some_and(|stop| self.expected >= stop || self.at_end.is_some())
    }

    /// Returns the first offset to read. It is before the position if the log must be recognised
    /// first.
    pub(crate) fn first(&self) -> u64 {
        self.expects.map_or(self.next, |last| last.offset)
    }

    /// Checks `record` against the expected one, and returns whether the log is recognised. Sets
    /// [`rewritten`](Self::rewritten) if it is another log.
    ///
    /// Example: the store holds position 8 with record 7. Reading begins at 7. The record at 7 is
    /// equal: the log is recognised, and record 8 is taken. It differs, or the first record is at
    /// 9: the topic was recreated.
    fn recognise(&mut self, record: &NewRecord<'_>) -> bool {
        let Some(expected) = self.expects.filter(|last| !self.rewritten && record.offset >= last.offset)
        else {
            return self.expects.is_none();
        };
        if last_record(record.offset, record.time, record.key, record.payload.unwrap_or_default()) == expected
        {
            self.expects = None;
        } else {
            self.rewritten = true;
        }
        self.expects.is_none()
    }

    fn starved_since(&self) -> Option<Instant> {
        (self.records == 0 && self.at_end.is_none() && !self.is_done()).then_some(self.starved).flatten()
    }

    fn head(&self) -> Option<i64> {
        let chunk = self.chunks.front()?;
        chunk.times.get(chunk.head).copied()
    }

    /// Returns whether a batch is due even without records.
    fn is_urgent(&self) -> bool {
        self.advance.is_some() || self.opened.is_some_and(Opened::moved)
    }
}

/// When the next batch is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Now,
    At(Instant),
    Never,
}

/// The buffers of all partitions.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    pub(crate) lanes: Vec<Lane>,
    records: usize,
    bytes: usize,
    last: Option<Instant>,
    spare: Vec<RecordBatch>,
}

impl Merge {
    /// Drops all buffers and begins again with these partitions.
    pub(crate) fn reset(&mut self, lanes: Vec<Lane>) {
        for lane in self.lanes.drain(..) {
            let chunks = lane.chunks.into_iter().map(|chunk| chunk.records);
            self.spare.extend(chunks.take(SPARE.saturating_sub(self.spare.len())));
        }
        *self = Self { lanes, spare: std::mem::take(&mut self.spare), ..Self::default() };
    }

    /// Returns the amount of buffered records.
    pub(crate) fn buffered(&self) -> BufferSize {
        BufferSize { records: self.records, bytes: self.bytes }
    }

    /// Buffers a record of the lane `lane`. Returns the number of offsets before it that hold no
    /// record. Returns `None` for a record that is dropped: it was read before, or is past the
    /// stop.
    pub(crate) fn push(&mut self, lane: usize, record: &NewRecord<'_>, now: Instant) -> Option<u64> {
        let lane = self.lanes.get_mut(lane)?;
        if !lane.recognise(record) {
            return None;
        }
        if record.offset < lane.expected || lane.stop.is_some_and(|stop| record.offset >= stop) {
            if record.offset >= lane.expected {
                // All records before the stop were read.
                lane.at_end = Some(now);
            }
            return None;
        }
        let passed = record.offset - lane.expected;
        let full = lane
            .chunks
            .back()
            .is_none_or(|chunk| chunk.records.len() >= CHUNK_RECORDS || chunk.records.bytes() >= CHUNK_BYTES);
        if full {
            let mut records = self.spare.pop().unwrap_or_default();
            records.begin(0);
            lane.chunks.push_back(Chunk { records, times: Vec::new(), head: 0, arrived: now });
        }
        let chunk = lane.chunks.back_mut()?;
        let before = chunk.records.bytes();
        chunk.records.push_to(0, record);
        chunk.times.push(record.time.map_or(TIMELESS, millis));
        let bytes = chunk.records.bytes() - before;
        lane.expected = record.offset + 1;
        lane.at_end = None;
        lane.advance = None;
        lane.starved = None;
        lane.records += 1;
        lane.bytes += bytes;
        self.records += 1;
        self.bytes += bytes;
        self.last = Some(now);
        Some(passed)
    }

    /// Records that the lane `lane` is at the end of its log.
    pub(crate) fn reached_end(&mut self, lane: usize, now: Instant) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            // The expected record does not exist.
            lane.rewritten |= lane.expects.is_some();
            lane.at_end.get_or_insert(now);
        }
    }

    /// Returns the partitions whose log is not the stored position's, with that position.
    pub(crate) fn rewritten(&self) -> Vec<(PartitionId, Position)> {
        let lanes = self.lanes.iter().filter(|lane| lane.rewritten);
        lanes.filter_map(|lane| Some((lane.partition.clone(), lane.from.clone()?))).collect()
    }

    /// Returns when a batch is due.
    ///
    /// A full batch is due at once, others after the linger. Two exceptions keep the order of time:
    /// a lane with lag but without records delays a batch up to the linger, one with few records by
    /// [`GATHER`]. If all lanes are at their ends, [`QUIET`] is enough.
    pub(crate) fn due(&self, limits: &GroupLimits, now: Instant) -> Due {
        if self.lanes.iter().any(Lane::is_urgent) {
            return Due::Now;
        }
        let oldest =
            self.lanes.iter().filter_map(|lane| lane.chunks.front()).map(|chunk| chunk.arrived).min();
        let Some(oldest) = oldest else { return Due::Never };
        // Wait for partitions with lag but without records, or a backlog would be read unevenly.
        let starved = self.lanes.iter().filter_map(Lane::starved_since).max();
        let full = self.records >= limits.records || self.bytes >= limits.bytes;
        let mut at = match (full, starved) {
            (true, None) => match self.scarce_since(limits) {
                Some(arrived) => (arrived + GATHER).min(oldest + limits.linger),
                None => return Due::Now,
            },
            (true, Some(since)) => since + limits.linger,
            (false, _) => oldest + limits.linger,
        };
        if starved.is_none() && self.lanes.iter().all(|lane| lane.at_end.is_some() || lane.is_done()) {
            at = at.min(self.last.unwrap_or(oldest) + QUIET);
        }
        if at <= now { Due::Now } else { Due::At(at) }
    }

    /// Returns when the newest of the partitions with lag but few records got its first one.
    fn scarce_since(&self, limits: &GroupLimits) -> Option<Instant> {
        let little = limits.records / 4 / self.lanes.len().max(1);
        let scarce = self
            .lanes
            .iter()
            .filter(|lane| lane.records < little && lane.at_end.is_none() && !lane.is_done());
        scarce.filter_map(|lane| lane.chunks.front()).map(|chunk| chunk.arrived).max()
    }

    /// Fills `out` up to the limits, the oldest record first.
    ///
    /// The batch ends early where a partition with lag runs out of records, because its next record
    /// may be older. If records have waited longer than the linger, the batch must have a quarter
    /// of the limit first.
    ///
    /// Invariants: records of a partition are delivered in the order of its log, each once.
    /// Consecutive batches join: each part begins at the position where the partition's last part
    /// ended.
    pub(crate) fn fill(
        &mut self,
        limits: &GroupLimits,
        generation: u64,
        now: Instant,
        out: &mut RecordBatch,
    ) {
        out.begin(generation);
        let waiting = self.lanes.iter().filter_map(|lane| lane.chunks.front());
        let overdue = waiting.map(|chunk| chunk.arrived + limits.linger).min().is_some_and(|at| at <= now);
        let least = if overdue { limits.records / 4 } else { 1 };
        let mut parts: Vec<Option<usize>> = vec![None; self.lanes.len()];
        // Index of each partition's last record in the batch.
        let mut latest: Vec<Option<usize>> = vec![None; self.lanes.len()];
        let mut heads: BinaryHeap<_> = self
            .lanes
            .iter()
            .enumerate()
            .filter_map(|(at, lane)| Some(Reverse((lane.head()?, at))))
            .collect();
        while let Some(Reverse((_, at))) = heads.pop() {
            let Some(lane) = self.lanes.get_mut(at) else { break };
            let Some(part) = parts.get_mut(at) else { break };
            let part = *part.get_or_insert_with(|| begin_part(lane, out));
            let Some(chunk) = lane.chunks.front_mut() else { continue };
            let Some(record) = chunk.records.get(chunk.head) else { continue };
            let before = out.bytes();
            out.push_copy(part, &record);
            let bytes = out.bytes() - before;
            if let Some(latest) = latest.get_mut(at) {
                *latest = Some(out.len() - 1);
            }
            lane.next = record.offset + 1;
            lane.time = record.time;
            chunk.head += 1;
            lane.records -= 1;
            lane.bytes = lane.bytes.saturating_sub(bytes);
            self.records -= 1;
            self.bytes = self.bytes.saturating_sub(bytes);
            if chunk.head == chunk.records.len()
                && let Some(chunk) = lane.chunks.pop_front()
                && self.spare.len() < SPARE
            {
                self.spare.push(chunk.records);
            }
            match lane.head() {
                Some(time) => heads.push(Reverse((time, at))),
                None => lane.starved = Some(now),
            }
            let dry = lane.starved_since().is_some() && out.len() >= least;
            if dry || out.len() >= limits.records || out.bytes() >= limits.bytes {
                break;
            }
        }
        for ((lane, part), latest) in self.lanes.iter_mut().zip(&mut parts).zip(latest) {
            if let Some(record) = latest.and_then(|latest| out.get(latest)) {
                lane.last = Some(last_record(record.offset, record.time, record.key, record.payload));
            }
            if lane.records == 0
                && let Some(advance) = lane.advance.take()
            {
                lane.next = lane.next.max(advance);
                lane.expected = lane.expected.max(advance);
                part.get_or_insert_with(|| begin_part(lane, out));
            }
            if part.is_none() && lane.is_urgent() {
                *part = Some(begin_part(lane, out));
            }
            if let (Some(part), true) = (*part, lane.positioned) {
                let to = Position { last: lane.last, ..Position::at(lane.next) };
                lane.from = Some(to.clone());
                out.end_part(part, Some(to));
            }
        }
    }

    /// Returns which partitions to pause (true) and to resume (false).
    ///
    /// Each partition with records or lag has an equal share of the budget. It is paused at its
    /// share and resumed at half of it, so it does not alternate with every record.
    pub(crate) fn pause_changes(&mut self, budget: BufferSize) -> Vec<(usize, bool)> {
        let active =
            self.lanes.iter().filter(|lane| lane.records > 0 || lane.at_end.is_none()).count().max(1);
        let (records, bytes) = (budget.records / active, budget.bytes / active);
        let full = self.records >= budget.records || self.bytes >= budget.bytes;
        let mut changes = Vec::new();
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            // A lane without records is never paused: the others wait for it.
            let over = lane.records > 0 && (full || lane.records >= records || lane.bytes >= bytes);
            let under = lane.records == 0 || lane.records <= records / 2 && lane.bytes <= bytes / 2 && !full;
            if over && !lane.paused || under && lane.paused {
                lane.paused = over;
                changes.push((at, over));
            }
        }
        changes
    }

    /// Returns whether everything up to all stops was read and delivered.
    pub(crate) fn ended(&self) -> bool {
        self.records == 0 && self.lanes.iter().all(|lane| lane.is_done() && !lane.is_urgent())
    }
}

fn begin_part(lane: &mut Lane, out: &mut RecordBatch) -> usize {
    let from = lane.from.as_ref().filter(|_| lane.positioned);
    let part = out.begin_part(&lane.partition, from);
    if let Some(opened) = lane.opened.take() {
        out.set_part_opened(part, opened);
    }
    part
}

fn last_record(offset: u64, time: Option<f64>, key: Option<&[u8]>, payload: &[u8]) -> LastRecord {
    LastRecord::new(offset, time.map(millis), key, payload)
}

#[allow(clippy::cast_possible_truncation, reason = "saturates, and comes from milliseconds")]
fn millis(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

#[cfg(test)]
mod tests;
