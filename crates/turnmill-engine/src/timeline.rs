//! Holds one sender's state: what the engine needs to apply the sender's next event.

use serde::{Deserialize, Serialize};
use turnmill_model::{Event, EventTime, SenderId, SessionId};
use uuid::Uuid;

use crate::patterns::Patterns;
use crate::state::{Cursor, Order, PreviousKind, Session, StateComparison, Totals};
use crate::visits::Visits;

/// Version of the serialised form and of the rules. A store remembers it.
pub const VERSION: u32 = 4;

/// Holds one sender's state: small, serialisable, versioned.
///
/// It consists of the context of the newest event (session, turn, stack frame, dialogue stack,
/// sequence number) and the facts of the sender's own row. It never holds events: a store keeps
/// them as history.
///
/// ```
/// use turnmill_engine::Timeline;
/// use turnmill_model::SenderId;
/// let timeline = Timeline::new(SenderId::new(Some("bakery"), "u1"), "u1", Some("bakery"));
/// let bytes = timeline.to_bytes();
/// assert_eq!(&*Timeline::name_of(&bytes).unwrap().key, "u1");
/// assert_eq!(Timeline::from_bytes(&bytes).unwrap(), timeline);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    // The first three fields and, from version 2 on, `assistant` come first in every version:
    // `name_of` reads them.
    pub(crate) sender: SenderId,
    pub(crate) sender_key: Box<str>,
    /// [`VERSION`]. Version 1 has a flag here, which is 0 or 1.
    format: u8,
    /// Most senders have none, so it is one pointer.
    pub(crate) assistant: Option<Box<Assistant>>,
    /// Whether the sender's row is in the store.
    pub(crate) stored: bool,
    pub(crate) totals: Totals,
    pub(crate) cursor: Cursor,
    /// Only for senders with sessions that are kept by id.
    pub(crate) visits: Option<Box<Visits>>,
    /// Session ids that this sender uses but another one owns.
    pub(crate) foreign: Box<[Uuid]>,
    /// Events since the last checkpoint.
    pub(crate) since_checkpoint: u16,
    /// Revision of the patterns with which the marker rows were made.
    pub(crate) rows_revision: u64,
    /// Rows of `rasa_event` beyond one an event.
    extra_rows: i64,
}

/// The name of an assistant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Assistant(Box<str>);

/// Holds the state of a sender before all of its events at or after a time.
///
/// A store keeps it with the history. A late event then costs a replay from there and not of the
/// sender's whole life.
///
/// ```text
/// history:     start 1   hi 2   hello 3   bye 4   ciao 5
/// checkpoint:                 | at 3: the state after `hi`
/// late event:                                  slot 4.5   -> replay of hello, bye, slot, ciao
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The state is that before every event at or after this time.
    pub time: EventTime,
    /// The state, serialised.
    pub state: Vec<u8>,
}

/// Names a sender. Its id is derived from these two parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderName {
    /// The sender's key, cleaned and cut.
    pub key: Box<str>,
    /// The assistant that the conversation is with, if it is named.
    pub assistant: Option<Box<str>>,
}

/// Error of serialised state that cannot be read: another version wrote it, or it is damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timeline state cannot be read: {0}")]
pub struct UnreadableState(String);

/// Compares an event with the newest one of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recency {
    /// The event is after all events so far.
    Newer,
    /// The event is one of the newest events, delivered again.
    Known,
    /// The event is before the newest event: a duplicate, or late.
    Older,
}

impl Timeline {
    /// Makes the timeline of a sender without events. `key` is the sender's key, cleaned and cut as
    /// in [`Event::sender_key`]; `assistant` is [`Event::assistant`].
    #[must_use]
    pub fn new(sender: SenderId, key: &str, assistant: Option<&str>) -> Self {
        Self {
            sender,
            sender_key: key.into(),
            format: VERSION as u8,
            assistant: assistant.map(|name| Box::new(Assistant(name.into()))),
            stored: false,
            totals: Totals::default(),
            cursor: Cursor::default(),
            visits: None,
            foreign: Box::default(),
            since_checkpoint: 0,
            rows_revision: 0,
            extra_rows: 0,
        }
    }

    /// Returns the sender's id.
    #[must_use]
    pub fn sender(&self) -> SenderId {
        self.sender
    }

