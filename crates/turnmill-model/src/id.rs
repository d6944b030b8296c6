//! Derives ids deterministically: the same event gets the same id wherever and whenever it is read.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use uuid::Uuid;

use crate::{AnonymisedAt, EventTime};

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id_type! {
    /// Id of an event, `rasa_event.id`.
    ///
    /// It consists of 48 bits of the event's milliseconds, then bits of the digests of its key and
    /// of its content, see [`EventIdentity`](crate::EventIdentity).
    ///
    /// The time at the start keeps inserts local in an index. All copies of an event have the same
    /// [key](EventId::key), so they are neighbours in an index. Rows of which an event writes one
    /// (message, action, slot, stack frame, flow status) have the same id.
    EventId
}
id_type! {
    /// Id of a sender, `rasa_sender.id`: a digest of the sender key and of the assistant, if it is
    /// named.
    SenderId
}
id_type! {
    /// Id of a session, `rasa_session.id`: `metadata.session_id` if an assistant sends one, else
    /// derived from the event with which the session began.
    SessionId
}
id_type! {
    /// Id of an end user, `rasa_user.id`: a digest of the user key.
    UserId
}

impl SenderId {
    /// Derives the id of the sender `key` of Rasa's `assistant`, if that is named. Both are cleaned
    /// and cut, see [`crate::text::sender_key`].
    ///
    /// Senders of two assistants always differ, even if their keys are equal.
    ///
    /// ```
    /// use turnmill_model::SenderId;
    /// assert_eq!(SenderId::new(None, "u1"), SenderId::new(None, "u1"));
    /// assert_ne!(SenderId::new(Some("parcel"), "u1"), SenderId::new(None, "u1"));
    /// ```
    #[must_use]
    pub fn new(assistant: Option<&str>, key: &str) -> Self {
        Self(IdentityDigest::new("sender").optional(assistant).text(key).uuid(None))
    }

    /// Derives the id of the sender `key` of another `format` than Rasa's. Senders of two formats
    /// always differ, even if their keys and assistants are equal.
    ///
    /// ```
    /// use turnmill_model::SenderId;
    /// assert_ne!(SenderId::of_format("lex", None, "u1"), SenderId::new(None, "u1"));
    /// assert_ne!(SenderId::of_format("lex", None, "u1"), SenderId::of_format("bot_framework", None, "u1"));
    /// ```
    #[must_use]
    pub fn of_format(format: &str, assistant: Option<&str>, key: &str) -> Self {
        Self(IdentityDigest::new("sender of").text(format).optional(assistant).text(key).uuid(None))
    }
}

impl UserId {
    /// Derives the id of the end user `key`, which is cleaned and cut like a sender key.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self(IdentityDigest::new("user").text(key).uuid(None))
    }
}

/// Bytes of an event's id that are its key: the time, the UUID's version and variant, and 42 bits
/// of a digest.
const KEY_BYTES: usize = 12;
/// Bit of the first byte after the key that only ids of anonymised copies have.
const ANONYMISED: u8 = 0x80;

/// The first part of an event's id, which all copies of the event share, whatever their content.
///
/// ```
/// use turnmill_model::{EventIdentity, SenderId, WrittenTime};
/// let time = WrittenTime::Number(1656382549.326936);
/// let bot = EventIdentity::new(SenderId::new(None, "u1"), "bot", time);
/// let hello = EventIdentity { text: Some(r#""hello""#), ..bot };
/// let bye = EventIdentity { text: Some(r#""bye""#), ..bot };
/// let key = hello.id().key();
/// assert_ne!(hello.id(), bye.id());
/// assert_eq!(key, bye.id().key());
/// assert!(key.first() <= hello.id() && hello.id() <= key.last());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey([u8; KEY_BYTES]);

impl EventKey {
    /// Returns the least id that a copy may have.
    #[must_use]
    pub fn first(self) -> EventId {
        self.followed_by(0)
    }

    /// Returns the greatest id that a copy may have.
    #[must_use]
    pub fn last(self) -> EventId {
        self.followed_by(0xff)
    }

    fn followed_by(self, byte: u8) -> EventId {
        let mut bytes = [byte; 16];
        bytes[..KEY_BYTES].copy_from_slice(&self.0);
        EventId(Uuid::from_bytes(bytes))
    }
}

