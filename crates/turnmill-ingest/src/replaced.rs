//! Works out what arriving copies change in the stored history.
//!
//! An anonymised copy takes the place of a stored plain event. A plain copy gives a stored
//! anonymised event the facts that it lacks.
//!
//! ```text
//! stored:   u1: start, hi "my name is Ann", bye
//! arrives:  u1: hi "my name is <name>", anonymised
//! history:  u1: start, hi "my name is <name>" (keeps the intent of the plain one), bye
//! ```
//!
//! The chunk that held the plain event is rewritten in the same transaction. So the plain text
//! leaves the history together with the rows. `late` then replays the changed stretch.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use turnmill_model::{Body, Decoders, Event, EventId, EventKey, EventTime};

use crate::arrivals::Arrivals;
use crate::copies::{CopySource, EventCounts, KnownCopies, fold};
use crate::groups::{Copies, Item};
use crate::history::{Entries, unpack};
use crate::reader::{ReadAhead, Reader, SenderRef, Stored};
use turnmill_sink::{Chunk, HistoryWrite, StoreError, Transaction};

/// Tells what becomes of a stored event.
#[derive(Debug)]
pub(crate) enum Change {
    /// A copy takes its place: one that arrived, or the stored one itself with the facts of a plain
    /// copy.
    Replace {
        copy: CopySource,
        /// What the history keeps of the plain copy.
        kept: Option<Vec<u8>>,
    },
    /// It is removed, because the anonymised copy of its key takes the place of another event.
    Remove,
}

/// Holds the changes of one sender's stored events.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    changes: HashMap<EventId, Change>,
    /// Times of the changed events, ascending.
    times: Vec<EventTime>,
    /// The rewritten chunks that hold the changed events.
    pub(crate) history: Vec<HistoryWrite>,
    /// Whether the sender's row may have facts (channel, user) of an event that changes.
    pub(crate) concerns_totals: bool,
    pub(crate) anonymised: i64,
    pub(crate) changed: i64,
    pub(crate) removed: EventCounts,
}

/// Holds the stored events of one key, in the sender's order.
#[derive(Debug, Default)]
struct StoredCopies {
    events: Vec<(EventId, Stored)>,
}

impl Plan {
    /// Returns what becomes of the stored event with this id, or `None` if it stays as it is.
    pub(crate) fn change(&self, id: EventId) -> Option<&Change> {
        self.changes.get(&id)
    }

    /// Returns the times of the changed events, ascending.
    pub(crate) fn times(&self) -> &[EventTime] {
        &self.times
    }

    /// Reads the stored copies of the known ones of `items`, and works out what changes.
    pub(crate) async fn make<'e, 'a, T: Transaction>(
        tx: &mut T,
        decoders: &Decoders,
        sender_ref: &SenderRef,
        items: &[Item<'e, 'a>],
        arrivals: &'e Arrivals<'a>,
        ahead: Option<ReadAhead>,
    ) -> Result<Self, StoreError> {
        let mut wanted: HashMap<EventKey, (&Copies, StoredCopies)> = items
            .iter()
            .filter(|item| item.is_known())
            .map(|item| (item.event.id.key(), (&item.copies, StoredCopies::default())))
            .collect();
        let mut chunks = BTreeMap::new();
        find(tx, decoders, sender_ref, items, &mut wanted, &mut chunks, ahead).await?;
        let mut plan = Self::default();
        let mut rewritten: BTreeMap<u64, BTreeMap<usize, EventId>> = BTreeMap::new();
        for (copies, found) in wanted.into_values() {
            plan.decide(decoders, sender_ref, arrivals, copies, &found)?;
            for (id, stored) in &found.events {
                if plan.changes.contains_key(id) {
                    plan.times.push(stored.time);
                    rewritten.entry(stored.chunk.0).or_default().insert(stored.chunk.1, *id);
                }
            }
        }
        plan.times.sort_unstable();
        for (number, places) in rewritten {
            let chunk = chunks.remove(&number).ok_or_else(|| StoreError::Damaged {
                detail: format!("chunk {number} of sender {} is missing", sender_ref.sender),
            })?;
            let place = |stored: &Stored| places.get(&stored.chunk.1).and_then(|id| plan.changes.get(id));
            let change = |stored: Stored| {
                Ok(match place(&stored) {
                    None => Some(stored),
                    Some(Change::Remove) => None,
                    Some(Change::Replace { copy, kept }) => {
                        Some(stored.with_copy(Some(arrivals), *copy, kept, decoders)?)
                    }
                })
            };
            let chunk = rewrite(decoders, &chunk, change)?;
            plan.history.push(HistoryWrite { sender: sender_ref.sender, chunk, replaces: true });
        }
        Ok(plan)
    }

