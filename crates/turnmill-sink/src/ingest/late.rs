//! Late events and anonymised copies of one sender: the stretch of its history that they touch is replayed.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use turnmill_engine::{Checkpoint, Engine, Finished, Place, Replay, Step, Timeline};
use turnmill_model::{Body, Changes, Decoder, Event, EventId, EventTime};
use uuid::Uuid;

use super::ahead::ReadAhead;
use super::groups::Item;
use super::reader::Reader;
use crate::history::{Entries, unpack};
use crate::{CheckpointWrite, Chunk, HistoryWrite, StoreError, Transaction};

/// What the late events of a sender led to, besides row changes.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) timeline: Timeline,
    pub(crate) history: Vec<HistoryWrite>,
    pub(crate) checkpoints: Vec<CheckpointWrite>,
    /// Events placed by their session id.
    pub(crate) claims: Vec<(EventId, Uuid)>,
    /// Number of anonymised copies that took the place of another.
    pub(crate) anonymised: i64,
    pub(crate) replays: u64,
}

impl Outcome {
    fn new(timeline: &Timeline) -> Self {
        Self {
            timeline: timeline.clone(),
            history: Vec::new(),
            checkpoints: Vec::new(),
            claims: Vec::new(),
            anonymised: 0,
            replays: 0,
        }
    }
}

/// The means of a replay.
pub(crate) struct Means<'m, T> {
    pub(crate) tx: &'m mut T,
    pub(crate) engine: &'m Engine,
    pub(crate) decoder: &'m dyn Decoder,
    /// The page of history that the first replay is likely to begin with.
    pub(crate) ahead: Option<ReadAhead>,
}

/// Why a replay has to be done again, from where.
enum Again {
    /// From this time on, or an earlier one.
    Since(EventTime),
    /// From the first event on.
    Everything,
    /// From the first event on, with the facts of the sender's row gathered anew.
    Totals,
}

/// Where a stretch is to be replayed.
#[derive(Clone, Copy)]
struct Stretch {
    /// It has to start here at the latest.
    start: EventTime,
    /// The stretches before it end here.
    done_until: Option<EventTime>,
    /// Whether it has to take in all items.
    at_once: bool,
}

/// What a replay is to apply.
#[derive(Clone, Copy)]
struct What<'i, 'e, 'a> {
    items: &'i [Item<'e, 'a>],
    /// Where it starts at the latest; none: at the first event.
    since: Option<EventTime>,
    /// Whether the facts of the sender's row are gathered anew.
    totals: bool,
    /// Whether it must not settle before all items are applied.
    at_once: bool,
}

/// A replaced event: its new content, and the chunk and place that hold the old one.
type Replaced<'i, 'e, 'a> = (u64, usize, &'i Item<'e, 'a>);

