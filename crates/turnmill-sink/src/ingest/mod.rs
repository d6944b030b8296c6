//! From decoded records to a committed transaction.
//!
//! [`Ingest`] does what the laws ask for, on any [`Store`]: known events are duplicates and change nothing; events that are
//! newer than their sender's newest are applied directly; late ones, and anonymised copies of stored ones, by replaying the
//! stretch of history that they touch; records that can never be written become dead letters while their neighbours land; and
//! all of it commits with the source's position, or not at all.

mod ahead;
mod arrivals;
mod cache;
mod copies;
mod groups;
mod late;
mod look;
mod reader;
mod replaced;
mod report;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use turnmill_engine::{Engine, Timeline};
use turnmill_model::{Changes, Decoder, EventId, EventTime, Reason, Refused, SenderId, SessionId, Settings};
use uuid::Uuid;

use self::ahead::{Ahead, ReadAhead};
pub use self::arrivals::{Arrivals, Letters};
use self::cache::Cache;
use self::groups::{Attempt, Group, Item, Task, recognise};
use self::late::Replayer;
pub use self::look::Look;
pub use self::report::{Report, RowCounts};
pub use self::upkeep::Rebuilt;
use crate::history::Entries;
use crate::{
    Advance, Batch, CheckpointWrite, Chunk, Claim, Class, HistoryWrite, Locked, SenderClaim, Store,
    StoreError, TimelineWrite, Transaction,
};

/// Takes batches of records through transactions of a store, and keeps senders' timelines in memory between them.
pub struct Ingest<'d> {
    engine: Engine,
    decoder: &'d dyn Decoder,
    cache: Cache,
}

impl std::fmt::Debug for Ingest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest")
            .field("engine", &self.engine)
            .field("decoder", &self.decoder.name())
            .finish_non_exhaustive()
    }
}

/// Why an attempt came to nothing.
#[derive(Debug)]
pub(crate) enum Setback {
    Store(StoreError),
    /// The store's patterns are not those of the engine.
    OtherPatterns,
}

impl From<StoreError> for Setback {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// How a batch is counted.
#[derive(Clone, Debug)]
pub enum Accounting<'s> {
    /// Records that a source delivered, counted under its name.
    Source(&'s str),
    /// One dead letter, tried again: it moves to events or duplicates, or stays where it is.
    Retry {
        /// The source it was counted under.
        source: &'s str,
        /// Its id.
        letter: u64,
    },
}

/// One sender's part of a batch.
struct Part<'p, 'e, 'a> {
    group: &'p Group<'e, 'a>,
    arrivals: &'e Arrivals<'a>,
    timeline: &'p Timeline,
}

/// What one sender's part led to.
#[derive(Debug)]
struct Applied {
    timeline: Timeline,
    late: Option<late::Outcome>,
    checkpoints: Option<CheckpointWrite>,
    /// Events placed by their session id.
    claims: Vec<(EventId, Uuid)>,
}

impl<'d> Ingest<'d> {
    /// Ingests with `decoder` under `settings`, which must be those of the decoder and of the opened store; timelines are
    /// cached up to `cache_bytes`.
    #[must_use]
    pub fn new(settings: &Settings, decoder: &'d dyn Decoder, cache_bytes: usize) -> Self {
        Self { engine: Engine::new(settings), decoder, cache: Cache::new(cache_bytes) }
    }

