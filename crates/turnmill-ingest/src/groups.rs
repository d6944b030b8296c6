//! Sorts a batch's events by sender, and tells new events from copies of stored ones.
//!
//! ```text
//! stored:   u1: start, hi
//! batch:    u1: hi, u1: bye, u1: bye, u1: slot (between start and hi)
//!
//! u1: hi          known: a duplicate
//! u1: bye         new; its second copy is a duplicate
//! u1: slot        new, and late
//! items           slot, bye (in the sender's order)
//! ```
//!
//! The store is asked only for events that it may know: those that are not newer than their
//! sender's newest event, have the key of that event, or have no time of their own. In the example,
//! `bye` is newer than everything stored, so no look-up is made for it.

use std::borrow::Cow;
use std::collections::HashMap;

use smallvec::{SmallVec, smallvec};
use turnmill_engine::{Recency, Timeline};
use turnmill_model::{Decoders, Event, EventId, EventKey, EventTime, Record, SenderId};

use crate::arrivals::Arrivals;
use crate::copies::{CopySource, KnownCopies, fold};
use crate::history::Entry;
use turnmill_sink::{EventLookup, StoreError, StoredCopies, Transaction};

/// The copies of one event in a batch: numbers of the events, in the order of arrival.
pub(crate) type Copies = SmallVec<[usize; 2]>;

/// Holds one event to apply.
#[derive(Debug)]
pub(crate) struct Item<'e, 'a> {
    /// The event, at its place in the sender's order. Of a known event, the first of the arrived
    /// copies.
    pub(crate) event: Cow<'e, Event<'a>>,
    record: Record<'a>,
    /// What the history keeps of the plain copy that this anonymised one replaced.
    kept: Option<Vec<u8>>,
    /// Number of the arrival whose place the event takes.
    pub(crate) arrival: usize,
    /// The arrived copies of an event that the store knows. What they change is decided when the
    /// stored copy is read. Empty if the event is new.
    pub(crate) copies: Copies,
}

impl Item<'_, '_> {
    /// Returns whether the store has a copy of the event.
    pub(crate) fn is_known(&self) -> bool {
        !self.copies.is_empty()
    }

    /// Returns the event as the history keeps it.
    pub(crate) fn entry(&self) -> Entry<'_> {
        Entry::new(&self.record, &self.event, self.kept.as_deref())
    }

    /// Returns the sort key of a sender's events.
    fn place(&self) -> (EventTime, Option<i128>, usize) {
        let (time, tie) = self.event.order();
        (time, tie, self.arrival)
    }
}

/// Holds one sender's part of a batch.
#[derive(Debug)]
pub(crate) struct Group<'e, 'a> {
    pub(crate) sender: SenderId,
    /// Copies by event, in the order of their first arrival; emptied by [`settle`](Self::settle).
    keys: Vec<Copies>,
    /// The events to apply, in the sender's order; filled by [`settle`](Self::settle).
    pub(crate) items: Vec<Item<'e, 'a>>,
    /// Number of arrived copies that count in the ledger, of all events.
    pub(crate) copies: i64,
    /// Anonymised copies that took the place of another copy of the batch.
    pub(crate) anonymised: i64,
    /// Copies that differ in content from the one that stands, of events that their key identifies.
    pub(crate) changed: i64,
}

/// Groups the events that `taken` accepts by sender and key.
pub(crate) fn grouped<'t, 'a>(
    arrivals: &'t Arrivals<'a>,
    taken: impl Fn(&usize) -> bool,
) -> Vec<Group<'t, 'a>> {
    let events = &arrivals.events;
    let mut order: Vec<usize> = (0..events.len()).filter(taken).collect();
    order.sort_unstable_by_key(|arrival| (events[*arrival].sender, *arrival));
    let mut groups: Vec<Group<'t, 'a>> = Vec::new();
    let mut places: HashMap<EventKey, usize> = HashMap::new();
    for arrival in order {
        let Event { id, sender, counted, .. } = events[arrival];
        if groups.last().is_none_or(|group| group.sender != sender) {
            places.clear();
            groups.push(Group {
                sender,
                keys: Vec::new(),
                items: Vec::new(),
                copies: 0,
                anonymised: 0,
                changed: 0,
            });
        }
        let Some(Group { keys, copies, .. }) = groups.last_mut() else { continue };
        *copies += i64::from(counted);
        let place = *places.entry(id.key()).or_insert(keys.len());
        match keys.get_mut(place) {
            Some(copies) => copies.push(arrival),
            None => keys.push(smallvec![arrival]),
        }
    }
    groups
}

impl<'e, 'a> Group<'e, 'a> {
    /// Returns the first event to arrive. Call it before [`settle`](Self::settle).
    pub(crate) fn first<'g, 'r>(&self, arrivals: &'g Arrivals<'r>) -> Option<&'g Event<'r>> {
        self.keys.first().and_then(|copies| arrivals.events.get(*copies.first()?))
    }

