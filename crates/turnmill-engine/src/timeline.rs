//! One sender's state: what the engine must remember to go on with its next event.

use serde::{Deserialize, Serialize};
use turnmill_model::{Event, EventTime, SenderId, SessionId};
use uuid::Uuid;

use crate::patterns::Patterns;
use crate::state::{Cursor, Order, PreviousKind, StateComparison, Totals};
use crate::visits::Visits;

/// Version of the serialised form and of the rules; part of what a store remembers.
pub const VERSION: u32 = 2;

/// One sender's state: small, serialisable, versioned.
///
/// It holds where the sender's newest event stands (session, turn, stack frame, dialogue stack, sequence number) and the
/// facts of the sender's own row. It never holds events; a store keeps them as history.
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
    // These come first in every version, but for the last, which version 1 lacks: see `name_of`.
    pub(crate) sender: SenderId,
    pub(crate) sender_key: Box<str>,
    /// [`VERSION`]; in version 1 a flag stands here, which is 0 or 1.
    format: u8,
    /// Mostly none, so it is one pointer.
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
}

/// The name of an assistant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Assistant(Box<str>);

/// State of a sender before all of its events at or after a time, kept beside the history so that a late event costs a
/// replay from there and not of the sender's whole life.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The checkpoint stands before every event at or after this time.
    pub time: EventTime,
    /// The state, serialised.
    pub state: Vec<u8>,
}

/// The name of a sender: what its id is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderName {
    /// The sender's key, cleaned and cut.
    pub key: Box<str>,
    /// The assistant that the conversation is with, if it is named.
    pub assistant: Option<Box<str>>,
}

/// Serialised state that cannot be read back: written by another version, or damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timeline state cannot be read: {0}")]
pub struct UnreadableState(String);

/// How an event stands to the newest one of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recency {
    /// After all events so far.
    Newer,
    /// It is one of the newest events, delivered again.
    Known,
    /// Before the newest event: a duplicate or late.
    Older,
}

impl Timeline {
    /// The timeline of a sender without events. `key` is the sender's key, cleaned and cut as in
    /// [`Event::sender_key`]; `assistant` is [`Event::assistant`].
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
        }
    }

    /// The sender.
    #[must_use]
    pub fn sender(&self) -> SenderId {
        self.sender
    }

    /// The sender's key.
    #[must_use]
    pub fn sender_key(&self) -> &str {
        &self.sender_key
    }

    /// The assistant that the conversation is with, if it is named.
    #[must_use]
    pub fn assistant(&self) -> Option<&str> {
        self.assistant.as_deref().map(|assistant| &*assistant.0)
    }

    /// Time of the newest event.
    #[must_use]
    pub fn newest(&self) -> Option<EventTime> {
        self.cursor.newest
    }

    /// Returns how `event` stands to the newest event.
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

    /// Whether one of the newest events has the key of `event`: then that may be another copy of it.
    #[must_use]
    pub fn has_newest_key(&self, event: &Event<'_>) -> bool {
        let key = event.id.key();
        self.cursor.newest == Some(event.time) && self.cursor.newest_ids.iter().any(|id| id.key() == key)
    }

    /// Returns the time of the first event of the session that the newest event is in.
    #[must_use]
    pub fn session_start(&self) -> Option<EventTime> {
        self.cursor.session.as_ref().map(|session| session.start_time)
    }

    /// Whether rows of this sender that are already written may have to move when its next event comes: its session has
    /// not begun, or its newest event may belong to the session that begins next.
    pub(crate) fn may_move(&self) -> bool {
        let unbegun = self.cursor.session.as_ref().is_some_and(|session| !session.begun);
        unbegun || self.cursor.previous.kind == PreviousKind::MetadataSlot
    }

    /// If marker rows of this sender were made with patterns of an older revision and would now be others, the time of the
    /// first event that is concerned, or an earlier one: a [`Replay`](crate::Replay) from there on makes up for them.
    #[must_use]
    pub fn owes(&self, patterns: &Patterns) -> Option<EventTime> {
        let since = patterns.differ_from(self.rows_revision, patterns.revision())?;
        let newest = self.cursor.newest?;
        if newest.micros() < since {
            return None;
        }
        Some(EventTime::not_after(since))
    }

    /// Notes that another sender owns the session id `key`: this sender's session gets an id of its own. Says whether that
    /// is new.
    pub fn mark_foreign(&mut self, key: Uuid) -> bool {
        let new = !self.foreign.contains(&key);
        if new {
            self.foreign = self.foreign.iter().copied().chain([key]).collect();
        }
        new
    }

    /// Id of this sender's session that its events call `key`.
    pub(crate) fn session_id(&self, key: Uuid) -> SessionId {
        if self.foreign.contains(&key) { SessionId::of_sender(self.sender, key) } else { SessionId(key) }
    }

    /// The state as bytes, for a store to keep.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Serialising plain data into memory cannot fail; an empty state would be refused on reading.
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

    /// The sender's name in a serialised timeline of any [`VERSION`]. Version 1 did not keep assistants.
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

    /// About how many bytes of memory the timeline takes, for a cache's budget.
    #[must_use]
    pub fn memory(&self) -> usize {
        let visits = self.visits.as_ref().map_or(0, |visits| visits.memory());
        size_of::<Self>() + self.sender_key.len() + self.cursor.stack.memory() + visits
    }

    pub(crate) fn checkpoint(&self, time: EventTime) -> Checkpoint {
        Checkpoint { time, state: postcard::to_stdvec(&self.cursor).unwrap_or_default() }
    }

    /// This sender as it was at `checkpoint` (or before its first event): the cursor goes back, facts that do not depend on
    /// order stay.
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

    /// Forgets the facts of the sender's row, to gather them anew in a replay from the first event on.
    pub(crate) fn forget_totals(&mut self) {
        self.totals = Totals::default();
    }

    /// Whether a replay that has reached `checkpoint` in the state `self` may stop there, because everything after it stays
    /// as it is in `whole`, the sender's present state.
    pub(crate) fn settled(&self, checkpoint: &Checkpoint, whole: &Self, patterns: &Patterns) -> bool {
        let Ok(stored) = postcard::from_bytes::<Cursor>(&checkpoint.state) else { return false };
        let (time, same) = (checkpoint.time, StateComparison { patterns, time: checkpoint.time.micros() });
        same.cursors(&stored, &self.cursor)
            && match (&self.visits, &whole.visits) {
                (None, None) => true,
                (ours, theirs) => Visits::agree_after(ours.as_deref(), theirs.as_deref(), time, &same),
            }
    }

    /// The sender's present state after a replay that stopped at a settled `checkpoint`: what is after it is taken from
    /// `whole`.
    pub(crate) fn rejoin(mut self, checkpoint: &Checkpoint, whole: &Self) -> Self {
        self.visits = Visits::join(self.visits, whole.visits.as_deref(), checkpoint.time);
        self.cursor = whole.cursor.clone();
        self.since_checkpoint = whole.since_checkpoint;
        self
    }
}