    /// Replaces the engine, for one with another distance of checkpoints.
    #[must_use]
    pub fn with_engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// The decoder.
    #[must_use]
    pub fn decoder(&self) -> &'d dyn Decoder {
        self.decoder
    }

    /// Number and bytes of the timelines in memory.
    #[must_use]
    pub fn cached(&self) -> (usize, usize) {
        self.cache.usage()
    }

    /// Forgets the timelines in memory: after a fence, or whenever the store may have changed behind our back.
    pub fn forget(&mut self) {
        self.cache.clear();
    }

    /// Writes what `arrivals` change and moves the positions of `advances`, in one transaction.
    ///
    /// # Errors
    ///
    /// The store's, other than poison: a record of which the store refuses a row becomes a dead letter made by `letters`.
    /// After an error nothing has changed, and the same call may be tried again if its class says so.
    pub async fn ingest<S: Store>(
        &mut self,
        store: &mut S,
        arrivals: &Arrivals<'_>,
        advances: &[Advance],
        accounting: &Accounting<'_>,
        letters: &dyn Letters,
    ) -> Result<Report, StoreError> {
        let mut task = Task { arrivals, advances, accounting, letters, excluded: BTreeMap::new() };
        let result = self.retried(store, &task, Attempt::Commit).await;
        let result = match result {
            Err(error) if error.class() == Class::Poison => {
                task.excluded = self.find_poison(store, &task, error).await?;
                self.retried(store, &task, Attempt::Commit).await
            }
            result => result,
        };
        if result.is_err() {
            // What is in memory was made for rows that are not there.
            self.cache.clear();
        }
        result
    }

    /// Finds the records of which the store refuses a row, by halving.
    async fn find_poison<S: Store>(
        &mut self,
        store: &mut S,
        task: &Task<'_, '_>,
        whole: StoreError,
    ) -> Result<BTreeMap<usize, Refused>, StoreError> {
        let records: BTreeSet<usize> = task.arrivals.record_of.iter().copied().collect();
        let mut suspects = vec![records.into_iter().collect::<Vec<_>>()];
        let mut poison = BTreeMap::new();
        while let Some(part) = suspects.pop() {
            self.cache.clear();
            match self.retried(store, task, Attempt::Try(&part)).await {
                Ok(_) => {}
                Err(error) if error.class() != Class::Poison => return Err(error),
                Err(error) => match part.as_slice() {
                    [record] => {
                        poison.insert(*record, Refused::new(Reason::RefusedByStore, error.to_string()));
                    }
                    _ => {
                        let (front, back) = part.split_at(part.len() / 2);
                        suspects.extend([back.to_vec(), front.to_vec()]);
                    }
                },
            }
        }
        self.cache.clear();
        // Nothing is refused on its own: then no record can be named, and none may be lost.
        if poison.is_empty() { Err(StoreError::Damaged { detail: whole.to_string() }) } else { Ok(poison) }
    }

    /// Attempts with the store's present patterns.
    async fn retried<S: Store>(
        &mut self,
        store: &mut S,
        task: &Task<'_, '_>,
        attempt: Attempt<'_>,
    ) -> Result<Report, StoreError> {
        loop {
            match self.attempt(store, task, attempt).await {
                Ok(report) => return Ok(report),
                Err(setback) => self.overcome(setback, store).await?,
            }
        }
    }

    /// Sees to it that the next attempt may come further, if that can be.
    pub(crate) async fn overcome<S: Store>(
        &mut self,
        setback: Setback,
        store: &mut S,
    ) -> Result<(), StoreError> {
        match setback {
            Setback::OtherPatterns => self.learn_patterns(store).await,
            Setback::Store(error) => Err(error),
        }
    }

    async fn learn_patterns<S: Store>(&mut self, store: &mut S) -> Result<(), StoreError> {
        let patterns = store.patterns().await?.compile()?;
        self.engine = self.engine.clone().with_patterns(Arc::new(patterns));
        Ok(())
    }

    /// Whether the transaction has to be begun again with other patterns.
    pub(crate) fn knows_patterns<T: Transaction>(&self, tx: &T) -> Result<(), Setback> {
        let known = tx.patterns_revision() == self.engine.patterns().revision();
        if known { Ok(()) } else { Err(Setback::OtherPatterns) }
    }

    async fn attempt<S: Store>(
        &mut self,
        store: &mut S,
        task: &Task<'_, '_>,
        attempt: Attempt<'_>,
    ) -> Result<Report, Setback> {
        let mut groups = task.groups(attempt);
        let claim = Claim {
            advances: if attempt == Attempt::Commit { task.advances.to_vec() } else { Vec::new() },
            senders: groups
                .iter()
                .map(|group| SenderClaim { sender: group.sender, cached: self.cache.version(group.sender) })
                .collect(),
        };
        let mut tx = store.begin(&claim).await?;
        self.knows_patterns(&tx)?;
        let mut states = self.states(&groups, task.arrivals, tx.timelines().await?)?;
        recognise(&mut tx, &mut groups, task.arrivals, self.decoder, &states).await?;

        let mut batch = Batch::default();
        let applied = loop {
            batch.changes.clear();
            let mut applied = Vec::with_capacity(groups.len());
            let mut ahead = Ahead::new(&self.engine, &groups, &states);
            for (number, (group, (_, timeline))) in groups.iter().zip(&states).enumerate() {
                let page = ahead.page(&mut tx, number).await?;
                let part = Part { group, arrivals: task.arrivals, timeline };
                applied.push(self.apply(&mut tx, part, page, &mut batch.changes).await?);
            }
            let lost = lost_claims(&mut tx, &groups, &applied, &batch.changes).await?;
            if lost.is_empty() {
                break applied;
            }
            let mut progress = false;
            for (index, key) in lost {
                progress |= states.get_mut(index).is_some_and(|(_, timeline)| timeline.mark_foreign(key));
            }
            if !progress {
                // Each round takes an id from a sender for good, so this cannot be.
                let detail = "session ids are claimed without end".into();
                return Err(StoreError::Damaged { detail }.into());
            }
        };
        last_sender_updates(&mut batch.changes);
        let mut report = Report { rows: RowCounts::of(&batch.changes), ..Report::default() };
        let mut kept = Vec::with_capacity(groups.len());
        for ((group, (version, before)), applied) in groups.iter().zip(states).zip(applied) {
            report.count(group, &applied, &before);
            let changed = applied.late.is_some() || !group.items.is_empty();
            let version = version + u64::from(changed);
            if changed {
                let arrivals = task.is_whole(attempt).then_some(task.arrivals);
                self.keep(&mut batch, group, arrivals, &applied, version);
            }
            kept.push((version, applied.into_timeline(&mut batch)));
        }
        task.account(&mut batch, &mut report);
        if attempt == Attempt::Commit {
            for (record, refused) in &task.arrivals.refused {
                batch.dead_letters.push(task.letters.letter(*record, refused));
            }
            for (record, refused) in &task.excluded {
                batch.dead_letters.push(task.letters.letter(*record, refused));
            }
            if let Accounting::Retry { letter, .. } = task.accounting {
                batch.dead_letters.clear();
                if report.counts.dead_letters == 0 {
                    batch.retried.push(*letter);
                }
            }
        }
        tx.write(&batch).await?;
        if attempt == Attempt::Commit {
            let started = Instant::now();
            tx.commit().await?;
            report.commit = started.elapsed();
            for (version, timeline) in kept {
                self.cache.put(version, timeline);
            }
        }
        Ok(report)
    }

    /// The senders' present states, with their versions.
    fn states(
        &mut self,
        groups: &[Group<'_, '_>],
        arrivals: &Arrivals<'_>,
        locked: Vec<Locked>,
    ) -> Result<Vec<(u64, Timeline)>, StoreError> {
        let mut states = Vec::with_capacity(groups.len());
        for (group, locked) in groups.iter().zip(locked) {
            // It comes back when the batch is committed; after a failure nothing in the cache counts any more.
            let cached = self.cache.take(group.sender);
            let state = match (locked, cached) {
                (Locked::Current, Some(cached)) => cached,
                (Locked::Loaded { version, state }, _) => (version, Timeline::from_bytes(&state)?),
                (Locked::Absent, _) => {
                    let first = group.first(arrivals);
                    let key = first.map(|event| event.sender_key.as_ref()).unwrap_or_default();
                    let assistant = first.and_then(|event| event.assistant.as_deref());
                    (0, Timeline::new(group.sender, key, assistant))
                }
                (Locked::Current, None) => {
                    let detail = format!("sender {} was not loaded", group.sender);
                    return Err(StoreError::Damaged { detail });
                }
            };
            states.push(state);
        }
        Ok(states)
    }

    /// Applies one sender's events; `ahead` is there unless all are on time.
    async fn apply<T: Transaction>(
        &self,
        tx: &mut T,
        Part { group, arrivals, timeline }: Part<'_, '_, '_>,
        ahead: Option<ReadAhead>,
        out: &mut Changes,
    ) -> Result<Applied, StoreError> {
        let mut since: Option<EventTime> = timeline.owes(self.engine.patterns());
        if since.is_none() && ahead.is_none() {
            let events = group.items.iter().map(|item| &*item.event);
            match late::run(&self.engine, timeline, events, out) {
                Ok((next, finished)) => {
                    let checkpoints = late::new_checkpoints(timeline, finished.checkpoints);
                    return Ok(Applied { timeline: next, late: None, checkpoints, claims: finished.claims });
                }
                Err(moving) => since = Some(moving),
            }
        }
        let mut replayer = Replayer { tx, engine: &self.engine, decoder: self.decoder, ahead };
        let mut outcome = replayer.apply(timeline, &group.items, arrivals, since, out).await?;
        let claims = std::mem::take(&mut outcome.claims);
        Ok(Applied { timeline: outcome.timeline.clone(), late: Some(outcome), checkpoints: None, claims })
    }

    /// Adds a sender's new state and events to the batch; `arrivals` may have the events packed.
    fn keep(
        &self,
        batch: &mut Batch,
        group: &Group<'_, '_>,
        arrivals: Option<&Arrivals<'_>>,
        applied: &Applied,
        version: u64,
    ) {
        let sender = group.sender;
        batch.timelines.push(TimelineWrite { sender, version, state: applied.timeline.to_bytes() });
        let new = || group.items.iter().filter(|item| !item.is_known());
        let decoder = self.decoder.name();
        let packed = arrivals.and_then(|arrivals| arrivals.packed(decoder, sender, new().count()));
        let chunks = match packed {
            Some(chunks) => chunks.to_vec(),
            None => Entries { decoder, entries: new().map(Item::entry).collect() }.chunks(),
        };
        let write = |chunk: Chunk| HistoryWrite { sender, chunk: chunk.numbered(version), replaces: false };
        batch.history.extend(chunks.into_iter().map(write));
    }
}

