//! Late events of one sender, and anonymised copies of stored ones: replays the stretch of history
//! that they touch.
//!
//! An event is late if it is older than the newest event of its sender that is stored.
//!
//! ```text
//! stored:   start, hi, listen | bye, listen | thanks      (| is a checkpoint)
//! late:               slot
//! ```
//!
//! 1. The [`Reader`] opens the history at the last checkpoint at or before the late slot. Here
//!    there is none, so it starts at the first event.
//! 2. The engine's [`Replay`] gets `start, hi, slot, listen`: stored events and the late one, in
//!    the sender's order. It keeps two states, one without and one with the late event, and applies
//!    stored events to both.
//! 3. At the next checkpoint (before `bye`) the replay compares both states. If they agree, no
//!    later row can differ: the replay has settled and stops. If they differ (the slot moved a
//!    session, say), it goes on to the checkpoint before `thanks`.
//! 4. The difference between the rows of both sides is written, with new checkpoints for the
//!    stretch. The late event itself is added to the history as part of this transaction's chunk.
//!
//! Late events far apart are replayed in several stretches, each from its own checkpoint, with one
//! reader. Events newer than the sender's newest are applied after the last stretch, without a
//! replay.
//!
//! Two things may force a restart:
//!
//! - A replay may find that rows from before its checkpoint have to move. It then starts again at
//!   an earlier checkpoint, at last with the first event.
//! - That earlier checkpoint may lie inside a stretch that is done. The events that the stretch
//!   added are not in the stored history, so nothing can be read again there. All work is then
//!   rolled back and done as one stretch.
//!
//! ```text
//! stored:   start, hi | bye, listen | thanks, stop | restart
//! late:                     a                b                (two late events)
//!
//! stretch 1 replays from `bye` with a and settles at `thanks`
//! stretch 2 replays from `thanks` with b, and finds that a row of `listen` has to move
//!           `listen` is in stretch 1, whose event a is not stored yet: roll back
//! at once   replays from `bye` with a and b
//! ```

use turnmill_engine::{
    Checkpoint, Engine, Finished, NamedSession, Recency, Replay, ReplayOutcome, Step, Timeline,
};
use turnmill_model::{Changes, Decoders, Event, EventTime};

use crate::arrivals::Arrivals;
use crate::copies::EventCounts;
use crate::groups::Item;
use crate::reader::{ReadAhead, Reader, SenderRef};
use crate::replaced::{Change, Plan};
use turnmill_sink::{CheckpointWrite, HistoryStretch, HistoryWrite, StoreError, Transaction};

/// Holds the result of one sender's late events, besides row changes.
#[derive(Debug)]
pub(crate) struct LateOutcome {
    pub(crate) timeline: Timeline,
    pub(crate) history: Vec<HistoryWrite>,
    pub(crate) checkpoints: Vec<CheckpointWrite>,
    /// Events that were placed in a session by the session id they name.
    pub(crate) named_sessions: Vec<NamedSession>,
    /// Number of anonymised copies that took the place of another.
    pub(crate) anonymised: i64,
    /// Number of copies whose content differs from that of the copy that stands.
    pub(crate) changed: i64,
    /// Number of stored events that an anonymised copy of another made duplicates.
    pub(crate) removed: EventCounts,
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
            removed: EventCounts::default(),
            replays: 0,
        }
    }
}

/// Replays the history of one sender, inside the transaction `tx`.
pub(crate) struct Replayer<'m, T> {
    pub(crate) tx: &'m mut T,
    pub(crate) engine: &'m Engine,
    pub(crate) decoders: &'m Decoders,
    /// The page of history that the first reader is likely to need, if it was read ahead.
    pub(crate) ahead: Option<ReadAhead>,
}

/// Tells how one replay ended.
enum ReplayEnd {
    /// It settled, or reached the end of the history. This much of the work is done.
    Reached(WorkDone),
    /// It has to start again at this time or earlier. Nothing was written.
    RestartFrom(EventTime),
    /// It has to start again with the first event. Nothing was written.
    RestartFromFirstEvent,
}

/// Tells how one stretch ended.
enum StretchEnd {
    /// This much of the work is done.
    Reached(WorkDone),
    /// A replay would have to start at `since`, which is inside an earlier stretch. Nothing was
    /// written.
    ReachesBack { since: EventTime },
}

/// Tells how all stretches ended.
#[expect(clippy::large_enum_variant, reason = "nearly always the large one, and one at a time")]
enum StretchesEnd {
    /// All work is done.
    Done(LateOutcome),
    /// A stretch reaches back into an earlier one, to `since`. The caller has to roll back what was
    /// written.
    ReachesBack { since: EventTime },
}

