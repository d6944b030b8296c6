//! One attempt to take a batch through a transaction: lock, recognise, apply, write, commit.
//!
//! ```text
//! batch:  u1: hi (known), u1: bye (newer), u2: slot (late)
//!
//! lock        the claim names u1, u2 and the source's position; the store locks them
//! states      u1 is in the cache in the stored version; u2 is loaded from the store
//! recognise   the store knows `hi`: a duplicate, dropped here
//! apply       u1: bye is applied to the cached timeline; u2: slot is replayed (see `late`)
//! write       row changes, both new states, the new events as history, the ledger
//! commit      all of it with the new position; only now do the timelines go back to the cache
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use turnmill_engine::{Engine, NamedSession, Recency, Timeline};
use turnmill_model::{Changes, Decoders, EventId, EventTime, SenderId, SessionId, Settings};
use turnmill_sink::{
    Batch, CheckpointWrite, Chunk, Claim, Counts, HistoryWrite, Locked, SenderClaim, Store, StoreError,
    TimelineWrite, Transaction,
};
use uuid::Uuid;

use crate::accounting::Accounting;
use crate::ahead::Ahead;
use crate::arrivals::{Arrivals, RefusedRecord};
use crate::batch_task::{BatchTask, Purpose};
use crate::cache::Cache;
use crate::copies::EventCounts;
use crate::groups::{Group, Item, recognise};
use crate::history::Entries;
use crate::late::{self, DirectRun, LateOutcome, Replayer};
use crate::pieces::Pieces;
use crate::reader::ReadAhead;
use crate::report::{Report, RowCounts};
use crate::setback::{Setback, check_opened, check_patterns};

/// Holds what all attempts of an [`Ingest`](crate::Ingest) share.
pub(crate) struct Attempt<'i> {
    pub(crate) settings: &'i Settings,
    pub(crate) engine: &'i Engine,
    pub(crate) decoders: &'i Decoders,
    pub(crate) cache: &'i mut Cache,
}

/// Holds one sender's part of a batch, with its state before the batch.
struct SenderBatch<'p, 'e, 'a> {
    group: &'p Group<'e, 'a>,
    arrivals: &'e Arrivals<'a>,
    timeline: &'p Timeline,
}

/// Holds the result of applying one sender's part.
#[derive(Debug)]
struct Applied {
    timeline: Timeline,
    late: Option<LateOutcome>,
    checkpoints: Option<CheckpointWrite>,
    /// Events that were placed in a session by the session id they name.
    named_sessions: Vec<NamedSession>,
    /// Rows of `rasa_event` beyond one for each new event.
    extra_rows: i64,
}

