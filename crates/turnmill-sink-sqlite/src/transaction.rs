//! A transaction of the store.

use rusqlite::{OptionalExtension as _, Row};
use turnmill_engine::Checkpoint;
use turnmill_model::{EventId, EventKey, EventTime, SenderId, SessionId, Settings};
use turnmill_sink::{
    Batch, Chunk, Claim, EventLookup, HistoryPage, HistoryRequest, Locked, SenderClaim, StoreError,
    StoredCopies, Transaction,
};
use uuid::Uuid;

use crate::SqliteStore;
use crate::outbox::SinkFacts;
use crate::sql::{CHECKPOINT_BEFORE, CHECKPOINTS_AFTER, HISTORY, KNOWN, SESSION_OWNER, TIMELINE};
use crate::store::roll_back;
use crate::write::Writer;

/// A transaction of a [`SqliteStore`]. Dropping it rolls back.
#[derive(Debug)]
pub struct SqliteTransaction<'s> {
    store: &'s mut SqliteStore,
    claim: &'s Claim,
    patterns: u64,
    sinks: SinkFacts,
    /// Versions that are stored after the commit.
    written: Vec<(SenderId, u64)>,
}

impl<'s> SqliteTransaction<'s> {
    pub(crate) fn new(store: &'s mut SqliteStore, claim: &'s Claim, patterns: u64, sinks: SinkFacts) -> Self {
        Self { store, claim, patterns, sinks, written: Vec::new() }
    }