impl<T: Transaction> Means<'_, T> {
    /// Applies `items`: new events and known ones that come anonymised, in the sender's order, to the sender whose present
    /// state is `timeline`. `since` is where the first replay has to start at the latest.
    pub(crate) async fn apply(
        &mut self,
        timeline: &Timeline,
        items: &[Item<'_, '_>],
        since: Option<EventTime>,
        out: &mut Changes,
    ) -> Result<Outcome, StoreError> {
        let mark = out.mark();
        match self.stretches(timeline, items, since, false, out).await? {
            Ok(outcome) => Ok(outcome),
            Err(earlier) => {
                // A later stretch reaches back into one that is done, and the history does not have what that one
                // added: then all is one stretch.
                out.rollback(mark);
                let since = items.first().map(|item| item.event.time.min(earlier));
                let outcome = self.stretches(timeline, items, since, true, out).await?;
                outcome.map_err(|_| self.endless(timeline))
            }
        }
    }

    /// Makes up for marker rows of the sender that were made with older patterns, from `since` on.
    pub(crate) async fn make_up(
        &mut self,
        timeline: &Timeline,
        since: EventTime,
        out: &mut Changes,
    ) -> Result<Outcome, StoreError> {
        let mut outcome = Outcome::new(timeline);
        let stretch = Stretch { start: since, done_until: None, at_once: true };
        match self.stretch(&mut outcome, &[], stretch, &mut Vec::new(), out).await? {
            Ok(_) => Ok(outcome),
            Err(_) => Err(self.endless(timeline)),
        }
    }

    /// Applies `items` in one stretch of history after the other, or `at_once`. The error is a time before those done that
    /// a replay has to start from.
    async fn stretches(
        &mut self,
        timeline: &Timeline,
        items: &[Item<'_, '_>],
        mut since: Option<EventTime>,
        at_once: bool,
        out: &mut Changes,
    ) -> Result<Result<Outcome, EventTime>, StoreError> {
        let mut outcome = Outcome::new(timeline);
        let mut rest = items;
        let mut replaced = Vec::new();
        while let Some(first) = rest.first() {
            if since.is_none() {
                match self.on_time(&mut outcome, rest, out) {
                    Ok(()) => break,
                    Err(moving) => since = moving,
                }
            }
            let start = since.take().map_or(first.event.time, |since| since.min(first.event.time));
            // What the stretches before have added ends here.
            let done_until =
                (rest.len() < items.len()).then(|| outcome.checkpoints.last()?.stretch.1).flatten();
            let stretch = Stretch { start, done_until, at_once };
            match self.stretch(&mut outcome, rest, stretch, &mut replaced, out).await? {
                Ok(done) => rest = rest.get(done..).unwrap_or_default(),
                Err(earlier) => return Ok(Err(earlier)),
            }
        }
        self.rewrite(&mut outcome, replaced).await?;
        Ok(Ok(outcome))
    }

    fn endless(&self, timeline: &Timeline) -> StoreError {
        StoreError::Damaged { detail: format!("a replay of sender {} has no end", timeline.sender()) }
    }

    /// Applies `items` without a replay, if they are all newer than the sender's newest event. The error is the time from
    /// which a replay is due all the same, if rows already written have to move.
    fn on_time(
        &self,
        outcome: &mut Outcome,
        items: &[Item<'_, '_>],
        out: &mut Changes,
    ) -> Result<(), Option<EventTime>> {
        let newer = |item: &Item<'_, '_>| !item.known && outcome.timeline.place(&item.event) == Place::Newer;
        if !items.iter().all(newer) {
            return Err(None);
        }
        let (timeline, finished) = run(self.engine, &outcome.timeline, items, out).map_err(Some)?;
        outcome.checkpoints.extend(new_checkpoints(&outcome.timeline, finished.checkpoints));
        outcome.claims.extend(finished.claims);
        outcome.timeline = timeline;
        Ok(())
    }

    /// Replays one stretch with the first of `items`, up to where nothing changes any more; says how many were applied. The
    /// error is a time, before those stretches that are done, from which a replay would have to start.
    async fn stretch<'i, 'e, 'a>(
        &mut self,
        outcome: &mut Outcome,
        items: &'i [Item<'e, 'a>],
        stretch: Stretch,
        replaced: &mut Vec<Replaced<'i, 'e, 'a>>,
        out: &mut Changes,
    ) -> Result<Result<usize, EventTime>, StoreError> {
        // A copy without a time of its own may stand anywhere.
        let anywhere = items.iter().any(|item| item.known && !item.event.id.has_time());
        let mut since = (!anywhere).then_some(stretch.start);
        let mut totals = false;
        loop {
            if let Some(done_until) = stretch.done_until
                && since.is_none_or(|since| since < done_until)
            {
                return Ok(Err(since.unwrap_or(EventTime::EARLIEST)));
            }
            outcome.replays += 1;
            let before = replaced.len();
            let what = What { items, since, totals, at_once: stretch.at_once };
            let again = match self.replay(outcome, what, replaced, out).await? {
                Ok(done) => return Ok(Ok(done)),
                Err(again) => again,
            };
            replaced.truncate(before);
            let next = match again {
                // A replay that does not start earlier than the last one finds nothing else.
                Again::Since(earlier) => (since.filter(|since| earlier < *since).map(|_| earlier), totals),
                Again::Everything => (None, totals),
                Again::Totals => (None, true),
            };
            if next == (since, totals) {
                return Err(self.endless(&outcome.timeline));
            }
            (since, totals) = next;
        }
    }

    async fn replay<'i, 'e, 'a>(
        &mut self,
        outcome: &mut Outcome,
        what: What<'i, 'e, 'a>,
        replaced: &mut Vec<Replaced<'i, 'e, 'a>>,
        out: &mut Changes,
    ) -> Result<Result<usize, Again>, StoreError> {
        let What { items, since, totals, at_once } = what;
        let sender = outcome.timeline.sender();
        let key = outcome.timeline.sender_key().to_owned();
        let ahead = self.ahead.take();
        let mut reader = Reader::open(self.tx, sender, since, self.decoder.name(), ahead).await?;
        let mut replay = Replay::new(self.engine, &outcome.timeline, reader.start.as_ref())?;
        if totals {
            replay.forget_totals();
        }
        let mut copies: HashMap<EventId, &'i Item<'e, 'a>> =
            items.iter().filter(|item| item.known).map(|item| (item.event.id, item)).collect();
        let everything = totals || (since.is_none() && !copies.is_empty());
        let mut done = 0;
        let mut rest = items.iter().filter(|item| !item.known).peekable();
        loop {
            reader.fill(self.tx).await?;
            let new = rest.peek().map(|item| item.event.time);
            // Stored events arrived before new ones of the same time.
            let stored = reader.peek().filter(|stored| new.is_none_or(|new| *stored <= new));
            let Some(next) = stored.or(new) else { break };
            while reader.checkpoints.front().is_some_and(|checkpoint| checkpoint.time <= next)
                && let Some(checkpoint) = reader.checkpoints.pop_front()
            {
                let waiting = everything || copies.values().any(|item| item.event.time < checkpoint.time);
                let passed = items.partition_point(|item| item.event.time < checkpoint.time);
                let enough = if at_once { passed == items.len() } else { passed > 0 };
                if enough && !waiting && replay.settled(&checkpoint, passed < items.len()) {
                    done = passed;
                    break;
                }
            }
            if done > 0 {
                break;
            }
            if stored.is_some()
                && let Some(stored) = reader.next()
            {
                let event = stored.event(self.decoder, &key)?;
                match copies.remove(&event.id) {
                    Some(copy) if copy.event.replaces(event.anonymized_at.as_deref()) => {
                        if !totals && concerns_totals(&event, &copy.event) {
                            return Ok(Err(Again::Totals));
                        }
                        let new = Event { time: event.time, ..Event::clone(&copy.event) };
                        replay.replace(&event, &new);
                        replaced.push((stored.chunk.0, stored.chunk.1, copy));
                    }
                    Some(_) | None => replay.stored(&event),
                }
            } else if let Some(item) = rest.next() {
                replay.insert(&item.event);
            }
        }
        if done == 0 {
            done = items.len();
            if !copies.is_empty() && since.is_some() {
                return Ok(Err(Again::Everything));
            }
        }
        let stretch_start = reader.start.as_ref().map(|start| start.time);
        match replay.finish(out) {
            Ok(replayed) => {
                outcome.timeline = replayed.timeline;
                outcome.checkpoints.push(CheckpointWrite {
                    sender,
                    stretch: (stretch_start, replayed.until),
                    checkpoints: replayed.finished.checkpoints,
                });
                outcome.claims.extend(replayed.finished.claims);
                Ok(Ok(done))
            }
            Err(Some(earlier)) if stretch_start.is_some_and(|start| earlier < start) => {
                Ok(Err(Again::Since(earlier)))
            }
            Err(_) => Ok(Err(Again::Everything)),
        }
    }

    /// Writes the chunks again in which events were replaced.
    async fn rewrite(
        &mut self,
        outcome: &mut Outcome,
        replaced: Vec<Replaced<'_, '_, '_>>,
    ) -> Result<(), StoreError> {
        let mut by_chunk: BTreeMap<u64, Vec<(usize, &Item<'_, '_>)>> = BTreeMap::new();
        for (chunk, index, item) in replaced {
            by_chunk.entry(chunk).or_default().push((index, item));
        }
        if by_chunk.is_empty() {
            return Ok(());
        }
        let sender = outcome.timeline.sender();
        let least = by_chunk.values().flatten().map(|(_, item)| item.event.time).min();
        let since = least.filter(|_| by_chunk.values().flatten().all(|(_, item)| item.event.id.has_time()));
        let mut reader = Reader::open(self.tx, sender, since, self.decoder.name(), None).await?;
        for (number, items) in by_chunk {
            while !reader.chunks.contains_key(&number) {
                reader.fill(self.tx).await?;
                if reader.next().is_none() {
                    break;
                }
            }
            let Some(chunk) = reader.chunks.remove(&number) else {
                return Err(StoreError::Damaged {
                    detail: format!("chunk {number} of sender {sender} is missing"),
                });
            };
            outcome.anonymised += items.len() as i64;
            let bytes = unpack(&chunk.bytes)?;
            let mut entries = Entries::read(&bytes)?;
            for (index, item) in items {
                if let Some(entry) = entries.entries.get_mut(index) {
                    let time = entry.time;
                    *entry = item.entry();
                    entry.time = time;
                }
            }
            let bytes = entries.pack();
            let chunk = Chunk { bytes, ..chunk };
            outcome.history.push(HistoryWrite { sender, chunk, replaces: true });
        }
        Ok(())
    }
}