    /// Decides what becomes of the stored events `found` of one key when `copies` arrive. The rule
    /// is that of [`fold`].
    fn decide(
        &mut self,
        decoders: &Decoders,
        sender_ref: &SenderRef,
        arrivals: &Arrivals<'_>,
        copies: &Copies,
        found: &StoredCopies,
    ) -> Result<(), StoreError> {
        let Some(((first, stored), rest)) = found.events.split_first() else {
            return Err(StoreError::Damaged {
                detail: format!("the history of sender {} lacks an event of rasa_event", sender_ref.sender),
            });
        };
        let event = stored.event(decoders, sender_ref)?;
        let mark = event.anonymised.as_ref();
        let ids: Vec<EventId> = found.events.iter().map(|(id, _)| *id).collect();
        let verdict = match mark {
            Some(mark) => {
                let before = KnownCopies::Anonymised { mark, has_facts: stored.kept.is_some() };
                fold(&before, arrivals.numbered(copies))
            }
            None => fold(&KnownCopies::Plain(&ids), arrivals.numbered(copies)),
        };
        self.anonymised += verdict.anonymised;
        self.changed += verdict.changed;
        let Some(stands) = verdict.stands else { return Ok(()) };
        let kept = match verdict.facts {
            Some(CopySource::Known) if mark.is_some() => stored.kept.clone(),
            Some(CopySource::Known) => Some(stored.facts(decoders, sender_ref)),
            Some(CopySource::Arrived(plain)) => {
                let ordinal = arrivals.events.get(plain).map_or(0, |event| event.ordinal);
                Some(decoders.kept(&arrivals.record(plain), ordinal).unwrap_or_default())
            }
            None => None,
        };
        if stands == CopySource::Known && kept == stored.kept {
            return Ok(());
        }
        let changed = stored.with_copy(Some(arrivals), stands, &kept, decoders)?;
        self.concerns_totals |= !same_totals(&event, &changed.event(decoders, sender_ref)?);
        self.changes.insert(*first, Change::Replace { copy: stands, kept });
        for (id, stored) in rest {
            let event = stored.event(decoders, sender_ref)?;
            self.concerns_totals |= names_totals(&event);
            self.changes.insert(*id, Change::Remove);
            self.removed.add(&event);
        }
        Ok(())
    }
}

/// Returns the chunk with `change` applied to each of its events. `None` removes one.
pub(crate) fn rewrite(
    decoders: &Decoders,
    chunk: &Chunk,
    mut change: impl FnMut(Stored) -> Result<Option<Stored>, StoreError>,
) -> Result<Chunk, StoreError> {
    let unpacked = unpack(&chunk.bytes)?;
    let mut changed: Vec<Stored> = Vec::new();
    for (index, entry) in Entries::read(&unpacked)?.0.iter().enumerate() {
        changed.extend(change(Stored::new(entry, (chunk.number, index), decoders)?)?);
    }
    let bytes = Entries(changed.iter().map(Stored::entry).collect()).pack();
    Ok(Chunk { bytes, number: chunk.number, least: chunk.least, greatest: chunk.greatest })
}

/// Finds the stored events of the `wanted` keys, and the chunks that hold them.
async fn find<T: Transaction>(
    tx: &mut T,
    decoders: &Decoders,
    sender_ref: &SenderRef,
    items: &[Item<'_, '_>],
    wanted: &mut HashMap<EventKey, (&Copies, StoredCopies)>,
    chunks: &mut BTreeMap<u64, Chunk>,
    ahead: Option<ReadAhead>,
) -> Result<(), StoreError> {
    let known = || items.iter().filter(|item| item.is_known());
    let mut reader = Reader::open(tx, sender_ref.sender, since(known()), decoders, ahead).await?;
    // All copies of an event with a time of its own are at that time. Copies of one without may be
    // anywhere.
    let last = if known().all(|item| item.event.id.has_time()) {
        known().map(|item| item.event.time).max()
    } else {
        None
    };
    let times: BTreeSet<EventTime> = known().map(|item| item.event.time).collect();
    loop {
        reader.fill(tx).await?;
        let Some((time, _)) = reader.peek() else { break };
        if last.is_some_and(|last| time > last) {
            break;
        }
        let Some(stored) = reader.next() else { break };
        if last.is_some() && !times.contains(&time) {
            continue;
        }
        let id = stored.event(decoders, sender_ref)?.id;
        if let Some((_, found)) = wanted.get_mut(&id.key()) {
            if let Some(chunk) = reader.chunk(stored.chunk.0) {
                chunks.entry(stored.chunk.0).or_insert_with(|| chunk.clone());
            }
            found.events.push((id, stored));
        }
    }
    Ok(())
}

/// Returns the time from which on the stored copies of these known items are found; `None`:
/// anywhere.
pub(crate) fn since<'i, 'e: 'i, 'a: 'e + 'i>(
    known: impl Iterator<Item = &'i Item<'e, 'a>> + Clone,
) -> Option<EventTime> {
    let timed = known.clone().all(|item| item.event.id.has_time());
    if timed { known.map(|item| item.event.time).min() } else { None }
}

/// Returns whether two copies agree on the facts that the sender's row gathers.
fn same_totals(old: &Event<'_>, new: &Event<'_>) -> bool {
    channel(old) == channel(new) && old.user_key == new.user_key
}

/// Returns whether an event has facts that the sender's row gathers.
fn names_totals(event: &Event<'_>) -> bool {
    channel(event).is_some() || event.user_key.is_some()
}

fn channel<'e>(event: &'e Event<'_>) -> Option<&'e str> {
    match &event.body {
        Body::User(message) => message.input_channel.as_deref(),
        _ => None,
    }
}
