//! A batch's events by sender, each once.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use turnmill_engine::{Place, Timeline};
use turnmill_model::{Event, EventId, Record, Refused, SenderId};

use super::report::Report;
use super::{Accounting, Arrivals, Letters};
use crate::history::Entry;
use crate::{Advance, Batch, Counts, StoreError, Transaction};

/// One event to apply.
#[derive(Debug)]
pub(crate) struct Item<'e, 'a> {
    pub(crate) event: Cow<'e, Event<'a>>,
    record: Record<'a>,
    pub(super) arrival: usize,
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
pub(super) struct Group<'e, 'a> {
    pub(super) sender: SenderId,
    pub(super) items: Vec<Item<'e, 'a>>,
    pub(super) duplicates: i64,
    pub(super) anonymised: i64,
}

/// What [`Ingest::attempt`] is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Attempt<'p> {
    /// Write everything and commit.
    Commit,
    /// Only see whether the rows of these records would be accepted.
    Try(&'p [usize]),
}

/// A batch to ingest.
pub(super) struct Task<'t, 'a> {
    pub(super) arrivals: &'t Arrivals<'a>,
    pub(super) advances: &'t [Advance],
    pub(super) accounting: &'t Accounting<'t>,
    pub(super) letters: &'t dyn Letters,
    /// Records that the store refuses.
    pub(super) excluded: BTreeMap<usize, Refused>,
}

impl<'t, 'a> Task<'t, 'a> {
    /// The events by sender, each event once, in the sender's order.
    pub(super) fn groups(&self, attempt: Attempt<'_>) -> Vec<Group<'t, 'a>> {
        let tried: Option<HashSet<usize>> = match attempt {
            Attempt::Commit => None,
            Attempt::Try(records) => Some(records.iter().copied().collect()),
        };
        let taken = |arrival: &usize| {
            let record = self.arrivals.record_of[*arrival];
            tried.as_ref().is_none_or(|tried| tried.contains(&record)) && !self.excluded.contains_key(&record)
        };
        grouped(self.arrivals, taken)
    }

    /// Whether these are all of the batch's records.
    pub(super) fn is_whole(&self, attempt: Attempt<'_>) -> bool {
        attempt == Attempt::Commit && self.excluded.is_empty()
    }

    /// Adds the counts to the ledger.
    pub(super) fn account(&self, batch: &mut Batch, report: &mut Report) {
        for (_, refused) in
            self.arrivals.refused.iter().map(|(record, refused)| (record, refused)).chain(&self.excluded)
        {
            *report.dead_letters.entry(refused.reason).or_default() += 1;
        }
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

/// The events `taken` by sender, each event once, in the sender's order.
pub(super) fn grouped<'t, 'a>(
    arrivals: &'t Arrivals<'a>,
    taken: impl Fn(&usize) -> bool,
) -> Vec<Group<'t, 'a>> {
    let Arrivals { events, records, record_of, .. } = arrivals;
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
pub(super) async fn recognise<T: Transaction>(
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
