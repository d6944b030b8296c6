//! Records, as sources deliver them, and the reasons why one may be refused.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Event;

/// One record of a source, before decoding: the bytes of an event body and what the envelope says about them.
///
/// ```
/// use turnmill_model::Record;
/// let record = Record { payload: br#"{"event": "restart"}"#, sender: Some("u1"), ..Record::default() };
/// assert_eq!(record.environment, None);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    /// The body: for Rasa one JSON object.
    pub payload: &'a [u8],
    /// The sender, where the envelope names it and the body does not (tracker stores, tracker dumps). A sender in
    /// the body wins.
    pub sender: Option<&'a str>,
    /// The record's own time in Unix seconds (Kafka timestamp, tracker-store column): used for events that carry no
    /// usable timestamp.
    pub time: Option<f64>,
    /// Value of the last `RASA_ENVIRONMENT` header.
    pub environment: Option<&'a str>,
}

/// Turns one record into any number of events.
///
/// A record that is no event (a blank line, a control message) yields none and is counted as skipped. A decoder is
/// pure: the same record gives the same events, ids included, at any time; events borrow from the record.
pub trait Decoder: Send + Sync {
    /// Short stable name, stored beside every kept record so that it can be decoded again: `"rasa"`.
    fn name(&self) -> &'static str;

    /// Decodes `record`, appending its events in their order. What is in `out` already must be of decoders with the same
    /// settings: a sender's id may be taken from there.
    ///
    /// # Errors
    ///
    /// [`Refused`] if the record cannot become events. Then nothing was appended, and the record belongs into the
    /// dead letters with its original bytes.
    fn decode<'a>(&self, record: &Record<'a>, out: &mut Vec<Event<'a>>) -> Result<(), Refused>;
}

/// Why a record was refused: the class for counters, and a detail for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Refused {
    /// The class, of bounded cardinality.
    pub reason: Reason,
    /// What exactly was wrong, lower-case, for example the position of a syntax error.
    pub detail: String,
}

impl Refused {
    /// A refusal for `reason` with a `detail` for people.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// The classes of dead letters.
///
/// ```
/// use turnmill_model::Reason;
/// assert_eq!(Reason::NotJson.as_str(), "not_json");
/// assert_eq!("not_json".parse(), Ok(Reason::NotJson));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reason {
    /// The bytes are not UTF-8.
    NotUtf8,
    /// The text is not JSON, not even with Python's `NaN` and `Infinity`.
    NotJson,
    /// The JSON value is not an object.
    NotAnObject,
    /// The JSON nests more than 512 levels.
    TooDeep,
    /// The record is larger than the limit (16 MiB unless configured).
    TooLarge,
    /// `event` is missing or not a text.
    NoEventType,
    /// `sender_id` is missing, not a text or empty, and the envelope names no sender.
    NoSenderId,
    /// Neither the event nor its record has a time between 2000 and 2100.
    NoUsableTimestamp,
    /// The store can never accept a row of this event.
    RefusedByStore,
    /// The event is older than the history that retention kept.
    BeforeRetentionHorizon,
}

impl Reason {
    /// Every reason, in documentation order.
    pub const ALL: [Self; 10] = [
        Self::NotUtf8,
        Self::NotJson,
        Self::NotAnObject,
        Self::TooDeep,
        Self::TooLarge,
        Self::NoEventType,
        Self::NoSenderId,
        Self::NoUsableTimestamp,
        Self::RefusedByStore,
        Self::BeforeRetentionHorizon,
    ];

    /// The stable name, as stored and as a metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotUtf8 => "not_utf8",
            Self::NotJson => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::TooDeep => "too_deep",
            Self::TooLarge => "too_large",
            Self::NoEventType => "no_event_type",
            Self::NoSenderId => "no_sender_id",
            Self::NoUsableTimestamp => "no_usable_timestamp",
            Self::RefusedByStore => "refused_by_store",
            Self::BeforeRetentionHorizon => "before_retention_horizon",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or_else(|| UnknownReason(text.into()))
    }
}

/// A text that names no [`Reason`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown dead-letter reason `{0}`")]
pub struct UnknownReason(pub String);