/// Tells how applying events without a replay ended.
enum OnTimeEnd {
    /// They are applied.
    Applied,
    /// One of them is not newer than the sender's newest event. Nothing was written.
    NotNewer,
    /// Stored rows have to move, so the history has to be replayed from `since` on. Nothing was
    /// written.
    NeedsReplay { since: EventTime },
}

/// Holds the work on one sender, in the sender's order: new events, and changes of stored ones.
#[derive(Clone, Copy)]
struct Work<'w, 'e, 'a> {
    items: &'w [&'w Item<'e, 'a>],
    plan: &'w Plan,
    arrivals: Option<&'e Arrivals<'a>>,
}

impl Work<'_, '_, '_> {
    /// Returns the time of the first piece of work that is left after `done`.
    fn next(&self, done: WorkDone) -> Option<EventTime> {
        let item = self.items.get(done.items).map(|item| item.event.time);
        let change = self.plan.times().get(done.changes).copied();
        item.into_iter().chain(change).min()
    }

    /// Returns the work that lies before `time`.
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

/// Counts the work that is done: the first so many items and changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct WorkDone {
    items: usize,
    changes: usize,
}

/// Describes a stretch to replay.
#[derive(Clone, Copy)]
struct Stretch {
    /// It starts at or before this time; `None`: with the first event.
    since: Option<EventTime>,
    /// Earlier stretches end at this time; the stretch must not start before it.
    done_until: Option<EventTime>,
    /// Whether it has to do all the work that is left.
    at_once: bool,
}

