//! Names the rule by which a session began, from the events around its boundary.
//!
//! The session rule looks at the event, the one before it and the current session; stored rows have
//! the same events. So the rule can be named afterwards, without the timeline.

use crate::placement::METADATA_SLOT;

/// What the session rule sees of an event beside a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeEvent {
    /// The action `action_session_start`.
    StartAction,
    /// The slot `session_started_metadata`.
    MetadataSlot,
    /// A `session_started`.
    SessionStarted,
    /// A `session_ended`.
    SessionEnded,
    /// Any other event.
    Other,
}

impl EdgeEvent {
    /// Returns what the rule sees of an event of this type. `name` is that of an action or slot.
    #[must_use]
    pub fn new(event_type: &str, name: Option<&str>) -> Self {
        match (event_type, name) {
            ("action", Some("action_session_start")) => Self::StartAction,
            ("slot", Some(METADATA_SLOT)) => Self::MetadataSlot,
            ("session_started", _) => Self::SessionStarted,
            ("session_ended", _) => Self::SessionEnded,
            _ => Self::Other,
        }
    }
}

/// The rule by which a session began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Beginning {
    /// The sender has no event before it.
    FirstEvent,
    /// The assistant started a session: `action_session_start`, perhaps after the slot with the
    /// metadata of the message.
    StartAction,
    /// A `session_started` without the action, after a message.
    SessionStarted,
    /// A `session_ended` came before it.
    AfterEnd,
    /// None of these: its events name another session, or come after a gap.
    Named,
}

impl Beginning {
    /// Returns the rule for a session with these first events, after the event `before` of its
    /// sender.
    ///
    /// ```
    /// use turnmill_engine::{Beginning, EdgeEvent};
    /// // hi | start, session_started, hello
    /// let (before, first) = (EdgeEvent::Other, EdgeEvent::StartAction);
    /// let second = Some(EdgeEvent::SessionStarted);
    /// assert_eq!(Beginning::of(Some(before), first, second), Beginning::StartAction);
    /// ```
    #[must_use]
    pub fn of(before: Option<EdgeEvent>, first: EdgeEvent, second: Option<EdgeEvent>) -> Self {
        match (before, first, second) {
            (None, ..) => Self::FirstEvent,
            (Some(EdgeEvent::SessionEnded), ..) => Self::AfterEnd,
            (_, EdgeEvent::StartAction, _) | (_, EdgeEvent::MetadataSlot, Some(EdgeEvent::StartAction)) => {
                Self::StartAction
            }
            // After the action it would belong to the session that the action began.
            (Some(before), EdgeEvent::SessionStarted, _) if before != EdgeEvent::StartAction => {
                Self::SessionStarted
            }
            _ => Self::Named,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::EdgeEvent::{MetadataSlot, Other, SessionEnded, SessionStarted, StartAction};
    use super::*;

    #[test]
    fn each_rule_is_told_by_its_events() {
        for (before, first, second, rule) in [
            (None, Other, None, Beginning::FirstEvent),
            (None, StartAction, Some(SessionStarted), Beginning::FirstEvent),
            (Some(Other), StartAction, Some(SessionStarted), Beginning::StartAction),
            (Some(Other), MetadataSlot, Some(StartAction), Beginning::StartAction),
            (Some(Other), MetadataSlot, Some(Other), Beginning::Named),
            (Some(Other), SessionStarted, None, Beginning::SessionStarted),
            (Some(StartAction), SessionStarted, None, Beginning::Named),
            (Some(SessionEnded), StartAction, None, Beginning::AfterEnd),
            (Some(Other), Other, None, Beginning::Named),
        ] {
            assert_eq!(Beginning::of(before, first, second), rule, "{before:?} | {first:?}, {second:?}");
        }
    }

    #[test]
    fn types_and_names_are_those_of_rasa() {
        assert_eq!(EdgeEvent::new("action", Some("action_session_start")), StartAction);
        assert_eq!(EdgeEvent::new("action", Some("action_listen")), Other);
        assert_eq!(EdgeEvent::new("slot", Some("session_started_metadata")), MetadataSlot);
        assert_eq!(EdgeEvent::new("slot", None), Other);
        assert_eq!(EdgeEvent::new("user", None), Other);
    }
}
