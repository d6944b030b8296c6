//! From decoded records to a committed transaction.
//!
//! [`Ingest`] does what the laws ask for, on any [`Store`]: known events are duplicates and change nothing; events that are
//! newer than their sender's newest are applied directly; late ones, and anonymised copies of stored ones, by replaying the
//! stretch of history that they touch; records that can never be written become dead letters while their neighbours land; and
//! all of it commits with the source's position, or not at all.

mod arrivals;
mod cache;
mod late;
mod reader;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use turnmill_engine::{Engine, Place, Timeline};
use turnmill_model::{
    Changes, Decoder, Event, EventId, EventTime, Reason, Record, Refused, SenderId, SessionId, Settings,
};
use uuid::Uuid;

pub use self::arrivals::{Arrivals, Letters};
use self::cache::Cache;
use self::late::Means;
use crate::history::{Entries, Entry};
use crate::{
    Advance, Batch, CheckpointWrite, Chunk, Claim, Class, Counts, HistoryWrite, Locked, SenderClaim, Store,
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

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The batch's counts, as they went to the ledger.
    pub counts: Counts,
    /// Events that came late, and so did not simply extend their sender's timeline.
    pub late: u64,
    /// Stretches of history that were replayed.
    pub replays: u64,
    /// Entries of the row changes.
    pub changes: usize,
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

/// One event to apply.
#[derive(Debug)]
pub(crate) struct Item<'e, 'a> {
    pub(crate) event: Cow<'e, Event<'a>>,
    record: Record<'a>,
    arrival: usize,
    /// It is stored already, and this copy may take its place.
    pub(crate) known: bool,
    /// It took the place of a plain copy of this batch.
    over_plain: bool,
}

impl<'a> Item<'_, 'a> {
    /// The event as the history keeps it.
    pub(crate) fn entry(&self) -> Entry<'a> {
        Entry {
            time: self.event.time,
            ordinal: self.event.ordinal,
            record_time: self.record.time,
            environment: self.record.environment,
            payload: self.record.payload,
        }
    }
}

