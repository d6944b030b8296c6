//! Applies one sender's events of one batch to its timeline.
//!
//! Every step depends on one invariant: the sender's state and rows are those that all events up to
//! the newest one give, in their order. So an event that is newer than all extends them in O(1),
//! and any other event needs a replay.
//!
//! ```text
//! u1: start, hi, bye          -> rows of start, hi, bye
//! u1: slot (after bye)        -> Applied: one more row, and new ends of session and turn
//! u1: late slot (after hi)    -> NeedsReplay: the turn of `hi` has to be extended by it
//! u1: hi (again)              -> NeedsReplay: the caller finds `hi` in the history, a duplicate
//! ```
//!
//! Two kinds of events change the session of events that came before them:
//!
//! ```text
//! u1: slot, start             -> `slot` is in the session of `start`, whose id comes from `start`
//! u1: start, hi, meta, start  -> the metadata slot `meta` moves to the second session
//! ```
//!
//! While the rows of the earlier event are in the changes of this run, they are moved there. If an
//! earlier batch has written them, the answer is [`Step::NeedsReplay`].

use turnmill_markers::MarkerEvent;
use turnmill_model::tables::{SenderRow, SessionRow, UserRow};
use turnmill_model::{Body, Changes, Event, EventId, EventTime, Micros, SessionId, SessionRule, UserId};
use uuid::Uuid;

use crate::facts::{self, FactsRow, SessionContext, SessionFacts, TurnFacts, TurnStep};
use crate::mark::MarkedEvent;
use crate::placement::{self, Placement};
use crate::progress::{Finished, HeldSlot, LeftSession, LiveRows, NamedSession, Progress, Written};
use crate::runs::RunRows;
use crate::state::{Conversation, Open, OpenTurn, Order, Previous, PreviousKind, Session};
use crate::timeline::Timeline;
use crate::visits::Visit;
use crate::{Engine, calls, dialogs, rows};

/// Outcome of applying one event.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub enum Step {
    /// The event was newer than all others and is applied.
    Applied,
    /// The event was not applied, and nothing changed. Either it is not newer than the sender's
    /// newest event, or rows that are already written have to move because of it. A
    /// [`Replay`](crate::Replay) of the history from `since` on has to include it.
    NeedsReplay {
        /// Time at which the replay has to start, or earlier.
        since: EventTime,
    },
}

/// Applies one sender's events of one batch. [`Engine::run`] makes it.
///
/// The rows of one run stand together in the changes. Therefore runs of several senders follow each
/// other and never interleave. Rows are complete only after [`finish`](Self::finish).
#[derive(Debug)]
pub struct Run<'r> {
    pub(crate) engine: &'r Engine,
    pub(crate) timeline: &'r mut Timeline,
    pub(crate) out: &'r mut Changes,
    pub(crate) progress: Progress,
}

impl<'r> Run<'r> {
    pub(crate) fn new(
        engine: &'r Engine,
        timeline: &'r mut Timeline,
        out: &'r mut Changes,
        progress: Progress,
    ) -> Self {
        Self { engine, timeline, out, progress }
    }

    /// Interrupts the run; [`new`](Self::new) continues it.
    pub(crate) fn pause(self) -> Progress {
        self.progress
    }

    /// Returns the sender's state after the events so far.
    #[must_use]
    pub fn timeline(&self) -> &Timeline {
        self.timeline
    }

    /// Applies `event`, which must be of this run's sender. Costs O(1) if it is newer than all.
    pub fn apply(&mut self, event: &Event<'_>) -> Step {
        // Every check comes before the first change, so that `NeedsReplay` leaves all as it was.
        // Two notes are exceptions, and change no row: `catch_up` notes the revision of the
        // patterns, and `place` the session ids that were asked for.
        if self.timeline.recency(event) != crate::Recency::Newer {
            return Step::NeedsReplay { since: event.time };
        }
        if let Some(since) = self.catch_up() {
            return Step::NeedsReplay { since: since.min(event.time) };
        }
        let placement = placement::of(self.timeline, event);
        if let Some(since) = self.moves_written_rows(&placement, event) {
            return Step::NeedsReplay { since };
        }
        if let Some(since) = self.lacks_state(&placement, event) {
            return Step::NeedsReplay { since };
        }
        if let Some(since) = self.changes_written_message(&placement, event) {
            return Step::NeedsReplay { since };
        }
        // From here on the event is applied. The order of the steps matters: `hold` needs the state
        // before the event's own rows, and `begin_session` gives the session the id for those rows.
        self.keep_checkpoint(event.time);
        let sequence_number = event.time.micros().max(self.timeline.cursor.last_sequence_number + 1);
        let by_id = self.enter(placement, event, sequence_number);
        if by_id {
            self.name_session(event);
        }
        self.hold(event, by_id, sequence_number);
        self.begin_session(event);
        let last = match &event.body {
            Body::Exchange(exchange) => self.write_exchange(event, exchange, sequence_number),
            _ => {
                self.write(event, sequence_number);
                self.mark(&MarkedEvent::of(event));
                sequence_number
            }
        };
        self.advance(event, by_id, last);
        Step::Applied
    }

