//! Late events of one sender, and anonymised copies of stored ones: the stretch of history that they touch is replayed.
//!
//! ```text
//! stored:   start, hi, listen | bye, listen | thanks      (| is a checkpoint)
//! late:               slot
//! ```
//!
//! 1. The [`Reader`] opens the history at the last checkpoint at or before the late slot; here at the first event.
//! 2. The engine's [`Replay`] gets `start, hi, slot, listen`: stored events and the late one, in the sender's order. It
//!    applies the stored ones twice, without and with the late one.
//! 3. At the next checkpoint (before `bye`) it asks whether both states agree. If they do, nothing after it can differ:
//!    the replay has settled and stops. If not (the slot moved a session, say) it goes on to the checkpoint before `thanks`.
//! 4. The difference between the rows of both sides is written, with new checkpoints for the stretch.
//!
//! Late events far apart are replayed in several stretches, each from its own checkpoint, with one reader. Two things may
//! undo that. A replay may find that rows from before its checkpoint have to move; then it restarts earlier. If that is
//! inside a stretch that is done, all is done again as one stretch, because the history does not have the events that the
//! earlier stretch added.

use turnmill_engine::{
    Checkpoint, Engine, Finished, NamedSession, Recency, Replay, ReplayOutcome, Step, Timeline,
};
use turnmill_model::{Changes, Decoder, Event, EventTime};

use crate::arrivals::Arrivals;
use crate::groups::Item;
use crate::reader::{ReadAhead, Reader, SenderRef};
use crate::replaced::{Change, Plan};
use turnmill_sink::{CheckpointWrite, HistoryStretch, HistoryWrite, StoreError, Transaction};

/// What the late events of a sender led to, besides row changes.
#[derive(Debug)]
pub(crate) struct LateOutcome {
    pub(crate) timeline: Timeline,
    pub(crate) history: Vec<HistoryWrite>,
    pub(crate) checkpoints: Vec<CheckpointWrite>,
    /// Events placed by their session id.
    pub(crate) named_sessions: Vec<NamedSession>,
    /// Number of anonymised copies that took the place of another.
    pub(crate) anonymised: i64,
    /// Number of copies whose content differs from that of the copy that stands.
    pub(crate) changed: i64,
    /// Number of stored events that an anonymised copy of another made duplicates.
    pub(crate) removed: i64,
    pub(crate) replays: u64,
}