impl Attempt<'_> {
    /// Takes the batch through one transaction of `store`. A probe is never committed.
    ///
    /// # Errors
    ///
    /// Returns the errors of the store, [`Setback::OtherPatterns`], or [`Setback::PiecesVoid`].
    /// After an error nothing is written, and the cache is out of date.
    pub(crate) async fn run<S: Store>(
        &mut self,
        store: &mut S,
        task: &BatchTask<'_, '_>,
        purpose: Purpose<'_>,
        mut pieces: Pieces,
    ) -> Result<Report, Setback> {
        let mut groups = task.groups(purpose);
        let claim = Claim {
            advances: if purpose == Purpose::Commit { task.advances.to_vec() } else { Vec::new() },
            senders: groups
                .iter()
                .map(|group| SenderClaim { sender: group.sender, cached: self.cache.version(group.sender) })
                .collect(),
        };
        let mut tx = store.begin(&claim).await?;
        check_opened(self.settings, &tx)?;
        check_patterns(self.engine, &tx)?;
        let mut states = self.states(&groups, task.arrivals, tx.timelines().await?)?;
        recognise(&mut tx, &mut groups, task.arrivals, self.decoders, &states).await?;

        // Apply all senders, then check the session ids they want to own. If a sender wants the id
        // of another sender's session, mark that id as foreign in its state and apply the whole
        // batch again. Invariant: `states` are the stored states plus such marks; `changes` start
        // empty in each round.
        let mut batch = Batch::default();
        let applied = loop {
            batch.changes.clear();
            let mut applied = Vec::with_capacity(groups.len());
            let mut ahead = Ahead::new(self.engine, &groups, &states);
            for (number, (group, (_, timeline))) in groups.iter().zip(&states).enumerate() {
                let page = ahead.page(&mut tx, number).await?;
                let part = SenderBatch { group, arrivals: task.arrivals, timeline };
                let before = event_rows(&batch.changes);
                let mut part = self.apply(&mut tx, part, page, &mut pieces, &mut batch.changes).await?;
                part.note_extra_rows(group, event_rows(&batch.changes) - before);
                applied.push(part);
            }
            let lost = lost_sessions(&mut tx, &groups, &applied, &batch.changes, &pieces).await?;
            if lost.is_empty() {
                break applied;
            }
            pieces.none_written()?;
            let mut progress = false;
            for (index, key) in lost {
                progress |= states.get_mut(index).is_some_and(|(_, timeline)| timeline.mark_foreign(key));
            }
            if !progress {
                // Each round marks an id as foreign to a sender, for good, so the rounds end.
                let detail = "senders take a session id from each other without end".into();
                return Err(StoreError::Damaged { detail }.into());
            }
        };
        last_sender_updates(&mut batch.changes);
        let mut report = Report { pieces: pieces.count, rows: pieces.rows, ..Report::default() };
        RowCounts::add(&mut report.rows, &RowCounts::of(&batch.changes));
        let mut kept = Vec::with_capacity(groups.len());
        for ((group, (version, before)), applied) in groups.iter().zip(states).zip(applied) {
            count(&mut report, group, &applied, &before);
            let changed = applied.late.is_some() || !group.items.is_empty();
            let version = version + u64::from(changed);
            if changed {
                let arrivals = task.is_whole(purpose).then_some(task.arrivals);
                self.keep(&mut batch, group, arrivals, &applied, version);
            }
            kept.push((version, applied.into_timeline(&mut batch)));
        }
        task.account(&mut batch, &mut report);
        if purpose == Purpose::Commit {
            for RefusedRecord { record, refused } in &task.arrivals.refused {
                batch.dead_letters.push(task.letters.dead_letter(*record, refused));
            }
            for (record, refused) in &task.excluded {
                batch.dead_letters.push(task.letters.dead_letter(*record, refused));
            }
            if let Accounting::Retry { letter, .. } = task.accounting {
                batch.dead_letters.clear();
                if report.counts.dead_letters == 0 {
                    batch.retried.push(*letter);
                }
            }
        }
        tx.write(&batch).await?;
        if purpose == Purpose::Commit {
            // The timelines are cached only now: before the commit their rows do not exist.
            let started = Instant::now();
            tx.commit().await?;
            report.commit = started.elapsed();
            for (version, timeline) in kept {
                self.cache.put(version, timeline);
            }
        }
        Ok(report)
    }

    /// Returns the present state of each sender, with its version.
    fn states(
        &mut self,
        groups: &[Group<'_, '_>],
        arrivals: &Arrivals<'_>,
        locked: Vec<Locked>,
    ) -> Result<Vec<(u64, Timeline)>, StoreError> {
        let mut states = Vec::with_capacity(groups.len());
        for (group, locked) in groups.iter().zip(locked) {
            // Taken out here, and put back after the commit. After a failure the caller clears the
            // cache.
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
                    let detail = format!("the store returned no state of sender {}", group.sender);
                    return Err(StoreError::Damaged { detail });
                }
            };
            states.push(state);
        }
        Ok(states)
    }

    /// Applies one sender's events to its state.
    ///
    /// Events that are all newer than the sender's newest are applied directly. Everything else is
    /// replayed: late events, copies that change a stored event, marker rows that are missing for
    /// new patterns. `ahead` is `None` if none of these is known to apply.
    async fn apply<T: Transaction>(
        &self,
        tx: &mut T,
        SenderBatch { group, arrivals, timeline }: SenderBatch<'_, '_, '_>,
        ahead: Option<ReadAhead>,
        pieces: &mut Pieces,
        out: &mut Changes,
    ) -> Result<Applied, Setback> {
        let mut since: Option<EventTime> = timeline.markers_missing_since(self.engine.patterns());
        if since.is_none() && ahead.is_none() {
            let events = group.items.iter().map(|item| &*item.event);
            match late::run(self.engine, timeline, events, out) {
                DirectRun::Applied { timeline: next, finished } => {
                    let checkpoints = late::new_checkpoints(timeline, finished.checkpoints);
                    return Ok(Applied {
                        timeline: next,
                        late: None,
                        checkpoints,
                        named_sessions: finished.named_sessions,
                        extra_rows: 0,
                    });
                }
                // An event can be newer than all others and still move stored rows, if it turns out
                // to belong to a session that began earlier. Then the history is replayed from
                // there.
                DirectRun::NeedsReplay { since: moving } => since = Some(moving),
            }
        }
        let mut replayer = Replayer { tx, engine: self.engine, decoders: self.decoders, ahead, pieces };
        let mut outcome = replayer.apply(timeline, &group.items, arrivals, since, out).await?;
        let named_sessions = std::mem::take(&mut outcome.named_sessions);
        Ok(Applied {
            timeline: outcome.timeline.clone(),
            late: Some(outcome),
            checkpoints: None,
            named_sessions,
            extra_rows: 0,
        })
    }

    /// Adds a sender's new state and its new events to the batch. The events are packed here,
    /// unless `arrivals` has them packed.
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
        let packed = arrivals.and_then(|arrivals| arrivals.packed(sender, new().count()));
        let chunks = match packed {
            Some(chunks) => chunks.to_vec(),
            None => Entries(new().map(Item::entry).collect()).chunks(),
        };
        let write = |chunk: Chunk| HistoryWrite { sender, chunk: chunk.numbered(version), replaces: false };
        batch.history.extend(chunks.into_iter().map(write));
    }
}

impl Applied {
    /// Notes how many rows of `rasa_event` there are beyond one for each new event, if `rows` were
    /// added. Only exchanges have such rows.
    fn note_extra_rows(&mut self, group: &Group<'_, '_>, rows: i64) {
        if self.timeline.has_exchanges() {
            let change = self.change(group);
            self.extra_rows = rows - change.events - change.parts;
            self.timeline.note_extra_rows(self.extra_rows);
        }
    }

