//! What one transaction writes, and what it needs to know first.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use turnmill_engine::Checkpoint;
use turnmill_model::{Changes, EventKey, EventTime, PartitionId, Reason, Record, SenderId, SourceFactsBuf};

use crate::error::StoreError;

/// A step of a position. It is committed only onto `from`: whoever has another idea of where the source stands is fenced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Which position.
    pub key: PartitionId,
    /// The position that must be stored now; none if none must be.
    pub from: Option<String>,
    /// The position after this batch, in the source's own notation.
    pub to: String,
}

impl Advance {
    /// Compares the position that a store has with the one that this step starts from.
    ///
    /// # Errors
    ///
    /// [`StoreError::PositionMoved`] if they differ.
    pub fn check(&self, stored: Option<&str>) -> Result<(), StoreError> {
        if stored == self.from.as_deref() {
            return Ok(());
        }
        Err(StoreError::PositionMoved {
            key: self.key.clone(),
            stored: stored.map(str::to_owned),
            expected: self.from.clone(),
        })
    }
}

/// What a transaction is about: it locks these positions and senders and checks that they are as expected.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// Positions that move.
    pub advances: Vec<Advance>,
    /// Senders whose timelines may change, in ascending order of id, each once.
    pub senders: Vec<SenderClaim>,
}

impl Claim {
    /// A claim of these senders (ascending, each once), none of which is in memory.
    #[must_use]
    pub fn of_senders(senders: &[SenderId]) -> Self {
        let senders = senders.iter().map(|sender| SenderClaim { sender: *sender, cached: None }).collect();
        Self { senders, ..Self::default() }
    }
}

/// One sender of a [`Claim`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderClaim {
    /// The sender.
    pub sender: SenderId,
    /// Version of the timeline that the claimant has in memory: if it is still the stored one, it need not be loaded.
    pub cached: Option<u64>,
}

/// A sender's stored state, under the transaction's lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locked {
    /// The store has none: the sender is new.
    Absent,
    /// The version that the claimant has in memory is the stored one.
    Current,
    /// The stored one.
    Loaded {
        /// Its version: the number of transactions that wrote it.
        version: u64,
        /// The serialised timeline.
        state: Vec<u8>,
    },
}

/// Everything that one transaction writes.
#[derive(Debug, Default)]
pub struct Batch {
    /// Senders whose rows and checkpoints go, all of them, before anything else is written; their history stays.
    pub cleared: Vec<SenderId>,
    /// Senders of whom nothing stays: no rows, no history, no state.
    pub forgotten: Vec<SenderId>,
    /// Row changes.
    pub changes: Changes,
    /// Senders' new states.
    pub timelines: Vec<TimelineWrite>,
    /// Events to keep.
    pub history: Vec<HistoryWrite>,
    /// Checkpoints of the history.
    pub checkpoints: Vec<CheckpointWrite>,
    /// Records that could not become rows.
    pub dead_letters: Vec<DeadLetter>,
    /// Dead letters that have landed after all; they are removed.
    pub retried: Vec<u64>,
    /// Counts to add, per source.
    pub ledger: BTreeMap<String, Counts>,
    /// How far a [rebuild](crate::Upkeep::begin_rebuild) has come: the last sender that is done.
    pub rebuilt: Option<SenderId>,
}

/// A sender's new state.
#[derive(Clone, Debug)]
pub struct TimelineWrite {
    /// The sender.
    pub sender: SenderId,
    /// Its new version; 1 for a new sender.
    pub version: u64,
    /// The serialised timeline.
    pub state: Vec<u8>,
}

/// A chunk of a sender's history: the events that one transaction added, encoded as `turnmill_ingest::history` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Its number inside the sender; later transactions have greater ones, see [`Chunk::numbered`].
    pub number: u64,
    /// Least event time in it.
    pub least: EventTime,
    /// Greatest event time in it.
    pub greatest: EventTime,
    /// The encoded events.
    pub bytes: Vec<u8>,
}

