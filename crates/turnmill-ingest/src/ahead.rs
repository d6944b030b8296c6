//! Reads the first history page of several senders in one request. A round trip to a distant store
//! then serves many senders.

use std::collections::VecDeque;

use turnmill_engine::{Engine, Recency, Timeline};
use turnmill_model::EventTime;

use crate::groups::{Group, Item};
use crate::reader::{ReadAhead, first_page};
use crate::replaced;
use turnmill_sink::{HistoryRequest, StoreError, Transaction};

/// Most senders of one request, which bounds the memory that their pages take.
const SENDERS: usize = 64;

/// Reads pages ahead, in the order of a batch's groups.
#[derive(Debug)]
pub(crate) struct Ahead {
    /// Numbers of the groups that need history, with their first request.
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

    /// Returns the first page of group `number`, if that is known to need one. Call it for each
    /// group, in ascending order.
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

/// Returns the time from which on the events of `group` need history; `Some(None)` for the whole
/// history. Returns `None` if they need none, as far as can be seen before they are applied.
fn since(engine: &Engine, group: &Group<'_, '_>, timeline: &Timeline) -> Option<Option<EventTime>> {
    let missing_since = timeline.markers_missing_since(engine.patterns());
    let on_time = |item: &Item<'_, '_>| !item.is_known() && timeline.recency(&item.event) == Recency::Newer;
    if missing_since.is_none() && group.items.iter().all(on_time) {
        return None;
    }
    // Stored copies are looked for before anything is replayed.
    if group.items.iter().any(Item::is_known) {
        return Some(replaced::since(group.items.iter().filter(|item| item.is_known())));
    }
    let first = group.items.first().map(|item| item.event.time);
    Some(missing_since.into_iter().chain(first).min())
}
