//! Reading a sender's history in order, a page at a time.

use std::collections::{BTreeMap, HashSet, VecDeque};

use turnmill_engine::{Checkpoint, SenderName, Timeline};
use turnmill_model::{AssistantName, Decoder, Event, EventTime, Record, SenderId, SourceFacts, TimeUnit};

use crate::arrivals::Arrivals;
use crate::copies::CopySource;
use crate::history::{Entries, Entry, unpack};
use turnmill_sink::{Chunk, HistoryPage, HistoryRequest, StoreError, Transaction};

/// Chunks of the first page; later pages grow while they bring few events.
const FIRST_PAGE: usize = 6;
const LARGEST_PAGE: usize = 1024;
/// Events of a page: enough that asking for it is cheap beside them, few enough to hold in memory.
const PAGE_EVENTS: usize = 8192;

/// A reader goes on through what it need not show, rather than being opened again, for as many events as it has shown and
/// these: then going on costs no more than what was done already.
const SHORT_WAY: usize = 512;
/// Events between two checkpoints, at least.
const CHECKPOINT_EVENTS: usize = 32;

/// The sender whose history is read, with the name that its events are decoded with.
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

/// One stored event.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) time: EventTime,
    tie: Option<i64>,
    ordinal: u32,
    record_time: Option<f64>,
    environment: Option<String>,
    time_unit: TimeUnit,
    anonymised: bool,
    pub(crate) kept: Option<Vec<u8>>,
    payload: Vec<u8>,
    /// Number of its chunk, and its place in it.
    pub(crate) chunk: (u64, usize),
}

impl Stored {
    pub(crate) fn new(entry: &Entry<'_>, chunk: (u64, usize)) -> Self {
        Self {
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
        }
    }

    /// As the history keeps it.
    pub(crate) fn entry(&self) -> Entry<'_> {
        Entry {
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

    fn record<'s>(&'s self, whose: &'s SenderRef) -> Record<'s> {
        Record {
            payload: &self.payload,
            sender: Some(&whose.name.key),
            time: self.record_time,
            environment: self.environment.as_deref(),
            row: self.tie,
            facts: SourceFacts {
                assistant: whose.name.assistant.as_deref().map_or(AssistantName::None, AssistantName::Given),
                time_unit: self.time_unit,
                anonymised: self.anonymised,
            },
            kept: self.kept.as_deref(),
        }
    }

    /// The event, decoded again.
    pub(crate) fn event<'s>(
        &'s self,
        decoder: &dyn Decoder,
        whose: &'s SenderRef,
    ) -> Result<Event<'s>, StoreError> {
        let mut events = Vec::new();
        let damaged = |detail: String| StoreError::Damaged {
            detail: format!("a stored event of `{}`: {detail}", whose.name.key),
        };
        let record = self.record(whose);
        decoder.decode(&record, &mut events).map_err(|refused| damaged(refused.to_string()))?;
        let index = self.ordinal as usize;
        if index >= events.len() {
            return Err(damaged("its record gives fewer events than before".into()));
        }
        let mut event = events.swap_remove(index);
        (event.time, event.tie) = (self.time, self.tie);
        Ok(event)
    }

    /// What has to be kept of it, a plain event, when an anonymised copy takes its place.
    pub(crate) fn facts(&self, decoder: &dyn Decoder, whose: &SenderRef) -> Vec<u8> {
        decoder.kept(&self.record(whose), self.ordinal).unwrap_or_default()
    }

    /// `copy`, another stored event, at the place of this one, with `kept` of the plain copy.
    pub(crate) fn replaced_by(&self, copy: &Self, kept: Option<Vec<u8>>) -> Self {
        Self { time: self.time, tie: self.tie, chunk: self.chunk, kept, ..copy.clone() }
    }

    /// `copy` at the place of this one, with `kept` of the plain copy.
    pub(crate) fn with_copy(
        &self,
        arrivals: Option<&Arrivals<'_>>,
        copy: CopySource,
        kept: &Option<Vec<u8>>,
    ) -> Self {
        let mut changed = match (arrivals, copy) {
            (Some(arrivals), CopySource::Arrived(arrival)) => {
                let entry = Entry::new(&arrivals.record(arrival), &arrivals.events[arrival], None);
                Self { time: self.time, tie: self.tie, ..Self::new(&entry, self.chunk) }
            }
            (_, CopySource::Known | CopySource::Arrived(_)) => self.clone(),
        };
        changed.kept.clone_from(kept);
        changed
    }
}