    fn writer(&self) -> Result<Writer<'_>, StoreError> {
        if self.store.read_only {
            return Err(self.store.reading_only());
        }
        // A state that the caller has cached may be older than the store, after a restored backup.
        // Without a sender nothing is locked.
        let senders = &self.claim.senders;
        let fresh = !senders.is_empty() && senders.iter().all(|claim| claim.cached.is_none());
        Ok(Writer::new(self.store, self.store.connection()?, fresh))
    }

    fn locked(&mut self, claim: &SenderClaim) -> Result<Locked, StoreError> {
        let SenderClaim { sender, cached } = *claim;
        if cached.is_some() && self.store.versions.get(sender) == cached {
            return Ok(Locked::Current);
        }
        self.store.gate.pass()?;
        let fail = |error| self.store.error(error, "reading a timeline");
        let row: Option<(u64, Option<Vec<u8>>)> = self
            .store
            .connection()?
            .prepare_cached(TIMELINE)
            .and_then(|mut query| {
                query
                    .query_row((sender.0.as_bytes(), cached), |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()
            })
            .map_err(fail)?;
        let Some((version, state)) = row else { return Ok(Locked::Absent) };
        self.store.versions.learn(sender, version);
        Ok(match state {
            None => Locked::Current,
            Some(state) => Locked::Loaded { version, state },
        })
    }

    fn copies_of(&self, sender: SenderId, key: EventKey) -> Result<StoredCopies, StoreError> {
        let fail = |error| self.store.error(error, "looking for known events");
        self.store.gate.pass()?;
        let mut query = self.store.connection()?.prepare_cached(KNOWN).map_err(fail)?;
        let range = (key.first().to_string(), key.last().to_string(), sender.to_string());
        let mut rows = query.query(range).map_err(fail)?;
        let mut found = StoredCopies::default();
        while let Some(row) = rows.next().map_err(fail)? {
            let id = row.get_ref(0).map_err(fail)?.as_str().ok().and_then(|id| Uuid::parse_str(id).ok());
            found.ids.extend(id.map(EventId));
        }
        Ok(found)
    }

    fn session_owner(&self, id: SessionId) -> Result<Option<SenderId>, StoreError> {
        self.store.gate.pass()?;
        let owner: Option<String> = self
            .store
            .connection()?
            .prepare_cached(SESSION_OWNER)
            .and_then(|mut query| query.query_row([id.to_string()], |row| row.get(0)).optional())
            .map_err(|error| self.store.error(error, "looking for a session"))?;
        let Some(owner) = owner else { return Ok(None) };
        match Uuid::parse_str(&owner) {
            Ok(owner) => Ok(Some(SenderId(owner))),
            Err(_) => Err(StoreError::Damaged { detail: format!("session {id} has the sender `{owner}`") }),
        }
    }

    fn page(&self, request: &HistoryRequest) -> Result<HistoryPage, StoreError> {
        let HistoryRequest { sender, since, skip, limit } = *request;
        let fail = |error| self.store.error(error, "reading history");
        let connection = self.store.connection()?;
        let key = sender.0.as_bytes();
        let mut page = HistoryPage::default();
        if let Some(since) = since {
            self.store.gate.pass()?;
            page.start = connection
                .prepare_cached(CHECKPOINT_BEFORE)
                .and_then(|mut query| query.query_row((key, since.seconds()), checkpoint).optional())
                .map_err(fail)?
                .transpose()?;
        }
        if skip == 0 {
            self.store.gate.pass()?;
            let mut query = connection.prepare_cached(CHECKPOINTS_AFTER).map_err(fail)?;
            let after = since.map_or(f64::NEG_INFINITY, EventTime::seconds);
            let rows: Vec<_> =
                query.query_map((key, after), checkpoint).and_then(Iterator::collect).map_err(fail)?;
            page.checkpoints = rows.into_iter().collect::<Result<_, _>>()?;
        }
        let from = page.start.as_ref().map_or(f64::NEG_INFINITY, |start| start.time.seconds());
        // Fetch one more than requested, to find the start of the next page.
        let (fetch, offset) = (count(limit).saturating_add(1), count(skip));
        self.store.gate.pass()?;
        let mut query = connection.prepare_cached(HISTORY).map_err(fail)?;
        let rows: Vec<_> = query
            .query_map((key, from, fetch, offset), |row| {
                let (number, least, greatest, bytes) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
                let times = time(least).and_then(|least| Ok((least, time(greatest)?)));
                Ok(times.map(|(least, greatest)| Chunk { number, least, greatest, bytes }))
            })
            .and_then(Iterator::collect)
            .map_err(fail)?;
        page.chunks = rows.into_iter().collect::<Result<_, _>>()?;
        if page.chunks.len() > limit {
            page.next = page.chunks.get(limit).map(|chunk| chunk.least);
            page.chunks.truncate(limit);
        }
        Ok(page)
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn time(seconds: f64) -> Result<EventTime, StoreError> {
    let damaged = || StoreError::Damaged { detail: format!("a stored event time is {seconds}") };
    EventTime::from_seconds(seconds).ok_or_else(damaged)
}

fn checkpoint(row: &Row<'_>) -> rusqlite::Result<Result<Checkpoint, StoreError>> {
    let (seconds, state) = (row.get(0)?, row.get(1)?);
    Ok(time(seconds).map(|time| Checkpoint { time, state }))
}

impl Drop for SqliteTransaction<'_> {
    fn drop(&mut self) {
        roll_back(self.store.connection.as_ref());
    }
}

impl Transaction for SqliteTransaction<'_> {
    fn settings(&self) -> &Settings {
        &self.store.row_settings
    }

    fn patterns_revision(&self) -> u64 {
        self.patterns
    }

    async fn timelines(&mut self) -> Result<Vec<Locked>, StoreError> {
        let claim = self.claim;
        claim.senders.iter().map(|claim| self.locked(claim)).collect()
    }

    async fn known(&mut self, events: &[EventLookup]) -> Result<Vec<StoredCopies>, StoreError> {
        events.iter().map(|event| self.copies_of(event.sender, event.key)).collect()
    }

    async fn session_owners(&mut self, ids: &[SessionId]) -> Result<Vec<Option<SenderId>>, StoreError> {
        ids.iter().map(|id| self.session_owner(*id)).collect()
    }

    async fn histories(&mut self, requests: &[HistoryRequest]) -> Result<Vec<HistoryPage>, StoreError> {
        requests.iter().map(|request| self.page(request)).collect()
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.writer()?.batch(batch, self.sinks)?;
        self.written.extend(batch.timelines.iter().map(|timeline| (timeline.sender, timeline.version)));
        Ok(())
    }

    async fn commit(self) -> Result<(), StoreError> {
        self.writer()?.positions(&self.claim.advances)?;
        self.store.gate.pass()?;
        let commit = self
            .store
            .connection()?
            .prepare_cached("COMMIT")
            .and_then(|mut commit| commit.execute([]))
            .map_err(|error| self.store.error(error, "committing"));
        match commit {
            Ok(_) => {
                for (sender, version) in &self.written {
                    self.store.versions.learn(*sender, *version);
                }
                Ok(())
            }
            Err(error) => {
                // The commit may have succeeded or not.
                self.store.versions.forget();
                Err(error)
            }
        }
    }
}