impl<T: Transaction> Replayer<'_, T> {
    /// Applies `items`, new events and known ones, in the sender's order, to the sender whose
    /// present state is `timeline`. The first replay starts at or before `since`, if that is given.
    pub(crate) async fn apply<'e, 'a>(
        &mut self,
        timeline: &Timeline,
        items: &[Item<'e, 'a>],
        arrivals: &'e Arrivals<'a>,
        since: Option<EventTime>,
        out: &mut Changes,
    ) -> Result<LateOutcome, StoreError> {
        let plan = if items.iter().any(Item::is_known) {
            let sender_ref = SenderRef::of(timeline);
            Plan::make(self.tx, self.decoders, &sender_ref, items, arrivals, self.ahead.take()).await?
        } else {
            Plan::default()
        };
        let new: Vec<&Item<'e, 'a>> = items.iter().filter(|item| !item.is_known()).collect();
        let work = Work { items: &new, plan: &plan, arrivals: Some(arrivals) };
        let mark = out.mark();
        let mut outcome = match self.stretches(timeline, work, since, plan.concerns_totals, out).await? {
            StretchesEnd::Done(outcome) => outcome,
            StretchesEnd::ReachesBack { since: earlier } => {
                // The stored history lacks what the earlier stretch added, so it cannot be read
                // again from inside that stretch. Start over, with all work in one stretch.
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

    /// Writes the marker rows from `since` on that are missing because they were made with older
    /// patterns.
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

    /// Does the work stretch by stretch, or all `at_once`.
    async fn stretches(
        &mut self,
        timeline: &Timeline,
        work: Work<'_, '_, '_>,
        mut since: Option<EventTime>,
        at_once: bool,
        out: &mut Changes,
    ) -> Result<StretchesEnd, StoreError> {
        let mut outcome = LateOutcome::new(timeline);
        // One reader serves all stretches, so that the history is read once.
        let mut reader = None;
        let mut done = WorkDone::default();
        // Invariant: the work counted in `done` is written, and `outcome.timeline` is the sender's
        // state with it. Each round does at least one piece of work more.
        //
        // ```text
        // stored:  start, hi | bye, listen | thanks      work: slot (after hi), restart (after thanks)
        // round 1  replays from `start` with slot, settles before `bye`
        // round 2  restart is newer than `thanks`, so it is applied directly
        // ```
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
            // Earlier stretches have added events up to here.
            let done_until =
                (done != WorkDone::default()).then(|| outcome.checkpoints.last()?.stretch.before).flatten();
            // Facts of the sender's row (channels, users) are gathered from all of its events, so a
            // change of them needs a replay from the first event.
            let since = (!work.plan.concerns_totals).then_some(start);
            let stretch = Stretch { since, done_until, at_once };
            match self.stretch(&mut outcome, work, done, stretch, &mut reader, out).await? {
                StretchEnd::Reached(reached) => done = reached,
                StretchEnd::ReachesBack { since } => return Ok(StretchesEnd::ReachesBack { since }),
            }
        }
        Ok(StretchesEnd::Done(outcome))
    }

    /// Applies `items` without a replay, if all are newer than the sender's newest event.
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

    /// Replays one stretch with the first of the work that is left, up to where nothing changes any
    /// more. A replay that has to start earlier is repeated from there. Each start is strictly
    /// earlier than the last one, so this ends.
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
                // Only a strictly earlier start can find something else. Otherwise start with the
                // first event.
                ReplayEnd::RestartFrom(earlier) => since.filter(|since| earlier < *since).map(|_| earlier),
                ReplayEnd::RestartFromFirstEvent => None,
            };
            // The reader is past the start of the next replay.
            *reader = None;
            if next == since {
                return Err(endless(&outcome.timeline));
            }
            since = next;
        }
    }

    /// Replays the history from the last checkpoint at or before `since` (`None`: from the first
    /// event), merged with the work that is left after `done`. Stops where the replay settles with
    /// some of that work done (`at_once`: with all of it).
    ///
    /// Invariant of the loop: the events fed so far are the sender's events in their order up to
    /// some point, stored and new ones. No stored event before that point was left out.
    ///
    /// ```text
    /// reader:  start, hi, listen | bye      work: slot
    /// feeds    start, hi, slot, listen, and then asks at | whether both states agree
    /// ```
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
        let sender_ref = SenderRef::of(&outcome.timeline);
        let reader = match (reader, since) {
            (Some(reader), Some(since)) if reader.goes_on_to(since) => {
                reader.go_to(self.tx, since).await?;
                reader
            }
            (reader, _) => {
                let ahead = self.ahead.take();
                let fresh =
                    Reader::open(self.tx, outcome.timeline.sender(), since, self.decoders, ahead).await?;
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
            // Of events with the same time and tie key, stored ones arrived first, so they come
            // first.
            let stored = reader.peek().filter(|stored| new.is_none_or(|new| *stored <= new));
            let Some((next, _)) = stored.or(new) else { break };
            // A checkpoint stands before the events of its time. The replay may stop at each one
            // that it passes, if some work is done and both states agree. With `start, hi, slot,
            // listen | bye` it stops before `bye`.
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
            // Feed the next event. A stored one is fed as it is, as removed, or with a copy in its
            // place; if none is due, the next new one is fed.
            if stored.is_some()
                && let Some(stored) = reader.next()
            {
                let event = stored.event(self.decoders, &sender_ref)?;
                match work.plan.change(event.id) {
                    None => replay.stored(&event),
                    Some(Change::Remove) => replay.remove(&event),
                    Some(Change::Replace { copy, kept }) => {
                        let changed = stored.with_copy(work.arrivals, *copy, kept, self.decoders)?;
                        replay.replace(&event, &changed.event(self.decoders, &sender_ref)?);
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
            // A restart that does not begin at an earlier checkpoint would find the same, so start
            // with the first event.
            ReplayOutcome::RestartFrom(_) | ReplayOutcome::RestartFromFirstEvent => {
                Ok(ReplayEnd::RestartFromFirstEvent)
            }
        }
    }
}

fn endless(timeline: &Timeline) -> StoreError {
    StoreError::Damaged { detail: format!("a replay of sender {} has no end", timeline.sender()) }
}

/// Tells how applying events directly, without the history, ended.
#[expect(clippy::large_enum_variant, reason = "nearly always the large one, and one at a time")]
pub(crate) enum DirectRun {
    /// They are applied.
    Applied {
        /// The sender's new state.
        timeline: Timeline,
        /// Checkpoints and named sessions of the run.
        finished: Finished,
    },
    /// Stored rows have to move, so the history has to be replayed from `since` on. Nothing was
    /// written.
    NeedsReplay { since: EventTime },
}

/// Applies `events`, all newer than the sender's newest event, to a copy of `timeline`. Nearly all
/// events take this way. If an event moves stored rows, all changes are rolled back.
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

/// Returns the write of new checkpoints of events that are all newer than `before`, or `None` if
/// there are none.
pub(crate) fn new_checkpoints(before: &Timeline, checkpoints: Vec<Checkpoint>) -> Option<CheckpointWrite> {
    let (sender, stretch) = (before.sender(), HistoryStretch { after: before.newest(), before: None });
    (!checkpoints.is_empty()).then_some(CheckpointWrite { sender, stretch, checkpoints })
}