    /// Returns the sender's key.
    #[must_use]
    pub fn sender_key(&self) -> &str {
        &self.sender_key
    }

    /// Returns the assistant that the conversation is with, if it is named.
    #[must_use]
    pub fn assistant(&self) -> Option<&str> {
        self.assistant.as_deref().map(|assistant| &*assistant.0)
    }

    /// Returns the time of the newest event.
    #[must_use]
    pub fn newest(&self) -> Option<EventTime> {
        self.cursor.newest
    }

    /// Compares `event` with the newest event.
    ///
    /// Events are ordered by time, then by tie key, then by arrival. So an event of the newest time
    /// with no lesser tie key is newer, unless it is one of those events itself.
    #[must_use]
    pub fn recency(&self, event: &Event<'_>) -> Recency {
        match self.cursor.newest {
            None => Recency::Newer,
            Some(newest) if event.time > newest => Recency::Newer,
            Some(newest) if event.time == newest && self.cursor.newest_ids.contains(&event.id) => {
                Recency::Known
            }
            Some(newest) if Order::of(event) < (Order { time: newest, tie: self.cursor.newest_tie }) => {
                Recency::Older
            }
            Some(_) => Recency::Newer,
        }
    }

    /// Returns whether one of the newest events has the key of `event`, and so may be another copy
    /// of it.
    #[must_use]
    pub fn has_newest_key(&self, event: &Event<'_>) -> bool {
        let key = event.id.key();
        self.cursor.newest == Some(event.time) && self.cursor.newest_ids.iter().any(|id| id.key() == key)
    }

    /// Returns whether the sender has exchanges, of which the engine makes more rows than there are
    /// events.
    #[must_use]
    pub fn has_exchanges(&self) -> bool {
        self.cursor.conversations.is_some()
    }

    /// Returns how many more rows of `rasa_event` than events the sender has, as far as the caller
    /// has [noted](Self::note_extra_rows) them.
    #[must_use]
    pub fn extra_rows(&self) -> i64 {
        self.extra_rows
    }

    /// Notes that the sender has `more` rows of `rasa_event` beyond one an event.
    pub fn note_extra_rows(&mut self, more: i64) {
        self.extra_rows += more;
    }

    /// Returns the time of the first event of the session that the newest event is in.
    #[must_use]
    pub fn session_start(&self) -> Option<EventTime> {
        self.cursor.session.as_ref().map(|session| session.start_time)
    }

    /// Returns whether rows that are already written may have to move when the next event comes.
    ///
    /// They may if the session has not begun, or if the newest event may belong to the session that
    /// begins next.
    pub(crate) fn may_move(&self) -> bool {
        let unbegun = self.cursor.session.as_ref().is_some_and(|session| !session.begun);
        unbegun || self.cursor.previous.kind == PreviousKind::MetadataSlot
    }

    /// Returns the time from which a [`Replay`](crate::Replay) brings this sender's marker rows up
    /// to date with `patterns`, or `None` if they are.
    ///
    /// They are out of date if they were made with an older revision that gives other rows. The
    /// time is that of the first event concerned, or an earlier one.
    #[must_use]
    pub fn markers_missing_since(&self, patterns: &Patterns) -> Option<EventTime> {
        let since = patterns.differ_from(self.rows_revision, patterns.revision())?;
        let newest = self.cursor.newest?;
        if newest.micros() < since {
            return None;
        }
        Some(EventTime::not_after(since))
    }

    /// Notes that another sender owns the session id `key`, so that this sender's session gets an
    /// id of its own. Returns whether that was not known before.
    pub fn mark_foreign(&mut self, key: Uuid) -> bool {
        let new = !self.foreign.contains(&key);
        if new {
            self.foreign = self.foreign.iter().copied().chain([key]).collect();
        }
        new
    }

    /// Returns the id of this sender's session that its events call `key`.
    pub(crate) fn session_id(&self, key: Uuid) -> SessionId {
        if self.foreign.contains(&key) { SessionId::of_sender(self.sender, key) } else { SessionId(key) }
    }