impl LateOutcome {
    fn new(timeline: &Timeline) -> Self {
        Self {
            timeline: timeline.clone(),
            history: Vec::new(),
            checkpoints: Vec::new(),
            named_sessions: Vec::new(),
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

/// What a replay came to.
enum ReplayEnd {
    /// It settled, or reached the end of the history; so much of the work is done.
    Reached(WorkDone),
    /// It has to be done again from this time on, or an earlier one. Nothing was written.
    RestartFrom(EventTime),
    /// It has to be done again from the first event on. Nothing was written.
    RestartFromFirstEvent,
}

/// What a stretch came to.
enum StretchEnd {
    /// So much of the work is done.
    Reached(WorkDone),
    /// A replay would have to start at `since`, inside the stretches before. Nothing was written.
    ReachesBack { since: EventTime },
}

/// What all stretches came to.
enum StretchesEnd {
    /// All work is done.
    Done(LateOutcome),
    /// A stretch reaches back into one before it, to `since`. What was written has to be rolled back.
    ReachesBack { since: EventTime },
}

/// What applying events without a replay came to.
enum OnTimeEnd {
    /// They are applied.
    Applied,
    /// One of them is not newer than the sender's newest event. Nothing was written.
    NotNewer,
    /// Rows already written have to move, so the history has to be replayed from `since` on. Nothing was written.
    NeedsReplay { since: EventTime },
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
    fn next(&self, done: WorkDone) -> Option<EventTime> {
        let item = self.items.get(done.items).map(|item| item.event.time);
        let change = self.plan.times().get(done.changes).copied();
        item.into_iter().chain(change).min()
    }

    /// What of it is before `time`.
    fn before(&self, time: EventTime) -> WorkDone {
        WorkDone {
            items: self.items.partition_point(|item| item.event.time < time),
            changes: self.plan.times().partition_point(|change| *change < time),
        }
    }

    fn all(&self) -> WorkDone {
        WorkDone { items: self.items.len(), changes: self.plan.times().len() }
    }
}

/// How much of the work is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct WorkDone {
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
    ) -> Result<LateOutcome, StoreError> {
        let plan = if items.iter().any(Item::is_known) {
            let whose = SenderRef::of(timeline);
            Plan::make(self.tx, self.decoder, &whose, items, arrivals, self.ahead.take()).await?
        } else {
            Plan::default()
        };
        let new: Vec<&Item<'e, 'a>> = items.iter().filter(|item| !item.is_known()).collect();
        let work = Work { items: &new, plan: &plan, arrivals: Some(arrivals) };
        let mark = out.mark();
        let mut outcome = match self.stretches(timeline, work, since, plan.concerns_totals, out).await? {
            StretchesEnd::Done(outcome) => outcome,
            StretchesEnd::ReachesBack { since: earlier } => {
                // The history does not have what the earlier stretch added: then all is one stretch.
                out.rollback(mark);
                let since = work.next(WorkDone::default()).map(|first| first.min(earlier));
                match self.stretches(timeline, work, since, true, out).await? {
                    StretchesEnd::Done(outcome) => outcome,
                    StretchesEnd::ReachesBack { .. } => return Err(endless(timeline)),
                }
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
    ) -> Result<LateOutcome, StoreError> {
        let plan = Plan::default();
        let work = Work { items: &[], plan: &plan, arrivals: None };
        let mut outcome = LateOutcome::new(timeline);
        let stretch = Stretch { since: Some(since), done_until: None, at_once: true };
        match self.stretch(&mut outcome, work, WorkDone::default(), stretch, &mut None, out).await? {
            StretchEnd::Reached(_) => Ok(outcome),
            StretchEnd::ReachesBack { .. } => Err(endless(timeline)),
        }
    }

    /// Does the work in one stretch of history after the other, or `at_once`.
    async fn stretches(
        &mut self,
        timeline: &Timeline,
        work: Work<'_, '_, '_>,
        mut since: Option<EventTime>,
        at_once: bool,
        out: &mut Changes,
    ) -> Result<StretchesEnd, StoreError> {
        let mut outcome = LateOutcome::new(timeline);
        // One reader serves all stretches, so that the history is gone through once.
        let mut reader = None;
        let mut done = WorkDone::default();
        while let Some(first) = work.next(done) {
            if since.is_none() && done.changes == work.plan.times().len() {
                let rest = work.items.get(done.items..).unwrap_or_default();
                match self.on_time(&mut outcome, rest, out) {
                    OnTimeEnd::Applied => break,
                    OnTimeEnd::NotNewer => {}
                    OnTimeEnd::NeedsReplay { since: moving } => since = Some(moving),
                }
            }
            let start = since.take().map_or(first, |since| since.min(first));
            // What the stretches before have added ends here.
            let done_until =
                (done != WorkDone::default()).then(|| outcome.checkpoints.last()?.stretch.before).flatten();
            // The facts of the sender's row can be gathered only from all of its events.
            let since = (!work.plan.concerns_totals).then_some(start);
            let stretch = Stretch { since, done_until, at_once };
            match self.stretch(&mut outcome, work, done, stretch, &mut reader, out).await? {
                StretchEnd::Reached(reached) => done = reached,
                StretchEnd::ReachesBack { since } => return Ok(StretchesEnd::ReachesBack { since }),
            }
        }
        Ok(StretchesEnd::Done(outcome))
    }

    /// Applies `items` without a replay, if they are all newer than the sender's newest event.
    fn on_time(&self, outcome: &mut LateOutcome, items: &[&Item<'_, '_>], out: &mut Changes) -> OnTimeEnd {
        if !items.iter().all(|item| outcome.timeline.recency(&item.event) == Recency::Newer) {
            return OnTimeEnd::NotNewer;
        }
        let events = items.iter().map(|item| &*item.event);
        match run(self.engine, &outcome.timeline, events, out) {
            DirectRun::Applied { timeline, finished } => {
                outcome.checkpoints.extend(new_checkpoints(&outcome.timeline, finished.checkpoints));
                outcome.named_sessions.extend(finished.named_sessions);
                outcome.timeline = timeline;
                OnTimeEnd::Applied
            }
            DirectRun::NeedsReplay { since } => OnTimeEnd::NeedsReplay { since },
        }
    }

    /// Replays one stretch with the first of the work that is left, up to where nothing changes any more. A replay that has to
    /// start earlier is repeated from there; each time it starts strictly earlier, so this ends.
    async fn stretch(
        &mut self,
        outcome: &mut LateOutcome,
        work: Work<'_, '_, '_>,
        done: WorkDone,
        stretch: Stretch,
        reader: &mut Option<Reader>,
        out: &mut Changes,
    ) -> Result<StretchEnd, StoreError> {
        let mut since = stretch.since;
        loop {
            if let Some(done_until) = stretch.done_until
                && since.is_none_or(|since| since < done_until)
            {
                let since = since.unwrap_or(EventTime::EARLIEST);
                return Ok(StretchEnd::ReachesBack { since });
            }
            outcome.replays += 1;
            let end = self.replay(outcome, work, done, since, stretch.at_once, reader, out).await?;
            let next = match end {
                ReplayEnd::Reached(done) => return Ok(StretchEnd::Reached(done)),
                // A replay that does not start earlier than the last one finds nothing else.
                ReplayEnd::RestartFrom(earlier) => since.filter(|since| earlier < *since).map(|_| earlier),
                ReplayEnd::RestartFromFirstEvent => None,
            };
            // The reader has gone past where the next replay begins.
            *reader = None;
            if next == since {
                return Err(endless(&outcome.timeline));
            }
            since = next;
        }
    }

    /// Replays the history from the last checkpoint at or before `since` (none: from the first event), merged with the work
    /// that is left after `done`, until the replay settles with some of the work done (`at_once`: with all of it).
    ///
    /// Invariant of the loop: what was fed so far is the sender's events in their order up to some point, stored and new
    /// ones, and no event of the history before that point was left out.
    #[expect(
        clippy::too_many_arguments,
        reason = "one call site; what a stretch knows, what it writes to, and its place"
    )]
    async fn replay(
        &mut self,
        outcome: &mut LateOutcome,
        work: Work<'_, '_, '_>,
        done: WorkDone,
        since: Option<EventTime>,
        at_once: bool,
        reader: &mut Option<Reader>,
        out: &mut Changes,
    ) -> Result<ReplayEnd, StoreError> {
        let whose = SenderRef::of(&outcome.timeline);
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
            // Checkpoints stand before the events of their time. At each one that is passed the replay may stop, if some
            // work is done and the states agree: `start, hi, slot, listen | bye` stops before `bye`.
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
            // Feed the next event: a stored one as it is, gone, or with a copy in its place; else the next new one.
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
            ReplayOutcome::Done(replayed) => {
                outcome.checkpoints.push(CheckpointWrite {
                    sender: replayed.timeline.sender(),
                    stretch: HistoryStretch { after: start, before: replayed.until },
                    checkpoints: replayed.finished.checkpoints,
                });
                outcome.timeline = replayed.timeline;
                outcome.named_sessions.extend(replayed.finished.named_sessions);
                Ok(ReplayEnd::Reached(reached.unwrap_or_else(|| work.all())))
            }
            ReplayOutcome::RestartFrom(earlier) if start.is_some_and(|start| earlier < start) => {
                Ok(ReplayEnd::RestartFrom(earlier))
            }
            // A restart that would begin at the same checkpoint finds the same: go back to the first event.
            ReplayOutcome::RestartFrom(_) | ReplayOutcome::RestartFromFirstEvent => {
                Ok(ReplayEnd::RestartFromFirstEvent)
            }
        }
    }
}