    /// Notes that the event names its session. The id then belongs to its sender, unless another
    /// sender named it first.
    fn name_session(&mut self, event: &Event<'_>) {
        let named = match event.session {
            SessionRule::Rasa { session_id } => session_id,
            SessionRule::Key(key) => Some(key),
            SessionRule::Gap { .. } => None,
            SessionRule::Conversation { key, .. } => key,
        };
        let key = self.timeline.cursor.session.as_ref().and_then(|session| session.key);
        // A former id of the session, which it gave up for another one, belongs to no sender.
        if let Some(key) = key.filter(|key| named == Some(*key)) {
            self.progress.finished.named_sessions.push(NamedSession { event: event.id, session: key });
        }
    }

    /// Returns the time from which a replay is needed, if `placement` moves rows that an earlier
    /// batch wrote.
    ///
    /// ```text
    /// batch 1: slot       batch 2: start   -> the stored row of `slot` gets the id of the session
    /// batch 1: hi, meta   batch 2: start   -> the stored row of `meta` moves to the next session
    /// ```
    fn moves_written_rows(&self, placement: &Placement, event: &Event<'_>) -> Option<EventTime> {
        let cursor = &self.timeline.cursor;
        let session = cursor.session.as_ref()?;
        match placement {
            Placement::Adopt(_) => self.progress.live.leading.is_none().then_some(session.start_time),
            Placement::Stay { .. } => {
                let begins = !session.begun && session.key.is_none() && begins_session(event);
                (begins && self.progress.live.leading.is_none()).then_some(session.start_time)
            }
            Placement::BeginWithPrevious if self.progress.held.is_none() => cursor.newest,
            Placement::BeginWithPrevious | Placement::Begin { .. } | Placement::Return(_) => None,
        }
    }

    /// Returns the time from which a replay is needed, if the event changes the row of its turn's
    /// message, and an earlier batch wrote that row. The state does not keep its texts.
    ///
    /// ```text
    /// batch 1: sing (with entities)   batch 2: unsupported  -> the stored row of `sing` is missed
    /// ```
    fn changes_written_message(&mut self, placement: &Placement, event: &Event<'_>) -> Option<EventTime> {
        if event.body != Body::Unsupported {
            return None;
        }
        let session = match placement {
            Placement::Stay { .. } | Placement::Adopt(_) => self.timeline.cursor.session.as_ref()?,
            Placement::Return(session) => session,
            Placement::Begin { .. } | Placement::BeginWithPrevious => return None,
        };
        let facts = &session.turn.as_ref()?.facts;
        let (message, has_row) = facts.not_missed()?;
        let is_written = has_row && calls::own_row(self.out, message).is_none();
        is_written.then(|| EventTime::not_after(facts.asked_at()))
    }

    /// Keeps a checkpoint before the event at `time`, if enough events have passed since the last.
    ///
    /// A replay must be able to start from it. So it never stands between events of the same time,
    /// before which a late event may belong, and never where rows may still move.
    fn keep_checkpoint(&mut self, time: EventTime) {
        let timeline = &mut *self.timeline;
        if timeline.since_checkpoint >= self.engine.checkpoint_every
            && timeline.cursor.newest.is_some_and(|newest| newest < time)
            && !timeline.may_move()
        {
            self.progress.finished.checkpoints.push(timeline.checkpoint(time));
            timeline.since_checkpoint = 0;
        }
        timeline.since_checkpoint = timeline.since_checkpoint.saturating_add(1);
    }

