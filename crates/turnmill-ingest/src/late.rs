//! Late events and anonymised copies of one sender: the stretch of its history that they touch is replayed.
//!
//! ```text
//! stored:   start, hi, listen | bye, listen      (| is a checkpoint)
//! late:            slot
//! ```
//!
//! The replay begins at the last checkpoint before the late slot, feeds `start, hi, slot, listen`, and stops at a checkpoint
//! where the state is what it was. The difference between the rows with and without the slot is written.

use turnmill_engine::{Checkpoint, Engine, Finished, Place, Replay, Step, Timeline};
use turnmill_model::{Changes, Decoder, Event, EventId, EventTime};
use uuid::Uuid;

use crate::arrivals::Arrivals;
use crate::groups::Item;
use crate::reader::{ReadAhead, Reader, Whose};
use crate::replaced::{Change, Plan};
use turnmill_sink::{CheckpointWrite, HistoryWrite, StoreError, Transaction};

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
    /// Number of copies whose content differs from that of the copy that stands.
    pub(crate) changed: i64,
    /// Number of stored events that an anonymised copy of another made duplicates.
    pub(crate) removed: i64,
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
            changed: 0,
            removed: 0,
            replays: 0,
        }
    }
}

/// Replays the history of one sender.
pub(crate) struct Replayer<'m, T> {
    pub(crate) tx: &'m mut T,
    pub(crate) engine: &'m Engine,
    pub(crate) decoder: &'m dyn Decoder,
    /// The page of history that reading is likely to begin with.
    pub(crate) ahead: Option<ReadAhead>,
}

/// Why a replay has to be done again, from where.
enum Redo {
    /// From this time on, or an earlier one.
    Since(EventTime),
    /// From the first event on.
    Everything,
}

/// What is to be applied, in the sender's order: new events, and changes of stored ones.
#[derive(Clone, Copy)]
struct Work<'w, 'e, 'a> {
    items: &'w [&'w Item<'e, 'a>],
    plan: &'w Plan,
    arrivals: Option<&'e Arrivals<'a>>,
}

impl Work<'_, '_, '_> {
    /// Time of the first of what is left, after what is `done`.
    fn next(&self, done: Done) -> Option<EventTime> {
        let item = self.items.get(done.items).map(|item| item.event.time);
        let change = self.plan.times().get(done.changes).copied();
        item.into_iter().chain(change).min()
    }

    /// What of it is before `time`.
    fn before(&self, time: EventTime) -> Done {
        Done {
            items: self.items.partition_point(|item| item.event.time < time),
            changes: self.plan.times().partition_point(|change| *change < time),
        }
    }

    fn all(&self) -> Done {
        Done { items: self.items.len(), changes: self.plan.times().len() }
    }
}

/// How much of the work is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Done {
    items: usize,
    changes: usize,
}

/// Where a stretch is to be replayed.
#[derive(Clone, Copy)]
struct Stretch {
    /// It has to start here at the latest; none: at the first event.
    since: Option<EventTime>,
    /// The stretches before it end here.
    done_until: Option<EventTime>,
    /// Whether it has to take in all work.
    at_once: bool,
}