/// One sender's part of a batch: each event once, in the sender's order.
#[derive(Debug)]
struct Group<'e, 'a> {
    sender: SenderId,
    items: Vec<Item<'e, 'a>>,
    duplicates: i64,
    anonymised: i64,
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
        let result = self.attempt(store, &task, Attempt::Commit).await;
        let result = match result {
            Err(error) if error.class() == Class::Poison => {
                task.excluded = self.find_poison(store, &task, error).await?;
                self.attempt(store, &task, Attempt::Commit).await
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
            match self.attempt(store, task, Attempt::Try(&part)).await {
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

    async fn attempt<S: Store>(
        &mut self,
        store: &mut S,
        task: &Task<'_, '_>,
        attempt: Attempt<'_>,
    ) -> Result<Report, StoreError> {
        let mut groups = task.groups(attempt);
        let claim = Claim {
            advances: if attempt == Attempt::Commit { task.advances.to_vec() } else { Vec::new() },
            senders: groups
                .iter()
                .map(|group| SenderClaim { sender: group.sender, cached: self.cache.version(group.sender) })
                .collect(),
        };
        let mut tx = store.begin(&claim).await?;
        let states = self.states(&groups, tx.timelines().await?)?;
        recognise(&mut tx, &mut groups, &states).await?;

        let mut batch = Batch::default();
        let mut timelines: Vec<Timeline> = states.iter().map(|(_, timeline)| timeline.clone()).collect();
        let applied = loop {
            batch.changes.clear();
            let mut applied = Vec::with_capacity(groups.len());
            for (group, timeline) in groups.iter().zip(&timelines) {
                applied.push(self.apply(&mut tx, group, timeline, &mut batch.changes).await?);
            }
            let lost = lost_claims(&mut tx, &groups, &applied, &batch.changes).await?;
            if lost.is_empty() {
                break applied;
            }
            let mut progress = false;
            for (index, key) in lost {
                progress |= timelines.get_mut(index).is_some_and(|timeline| timeline.mark_foreign(key));
            }
            if !progress {
                // Each round takes an id from a sender for good, so this cannot be.
                return Err(StoreError::Damaged { detail: "session ids are claimed without end".into() });
            }
        };
        last_sender_updates(&mut batch.changes);
        let mut report = Report { changes: batch.changes.len(), ..Report::default() };
        let mut kept = Vec::with_capacity(groups.len());
        for ((group, (version, before)), applied) in groups.iter().zip(states).zip(applied) {
            report.count(group, &applied, &before);
            let changed = applied.late.is_some() || !group.items.is_empty();
            let version = version + u64::from(changed);
            if changed {
                self.keep(&mut batch, group, &applied, version);
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
            tx.commit().await?;
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
        locked: Vec<Locked>,
    ) -> Result<Vec<(u64, Timeline)>, StoreError> {
        let state = |(group, locked): (&Group<'_, '_>, Locked)| {
            let cached = self.cache.get(group.sender);
            let key = group.items.first().map(|item| item.event.sender_key.as_ref()).unwrap_or_default();
            match (locked, cached) {
                (Locked::Current, Some((version, timeline))) => Ok((version, timeline.clone())),
                (Locked::Loaded { version, state }, _) => Ok((version, Timeline::from_bytes(&state)?)),
                (Locked::Absent, _) => Ok((0, Timeline::new(group.sender, key))),
                (Locked::Current, None) => {
                    Err(StoreError::Damaged { detail: format!("sender {} was not loaded", group.sender) })
                }
            }
        };
        groups.iter().zip(locked).map(state).collect()
    }

    /// Applies one sender's events.
    async fn apply<T: Transaction>(
        &self,
        tx: &mut T,
        group: &Group<'_, '_>,
        timeline: &Timeline,
        out: &mut Changes,
    ) -> Result<Applied, StoreError> {
        let on_time = |item: &Item<'_, '_>| !item.known && timeline.place(&item.event) == Place::Newer;
        let mut since: Option<EventTime> = None;
        if group.items.iter().all(on_time) {
            match late::run(&self.engine, timeline, &group.items, out) {
                Ok((next, finished)) => {
                    let checkpoints = late::new_checkpoints(timeline, finished.checkpoints);
                    return Ok(Applied { timeline: next, late: None, checkpoints, claims: finished.claims });
                }
                Err(moving) => since = Some(moving),
            }
        }
        let mut means = Means { tx, engine: &self.engine, decoder: self.decoder };
        let mut outcome = means.apply(timeline, &group.items, since, out).await?;
        let claims = std::mem::take(&mut outcome.claims);
        Ok(Applied { timeline: outcome.timeline.clone(), late: Some(outcome), checkpoints: None, claims })
    }

    /// Adds a sender's new state and events to the batch.
    fn keep(&self, batch: &mut Batch, group: &Group<'_, '_>, applied: &Applied, version: u64) {
        let sender = group.sender;
        batch.timelines.push(TimelineWrite { sender, version, state: applied.timeline.to_bytes() });
        let entries: Vec<Entry<'_>> =
            group.items.iter().filter(|item| !item.known).map(Item::entry).collect();
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            let (least, greatest) = (first.time, last.time);
            let bytes = Entries { decoder: self.decoder.name(), entries }.pack();
            let chunk = Chunk { number: version, least, greatest, bytes };
            batch.history.push(HistoryWrite { sender, chunk, replaces: false });
        }
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

impl Report {
    fn count(&mut self, group: &Group<'_, '_>, applied: &Applied, before: &Timeline) {
        let known = group.items.iter().filter(|item| item.known).count() as i64;
        let new = group.items.len() as i64 - known;
        let anonymised = group.anonymised + applied.late.as_ref().map_or(0, |late| late.anonymised);
        let late =
            group.items.iter().filter(|item| !item.known && before.place(&item.event) == Place::Behind);
        self.late += late.count() as u64;
        self.replays += applied.late.as_ref().map_or(0, |late| late.replays);
        self.counts += Counts {
            records: new + known + group.duplicates,
            events: new,
            duplicates: known + group.duplicates,
            anonymised,
            ..Counts::default()
        };
    }
}

/// What [`Ingest::attempt`] is for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Attempt<'p> {
    /// Write everything and commit.
    Commit,
    /// Only see whether the rows of these records would be accepted.
    Try(&'p [usize]),
}

/// A batch to ingest.
struct Task<'t, 'a> {
    arrivals: &'t Arrivals<'a>,
    advances: &'t [Advance],
    accounting: &'t Accounting<'t>,
    letters: &'t dyn Letters,
    /// Records that the store refuses.
    excluded: BTreeMap<usize, Refused>,
}

impl<'t, 'a> Task<'t, 'a> {
    /// The events by sender, each event once, in the sender's order.
    fn groups(&self, attempt: Attempt<'_>) -> Vec<Group<'t, 'a>> {
        let Arrivals { events, records, record_of, .. } = self.arrivals;
        let tried: Option<HashSet<usize>> = match attempt {
            Attempt::Commit => None,
            Attempt::Try(records) => Some(records.iter().copied().collect()),
        };
        let taken = |arrival: &usize| {
            let record = record_of[*arrival];
            tried.as_ref().is_none_or(|tried| tried.contains(&record)) && !self.excluded.contains_key(&record)
        };
        let mut order: Vec<usize> = (0..events.len()).filter(taken).collect();
        order.sort_unstable_by_key(|arrival| (events[*arrival].sender, events[*arrival].time, *arrival));
        let mut groups: Vec<Group<'t, 'a>> = Vec::new();
        let mut places: HashMap<EventId, usize> = HashMap::new();
        for arrival in order {
            let event = &events[arrival];
            let item = Item {
                event: Cow::Borrowed(event),
                record: records[record_of[arrival]],
                arrival,
                known: false,
                over_plain: false,
            };
            match groups.last_mut() {
                Some(group) if group.sender == event.sender => group.add(item, &mut places),
                _ => {
                    places.clear();
                    let mut group =
                        Group { sender: event.sender, items: Vec::new(), duplicates: 0, anonymised: 0 };
                    group.add(item, &mut places);
                    groups.push(group);
                }
            }
        }
        for group in &mut groups {
            // A copy that arrived first gives its place, which need not be that of the copy sorted first.
            if !group.items.is_sorted_by_key(|item| (item.event.time, item.arrival)) {
                group.items.sort_by_key(|item| (item.event.time, item.arrival));
            }
        }
        groups
    }

    /// Adds the counts to the ledger.
    fn account(&self, batch: &mut Batch, report: &mut Report) {
        let refused = (self.arrivals.refused.len() + self.excluded.len()) as i64;
        let skipped = self.arrivals.skipped as i64;
        let rest = Counts { records: refused + skipped, dead_letters: refused, skipped, ..Counts::default() };
        report.counts += rest;
        match self.accounting {
            Accounting::Source(source) => {
                batch.ledger.insert((*source).to_owned(), report.counts);
            }
            // The record is counted already, as a dead letter.
            Accounting::Retry { source, .. } if report.counts.dead_letters == 0 => {
                let mut moved = report.counts;
                moved.records -= 1;
                moved.dead_letters -= 1;
                batch.ledger.insert((*source).to_owned(), moved);
            }
            Accounting::Retry { .. } => {}
        }
    }
}

impl<'e, 'a> Group<'e, 'a> {
    /// Adds an event, unless it is another copy of one that is there.
    fn add(&mut self, item: Item<'e, 'a>, places: &mut HashMap<EventId, usize>) {
        let there = places.get(&item.event.id).and_then(|index| self.items.get_mut(*index));
        let Some(there) = there else {
            places.insert(item.event.id, self.items.len());
            self.items.push(item);
            return;
        };
        self.duplicates += 1;
        let (first, other) = if item.arrival < there.arrival { (&item, &*there) } else { (&*there, &item) };
        let (time, arrival) = (first.event.time, first.arrival);
        let replaces = other.event.replaces(first.event.anonymized_at.as_deref());
        let content = if replaces { other } else { first };
        self.anonymised += i64::from(replaces);
        let (mut event, record) = (content.event.clone(), content.record);
        if event.time != time {
            event.to_mut().time = time;
        }
        let over_plain = there.over_plain || (replaces && first.event.anonymized_at.is_none());
        *there = Item { event, record, arrival, known: false, over_plain };
    }
}

/// Finds the events that are stored already: plain copies go, anonymised ones are marked.
async fn recognise<T: Transaction>(
    tx: &mut T,
    groups: &mut [Group<'_, '_>],
    states: &[(u64, Timeline)],
) -> Result<(), StoreError> {
    let mut behind = Vec::new();
    let mut suspect = |item: &Item<'_, '_>, timeline: &Timeline| {
        // An event without a time of its own may be stored anywhere.
        let suspect = timeline.newest().is_some()
            && (timeline.place(&item.event) != Place::Newer || !item.event.id.has_time());
        if suspect {
            behind.push(item.event.id);
        }
    };
    for (group, (_, timeline)) in groups.iter().zip(states) {
        group.items.iter().for_each(|item| suspect(item, timeline));
    }
    if behind.is_empty() {
        return Ok(());
    }
    let known = tx.known(&behind).await?;
    let known: HashSet<EventId> =
        behind.into_iter().zip(known).filter(|(_, known)| *known).map(|(id, _)| id).collect();
    for group in groups {
        let before = group.items.len();
        group.items.retain_mut(|item| {
            item.known = known.contains(&item.event.id);
            // The plain copy of this batch was never stored, so nothing took its place.
            group.anonymised -= i64::from(item.known && item.over_plain);
            !item.known || item.event.anonymized_at.is_some()
        });
        group.duplicates += (before - group.items.len()) as i64;
    }
    Ok(())
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
