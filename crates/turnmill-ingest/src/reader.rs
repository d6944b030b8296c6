//! Reads a sender's history in order, a page at a time.
//!
//! The history is stored in chunks, one or more per transaction. Events that arrived late are in
//! younger chunks than their neighbours in time, so chunks overlap in time:
//!
//! ```text
//! chunk 1:  start, hi, listen, bye
//! chunk 2:             slot                  arrived late, one transaction after
//! reader:   start, hi, slot, listen, bye
//! ```
//!
//! So an event may be shown only when no chunk that is still unread can hold an earlier one. A page
//! says up to which time that is certain (`complete_before`).

use std::collections::{BTreeMap, HashSet, VecDeque};

use turnmill_engine::{Checkpoint, SenderName, Timeline};
use turnmill_model::{AssistantName, Decoders, Event, EventTime, Record, SenderId, SourceFacts, TimeUnit};

use crate::arrivals::Arrivals;
use crate::copies::CopySource;
use crate::history::{Entries, Entry, unpack};
use turnmill_sink::{Chunk, HistoryPage, HistoryRequest, StoreError, Transaction};

/// Chunks of the first page. Later pages grow while they bring few events.
const FIRST_PAGE: usize = 6;
const LARGEST_PAGE: usize = 1024;
/// Events of a page: enough that the request is cheap in comparison, few enough to hold in memory.
const PAGE_EVENTS: usize = 8192;

/// A reader skips events, rather than being opened again, for about this many events more than it
/// has shown. Skipping then costs no more than the work done already.
const SHORT_WAY: usize = 512;

/// Names the sender whose history is read, with the name that its events are decoded with.
#[derive(Clone, Debug)]
pub(crate) struct SenderRef {
    pub(crate) sender: SenderId,
    pub(crate) name: SenderName,
}

impl SenderRef {
    pub(crate) fn of(timeline: &Timeline) -> Self {
        let (key, assistant) = (timeline.sender_key().into(), timeline.assistant().map(Into::into));
        Self { sender: timeline.sender(), name: SenderName { key, assistant } }
    }
}

/// Holds one stored event: its record, and its place in the sender's order.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// Name of its decoder; `None`: the default one.
    decoder: Option<&'static str>,
    pub(crate) time: EventTime,
    tie: Option<i128>,
    ordinal: u32,
    record_time: Option<f64>,
    environment: Option<String>,
    time_unit: TimeUnit,
    anonymised: bool,
    pub(crate) kept: Option<Vec<u8>>,
    payload: Vec<u8>,
    /// Number of its chunk, and its index in it.
    pub(crate) chunk: (u64, usize),
}

impl Stored {
    /// Copies an event out of its chunk.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unusable`] if there is no decoder for it.
    pub(crate) fn new(
        entry: &Entry<'_>,
        chunk: (u64, usize),
        decoders: &Decoders,
    ) -> Result<Self, StoreError> {
        let decoder = match decoders.named(entry.decoder) {
            None if entry.decoder.is_empty() => None,
            None => return Err(no_decoder(entry.decoder, decoders)),
            Some(decoder) => Some(decoder.name()),
        };
        Ok(Self {
            decoder,
            time: entry.time,
            tie: entry.tie,
            ordinal: entry.ordinal,
            record_time: entry.record_time,
            environment: entry.environment.map(Into::into),
            time_unit: entry.time_unit,
            anonymised: entry.anonymised,
            kept: entry.kept.map(Into::into),
            payload: entry.payload.into(),
            chunk,
        })
    }

