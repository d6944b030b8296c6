//! What markers see of an event.

/// An event, as far as markers look at it.
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