fn endless(timeline: &Timeline) -> StoreError {
    StoreError::Damaged { detail: format!("a replay of sender {} has no end", timeline.sender()) }
}

/// What applying events directly, without the history, came to.
pub(crate) enum DirectRun {
    /// They are applied.
    Applied {
        /// The sender's new state.
        timeline: Timeline,
        /// What the run leaves besides rows.
        finished: Finished,
    },
    /// Rows already written have to move, so the history has to be replayed from `since` on. Nothing was written.
    NeedsReplay { since: EventTime },
}

/// Applies `events`, all newer than the sender's newest event, directly: this is the way of nearly all events.
pub(crate) fn run<'r, 'a: 'r>(
    engine: &Engine,
    timeline: &Timeline,
    events: impl Iterator<Item = &'r Event<'a>>,
    out: &mut Changes,
) -> DirectRun {
    let mark = out.mark();
    let mut next = timeline.clone();
    let mut run = engine.run(&mut next, out);
    for event in events {
        if let Step::NeedsReplay { since } = run.apply(event) {
            drop(run);
            out.rollback(mark);
            return DirectRun::NeedsReplay { since };
        }
    }
    let finished = run.finish();
    DirectRun::Applied { timeline: next, finished }
}

/// Checkpoints of events that are newer than all of `before`.
pub(crate) fn new_checkpoints(before: &Timeline, checkpoints: Vec<Checkpoint>) -> Option<CheckpointWrite> {
    let (sender, stretch) = (before.sender(), HistoryStretch { after: before.newest(), before: None });
    (!checkpoints.is_empty()).then_some(CheckpointWrite { sender, stretch, checkpoints })
}