    /// Makes the session of the event the current one. Returns whether the event's session id
    /// decided it.
    fn enter(&mut self, placement: Placement, event: &Event<'_>, sequence_number: i64) -> bool {
        match placement {
            Placement::Stay { by_id } => by_id,
            Placement::Adopt(key) => {
                let id = self.timeline.session_id(key);
                let former =
                    self.timeline.cursor.session.as_mut().and_then(|session| session.key.replace(key));
                if let Some(former) = former {
                    self.timeline.visits.get_or_insert_default().note(former, event.time, Visit::Became(key));
                }
                self.rename_session(id);
                true
            }
            Placement::Return(session) => {
                self.leave(event.time);
                let left = self.progress.left.iter().position(|left| left.id == session.id);
                self.progress.live =
                    left.map(|index| self.progress.left.swap_remove(index).live).unwrap_or_default();
                self.timeline.cursor.session = Some(*session);
                true
            }
            Placement::Begin { key } => {
                let id = match key {
                    Some(key) => self.timeline.session_id(key),
                    None => self.new_session_id(event),
                };
                self.leave(event.time);
                self.open_session(id, key, event.time, sequence_number, rows::Extent::of(self.out));
                key.is_some()
            }
            Placement::BeginWithPrevious => {
                // u1: start, hi, meta | start
                // `meta` was applied to the first session. Go back to the state before it, leave
                // that session there, and open the next one with `meta` as its first event. The
                // rows of `meta` get the new session's id; all other rows stay as they are.
                if let Some(held) = self.progress.held.take() {
                    self.progress.live = held.live;
                    let old = held.session.id;
                    self.timeline.cursor.session = Some(held.session);
                    self.leave(event.time);
                    let id = event.id.session();
                    rows::rename(self.out, held.extent, self.timeline.sender, old, id);
                    let mut extent = held.extent;
                    extent.sessions = self.out.sessions.inserts.len();
                    self.open_session(id, None, held.time, held.sequence_number, extent);
                    // The slot is the first event of the new session, so other markers apply to it.
                    self.out.markers.inserts.truncate(held.extent.markers);
                    let event = MarkerEvent::Slot { name: placement::METADATA_SLOT, is_set: held.is_set };
                    self.mark(&MarkedEvent { id: held.id, time: held.time, event });
                }
                false
            }
        }
    }

    /// Returns the id of a session that starts with `event` and has no id of its own.
    fn new_session_id(&self, event: &Event<'_>) -> SessionId {
        if begins_session(event) {
            return event.id.session();
        }
        let ended = match self.timeline.cursor.previous.kind {
            PreviousKind::SessionEnded(id) => Some(id),
            _ => None,
        };
        SessionId::leading(self.timeline.sender, ended)
    }

    fn open_session(
        &mut self,
        id: SessionId,
        key: Option<Uuid>,
        start_time: EventTime,
        sequence_number: i64,
        extent: rows::Extent,
    ) {
        let session = Written::Insert(self.out.sessions.inserts.len());
        let session_facts = FactsRow::New;
        self.progress.live =
            LiveRows { session, session_facts, leading: Some(extent), ..LiveRows::default() };
        self.out.sessions.inserts.push(SessionRow {
            id,
            sender_id: self.timeline.sender,
            timestamp: Micros(start_time.micros()),
            start_sequence_number: sequence_number,
            end_sequence_number: sequence_number,
        });
        self.timeline.cursor.session = Some(Session {
            id,
            key,
            start_time,
            end: sequence_number,
            begun: false,
            opened: false,
            has_user: false,
            starting: false,
            turn: None,
            frame: None,
            facts: SessionFacts::new(Micros(start_time.micros())),
            markers: self.engine.patterns.start(self.timeline.rows_revision, start_time.micros()),
            exchange: None,
        });
    }

    /// Leaves the current session: writes its ends and facts, and keeps its state if its id may
    /// lead back to it.
    fn leave(&mut self, time: EventTime) {
        self.flush();
        // Its row says whether it is the latest one, which it is no longer.
        self.progress.live.session_facts.touch();
        self.flush_session_facts(false);
        self.progress.held = None;
        if let Some(session) = self.timeline.cursor.session.take()
            && let Some(key) = session.key
        {
            self.progress.left.push(LeftSession { key, id: session.id, live: self.progress.live });
            self.timeline.visits.get_or_insert_default().note(key, time, Visit::Left(Box::new(session)));
        }
        self.progress.live = LiveRows::default();
    }

    /// Writes the ends of the current session, its turn and its frame into their rows.
    fn flush(&mut self) {
        let Some(session) = &self.timeline.cursor.session else { return };
        self.progress.live.session.flush(&mut self.out.sessions, session.id.0, session.end, |row, end| {
            row.end_sequence_number = end;
        });
        if let Some(turn) = &session.turn {
            self.progress
                .live
                .turn
                .flush(&mut self.out.turns, turn.id, turn.end, |row, end| row.end_sequence_number = end);
        }
        if let Some(frame) = session.frame {
            self.progress
                .live
                .frame
                .flush(&mut self.out.frames, frame.id, frame.end, |row, end| row.end_sequence_number = end);
        }
    }

