//! Works out what late events change. Two replays start from one checkpoint: the *old* one applies
//! the stored events, the *new* one applies them and the late events. Their rows are compared.
//!
//! ```text
//! u1: start, hi, hello, ciao | late: slot (after hi)
//!
//! old:  start, hi,       hello, ciao        gives the rows that the store has
//! new:  start, hi, slot, hello, ciao        gives the rows that it must have
//! ```
//!
//! Here the rows of `slot` are inserted. The turn of `hi` gets another end if `hello` is a user
//! message. All other rows are the same in both. Where the new replay reaches a stored checkpoint
//! in the stored state, all rows after it are the same too, and the replay stops.

use std::collections::HashSet;

use turnmill_model::tables::SessionRow;
use turnmill_model::{Changes, Event, EventTime, SessionId};

use crate::diff::{self, TooShort};
use crate::progress::{Finished, Progress};
use crate::prune::{Rewritten, settle};
use crate::run::Run;
use crate::timeline::{Checkpoint, Timeline, UnreadableState};
use crate::{Engine, Step};

/// Replays one sender from a checkpoint on.
///
/// The caller feeds the sender's history since the checkpoint in its order, mixed with the new
/// events. It stops where [`settled`](Self::settled) is true or the history ends. The differing
/// rows have to be written. The cost is that of the events between the checkpoint and the point
/// where nothing differs, never that of the sender's whole life.
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
/// let ReplayOutcome::Done(replayed) = replay.finish(&mut changes) else {
///     panic!("a replay from the first event on needs no other one")
/// };
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
    /// New sessions whose rows were [taken](Self::take_final) before the end.
    begun: HashSet<SessionId>,
    /// Sessions that only the new replay has entered so far, and that the store has.
    entered_early: HashSet<SessionId>,
    settled: Option<Checkpoint>,
    /// Start of the session that the checkpoint is in.
    session_start: Option<EventTime>,
    /// Where a longer replay has to start, if rows from before the checkpoint have to move.
    too_short: Option<EventTime>,
    /// Whether marker rows made with older patterns are replaced, which concerns all that follows.
    markers_missing: bool,
    /// Number of entries of both sides at which final rows are looked for again.
    crowded: usize,
}

/// How a replay ended.
#[derive(Debug)]
#[must_use]
pub enum ReplayOutcome {
    /// The rows that differ were added to the changes.
    Done(Box<Replayed>),
    /// Another replay has to start at or before this time, because rows from before this replay's
    /// checkpoint have to move. No change was added.
    RestartFrom(EventTime),
    /// Another replay has to start at the sender's first event. No change was added.
    RestartFromFirstEvent,
}

