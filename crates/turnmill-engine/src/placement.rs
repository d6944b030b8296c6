//! Applies the session rule: decides to which session an event belongs.
//!
//! The rule looks at the event, the event before it, and the current session. It never looks at
//! later events. Where a later event decides otherwise, rows move: see [`Placement::Adopt`] and
//! [`Placement::BeginWithPrevious`].
//!
//! ```text
//! u1: start, hi, start, hello         -> Begin at the second `start`
//! u1: start, hi, meta, start          -> BeginWithPrevious at the second `start`
//! u1: slot, start, hi                 -> Stay at `start`: `slot` leads up to it
//! u1: slot (id A), start (id B)       -> Adopt B at `start`: the session has not begun
//! u1: hi (id A), hi (id B), hi (id A) -> Return to A at the third `hi`
//! ```

use turnmill_model::{Body, Event, SessionRule};
use uuid::Uuid;

use crate::state::{Conversation, PreviousKind, Session};
use crate::timeline::Timeline;

/// Session into which the rule puts an event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Placement {
    /// Into the current session.
    Stay {
        /// Whether its session id put it there.
        by_id: bool,
    },
    /// Into the current session, which takes this id from now on.
    Adopt(Uuid),
    /// Into a session that was left earlier, in the state in which it was left.
    Return(Box<Session>),
    /// Into a new session that starts with it.
    Begin {
        /// The id that its events give the session, if it is kept by id.
        key: Option<Uuid>,
    },
    /// Into a new session that starts with the event before it (the metadata slot of a session
    /// start).
    BeginWithPrevious,
}

/// The slot that Rasa sets just before a session starts.
pub(crate) const METADATA_SLOT: &str = "session_started_metadata";

/// Returns whether the event is Rasa's action of a session start.
pub(crate) fn is_session_start(event: &Event<'_>) -> bool {
    matches!(&event.body, Body::Action { name: Some(name), .. } if name == "action_session_start")
}

/// Returns whether the event is the action with which the assistant waits for the user.
pub(crate) fn is_listen(event: &Event<'_>) -> bool {
    matches!(&event.body, Body::Action { name: Some(name), .. } if name == "action_listen")
}

/// Returns whether the event sets the slot [`METADATA_SLOT`].
pub(crate) fn is_metadata_slot(event: &Event<'_>) -> bool {
    matches!(&event.body, Body::Slot { name: Some(name), .. } if name == METADATA_SLOT)
}

/// Applies the session rule to `event`, the next one of `timeline`. Changes nothing in the timeline
/// but the note that a session id was asked for.
pub(crate) fn of(timeline: &mut Timeline, event: &Event<'_>) -> Placement {
    match event.session {
        SessionRule::Rasa { session_id } => {
            if let Some(key) = session_id
                && let Some(placement) = place_by_id(timeline, event, key)
            {
                return placement;
            }
            place_by_boundary(timeline, event)
        }
        SessionRule::Key(key) => match &timeline.cursor.session {
            Some(session) if session.key == Some(key) => Placement::Stay { by_id: true },
            _ => enter(timeline, event, key),
        },
        SessionRule::Conversation { conversation, key, gap } => {
            let before = timeline
                .cursor
                .conversations
                .iter()
                .flat_map(|all| &all.0)
                .find(|known| known.id == conversation);
            let near = |known: &&Conversation| event.time.seconds() - known.newest.seconds() <= gap;
            let of_before = before.filter(near).map(|known| known.session);
            // Without both, the session is named after the event.
            let key = key.or(of_before).unwrap_or(event.id.session().0);
            match &timeline.cursor.session {
                Some(session) if session.key == Some(key) => Placement::Stay { by_id: true },
                _ => enter(timeline, event, key),
            }
        }
        SessionRule::Gap { seconds } => match (&timeline.cursor.session, timeline.cursor.newest) {
            (Some(_), Some(newest)) if event.time.seconds() - newest.seconds() <= seconds => {
                Placement::Stay { by_id: false }
            }
            _ => Placement::Begin { key: None },
        },
    }
}

/// Applies rule 1: the session id of the event's metadata decides, unless it does not count.
fn place_by_id(timeline: &mut Timeline, event: &Event<'_>, key: Uuid) -> Option<Placement> {
    let previous = timeline.cursor.previous;
    let Some(session) = &timeline.cursor.session else {
        return Some(enter(timeline, event, key));
    };
    // A web client may have put an id of its own into a message's metadata.
    if matches!(event.body, Body::User(_)) && !previous.by_id {
        return None;
    }
    if session.key == Some(key) {
        return Some(Placement::Stay { by_id: true });
    }
    let (starting, begun, current) = (session.starting, session.begun, session.key);
    let known = timeline.visits.get_or_insert_default().ask(key, event.time);
    if let Some((present, _)) = known
        && current == Some(present)
    {
        return Some(Placement::Stay { by_id: true });
    }
    let metadata_slot = is_metadata_slot(event);
    // A slot that was carried over from an earlier session keeps that session's metadata.
    //   hi (id A) | start (id B), slot (id A), listen (id B)     -> `slot` stays in B
    if matches!(event.body, Body::Slot { .. }) && starting && (!metadata_slot || known.is_some()) {
        return Some(Placement::Stay { by_id: false });
    }
    // Rasa gives events before the first session start one id and the start itself another.
    let may_adopt = known.is_none() && !begun && !matches!(previous.kind, PreviousKind::SessionEnded(_));
    if may_adopt && (metadata_slot || is_session_start(event)) {
        return Some(Placement::Adopt(key));
    }
    Some(match known {
        Some((_, Some(session))) => Placement::Return(Box::new(session)),
        _ => Placement::Begin { key: Some(key) },
    })
}

/// Returns the placement into the session called `key`, which is not the current one: it is new, or
/// it was left.
fn enter(timeline: &mut Timeline, event: &Event<'_>, key: Uuid) -> Placement {
    match timeline.visits.get_or_insert_default().ask(key, event.time) {
        Some((_, Some(session))) => Placement::Return(Box::new(session)),
        _ => Placement::Begin { key: Some(key) },
    }
}

/// Applies rules 2 to 6: Rasa's boundary events decide.
fn place_by_boundary(timeline: &Timeline, event: &Event<'_>) -> Placement {
    let begin = Placement::Begin { key: None };
    let previous = timeline.cursor.previous;
    let Some(session) = &timeline.cursor.session else { return begin };
    if matches!(previous.kind, PreviousKind::SessionEnded(_)) {
        return begin;
    }
    if is_session_start(event) {
        return match previous {
            // A `session_started` alone does not close a session to its `action_session_start`: old
            // producers write it first, and on a coarse clock or an unkeyed topic the two may come
            // in either order.
            //   session_started | action_session_start, session_started, user
            _ if !session.opened => Placement::Stay { by_id: false },
            previous if previous.kind == PreviousKind::MetadataSlot && !previous.by_id => {
                Placement::BeginWithPrevious
            }
            _ => begin,
        };
    }
    let started_alone = event.body == Body::SessionStarted
        && previous.kind != PreviousKind::SessionStartAction
        && session.has_user;
    if started_alone { begin } else { Placement::Stay { by_id: false } }
}
