//! A log of several partitions in memory, and members of a group that read it. It does what a
//! broker cannot be made to do on demand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use turnmill_model::PartitionId;
use turnmill_source::{
    AssignedPartition, Assignment, GroupControl, GroupLimits, GroupProgress, GroupSource, GroupStats,
    NewRecord, Opened, PartitionLag, PartitionPosition, PartitionStart, Position, RecordBatch, SourceError,
};

/// The records of each partition.
pub(crate) type Log = Arc<Vec<Vec<Vec<u8>>>>;

/// What happens to a member, each after a number of calls.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happening {
    /// These partitions, as a bit mask, are assigned, in place of all others.
    Assign(u8),
    /// The same, without a wait for what is in flight.
    Lose(u8),
}

pub(crate) fn partition(number: usize) -> PartitionId {
    PartitionId::new("log", format!("events/{number}"))
}

#[derive(Debug, Default)]
struct State {
    generation: u64,
    assigned: Vec<usize>,
    /// Not reported yet.
    news: Vec<GroupProgress>,
    /// The next offsets, once reading has begun.
    next: BTreeMap<usize, usize>,
    from: BTreeMap<usize, Option<Position>>,
    closed: bool,
    restarts: u64,
}

#[derive(Debug)]
pub(crate) struct Control(Mutex<State>);

impl State {
    fn assign(&mut self, partitions: Vec<usize>) {
        self.generation += 1;
        self.assigned = partitions;
        self.next.clear();
        let partitions = self.assigned.iter().map(|number| AssignedPartition {
            partition: partition(*number),
            ..AssignedPartition::default()
        });
        let assignment = Assignment { generation: self.generation, partitions: partitions.collect() };
        self.news.push(GroupProgress::Assigned(assignment));
    }
}

/// A member that reads the log to its end, once nothing more happens to it.
pub(crate) struct Member {
    log: Log,
    control: Arc<Control>,
    happenings: Vec<Happening>,
    until_end: bool,
}

impl Member {
    pub(crate) fn new(log: Log, happenings: Vec<Happening>) -> Self {
        Self { log, control: Arc::new(Control(Mutex::default())), happenings, until_end: false }
    }

    /// Ends where the log ends.
    pub(crate) fn until_end(self) -> Self {
        Self { until_end: true, ..self }
    }

    pub(crate) fn restarts(control: &dyn GroupControl) -> u64 {
        control.stats().resets
    }
}

impl GroupSource for Member {
    fn next(&mut self, limits: &GroupLimits, out: &mut RecordBatch) -> Result<GroupProgress, SourceError> {
        let mut state = self.control.0.lock().unwrap();
        if state.closed {
            return Ok(GroupProgress::End);
        }
        if !state.news.is_empty() {
            return Ok(state.news.remove(0));
        }
        let reading = state.generation == 0 || !state.next.is_empty() || state.assigned.is_empty();
        if reading && let Some(happening) = self.happenings.first().copied() {
            self.happenings.remove(0);
            let (mask, lost) = match happening {
                Happening::Assign(mask) => (mask, false),
                Happening::Lose(mask) => (mask, true),
            };
            let generation = state.generation;
            if generation > 0 {
                state.news.push(GroupProgress::Revoked { generation, lost });
            }
            let partitions = (0..self.log.len()).filter(|number| mask >> number & 1 == 1).collect();
            state.assign(partitions);
            return Ok(state.news.remove(0));
        }
        out.begin(state.generation);
        let mut left = limits.records;
        let State { next, from, .. } = &mut *state;
        for (number, offset) in next.iter_mut() {
            let records = &self.log[*number][*offset..];
            let records = &records[..records.len().min(left.div_ceil(2))];
            if records.is_empty() {
                continue;
            }
            let from = from.entry(*number).or_default();
            let part = out.begin_part(&partition(*number), from.as_ref());
            if from.is_none() {
                out.set_part_opened(part, Opened::Fresh);
            }
            for payload in records {
                let offset_now = *offset as u64;
                let record = NewRecord { payload: Some(payload), offset: offset_now, ..NewRecord::default() };
                out.push_to(part, &record);
                *offset += 1;
                left -= 1;
            }
            *from = Some(Position::at(*offset as u64));
            out.end_part(part, from.clone());
        }
        let ended = state.next.len() == state.assigned.len()
            && state.next.iter().all(|(number, offset)| *offset == self.log[*number].len());
        drop(state);
        if !out.is_empty() {
            return Ok(GroupProgress::Batch);
        }
        if ended && self.until_end && self.happenings.is_empty() {
            return Ok(GroupProgress::End);
        }
        if ended && self.happenings.is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(GroupProgress::Idle)
    }

    fn control(&self) -> Arc<dyn GroupControl> {
        Arc::clone(&self.control) as Arc<dyn GroupControl>
    }
}

impl GroupControl for Control {
    fn generation(&self) -> u64 {
        self.0.lock().unwrap().generation
    }

    fn start(&self, generation: u64, starts: Vec<PartitionStart>) {
        let mut state = self.0.lock().unwrap();
        if state.generation != generation {
            return;
        }
        for number in state.assigned.clone() {
            let start = starts.iter().find(|start| start.partition == partition(number)).unwrap();
            let position = &start.position;
            state.next.insert(number, position.as_ref().map_or(0, |position| position.offset as usize));
            state.from.insert(number, position.clone());
        }
    }

    fn released(&self, _generation: u64) {}

    fn restart(&self) {
        let mut state = self.0.lock().unwrap();
        state.restarts += 1;
        let assigned = state.assigned.clone();
        state.assign(assigned);
    }

    fn committed(&self, positions: &[PartitionPosition]) {
        assert!(!positions.is_empty());
    }

    fn lag(&self) -> Vec<PartitionLag> {
        Vec::new()
    }

    fn stats(&self) -> GroupStats {
        GroupStats { resets: self.0.lock().unwrap().restarts, ..GroupStats::default() }
    }

    fn close(&self) {
        self.0.lock().unwrap().closed = true;
    }
}
