//! The parts of an event that markers evaluate.

/// An event, reduced to what markers evaluate.
///
/// | type of the event | here |
/// | --- | --- |
/// | `action` with a name | [`Action`](MarkerEvent::Action) |
/// | `user` | [`User`](MarkerEvent::User), also without an intent: it counts as a turn |
/// | `slot` with a name | [`Slot`](MarkerEvent::Slot) |
/// | any other | [`Other`](MarkerEvent::Other): also a step of the evaluation |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MarkerEvent<'a> {
    /// `action`.
    Action {
        /// `name`; never `action_text`.
        name: &'a str,
    },
    /// `user`.
    User {
        /// `parse_data.intent.name`.
        intent: Option<&'a str>,
        /// `parse_data.intent.full_retrieval_intent_name`.
        full_retrieval_intent: Option<&'a str>,
    },
    /// `slot`.
    Slot {
        /// `name`.
        name: &'a str,
        /// Whether `value` is anything but null.
        is_set: bool,
    },
    /// Any other.
    Other,
}

/// A [`MarkerEvent`] that owns its texts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OwnedMarkerEvent {
    /// `action`.
    Action {
        /// `name`.
        name: Box<str>,
    },
    /// `user`.
    User {
        /// `parse_data.intent.name`.
        intent: Option<Box<str>>,
        /// `parse_data.intent.full_retrieval_intent_name`.
        full_retrieval_intent: Option<Box<str>>,
    },
    /// `slot`.
    Slot {
        /// `name`.
        name: Box<str>,
        /// Whether `value` is anything but null.
        is_set: bool,
    },
    /// Any other.
    Other,
}

impl From<MarkerEvent<'_>> for OwnedMarkerEvent {
    fn from(event: MarkerEvent<'_>) -> Self {
        match event {
            MarkerEvent::Action { name } => Self::Action { name: name.into() },
            MarkerEvent::User { intent, full_retrieval_intent } => Self::User {
                intent: intent.map(Into::into),
                full_retrieval_intent: full_retrieval_intent.map(Into::into),
            },
            MarkerEvent::Slot { name, is_set } => Self::Slot { name: name.into(), is_set },
            MarkerEvent::Other => Self::Other,
        }
    }
}

impl OwnedMarkerEvent {
    /// Returns the event with borrowed texts.
    #[must_use]
    pub fn as_event(&self) -> MarkerEvent<'_> {
        match self {
            Self::Action { name } => MarkerEvent::Action { name },
            Self::User { intent, full_retrieval_intent } => MarkerEvent::User {
                intent: intent.as_deref(),
                full_retrieval_intent: full_retrieval_intent.as_deref(),
            },
            Self::Slot { name, is_set } => MarkerEvent::Slot { name, is_set: *is_set },
            Self::Other => MarkerEvent::Other,
        }
    }
}