    /// Returns the event as the history keeps it.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload
    }

    pub(crate) fn entry(&self) -> Entry<'_> {
        Entry {
            decoder: self.decoder.unwrap_or_default(),
            time: self.time,
            tie: self.tie,
            ordinal: self.ordinal,
            record_time: self.record_time,
            environment: self.environment.as_deref(),
            time_unit: self.time_unit,
            anonymised: self.anonymised,
            kept: self.kept.as_deref(),
            payload: &self.payload,
        }
    }

    fn record<'s>(&'s self, sender_ref: &'s SenderRef) -> Record<'s> {
        Record {
            payload: &self.payload,
            sender: Some(&sender_ref.name.key),
            time: self.record_time,
            environment: self.environment.as_deref(),
            // Only numbers of rows are ties of the source; others are the decoder's.
            row: self.tie.and_then(|tie| i64::try_from(tie).ok()),
            facts: SourceFacts {
                assistant: sender_ref
                    .name
                    .assistant
                    .as_deref()
                    .map_or(AssistantName::None, AssistantName::Given),
                time_unit: self.time_unit,
                anonymised: self.anonymised,
                decoder: self.decoder,
            },
            kept: self.kept.as_deref(),
        }
    }

    /// Decodes the event again, at the place that the history gives it.
    pub(crate) fn event<'s>(
        &'s self,
        decoders: &Decoders,
        sender_ref: &'s SenderRef,
    ) -> Result<Event<'s>, StoreError> {
        let mut events = Vec::new();
        let damaged = |detail: String| StoreError::Damaged {
            detail: format!("a stored event of `{}`: {detail}", sender_ref.name.key),
        };
        let record = self.record(sender_ref);
        decoders.decode(&record, &mut events).map_err(|refused| damaged(refused.to_string()))?;
        let index = self.ordinal as usize;
        if index >= events.len() {
            return Err(damaged("its record gives fewer events than before".into()));
        }
        let mut event = events.swap_remove(index);
        (event.time, event.tie) = (self.time, self.tie);
        Ok(event)
    }

    /// Returns the sort key of a sender's events.
    pub(crate) fn place(&self) -> (EventTime, Option<i128>, (u64, usize)) {
        (self.time, self.tie, self.chunk)
    }

    /// Blanks the secrets in the record. Returns whether there were any.
    pub(crate) fn blank_secrets(
        &mut self,
        decoders: &Decoders,
        sender_ref: &SenderRef,
    ) -> Result<bool, StoreError> {
        let decoder = decoders.of(&self.record(sender_ref).facts).ok();
        let filter = decoder.and_then(|decoder| decoder.secret_filter());
        let Some(blank) = filter.and_then(|filter| filter.without_secrets(&self.payload)) else {
            return Ok(false);
        };
        self.payload = blank;
        let mut events = Vec::new();
        let record = self.record(sender_ref);
        let decoded = decoders.decode(&record, &mut events);
        decoded.map_err(|refused| StoreError::Damaged { detail: format!("a stored event: {refused}") })?;
        if let Some(event) = events.get(self.ordinal as usize) {
            self.tie = event.tie;
        }
        Ok(true)
    }

    /// Returns what has to be kept of this plain event when an anonymised copy takes its place.
    pub(crate) fn facts(&self, decoders: &Decoders, sender_ref: &SenderRef) -> Vec<u8> {
        decoders.kept(&self.record(sender_ref), self.ordinal).unwrap_or_default()
    }

    /// Returns `copy`, another stored event, at the place of this one, with `kept` of the plain
    /// copy.
    pub(crate) fn replaced_by(&self, copy: &Self, kept: Option<Vec<u8>>) -> Self {
        Self { time: self.time, tie: self.tie, chunk: self.chunk, kept, ..copy.clone() }
    }

    /// Returns `copy` at the place of this one, with `kept` of the plain copy.
    pub(crate) fn with_copy(
        &self,
        arrivals: Option<&Arrivals<'_>>,
        copy: CopySource,
        kept: &Option<Vec<u8>>,
        decoders: &Decoders,
    ) -> Result<Self, StoreError> {
        let mut changed = match (arrivals, copy) {
            (Some(arrivals), CopySource::Arrived(arrival)) => {
                let entry = Entry::new(&arrivals.record(arrival), &arrivals.events[arrival], None);
                let copy = Self::new(&entry, self.chunk, decoders)?;
                Self { time: self.time, tie: self.tie, ..copy }
            }
            (_, CopySource::Known | CopySource::Arrived(_)) => self.clone(),
        };
        changed.kept.clone_from(kept);
        Ok(changed)
    }
}

/// Returns the error of a history that this program cannot read.
fn no_decoder(name: &str, decoders: &Decoders) -> StoreError {
    let known: Vec<&str> = decoders.names().collect();
    StoreError::Unusable {
        detail: format!(
            "its history has records of the decoder `{name}`, and this program has only: {}; use one that \
             has it",
            known.join(", ")
        ),
        source: None,
    }
}

/// Reads the history of one sender from a checkpoint on, in the sender's order.
///
/// Call [`fill`](Self::fill) before each [`peek`](Self::peek) and [`next`](Self::next). Without it
/// they may show an event although an earlier one is still unread.
#[derive(Debug)]
pub(crate) struct Reader {
    sender: SenderId,
    since: Option<EventTime>,
    decoders: Decoders,
    /// The checkpoint at which reading began; `None`: with the first event.
    pub(crate) start: Option<Checkpoint>,
    /// The checkpoints not passed yet, of the pages read so far.
    pub(crate) checkpoints: VecDeque<Checkpoint>,
    pending: VecDeque<Stored>,
    /// All events before this time are in `pending`; `None`: all events are.
    complete_before: Option<EventTime>,
    /// Number of chunks read so far.
    read: usize,
    /// Number of chunks to ask for next.
    page: usize,
    /// Events shown so far.
    shown: usize,
    /// The chunks of the events in `pending`, for a rewrite of a chunk with an event replaced.
    chunks: BTreeMap<u64, Chunk>,
}

/// A page that was read ahead, with the request for it.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    pub(crate) request: HistoryRequest,
    pub(crate) page: HistoryPage,
}

/// Returns the first request of a reader.
pub(crate) fn first_page(sender: SenderId, since: Option<EventTime>) -> HistoryRequest {
    HistoryRequest { sender, since, skip: 0, limit: FIRST_PAGE }
}

