//! Defines which deliveries are the same event.

use crate::{AnonymisedAt, EventId, EventTime, IdentityDigest, SenderId};

/// Holds the parts of an event that decide whether two deliveries are the same event.
///
/// - The *key* consists of what neither a re-export nor anonymisation changes: sender, type, exact
///   timestamp, names and ids.
/// - The *content* is the text of a message, the value of a slot, and the intent.
///
/// Plain copies with the same key and content are one event. With the same key and different
/// content they are different events: on a server whose clock moves every 15.6 ms, all events of
/// one action have the same timestamp. An anonymised copy replaces all copies with its key,
/// whatever its content.
///
/// Texts are cleaned and uncut. A missing part is `None`; a content part that is `null` counts as
/// missing.
///
/// ```
/// use turnmill_model::{EventIdentity, SenderId, WrittenTime};
/// let sender = SenderId::new(None, "u1");
/// let action = EventIdentity::new(sender, "action", WrittenTime::Number(1656382549.326936));
/// let greet = EventIdentity { name: Some("utter_greet"), ..action };
/// let listen = EventIdentity { name: Some("action_listen"), ..greet };
/// assert_ne!(greet.id().key(), listen.id().key());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct EventIdentity<'a> {
    /// The sender.
    pub sender: SenderId,
    /// The event's type name.
    pub event_type: &'a str,
    /// The timestamp as written.
    pub time: WrittenTime<'a>,
    /// Key: `name`
    pub name: Option<&'a str>,
    /// Key: `message_id`, else `parse_data.message_id`
    pub message_id: Option<&'a str>,
    /// Key: `flow_id`
    pub flow_id: Option<&'a str>,
    /// Key: `step_id`
    pub step_id: Option<&'a str>,
    /// Key: `metadata.utter_action`
    pub utter_action: Option<&'a str>,
    /// Key: `action_text`
    pub action_text: Option<&'a str>,
    /// Key: `policy`
    pub policy: Option<&'a str>,
    /// Key: `update`
    pub update: Option<&'a str>,
    /// Key: `agent_id`, `tool_name`, `is_error`, `error_code`, `skill_id`, `block_id` and `key` as
    /// canonical JSON.
    pub others: [Option<&'a str>; 7],
    /// Content: `text` as canonical JSON.
    pub text: Option<&'a str>,
    /// Content: `value` as canonical JSON.
    pub value: Option<&'a str>,
    /// Content: `data` as canonical JSON.
    pub data: Option<&'a str>,
    /// Content: `parse_data.intent.name`
    pub intent: Option<&'a str>,
}

/// A timestamp as its producer wrote it, in seconds.
#[derive(Clone, Copy, Debug)]
pub enum WrittenTime<'a> {
    /// A finite JSON number, or a text that is one, whether it is usable or not.
    Number(f64),
    /// Anything else as canonical JSON; a missing timestamp is `null`.
    Other(&'a str),
}

impl<'a> EventIdentity<'a> {
    /// Makes an identity of only the parts that every event has.
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
            action_text: None,
            policy: None,
            update: None,
            others: [None; 7],
            text: None,
            value: None,
            data: None,
            intent: None,
        }
    }

    /// Makes the identity of an event with an id that copies and re-exports keep, such as Mantle's
    /// `event_id`. Nothing else of the event is part of it.
    ///
    /// ```
    /// use turnmill_model::{EventIdentity, SenderId, WrittenTime};
    /// let (sender, time) = (SenderId::new(None, "u1"), WrittenTime::Number(1786900000.01));
    /// let one = EventIdentity::with_id(sender, time, "01a00b8a-2d0a-7ed6-a4b7-f4f8023866b7");
    /// assert_eq!(one.id(), one.id());
    /// assert_ne!(one.id(), EventIdentity::with_id(sender, time, "01a00b8a-2d14-7e44").id());
    /// ```
    #[must_use]
    pub fn with_id(sender: SenderId, time: WrittenTime<'a>, event_id: &'a str) -> Self {
        // No other event has a type without a name.
        Self { message_id: Some(event_id), ..Self::new(sender, "", time) }
    }

    /// Returns the id of a plain copy. It starts with the milliseconds of a usable timestamp, else
    /// with 0.
    #[must_use]
    pub fn id(&self) -> EventId {
        // A missing value is null.
        let said = |value: Option<&'a str>| value.filter(|json| *json != "null");
        let parts = [said(self.text), said(self.value), said(self.data), self.intent];
        let content = parts.iter().any(Option::is_some).then(|| {
            let mut digest = IdentityDigest::new("content");
            put_parts(&mut digest, parts.into_iter());
            digest
        });
        EventId::of(self.usable_time(), &self.key(), content.as_ref())
    }

    /// Returns the id of the anonymised copy with this mark.
    #[must_use]
    pub fn anonymised(&self, mark: &AnonymisedAt<'_>) -> EventId {
        EventId::of_anonymised(self.usable_time(), &self.key(), mark)
    }

    fn usable_time(&self) -> Option<EventTime> {
        let WrittenTime::Number(seconds) = self.time else { return None };
        EventTime::from_seconds(seconds)
    }

    fn key(&self) -> IdentityDigest {
        // The parts are added in place, without a copy, because every event takes this path.
        let mut digest = IdentityDigest::new("event");
        digest.put(self.sender.0.as_bytes());
        digest.put(self.event_type.as_bytes());
        match self.time {
            WrittenTime::Number(seconds) => {
                digest.put_raw(&[0]);
                // Adding zero turns -0.0 into 0.0, which are the same time.
                digest.put_raw(&(seconds + 0.0).to_bits().to_le_bytes());
            }
            WrittenTime::Other(json) => {
                digest.put_raw(&[1]);
                digest.put(json.as_bytes());
            }
        }
        let first = [
            self.name,
            self.message_id,
            self.flow_id,
            self.step_id,
            self.utter_action,
            self.action_text,
            self.policy,
            self.update,
        ];
        put_parts(&mut digest, first.into_iter().chain(self.others));
        digest
    }
}

/// Adds the parts that are present, after a bit mask that tells which. Most events have one or two.
fn put_parts<'p>(digest: &mut IdentityDigest, parts: impl Iterator<Item = Option<&'p str>> + Clone) {
    let present = parts.clone().fold(1_u16, |mask, part| mask << 1 | u16::from(part.is_some()));
    digest.put_raw(&present.to_le_bytes());
    for part in parts.flatten() {
        digest.put(part.as_bytes());
    }
}