    /// Writes the facts of the open turn into its row.
    fn flush_turn_facts(&mut self) {
        let Some(session) = &self.timeline.cursor.session else { return };
        let Some(turn) = &session.turn else { return };
        let ids = (turn.id, session.id, self.timeline.sender);
        facts::write_turn(self.out, &mut self.progress.live.turn_facts, &turn.facts, ids);
    }

    /// Writes the facts of the current session and its turn into their rows.
    fn flush_session_facts(&mut self, is_latest: bool) {
        self.flush_turn_facts();
        let Some(session) = &self.timeline.cursor.session else { return };
        let context = SessionContext {
            id: session.id,
            sender: self.timeline.sender,
            assistant: self.timeline.assistant(),
            started_at: Micros(session.start_time.micros()),
            loops: &self.timeline.cursor.loops,
            is_latest,
            exchange: session.exchange.as_deref(),
        };
        facts::write_session(self.out, &mut self.progress.live.session_facts, &session.facts, &context);
        if let Some(exchange) = &session.exchange {
            let LiveRows { intent_run, slot_run, .. } = &mut self.progress.live;
            exchange.runs.write(&mut RunRows {
                out: self.out,
                session: session.id,
                source: &exchange.source_system,
                intent: intent_run,
                slot: slot_run,
            });
        }
    }

    /// Gives the current session another id, in its rows as well.
    fn rename_session(&mut self, id: SessionId) {
        let Some(session) = self.timeline.cursor.session.as_mut() else { return };
        let old = std::mem::replace(&mut session.id, id);
        self.timeline.cursor.dialogs.rename_session(old, id);
        if let Some(extent) = self.progress.live.leading {
            rows::rename(self.out, extent, self.timeline.sender, old, id);
        }
    }

    /// Remembers the state before a metadata slot. The slot belongs to the next session if a
    /// session start follows at once (`Placement::BeginWithPrevious`), else to the current one.
    fn hold(&mut self, event: &Event<'_>, by_id: bool, sequence_number: i64) {
        self.progress.held = None;
        let Body::Slot { is_set, .. } = event.body else { return };
        if by_id || !placement::is_metadata_slot(event) {
            return;
        }
        if let Some(session) = &self.timeline.cursor.session
            && session.begun
        {
            self.progress.held = Some(Box::new(HeldSlot {
                session: session.clone(),
                live: self.progress.live,
                extent: rows::Extent::of(self.out),
                id: event.id,
                time: event.time,
                is_set,
                sequence_number,
            }));
        }
    }

    /// Marks the session as begun if the event begins it. A derived id comes from that event from
    /// then on.
    ///
    /// ```text
    /// u1: slot, bot, start, hi    -> one session, named after `start`, whatever leads up to it
    /// ```
    fn begin_session(&mut self, event: &Event<'_>) {
        let Some(session) = self.timeline.cursor.session.as_mut() else { return };
        if !session.begun && begins_session(event) {
            session.begun = true;
            let (id, derived) = (event.id.session(), session.key.is_none());
            if derived && session.id != id {
                self.rename_session(id);
            }
            self.progress.live.leading = None;
        }
        let Some(session) = self.timeline.cursor.session.as_mut() else { return };
        match &event.body {
            Body::User(_) => {
                session.has_user = true;
                session.opened = true;
                session.starting = false;
            }
            Body::SessionStarted => session.starting = true,
            Body::Action { .. } if placement::is_session_start(event) => {
                session.opened = true;
                session.starting = true;
            }
            Body::Action { .. } if placement::is_listen(event) => session.starting = false,
            _ => {}
        }
    }