    /// Serialises the state, for a store to keep.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Serialising plain data into memory cannot fail; an empty state would be refused on
        // reading.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// [`UnreadableState`] if the bytes are damaged or of another [`VERSION`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, UnreadableState> {
        let unreadable = |error: postcard::Error| UnreadableState(error.to_string());
        let ((_, _, format), _): ((SenderId, Box<str>, u8), _) =
            postcard::take_from_bytes(bytes).map_err(unreadable)?;
        if u32::from(format) != VERSION {
            return Err(UnreadableState(format!("it is of another version than {VERSION}")));
        }
        postcard::from_bytes(bytes).map_err(unreadable)
    }

    /// Reads the sender's name from a serialised timeline of any [`VERSION`]. Version 1 did not
    /// keep assistants.
    ///
    /// # Errors
    ///
    /// [`UnreadableState`] if the bytes are damaged.
    pub fn name_of(bytes: &[u8]) -> Result<SenderName, UnreadableState> {
        let unreadable = |error: postcard::Error| UnreadableState(error.to_string());
        let ((_, key, format), rest): ((SenderId, Box<str>, u8), _) =
            postcard::take_from_bytes(bytes).map_err(unreadable)?;
        let assistant = if format < 2 {
            None
        } else {
            postcard::take_from_bytes(rest).map(|(assistant, _)| assistant).map_err(unreadable)?
        };
        Ok(SenderName { key, assistant })
    }

    /// Returns about how many bytes of memory the timeline takes, for a cache's budget.
    #[must_use]
    pub fn memory(&self) -> usize {
        let visits = self.visits.as_ref().map_or(0, |visits| visits.memory());
        let Cursor { session, stack, loops, dialogs, .. } = &self.cursor;
        let session = session.as_ref().map_or(0, Session::memory);
        let flows = stack.memory() + loops.memory() + dialogs.memory();
        size_of::<Self>() + self.sender_key.len() + flows + session + visits
    }

    pub(crate) fn checkpoint(&self, time: EventTime) -> Checkpoint {
        Checkpoint { time, state: postcard::to_stdvec(&self.cursor).unwrap_or_default() }
    }

    /// Returns this sender as it was at `checkpoint`, or before its first event. The cursor goes
    /// back; facts that do not depend on the order of events stay.
    ///
    /// # Errors
    ///
    /// [`UnreadableState`] if the checkpoint cannot be read.
    pub(crate) fn resume(&self, checkpoint: Option<&Checkpoint>) -> Result<Self, UnreadableState> {
        let mut back = Self { cursor: Cursor::default(), since_checkpoint: 0, visits: None, ..self.clone() };
        let Some(checkpoint) = checkpoint else { return Ok(back) };
        back.cursor =
            postcard::from_bytes(&checkpoint.state).map_err(|error| UnreadableState(error.to_string()))?;
        back.visits = self.visits.as_ref().map(|visits| Box::new(visits.before(checkpoint.time)));
        Ok(back)
    }

    /// Forgets the facts of the sender's row, so that a replay from the first event on gathers them
    /// again.
    pub(crate) fn forget_totals(&mut self) {
        self.totals = Totals::default();
    }

    /// Returns whether a replay that has reached `checkpoint` in the state `self` may stop there.
    ///
    /// It may if everything after the checkpoint stays as it is in `whole`, the sender's present
    /// state.
    pub(crate) fn settled(&self, checkpoint: &Checkpoint, whole: &Self, patterns: &Patterns) -> bool {
        let Ok(stored) = postcard::from_bytes::<Cursor>(&checkpoint.state) else { return false };
        let (time, same) = (checkpoint.time, StateComparison { patterns, time: checkpoint.time.micros() });
        same.cursors(&stored, &self.cursor)
            && match (&self.visits, &whole.visits) {
                (None, None) => true,
                (ours, theirs) => Visits::agree_after(ours.as_deref(), theirs.as_deref(), time, &same),
            }
    }

    /// Returns the sender's state after a replay that stopped at a settled `checkpoint`. What is
    /// after the checkpoint comes from `whole`.
    pub(crate) fn rejoin(mut self, checkpoint: &Checkpoint, whole: &Self) -> Self {
        self.visits = Visits::join(self.visits, whole.visits.as_deref(), checkpoint.time);
        self.cursor = whole.cursor.clone();
        self.since_checkpoint = whole.since_checkpoint;
        self
    }
}