    /// Counts the events that were added, less those that were removed.
    fn change(&self, group: &Group<'_, '_>) -> EventCounts {
        let mut added = EventCounts::default();
        group.items.iter().filter(|item| !item.is_known()).for_each(|item| added.add(&item.event));
        let removed = self.late.as_ref().map_or_else(EventCounts::default, |late| late.removed);
        EventCounts { events: added.events - removed.events, parts: added.parts - removed.parts }
    }

    /// Moves checkpoints and rewritten history into the batch, and returns the timeline.
    fn into_timeline(self, batch: &mut Batch) -> Timeline {
        batch.checkpoints.extend(self.checkpoints);
        if let Some(late) = self.late {
            batch.checkpoints.extend(late.checkpoints);
            batch.history.extend(late.history);
        }
        self.timeline
    }
}

/// Returns how many rows of `rasa_event` the changes add, less those that they delete.
fn event_rows(changes: &Changes) -> i64 {
    changes.events.inserts.len() as i64 - changes.events.deletes.len() as i64
}

/// Returns the sessions that this batch creates under an id that another sender owns: the number of
/// the group that loses the id, with the id.
///
/// A session id is owned by the sender that stored it first. If no sender has stored it yet, the
/// first arrival in the batch that names it wins.
///
/// ```text
/// stored:  -                            batch:  u1: hi (session A), u2: hi (session A)
/// u1 keeps A. u2 loses it: its session is applied again, under an id of its own.
/// ```
async fn lost_sessions<T: Transaction>(
    tx: &mut T,
    groups: &[Group<'_, '_>],
    applied: &[Applied],
    changes: &Changes,
    pieces: &Pieces,
) -> Result<Vec<(usize, Uuid)>, StoreError> {
    if applied.iter().all(|applied| applied.named_sessions.is_empty()) {
        return Ok(Vec::new());
    }
    // The first arrival that names each id, by sender, with the number of the group.
    let mut named: HashMap<(Uuid, SenderId), (usize, usize)> = HashMap::new();
    for (index, (group, applied)) in groups.iter().zip(applied).enumerate() {
        let arrivals: HashMap<EventId, usize> =
            group.items.iter().map(|item| (item.event.id, item.arrival)).collect();
        for NamedSession { event, session: key } in &applied.named_sessions {
            // An event that is not of this batch was stored earlier, so it comes before all
            // arrivals (0).
            let arrival = arrivals.get(event).map_or(0, |arrival| arrival + 1);
            let first = named.entry((*key, group.sender)).or_insert((arrival, index));
            first.0 = first.0.min(arrival);
        }
    }
    let mut claimants: BTreeMap<SessionId, Vec<(usize, usize, SenderId)>> = BTreeMap::new();
    for row in changes.sessions.inserts.iter().chain(&changes.sessions.updates) {
        if let Some((arrival, index)) = named.get(&(row.id.0, row.sender_id)) {
            claimants.entry(row.id).or_default().push((*arrival, *index, row.sender_id));
        }
    }
    let ids: Vec<SessionId> = claimants.keys().copied().collect();
    let owners = tx.session_owners(&ids).await?;
    let mut lost = Vec::new();
    for ((id, mut claimants), owner) in claimants.into_iter().zip(owners) {
        claimants.sort_unstable();
        // A session that this batch began, in a piece, is not stored yet.
        let owner = owner.filter(|_| !pieces.begun.contains(&id));
        let keeps = owner.or(claimants.first().map(|(_, _, sender)| *sender));
        let losers = claimants.iter().filter(|(_, _, sender)| Some(*sender) != keeps);
        lost.extend(losers.map(|(_, index, _)| (*index, id.0)));
    }
    Ok(lost)
}

/// Keeps the last update of each sender's row. Several stretches of one sender may each have
/// written it.
fn last_sender_updates(changes: &mut Changes) {
    let updates = &mut changes.senders.updates;
    let mut seen = HashSet::new();
    updates.reverse();
    updates.retain(|row| seen.insert(row.id));
    updates.reverse();
}

/// Adds the counts of one sender's part, whose state was `before`, to the report.
fn count(report: &mut Report, group: &Group<'_, '_>, applied: &Applied, before: &Timeline) {
    let new = || group.items.iter().filter(|item| !item.is_known());
    let late = applied.late.as_ref();
    let EventCounts { events, parts } = applied.change(group);
    report.late += new().filter(|item| before.recency(&item.event) == Recency::Older).count() as u64;
    report.replays += late.map_or(0, |late| late.replays);
    report.counts += Counts {
        records: group.copies,
        events,
        // All copies that are no new event, and the stored events that an anonymised copy turned
        // into duplicates.
        duplicates: group.copies - events,
        anonymised: group.anonymised + late.map_or(0, |late| late.anonymised),
        changed: group.changed + late.map_or(0, |late| late.changed),
        parts: parts + applied.extra_rows,
        ..Counts::default()
    };
}
