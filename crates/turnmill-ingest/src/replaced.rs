//! What copies of stored events change in the history: anonymised copies take the place of plain ones, and plain ones give
//! them what they lack.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use turnmill_model::{Body, Decoder, Event, EventId, EventKey, EventTime};

use crate::arrivals::Arrivals;
use crate::copies::{CopySource, KnownCopies, fold};
use crate::groups::{Copies, Item};
use crate::history::{Entries, unpack};
use crate::reader::{ReadAhead, Reader, SenderRef, Stored};
use turnmill_sink::{Chunk, HistoryWrite, StoreError, Transaction};

/// What becomes of a stored event.
#[derive(Debug)]
pub(crate) enum Change {
    /// This copy takes its place: one that arrived, or itself with what a plain copy says.
    Replace {
        copy: CopySource,
        /// What the history keeps of the plain copy.
        kept: Option<Vec<u8>>,
    },
    /// It goes: the anonymised copy that stands for its key takes the place of another one.
    Remove,
}

/// The changes of one sender's stored events.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    changes: HashMap<EventId, Change>,
    /// When the changed events are, ascending.
    times: Vec<EventTime>,
    /// The chunks of history in which they are, rewritten.
    pub(crate) history: Vec<HistoryWrite>,
    /// Whether the facts of the sender's row may stem from what goes.
    pub(crate) concerns_totals: bool,
    pub(crate) anonymised: i64,
    pub(crate) changed: i64,
    pub(crate) removed: i64,
}

/// Stored events with one key, in the sender's order.
#[derive(Debug, Default)]
struct StoredCopies {
    events: Vec<(EventId, Stored)>,
}

impl Plan {
    /// What becomes of the stored event with this id; `None` if it stays as it is.
    pub(crate) fn change(&self, id: EventId) -> Option<&Change> {
        self.changes.get(&id)
    }

    /// When the changed events are, ascending.
    pub(crate) fn times(&self) -> &[EventTime] {
        &self.times
    }

    /// Reads the stored copies of those of `items` that are known, and works out what changes.
    pub(crate) async fn make<'e, 'a, T: Transaction>(
        tx: &mut T,
        decoder: &dyn Decoder,
        whose: &SenderRef,
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
        find(tx, decoder, whose, items, &mut wanted, &mut chunks, ahead).await?;
        let mut plan = Self::default();
        let mut rewritten: BTreeMap<u64, BTreeMap<usize, EventId>> = BTreeMap::new();
        for (copies, found) in wanted.into_values() {
            plan.decide(decoder, whose, arrivals, copies, &found)?;
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
                detail: format!("chunk {number} of sender {} is missing", whose.sender),
            })?;
            let change = |stored: Stored| match places
                .get(&stored.chunk.1)
                .and_then(|id| plan.changes.get(id))
            {
                None => Some(stored),
                Some(Change::Remove) => None,
                Some(Change::Replace { copy, kept }) => Some(stored.with_copy(Some(arrivals), *copy, kept)),
            };
            let chunk = rewrite(decoder, &chunk, change)?;
            plan.history.push(HistoryWrite { sender: whose.sender, chunk, replaces: true });
        }
        Ok(plan)
    }

    /// Works out what becomes of the stored events `found` of one key when `copies` arrive.
    fn decide(
        &mut self,
        decoder: &dyn Decoder,
        whose: &SenderRef,
        arrivals: &Arrivals<'_>,
        copies: &Copies,
        found: &StoredCopies,
    ) -> Result<(), StoreError> {
        let Some(((first, stored), rest)) = found.events.split_first() else {
            return Err(StoreError::Damaged {
                detail: format!("the history of sender {} lacks an event of rasa_event", whose.sender),
            });
        };
        let event = stored.event(decoder, whose)?;
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
            Some(CopySource::Known) => Some(stored.facts(decoder, whose)),
            Some(CopySource::Arrived(plain)) => {
                let ordinal = arrivals.events.get(plain).map_or(0, |event| event.ordinal);
                Some(decoder.kept(&arrivals.record(plain), ordinal).unwrap_or_default())
            }
            None => None,
        };
        if stands == CopySource::Known && kept == stored.kept {
            return Ok(());
        }
        let changed = stored.with_copy(Some(arrivals), stands, &kept);
        self.concerns_totals |= !same_totals(&event, &changed.event(decoder, whose)?);
        self.changes.insert(*first, Change::Replace { copy: stands, kept });
        for (id, stored) in rest {
            self.concerns_totals |= names_totals(&stored.event(decoder, whose)?);
            self.changes.insert(*id, Change::Remove);
            self.removed += 1;
        }
        Ok(())
    }
}

/// The chunk with `change` of each of its events; `None` takes one out.
pub(crate) fn rewrite(
    decoder: &dyn Decoder,
    chunk: &Chunk,
    mut change: impl FnMut(Stored) -> Option<Stored>,
) -> Result<Chunk, StoreError> {
    let unpacked = unpack(&chunk.bytes)?;
    let entries = Entries::read(&unpacked)?.entries;
    let stored = entries.iter().enumerate().map(|(index, entry)| Stored::new(entry, (chunk.number, index)));
    let changed: Vec<Stored> = stored.filter_map(&mut change).collect();
    let entries = changed.iter().map(Stored::entry).collect();
    let bytes = Entries { decoder: decoder.name(), entries }.pack();
    Ok(Chunk { bytes, number: chunk.number, least: chunk.least, greatest: chunk.greatest })
}

/// Finds the stored events of the `wanted` keys, and the chunks in which they are.
async fn find<T: Transaction>(
    tx: &mut T,
    decoder: &dyn Decoder,
    whose: &SenderRef,
    items: &[Item<'_, '_>],
    wanted: &mut HashMap<EventKey, (&Copies, StoredCopies)>,
    chunks: &mut BTreeMap<u64, Chunk>,
    ahead: Option<ReadAhead>,
) -> Result<(), StoreError> {
    let known = || items.iter().filter(|item| item.is_known());
    let mut reader = Reader::open(tx, whose.sender, since(known()), decoder.name(), ahead).await?;
    // Copies with a time of their own are all at that time; one without may stand anywhere.
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
        let id = stored.event(decoder, whose)?.id;
        if let Some((_, found)) = wanted.get_mut(&id.key()) {
            if let Some(chunk) = reader.chunk(stored.chunk.0) {
                chunks.entry(stored.chunk.0).or_insert_with(|| chunk.clone());
            }
            found.events.push((id, stored));
        }
    }
    Ok(())
}

/// From where on the history has the stored copies of these known items; none: anywhere.
pub(crate) fn since<'i, 'e: 'i, 'a: 'e + 'i>(
    known: impl Iterator<Item = &'i Item<'e, 'a>> + Clone,
) -> Option<EventTime> {
    let timed = known.clone().all(|item| item.event.id.has_time());
    if timed { known.map(|item| item.event.time).min() } else { None }
}

/// Whether two copies say the same about what the sender's row gathers.
fn same_totals(old: &Event<'_>, new: &Event<'_>) -> bool {
    channel(old) == channel(new) && old.user_key == new.user_key
}

/// Whether an event says something that the sender's row gathers.
fn names_totals(event: &Event<'_>) -> bool {
    channel(event).is_some() || event.user_key.is_some()
}

fn channel<'e>(event: &'e Event<'_>) -> Option<&'e str> {
    match &event.body {
        Body::User(message) => message.input_channel.as_deref(),
        _ => None,
    }
}
