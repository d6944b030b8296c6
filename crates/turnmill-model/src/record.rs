//! Defines records, as sources deliver them, and the reasons why one may be refused.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Event, EventTime, Unwrapper};

/// One record of a source, before decoding: the bytes of an event body, and the facts of its
/// envelope.
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
    /// The sender, if the envelope names it (tracker stores, tracker dumps). A sender in the body
    /// takes precedence.
    pub sender: Option<&'a str>,
    /// The record's own time in Unix seconds (Kafka timestamp, tracker-store column). It is used
    /// for events that have no usable timestamp.
    pub time: Option<f64>,
    /// Value of the last `RASA_ENVIRONMENT` header.
    pub environment: Option<&'a str>,
    /// The record's number in a table that numbers its rows in the order in which they were
    /// written. It is the tie key of events with exactly the same timestamp.
    pub row: Option<i64>,
    /// The facts that hold for all records of the source.
    pub facts: SourceFacts<'a>,
    /// The bytes that the history kept of the plain copy that an anonymised one replaced, see
    /// [`Decoder::kept`]. Sources leave it empty.
    pub kept: Option<&'a [u8]>,
}

/// Facts that hold for all records of a source and are not in the records.
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
    /// Name of the decoder that the records need; `None`: the [default](crate::Decoders) one.
    pub decoder: Option<&'a str>,
}

/// [`SourceFacts`] that own their texts, for settings and for dead letters.
///
/// ```
/// use turnmill_model::{AssistantNameBuf, SourceFacts, SourceFactsBuf};
/// let assistant = AssistantNameBuf::Given("bakery".into());
/// let facts = SourceFactsBuf { assistant, ..SourceFactsBuf::default() };
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
    /// Name of the decoder that the records need; `None`: the [default](crate::Decoders) one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decoder: Option<String>,
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
    /// Borrows the facts in the form that a [`Record`] has.
    #[must_use]
    pub fn borrow(&self) -> SourceFacts<'_> {
        let assistant = match &self.assistant {
            AssistantNameBuf::None => AssistantName::None,
            AssistantNameBuf::Given(name) => AssistantName::Given(name),
            AssistantNameBuf::FromMetadata => AssistantName::FromMetadata,
        };
        SourceFacts {
            assistant,
            time_unit: self.time_unit,
            anonymised: self.anonymised,
            decoder: self.decoder.as_deref(),
        }
    }
}

impl From<SourceFacts<'_>> for SourceFactsBuf {
    fn from(facts: SourceFacts<'_>) -> Self {
        let assistant = match facts.assistant {
            AssistantName::None => AssistantNameBuf::None,
            AssistantName::Given(name) => AssistantNameBuf::Given(name.to_owned()),
            AssistantName::FromMetadata => AssistantNameBuf::FromMetadata,
        };
        Self {
            assistant,
            time_unit: facts.time_unit,
            anonymised: facts.anonymised,
            decoder: facts.decoder.map(str::to_owned),
        }
    }
}

/// Tells where the name of the assistant comes from.
///
/// A named assistant is part of its senders' identity. So a store can hold several assistants whose
/// senders have the same keys.
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
    /// Every unit.
    pub const ALL: [Self; 3] = [Self::Seconds, Self::Milliseconds, Self::Microseconds];

    /// Returns the name, as options spell it: `s`, `ms` or `us`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "us",
        }
    }

    /// Converts `time`, counted in this unit, to seconds.
    #[must_use]
    pub fn to_seconds(self, time: f64) -> f64 {
        // A division is correctly rounded, so 1679306228481 ms give the float of `1679306228.481`.
        match self {
            Self::Seconds => time,
            Self::Milliseconds => time / 1e3,
            Self::Microseconds => time / 1e6,
        }
    }

    /// Returns the unit other than seconds in which `time` is a usable time of a conversation.
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

/// Error of a text that names no [`TimeUnit`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown unit of time `{0}`; expected `s`, `ms` or `us`")]
pub struct UnknownTimeUnit(pub String);

