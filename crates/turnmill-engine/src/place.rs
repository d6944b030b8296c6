//! The session rule: to which session an event belongs.

use turnmill_model::{Body, Event, SessionRule};
use uuid::Uuid;

use crate::state::{PreviousKind, Session};
use crate::timeline::Timeline;

/// Where the rule puts an event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Placement {
    /// Into the current session.
    Stay {
        /// Whether its session id put it there.
        by_id: bool,
    },
    /// Into the current session, which takes this id from now on.
    Adopt(Uuid),
    /// Into a session left earlier, in the state it was left in.
    Return(Box<Session>),
    /// Into a new session that starts with it.
    Begin {
        /// The id its events give the session, if it is kept by id.
        key: Option<Uuid>,
    },
    /// Into a new session that starts with the event before it (the metadata slot of a session start).
    BeginWithPrevious,
}

/// The slot that Rasa sets just before a session starts.
pub(crate) const METADATA_SLOT: &str = "session_started_metadata";

pub(crate) fn is_session_start(event: &Event<'_>) -> bool {
    matches!(&event.body, Body::Action { name: Some(name), .. } if name == "action_session_start")
}

pub(crate) fn is_listen(event: &Event<'_>) -> bool {
    matches!(&event.body, Body::Action { name: Some(name), .. } if name == "action_listen")
}

pub(crate) fn is_metadata_slot(event: &Event<'_>) -> bool {
    matches!(&event.body, Body::Slot { name: Some(name), .. } if name == METADATA_SLOT)
}

/// Applies the session rule to `event`, the next one of `timeline`. Only what is known of session ids may change in the
/// timeline: that one was asked for.
pub(crate) fn place(timeline: &mut Timeline, event: &Event<'_>) -> Placement {
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
        SessionRule::Gap { seconds } => match (&timeline.cursor.session, timeline.cursor.newest) {
            (Some(_), Some(newest)) if event.time.seconds() - newest.seconds() <= seconds => {
                Placement::Stay { by_id: false }
            }
            _ => Placement::Begin { key: None },
        },
    }
}

/// Rule 1: the session id of the event's metadata decides, unless it is one that does not count.
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
    // A slot carried over from an earlier session keeps that session's metadata.
    if matches!(event.body, Body::Slot { .. }) && starting && (!metadata_slot || known.is_some()) {
        return Some(Placement::Stay { by_id: false });
    }
    let may_adopt = known.is_none() && !begun && !matches!(previous.kind, PreviousKind::SessionEnded(_));
    if may_adopt && (metadata_slot || is_session_start(event)) {
        return Some(Placement::Adopt(key));
    }
    Some(match known {
        Some((_, Some(session))) => Placement::Return(Box::new(session)),
        _ => Placement::Begin { key: Some(key) },
    })
}

/// The session called `key`, which is not the current one: a new one, or one that was left.
fn enter(timeline: &mut Timeline, event: &Event<'_>, key: Uuid) -> Placement {
    match timeline.visits.get_or_insert_default().ask(key, event.time) {
        Some((_, Some(session))) => Placement::Return(Box::new(session)),
        _ => Placement::Begin { key: Some(key) },
    }
}

/// Rules 2 to 6: Rasa's boundary events decide.
fn place_by_boundary(timeline: &Timeline, event: &Event<'_>) -> Placement {
    let begin = Placement::Begin { key: None };
    let previous = timeline.cursor.previous;
    let Some(session) = &timeline.cursor.session else { return begin };
    if matches!(previous.kind, PreviousKind::SessionEnded(_)) {
        return begin;
    }
    if is_session_start(event) {
        return match previous {
            // A `session_started` alone does not close a session to its `action_session_start`: old producers write it
            // first, and on a coarse clock or an unkeyed topic the two may come in either order.
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
