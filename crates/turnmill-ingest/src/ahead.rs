//! First pages of histories, read for several senders at once: a store far away answers many questions in the time of one.

use std::collections::VecDeque;

use turnmill_engine::{Engine, Recency, Timeline};
use turnmill_model::EventTime;

use crate::groups::{Group, Item};
use crate::reader::{ReadAhead, first_page};
use crate::replaced;
use turnmill_sink::{HistoryRequest, StoreError, Transaction};

/// Senders whose pages are read at once, which bounds the memory that they take.
const SENDERS: usize = 64;

/// Reads pages ahead, in the order of a batch's groups.
#[derive(Debug)]
pub(crate) struct Ahead {
    /// Numbers of the groups that need history, and what they will ask first.
    wanted: VecDeque<(usize, HistoryRequest)>,
    read: VecDeque<(usize, ReadAhead)>,
}

impl Ahead {
    pub(crate) fn new(engine: &Engine, groups: &[Group<'_, '_>], states: &[(u64, Timeline)]) -> Self {
        let wanted = groups.iter().zip(states).enumerate().filter_map(|(number, (group, (_, timeline)))| {
            let since = since(engine, group, timeline)?;
            Some((number, first_page(group.sender, since)))
        });
        Self { wanted: wanted.collect(), read: VecDeque::new() }
    }

    /// The first page of group `number`, if it is known to need one; to be asked in ascending order.
    pub(crate) async fn page<T: Transaction>(
        &mut self,
        tx: &mut T,
        number: usize,
    ) -> Result<Option<ReadAhead>, StoreError> {
        if self.read.is_empty() && self.wanted.front().is_some_and(|(wanted, _)| *wanted == number) {
            let some: Vec<(usize, HistoryRequest)> =
                self.wanted.drain(..SENDERS.min(self.wanted.len())).collect();
            let requests: Vec<HistoryRequest> = some.iter().map(|(_, request)| *request).collect();
            let pages = tx.histories(&requests).await?;
            let read = some.into_iter().zip(pages);
            self.read = read.map(|((number, request), page)| (number, ReadAhead { request, page })).collect();
        }
        let ready = self.read.front().is_some_and(|(read, _)| *read == number);
        Ok(if ready { self.read.pop_front().map(|(_, read)| read) } else { None })
    }
}

/// From where on the events of `group` will ask for history first: `None` if they will not, as far as can be seen before they are
/// applied.
fn since(engine: &Engine, group: &Group<'_, '_>, timeline: &Timeline) -> Option<Option<EventTime>> {
    let owed = timeline.owes(engine.patterns());
    let on_time = |item: &Item<'_, '_>| !item.is_known() && timeline.recency(&item.event) == Recency::Newer;
    if owed.is_none() && group.items.iter().all(on_time) {
        return None;
    }
    // Stored copies are looked for before anything is replayed.
    if group.items.iter().any(Item::is_known) {
        return Some(replaced::since(group.items.iter().filter(|item| item.is_known())));
    }
    let first = group.items.first().map(|item| item.event.time);
    Some(owed.into_iter().chain(first).min())
}
