//! Reads the second wire shape, that of Rasa's engine Mantle, into the fields of the first one.
//!
//! Such a record has no `event` but a `conversation_id`. Its type is the key of its payload:
//!
//! ```json
//! {"conversation_id": "u1", "timestamp": 1786900015.06, "skill_activated": {"skill_id": "book"},
//!  "metadata": "{\"model_id\": \"m\"}", "event_id": "01a00b8a-67d4-7a45-97e8-f041e878879b",
//!  "sequence": 6, "session_id": "863d6e6b-d0bd-4262-904f-415a1bdafc39", "user_id": null}
//! ```

use std::borrow::Cow;

use turnmill_model::json::{Limits, Node, Raw, Tree};
use turnmill_model::{Reason, Refused};

use super::build::text;
use super::wire::{Metadata, Wire, collect};

/// Keys that are not the event's payload, whatever their values are.
const ENVELOPE: [&str; 8] = [
    "conversation_id",
    "timestamp",
    "event_id",
    "sequence",
    "user_id",
    "session_id",
    "deployment_environment",
    "metadata",
];

/// Returns whether these are the fields of a record of the second shape.
pub(super) fn is_mantle(wire: &Wire<'_>) -> bool {
    wire.event.is_none() && wire.conversation_id.is_some()
}

/// A record, and the metadata that it holds as text.
pub(super) struct Mantle<'a> {
    record: Tree<'a>,
    metadata: Option<String>,
}

impl<'a> Mantle<'a> {
    /// Reads the object `text`. Returns `None` if it is no JSON, which was checked before.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let record = Tree::parse(text, &Limits::default()).ok()?;
        let metadata = record.root().get("metadata").and_then(|metadata| metadata.raw().as_text());
        let metadata = metadata.map(Cow::into_owned);
        Some(Self { record, metadata })
    }

    /// Returns the fields that the first shape has.
    pub(super) fn wire(&self) -> Result<Wire<'_>, Refused> {
        let root = self.record.root();
        let field = |key| root.get(key).map(Node::raw);
        let (name, payload) = payload(root)?;
        let mut wire = Wire::default();
        collect(payload, &mut wire);
        // The envelope's keys are never those of the payload.
        wire.event = Some(name);
        wire.sender_id = field("conversation_id");
        wire.timestamp = field("timestamp");
        wire.user_id = field("user_id");
        wire.event_id = field("event_id");
        wire.sequence = field("sequence");
        wire.metadata = Metadata::default();
        if let Some(parsed) =
            self.metadata.as_deref().and_then(|text| Tree::parse(text, &Limits::default()).ok())
        {
            collect(parsed.root(), &mut wire.metadata);
        }
        let session = field("session_id").filter(|session| !session.is_null());
        wire.metadata.session_id = session.or(wire.metadata.session_id);
        let environment = field("deployment_environment");
        if text(environment).is_some_and(|environment| environment != super::build::ENVIRONMENT_NOT_SET) {
            wire.metadata.rasa_environment = environment;
        }
        Ok(wire)
    }
}

/// Returns the only key with an object that is not of the envelope, and that object.
fn payload<'t, 'a>(root: Node<'t, 'a>) -> Result<(Raw<'a>, Node<'t, 'a>), Refused> {
    let refused = |detail: &str| Refused::new(Reason::NoEventType, detail);
    let mut payloads: Vec<(Raw<'a>, Node<'t, 'a>)> = Vec::new();
    for (key, value) in root.entries() {
        // Of equal keys the last one counts, whether it is an object or not.
        payloads.retain(|(other, _)| other.as_key() != key.as_key());
        if value.raw().is_object() && !ENVELOPE.contains(&&*key.as_key()) {
            payloads.push((key, value));
        }
    }
    match payloads.as_slice() {
        [payload] => Ok(*payload),
        [] => Err(refused("no `event`, and no key with an object that names the event")),
        _ => Err(refused("no `event`, and several keys with objects that may name the event")),
    }
}