impl EventId {
    /// Makes the id of the digests of key and content. `anonymised` tells whether it is that of an
    /// anonymised copy.
    pub(crate) fn new(
        milliseconds: u64,
        key: &IdentityDigest,
        content: Option<&IdentityDigest>,
        anonymised: bool,
    ) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&Sha256::digest(&key.0)[..16]);
        bytes[..6].copy_from_slice(&milliseconds.to_be_bytes()[2..]);
        // Most events have no content, so they need no second digest.
        bytes[KEY_BYTES..].fill(0);
        if let Some(content) = content {
            bytes[KEY_BYTES..].copy_from_slice(&Sha256::digest(&content.0)[..16 - KEY_BYTES]);
        }
        bytes[KEY_BYTES] &= !ANONYMISED;
        if anonymised {
            bytes[KEY_BYTES] |= ANONYMISED;
        }
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// Makes the id of an event that its format identifies in its own way.
    ///
    /// `key` holds what neither a re-export nor anonymisation changes, such as the sender and an id
    /// that the format gives. `content` holds the rest, if plain copies with the same key and other
    /// content are other events. `time` is the event's time, if it is part of what identifies the
    /// event; `None` if copies may have different times.
    ///
    /// ```
    /// use turnmill_model::{EventId, EventTime, IdentityDigest};
    /// let time = EventTime::from_seconds(1656382549.5);
    /// let message = IdentityDigest::new("chat").text("u1").number(17);
    /// let text = IdentityDigest::new("text").text("hello");
    /// let (bare, full) = (EventId::of(time, &message, None), EventId::of(time, &message, Some(&text)));
    /// assert_ne!(bare, full);
    /// assert_eq!(bare.key(), full.key());
    /// assert!(!full.is_anonymised() && full.has_time());
    /// ```
    #[must_use]
    pub fn of(time: Option<EventTime>, key: &IdentityDigest, content: Option<&IdentityDigest>) -> Self {
        Self::new(milliseconds_of(time), key, content, false)
    }

    /// Makes the id of the anonymised copy with this `mark` of the event with this time and key,
    /// see [`of`](Self::of).
    ///
    /// ```
    /// use turnmill_model::{AnonymisedAt, EventId, IdentityDigest};
    /// let key = IdentityDigest::new("chat").text("u1").number(17);
    /// let copy = EventId::of_anonymised(None, &key, &AnonymisedAt::Seconds(1656386149.0));
    /// assert!(copy.is_anonymised());
    /// assert_eq!(copy.key(), EventId::of(None, &key, None).key());
    /// ```
    #[must_use]
    pub fn of_anonymised(time: Option<EventTime>, key: &IdentityDigest, mark: &AnonymisedAt<'_>) -> Self {
        let digest = IdentityDigest::new("mark");
        // Adding zero turns -0.0 into 0.0.
        let content = match mark {
            AnonymisedAt::Unmarked => digest,
            AnonymisedAt::Seconds(seconds) => digest.number((seconds + 0.0).to_bits()),
            AnonymisedAt::Text(text) => digest.text(text),
        };
        Self::new(milliseconds_of(time), key, Some(&content), true)
    }

    /// Derives the id of an event that the engine makes of this one: `what` it is, and its `name`
    /// or place among its like.
    ///
    /// ```
    /// use turnmill_model::{EventId, IdentityDigest};
    /// let record = EventId::of(None, &IdentityDigest::new("chat").number(17), None);
    /// assert_ne!(record.part("slot", "city"), record.part("slot", "date"));
    /// assert!(!record.part("slot", "city").is_anonymised());
    /// ```
    #[must_use]
    pub fn part(self, what: &str, name: &str) -> Self {
        let mut bytes = *IdentityDigest::new("part")
            .bytes(self.0.as_bytes())
            .text(what)
            .text(name)
            .uuid(Some(self.milliseconds()))
            .as_bytes();
        bytes[KEY_BYTES] &= !ANONYMISED;
        Self(Uuid::from_bytes(bytes))
    }

    /// Derives the id of the run of a dialog of the kind `kind` that begins with this event.
    #[must_use]
    pub fn dialog_run(self, kind: &str) -> Uuid {
        self.derive(kind, 0)
    }

    /// Derives the id of the turn that this `user` event opens.
    #[must_use]
    pub fn turn(self) -> Uuid {
        self.derive("turn", 0)
    }

    /// Derives the id of the session that begins with this event.
    #[must_use]
    pub fn session(self) -> SessionId {
        SessionId(self.derive("session", 0))
    }

    /// Derives the id of the row of command number `index` (from 0) of this `user` event.
    #[must_use]
    pub fn command(self, index: u32) -> Uuid {
        self.derive("command", index)
    }

    /// Derives the id of the marker row of the pattern `pattern` at this event.
    #[must_use]
    pub fn marker(self, pattern: Uuid) -> Uuid {
        let digest = IdentityDigest::new("marker").bytes(self.0.as_bytes()).bytes(pattern.as_bytes());
        digest.uuid(Some(self.milliseconds()))
    }

    /// Returns the part of the id that all copies of the event share.
    #[must_use]
    pub fn key(self) -> EventKey {
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(&self.0.as_bytes()[..KEY_BYTES]);
        EventKey(key)
    }

    /// Returns whether this is the id of an anonymised copy.
    ///
    /// ```
    /// use turnmill_model::{AnonymisedAt, EventIdentity, SenderId, WrittenTime};
    /// let time = WrittenTime::Number(1656382549.326936);
    /// let message = EventIdentity::new(SenderId::new(None, "u1"), "bot", time);
    /// let copy = message.anonymised(&AnonymisedAt::Seconds(1656386149.0));
    /// assert!(copy.is_anonymised() && !message.id().is_anonymised());
    /// assert_eq!(copy.key(), message.id().key());
    /// ```
    #[must_use]
    pub fn is_anonymised(self) -> bool {
        self.0.as_bytes()[KEY_BYTES] & ANONYMISED != 0
    }

    /// Returns whether the event was written with a usable timestamp.
    ///
    /// Without one the time of its record orders it, which copies of it need not share.
    #[must_use]
    pub fn has_time(self) -> bool {
        self.milliseconds() != 0
    }

    /// Derives another id that starts with this event's time.
    fn derive(self, what: &str, index: u32) -> Uuid {
        let digest = IdentityDigest::new(what).bytes(self.0.as_bytes()).number(u64::from(index));
        digest.uuid(Some(self.milliseconds()))
    }

    /// Returns the milliseconds with which the id starts.
    fn milliseconds(self) -> u64 {
        let bytes = self.0.as_bytes();
        bytes[..6].iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }
}