/// Turns one record into any number of events.
///
/// A record that is no event (a blank line, a control message) gives none and is counted as
/// skipped. A decoder is pure: the same record gives the same events, ids included, at any time.
/// Events borrow from the record.
///
/// # Protocol
///
/// 1. [`decode`](Self::decode) is called for each record that a source delivers.
/// 2. It is called again for records of the history, when a late event or a rebuild needs them.
///    That may happen in another process. The record then has the sender's key as
///    [`Record::sender`] and its assistant as [`AssistantName::Given`], and has to give the same
///    events. If a rebuild gives a sender an assistant, the events have to be of the new sender.
/// 3. [`kept`](Self::kept) is called when an anonymised copy replaces a plain event.
///
/// Calls come from several threads at once, and must not block. A record that is refused becomes a
/// dead letter, and is decoded again when an operator retries it.
///
/// # What a decoder decides
///
/// - **Who the sender is.** [`SenderId::of_format`](crate::SenderId::of_format) keeps the senders
///   of a format apart from those of all others. Decoders that read the same conversations in
///   several forms give one format.
/// - **Which deliveries are one event.** Equal ids are copies. [`EventId::of`](crate::EventId::of)
///   makes an id of what identifies an event in the format.
/// - **The order at equal times**: [`Event::tie`](crate::Event::tie), and the order of appending.
/// - **The sessions**: [`SessionRule`](crate::SessionRule), for each event.
/// - **The unit of the ledger**: [`Event::counted`](crate::Event::counted).
/// - **What must not be stored**: [`secret_filter`](Self::secret_filter).
///
/// ```
/// use turnmill_model::{
///     Body, Decoder, Event, EventId, EventTime, IdentityDigest, Reason, Record, Refused, SenderId,
///     SessionRule,
/// };
///
/// /// Reads lines such as `1656382549.5 u1 hello`. Half an hour of silence ends a session.
/// struct Lines;
///
/// impl Decoder for Lines {
///     fn name(&self) -> &'static str {
///         "lines"
///     }
///
///     fn decode<'a>(&self, record: &Record<'a>, out: &mut Vec<Event<'a>>) -> Result<(), Refused> {
///         let malformed = |detail: &str| Refused::new(Reason::Malformed, detail);
///         let line = str::from_utf8(record.payload).map_err(|_| malformed("not UTF-8"))?;
///         let mut words = line.splitn(3, ' ');
///         let (Some(time), Some(key), Some(text)) = (words.next(), words.next(), words.next()) else {
///             return Err(malformed("less than three words"));
///         };
///         let time = time.parse().ok().and_then(EventTime::from_seconds).ok_or_else(|| malformed("no time"))?;
///         let sender = SenderId::of_format("lines", None, key);
///         let id = EventId::of(Some(time), &IdentityDigest::new("lines").text(line), None);
///         let session = SessionRule::Gap { seconds: 1800.0 };
///         let body = Body::Bot { text: Some(text.into()), template_name: None };
///         out.push(Event { body, ..Event::new(id, sender, key, time, "bot", session) });
///         Ok(())
///     }
///
///     fn kept(&self, _record: &Record<'_>, _ordinal: u32) -> Option<Vec<u8>> {
///         None
///     }
/// }
///
/// let mut events = Vec::new();
/// Lines.decode(&Record { payload: b"1656382549.5 u1 hello", ..Record::default() }, &mut events)?;
/// assert_eq!(events[0].sender_key, "u1");
/// assert!(Lines.decode(&Record { payload: b"?", ..Record::default() }, &mut events).is_err());
/// # Ok::<(), Refused>(())
/// ```
pub trait Decoder: Send + Sync {
    /// Returns a short stable name, such as `"rasa"`. It is stored with every kept record, so that
    /// the record can be decoded again. It must never be empty, and never change.
    fn name(&self) -> &'static str;

    /// Decodes `record` and appends its events in their order.
    ///
    /// Events that `out` already holds must come from decoders with the same settings, because a
    /// sender's id may be taken from there.
    ///
    /// # Errors
    ///
    /// [`Refused`] if the record cannot become events. Then nothing was appended, and the caller
    /// keeps the record's original bytes as a dead letter.
    fn decode<'a>(&self, record: &Record<'a>, out: &mut Vec<Event<'a>>) -> Result<(), Refused>;