    /// Writes the event's rows and moves the ends of session, turn and frame.
    pub(crate) fn write(&mut self, event: &Event<'_>, sequence_number: i64) {
        self.progress.live.session.touch();
        self.progress.live.session_facts.touch();
        let Some(session) = self.timeline.cursor.session.as_mut() else { return };
        session.end = sequence_number;
        session.facts.follow(event);
        let context = rows::Context { event, session: session.id, sequence_number };
        rows::write_event(self.out, &context);
        if let Body::User(message) = &event.body {
            self.close_turn();
            let id = event.id.turn();
            self.progress.live.turn = Written::Insert(self.out.turns.inserts.len());
            self.progress.live.turn_facts = FactsRow::New;
            rows::write_turn(self.out, &context, id);
            let has_row = facts::write_message(self.out, event, message);
            self.progress.live.message = has_row.then_some(event.id);
            let facts = Box::new(TurnFacts::new(event, message, &self.timeline.cursor.loops));
            self.set_turn(Some(OpenTurn { id, end: sequence_number, facts }));
        } else {
            self.extend_turn(event, sequence_number);
        }
        self.follow_flows(event);
        let framed = self.write_frame(event, &context);
        if !framed && let Some(frame) = self.timeline.cursor.session.as_mut().and_then(|s| s.frame.as_mut()) {
            frame.end = sequence_number;
            self.progress.live.frame.touch();
        }
        if event.body == Body::SessionEnded {
            self.close_turn();
        }
    }

    /// Follows flows, skills and agents, and writes what the event says of tools, slots and
    /// answers.
    fn follow_flows(&mut self, event: &Event<'_>) {
        let cursor = &mut self.timeline.cursor;
        cursor.loops.follow(&event.body);
        let Some(session) = cursor.session.as_mut() else { return };
        let mut rows = dialogs::Rows { out: self.out, unwritten: &mut self.progress.dialogs };
        cursor.dialogs.follow(event, session.id, &mut rows);
        calls::write(self.out, event, session.id, session.turn.as_ref().map(|turn| turn.id));
        if event.body == Body::Unsupported
            && let Some(turn) = &mut session.turn
            && let Some((message, has_row)) = turn.facts.not_missed()
        {
            calls::miss(self.out, message, has_row);
            turn.facts.set_missed();
            self.progress.live.message = Some(message);
        }
    }

    /// Adds the event to the open turn, if there is one.
    fn extend_turn(&mut self, event: &Event<'_>, sequence_number: i64) {
        let Some(session) = self.timeline.cursor.session.as_mut() else { return };
        let Some(turn) = session.turn.as_mut() else { return };
        // Only the end is moved here; `flush` writes it once for many events.
        turn.end = sequence_number;
        self.progress.live.turn.touch();
        let step = turn.facts.follow(event);
        if step != TurnStep::Nothing {
            self.progress.live.turn_facts.touch();
        }
        if step == TurnStep::Answered {
            session.facts.count_answer();
        }
    }

    fn set_turn(&mut self, turn: Option<OpenTurn>) {
        if let Some(session) = self.timeline.cursor.session.as_mut() {
            session.turn = turn;
        }
    }

    fn close_turn(&mut self) {
        self.flush();
        self.flush_turn_facts();
        self.set_turn(None);
        self.progress.live.turn = Written::Stored;
        self.progress.live.turn_facts = FactsRow::Stored;
        self.progress.live.message = None;
    }

    /// Applies the event to the dialogue stack. Returns whether it opened a stack frame.
    fn write_frame(&mut self, event: &Event<'_>, context: &rows::Context<'_, '_>) -> bool {
        match &event.body {
            Body::SessionStarted | Body::Restart | Body::RoutingSessionEnded => {
                self.reset_stack();
            }
            Body::Action { .. } if placement::is_session_start(event) => self.reset_stack(),
            Body::Stack { update } if self.engine.settings.stack_events => {
                if let Err(detail) = self.timeline.cursor.stack.patch(update.as_deref()) {
                    rows::write_error(self.out, context, "stack_patch", &detail);
                    return false;
                }
                self.flush();
                self.progress.live.frame = Written::Insert(self.out.frames.inserts.len());
                rows::write_frame(self.out, context, &self.timeline.cursor.stack.top());
                if let Some(session) = self.timeline.cursor.session.as_mut() {
                    session.frame = Some(Open { id: event.id.0, end: context.sequence_number });
                }
                return true;
            }
            _ => {}
        }
        false
    }

    /// Empties the dialogue stack, and with it forgets the active form and the open flows.
    fn reset_stack(&mut self) {
        self.timeline.cursor.stack.reset();
        self.timeline.cursor.loops.reset();
    }

