//! The parts of a sender's state.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use turnmill_model::{EventId, EventTime, Micros, SessionId, UserId};
use uuid::Uuid;

use crate::stack::Stack;

/// Facts of the sender that do not depend on the order in which its events are looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// Least and greatest event time.
    pub(crate) seen: Option<(Micros, Micros)>,
    /// The earliest channel.
    pub(crate) channel: Option<(EventTime, Box<str>)>,
    /// The latest user.
    pub(crate) user: Option<(EventTime, UserId)>,
}

/// Where the sender's newest event stands. Everything after depends on this and nothing else, so equal cursors at the
/// same point of the history mean equal rows from there on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    pub(crate) newest: Option<EventTime>,
    /// The events at the newest time, to know one that is delivered again.
    pub(crate) newest_ids: SmallVec<[EventId; 1]>,
    pub(crate) last_sequence_number: i64,
    pub(crate) previous: Previous,
    pub(crate) session: Option<Session>,
    pub(crate) stack: Stack,
}

/// What the session rules ask about the event before.
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
    /// The id that the events give it, if it is kept by id.
    pub(crate) key: Option<Uuid>,
    pub(crate) start_time: EventTime,
    pub(crate) end: i64,
    /// Whether it contains an `action_session_start`, a `session_started` or a `user` event.
    pub(crate) begun: bool,
    pub(crate) has_user: bool,
    /// Between a session start and the next `action_listen` or `user` event, where carried-over slots stand.
    pub(crate) starting: bool,
    pub(crate) turn: Option<Open>,
    pub(crate) frame: Option<Open>,
}

/// An open turn or stack frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Open {
    pub(crate) id: Uuid,
    pub(crate) end: i64,
}