    /// Returns what has to be kept of event number `ordinal` of a plain `record` when an anonymised
    /// copy replaces it. `None` means that there is nothing to keep.
    ///
    /// These are facts that are no personal data and that the copy may lack, so that anonymising
    /// changes no count. [`decode`](Self::decode) gets them as [`Record::kept`] with the copy, and
    /// fills them in.
    fn kept(&self, record: &Record<'_>, ordinal: u32) -> Option<Vec<u8>>;

    /// Returns the filter of a format whose records may contain secrets. `None`, the default: they
    /// contain none.
    fn secret_filter(&self) -> Option<&dyn SecretFilter> {
        None
    }

    /// Returns what takes the records of the format out of their envelopes. `None`, the default:
    /// what a source delivers is a record.
    fn unwrapper(&self) -> Option<&dyn Unwrapper> {
        None
    }
}

/// Removes the secrets of a format's records, such as the tokens of signed-in users.
///
/// It is asked for every record before it is decoded, also for those that the source refused. Only
/// what it returns is decoded and stored, in history and dead letters. So the same record has to
/// give the same bytes, and bytes without secrets have to stay as they are.
///
/// ```
/// use turnmill_model::SecretFilter;
///
/// /// Blanks everything after `token=`.
/// struct Tokens;
///
/// impl SecretFilter for Tokens {
///     fn without_secrets(&self, payload: &[u8]) -> Option<Vec<u8>> {
///         let at = payload.windows(6).position(|window| window == b"token=")? + 6;
///         let blank = [payload.get(..at)?, b"[secret]"].concat();
///         (blank != payload).then_some(blank)
///     }
/// }
///
/// assert_eq!(Tokens.without_secrets(b"u1 token=eyJ").unwrap(), b"u1 token=[secret]");
/// assert_eq!(Tokens.without_secrets(b"u1 token=[secret]"), None);
/// assert_eq!(Tokens.without_secrets(b"u1 hello"), None);
/// ```
pub trait SecretFilter {
    /// Returns the payload without its secrets, or `None` if it contains none.
    fn without_secrets(&self, payload: &[u8]) -> Option<Vec<u8>>;
}

/// Error of a record that was refused: the class for counters, and a detail for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Refused {
    /// The class, of bounded cardinality.
    pub reason: Reason,
    /// What exactly is wrong, lower-case, for example the position of a syntax error.
    pub detail: String,
}

impl Refused {
    /// Makes a refusal for `reason` with a `detail` for people.
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
    /// The record lacks what its format requires.
    Malformed,
    /// The source names a decoder that this program does not have.
    UnknownDecoder,
    /// The JSON is no record of a Lex V2 conversation log.
    NotLex,
    /// The record names no session, and its format needs one.
    NoSessionId,
    /// The record is of a Lex V1 conversation log, which is not read.
    LexV1,
    /// The record is the event that Lex hands to a Lambda function, not a conversation log.
    LambdaEvent,
    /// The export has no column or field with the log messages.
    NoMessage,
    /// Data that its envelope declares to be base64 is not.
    NotBase64,
    /// Compressed data ends inside of a record, or is damaged.
    TruncatedGzip,
}

impl Reason {
    /// Every reason, in documentation order.
    pub const ALL: [Self; 19] = [
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
        Self::Malformed,
        Self::UnknownDecoder,
        Self::NotLex,
        Self::NoSessionId,
        Self::LexV1,
        Self::LambdaEvent,
        Self::NoMessage,
        Self::NotBase64,
        Self::TruncatedGzip,
    ];

    /// Returns the stable name, as stored and as a metric label.
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
            Self::Malformed => "malformed",
            Self::UnknownDecoder => "unknown_decoder",
            Self::NotLex => "not_lex",
            Self::NoSessionId => "no_session_id",
            Self::LexV1 => "lex_v1",
            Self::LambdaEvent => "lambda_event",
            Self::NoMessage => "no_message",
            Self::NotBase64 => "not_base64",
            Self::TruncatedGzip => "truncated_gzip",
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

/// Error of a text that names no [`Reason`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown dead-letter reason `{0}`")]
pub struct UnknownReason(pub String);