    /// Makes the event the newest.
    fn advance(&mut self, event: &Event<'_>, by_id: bool, sequence_number: i64) {
        let timeline = &mut *self.timeline;
        let cursor = &mut timeline.cursor;
        // The ids of all events at the newest time: one of them that is delivered again is known.
        if cursor.newest != Some(event.time) {
            cursor.newest_ids.clear();
        }
        cursor.newest = Some(event.time);
        cursor.newest_tie = Order::of(event).tie;
        cursor.newest_ids.push(event.id);
        cursor.last_sequence_number = sequence_number;
        cursor.previous = Previous { kind: previous_kind(event, event.id), by_id };
        if let SessionRule::Conversation { conversation, .. } = event.session
            && let Some(session) = cursor.session.as_ref().and_then(|session| session.key)
        {
            let newest = Conversation { id: conversation, newest: event.time, session };
            let all = &mut cursor.conversations.get_or_insert_default().0;
            match all.iter_mut().find(|known| known.id == conversation) {
                Some(known) => *known = newest,
                None => all.push(newest),
            }
        }

        // The totals must not depend on the order in which events arrive. So the channel and the
        // user are kept with the order of their events: the first channel and the last user count.
        let (micros, order) = (Micros(event.time.micros()), Order::of(event));
        let totals = &mut timeline.totals;
        totals.seen =
            Some(totals.seen.map_or((micros, micros), |(least, most)| (least.min(micros), most.max(micros))));
        let message = match &event.body {
            Body::User(message) => Some(&**message),
            Body::Exchange(exchange) => exchange.message.as_ref(),
            _ => None,
        };
        if let Some(message) = message
            && let Some(channel) = &message.input_channel
            && totals.channel.as_ref().is_none_or(|(place, _)| order < *place)
        {
            let channel = turnmill_model::text::cut(channel, turnmill_model::text::SHORT);
            totals.channel = Some((order, channel.into()));
        }
        if let Some(key) = &event.user_key {
            let id = UserId::new(key);
            if totals.user.is_none_or(|(place, _)| order >= place) {
                totals.user = Some((order, id));
            }
            self.widen_user(id, key, micros);
        }
    }

    /// Widens the times of the user's row, which is one per run and user.
    fn widen_user(&mut self, id: UserId, key: &str, micros: Micros) {
        let known = self.progress.users.iter().find(|(user, _)| *user == id).map(|(_, index)| *index);
        match known.and_then(|index| self.out.users.inserts.get_mut(index)) {
            Some(row) => {
                row.first_seen = row.first_seen.min(micros);
                row.last_seen = row.last_seen.max(micros);
            }
            None => {
                let user_key = self.out.texts.add(key);
                self.progress.users.push((id, self.out.users.inserts.len()));
                self.out.users.inserts.push(UserRow { id, user_key, first_seen: micros, last_seen: micros });
            }
        }
    }

    /// Ends the run: writes the ends of what is open, and the sender's row if it changed.
    pub fn finish(mut self) -> Finished {
        self.flush();
        self.flush_session_facts(true);
        let mut rows = dialogs::Rows { out: self.out, unwritten: &mut self.progress.dialogs };
        self.timeline.cursor.dialogs.write(&mut rows);
        rows::last_slot_states(self.out, self.progress.slot_states);
        let timeline = &mut *self.timeline;
        let changed = timeline.totals != self.progress.before || !timeline.stored;
        if changed && let Some((first_seen, last_seen)) = timeline.totals.seen {
            let texts = &mut self.out.texts;
            let row = SenderRow {
                id: timeline.sender,
                sender_key: texts.add(&timeline.sender_key),
                channel: timeline.totals.channel.as_ref().map(|(_, channel)| texts.add(channel)),
                first_seen,
                last_seen,
                user_id: timeline.totals.user.map(|(_, id)| id),
                assistant: timeline.assistant().map(|assistant| texts.add(assistant)),
            };
            let rows = &mut self.out.senders;
            if timeline.stored {
                rows.updates.push(row);
            } else {
                rows.inserts.push(row);
            }
            timeline.stored = true;
        }
        self.progress.finished
    }
}

/// Returns whether a session that holds `event` has begun.
fn begins_session(event: &Event<'_>) -> bool {
    let gap = matches!(event.session, SessionRule::Gap { .. } | SessionRule::Conversation { .. });
    gap || matches!(event.body, Body::User(_) | Body::SessionStarted) || placement::is_session_start(event)
}

/// Returns what the session rules need to know of `event` when the next event comes.
fn previous_kind(event: &Event<'_>, id: EventId) -> PreviousKind {
    match &event.body {
        Body::SessionEnded => PreviousKind::SessionEnded(id),
        Body::Action { .. } if placement::is_session_start(event) => PreviousKind::SessionStartAction,
        Body::Slot { .. } if placement::is_metadata_slot(event) => PreviousKind::MetadataSlot,
        _ => PreviousKind::Other,
    }
}