    /// Works out the events to apply. `stored` has the ids of the stored events, by key.
    pub(crate) fn settle(
        &mut self,
        arrivals: &'e Arrivals<'a>,
        decoders: &Decoders,
        stored: &HashMap<EventKey, Vec<EventId>>,
    ) {
        for copies in std::mem::take(&mut self.keys) {
            let key = copies.first().map(|first| arrivals.events[*first].id.key());
            match key.and_then(|key| stored.get(&key)) {
                None => self.settle_new(arrivals, decoders, &copies),
                Some(stored) => self.settle_known(arrivals, copies, stored),
            }
        }
        if !self.items.is_sorted_by_key(Item::place) {
            self.items.sort_by_key(Item::place);
        }
    }

    /// Settles the copies of an event that the store does not know.
    fn settle_new(&mut self, arrivals: &'e Arrivals<'a>, decoders: &Decoders, copies: &Copies) {
        let item = |arrival: usize| Item {
            event: Cow::Borrowed(&arrivals.events[arrival]),
            record: arrivals.record(arrival),
            kept: None,
            arrival,
            copies: Copies::new(),
        };
        if let [only] = copies.as_slice() {
            self.items.push(item(*only));
            return;
        }
        let verdict = fold(&KnownCopies::Nothing, arrivals.numbered(copies));
        self.anonymised += verdict.anonymised;
        self.changed += verdict.changed;
        self.items.extend(verdict.plain.iter().map(|arrival| item(*arrival)));
        if let (Some(CopySource::Arrived(arrival)), Some(first)) = (verdict.stands, copies.first()) {
            // The anonymised copy takes the place of the first copy to arrive.
            let mut item = Item { arrival: *first, ..item(arrival) };
            let event = item.event.to_mut();
            (event.time, event.tie) = arrivals.events[*first].order();
            if let Some(CopySource::Arrived(plain)) = verdict.facts {
                let plain_event = &arrivals.events[plain];
                event.keep_facts_of(plain_event);
                let kept = decoders.kept(&arrivals.record(plain), plain_event.ordinal);
                item.kept = Some(kept.unwrap_or_default());
            }
            self.items.push(item);
        }
    }

    /// Settles the copies of an event of which the store has `stored`. Copies that change nothing
    /// are dropped here. They count as duplicates.
    fn settle_known(&mut self, arrivals: &'e Arrivals<'a>, copies: Copies, stored: &[EventId]) {
        let event = |arrival: &usize| &arrivals.events[*arrival];
        let anonymised = stored.iter().any(|id| id.is_anonymised());
        let known = |arrival: &usize| stored.contains(&event(arrival).id);
        let touches = if anonymised {
            // Another anonymised copy may have a greater mark. A plain copy may have facts that the
            // stored one lacks.
            !copies.iter().all(known)
        } else {
            copies.iter().any(|arrival| event(arrival).anonymised.is_some())
        };
        if touches {
            let Some(&first) = copies.first() else { return };
            self.items.push(Item {
                event: Cow::Borrowed(event(&first)),
                record: arrivals.record(first),
                kept: None,
                arrival: first,
                copies,
            });
        } else if !anonymised {
            let verdict = fold(&KnownCopies::Plain(stored), arrivals.numbered(&copies));
            self.changed += verdict.changed;
            self.items.extend(verdict.plain.iter().map(|arrival| Item {
                event: Cow::Borrowed(event(arrival)),
                record: arrivals.record(*arrival),
                kept: None,
                arrival: *arrival,
                copies: Copies::new(),
            }));
        }
    }
}

/// Asks the store for copies of the events that it may know, and settles each group.
pub(crate) async fn recognise<'t, 'a, T: Transaction>(
    tx: &mut T,
    groups: &mut [Group<'t, 'a>],
    arrivals: &'t Arrivals<'a>,
    decoders: &Decoders,
    states: &[(u64, Timeline)],
) -> Result<(), StoreError> {
    let mut suspects: Vec<EventLookup> = Vec::new();
    for (group, (_, timeline)) in groups.iter().zip(states) {
        if timeline.newest().is_none() {
            continue;
        }
        // An event without a time of its own may be stored anywhere.
        let suspect = |event: &Event<'_>| {
            timeline.recency(event) != Recency::Newer
                || timeline.has_newest_key(event)
                || !event.id.has_time()
        };
        let keys = group
            .keys
            .iter()
            .filter(|copies| copies.iter().any(|arrival| suspect(&arrivals.events[*arrival])));
        let key = |copies: &Copies| copies.first().map(|first| arrivals.events[*first].id.key());
        suspects.extend(keys.filter_map(key).map(|key| EventLookup { sender: group.sender, key }));
    }
    let known = if suspects.is_empty() { Vec::new() } else { tx.known(&suspects).await? };
    let mut stored: HashMap<SenderId, HashMap<EventKey, Vec<EventId>>> = HashMap::new();
    for (EventLookup { sender, key }, StoredCopies { ids }) in suspects.into_iter().zip(known) {
        if !ids.is_empty() {
            stored.entry(sender).or_default().insert(key, ids);
        }
    }
    let nothing = HashMap::new();
    for group in groups {
        group.settle(arrivals, decoders, stored.get(&group.sender).unwrap_or(&nothing));
    }
    Ok(())
}