impl Reader {
    /// Opens the history at the latest checkpoint at or before `since`, or at the first event. Uses
    /// the page `ahead` if it is the one that is needed.
    pub(crate) async fn open<T: Transaction>(
        tx: &mut T,
        sender: SenderId,
        since: Option<EventTime>,
        decoders: &Decoders,
        ahead: Option<ReadAhead>,
    ) -> Result<Self, StoreError> {
        let mut reader = Self {
            sender,
            since,
            decoders: decoders.clone(),
            start: None,
            checkpoints: VecDeque::new(),
            pending: VecDeque::new(),
            complete_before: None,
            read: 0,
            page: FIRST_PAGE,
            shown: 0,
            chunks: BTreeMap::new(),
        };
        match ahead {
            Some(ReadAhead { request, page }) if request == first_page(sender, since) => reader.take(page)?,
            _ => reader.read_page(tx).await?,
        }
        Ok(reader)
    }

    async fn read_page<T: Transaction>(&mut self, tx: &mut T) -> Result<(), StoreError> {
        let request =
            HistoryRequest { sender: self.sender, since: self.since, skip: self.read, limit: self.page };
        let page = tx.history(&request).await?;
        self.take(page)
    }

    fn take(&mut self, page: HistoryPage) -> Result<(), StoreError> {
        let mut from = self.start.as_ref().map(|start| start.time);
        if self.read == 0 {
            from = page.start.as_ref().map(|start| start.time);
            self.start = page.start;
        }
        self.checkpoints.extend(page.checkpoints);
        self.read += page.chunks.len();
        self.complete_before = page.next;
        let mut brought = 0;
        for chunk in page.chunks {
            let bytes = unpack(&chunk.bytes)?;
            let entries = Entries::read(&bytes)?;
            brought += entries.0.len();
            let events = entries.0.iter().enumerate();
            for (index, entry) in events.filter(|(_, entry)| from.is_none_or(|from| entry.time >= from)) {
                self.pending.push_back(Stored::new(entry, (chunk.number, index), &self.decoders)?);
            }
            self.chunks.insert(chunk.number, chunk);
        }
        // Events with the same time and tie key stay in the order of arrival: by transaction, then
        // by index.
        self.pending.make_contiguous().sort_by_key(|event| (event.time, event.tie, event.chunk));
        // Chunks are small after small batches and large after large ones.
        if brought < PAGE_EVENTS / 2 {
            self.page = (self.page * 2).min(LARGEST_PAGE);
        } else if brought > PAGE_EVENTS {
            self.page = (self.page / 2).max(FIRST_PAGE);
        }
        let present: HashSet<u64> = self.pending.iter().map(|event| event.chunk.0).collect();
        self.chunks.retain(|number, _| present.contains(number));
        Ok(())
    }

    /// Reads pages until the event that [`peek`](Self::peek) returns is the next one of the
    /// history.
    ///
    /// Invariant after the call: the first pending event is before `complete_before`, so no unread
    /// chunk holds an earlier event. In the example above, `listen` of chunk 1 is shown only when
    /// chunk 2, which begins with `slot`, is read.
    pub(crate) async fn fill<T: Transaction>(&mut self, tx: &mut T) -> Result<(), StoreError> {
        while let Some(limit) = self.complete_before
            && self.pending.front().is_none_or(|event| event.time >= limit)
        {
            self.read_page(tx).await?;
        }
        Ok(())
    }

    /// Returns the time and tie key of the next event.
    pub(crate) fn peek(&self) -> Option<(EventTime, Option<i128>)> {
        self.pending.front().map(|event| (event.time, event.tie))
    }

    /// Takes the next event.
    pub(crate) fn next(&mut self) -> Option<Stored> {
        self.shown += 1;
        self.pending.pop_front()
    }

    /// Returns the chunk of an event that was just taken.
    pub(crate) fn chunk(&self, number: u64) -> Option<&Chunk> {
        self.chunks.get(&number)
    }

    /// Notes that a replay settled at `checkpoint`, the last one passed: from there on nothing
    /// differs.
    pub(crate) fn settled_at(&mut self, checkpoint: Checkpoint) {
        self.start = Some(checkpoint);
    }

    /// Goes on to the latest checkpoint at or before `since`. Returns whether it is there.
    ///
    /// Gives up where opening another reader is cheaper: after skipping more events than were shown
    /// before, and some. Valid only after a replay that has settled. A reader that has given up can
    /// only be dropped.
    pub(crate) async fn go_on_to<T: Transaction>(
        &mut self,
        tx: &mut T,
        since: EventTime,
    ) -> Result<bool, StoreError> {
        if self.start.as_ref().is_none_or(|start| start.time > since) {
            return Ok(false);
        }
        let most = self.shown * 2 + SHORT_WAY;
        // Invariant: `start` is the latest checkpoint at or before `since` of the pages read so
        // far, and no event before it is pending.
        loop {
            while self.checkpoints.front().is_some_and(|checkpoint| checkpoint.time <= since) {
                self.start = self.checkpoints.pop_front();
            }
            let start = self.start.as_ref().map(|start| start.time);
            while self.pending.front().is_some_and(|event| Some(event.time) < start) {
                self.next();
            }
            // A page that is not read yet may have a later checkpoint, if it begins before `since`.
            if self.complete_before.is_none_or(|limit| since < limit) {
                return Ok(true);
            }
            if self.shown > most {
                return Ok(false);
            }
            self.read_page(tx).await?;
        }
    }
}
