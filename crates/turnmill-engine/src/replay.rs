//! Working out what late events change: the stored events are replayed from a checkpoint twice, without the late ones and
//! with them, until nothing differs any more.

use turnmill_model::{Changes, Event, EventTime};

use crate::diff::{self, TooShort};
use crate::progress::{Finished, Progress};
use crate::prune::{Rewritten, settle};
use crate::run::Run;
use crate::timeline::{Checkpoint, Timeline, UnreadableState};
use crate::{Engine, Step};

/// A replay of one sender from a checkpoint on.
///
/// The caller feeds the sender's history since the checkpoint in order, mixed with what is new to it, and stops when
/// [`settled`](Self::settled) says so or the history ends. The rows that the two replays differ in are what has to be
/// written. The cost is that of the events between the checkpoint and the point where nothing differs, never the sender's
/// whole life.
///
/// ```
/// use turnmill_engine::{Engine, Replay, ReplayOutcome, Timeline};
/// # use turnmill_formats::rasa::RasaDecoder;
/// # use turnmill_model::{Changes, Decoder, Record, Settings};
/// # let settings = Settings::default();
/// # let (decoder, engine) = (RasaDecoder::new(&settings), Engine::new(&settings));
/// # let decode = |line: &'static str| {
/// #     let mut events = Vec::new();
/// #     decoder.decode(&Record { payload: line.as_bytes(), ..Record::default() }, &mut events).unwrap();
/// #     events.remove(0)
/// # };
/// let stored = decode(r#"{"sender_id": "u1", "event": "user", "timestamp": 1656382549.9, "text": "hi"}"#);
/// let late = decode(r#"{"sender_id": "u1", "event": "session_started", "timestamp": 1656382549.2}"#);
/// # let mut timeline = Timeline::new(stored.sender, &stored.sender_key, None);
/// # let mut written = Changes::default();
/// # let mut run = engine.run(&mut timeline, &mut written);
/// # let _ = run.apply(&stored);
/// # run.finish();
///
/// let mut replay = Replay::new(&engine, &timeline, None)?;
/// replay.insert(&late);
/// replay.stored(&stored);
/// let mut changes = Changes::default();
/// let ReplayOutcome::Done(replayed) = replay.finish(&mut changes) else { panic!("it was replayed from the first event on") };
/// assert_eq!(changes.events.inserts.len(), 1, "the late event");
/// assert_eq!(replayed.timeline.newest(), Some(stored.time));
/// # Ok::<(), turnmill_engine::UnreadableState>(())
/// ```
#[derive(Debug)]
pub struct Replay<'e> {
    engine: &'e Engine,
    whole: Timeline,
    old: Side,
    new: Side,
    /// Updates of rows that neither side changes any more.
    found: Changes,
    settled: Option<Checkpoint>,
    /// Start of the session that the checkpoint is in.
    session_start: Option<EventTime>,
    /// Rows from before the checkpoint would have to move: from where a longer replay has to start.
    too_short: Option<EventTime>,
    /// Marker rows made with older patterns are made up for, which concerns all that follows.
    owes: bool,
    /// Entries of both sides at which it is worth to look for rows that are final in both.
    crowded: usize,
}

/// How a replay ended.
#[derive(Debug)]
#[must_use]
pub enum ReplayOutcome {
    /// The rows that differ were added to the changes.
    Done(Box<Replayed>),
    /// Rows from before this replay's checkpoint have to move: another replay has to start at or before this time. No change
    /// was added.
    RestartFrom(EventTime),
    /// The same, and the other replay has to start at the sender's first event.
    RestartFromFirstEvent,
}

/// What a replay found.
#[derive(Debug)]
pub struct Replayed {
    /// The sender's present state.
    pub timeline: Timeline,
    /// What the replay with the new events leaves; checkpoints that the store has in the replayed stretch are out of date.
    pub finished: Finished,
    /// Where the replayed stretch ends; none if it goes to the end of the history.
    pub until: Option<EventTime>,
}

#[derive(Debug)]
struct Side {
    timeline: Timeline,
    out: Changes,
    progress: Option<Progress>,
}

impl Side {
    fn apply(&mut self, engine: &Engine, event: &Event<'_>) -> Step {
        let progress = self.progress.take().unwrap_or_else(|| Progress::new(&self.timeline, &self.out));
        let mut run = Run::new(engine, &mut self.timeline, &mut self.out, progress);
        let step = run.apply(event);
        self.progress = Some(run.pause());
        step
    }

    fn rewritten(&mut self) -> Option<Rewritten<'_>> {
        let session = self.timeline.cursor.session.as_ref().map(|session| session.id);
        let progress = self.progress.as_mut()?;
        Some(Rewritten { out: &mut self.out, progress, session })
    }

    /// Forgets the checkpoints so far, which only one side is asked for.
    fn forget_checkpoints(&mut self) {
        if let Some(progress) = &mut self.progress {
            progress.finished.checkpoints.clear();
        }
    }

    fn finish(&mut self, engine: &Engine) -> Finished {
        match self.progress.take() {
            Some(progress) => Run::new(engine, &mut self.timeline, &mut self.out, progress).finish(),
            None => Finished::default(),
        }
    }
}