/// What a replay found.
#[derive(Debug)]
pub struct Replayed {
    /// The sender's state with the new events.
    pub timeline: Timeline,
    /// What the replay with the new events leaves. Its checkpoints replace those that the store has
    /// in the replayed stretch.
    pub finished: Finished,
    /// Where the replayed stretch ends; `None` if it goes to the end of the history.
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
    /// Starts a replay of the sender whose present state is `whole`, from the stored checkpoint
    /// `from`, or from its first event on.
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
            let timeline: Timeline = whole.resume(from)?;
            let progress = Some(Progress::of_replay(whole.totals.clone(), &timeline.cursor.dialogs));
            Ok(Side { timeline, out: Changes::default(), progress })
        };
        let (old, mut new) = (side()?, side()?);
        let session_start = old.timeline.session_start();
        let missing_since = whole.markers_missing_since(&engine.patterns);
        new.timeline.rows_revision = engine.patterns.revision();
        let too_short = missing_since.filter(|since| from.is_some_and(|from| *since < from.time));
        let markers_missing = missing_since.is_some();
        let (whole, crowded) = (whole.clone(), engine.gathered);
        let found = Changes::default();
        let (begun, entered_early) = (HashSet::new(), HashSet::new());
        Ok(Self {
            engine,
            whole,
            old,
            new,
            found,
            begun,
            entered_early,
            settled: None,
            session_start,
            too_short,
            markers_missing,
            crowded,
        })
    }

    /// Gathers the facts of the sender's row from nothing, because a replaced event may be their
    /// source. Correct only for a replay from the first event to the last.
    pub fn forget_totals(&mut self) {
        self.new.timeline.forget_totals();
    }

    /// Takes the next event of the history.
    pub fn stored(&mut self, event: &Event<'_>) {
        self.replace(event, event);
    }

    /// Takes the next event of the history, `old`, and the copy of it that takes its place.
    pub fn replace(&mut self, old: &Event<'_>, new: &Event<'_>) {
        let step = self.old.apply(self.engine, old);
        self.note(step);
        self.insert(new);
        self.thin_out();
    }

    /// Takes the next event of the history, which is removed: an anonymised copy of an earlier one
    /// replaces it.
    pub fn remove(&mut self, old: &Event<'_>) {
        let step = self.old.apply(self.engine, old);
        self.note(step);
    }

    /// Takes the next event that is not in the history yet.
    pub fn insert(&mut self, event: &Event<'_>) {
        let step = self.new.apply(self.engine, event);
        self.note(step);
    }

    /// Returns the number of row changes that the replay holds at present: one for each that was
    /// found, and the rows of both sides that are not compared yet. [`Engine::gather`] bounds the
    /// latter.
    #[must_use]
    pub fn gathered(&self) -> usize {
        self.found.len() + self.not_compared()
    }

    fn not_compared(&self) -> usize {
        self.old.out.len() + self.new.out.len()
    }

    /// Compares rows that are final on both sides, when twice as many have gathered as were left
    /// the last time. So looking at all of them is a constant share of the work.
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

    /// Takes the updates that are final, once as many are found as [`Engine::gather`] says. Written
    /// at once, they need not be held until the replay ends. Call it after a
    /// [`stored`](Self::stored) event.
    ///
    /// ```text
    /// stored:  hi, hello, bye, …        one session, named by `hi`
    /// late:    early, before `hi`       the session is named by `early` from now on
    ///
    /// first taken   insert the session of `early`, update the rows of hi … hello
    /// later taken   update the rows of bye …
    /// at the end    update the session of `early`, whose end is known now; delete that of `hi`
    /// ```
    ///
    /// An outcome other than [`Done`](ReplayOutcome::Done) makes what was taken void: the caller
    /// has to roll back what it has written.
    ///
    /// Takes nothing while a row may still move.
    ///
    /// A session with an id of its own may be among the new ones and be stored all the same, as one
    /// that the stored events only enter later. The caller looks new sessions up, tells which are
    /// [stored](Self::session_is_stored), and does not write those. An id may also belong to
    /// another sender. Then nothing that was taken may be written.
    pub fn take_final(&mut self) -> Option<Changes> {
        if self.found.len() < self.engine.gathered || self.too_short.is_some() {
            return None;
        }
        let may_move = |rows: Option<Rewritten<'_>>| rows.is_none_or(|rows| rows.may_move());
        if may_move(self.old.rewritten()) || may_move(self.new.rewritten()) {
            return None;
        }
        let mut taken = std::mem::take(&mut self.found);
        // The updates may name a session that only the new replay has.
        let stored: HashSet<SessionId> = self.old.out.sessions.inserts.iter().map(|row| row.id).collect();
        for row in &self.new.out.sessions.inserts {
            let is_stored = stored.contains(&row.id) || self.entered_early.contains(&row.id);
            if !is_stored && self.begun.insert(row.id) {
                taken.sessions.inserts.push(*row);
            }
        }
        Some(taken)
    }

    /// Notes that a session of those taken last as new is stored, as one of this sender.
    pub fn session_is_stored(&mut self, session: SessionId) {
        if self.begun.remove(&session) {
            self.entered_early.insert(session);
        }
    }

    /// Notes where a longer replay has to start, if the step moves rows from before the checkpoint.
    /// The old replay may need it too, for a session that was left before it began.
    fn note(&mut self, step: Step) {
        if let Step::NeedsReplay { since } = step {
            let since = self.too_short.map_or(since, |earlier| earlier.min(since));
            self.too_short = Some(since);
        }
    }

    /// Returns whether the replay, which has reached the stored `checkpoint`, may stop there.
    ///
    /// It may if the state equals the stored one: then all that follows stays as it is. `more`
    /// tells whether new events are left. Another replay, from this checkpoint or a later one,
    /// takes them.
    pub fn settled(&mut self, checkpoint: &Checkpoint, more: bool) -> bool {
        let settled = !self.markers_missing
            && self.too_short.is_none()
            && !(more && self.left_any())
            && self.new.timeline.settled(checkpoint, &self.whole, &self.engine.patterns)
            && self.open_rows_agree(checkpoint.time);
        if settled {
            self.settled = Some(checkpoint.clone());
        }
        settled
    }

    /// Returns whether sessions were left to which an event may return by their id.
    fn left_any(&self) -> bool {
        let left = |side: &Side| {
            side.progress.as_ref().is_some_and(|progress| progress.left_keys().next().is_some())
        };
        left(&self.old) || left(&self.new)
    }

    /// Returns whether both replays so far wrote the same rows of sessions that go on after `time`.
    ///
    /// If not, later events change those rows further, and a replay that stops here cannot know
    /// how.
    fn open_rows_agree(&self, time: EventTime) -> bool {
        let (Some(old), Some(new)) = (&self.old.progress, &self.new.progress) else { return true };
        let goes_on = |key| self.whole.visits.as_deref().is_some_and(|visits| visits.asked_from(key, time));
        if old.left_keys().chain(new.left_keys()).any(goes_on) {
            return false;
        }
        let current = self.new.timeline.cursor.session.as_ref().map(|session| session.id);
        diff::open_rows_agree((&self.old.out, old.open_rows()), (&self.new.out, new.open_rows()), current)
    }

    /// Ends the replay and adds the differences to `out`. Leaves `out` unchanged unless the outcome
    /// is [`Done`](ReplayOutcome::Done).
    pub fn finish(mut self, out: &mut Changes) -> ReplayOutcome {
        if let Some(since) = self.too_short {
            return ReplayOutcome::RestartFrom(since);
        }
        self.old.finish(self.engine);
        let finished = self.new.finish(self.engine);
        let mark = out.mark();
        out.append(self.found);
        if let Err(TooShort) = diff::difference(&self.old.out, &self.new.out, out) {
            // u1: start, slot a=1 | checkpoint | slot a=2 | late: start (before `slot a=2`)
            // The late start begins a session, and `slot a=2` moves to it. In the session before,
            // `a` has the value 1 again, which these replays have not seen. A replay from the first
            // event of the session that the checkpoint is in sees it.
            out.rollback(mark);
            return match self.session_start {
                Some(since) => ReplayOutcome::RestartFrom(since),
                None => ReplayOutcome::RestartFromFirstEvent,
            };
        }
        // The rows of these sessions exist already, with ends that were not final.
        let is_begun = |row: &SessionRow| self.begun.contains(&row.id);
        if out.sessions.inserts.iter().filter(|row| is_begun(row)).count() != self.begun.len() {
            out.rollback(mark);
            return ReplayOutcome::RestartFromFirstEvent;
        }
        out.sessions.updates.extend(out.sessions.inserts.extract_if(.., |row| is_begun(row)));
        let until = self.settled.as_ref().map(|checkpoint| checkpoint.time);
        let timeline = match &self.settled {
            Some(checkpoint) => self.new.timeline.rejoin(checkpoint, &self.whole),
            None => self.new.timeline,
        };
        ReplayOutcome::Done(Box::new(Replayed { timeline, finished, until }))
    }
}
