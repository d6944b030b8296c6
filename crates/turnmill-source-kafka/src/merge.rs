//! What was read ahead of several partitions, merged in the order of record times. No I/O and no clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use turnmill_source::{GroupLimits, LastRecord, NewRecord, Opened, PartitionId, Position, RecordBatch};

/// Records of a chunk, after which the next one is begun; a chunk's memory is used again when it is empty.
const CHUNK_RECORDS: usize = 512;
/// Bytes likewise.
const CHUNK_BYTES: usize = 256 << 10;
/// Empty chunks that are kept.
const SPARE: usize = 16;
/// How long nothing may have come, with every partition at its end, before a batch is handed over early.
const QUIET: Duration = Duration::from_millis(10);
/// How long a partition that is behind and has little at hand is given to bring more, before a batch is made that would
/// end where it runs dry.
const GATHER: Duration = Duration::from_millis(5);
/// Time of records that have none: they come first.
const TIMELESS: i64 = i64::MIN;

/// How much may be read ahead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct Chunk {
    records: RecordBatch,
    /// Time in milliseconds of each record.
    times: Vec<i64>,
    head: usize,
    arrived: Instant,
}

/// One partition.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) partition: PartitionId,
    /// What the store holds once all that was handed over is committed.
    pub(crate) from: Option<Position>,
    /// The last record handed over, or read before the stored position.
    last: Option<LastRecord>,
    /// The record that the log has to have, or it is not the log that the stored position is of. Nothing is taken before it
    /// was seen.
    pub(crate) expects: Option<LastRecord>,
    /// Another record came in its place.
    pub(crate) rewritten: bool,
    /// Whether it has positions at all.
    pub(crate) positioned: bool,
    /// Next offset to hand over.
    pub(crate) next: u64,
    /// Next offset to read.
    pub(crate) expected: u64,
    /// Where to stop.
    pub(crate) stop: Option<u64>,
    /// Since when nothing more is there to be read.
    pub(crate) at_end: Option<Instant>,
    /// Position to move on to although no record stands before it.
    pub(crate) advance: Option<u64>,
    pub(crate) opened: Option<Opened>,
    /// Time of the last record handed over.
    pub(crate) time: Option<f64>,
    pub(crate) paused: bool,
    starved: Option<Instant>,
    chunks: VecDeque<Chunk>,
    records: usize,
    bytes: usize,
}

impl Lane {
    /// A partition to be read from `next` on; the store holds `from`.
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

    /// Whether all was read that is to be read.
    pub(crate) fn done(&self) -> bool {
        self.expects.is_none() && self.stop.is_some_and(|stop| self.expected >= stop || self.at_end.is_some())
    }

    /// Where to begin to read: before the position, if the log has to be recognised first.
    pub(crate) fn first(&self) -> u64 {
        self.expects.map_or(self.next, |last| last.offset)
    }

