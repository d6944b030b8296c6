//! Records, as sources deliver them, and the reasons why one may be refused.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Event, EventTime};

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
    /// The record's number in a table that numbers its rows in the order in which they were written: the tie key of
    /// events with exactly the same timestamp.
    pub row: Option<i64>,
    /// What the source says about all of its records.
    pub facts: SourceFacts<'a>,
    /// What the history kept of the plain copy that an anonymised one replaced, see [`Decoder::kept`]. Sources leave it
    /// empty.
    pub kept: Option<&'a [u8]>,
}

/// What a source says about all of its records, beyond what stands in them.
///
/// ```
/// use turnmill_model::{AssistantName, SourceFacts, TimeUnit};
/// let facts = SourceFacts { assistant: AssistantName::Given("bakery"), ..SourceFacts::default() };
/// assert_eq!(facts.time_unit, TimeUnit::Seconds);
/// assert!(!facts.anonymised);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceFacts<'a> {
    /// Which assistant the conversations are with.
    pub assistant: AssistantName<'a>,
    /// The unit of the events' timestamps.
    pub time_unit: TimeUnit,
    /// Whether all events are anonymised copies, those without a mark of their own too.
    pub anonymised: bool,
}

/// [`SourceFacts`] that own their texts, for settings and for dead letters.
///
/// ```
/// use turnmill_model::{AssistantNameBuf, SourceFacts, SourceFactsBuf};
/// let facts = SourceFactsBuf { assistant: AssistantNameBuf::Given("bakery".into()), ..SourceFactsBuf::default() };
/// assert_eq!(SourceFactsBuf::from(facts.borrow()), facts);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceFactsBuf {
    /// Which assistant the conversations are with.
    pub assistant: AssistantNameBuf,
    /// The unit of the events' timestamps.
    pub time_unit: TimeUnit,
    /// Whether all events are anonymised copies, those without a mark of their own too.
    pub anonymised: bool,
}

/// [`AssistantName`] that owns its text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssistantNameBuf {
    /// There is none.
    #[default]
    None,
    /// The source names it.
    Given(String),
    /// Each event names its own: `metadata.assistant_id`.
    FromMetadata,
}

impl SourceFactsBuf {
    /// The facts as a [`Record`] has them.
    #[must_use]
    pub fn borrow(&self) -> SourceFacts<'_> {
        let assistant = match &self.assistant {
            AssistantNameBuf::None => AssistantName::None,
            AssistantNameBuf::Given(name) => AssistantName::Given(name),
            AssistantNameBuf::FromMetadata => AssistantName::FromMetadata,
        };
        SourceFacts { assistant, time_unit: self.time_unit, anonymised: self.anonymised }
    }
}

impl From<SourceFacts<'_>> for SourceFactsBuf {
    fn from(facts: SourceFacts<'_>) -> Self {
        let assistant = match facts.assistant {
            AssistantName::None => AssistantNameBuf::None,
            AssistantName::Given(name) => AssistantNameBuf::Given(name.to_owned()),
            AssistantName::FromMetadata => AssistantNameBuf::FromMetadata,
        };
        Self { assistant, time_unit: facts.time_unit, anonymised: facts.anonymised }
    }
}

/// Where the name of the assistant comes from. A named assistant is part of its senders' identity, so that a store can
/// hold several assistants whose senders have the same keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AssistantName<'a> {
    /// There is none.
    #[default]
    None,
    /// The source names it.
    Given(&'a str),
    /// Each event names its own: `metadata.assistant_id`. An event without one has no assistant.
    FromMetadata,
}

/// The unit in which a producer counts Unix time. Rasa counts seconds.
///
/// ```
/// use turnmill_model::TimeUnit;
/// assert_eq!("us".parse(), Ok(TimeUnit::Microseconds));
/// assert_eq!(TimeUnit::Milliseconds.to_seconds(1679306228481.0), 1679306228.481);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeUnit {
    /// Seconds, with fractions.
    #[default]
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
}

impl TimeUnit {
    /// Every unit, with its name.
    pub const ALL: [Self; 3] = [Self::Seconds, Self::Milliseconds, Self::Microseconds];

    /// The name, as options spell it: `s`, `ms` or `us`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "us",
        }
    }

    /// `time`, counted in this unit, in seconds.
    #[must_use]
    pub fn to_seconds(self, time: f64) -> f64 {
        // A division is correctly rounded, so 1679306228481 ms are the float that `1679306228.481` is.
        match self {
            Self::Seconds => time,
            Self::Milliseconds => time / 1e3,
            Self::Microseconds => time / 1e6,
        }
    }

    /// The unit in which `time` would be a usable time of a conversation, if that is not seconds.
    #[must_use]
    pub fn guess(time: f64) -> Option<Self> {
        let usable = |unit: &Self| EventTime::from_seconds(unit.to_seconds(time)).is_some();
        Self::ALL.into_iter().filter(|unit| *unit != Self::Seconds).find(usable)
    }
}

impl fmt::Display for TimeUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for TimeUnit {
    type Err = UnknownTimeUnit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|unit| unit.as_str() == text).ok_or_else(|| UnknownTimeUnit(text.into()))
    }
}

/// A text that names no [`TimeUnit`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown unit of time `{0}`; expected `s`, `ms` or `us`")]
pub struct UnknownTimeUnit(pub String);

/// Turns one record into any number of events.
///
/// A record that is no event (a blank line, a control message) yields none and is counted as skipped. A decoder is
/// pure: the same record gives the same events, ids included, at any time; events borrow from the record.
///
/// # Protocol
///
/// [`decode`](Self::decode) is called for each record, on the thread that reads; later it is called again for records of the
/// history, when a late event or a rebuild needs them, perhaps by another process. [`kept`](Self::kept) is called when an
/// anonymised copy takes the place of a plain event. Calls come from several threads at once and never wait. A record that is
/// refused becomes a dead letter, and may be decoded again when a person retries it.
///
/// ```
/// use turnmill_model::{Decoder, Event, Reason, Record, Refused};
///
/// /// Takes no record.
/// struct Nothing;
///
/// impl Decoder for Nothing {
///     fn name(&self) -> &'static str {
///         "nothing"
///     }
///
///     fn decode<'a>(&self, record: &Record<'a>, _out: &mut Vec<Event<'a>>) -> Result<(), Refused> {
///         let detail = format!("{} bytes of an unknown format", record.payload.len());
///         if record.payload.is_empty() { Ok(()) } else { Err(Refused::new(Reason::NotJson, detail)) }
///     }
///
///     fn kept(&self, _record: &Record<'_>, _ordinal: u32) -> Option<Vec<u8>> {
///         None
///     }
/// }
///
/// let mut events = Vec::new();
/// assert!(Nothing.decode(&Record::default(), &mut events).is_ok(), "an empty record is skipped");
/// assert!(Nothing.decode(&Record { payload: b"?", ..Record::default() }, &mut events).is_err());
/// ```
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

    /// What has to be kept of event number `ordinal` of a plain `record` when an anonymised copy takes its place and lacks it:
    /// facts that are no personal data, so that anonymising changes no count. Handed back as [`Record::kept`] together
    /// with the copy, for [`decode`](Self::decode) to fill in. `None` if there is nothing to keep.
    fn kept(&self, record: &Record<'_>, ordinal: u32) -> Option<Vec<u8>>;
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
    /// `event` is missing, empty or not a text.
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
