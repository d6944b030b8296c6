//! What one transaction claims, and what it writes.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use turnmill_engine::Checkpoint;
use turnmill_model::{
    Changes, EventId, EventKey, EventTime, PartitionId, Reason, Record, Refused, SenderId, SourceFactsBuf,
};

use crate::error::StoreError;

/// A step of a position. It is committed only if the stored position is `from`; otherwise the
/// writer is fenced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The partition whose position moves.
    pub key: PartitionId,
    /// The position that must be stored now; `None` if none must be stored.
    pub from: Option<String>,
    /// The position after this batch, in the source's own notation.
    pub to: String,
}

impl Advance {
    /// Compares the stored position with the one that this step starts from.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::PositionMoved`] if they differ.
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

/// The stored position of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPosition {
    /// The partition.
    pub key: PartitionId,
    /// Its position, in the source's own notation.
    pub position: String,
}

impl StoredPosition {
    /// Returns the position of `key` among `positions`.
    #[must_use]
    pub fn find<'p>(positions: &'p [Self], key: &PartitionId) -> Option<&'p str> {
        positions.iter().find(|stored| stored.key == *key).map(|stored| stored.position.as_str())
    }
}

/// What a transaction claims. The store locks these positions and senders and checks that they are
/// as expected.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// Positions that move.
    pub advances: Vec<Advance>,
    /// Senders whose timelines may change, in ascending order of id, each once.
    pub senders: Vec<SenderClaim>,
}

impl Claim {
    /// Claims these senders (ascending, each once), none of which is cached.
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
    /// Version of the timeline that the claimant has cached. If it is the stored version, the store
    /// need not load the state.
    pub cached: Option<u64>,
}

/// A sender's stored state, under the transaction's lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locked {
    /// The store has no state: the sender is new.
    Absent,
    /// The cached version is the stored one.
    Current,
    /// The stored state.
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
    /// Senders whose rows and checkpoints are all deleted before anything else is written. Their
    /// history stays.
    pub cleared: Vec<SenderId>,
    /// Senders whose rows, history and state are all deleted.
    pub forgotten: Vec<SenderId>,
    /// Row changes.
    pub changes: Changes,
    /// Senders' new states.
    pub timelines: Vec<TimelineWrite>,
    /// Chunks of history to write.
    pub history: Vec<HistoryWrite>,
    /// Checkpoints of the history.
    pub checkpoints: Vec<CheckpointWrite>,
    /// Records that could not become rows.
    pub dead_letters: Vec<DeadLetter>,
    /// Ids of dead letters that were retried with success. They are deleted.
    pub retried: Vec<u64>,
    /// Counts to add, per source.
    pub ledger: BTreeMap<String, Counts>,
    /// Progress of a [rebuild](crate::Upkeep::begin_rebuild): the last sender that is done.
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

/// A chunk of a sender's history: events that one transaction added, encoded by `turnmill-ingest`.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Its number among the chunks of the sender. Later transactions have greater numbers, see
    /// [`Chunk::numbered`].
    pub number: u64,
    /// Least event time in it.
    pub least: EventTime,
    /// Greatest event time in it.
    pub greatest: EventTime,
    /// The encoded events.
    pub bytes: Vec<u8>,
}

impl Chunk {
    /// Returns the chunk with its final number, as one that came with `version` of the sender's
    /// timeline. Until then its number is its index among the chunks of the transaction.
    #[must_use]
    pub fn numbered(self, version: u64) -> Self {
        // Stores of schema version 1 have one chunk for each version, numbered like the version.
        // Those numbers are less.
        Self { number: version.saturating_mul(Self::PER_VERSION).saturating_add(self.number), ..self }
    }

    /// Most chunks that one transaction may bring: two million events of one sender, more than a
    /// batch has room for.
    const PER_VERSION: u64 = 4096;
}

/// A chunk to write: a new one, or one that replaces the chunk with its number.
#[derive(Clone, Debug)]
pub struct HistoryWrite {
    /// The sender.
    pub sender: SenderId,
    /// The chunk.
    pub chunk: Chunk,
    /// Whether it replaces a stored chunk.
    pub replaces: bool,
}

/// New checkpoints for a stretch of a sender's history. Stored checkpoints strictly inside the
/// stretch are deleted.
#[derive(Clone, Debug)]
pub struct CheckpointWrite {
    /// The sender.
    pub sender: SenderId,
    /// The stretch.
    pub stretch: HistoryStretch,
    /// The new checkpoints of the stretch.
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

/// Requests the stored copies of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventLookup {
    /// The sender.
    pub sender: SenderId,
    /// The key that all copies of the event share.
    pub key: EventKey,
}

/// The stored copies of one event.
///
/// An event has several copies if copies that differ in content arrived before an anonymised one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredCopies {
    /// Their ids; empty if the store does not have the event.
    pub ids: Vec<EventId>,
}

/// A record that could not become rows, with all that is needed to inspect and to retry it.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// Number that the store gives it; 0 on writing.
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
    /// Returns the dead letter of a refused record, without a key and headers of the record.
    ///
    /// ```
    /// use turnmill_model::{PartitionId, Reason, Record, Refused};
    /// use turnmill_sink::DeadLetter;
    /// let record = Record { payload: b"half a rec", ..Record::default() };
    /// let refused = Refused::new(Reason::NotJson, "unexpected end");
    /// let letter = DeadLetter::new(&PartitionId::new("file", "rasa.log"), "line 7", &record, &refused);
    /// assert_eq!(letter.record().payload, record.payload);
    /// ```
    #[must_use]
    pub fn new(key: &PartitionId, place: &str, record: &Record<'_>, refused: &Refused) -> Self {
        Self {
            id: 0,
            key: key.clone(),
            place: place.into(),
            reason: refused.reason,
            detail: refused.detail.clone(),
            payload: record.payload.to_vec(),
            sender: record.sender.map(Into::into),
            time: record.time,
            environment: record.environment.map(Into::into),
            row: record.row,
            facts: record.facts.into(),
            record_key: None,
            headers: Vec::new(),
        }
    }

    /// Returns the record, to be retried.
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

/// The counts of one source, as the ledger has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The source: the id of a Kafka cluster, or a name such as `file`.
    pub source: String,
    /// What became of its records.
    pub counts: Counts,
}

/// Counts what became of the records of a source. At all times, `records = events + duplicates +
/// dead_letters + skipped`.
///
/// The unit is the event, or the record if it gives no event. In a format whose unit is the record,
/// only the first event of a record counts, see [`Event::counted`](turnmill_model::Event::counted).
/// Counts are signed because a retried dead letter moves from one to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Everything that was read.
    pub records: i64,
    /// New events.
    pub events: i64,
    /// Known events. Of these, [`anonymised`](Self::anonymised) replaced the known copy.
    pub duplicates: i64,
    /// Of the duplicates: anonymised copies that replaced a plain one.
    pub anonymised: i64,
    /// Of the duplicates: plain copies that differ in content from the one that stands, of events
    /// that an id of their own identifies. An assistant that anonymises its store exports such
    /// copies without a mark.
    pub changed: i64,
    /// Refused records.
    pub dead_letters: i64,
    /// Records without an event: blank lines, tombstones, control messages.
    pub skipped: i64,
    /// Stored events that belong to a record whose first event counts already. They are not part of
    /// the sum, so the store has `events + parts` events.
    pub parts: i64,
}

impl Counts {
    /// Returns whether every record is accounted for.
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
        self.parts += other.parts;
    }
}
