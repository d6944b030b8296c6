//! Keeps the sessions with ids that are not the current one, with the times at which they were
//! left. A session id that was seen before makes its session current again.
//!
//! ```text
//! u1: hi 1 (id A), hi 2 (id B), hi 3 (id A)
//!
//! at 2: A was left      at 3: A is current again, B was left
//! a replay from 3 on must know A as it was left at 2, and must not know that B was left
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use turnmill_model::EventTime;
use uuid::Uuid;

use crate::state::{Session, StateComparison};

/// Maps each session id of a sender to what it leads to, with times. So a replay can return to the
/// map as it was at a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Visits(BTreeMap<Uuid, Record>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    /// The time of the latest event that asked for this id. After a replay this may be a later time
    /// than the true one, never an earlier one.
    asked: EventTime,
    /// What the id leads to, each entry from a time on. The last entry counts.
    entries: Vec<(EventTime, Visit)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Visit {
    /// The session was left in this state.
    Left(Session),
    /// The session took another id.
    Became(Uuid),
}

impl Visits {
    /// Returns the session that `key` leads to for an event at `time`: its present key, and its
    /// state if it was left.
    pub(crate) fn ask(&mut self, key: Uuid, time: EventTime) -> Option<(Uuid, Option<Session>)> {
        let record = self.0.entry(key).or_insert_with(|| Record { asked: time, entries: Vec::new() });
        record.asked = record.asked.max(time);
        match record.entries.last() {
            None => None,
            Some((_, Visit::Left(session))) => Some((key, Some(session.clone()))),
            // A session only takes an id that was new, so the chain of ids ends.
            Some((_, Visit::Became(next))) => {
                let next = *next;
                Some(self.ask(next, time).unwrap_or((next, None)))
            }
        }
    }

    /// Notes that from the event at `time` on `key` leads to `visit`.
    pub(crate) fn note(&mut self, key: Uuid, time: EventTime, visit: Visit) {
        self.0
            .entry(key)
            .or_insert_with(|| Record { asked: time, entries: Vec::new() })
            .entries
            .push((time, visit));
    }

    /// Returns the map as it was before all events at or after `time`.
    pub(crate) fn before(&self, time: EventTime) -> Self {
        let mut back = self.clone();
        for record in back.0.values_mut() {
            record.entries.retain(|(since, _)| *since < time);
        }
        back
    }

    /// Returns whether `ours`, which ends at `time`, leads the events from `time` on to the same
    /// sessions as `theirs`.
    pub(crate) fn agree_after(
        ours: Option<&Self>,
        theirs: Option<&Self>,
        time: EventTime,
        same: &StateComparison<'_>,
    ) -> bool {
        let empty = Self::default();
        let (ours, theirs) = (ours.unwrap_or(&empty), theirs.unwrap_or(&empty));
        // An id that no event from `time` on asks for may differ.
        let later = theirs.0.iter().filter(|(_, record)| record.asked >= time);
        later.into_iter().all(|(key, record)| {
            let before: Vec<_> = record.entries.iter().filter(|(since, _)| *since < time).collect();
            let now = ours.0.get(key).map_or(&[][..], |record| &record.entries);
            match (before.last().map(|entry| &entry.1), now.last().map(|entry| &entry.1)) {
                (Some(Visit::Left(before)), Some(Visit::Left(now))) => same.sessions(before, now),
                (before, now) => before == now,
            }
        })
    }

    /// Joins `ours` up to `time` with `theirs` from there on.
    pub(crate) fn join(ours: Option<Box<Self>>, theirs: Option<&Self>, time: EventTime) -> Option<Box<Self>> {
        let Some(theirs) = theirs else { return ours };
        let mut joined = ours.unwrap_or_default();
        for (key, record) in &theirs.0 {
            let later = record.entries.iter().filter(|(since, _)| *since >= time).cloned();
            let mine =
                joined.0.entry(*key).or_insert_with(|| Record { asked: record.asked, entries: Vec::new() });
            mine.asked = mine.asked.max(record.asked);
            mine.entries.extend(later);
        }
        Some(joined)
    }

    /// Returns whether an event at or after `time` asked for `key`.
    pub(crate) fn asked_from(&self, key: Uuid, time: EventTime) -> bool {
        self.0.get(&key).is_some_and(|record| record.asked >= time)
    }

    pub(crate) fn memory(&self) -> usize {
        let entry = |(_, visit): &(EventTime, Visit)| {
            let texts = if let Visit::Left(session) = visit { session.memory() } else { 0 };
            size_of::<(EventTime, Visit)>() + texts
        };
        self.0.values().map(|record| 64 + record.entries.iter().map(entry).sum::<usize>()).sum()
    }
}
