//! Reading a sender's history in order, a page at a time.

use std::collections::{BTreeMap, VecDeque};

use turnmill_engine::Checkpoint;
use turnmill_model::{Decoder, Event, EventTime, Record, SenderId};

use super::ahead::ReadAhead;
use crate::history::{Entries, Entry, unpack};
use crate::{Chunk, HistoryPage, HistoryRequest, StoreError, Transaction};

/// Chunks of the first page; later pages grow.
const FIRST_PAGE: usize = 6;
const LARGEST_PAGE: usize = 1024;

/// One stored event.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) time: EventTime,
    ordinal: u32,
    record_time: Option<f64>,
    environment: Option<String>,
    payload: Vec<u8>,
    /// Number of its chunk, and its place in it.
    pub(crate) chunk: (u64, usize),
}

impl Stored {
    fn new(entry: &Entry<'_>, chunk: (u64, usize)) -> Self {
        Self {
            time: entry.time,
            ordinal: entry.ordinal,
            record_time: entry.record_time,
            environment: entry.environment.map(Into::into),
            payload: entry.payload.into(),
            chunk,
        }
    }

    /// The event, decoded again.
    pub(crate) fn event<'s>(
        &'s self,
        decoder: &dyn Decoder,
        sender_key: &'s str,
    ) -> Result<Event<'s>, StoreError> {
        let record = Record {
            payload: &self.payload,
            sender: Some(sender_key),
            time: self.record_time,
            environment: self.environment.as_deref(),
        };
        let mut events = Vec::new();
        let damaged = |detail: String| StoreError::Damaged {
            detail: format!("a stored event of `{sender_key}`: {detail}"),
        };
        decoder.decode(&record, &mut events).map_err(|refused| damaged(refused.to_string()))?;
        let index = self.ordinal as usize;
        if index >= events.len() {
            return Err(damaged("its record gives fewer events than before".into()));
        }
        let mut event = events.swap_remove(index);
        event.time = self.time;
        Ok(event)
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
    /// The chunks read so far, to write one again with an event replaced.
    pub(crate) chunks: BTreeMap<u64, Chunk>,
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
        if self.read == 0 {
            self.start = page.start;
            self.checkpoints = page.checkpoints.into();
        }
        self.read += page.chunks.len();
        self.page = (self.page * 2).min(LARGEST_PAGE);
        self.complete_before = page.next;
        let from = self.start.as_ref().map(|start| start.time);
        for chunk in page.chunks {
            let bytes = unpack(&chunk.bytes)?;
            let entries = Entries::read(&bytes)?;
            if entries.decoder != self.decoder {
                let detail =
                    format!("history of the format `{}`, read as `{}`", entries.decoder, self.decoder);
                return Err(StoreError::Damaged { detail });
            }
            let events = entries.entries.iter().enumerate();
            let events = events.map(|(index, entry)| Stored::new(entry, (chunk.number, index)));
            self.pending.extend(events.filter(|event| from.is_none_or(|from| event.time >= from)));
            self.chunks.insert(chunk.number, chunk);
        }
        // Those of the same time in the order in which they arrived: by transaction, then inside it.
        self.pending.make_contiguous().sort_by_key(|event| (event.time, event.chunk));
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

    /// Time of the next event.
    pub(crate) fn peek(&self) -> Option<EventTime> {
        self.pending.front().map(|event| event.time)
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> Option<Stored> {
        self.pending.pop_front()
    }
}