impl Chunk {
    /// The chunk as one of those that came with `version` of the sender's timeline; its number was its place among them.
    #[must_use]
    pub fn numbered(self, version: u64) -> Self {
        // Stores of schema version 1 have one chunk for each version, with the version's number, which is less.
        Self { number: version.saturating_mul(Self::PER_VERSION).saturating_add(self.number), ..self }
    }

    /// Chunks that one transaction may bring. Two million events of one sender, for which no batch has room.
    const PER_VERSION: u64 = 4096;
}

/// A chunk to write: a new one, or one that takes the place of the chunk with its number.
#[derive(Clone, Debug)]
pub struct HistoryWrite {
    /// The sender.
    pub sender: SenderId,
    /// The chunk.
    pub chunk: Chunk,
    /// Whether the chunk is there already.
    pub replaces: bool,
}

/// New checkpoints for a stretch of a sender's history. Those that are stored strictly inside the stretch go.
#[derive(Clone, Debug)]
pub struct CheckpointWrite {
    /// The sender.
    pub sender: SenderId,
    /// The stretch.
    pub stretch: HistoryStretch,
    /// The checkpoints in it now.
    pub checkpoints: Vec<Checkpoint>,
}

/// A stretch of a sender's history, without its ends.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HistoryStretch {
    /// It begins after this time; `None`: with the first event.
    pub after: Option<EventTime>,
    /// It ends before this time; `None`: with the last event.
    pub before: Option<EventTime>,
}

/// Asks for the stored copies of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventLookup {
    /// The sender.
    pub sender: SenderId,
    /// The key that all copies of the event have.
    pub key: EventKey,
}

/// A record that could not become rows, with everything needed to look at it and to try again.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// Number given by the store; 0 on writing.
    pub id: u64,
    /// Where the record came from.
    pub key: PartitionId,
    /// Its place there, for people: line, offset or row id.
    pub place: String,
    /// Why it was refused.
    pub reason: Reason,
    /// Details, for people.
    pub detail: String,
    /// The record's bytes as they were received.
    pub payload: Vec<u8>,
    /// The sender that the envelope names.
    pub sender: Option<String>,
    /// The record's own time, Unix seconds.
    pub time: Option<f64>,
    /// The record's environment.
    pub environment: Option<String>,
    /// The record's number in a table that numbers its rows.
    pub row: Option<i64>,
    /// What the source says about all of its records.
    pub facts: SourceFactsBuf,
    /// The record's key, as bytes.
    pub record_key: Option<Vec<u8>>,
    /// The record's headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl DeadLetter {
    /// The record, to be tried again.
    #[must_use]
    pub fn record(&self) -> Record<'_> {
        Record {
            payload: &self.payload,
            sender: self.sender.as_deref(),
            time: self.time,
            environment: self.environment.as_deref(),
            row: self.row,
            facts: self.facts.borrow(),
            kept: None,
        }
    }
}

/// What became of the records of a source. `records = events + duplicates + dead_letters + skipped`, always.
///
/// The unit is the event, or the record where it yields none. Counts are signed because a retried dead letter moves from one
/// to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that was read.
    pub records: i64,
    /// New events.
    pub events: i64,
    /// Events that were known; of these [`anonymised`](Self::anonymised) replaced the known copy.
    pub duplicates: i64,
    /// Of the duplicates: anonymised copies that replaced a plain one.
    pub anonymised: i64,
    /// Of the duplicates: plain copies with another content than the one that stands, of events that are told by an id of
    /// their own. An assistant that anonymises its store exports such copies without a mark.
    pub changed: i64,
    /// Refused.
    pub dead_letters: i64,
    /// No events: blank lines, tombstones, control messages.
    pub skipped: i64,
}

impl Counts {
    /// Whether every record is accounted for.
    ///
    /// ```
    /// use turnmill_sink::Counts;
    /// assert!(Counts { records: 3, events: 2, skipped: 1, ..Counts::default() }.adds_up());
    /// ```
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.records == self.events + self.duplicates + self.dead_letters + self.skipped
            && self.anonymised + self.changed <= self.duplicates
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.events += other.events;
        self.duplicates += other.duplicates;
        self.anonymised += other.anonymised;
        self.changed += other.changed;
        self.dead_letters += other.dead_letters;
        self.skipped += other.skipped;
    }
}