/// Applies `items`, all newer than the sender's newest event. On an error, the time from which a replay is due, nothing is
/// changed.
pub(crate) fn run(
    engine: &Engine,
    timeline: &Timeline,
    items: &[Item<'_, '_>],
    out: &mut Changes,
) -> Result<(Timeline, Finished), EventTime> {
    let mark = out.mark();
    let mut next = timeline.clone();
    let mut run = engine.run(&mut next, out);
    for item in items {
        if let Step::Behind { since } = run.apply(&item.event) {
            drop(run);
            out.rollback(mark);
            return Err(since);
        }
    }
    let finished = run.finish();
    Ok((next, finished))
}

/// Checkpoints of events that are newer than all of `before`.
pub(crate) fn new_checkpoints(before: &Timeline, checkpoints: Vec<Checkpoint>) -> Option<CheckpointWrite> {
    let (sender, stretch) = (before.sender(), (before.newest(), None));
    (!checkpoints.is_empty()).then_some(CheckpointWrite { sender, stretch, checkpoints })
}

/// Whether replacing `old` by `new` may take away what the sender's row has of it.
fn concerns_totals(old: &Event<'_>, new: &Event<'_>) -> bool {
    let channel = |event: &Event<'_>| match &event.body {
        Body::User(message) => message.input_channel.as_ref().map(|channel| Cow::into_owned(channel.clone())),
        _ => None,
    };
    channel(old) != channel(new) || old.user_key != new.user_key
}
