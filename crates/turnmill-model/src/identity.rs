//! What makes two deliveries one event.

use crate::{EventId, EventTime, IdentityDigest, SenderId};

/// What makes two deliveries the same event: the parts that neither a re-export nor anonymisation changes.
///
/// Texts are cleaned and uncut; a missing part is `None`. Where the timestamp is no fractional number (callers of the
/// HTTP API and imports write whole seconds, Rasa's clock practically never does) a second is too coarse to tell events
/// apart, so `text`, `value` and `data` take part as well.
///
/// ```
/// use turnmill_model::{EventIdentity, SenderId, WrittenTime};
/// let sender = SenderId::new(None, "u1");
/// let greet = EventIdentity { name: Some("utter_greet"), ..EventIdentity::new(sender, "action", WrittenTime::Number(1656382549.326936)) };
/// let listen = EventIdentity { name: Some("action_listen"), ..greet };
/// assert_ne!(greet.id(), listen.id());
/// assert!(!greet.time.is_coarse());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct EventIdentity<'a> {
    /// The sender.
    pub sender: SenderId,
    /// The event's type name.
    pub event_type: &'a str,
    /// The timestamp as written.
    pub time: WrittenTime<'a>,
    /// `name`
    pub name: Option<&'a str>,
    /// `message_id`
    pub message_id: Option<&'a str>,
    /// `flow_id`
    pub flow_id: Option<&'a str>,
    /// `step_id`
    pub step_id: Option<&'a str>,
    /// `metadata.utter_action`
    pub utter_action: Option<&'a str>,
    /// `parse_data.intent.name`
    pub intent: Option<&'a str>,
    /// `policy`
    pub policy: Option<&'a str>,
    /// `update`
    pub update: Option<&'a str>,
    /// `text`, `value` and `data` as canonical JSON, `None` or `null` if missing; only looked at where the time
    /// [is coarse](WrittenTime::is_coarse).
    pub values: [Option<&'a str>; 3],
}

/// A timestamp as its producer wrote it.
#[derive(Clone, Copy, Debug)]
pub enum WrittenTime<'a> {
    /// A finite JSON number, usable or not.
    Number(f64),
    /// Anything else as canonical JSON; a missing timestamp is `null`.
    Other(&'a str),
}

impl WrittenTime<'_> {
    /// Whether events at this time need their values to be told apart: a whole number of seconds, or no number.
    #[must_use]
    pub fn is_coarse(&self) -> bool {
        match self {
            Self::Number(seconds) => seconds.fract() == 0.0,
            Self::Other(_) => true,
        }
    }
}

impl<'a> EventIdentity<'a> {
    /// An identity of only the parts that every event has.
    #[must_use]
    pub fn new(sender: SenderId, event_type: &'a str, time: WrittenTime<'a>) -> Self {
        Self {
            sender,
            event_type,
            time,
            name: None,
            message_id: None,
            flow_id: None,
            step_id: None,
            utter_action: None,
            intent: None,
            policy: None,
            update: None,
            values: [None; 3],
        }
    }

    /// The event's id. The milliseconds in front are those of a usable timestamp, else 0.
    #[must_use]
    pub fn id(&self) -> EventId {
        let coarse = self.time.is_coarse();
        // A missing value is null.
        let value = |value: Option<&'a str>| value.filter(|json| coarse && *json != "null");
        let [text, value, data] = self.values.map(value);
        let parts = [
            self.name,
            self.message_id,
            self.flow_id,
            self.step_id,
            self.utter_action,
            self.intent,
            self.policy,
            self.update,
            text,
            value,
            data,
        ];
        // Which parts are there, in one number: most events have one or two of them.
        let present = parts.iter().rev().fold(0, |mask, part| mask << 1 | u64::from(part.is_some()));
        // In place: this is done for every event.
        let mut digest = IdentityDigest::new("event");
        digest.put(self.sender.0.as_bytes());
        digest.put(self.event_type.as_bytes());
        let mut milliseconds = 0;
        match self.time {
            WrittenTime::Number(seconds) => {
                if let Some(time) = EventTime::from_seconds(seconds) {
                    milliseconds = u64::try_from(time.micros() / 1000).unwrap_or(0);
                }
                // Adding zero turns -0.0 into 0.0, which are the same time.
                digest.put_raw(&(present << 1).to_le_bytes()[..2]);
                digest.put_raw(&(seconds + 0.0).to_bits().to_le_bytes());
            }
            WrittenTime::Other(json) => {
                digest.put_raw(&(present << 1 | 1).to_le_bytes()[..2]);
                digest.put(json.as_bytes());
            }
        }
        for part in parts.into_iter().flatten() {
            digest.put(part.as_bytes());
        }
        EventId(digest.uuid(Some(milliseconds)))
    }
}