    /// Whether the log is recognised, now that `record` has come. Sets [`rewritten`](Self::rewritten) if it is another one.
    fn recognised(&mut self, record: &NewRecord<'_>) -> bool {
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

    fn waited_for(&self) -> Option<Instant> {
        (self.records == 0 && self.at_end.is_none() && !self.done()).then_some(self.starved).flatten()
    }

    fn head(&self) -> Option<i64> {
        let chunk = self.chunks.front()?;
        chunk.times.get(chunk.head).copied()
    }

    /// Whether there is something to tell although there may be no records.
    fn urgent(&self) -> bool {
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

/// What was read ahead.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    pub(crate) lanes: Vec<Lane>,
    records: usize,
    bytes: usize,
    last: Option<Instant>,
    spare: Vec<RecordBatch>,
}

impl Merge {
    /// Forgets everything and begins again with these partitions.
    pub(crate) fn reset(&mut self, lanes: Vec<Lane>) {
        for lane in self.lanes.drain(..) {
            let chunks = lane.chunks.into_iter().map(|chunk| chunk.records);
            self.spare.extend(chunks.take(SPARE.saturating_sub(self.spare.len())));
        }
        *self = Self { lanes, spare: std::mem::take(&mut self.spare), ..Self::default() };
    }

    /// Records and bytes that are held.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.records, self.bytes)
    }

    /// Takes a record of the partition number `lane`; gives how many offsets before it hold none. A record that was
    /// read before, or that is behind the stop, is left out (`None`).
    pub(crate) fn push(&mut self, lane: usize, record: &NewRecord<'_>, now: Instant) -> Option<u64> {
        let lane = self.lanes.get_mut(lane)?;
        if !lane.recognised(record) {
            return None;
        }
        if record.offset < lane.expected || lane.stop.is_some_and(|stop| record.offset >= stop) {
            if record.offset >= lane.expected {
                // All before the stop was read.
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

    /// All of the partition number `lane` was read that there is for now.
    pub(crate) fn reached_end(&mut self, lane: usize, now: Instant) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            // The end came, and not the record that was read last.
            lane.rewritten |= lane.expects.is_some();
            lane.at_end.get_or_insert(now);
        }
    }

    /// Partitions whose log is not the one that the stored position is of, with that position.
    pub(crate) fn rewritten(&self) -> Vec<(PartitionId, Position)> {
        let lanes = self.lanes.iter().filter(|lane| lane.rewritten);
        lanes.filter_map(|lane| Some((lane.partition.clone(), lane.from.clone()?))).collect()
    }

    /// When a batch is due.
    pub(crate) fn due(&self, limits: &GroupLimits, now: Instant) -> Due {
        if self.lanes.iter().any(Lane::urgent) {
            return Due::Now;
        }
        let oldest =
            self.lanes.iter().filter_map(|lane| lane.chunks.front()).map(|chunk| chunk.arrived).min();
        let Some(oldest) = oldest else { return Due::Never };
        // Partitions that are behind and have nothing at hand are waited for, or a backlog would be read unevenly.
        let starved = self.lanes.iter().filter_map(Lane::waited_for).max();
        let full = self.records >= limits.records || self.bytes >= limits.bytes;
        let mut at = match (full, starved) {
            (true, None) => match self.thin(limits) {
                Some(arrived) => (arrived + GATHER).min(oldest + limits.linger),
                None => return Due::Now,
            },
            (true, Some(since)) => since + limits.linger,
            (false, _) => oldest + limits.linger,
        };
        if starved.is_none() && self.lanes.iter().all(|lane| lane.at_end.is_some() || lane.done()) {
            at = at.min(self.last.unwrap_or(oldest) + QUIET);
        }
        if at <= now { Due::Now } else { Due::At(at) }
    }

    /// Since when the youngest of the partitions that are behind has had something, but too little for a batch.
    fn thin(&self, limits: &GroupLimits) -> Option<Instant> {
        let little = limits.records / 4 / self.lanes.len().max(1);
        let thin =
            self.lanes.iter().filter(|lane| lane.records < little && lane.at_end.is_none() && !lane.done());
        thin.filter_map(|lane| lane.chunks.front()).map(|chunk| chunk.arrived).max()
    }

    /// Fills `out` up to the limits, the earliest record first. It ends early where a partition that is behind has run
    /// dry, as what it will bring may be earlier; unless records have waited for longer than the linger and the batch
    /// is small.
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
        // Number of each partition's last record in the batch.
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
            let dry = lane.waited_for().is_some() && out.len() >= least;
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
            if part.is_none() && lane.urgent() {
                *part = Some(begin_part(lane, out));
            }
            if let (Some(part), true) = (*part, lane.positioned) {
                let to = Position { last: lane.last, ..Position::at(lane.next) };
                lane.from = Some(to.clone());
                out.end_part(part, Some(to));
            }
        }
    }

    /// Which partitions are to be paused (true) and which to be read again (false).
    pub(crate) fn gate(&mut self, budget: Budget) -> Vec<(usize, bool)> {
        let active =
            self.lanes.iter().filter(|lane| lane.records > 0 || lane.at_end.is_none()).count().max(1);
        let (records, bytes) = (budget.records / active, budget.bytes / active);
        let full = self.records >= budget.records || self.bytes >= budget.bytes;
        let mut changes = Vec::new();
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            // One that has nothing is never paused: others wait for it.
            let over = lane.records > 0 && (full || lane.records >= records || lane.bytes >= bytes);
            let under = lane.records == 0 || lane.records <= records / 2 && lane.bytes <= bytes / 2 && !full;
            if over && !lane.paused || under && lane.paused {
                lane.paused = over;
                changes.push((at, over));
            }
        }
        changes
    }

    /// Whether everything was read and handed over, up to all stops.
    pub(crate) fn ended(&self) -> bool {
        self.records == 0 && self.lanes.iter().all(|lane| lane.done() && !lane.urgent())
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