impl Applied {
    /// Hands over what else is to be written, and the timeline.
    fn into_timeline(self, batch: &mut Batch) -> Timeline {
        batch.checkpoints.extend(self.checkpoints);
        if let Some(late) = self.late {
            batch.checkpoints.extend(late.checkpoints);
            batch.history.extend(late.history);
        }
        self.timeline
    }
}

/// Sessions that this batch creates under an id that another sender owns, or claimed earlier in the batch: by number of the
/// group, with the id.
async fn lost_claims<T: Transaction>(
    tx: &mut T,
    groups: &[Group<'_, '_>],
    applied: &[Applied],
    changes: &Changes,
) -> Result<Vec<(usize, Uuid)>, StoreError> {
    if applied.iter().all(|applied| applied.claims.is_empty()) {
        return Ok(Vec::new());
    }
    // The first arrival that names each id, by sender.
    let mut named: HashMap<(Uuid, SenderId), (usize, usize)> = HashMap::new();
    for (index, (group, applied)) in groups.iter().zip(applied).enumerate() {
        let arrivals: HashMap<EventId, usize> =
            group.items.iter().map(|item| (item.event.id, item.arrival)).collect();
        for (event, key) in &applied.claims {
            // An event that is not of this batch was stored before all that are.
            let arrival = arrivals.get(event).map_or(0, |arrival| arrival + 1);
            let first = named.entry((*key, group.sender)).or_insert((arrival, index));
            first.0 = first.0.min(arrival);
        }
    }
    let mut claims: BTreeMap<SessionId, Vec<(usize, usize, SenderId)>> = BTreeMap::new();
    for row in changes.sessions.inserts.iter().chain(&changes.sessions.updates) {
        if let Some((arrival, index)) = named.get(&(row.id.0, row.sender_id)) {
            claims.entry(row.id).or_default().push((*arrival, *index, row.sender_id));
        }
    }
    let ids: Vec<SessionId> = claims.keys().copied().collect();
    let owners = tx.session_owners(&ids).await?;
    let mut lost = Vec::new();
    for ((id, mut claimants), owner) in claims.into_iter().zip(owners) {
        claimants.sort_unstable();
        let keeps = owner.or(claimants.first().map(|(_, _, sender)| *sender));
        let losers = claimants.iter().filter(|(_, _, sender)| Some(*sender) != keeps);
        lost.extend(losers.map(|(_, index, _)| (*index, id.0)));
    }
    Ok(lost)
}

/// Several stretches of one sender may each have written its row: the last one counts.
fn last_sender_updates(changes: &mut Changes) {
    let updates = &mut changes.senders.updates;
    let mut seen = HashSet::new();
    updates.reverse();
    updates.retain(|row| seen.insert(row.id));
    updates.reverse();
}