impl<'e> Replay<'e> {
    /// A replay of the sender whose present state is `whole`, from the stored checkpoint `from`, or from its first event on.
    ///
    /// # Errors
    ///
    /// [`UnreadableState`] if the checkpoint cannot be read.
    pub fn new(
        engine: &'e Engine,
        whole: &Timeline,
        from: Option<&Checkpoint>,
    ) -> Result<Self, UnreadableState> {
        let side = || {
            let timeline = whole.resume(from)?;
            let progress = Some(Progress::of_replay(whole.totals.clone()));
            Ok(Side { timeline, out: Changes::default(), progress })
        };
        let (old, mut new) = (side()?, side()?);
        let session_start = old.timeline.session_start();
        let owes = whole.owes(&engine.patterns);
        new.timeline.rows_revision = engine.patterns.revision();
        let too_short = owes.filter(|since| from.is_some_and(|from| *since < from.time));
        let owes = owes.is_some();
        let (whole, crowded) = (whole.clone(), engine.gathered);
        let found = Changes::default();
        Ok(Self { engine, whole, old, new, found, settled: None, session_start, too_short, owes, crowded })
    }

    /// Gathers the facts of the sender's row anew, for a replaced event that they may stem from. Only for a replay from the
    /// first event to the last.
    pub fn forget_totals(&mut self) {
        self.new.timeline.forget_totals();
    }

    /// The next event of the history.
    pub fn stored(&mut self, event: &Event<'_>) {
        self.replace(event, event);
    }

    /// The next event of the history, `old`, and the copy of it that takes its place.
    pub fn replace(&mut self, old: &Event<'_>, new: &Event<'_>) {
        let step = self.old.apply(self.engine, old);
        self.note(step);
        self.insert(new);
        self.thin_out();
    }

    /// The next event of the history, which goes: an anonymised copy of an earlier one stands for it.
    pub fn remove(&mut self, old: &Event<'_>) {
        let step = self.old.apply(self.engine, old);
        self.note(step);
    }

    /// The next event, which is not in the history yet.
    pub fn insert(&mut self, event: &Event<'_>) {
        let step = self.new.apply(self.engine, event);
        self.note(step);
    }

    /// Row changes that the replay holds at present: one for each that was found, and the rows of both sides that are not
    /// compared yet. [`Engine::gather`] bounds the latter.
    #[must_use]
    pub fn gathered(&self) -> usize {
        self.found.len() + self.not_compared()
    }

    fn not_compared(&self) -> usize {
        self.old.out.len() + self.new.out.len()
    }

    /// Compares rows that are final on both sides, now and then: when as many have gathered as were left the last time, so
    /// that looking at all of them is a constant share of the work.
    fn thin_out(&mut self) {
        self.old.forget_checkpoints();
        if self.not_compared() < self.crowded {
            return;
        }
        if let (Some(mut old), Some(mut new)) = (self.old.rewritten(), self.new.rewritten()) {
            settle(&mut old, &mut new, &mut self.found);
        }
        self.crowded = self.not_compared().saturating_mul(2).saturating_add(self.engine.gathered);
    }

    /// A step may move rows from before the checkpoint, also in the old replay: of a session that was left before it began.
    fn note(&mut self, step: Step) {
        if let Step::NeedsReplay { since } = step {
            let since = self.too_short.map_or(since, |earlier| earlier.min(since));
            self.too_short = Some(since);
        }
    }

    /// Whether the replay, which has got as far as the stored `checkpoint`, may stop there: the state is as it was, so all
    /// that follows stays. `more` says whether new events are left, which another replay, from this checkpoint or a later one
    /// on, will have to take.
    pub fn settled(&mut self, checkpoint: &Checkpoint, more: bool) -> bool {
        let settled = !self.owes
            && self.too_short.is_none()
            && !(more && self.left_any())
            && self.new.timeline.settled(checkpoint, &self.whole, &self.engine.patterns)
            && self.open_rows_agree(checkpoint.time);
        if settled {
            self.settled = Some(checkpoint.clone());
        }
        settled
    }

    /// Whether sessions were left that an event may return to by their id.
    fn left_any(&self) -> bool {
        let left = |side: &Side| {
            side.progress.as_ref().is_some_and(|progress| progress.left_keys().next().is_some())
        };
        left(&self.old) || left(&self.new)
    }

    /// Whether the rows of sessions that go on after `time` are the same in both replays so far: what follows would change
    /// them further, and a replay that stops here does not know how.
    fn open_rows_agree(&self, time: EventTime) -> bool {
        let (Some(old), Some(new)) = (&self.old.progress, &self.new.progress) else { return true };
        let goes_on = |key| self.whole.visits.as_deref().is_some_and(|visits| visits.asked_from(key, time));
        if old.left_keys().chain(new.left_keys()).any(goes_on) {
            return false;
        }
        let current = self.new.timeline.cursor.session.as_ref().map(|session| session.id);
        diff::open_rows_agree((&self.old.out, old.open_rows()), (&self.new.out, new.open_rows()), current)
    }

    /// Ends the replay and adds the differences to `out`, which stays as it is unless the outcome is
    /// [`Done`](ReplayOutcome::Done).
    pub fn finish(mut self, out: &mut Changes) -> ReplayOutcome {
        if let Some(since) = self.too_short {
            return ReplayOutcome::RestartFrom(since);
        }
        self.old.finish(self.engine);
        let finished = self.new.finish(self.engine);
        let mark = out.mark();
        out.append(self.found);
        if let Err(TooShort) = diff::difference(&self.old.out, &self.new.out, out) {
            // A row from before the checkpoint, of the session that the checkpoint is in, is no longer touched; what it
            // was there is not known here, but at the session's first event.
            out.rollback(mark);
            return match self.session_start {
                Some(since) => ReplayOutcome::RestartFrom(since),
                None => ReplayOutcome::RestartFromFirstEvent,
            };
        }
        let until = self.settled.as_ref().map(|checkpoint| checkpoint.time);
        let timeline = match &self.settled {
            Some(checkpoint) => self.new.timeline.rejoin(checkpoint, &self.whole),
            None => self.new.timeline,
        };
        ReplayOutcome::Done(Box::new(Replayed { timeline, finished, until }))
    }
}
