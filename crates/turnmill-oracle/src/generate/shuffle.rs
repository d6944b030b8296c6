//! Another order of arrival that must lead to the same tables.

use std::collections::HashMap;

use turnmill_model::{Event, EventKey, SenderId, Settings};

use super::OwnedRecord;
use super::random::Random;
use crate::decode;

/// Returns the records in another order, the same for the same seed.
///
/// Events of one sender with equal timestamps keep their order, and so do copies of an event that
/// differ. Equal copies, and copies of which one is anonymised, may change places.
///
/// Session ids of two senders are ignored: another sender may then own the id.
#[must_use]
pub fn shuffle_keeping(records: &[OwnedRecord], seed: u64) -> Vec<OwnedRecord> {
    let settings = Settings::default();
    let events: Vec<Option<Event<'_>>> =
        records.iter().map(|record| decode(&settings, &record.as_record()).ok().flatten()).collect();

    // Records whose order must be kept are grouped under the index of the first one.
    let mut groups = Groups((0..records.len()).collect());
    let mut at: HashMap<(SenderId, u64), usize> = HashMap::new();
    let mut copies: HashMap<EventKey, Vec<usize>> = HashMap::new();
    for (index, event) in events.iter().enumerate() {
        let Some(event) = event else { continue };
        copies.entry(event.id.key()).or_default().push(index);
        let first = *at.entry((event.sender, event.time.seconds().to_bits())).or_insert(index);
        if events[first].as_ref().is_some_and(|first| first.id != event.id) {
            groups.join(first, index);
        }
    }
    let mut sizes: HashMap<usize, usize> = HashMap::new();
    for index in 0..records.len() {
        *sizes.entry(groups.of(index)).or_default() += 1;
    }
    let tied: Vec<bool> = (0..records.len()).map(|index| sizes[&groups.of(index)] > 1).collect();
    for indexes in copies.values() {
        let differ = indexes.iter().any(|a| indexes.iter().any(|b| copies_differ(&events[*a], &events[*b])));
        // Copies of an event that shares its timestamp with others keep the order with those, too.
        let tied = indexes.iter().any(|index| tied[*index]);
        if differ || tied {
            indexes.iter().for_each(|index| groups.join(indexes[0], *index));
        }
    }

    let mut order: Vec<usize> = (0..records.len()).collect();
    let mut random = Random::new(seed);
    for last in (1..order.len()).rev() {
        order.swap(last, random.below(last + 1));
    }
    // The positions of a group are filled with its members in their order.
    let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
    for index in (0..records.len()).rev() {
        members.entry(groups.of(index)).or_default().push(index);
    }
    let next = |index: &usize| members.get_mut(&groups.of(*index)).and_then(Vec::pop).unwrap_or(*index);
    order.iter().map(next).map(|index| records[index].clone()).collect()
}

/// Puts records into any order, the same for the same seed.
pub(crate) fn shuffle(records: &mut [OwnedRecord], seed: u64) {
    let mut random = Random::new(seed);
    for last in (1..records.len()).rev() {
        records.swap(last, random.below(last + 1));
    }
}

/// Returns whether the order of two copies matters.
fn copies_differ(a: &Option<Event<'_>>, b: &Option<Event<'_>>) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return false };
    a.time != b.time || (a.anonymised == b.anonymised && a != b)
}

/// Disjoint groups. Each index refers to another one of its group, or to itself.
struct Groups(Vec<usize>);

impl Groups {
    fn of(&self, index: usize) -> usize {
        let mut index = index;
        while self.0[index] != index {
            index = self.0[index];
        }
        index
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.of(a), self.of(b));
        self.0[a.max(b)] = a.min(b);
    }
}
