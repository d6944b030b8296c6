//! Defines the parts of a sender's state.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use turnmill_model::{Event, EventId, EventTime, Micros, SessionId, UserId};
use uuid::Uuid;

use crate::dialogs::Dialogs;
use crate::exchange::ExchangeState;
use crate::facts::{Loops, SessionFacts, TurnFacts};
use crate::patterns::{Markers, Patterns};
use crate::stack::Stack;

/// Holds [`Event::tie`] in half the space. `None` is a number below the ties of all formats.
///
/// The number is in two parts, the upper and the lower 64 bits, because one of 128 bits would be
/// aligned to as many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Tie(i64, u64);

impl Tie {
    fn new(number: i128) -> Self {
        Self((number >> 64) as i64, number as u64)
    }
}

impl Default for Tie {
    fn default() -> Self {
        Self::new(i128::from(i64::MIN))
    }
}

/// Holds [`Event::order`] in less space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) time: EventTime,
    pub(crate) tie: Tie,
}

impl Order {
    pub(crate) fn of(event: &Event<'_>) -> Self {
        Self { time: event.time, tie: event.tie.map_or_else(Tie::default, Tie::new) }
    }
}

/// Facts of the sender that do not depend on the order in which its events are applied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// Least and greatest event time.
    pub(crate) seen: Option<(Micros, Micros)>,
    /// The earliest channel, with the order of its event.
    pub(crate) channel: Option<(Order, Box<str>)>,
    /// The latest user, with the order of its event.
    pub(crate) user: Option<(Order, UserId)>,
}

/// Context of the sender's newest event.
///
/// All later rows depend on this, on [`Visits`](crate::visits::Visits) and on nothing else. So
/// equal cursors at the same point of the history mean equal rows from there on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    pub(crate) newest: Option<EventTime>,
    /// Tie key of the newest event.
    pub(crate) newest_tie: Tie,
    /// The events at the newest time. One of them that is delivered again is recognised.
    pub(crate) newest_ids: SmallVec<[EventId; 1]>,
    pub(crate) last_sequence_number: i64,
    pub(crate) previous: Previous,
    pub(crate) session: Option<Session>,
    pub(crate) stack: Stack,
    /// The active form and the open flows, for the rows of facts.
    pub(crate) loops: Loops,
    /// The open runs of flows, skills and agents.
    pub(crate) dialogs: Dialogs,
    /// The newest event of each of the sender's conversations, if it has such.
    pub(crate) conversations: Option<Box<Conversations>>,
}

/// The newest event of each conversation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Conversations(pub(crate) Vec<Conversation>);

/// The newest event of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Conversation {
    pub(crate) id: Uuid,
    pub(crate) newest: EventTime,
    /// Key of the session that it is in.
    pub(crate) session: Uuid,
}

/// What the session rules need to know of the event before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Previous {
    pub(crate) kind: PreviousKind,
    /// Whether it was placed by its session id.
    pub(crate) by_id: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) enum PreviousKind {
    #[default]
    Other,
    /// `action` named `action_session_start`.
    SessionStartAction,
    /// `slot` named `session_started_metadata`.
    MetadataSlot,
    /// `session_ended`.
    SessionEnded(EventId),
}

/// The session of the newest event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// The id that its events give it, if it is kept by id.
    pub(crate) key: Option<Uuid>,
    pub(crate) start_time: EventTime,
    pub(crate) end: i64,
    /// Whether it contains an `action_session_start`, a `session_started` or a `user` event.
    pub(crate) begun: bool,
    /// Whether it contains an `action_session_start` or a `user` event. If so, the next
    /// `action_session_start` belongs to another session.
    pub(crate) opened: bool,
    pub(crate) has_user: bool,
    /// Whether the newest event is between a session start and the next `action_listen` or `user`
    /// event. Carried-over slots come there.
    pub(crate) starting: bool,
    pub(crate) turn: Option<OpenTurn>,
    pub(crate) frame: Option<Open>,
    pub(crate) facts: SessionFacts,
    /// The state of the patterns of markers, if there are any.
    pub(crate) markers: Option<Box<Markers>>,
    /// What its exchanges told, if it has such.
    pub(crate) exchange: Option<Box<ExchangeState>>,
}

/// An open turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenTurn {
    pub(crate) id: Uuid,
    pub(crate) end: i64,
    pub(crate) facts: Box<TurnFacts>,
}

/// An open stack frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Open {
    pub(crate) id: Uuid,
    pub(crate) end: i64,
}

/// Compares states at a point of the history: equal ones give equal rows afterwards.
pub(crate) struct StateComparison<'p> {
    pub(crate) patterns: &'p Patterns,
    /// The point, in microseconds.
    pub(crate) time: i64,
}

impl Session {
    /// Returns about how many bytes of memory its texts take.
    pub(crate) fn memory(&self) -> usize {
        let exchange = self.exchange.as_ref().map_or(0, |exchange| exchange.memory());
        exchange + self.facts.memory() + self.turn.as_ref().map_or(0, |turn| turn.facts.memory())
    }
}

impl StateComparison<'_> {
    pub(crate) fn cursors(&self, one: &Cursor, other: &Cursor) -> bool {
        let Cursor {
            newest,
            newest_tie,
            newest_ids,
            last_sequence_number,
            previous,
            session,
            stack,
            loops,
            dialogs,
            conversations,
        } = one;
        *newest == other.newest
            && *newest_tie == other.newest_tie
            && *newest_ids == other.newest_ids
            && *last_sequence_number == other.last_sequence_number
            && *previous == other.previous
            && *stack == other.stack
            && *loops == other.loops
            && *dialogs == other.dialogs
            && *conversations == other.conversations
            && match (session, &other.session) {
                (Some(session), Some(other)) => self.sessions(session, other),
                (session, other) => session == other,
            }
    }

    pub(crate) fn sessions(&self, one: &Session, other: &Session) -> bool {
        let Session {
            id,
            key,
            start_time,
            end,
            begun,
            opened,
            has_user,
            starting,
            turn,
            frame,
            facts,
            markers,
            exchange,
        } = one;
        *id == other.id
            && *key == other.key
            && *start_time == other.start_time
            && *end == other.end
            && *begun == other.begun
            && *opened == other.opened
            && *has_user == other.has_user
            && *starting == other.starting
            && *turn == other.turn
            && *frame == other.frame
            && *facts == other.facts
            && *exchange == other.exchange
            && self.patterns.agree(markers.as_deref(), other.markers.as_deref(), self.time)
    }
}