/// Returns the milliseconds with which an id starts, or 0 without a time.
fn milliseconds_of(time: Option<EventTime>) -> u64 {
    time.map_or(0, |time| u64::try_from(time.micros() / 1000).unwrap_or(0))
}

impl SessionId {
    /// Derives the id of a session that has not begun: its events lead up to a session start that
    /// has not arrived. `after` is the `session_ended` event before it, if there is one.
    #[must_use]
    pub fn leading(sender: SenderId, after: Option<EventId>) -> Self {
        let digest = IdentityDigest::new("leading").bytes(sender.0.as_bytes());
        Self(match after {
            Some(event) => digest.bytes(event.0.as_bytes()).uuid(Some(event.milliseconds())),
            None => digest.uuid(None),
        })
    }

    /// Derives the id of the session that `sender` calls `claimed`, if another sender already owns
    /// that id.
    #[must_use]
    pub fn of_sender(sender: SenderId, claimed: Uuid) -> Self {
        Self(IdentityDigest::new("claimed").bytes(sender.0.as_bytes()).bytes(claimed.as_bytes()).uuid(None))
    }

    /// Derives an id from a session key that is no UUID (`session_id = "any"`, or a format's own
    /// session key).
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(IdentityDigest::new("session key").text(text).uuid(None))
    }
}

/// Collects the parts that make up an identity.
///
/// Every part is written with its length, so `("ab", "c")` and `("a", "bc")` differ. A missing part
/// differs from an empty one.
///
/// ```
/// use turnmill_model::IdentityDigest;
/// let a = IdentityDigest::new("demo").text("ab").text("c").uuid(None);
/// let b = IdentityDigest::new("demo").text("a").text("bc").uuid(None);
/// assert_ne!(a, b);
/// assert_eq!(a.get_version_num(), 8);
/// ```
#[derive(Clone, Debug)]
pub struct IdentityDigest(SmallVec<[u8; 128]>);

impl IdentityDigest {
    /// Starts an identity of the kind `what`.
    #[must_use]
    pub fn new(what: &str) -> Self {
        // The parts are short. Hashing them together is cheaper than each on its own.
        let mut digest = Self(SmallVec::new());
        digest.put(what.as_bytes());
        digest
    }

    /// Adds a text.
    #[inline]
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Adds a text that may be missing.
    #[inline]
    #[must_use]
    pub fn optional(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.bytes(&[1]).text(text),
            None => self.bytes(&[0]),
        }
    }

    /// Adds bytes.
    #[inline]
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.put(bytes);
        self
    }

    /// Adds a number, for example the bits of a float.
    #[inline]
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.put_raw(&number.to_le_bytes());
        self
    }

    /// Adds bytes of a fixed length, without that length.
    #[inline]
    pub(crate) fn put_raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Adds bytes with their length.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        // The length is written in seven-bit groups, low ones first: one byte for most parts.
        let mut length = bytes.len();
        while length >= 0x80 {
            self.0.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        self.0.push(length as u8);
        self.0.extend_from_slice(bytes);
    }

    /// Returns the id as a UUID of version 8: `milliseconds` (48 bits) if given, then the digest.
    #[must_use]
    pub fn uuid(self, milliseconds: Option<u64>) -> Uuid {
        let digest = Sha256::digest(&self.0);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        if let Some(milliseconds) = milliseconds {
            bytes[..6].copy_from_slice(&milliseconds.to_be_bytes()[2..]);
        }
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_keep_the_time_in_front() {
        let event = EventId(IdentityDigest::new("event").uuid(Some(0x0123_4567_89ab)));
        assert_eq!(event.milliseconds(), 0x0123_4567_89ab);
        assert_eq!(&event.turn().as_bytes()[..6], &event.0.as_bytes()[..6]);
        assert_ne!(event.command(0), event.command(1));
        assert_ne!(event.turn(), event.session().0);
    }
}