/// Reads the history of one sender from a checkpoint on, in the sender's order.
#[derive(Debug)]
pub(crate) struct Reader {
    sender: SenderId,
    since: Option<EventTime>,
    decoder: &'static str,
    /// Where reading begins; none: with the first event.
    pub(crate) start: Option<Checkpoint>,
    /// The checkpoints not yet passed.
    pub(crate) checkpoints: VecDeque<Checkpoint>,
    pending: VecDeque<Stored>,
    /// Events before this time are all in `pending`.
    complete_before: Option<EventTime>,
    read: usize,
    page: usize,
    /// Events shown so far.
    shown: usize,
    /// The chunks of which events are in `pending`, to write one again with an event replaced.
    chunks: BTreeMap<u64, Chunk>,
}

/// A page that was read before it was asked for.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    pub(crate) request: HistoryRequest,
    pub(crate) page: HistoryPage,
}

/// What a reader asks first.
pub(crate) fn first_page(sender: SenderId, since: Option<EventTime>) -> HistoryRequest {
    HistoryRequest { sender, since, skip: 0, limit: FIRST_PAGE }
}

impl Reader {
    /// Starts at the latest checkpoint at or before `since`; without one, at the first event. The first page may have been
    /// read already.
    pub(crate) async fn open<T: Transaction>(
        tx: &mut T,
        sender: SenderId,
        since: Option<EventTime>,
        decoder: &'static str,
        ahead: Option<ReadAhead>,
    ) -> Result<Self, StoreError> {
        let mut reader = Self {
            sender,
            since,
            decoder,
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
            self.checkpoints = page.checkpoints.into();
        }
        self.read += page.chunks.len();
        self.complete_before = page.next;
        let mut brought = 0;
        for chunk in page.chunks {
            let bytes = unpack(&chunk.bytes)?;
            let entries = Entries::read(&bytes)?;
            if entries.decoder != self.decoder {
                let detail =
                    format!("history of the format `{}`, read as `{}`", entries.decoder, self.decoder);
                return Err(StoreError::Damaged { detail });
            }
            brought += entries.entries.len();
            let events = entries.entries.iter().enumerate();
            let events = events.filter(|(_, entry)| from.is_none_or(|from| entry.time >= from));
            self.pending.extend(events.map(|(index, entry)| Stored::new(entry, (chunk.number, index))));
            self.chunks.insert(chunk.number, chunk);
        }
        // Those of the same place in the order in which they arrived: by transaction, then inside it.
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

    /// Makes sure that [`peek`](Self::peek) tells the truth.
    pub(crate) async fn fill<T: Transaction>(&mut self, tx: &mut T) -> Result<(), StoreError> {
        while let Some(limit) = self.complete_before
            && self.pending.front().is_none_or(|event| event.time >= limit)
        {
            self.read_page(tx).await?;
        }
        Ok(())
    }

    /// Place of the next event.
    pub(crate) fn peek(&self) -> Option<(EventTime, Option<i64>)> {
        self.pending.front().map(|event| (event.time, event.tie))
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> Option<Stored> {
        self.shown += 1;
        self.pending.pop_front()
    }

    /// The chunk of an event that was shown last.
    pub(crate) fn chunk(&self, number: u64) -> Option<&Chunk> {
        self.chunks.get(&number)
    }

    /// Notes that a replay ended at `checkpoint`, the last one passed: from there on all is as before.
    pub(crate) fn settled_at(&mut self, checkpoint: Checkpoint) {
        self.start = Some(checkpoint);
    }

    /// Whether it is cheaper to go on to the latest checkpoint at or before `since` than to open another reader there. Only
    /// after a replay that has settled.
    pub(crate) fn goes_on_to(&self, since: EventTime) -> bool {
        if self.start.as_ref().is_none_or(|start| start.time > since) {
            return false;
        }
        let between = self.checkpoints.iter().take_while(|checkpoint| checkpoint.time <= since).count();
        let read = self.complete_before.is_none_or(|limit| since < limit);
        read || between * CHECKPOINT_EVENTS <= self.shown + SHORT_WAY
    }

    /// Goes on to the latest checkpoint at or before `since`.
    pub(crate) async fn go_to<T: Transaction>(
        &mut self,
        tx: &mut T,
        since: EventTime,
    ) -> Result<(), StoreError> {
        while self.checkpoints.front().is_some_and(|checkpoint| checkpoint.time <= since) {
            self.start = self.checkpoints.pop_front();
        }
        let Some(start) = self.start.as_ref().map(|start| start.time) else { return Ok(()) };
        loop {
            self.fill(tx).await?;
            if self.pending.front().is_none_or(|event| event.time >= start) {
                return Ok(());
            }
            self.next();
        }
    }
}