impl<T: Transaction> Replayer<'_, T> {
    /// Applies `items`, new events and known ones, in the sender's order, to the sender whose present state is `timeline`.
    /// `since` is where the first replay has to start at the latest.
    pub(crate) async fn apply<'e, 'a>(
        &mut self,
        timeline: &Timeline,
        items: &[Item<'e, 'a>],
        arrivals: &'e Arrivals<'a>,
        since: Option<EventTime>,
        out: &mut Changes,
    ) -> Result<Outcome, StoreError> {
        let plan = if items.iter().any(Item::is_known) {
            let whose = Whose::of(timeline);
            Plan::make(self.tx, self.decoder, &whose, items, arrivals, self.ahead.take()).await?
        } else {
            Plan::default()
        };
        let new: Vec<&Item<'e, 'a>> = items.iter().filter(|item| !item.is_known()).collect();
        let work = Work { items: &new, plan: &plan, arrivals: Some(arrivals) };
        let mark = out.mark();
        let mut outcome = match self.stretches(timeline, work, since, plan.concerns_totals, out).await? {
            Ok(outcome) => outcome,
            Err(earlier) => {
                // A later stretch reaches back into one that is done, and the history does not have what that one
                // added: then all is one stretch.
                out.rollback(mark);
                let since = work.next(Done::default()).map(|first| first.min(earlier));
                let outcome = self.stretches(timeline, work, since, true, out).await?;
                outcome.map_err(|_| endless(timeline))?
            }
        };
        outcome.anonymised += plan.anonymised;
        outcome.changed += plan.changed;
        outcome.removed += plan.removed;
        outcome.history.extend(plan.history);
        Ok(outcome)
    }

    /// Makes up for marker rows of the sender that were made with older patterns, from `since` on.
    pub(crate) async fn make_up(
        &mut self,
        timeline: &Timeline,
        since: EventTime,
        out: &mut Changes,
    ) -> Result<Outcome, StoreError> {
        let plan = Plan::default();
        let work = Work { items: &[], plan: &plan, arrivals: None };
        let mut outcome = Outcome::new(timeline);
        let stretch = Stretch { since: Some(since), done_until: None, at_once: true };
        match self.stretch(&mut outcome, work, Done::default(), stretch, &mut None, out).await? {
            Ok(_) => Ok(outcome),
            Err(_) => Err(endless(timeline)),
        }
    }

    /// Does the work in one stretch of history after the other, or `at_once`. The error is a time before those done that a
    /// replay has to start from.
    async fn stretches(
        &mut self,
        timeline: &Timeline,
        work: Work<'_, '_, '_>,
        mut since: Option<EventTime>,
        at_once: bool,
        out: &mut Changes,
    ) -> Result<Result<Outcome, EventTime>, StoreError> {
        let mut outcome = Outcome::new(timeline);
        // One reader serves all stretches, so that the history is gone through once.
        let mut reader = None;
        let mut done = Done::default();
        while let Some(first) = work.next(done) {
            if since.is_none() && done.changes == work.plan.times().len() {
                let rest = work.items.get(done.items..).unwrap_or_default();
                match self.on_time(&mut outcome, rest, out) {
                    Ok(()) => break,
                    Err(moving) => since = moving,
                }
            }
            let start = since.take().map_or(first, |since| since.min(first));
            // What the stretches before have added ends here.
            let done_until =
                (done != Done::default()).then(|| outcome.checkpoints.last()?.stretch.1).flatten();
            // The facts of the sender's row can be gathered only from all of its events.
            let since = (!work.plan.concerns_totals).then_some(start);
            let stretch = Stretch { since, done_until, at_once };
            match self.stretch(&mut outcome, work, done, stretch, &mut reader, out).await? {
                Ok(reached) => done = reached,
                Err(earlier) => return Ok(Err(earlier)),
            }
        }
        Ok(Ok(outcome))
    }

    /// Applies `items` without a replay, if they are all newer than the sender's newest event. The error is the time from
    /// which a replay is due all the same, if rows already written have to move.
    fn on_time(
        &self,
        outcome: &mut Outcome,
        items: &[&Item<'_, '_>],
        out: &mut Changes,
    ) -> Result<(), Option<EventTime>> {
        if !items.iter().all(|item| outcome.timeline.place(&item.event) == Place::Newer) {
            return Err(None);
        }
        let events = items.iter().map(|item| &*item.event);
        let (timeline, finished) = run(self.engine, &outcome.timeline, events, out).map_err(Some)?;
        outcome.checkpoints.extend(new_checkpoints(&outcome.timeline, finished.checkpoints));
        outcome.claims.extend(finished.claims);
        outcome.timeline = timeline;
        Ok(())
    }

    /// Replays one stretch with the first of the work that is left, up to where nothing changes any more; says how much is
    /// done then. The error is a time, before those stretches that are done, from which a replay would have to start.
    async fn stretch(
        &mut self,
        outcome: &mut Outcome,
        work: Work<'_, '_, '_>,
        done: Done,
        stretch: Stretch,
        reader: &mut Option<Reader>,
        out: &mut Changes,
    ) -> Result<Result<Done, EventTime>, StoreError> {
        let mut since = stretch.since;
        loop {
            if let Some(done_until) = stretch.done_until
                && since.is_none_or(|since| since < done_until)
            {
                return Ok(Err(since.unwrap_or(EventTime::EARLIEST)));
            }
            outcome.replays += 1;
            let redo = match self.replay(outcome, work, done, (since, stretch.at_once), reader, out).await? {
                Ok(done) => return Ok(Ok(done)),
                Err(redo) => redo,
            };
            // It has gone past where it has to begin now.
            *reader = None;
            let next = match redo {
                // A replay that does not start earlier than the last one finds nothing else.
                Redo::Since(earlier) => since.filter(|since| earlier < *since).map(|_| earlier),
                Redo::Everything => None,
            };
            if next == since {
                return Err(endless(&outcome.timeline));
            }
            since = next;
        }
    }

    async fn replay(
        &mut self,
        outcome: &mut Outcome,
        work: Work<'_, '_, '_>,
        done: Done,
        (since, at_once): (Option<EventTime>, bool),
        reader: &mut Option<Reader>,
        out: &mut Changes,
    ) -> Result<Result<Done, Redo>, StoreError> {
        let whose = Whose::of(&outcome.timeline);
        let reader = match (reader, since) {
            (Some(reader), Some(since)) if reader.goes_on_to(since) => {
                reader.go_to(self.tx, since).await?;
                reader
            }
            (reader, _) => {
                let ahead = self.ahead.take();
                let fresh =
                    Reader::open(self.tx, outcome.timeline.sender(), since, self.decoder.name(), ahead)
                        .await?;
                reader.insert(fresh)
            }
        };
        let mut replay = Replay::new(self.engine, &outcome.timeline, reader.start.as_ref())?;
        if work.plan.concerns_totals {
            replay.forget_totals();
        }
        let start = reader.start.as_ref().map(|start| start.time);
        let mut rest = work.items.get(done.items..).unwrap_or_default().iter().peekable();
        let mut reached = None;
        loop {
            reader.fill(self.tx).await?;
            let new = rest.peek().map(|item| item.event.order());
            // Stored events arrived before new ones of the same place.
            let stored = reader.peek().filter(|stored| new.is_none_or(|new| *stored <= new));
            let Some((next, _)) = stored.or(new) else { break };
            while reader.checkpoints.front().is_some_and(|checkpoint| checkpoint.time <= next)
                && let Some(checkpoint) = reader.checkpoints.pop_front()
            {
                let passed = work.before(checkpoint.time);
                let finished = passed == work.all();
                let enough = if at_once { finished } else { passed != done };
                if enough && !work.plan.concerns_totals && replay.settled(&checkpoint, !finished) {
                    reached = Some(passed);
                    reader.settled_at(checkpoint);
                    break;
                }
            }
            if reached.is_some() {
                break;
            }
            if stored.is_some()
                && let Some(stored) = reader.next()
            {
                let event = stored.event(self.decoder, &whose)?;
                match work.plan.change(event.id) {
                    None => replay.stored(&event),
                    Some(Change::Remove) => replay.remove(&event),
                    Some(Change::Replace { copy, kept }) => {
                        let changed = stored.with_copy(work.arrivals, *copy, kept);
                        replay.replace(&event, &changed.event(self.decoder, &whose)?);
                    }
                }
            } else if let Some(item) = rest.next() {
                replay.insert(&item.event);
            }
        }
        match replay.finish(out) {
            Ok(replayed) => {
                outcome.checkpoints.push(CheckpointWrite {
                    sender: replayed.timeline.sender(),
                    stretch: (start, replayed.until),
                    checkpoints: replayed.finished.checkpoints,
                });
                outcome.timeline = replayed.timeline;
                outcome.claims.extend(replayed.finished.claims);
                Ok(Ok(reached.unwrap_or_else(|| work.all())))
            }
            Err(Some(earlier)) if start.is_some_and(|start| earlier < start) => Ok(Err(Redo::Since(earlier))),
            Err(_) => Ok(Err(Redo::Everything)),
        }
    }
}

fn endless(timeline: &Timeline) -> StoreError {
    StoreError::Damaged { detail: format!("a replay of sender {} has no end", timeline.sender()) }
}

/// Applies `events`, all newer than the sender's newest event. On an error, the time from which a replay is due, nothing is
/// changed.
pub(crate) fn run<'r, 'a: 'r>(
    engine: &Engine,
    timeline: &Timeline,
    events: impl Iterator<Item = &'r Event<'a>>,
    out: &mut Changes,
) -> Result<(Timeline, Finished), EventTime> {
    let mark = out.mark();
    let mut next = timeline.clone();
    let mut run = engine.run(&mut next, out);
    for event in events {
        if let Step::Behind { since } = run.apply(event) {
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
